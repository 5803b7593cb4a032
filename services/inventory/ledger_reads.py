"""The ledger of an item, for people: every change of its stock at any location, the newest first.

Medusa has no such thing. The lines of an item at a location add up to its level there; when it has none any more, to
zero. An item that was deleted can still be read, until its lines are too old (ledger_rolls.py).
"""

from services.chassis.db import Db
from services.chassis.embed import Page, page_json
from services.chassis.errors import NotFound
from services.chassis.operations import get
from services.chassis.params import choices, dates, described, text, texts
from services.chassis.queries import page
from services.chassis.schemas import page_of
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
    "reference": described(text("{t}.reference"), "Id of what changed it: an order, a fulfillment, a return ..."),
    "created_at": dates("{t}.created_at"),
}
KNOWN = """
select exists (select from inventory_items where id = $1)
    or exists (select from stock_ledger where inventory_item_id = $1)
"""


LINES = page(
    LEDGER, FILTERS, limit=50, where="{t}.inventory_item_id = $1", order="{t}.id desc", knows=("limit", "offset")
)


async def get_ledger(db: Db, item_id: str, lines: Page) -> str:
    text = await page_json(db, "ledger", lines)
    if text.startswith('{"ledger":[]') and not await db.fetchval(KNOWN, item_id):
        raise NotFound(f"There is no inventory item {item_id}.")
    return text


OPERATIONS = [
    get(
        "/admin/inventory-items/{id}/ledger",
        get_ledger,
        "List the changes of an item's stock",
        description="At any location, the newest first. `stocked`, `reserved` and `incoming` are differences; the "
        "lines of a location add up to its level. Old lines are added up to one for each level.",
        query=LINES,
        answer=page_of("ledger", LEDGER),
        errors=(NotFound,),
    )
]
