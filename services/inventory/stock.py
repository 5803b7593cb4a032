"""Stock for orders: reserved when one is placed, released when it is not to be."""

from typing import Any

import orjson

from services.chassis.commands import tombstone
from services.chassis.db import Db
from services.chassis.embed import Page, page_json
from services.chassis.errors import InvalidData, NotAllowed, NotFound
from services.chassis.jsons import json_text
from services.chassis.outbox import emit_all
from services.inventory.ledger import availability, booked, lock_items, who
from services.inventory.line_versions import Room, renew_versions
from services.inventory.reservations import create_reservation
from services.inventory.resources import RESERVATION, WHOLE_RESERVATION

Reply = dict[str, Any]
Lines = list[dict[str, Any]]

ITEMS_OF_VARIANTS = "select inventory_item_id as id from variant_items where variant_id = any($1)"
ITEMS_OF_LINES = "select distinct inventory_item_id as id from reservations where line_item_id = any($1)"

# $2 the order, $3 who, $4 lines {line_item_id, variant_id, quantity}, $5 the sales channel (null: any), $6 whether the
# lines replace claimed goods: then stock is no limit, but there must be a level.
# All or nothing: demand and supply of an item are laid end to end, and each line gets what it overlaps with, so that
# the fullest location serves first and a line is split only when none has enough. Stock that may be sold without being
# there is taken from the fullest location. An item without any level is not counted, and passes. What was set aside by
# hand for a line of a draft counts. Where more is reserved than there is, because a fulfillment took what was meant for
# others, they have to get theirs from elsewhere: that is taken off what the other locations have.
RESERVE = booked(
    "select inventory_item_id, location_id, 0 as stocked, quantity as reserved, 0 as incoming from created",
    first="""
requested as (
    select row_number() over () as n, w.*
    from jsonb_to_recordset($4::text::jsonb) as w(line_item_id text, variant_id text, quantity bigint)
), lines as (
    select w.n, w.line_item_id, w.variant_id, missing.quantity, i.inventory_item_id,
           $6::boolean or coalesce((c.body ->> 'allow_backorder')::boolean, i.allow_backorder) as backorder
    from requested w
    join variant_items i on i.variant_id = w.variant_id
    left join copies c on c.kind = 'variant' and c.id = w.variant_id
    cross join lateral (
        select w.quantity - coalesce(sum(r.quantity), 0) as quantity from reservations r
        where r.line_item_id = w.line_item_id and r.inventory_item_id = i.inventory_item_id
    ) missing
    where missing.quantity > 0 and coalesce((c.body ->> 'manage_inventory')::boolean, true)
    and ($6::boolean or exists (select from inventory_levels l where l.inventory_item_id = i.inventory_item_id))
), demand as (
    select l.*, sum(quantity) over (partition by inventory_item_id order by n) as upto from lines l
), needed as (
    select inventory_item_id, sum(quantity) as quantity, bool_and(backorder) as backorder
    from lines group by inventory_item_id
), places as (
    select l.inventory_item_id, l.location_id, greatest(l.stocked_quantity - l.reserved_quantity, 0) as available,
           l.stocked_quantity - l.reserved_quantity as free,
           row_number() over (
               partition by l.inventory_item_id
               order by l.stocked_quantity - l.reserved_quantity desc, l.location_id
           ) as rank
    from inventory_levels l
    join needed n on n.inventory_item_id = l.inventory_item_id
    where exists (
        select from channel_locations c
        where c.location_id = l.location_id and ($5::text is null or c.sales_channel_id = $5::text)
    )
), totals as (
    select n.inventory_item_id, n.backorder, count(p.location_id) as places,
           n.quantity - coalesce(sum(p.available), 0) as lacking, n.quantity > coalesce(sum(p.free), 0) as short
    from needed n left join places p on p.inventory_item_id = n.inventory_item_id
    group by n.inventory_item_id, n.backorder, n.quantity
), short as (
    select inventory_item_id from totals where (short and not backorder) or ($6::boolean and places = 0)
), offered as (
    select p.inventory_item_id, p.location_id, p.rank,
           p.available + case when p.rank = 1 then greatest(t.lacking, 0) else 0 end as quantity
    from places p join totals t on t.inventory_item_id = p.inventory_item_id
), supply as (
    select o.*, sum(quantity) over (partition by inventory_item_id order by rank) as upto from offered o
), created as (
    insert into reservations (id, line_item_id, inventory_item_id, location_id, quantity, created_by, order_id)
    select new_id('resitem'), d.line_item_id, d.inventory_item_id, s.location_id,
           least(d.upto, s.upto) - greatest(d.upto - d.quantity, s.upto - s.quantity), $3::text, $2::text
    from demand d
    join supply s on s.inventory_item_id = d.inventory_item_id
        and d.upto - d.quantity < s.upto and s.upto - s.quantity < d.upto
    where not exists (select from short)
    returning id, inventory_item_id, location_id, quantity
),""",
    then="""
select array(select id from created) as created,
       array(select l.variant_id from lines l join short s on s.inventory_item_id = l.inventory_item_id) as short
""",
)
# $4 the lines: those of one order; $5 whether what was reserved for them by hand goes, too
RELEASE = booked(
    "select inventory_item_id, location_id, 0 as stocked, -quantity as reserved, 0 as incoming from gone",
    first="""gone as (
    delete from reservations where line_item_id = any($4::text[]) and ($5::boolean or order_id is not null)
    returning id, line_item_id, inventory_item_id, location_id, quantity, order_id
),""",
    then="select id, line_item_id, inventory_item_id, location_id, quantity from gone order by id",
    reference="coalesce($2::text, (select coalesce(min(order_id), min(line_item_id)) from gone))",
)


