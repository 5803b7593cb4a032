"""Fulfillments, whoever they belong to: an order, a swap or a claim. Files of their own create and cancel them.

Each of them has lines, shipping methods, fulfillments and a fulfillment status; `Owner` says where they stand. All that
happens to a fulfillment happens under the lock of the order that it is about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.chassis.db import Db
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.orders import status
from services.orders.orders.orders import access_order


@dataclass(frozen=True)
class Owner:
    """What fulfillments can belong to: the name that events use, its table, and the column of its lines and
    fulfillments."""

    noun: str
    table: str
    column: str

    def sql(self, text: str) -> str:
        """The statement with the owner's table and column in place of `{table}` and `{column}`."""
        return text.replace("{table}", self.table).replace("{column}", self.column)


ORDER = Owner("order", "orders", "order_id")
SWAP = Owner("swap", "swaps", "swap_id")
CLAIM = Owner("claim", "claims", "claim_order_id")
OWNERS = {owner.noun: owner for owner in (ORDER, SWAP, CLAIM)}


def event_of(owner: str, owner_id: str, order_id: str, **more: Any) -> dict[str, Any]:
    """The data of an event about a fulfillment; that of a swap or a claim names its order too."""
    return {"id": owner_id} | ({} if owner == ORDER.noun else {"order_id": order_id}) | more


# Access

FIND_OWNER = "select * from {table} where id = $1 and order_id = $2"
FIND_FULFILLMENT = """
select id, provider_id, location_id, no_notification, shipped_at is not null as shipped,
    canceled_at is not null as canceled
from fulfillments where id = $1 and {column} = $2
"""
# A statement of its own after the lock: one that had to wait for the lock would still see what was before.
LINES = """
select li.id, li.variant_id, li.quantity, li.fulfilled_quantity, li.shipped_quantity,
    p.related ->> 'profile_id' as profile_id
from line_items li left join copies p on p.kind = 'product' and p.id = li.product_id
where li.{column} = $1 order by li.created_at, li.position
"""


async def access_owner(db: Db, owner: Owner, order_id: str, owner_id: str, operation: str, saga_id: str = "") -> Any:
    """The row of the order, or of its swap or claim. The order is locked, and with it all that is done to them.

    Raises NotFound, and Conflict while a saga that the operation waits for is under way (orders.access_order).
    """
    order = await access_order(db, order_id, operation, saga_id)
    if owner is ORDER:
        return order
    row = await db.fetchrow(owner.sql(FIND_OWNER), owner_id, order_id)
    if row is None:
        raise NotFound(f"Order {order_id} has no {owner.noun} {owner_id}.")
    return row


async def access_fulfillment(db: Db, owner: Owner, owner_id: str, fulfillment_id: str) -> asyncpg.Record:
    """The fulfillment of this order, swap or claim. Raises NotFound."""
    row = await db.fetchrow(owner.sql(FIND_FULFILLMENT), fulfillment_id, owner_id)
    if row is None:
        raise NotFound(f"{owner.noun.capitalize()} {owner_id} has no fulfillment {fulfillment_id}.")
    return row


async def lines_of(db: Db, owner: Owner, owner_id: str) -> list[asyncpg.Record]:
    """The counters of the owner's lines, and the shipping profile of each one's product."""
    return await db.fetch(owner.sql(LINES), owner_id)


def check_alive(owner: Owner, row: Mapping[str, Any], action: str) -> None:
    """Raises NotAllowed for what was canceled."""
    if row["canceled_at"] is not None:
        raise NotAllowed(f"A canceled {owner.noun} cannot be {action}.")


# Shipping

ITEMS = "select item_id, quantity from fulfillment_items where fulfillment_id = $1 order by item_id"
# $1 the fulfillment, $2 the owner, $3 no_notification, $4 $5 ids and numbers of links, $6 the owner's status
SHIP = """
with shipped as (
    update fulfillments set shipped_at = now(), no_notification = coalesce($3, no_notification),
        metadata = coalesce(metadata, '{}'), updated_at = now()
    where id = $1
), links as (
    insert into tracking_links (id, fulfillment_id, tracking_number)
    select l.id, $1, l.number from unnest($4::text[], $5::text[]) as l(id, number)
), counted as (
    update line_items li set shipped_quantity = coalesce(li.shipped_quantity, 0) + fi.quantity, updated_at = now()
    from fulfillment_items fi where fi.fulfillment_id = $1 and li.id = fi.item_id
)
update {table} set fulfillment_status = $6, updated_at = now() where id = $2
"""


async def ship(
    db: Db,
    owner: Owner,
    row: Mapping[str, Any],
    fulfillment_id: str,
    tracking_numbers: Sequence[str],
    *,
    stored: bool | None,
    no_notification: bool | None,
) -> None:
    """Ship the fulfillment. `stored` is the no_notification that its row keeps, `no_notification` that of the event.

    `row` comes from `access_owner`, for the operation "ship". Raises NotFound or NotAllowed.
    """
    if owner is not ORDER:  # of an order, Medusa looks for the fulfillment first
        check_alive(owner, row, "shipped")
    fulfillment = await access_fulfillment(db, owner, row["id"], fulfillment_id)
    check_alive(owner, row, "shipped")
    status.check_shippable(shipped=fulfillment["shipped"], canceled=fulfillment["canceled"])
    items = {item["item_id"]: item["quantity"] for item in await db.fetch(ITEMS, fulfillment_id)}
    lines = status.shipped(status.lines_of(await lines_of(db, owner, row["id"])), items)
    ids, numbers = [new_id("tlink") for _ in tracking_numbers], list(tracking_numbers)
    await db.execute(owner.sql(SHIP), fulfillment_id, row["id"], stored, ids, numbers, status.after_shipment(lines))
    data = event_of(
        owner.noun,
        row["id"],
        row["id"] if owner is ORDER else row["order_id"],
        fulfillment_id=fulfillment_id,
        tracking_numbers=numbers,
        no_notification=no_notification,
    )
    await emit(db, f"{owner.noun}.shipment_created", row["id"], data)
