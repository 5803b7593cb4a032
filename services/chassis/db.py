"""The database: the only two ways to a connection.

Only handlers and the runners of consumers, commands and sagas open transactions; everything else gets `db`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from services.chassis import idempotency
from services.chassis.connection import Db, create_pool
from services.chassis.keys import POOL

__all__ = ["Db", "create_pool", "reading", "transaction"]


@asynccontextmanager
async def transaction(request: web.Request) -> AsyncIterator[Db]:
    """One transaction, committed when the block ends and rolled back when it raises.

    Honours `Idempotency-Key`: when the same request was answered before, an exception skips the block and the error
    middleware sends that answer; otherwise the answer made inside the block is stored with what it reports on.
    """
    async with request.app[POOL].acquire() as db, db.transaction():
        claimed, _ = await idempotency.claim(db, request)
        yield db
        if claimed:
            await idempotency.store(db, request)


@asynccontextmanager
async def reading(request: web.Request) -> AsyncIterator[Db]:
    """A connection for one statement that only reads."""
    async with request.app[POOL].acquire() as db:
        yield db
