"""The counters behind the lists of orders (lists.py): triggers add rows to `order_counts`, this folds them.

Readers sum up whatever rows there are, so the count is exact before, during and after folding; folding keeps the rows
few. It takes no lock that an order's transaction could want.
"""

import asyncio

import structlog
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS
from services.chassis.keys import POOL

log = structlog.get_logger()

FOLD_SECONDS = 20.0
FOLDING_LOCK = 7305215  # any fixed number, advisory locks are per database

FOLD = """
with mine as (
    select pg_try_advisory_xact_lock($1) as free
), loose as (
    select distinct kind, day from order_counts, mine where not folded and mine.free
), gone as (
    delete from order_counts c using loose l where c.kind = l.kind and c.day = l.day returning c.*
)
insert into order_counts (
    kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id, orders, folded
)
select kind, day, status, fulfillment_status, payment_status, region_id, currency_code, sales_channel_id,
    sum(orders)::bigint, true
from gone group by 1, 2, 3, 4, 5, 6, 7, 8 having sum(orders) <> 0
"""


async def fold(db: Db) -> None:
    """Make one row of all the rows of a kind and day, where there are new ones."""
    await db.execute(FOLD, FOLDING_LOCK)


async def run_folding(app: web.Application) -> None:
    """Folds every few seconds, until it is cancelled."""
    while True:
        await asyncio.sleep(FOLD_SECONDS)
        try:
            await fold(app[POOL])
        except DATABASE_ERRORS:
            log.warning("counts of orders not folded", exc_info=True)
