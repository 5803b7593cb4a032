"""Stock that moves: out with a fulfillment, in with a return, and back when either is taken back."""

from typing import Any

from services.chassis.commands import tombstone
from services.chassis.db import Db
from services.chassis.errors import Conflict, NotAllowed, NotFound
from services.chassis.jsons import json_text
from services.chassis.outbox import emit_all
from services.inventory.ledger import availability, booked, lock_items, who
from services.inventory.line_versions import renew_versions
from services.inventory.stock import ITEMS_OF_VARIANTS, Lines, Reply, facts

BEGIN_MOVE = "insert into stock_moves (id) values ($1) on conflict do nothing returning true"
MOVE_STATE = "select state from stock_moves where id = $1 for update"
TAKE_BACK = "update stock_moves set state = 'undone' where id = $1 and state = 'done' returning true"
ITEMS_MOVED = "select distinct inventory_item_id as id from stock_ledger where reference = $1"
MOVED = "select id, inventory_item_id, location_id from moved order by id"

# Of these lines ($1), what the location ($2) does not have enough of.
LACKING = """
select n.inventory_item_id, l.id is null as unstocked
from (
    select i.inventory_item_id, sum(w.quantity) as quantity
    from jsonb_to_recordset($1::text::jsonb) as w(variant_id text, quantity bigint)
    join variant_items i on i.variant_id = w.variant_id
    group by i.inventory_item_id
) n
left join inventory_levels l on l.inventory_item_id = n.inventory_item_id and l.location_id = $2
where l.id is null or l.stocked_quantity < n.quantity
order by n.inventory_item_id
"""
NEEDED = """needed as (
    select w.line_item_id, i.inventory_item_id, sum(w.quantity) as quantity
    from jsonb_to_recordset($4::text::jsonb) as w(line_item_id text, variant_id text, quantity bigint)
    join variant_items i on i.variant_id = w.variant_id
    group by w.line_item_id, i.inventory_item_id
),"""
# $2 the fulfillment, $4 the lines, $5 the location. The reservations of each line shrink by what is fulfilled of it:
# one of just that quantity at the location before others there, and these before those elsewhere.
USED = """queued as (
    select r.id, r.inventory_item_id, r.location_id, r.quantity, n.quantity as needed, to_jsonb(r) as reservation,
           sum(r.quantity) over (
               partition by n.line_item_id, n.inventory_item_id
               order by (r.location_id = $5 and r.quantity = n.quantity) desc, (r.location_id = $5) desc,
                   r.created_at, r.id
           ) as upto
    from reservations r
    join needed n on n.line_item_id = r.line_item_id and n.inventory_item_id = r.inventory_item_id
), used as (
    select *, least(quantity, needed - (upto - quantity))::int as taken from queued where upto - quantity < needed
), remembered as (
    insert into reservation_uses (move_id, reservation_id, quantity, reservation)
    select $2, id, taken, reservation from used
), shrunk as (
    update reservations r set quantity = r.quantity - used.taken, updated_at = now()
    from used where r.id = used.id and used.taken < used.quantity
), gone as (
    delete from reservations r using used where r.id = used.id and used.taken = used.quantity
),"""
FULFILL = booked(
    """
    select inventory_item_id, $5::text as location_id, -quantity as stocked, 0 as reserved, 0 as incoming from needed
    union all
    select inventory_item_id, location_id, 0, -taken, 0 from used
    """,
    first=NEEDED + USED,
    then=MOVED,
)
RESTOCK = booked(
    "select inventory_item_id, $5::text as location_id, quantity as stocked, 0 as reserved, 0 as incoming from needed",
    first=NEEDED,
    then=MOVED,
)
# What the move $2 did to stock, the other way round. Reservations stay as they are.
REVERSE = booked(
    """
    select inventory_item_id, location_id, -sum(stocked) as stocked, 0 as reserved, 0 as incoming
    from stock_ledger where reference = $2 group by inventory_item_id, location_id
    """,
    then=MOVED,
)
# The same, and what comes back is reserved for its lines ($4) of the order $5 there, so that nobody else gets it.
CANCEL_FULFILLMENT = booked(
    """
    select inventory_item_id, location_id, -sum(stocked) as stocked, 0 as reserved, 0 as incoming
    from stock_ledger where reference = $2 group by inventory_item_id, location_id
    union all
    select inventory_item_id, location_id, 0, quantity, 0 from created
    """,
    first=NEEDED  # noqa: S608 - put together from constants of this file
    + """ created as (
    insert into reservations (id, line_item_id, inventory_item_id, location_id, quantity, created_by, order_id)
    select new_id('resitem'), n.line_item_id, n.inventory_item_id, l.location_id, n.quantity, $3::text, $5::text
    from needed n
    join inventory_levels l on l.inventory_item_id = n.inventory_item_id
    where exists (
        select from stock_ledger x
        where x.reference = $2 and x.stocked < 0
            and (x.inventory_item_id, x.location_id) = (l.inventory_item_id, l.location_id)
    )
    returning id, line_item_id, inventory_item_id, location_id, quantity
),""",
    then="""
select id, inventory_item_id, location_id, null as line_item_id, null as quantity from moved
union all select id, inventory_item_id, location_id, line_item_id, quantity from created order by id
""",
)
# As REVERSE, and the reservations that it used are as before, where their level is still there.
COMPENSATE = booked(
    """
    select inventory_item_id, location_id, -sum(stocked) as stocked, 0 as reserved, 0 as incoming
    from stock_ledger where reference = $2 group by inventory_item_id, location_id
    union all
    select inventory_item_id, location_id, 0, quantity, 0 from grown
    union all
    select inventory_item_id, location_id, 0, quantity, 0 from returned
    """,
    first="""grown as (
    update reservations r set quantity = r.quantity + u.quantity, updated_at = now()
    from reservation_uses u where u.move_id = $2 and r.id = u.reservation_id
    returning r.inventory_item_id, r.location_id, u.quantity
), returned as (
    insert into reservations
    select b.* from reservation_uses u
    cross join jsonb_populate_record(
        null::reservations, u.reservation || jsonb_build_object('quantity', u.quantity)
    ) b
    where u.move_id = $2 and not exists (select from reservations r where r.id = u.reservation_id)
    and exists (
        select from inventory_levels l
        where l.inventory_item_id = b.inventory_item_id and l.location_id = b.location_id
    )
    returning inventory_item_id, location_id, quantity
),""",
    then=MOVED,
)


