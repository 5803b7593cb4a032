"""The database: the pool, and the only two ways to a connection.

Only handlers and the runners of consumers, commands and sagas open transactions; everything else gets `db`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
from aiohttp import web

from services.chassis import idempotency
from services.chassis.keys import POOL


class Db(Protocol):
    """A database connection, as actions and reads see it."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def fetch(self, query: str, *args: object) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: object) -> Any: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...


async def keep(_: asyncpg.Connection) -> None:
    """Instead of asyncpg's RESET ALL and its like, which costs every request a round trip: nobody sets session state,
    but for the relay, which takes back its lock and its LISTEN itself. A transaction left open is still rolled back."""


async def create_pool(url: str, size: int, name: str) -> asyncpg.Pool:
    """A pool whose connections keep one generic plan per statement.

    The text of every statement is a pure function of its shape, so planning once pays; planning a read of an order with
    its 25 relations costs more than running it. `jit` would compile what runs a millisecond.
    """
    return await asyncpg.create_pool(
        url,
        min_size=2,
        max_size=size,
        command_timeout=30,
        reset=keep,
        statement_cache_size=1000,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
        server_settings={
            "application_name": name,
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
            "timezone": "UTC",
            # A handler never waits for another service inside a transaction: one that idles has lost its process.
            "idle_in_transaction_session_timeout": "30s",
            "lock_timeout": "10s",
        },
    )


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
