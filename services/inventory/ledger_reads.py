"""The ledger of an item, for people: every change of its stock at any location, the newest first.

Medusa has no such thing. The lines of an item at a location add up to its level there; when it has none any more, to
zero. An item that was deleted can still be read, until its lines are too old (ledger_rolls.py).
"""

from aiohttp import web

from services.chassis.db import reading
from services.chassis.embed import page_json, page_query
from services.chassis.errors import NotFound
from services.chassis.http import json_bytes
from services.chassis.params import choices, dates, query_of, text, texts
from services.inventory.resources import LEDGER

# What `reference` is: nothing or the deleted location or item; the reservation made by hand; the order (or its line);
# the fulfillment; the return; what was undone because an operation failed half-way. Old lines are carried forward.
CAUSES = (
    "adjustment",
    "closed",
    "reservation",
    "order",
    "fulfillment",
    "fulfillment_canceled",
    "return",
    "undone",
    "carried",
)
FILTERS = {
    "location_id": texts("{t}.location_id"),
    "cause": choices("{t}.cause", CAUSES, array_only=False),
    "reference": text("{t}.reference"),
    "created_at": dates("{t}.created_at"),
}
KNOWN = """
select exists (select from inventory_items where id = $1)
    or exists (select from stock_ledger where inventory_item_id = $1)
"""


async def get_ledger(request: web.Request) -> web.Response:
    """`{ledger, count, offset, limit}`: `stocked`, `reserved` and `incoming` are differences, `actor` the user."""
    item_id = request.match_info["id"]
    page = page_query(
        LEDGER,
        query_of(request),
        FILTERS,
        limit=50,
        where="{t}.inventory_item_id = $1",
        args=(item_id,),
        order="{t}.id desc",
        knows=("limit", "offset"),
    )
    async with reading(request) as db:
        lines = await page_json(db, "ledger", page)
        if lines.startswith('{"ledger":[]') and not await db.fetchval(KNOWN, item_id):
            raise NotFound(f"There is no inventory item {item_id}.")
        return json_bytes(request, lines)


OPERATIONS = [web.get("/admin/inventory-items/{id}/ledger", get_ledger)]