async def reservation_rows(db: Db, ids: list[str]) -> Lines:
    """Those reservations as the API shows them."""
    page = Page(RESERVATION, WHOLE_RESERVATION, "{t}.id = any($1)", "{t}.created_at, {t}.id", (ids,), len(ids), 0)
    rows: Lines = orjson.loads(await page_json(db, "rows", page))["rows"]
    return rows


async def reserve(
    db: Db, order_id: str | None, channel_id: str | None, created_by: str | None, lines: Lines, claim: bool
) -> Reply:
    """Reserve the lines at locations of the sales channel, all or nothing.

    Raises NotAllowed (insufficient_inventory); for a claim InvalidData where no location stocks an item.
    """
    variant_ids = [line["variant_id"] for line in lines if line["variant_id"]]
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_OF_VARIANTS, variant_ids)])
    if not item_ids:
        return {"reservations": []}
    sent = json_text(lines)
    reservation_ids, short = await db.fetchrow(RESERVE, "order", order_id, created_by, sent, channel_id, claim)
    if short and claim:
        raise InvalidData(f"No location of the sales channel stocks {', '.join(sorted(set(short)))}.")
    if short:
        message = f"There is not enough in stock of {', '.join(sorted(set(short)))}."
        raise NotAllowed(message, code="insufficient_inventory")
    rows = await reservation_rows(db, reservation_ids)
    await emit_all(db, "reservation-item.created", {row["id"]: facts(row) for row in rows})
    await availability(db, item_ids)
    return {"reservations": rows}


async def release(db: Db, line_item_ids: list[str], compensates: str | None) -> Reply:
    """Delete all reservations of the lines. With `compensates`, the reserve under that key, which may yet have to
    come."""
    if compensates is not None and await tombstone(db, compensates):
        return {}
    await renew_versions(db, line_item_ids)
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_OF_LINES, line_item_ids)])
    cause, all_ = ("order", True) if compensates is None else ("undone", False)
    gone = await db.fetch(RELEASE, cause, None, who(), line_item_ids, all_)
    await emit_all(db, "reservation-item.deleted", {row["id"]: facts(row) for row in gone})
    await availability(db, item_ids)
    return {}


async def reserve_line(
    db: Db, room: Room, variant_id: str, location_id: str, quantity: int, created_by: str | None
) -> Reply:
    """Reserve a line's item at a location that the merchant chose. Raises NotFound where it is not stocked."""
    row = await db.fetchrow(ITEMS_OF_VARIANTS, [variant_id])
    if row is None:
        raise NotFound(f"Nothing counts variant {variant_id}.")
    reservation = {
        "inventory_item_id": row["id"],
        "line_item_id": room.line_item_id,
        "location_id": location_id,
        "quantity": quantity,
        "created_by": created_by,
    }
    reservation_id, _ = await create_reservation(db, reservation, room)
    return {"reservation": (await reservation_rows(db, [reservation_id]))[0]}


def facts(row: Any) -> dict[str, Any]:
    """What the events of a reservation say."""
    names = ("id", "inventory_item_id", "location_id", "line_item_id", "quantity")
    return {name: row[name] for name in names}
