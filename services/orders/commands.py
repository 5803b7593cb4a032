"""What other services may ask of this one: rows of ours that they show, and to take what an event brings, too."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson

from services.chassis import copies
from services.chassis.commands import CommandHandler
from services.chassis.db import Db
from services.chassis.documents import documents_of
from services.chassis.embed import One, Resource, aliases, object_sql, tree
from services.chassis.errors import InvalidData, NotFound
from services.orders.documents import KINDS
from services.orders.orders import export as order_export
from services.orders.orders import reservations
from services.orders.orders.payment_copies import take_payment
from services.orders.resources import PLAIN_ORDER, line

# Also of the additional lines of swaps and claims.
ORDER_OF = (
    "coalesce({p}.order_id, (select s.order_id from swaps s where s.id = {p}.swap_id), "
    "(select c.order_id from claims c where c.id = {p}.claim_order_id))"
)
LINE = Resource("line_items", line().columns, {"order": One(PLAIN_ORDER, f"{{t}}.id = {ORDER_OF}")})


@cache
def lines_sql() -> str:
    """The statement of lines of orders, each with its order; $1 their ids."""
    row = object_sql(LINE, tree(["order"]), "t0", aliases())
    return (
        f"select coalesce(json_agg({row} order by t0.id), '[]')::text from line_items t0 "  # noqa: S608 - as above
        "where t0.id = any($1::text[]) and (coalesce(t0.order_id, t0.swap_id, t0.claim_order_id) is not null "
        "or exists (select from draft_orders d where d.cart_id = t0.cart_id and d.status = 'open'))"
    )


def ids_of(value: Any) -> list[str]:
    """Raises InvalidData for anything but a list of texts."""
    if not isinstance(value, list) or not all(isinstance(id_, str) for id_ in value):
        raise InvalidData("ids: must be a list of ids.")
    return value


async def line_items(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"ids"} -> {"line_items"}: lines of orders, swaps, claims and drafts as they are now, each with its order.
    Unknown ids, and lines of edits, are left out."""
    return {"line_items": orjson.loads(await db.fetchval(lines_sql(), ids_of(body.get("ids"))))}


async def payment(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"payment", "refund"}: what an event brings too, sent so that an order shows it at once."""
    await take_payment(db, body.get("payment"), body.get("refund"))
    return {}


async def payment_collection(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"copies"}: documents of payment collections, which an event brings too, sent so that an edit shows them at
    once."""
    await copies.store(db, "payment_collection", body["copies"]["payment_collection"])
    return {}


PRICE_CONTEXT = """
select (select c.region_id from carts c where c.id = $1 and c.deleted_at is null) as region_id,
    array(
        select m.customer_group_id from customer_group_customers m where m.customer_id = $2 order by 1
    ) as customer_group_ids
"""


async def price_context(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"cart_id"|null, "customer_id"|null} -> {"region_id"|null, "customer_group_ids"}: what prices of the catalog
    depend on. An unknown customer is in no group. Raises NotFound for an unknown cart."""
    cart_id = body.get("cart_id")
    context = await db.fetchrow(PRICE_CONTEXT, cart_id, body.get("customer_id"))
    if cart_id is not None and context["region_id"] is None:
        raise NotFound(f"There is no cart {cart_id}.")
    return dict(context)


COMMANDS: Mapping[str, CommandHandler] = {
    "documents": documents_of(KINDS),
    "line_items": line_items,
    "payment": payment,
    "payment_collection": payment_collection,
    "price_context": price_context,
    "unfulfilled": reservations.unfulfilled,
    **order_export.COMMANDS,
}
