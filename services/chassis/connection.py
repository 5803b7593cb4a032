"""A connection to Postgres, as everything sees it, and the pool that a process takes them from."""

from typing import Any, Protocol

import asyncpg

STATEMENT_SECONDS, IDLE_SECONDS, LOCK_SECONDS = 30.0, 30.0, 10.0


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
        command_timeout=STATEMENT_SECONDS,
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
            "idle_in_transaction_session_timeout": f"{IDLE_SECONDS:g}s",
            "lock_timeout": f"{LOCK_SECONDS:g}s",
        },
    )
