"""Uses of discounts: an order that is being placed takes one of each, and gives it back when it is not placed.

The limit holds here, under the lock of the discount's row, however many orders are placed at once; what pricing a
cart answered is only what was true then.
"""

from collections.abc import Mapping
from typing import Any

from services.catalog.discounts.rows import DISCOUNT_KINDS
from services.chassis.commands import CommandHandler, tombstone
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.errors import NotAllowed
from services.chassis.outbox import emit_all

# In the order of their ids, as all who lock several discounts do.
LOCK_DISCOUNTS = "select id from discounts where id = any($1::text[]) order by id for no key update"
ADD_USES = """
insert into discount_uses (order_id, discount_id) select $1, id from discounts where id = any($2::text[]) order by id
on conflict do nothing returning discount_id
"""
COUNT_UP = """
update discounts set usage_count = usage_count + 1
where id = any($1::text[]) and (usage_limit is null or usage_count < usage_limit) returning id
"""
REMOVE_USES = "delete from discount_uses where order_id = $1 and discount_id = any($2::text[]) returning discount_id"
COUNT_DOWN = "update discounts set usage_count = usage_count - 1 where id = any($1::text[])"
CODES = "select string_agg(code, ', ' order by code) from discounts where id = any($1::text[])"


async def use_discounts(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `use_discounts` {order_id, discount_ids} -> {}: the order uses them, all or none.

    Raises NotAllowed when a limit is reached.
    """
    await db.execute(LOCK_DISCOUNTS, body["discount_ids"])
    used = [row["discount_id"] for row in await db.fetch(ADD_USES, body["order_id"], body["discount_ids"])]
    counted = {row["id"] for row in await db.fetch(COUNT_UP, used)}
    over = [id_ for id_ in used if id_ not in counted]
    if over:
        raise NotAllowed(f"The discount {await db.fetchval(CODES, over)} was used as often as it can be.")
    await emit_all(db, "discount.updated", await each_doc(db, "discount", used, DISCOUNT_KINDS))
    return {}


async def unuse_discounts(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `unuse_discounts` {order_id, discount_ids, compensates} -> {}: the order does not use them."""
    if body.get("compensates") and await tombstone(db, body["compensates"]):
        return {}
    await db.execute(LOCK_DISCOUNTS, body["discount_ids"])
    freed = [row["discount_id"] for row in await db.fetch(REMOVE_USES, body["order_id"], body["discount_ids"])]
    await db.execute(COUNT_DOWN, freed)
    await emit_all(db, "discount.updated", await each_doc(db, "discount", freed, DISCOUNT_KINDS))
    return {}


COMMANDS: Mapping[str, CommandHandler] = {"use_discounts": use_discounts, "unuse_discounts": unuse_discounts}
