"""/admin/notifications: what customers were told, by whichever notification providers are installed.

A notification is written first (events.py, or a resend here), then sent, with patience; `data.status` says
whether it is `pending`, `sent` or `failed`.
"""

from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import AfterValidator

from services.chassis.db import Db
from services.chassis.deliveries import Courier, Rejected, deliver, run_deliveries
from services.chassis.embed import Many, One, Page, Resource, Selection, Value, cols, one_json, page_query, tree
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import listing, post
from services.chassis.params import FLAG, TEXT, Bind, Filter, Query, truth, word
from services.chassis.queries import Parameters, schemas_of_list
from services.chassis.schemas import Rows
from services.orders import remote
from services.orders.customers.customers import check_email
from services.orders.notifications.mails import mail_of
from services.orders.notifications.providers import Notification, providers
from services.orders.relations import OWNER

COLUMNS = cols(
    "id event_name resource_type resource_id customer_id to parent_id provider_id created_at@ updated_at@",
    data="{t}.data || jsonb_build_object('status', {t}.status)",
)
DEFAULT_FIELDS = tuple(name for name in COLUMNS if name not in ("customer_id", "parent_id", "data"))
NOTIFICATION = Resource(
    "notifications",
    COLUMNS,
    {
        "customer": OWNER,
        # Whatever is sent goes by a provider that is installed.
        "provider": Value("json_build_object('id', {p}.provider_id, 'is_installed', true)"),
    },
)
NOTIFICATION.relations.update(
    parent_notification=One(NOTIFICATION, "{t}.id = {p}.parent_id"),
    resends=Many(NOTIFICATION, "{t}.parent_id = {p}.id"),
)


def separated(sql: str) -> Filter:
    """Accepts several values with commas in between, one of which has to be equal."""

    def condition(name: str, value: Any, bind: Bind) -> str:
        return f"{sql} = any({bind([part.strip() for part in word(name, value).split(',')])}::text[])"

    return Filter(condition, TEXT | {"description": "Only those with this, or one of several, with commas between."})


def resends(name: str, value: Any, bind: Bind) -> str:
    """Whether what was sent again is listed on its own, too."""
    return f"({bind(truth(name, value))}::boolean or {{t}}.parent_id is null)"


LIMIT = 50
FILTERS: dict[str, Filter] = {
    "event_name": separated("{t}.event_name"),
    "resource_type": separated("{t}.resource_type"),
    "resource_id": separated("{t}.resource_id"),
    "to": separated("{t}.to"),
    "include_resends": Filter(resends, FLAG),
}


class ResendBody(Body):
    to: Annotated[str, AfterValidator(check_email)] | None = None
    """Somebody else than the first time."""


# Actions

FIND_NOTIFICATION = "select provider_id, event_name from notifications where id = $1"
ADD_RESEND = """
insert into notifications (
    id, event_name, resource_type, resource_id, customer_id, "to", data, provider_id, parent_id, status
)
select $2, event_name, resource_type, resource_id, customer_id, coalesce($3, "to"), data, provider_id, id, 'pending'
from notifications where id = $1
"""
FIND_PENDING = """
select event_name, "to", data::text, provider_id from notifications where id = $1 and status = 'pending'
"""
SET_SENT = """
update notifications set status = 'sent', data = data || $2::text::jsonb, updated_at = now() where id = $1
"""
SET_FAILED = "update notifications set status = 'failed', error = $2, updated_at = now() where id = $1"


async def resend(db: Db, notification_id: str, to: str | None) -> None:
    """Send it again, to the same address or to another. Raises NotFound, or NotAllowed without its provider."""
    row = await db.fetchrow(FIND_NOTIFICATION, notification_id)
    if row is None:
        raise NotFound(f"There is no notification {notification_id}.")
    if row["provider_id"] not in providers():
        raise NotAllowed(f"The provider {row['provider_id']} that sent this is not installed any more.")
    resend_id = new_id("noti")
    await db.execute(ADD_RESEND, notification_id, resend_id, to)
    await deliver(db, {resend_id: {}})


# The worker


async def send(app: web.Application, notification_id: str, body: dict[str, Any]) -> None:
    """Have the provider send it; nothing when that has happened. Raises Rejected when it never can."""
    row = await app[POOL].fetchrow(FIND_PENDING, notification_id)
    if row is None:
        return
    provider = providers().get(row["provider_id"])
    if provider is None:
        raise Rejected(f"The provider {row['provider_id']} is not installed any more.")
    data = orjson.loads(row["data"])
    facts = data | await secrets_of(app, data)
    mail = mail_of(row["event_name"], row["to"], facts)
    kept = await provider.send(Notification(notification_id, row["event_name"], row["to"], facts, mail))
    await app[POOL].execute(SET_SENT, notification_id, json_text(kept))


async def secrets_of(app: web.Application, data: dict[str, Any]) -> dict[str, Any]:
    """What is sent but not kept: the code of a gift card, and what it is worth. Raises Rejected when there is none."""
    if "gift_card_id" not in data:
        return {}
    card = (await remote.gift_card(app, data["gift_card_id"]))["gift_card"]
    if card is None:
        raise Rejected("The gift card is gone.")
    return {"code": card["code"], "amount": card["value"]}


async def failed(app: web.Application, notification_id: str, reason: str) -> None:
    """Write down that the notification was given up."""
    await app[POOL].execute(SET_FAILED, notification_id, reason[:1000])


async def run_notifications(app: web.Application) -> None:
    """Send what is written, until cancelled."""
    await run_deliveries(app, Courier(send, failed))


# What is shown

RESENDS = tree(["resends"])
NOTIFICATION_ROWS = Rows((NOTIFICATION,), RESENDS, narrowed=True)


def notifications_page(query: Query) -> Page:
    """A list; without `include_resends`, what was sent again stands only below what it repeats."""
    return page_query(
        NOTIFICATION,
        {"include_resends": "false"} | query,
        FILTERS,
        limit=LIMIT,
        fields=DEFAULT_FIELDS,
        expand=RESENDS,
        knows=KNOWN,
    )


KNOWN = ("limit", "offset", "expand", "fields")
NOTIFICATIONS = Parameters(
    notifications_page,
    schemas_of_list(FILTERS, LIMIT, KNOWN),
    NOTIFICATION_ROWS,
)

# Handlers


async def post_resend(db: Db, notification_id: str, body: ResendBody) -> str:
    await resend(db, notification_id, body.to)
    shown = Selection(DEFAULT_FIELDS, RESENDS)
    text = await one_json(db, NOTIFICATION, shown, "{t}.id = $1", notification_id)
    return f'{{"notification":{text}}}'


OPERATIONS = [
    listing("/admin/notifications", "notifications", NOTIFICATIONS, "List notifications"),
    post(
        "/admin/notifications/{id}/resend",
        post_resend,
        "Send a notification again",
        description="To the same address, or to another one. The answer is the notification that is repeated, with all "
        "its repetitions. Refused when the provider that sent it is not installed any more.",
        body=ResendBody,
        example={"to": "ada@example.com"},
        answer={"notification": NOTIFICATION_ROWS},
        errors=(NotFound, NotAllowed),
    ),
]
