"""How stock changes: the lock of an item, the change of its levels with the line in the ledger, and what is then
available."""

from collections.abc import Iterable
from typing import Any

import structlog

from services.chassis.db import Db
from services.chassis.outbox import emit

BATCH = 500  # variants in one event

LOCK_ITEMS = "select id from inventory_items where id = any($1) order by id for no key update"
LOCK_LINES = """
select pg_advisory_xact_lock(hashtextextended(id, 0)) from (select unnest($1::text[]) as id order by 1) lines
"""
AVAILABILITY = """
with items as (
    select v.variant_id as id, v.inventory_item_id, i.created_at as linked_at
    from variant_items v join inventory_items i on i.id = v.inventory_item_id where v.inventory_item_id = any($1)
)
select i.*, nextval('availability_sequence') as sequence, true as has_item, coalesce((
    select sum(l.stocked_quantity - l.reserved_quantity) from inventory_levels l
    where l.inventory_item_id = i.inventory_item_id
    and exists (select from channel_locations c where c.location_id = l.location_id)
), 0)::bigint as available
from items i order by i.id
"""
GONE = """
select id, nextval('availability_sequence') as sequence, false as has_item, 0 as available from unnest($1::text[]) id
"""


def booked(changes: str, then: str = "select count(*) from moved", first: str = "", reference: str = "$2::text") -> str:
    """A statement that changes levels and writes the ledger.

    `changes` selects (inventory_item_id, location_id, stocked, reserved, incoming), differences; several rows of one
    level add up. `first` are CTEs that it reads; `then` may read `moved`, the levels that were there to be changed.
    $1 is the cause, $2 (or `reference`) what refers to it, $3 who.
    """
    return f"""
with {first} changes as ({changes}), moved as (
    update inventory_levels l
    set stocked_quantity = l.stocked_quantity + d.stocked, reserved_quantity = l.reserved_quantity + d.reserved,
        incoming_quantity = l.incoming_quantity + d.incoming, updated_at = now()
    from (
        select inventory_item_id, location_id, sum(stocked)::bigint as stocked, sum(reserved)::bigint as reserved,
               sum(incoming)::bigint as incoming
        from changes group by inventory_item_id, location_id
    ) d
    where l.inventory_item_id = d.inventory_item_id and l.location_id = d.location_id
    returning l.id, l.inventory_item_id, l.location_id, d.stocked, d.reserved, d.incoming
), booked as (
    insert into stock_ledger (inventory_item_id, location_id, stocked, reserved, incoming, cause, reference, actor)
    select inventory_item_id, location_id, stocked, reserved, incoming, $1::text, {reference}, $3::text from moved
    where (stocked, reserved, incoming) <> (0, 0, 0)
)
{then}
"""  # noqa: S608 - put together from constants of this service


async def lock_items(db: Db, item_ids: Iterable[str]) -> list[str]:
    """Lock those items that exist, in the order of their ids. Their levels and reservations change only under it."""
    return [row["id"] for row in await db.fetch(LOCK_ITEMS, sorted(set(item_ids)))]


async def lock_lines(db: Db, line_item_ids: list[str]) -> None:
    """Lock lines of orders, so that the sum of a line's reservations can be checked. Before any item."""
    await db.execute(LOCK_LINES, line_item_ids)


def who() -> str | None:
    """The user who asks, also through another service."""
    actor: str | None = structlog.contextvars.get_contextvars().get("actor")
    return actor


Availability = list[dict[str, Any]]


async def availability(db: Db, item_ids: list[str], gone_variant_ids: list[str] | None = None) -> Availability:
    """Emit how much there is of the variants of these items, which are locked. To be given to
    `notify_availability`."""
    rows = await db.fetch(AVAILABILITY, item_ids) if item_ids else []
    if gone_variant_ids:
        rows += await db.fetch(GONE, gone_variant_ids)
    variants = [dict(row) for row in rows]
    for start in range(0, len(variants), BATCH):
        batch = variants[start : start + BATCH]
        await emit(db, "inventory.availability", batch[0]["id"], {"variants": batch})
    return variants
