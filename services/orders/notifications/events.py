"""Events become notifications: this service hears its own events, and those of gift cards, and writes down
what customers are to hear.

A row per provider, in the transaction that records the event as received, so once per event; sent by a worker when that
is committed (notifications.py). Without a provider nothing is written.
"""

from typing import Any

import orjson

from services.chassis.consumers import Event, Listener
from services.chassis.db import Db
from services.chassis.deliveries import deliver
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.orders.notifications.mails import NOTICES, Notice
from services.orders.notifications.providers import providers

# $1 the order, $2 the swap or claim whose order it is
ORDER_FACTS = """
select o.id as order_id, o.display_id, o.email, o.customer_id, o.currency_code, o.total, o.no_notification,
    coalesce(a.first_name, c.first_name) as first_name
from orders o join customers c on c.id = o.customer_id left join addresses a on a.id = o.shipping_address_id
where o.id = coalesce(
    $1, (select order_id from swaps where id = $2), (select order_id from claims where id = $2)
)
"""
ROW = "json_build_object('title', li.title, 'description', li.description, 'quantity', {quantity}, 'total', {total})"
LIST = "select coalesce(json_agg({row} order by li.created_at, li.position), '[]')::text from line_items li {where}"


def listing(where: str, quantity: str, total: str = "null") -> str:
    """The statement of the lines that a mail lists."""
    return LIST.format(row=ROW.format(quantity=quantity, total=total), where=where)


# What a notice lists: the statement, and the name in the event's data of the id that it takes.
NOTICE_ITEMS = {
    "order": (listing("where li.order_id = $1", "li.quantity", "li.total"), "id"),
    "swap": (listing("where li.swap_id = $1", "li.quantity"), "id"),
    "fulfillment": (
        listing("join fulfillment_items i on i.item_id = li.id where i.fulfillment_id = $1", "i.quantity"),
        "fulfillment_id",
    ),
    "return": (listing("join return_items i on i.item_id = li.id where i.return_id = $1", "i.quantity"), "return_id"),
}
ADD_NOTIFICATIONS = """
insert into notifications (id, event_name, resource_type, resource_id, customer_id, "to", data, provider_id, status)
select n.id, $1, $2, $3, $4, $5, $6::text::jsonb, n.provider_id, 'pending'
from unnest($7::text[], $8::text[]) as n(id, provider_id)
"""


async def on_notice(db: Db, event: Event) -> None:
    """Write the notifications of the customer, unless the event says that there are none."""
    provider_ids = [id_ for id_, provider in providers().items() if event.name in provider.events]
    if not provider_ids or event.data.get("no_notification"):
        return
    data = await collected(db, event, NOTICES[event.name])
    if data is None:
        return
    resource = event.name.partition(".")[0]
    ids = [new_id("noti") for _ in provider_ids]
    to, customer_id = data.pop("email"), data.pop("customer_id")
    body = json_text(data)
    await db.execute(
        ADD_NOTIFICATIONS, event.name, resource, event.data["id"], customer_id, to, body, ids, provider_ids
    )
    await deliver(db, {id_: {} for id_ in ids})


async def collected(db: Db, event: Event, notice: Notice) -> dict[str, Any] | None:
    """What the notification is about; None where there is nobody to notify, or nobody is to be.

    What an event says about `no_notification` counts; where it says nothing, the order does."""
    resource, facts = event.name.partition(".")[0], event.data
    order_id = facts["id"] if resource == "order" else facts.get("order_id")
    order = await db.fetchrow(ORDER_FACTS, order_id, facts["id"])
    if order is None or (facts.get("no_notification") is None and order["no_notification"]):
        return None
    data: dict[str, Any] = {name: value for name, value in order.items() if name != "no_notification"}
    data |= {name: facts[name] for name in ("amount", "reason", "tracking_numbers") if facts.get(name)}
    if resource == "gift_card":
        data["gift_card_id"] = facts["id"]  # its code is money: asked for when it is sent, and not kept
    if notice.items:
        statement, key = NOTICE_ITEMS[notice.items]
        data["items"] = orjson.loads(await db.fetchval(statement, facts[key]))
    return data


LISTENERS: dict[str, Listener] = dict.fromkeys(NOTICES, on_notice)
