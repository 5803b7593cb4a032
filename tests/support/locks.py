"""A service that does not get on, and what the others do meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.stack import Stack


async def in_transaction(stack: Stack, service: str) -> int:
    """Connections of a service that hold a transaction open without a statement running."""
    return int(
        await stack.pool("gateway").fetchval(
            "select count(*) from pg_stat_activity where datname = $1 and state like 'idle in transaction%'",
            stack.databases[service].rsplit("/", 1)[1],
        )
    )


@asynccontextmanager
async def stalled(stack: Stack, service: str, table: str) -> AsyncIterator[None]:
    """A service that does not get on, because somebody locked one of its tables."""
    async with stack.pool(service).acquire() as db, db.transaction():
        await db.execute(f"lock table {table} in access exclusive mode")
        yield


async def waits(stack: Stack, service: str) -> bool:
    """Whether a statement of the service waits for a lock."""
    return bool(
        await stack.pool("gateway").fetchval(
            "select true from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'",
            stack.databases[service].rsplit("/", 1)[1],
        )
    )
