"""Discounts show their regions: what happened to a region happened to its discounts, too.

Heard of by our own event, in a transaction of its own: who changes a discount locks it before its regions, so who
changes a region must not lock its discounts.
"""

from collections.abc import Mapping

from services.catalog.discounts.rows import DISCOUNT_KINDS
from services.chassis.consumers import Event, Listener
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.outbox import emit_all

LOCK_RULES = """
select id from discount_rules where id in (
    select d.rule_id from discounts d join discount_regions x on x.discount_id = d.id
    where x.region_id = $1 and d.deleted_at is null
)
order by id for no key update
"""
LOCK = """
select id from discounts d
where rule_id = any($1::text[]) and deleted_at is null
    and exists (select from discount_regions x where x.discount_id = d.id and x.region_id = $2)
order by id for no key update
"""


async def on_region(db: Db, event: Event) -> None:
    """Announce the discounts of the region, as they are now."""
    rules = [row["id"] for row in await db.fetch(LOCK_RULES, event.data["id"])]
    ids = [row["id"] for row in await db.fetch(LOCK, rules, event.data["id"])]
    await emit_all(db, "discount.updated", await each_doc(db, "discount", ids, DISCOUNT_KINDS))


LISTENERS: Mapping[str, Listener] = {"region.updated": on_region, "region.deleted": on_region}
