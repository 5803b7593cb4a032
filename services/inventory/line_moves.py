"""Reservations that follow the lines of an order when an edit puts others in their place."""

from typing import Any

from services.chassis.db import Db
from services.chassis.jsons import json_text
from services.chassis.outbox import emit_all
from services.inventory.ledger import availability, booked, lock_items, lock_lines, who
from services.inventory.line_versions import renew_versions
from services.inventory.stock import ITEMS_OF_LINES, Reply, facts

# $2 the order, $4 moves {from_line_item_id, to_line_item_id, quantity}. Of each line's reservations of an item, the
# oldest stay, as far as the quantity goes; what is beyond it, or has no line to go to, is released.
MOVE = booked(
    "select inventory_item_id, location_id, 0 as stocked, kept - quantity as reserved, 0 as incoming from queued",
    first="""requested as (
    select * from jsonb_to_recordset($4::text::jsonb) as w(
        from_line_item_id text, to_line_item_id text, quantity bigint)
), queued as (
    select r.id, r.line_item_id, r.inventory_item_id, r.location_id, r.quantity, w.to_line_item_id,
           case when w.to_line_item_id is null then 0 else least(r.quantity, greatest(w.quantity + r.quantity - sum(
               r.quantity
           ) over (partition by r.line_item_id, r.inventory_item_id order by r.created_at, r.id), 0))::int end as kept
    from reservations r join requested w on w.from_line_item_id = r.line_item_id
), followed as (
    update reservations r set line_item_id = q.to_line_item_id, quantity = q.kept, updated_at = now()
    from queued q where r.id = q.id and q.kept > 0
), gone as (
    delete from reservations r using queued q where r.id = q.id and q.kept = 0
),""",
    then="""
select id, inventory_item_id, location_id, kept, case when kept > 0 then to_line_item_id else line_item_id end
    as line_item_id, case when kept > 0 then kept else quantity end as quantity
from queued order by id
""",
)


async def move_reservations(db: Db, order_id: str, moves: list[dict[str, Any]]) -> Reply:
    """Once they have followed, the lines that they were of have none: asked again, nothing happens."""
    left = [move["from_line_item_id"] for move in moves]
    await lock_lines(db, sorted({*left, *(move["to_line_item_id"] for move in moves if move["to_line_item_id"])}))
    await renew_versions(db, left)
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(ITEMS_OF_LINES, left)])
    rows = await db.fetch(MOVE, "order", order_id, who(), json_text(moves))
    await emit_all(db, "reservation-item.updated", {row["id"]: facts(row) for row in rows if row["kept"]})
    await emit_all(db, "reservation-item.deleted", {row["id"]: facts(row) for row in rows if not row["kept"]})
    await availability(db, item_ids)
    return {}