async def fulfill(db: Db, fulfillment_id: str, location_id: str, lines: Lines) -> Reply:
    """Take the lines' items out of stock, all or nothing. Raises NotAllowed where there is not enough of them."""
    await renew_versions(db, [line["line_item_id"] for line in lines])
    item_ids = await begin(db, fulfillment_id, lines)
    if item_ids is None:
        return {}
    sent = json_text(lines)
    for row in await db.fetch(LACKING, sent, location_id):
        if row["unstocked"]:
            raise NotAllowed(f"{row['inventory_item_id']} is not stocked at {location_id}.")
        raise NotAllowed(f"There is not enough of {row['inventory_item_id']} at {location_id}.")
    await report(db, item_ids, await db.fetch(FULFILL, "fulfillment", fulfillment_id, who(), sent, location_id))
    return {}


async def restock(db: Db, return_id: str, location_id: str | None, lines: Lines) -> Reply:
    """Put what came back into stock. Raises NotFound where an item has no location, or no level there."""
    item_ids = await begin(db, return_id, lines)
    if item_ids is None:
        return {}
    nothing = json_text([line | {"quantity": 0} for line in lines])
    for row in await db.fetch(LACKING, nothing, location_id):
        if row["unstocked"]:
            raise NotFound(f"{row['inventory_item_id']} is not stocked at {location_id or 'any location given'}.")
    sent = json_text(lines)
    await report(db, item_ids, await db.fetch(RESTOCK, "return", return_id, who(), sent, location_id))
    return {}


async def begin(db: Db, move_id: str, lines: Lines) -> list[str] | None:
    """The items of the lines, locked; None when the move was made already. Raises Conflict for one taken back."""
    if not await db.fetchval(BEGIN_MOVE, move_id):
        if await db.fetchval(MOVE_STATE, move_id) == "undone":
            raise Conflict(f"{move_id} was taken back; it moves no stock any more.")
        return None
    variant_ids = [line["variant_id"] for line in lines if line["variant_id"]]
    return await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_OF_VARIANTS, variant_ids)])


async def reverse(db: Db, move_id: str, cause: str) -> Reply:
    """Put stock back as it was before the move. One that never was, or was taken back already: nothing happens."""
    await take_back(db, move_id, REVERSE, cause)
    return {}


async def cancel_fulfillment(db: Db, move_id: str, order_id: str, lines: Lines) -> Reply:
    """The same for a fulfillment whose lines are to have what it took: what comes back is reserved for them."""
    if await db.fetchval(TAKE_BACK, move_id):
        item_ids = await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_MOVED, move_id)])
        sent = json_text(lines)
        rows = await db.fetch(CANCEL_FULFILLMENT, "fulfillment_canceled", move_id, who(), sent, order_id)
        reservations = {row["id"]: facts(row) for row in rows if row["line_item_id"]}
        await emit_all(db, "reservation-item.created", reservations)
        await report(db, item_ids, [row for row in rows if row["id"] not in reservations])
    return {}


async def compensate(db: Db, move_id: str, compensates: str | None) -> Reply:
    """As if the move had never been, reservations included; if it has not come yet, it never will."""
    if compensates is None or not await tombstone(db, compensates):
        await take_back(db, move_id, COMPENSATE, "undone")
    return {}


async def take_back(db: Db, move_id: str, sql: str, cause: str) -> None:
    if await db.fetchval(TAKE_BACK, move_id):
        item_ids = await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_MOVED, move_id)])
        await report(db, item_ids, await db.fetch(sql, cause, move_id, who()))


async def report(db: Db, item_ids: list[str], moved: list[Any]) -> None:
    """Emit what has moved, and what is available of it now."""
    names = ("id", "inventory_item_id", "location_id")
    await emit_all(db, "inventory-level.updated", {row["id"]: {name: row[name] for name in names} for row in moved})
    await availability(db, item_ids)
