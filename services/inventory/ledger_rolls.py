"""The ledger does not grow for ever: what is older than `DAYS` is added up to one line for each level.

Lines of a fulfillment or a return stay: taking it back reads what it moved. There are as many of them as goods that
were shipped, while an ERP that sets every quantity every minute makes others without end. Once it is taken back, its
lines are added up with the rest. docs/adr/0010-stock-ledger.md.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog
from aiohttp import web

from services.chassis.db import Db
from services.chassis.keys import POOL
from services.inventory.line_versions import forget_versions

log = structlog.get_logger()

DAYS = 400  # a year, and the stocktaking after it
BATCH = 5000
PAUSE_SECONDS = 3600.0
ROLL_LOCK = 7305216  # any fixed number, advisory locks are per database

# $1 the day, $2 how many. The line that stands for others has the highest of their numbers, so it stays behind those
# that are younger. Deleting returns each line to one statement only: what is added up was there, and is gone.
ROLL = """
with old as (
    select id, inventory_item_id, location_id, cause, reference from stock_ledger
    where cause not in ('fulfillment', 'return', 'carried') and created_at < $1
    order by created_at limit $2
), gone as (
    delete from stock_ledger where id in (
        select id from old
        union
        select l.id from stock_ledger l
        join old on old.reference = l.reference and old.cause in ('fulfillment_canceled', 'undone')
        where l.cause in ('fulfillment', 'return')
    )
    returning id, inventory_item_id, location_id, stocked, reserved, incoming, created_at
), carried as (
    delete from stock_ledger
    where cause = 'carried' and (inventory_item_id, location_id) in (select inventory_item_id, location_id from gone)
    returning id, inventory_item_id, location_id, stocked, reserved, incoming, created_at
), written as (
    insert into stock_ledger (id, inventory_item_id, location_id, stocked, reserved, incoming, cause, created_at)
    overriding system value
    select max(id), inventory_item_id, location_id, sum(stocked), sum(reserved), sum(incoming), 'carried',
           max(created_at)
    from (select * from gone union all select * from carried) l
    group by inventory_item_id, location_id
    having (sum(stocked), sum(reserved), sum(incoming)) <> (0, 0, 0)
)
select count(*) from old
"""


async def roll(db: Db, before: datetime, limit: int = BATCH) -> int:
    """Add up the oldest lines from before that time, `limit` of them. Returns how many there were."""
    if not await db.fetchval("select pg_try_advisory_xact_lock($1)", ROLL_LOCK):
        return 0
    rolled: int = await db.fetchval(ROLL, before, limit)
    return rolled


async def run_rolls(app: web.Application) -> None:
    """Keep the ledger short, and the versions of lines few, until cancelled."""
    while True:
        try:
            await forget_versions(app[POOL])
            rolled = BATCH
            while rolled == BATCH:
                async with app[POOL].acquire() as db, db.transaction():
                    rolled = await roll(db, datetime.now(UTC) - timedelta(days=DAYS))
        except Exception:
            log.warning("the ledger was not rolled up", exc_info=True)
        await asyncio.sleep(PAUSE_SECONDS)
