"""What the catalog did to its database: statements, events, and transactions that leave nothing behind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from services.chassis.db import Db
from tests.support.stack import Stack


@asynccontextmanager
async def rolled_back(stack: Stack) -> AsyncIterator[Db]:
    """A transaction on the catalog's database that leaves nothing behind."""
    async with stack.pool("catalog").acquire() as db:
        compensate = db.transaction()
        await compensate.start()
        try:
            yield db
        finally:
            await compensate.rollback()


async def events(db: Db) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, aggregate, data) of what the transaction has emitted, oldest first."""
    rows = await db.fetch(
        "select name, aggregate, data::text from outbox where xmin = pg_current_xact_id()::xid order by position"
    )
    return [(row["name"], row["aggregate"], orjson.loads(row["data"])) for row in rows]


def reads(statements: list[str]) -> list[str]:
    """The statements of requests, without what the relay and the pool send besides."""
    return [sql for sql in statements if not any(word in sql for word in ("outbox", "advisory"))]


@contextmanager
def statements(stack: Stack) -> Iterator[list[str]]:
    """The statements of the catalog while the block runs, without those of the pool and the relay."""
    counted: list[str] = []
    with stack.statements("catalog") as seen:
        yield counted
    words = ("select", "insert", "update", "delete", "with")
    of_others = ("advisory_unlock_all", "from outbox")  # the pool's and the relay's
    counted += [t for t in seen if t.strip().lower().startswith(words) and not any(o in t for o in of_others)]
