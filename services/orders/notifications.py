"""/admin/notifications: what was sent to customers, by whichever notification provider is installed; none is, yet."""

from typing import Any

from aiohttp import web

from services.chassis.db import reading
from services.chassis.embed import Many, One, Resource, cols, page_json, page_query, tree
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import Body, json_bytes, parse
from services.chassis.params import Bind, Filter, query_of, truth, word
from services.orders.customers import CUSTOMER

COLUMNS = cols(
    "id event_name resource_type resource_id customer_id to data parent_id provider_id created_at@ updated_at@"
)
PLAIN = Resource("notifications", COLUMNS)
NOTIFICATION = Resource(
    "notifications",
    COLUMNS,
    {
        "resends": Many(PLAIN, "{t}.parent_id = {p}.id"),
        "parent_notification": One(PLAIN, "{t}.id = {p}.parent_id"),
        "customer": One(CUSTOMER, "{t}.id = {p}.customer_id"),
    },
)


def separated(sql: str) -> Filter:
    """Values with commas in between."""

    def condition(name: str, value: Any, bind: Bind) -> str:
        return f"{sql} = any({bind([part.strip() for part in word(name, value).split(',')])}::text[])"

    return condition


def resends(name: str, value: Any, bind: Bind) -> str:
    """Whether what was sent again is listed on its own, too."""
    return f"({bind(truth(name, value))}::boolean or {{t}}.parent_id is null)"


FILTERS: dict[str, Filter] = {
    "event_name": separated("{t}.event_name"),
    "resource_type": separated("{t}.resource_type"),
    "resource_id": separated("{t}.resource_id"),
    "to": separated("{t}.to"),
    "include_resends": resends,
}


class ResendBody(Body):
    to: str | None = None


async def get_notifications(request: web.Request) -> web.Response:
    query = {"include_resends": "false"} | query_of(request)
    knows = ("limit", "offset", "expand", "fields")
    page = page_query(NOTIFICATION, query, FILTERS, limit=50, expand=tree(["resends"]), knows=knows)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "notifications", page))


async def post_resend(request: web.Request) -> web.Response:
    notification_id = request.match_info["id"]
    await parse(request, ResendBody)
    async with reading(request) as db:
        provider = await db.fetchval(
            "select coalesce(provider_id, '') from notifications where id = $1", notification_id
        )
    if provider is None:
        raise NotFound(f"There is no notification {notification_id}.")
    raise NotAllowed(f"The provider {provider} that sent this is not installed any more.")


ROUTES = [
    web.get("/admin/notifications", get_notifications),
    web.post("/admin/notifications/{id}/resend", post_resend),
]
