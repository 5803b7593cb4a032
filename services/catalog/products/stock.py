"""Stock as far as the catalog shows it, from the inventory, which is notified of new variants.

`variant_availability` says per variant whether anything counts it, and how much is available over the locations of all
sales channels (docs/behaviour/inventory.md, "Availability"), and which item counts it. It is a copy: `purchasable`
is for showing, orders ask the inventory.
"""

from typing import Any

from aiohttp import web

from services.catalog import remote
from services.catalog.products.documents import Changes
from services.chassis.consumers import Event
from services.chassis.db import Db
from services.chassis.jsons import json_text
from services.chassis.keys import POOL

# In the order of the ids, so that two that store the same rows wait for each other. Of two numbered facts the newer
# one stays; a fact without a number is taken as the newest.
STORE_AVAILABILITY = """
insert into variant_availability (variant_id, available, has_item, inventory_item_id, linked_at, sequence)
select distinct on (id)
    id, coalesce(available, 0), coalesce(has_item, true), inventory_item_id, linked_at, coalesce(sequence, 0)
from jsonb_to_recordset($1::text::jsonb) as x(
    id text, available bigint, has_item boolean, inventory_item_id text, linked_at timestamptz, sequence bigint
)
where id is not null
order by id, sequence desc nulls first
on conflict (variant_id) do update set available = excluded.available, has_item = excluded.has_item,
    inventory_item_id = excluded.inventory_item_id, linked_at = excluded.linked_at,
    sequence = greatest(variant_availability.sequence, excluded.sequence)
where excluded.sequence = 0 or excluded.sequence >= variant_availability.sequence
"""


async def store_availability(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `availability`: {variants: [{id, available, has_item, inventory_item_id?, linked_at?, sequence?}]}
    -> {}."""
    await db.execute(STORE_AVAILABILITY, json_text(body["variants"]))
    return {}


async def on_availability(db: Db, event: Event) -> None:
    """The same, as the event `inventory.availability`."""
    await store_availability(db, event.data)


async def notify_inventory(app: web.Application, changes: Changes) -> None:
    """Have the inventory make items for new variants, and show what has changed, before the client asks for them."""
    managed = [variant for variant in changes.variants if variant["manage_inventory"]]
    if managed or changes.copies:
        reply = await remote.notify_variants(app, managed, changes.copies)
        if reply.get("variants"):
            async with app[POOL].acquire() as db, db.transaction():
                await store_availability(db, reply)


COMMANDS = {"availability": store_availability}
LISTENERS = {"inventory.availability": on_availability}
