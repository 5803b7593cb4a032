"""Things to send to a server that is not ours: written with the change that is their reason, sent after its commit.

A worker of each process takes what is due, for a time (a lease); a row goes when it was sent. A server that cannot take
it now is asked again, after pauses that grow; one that never will, or not within a day, has failed. Sent, and dying
before the row is gone: it is sent again when the lease is over, under the same id, which is the most that a receiver
outside of our transaction allows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import structlog
from aiohttp import web
from prometheus_client import Counter

from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS
from services.chassis.jsons import json_text
from services.chassis.keys import POOL

log = structlog.get_logger()

AT_ONCE = 8
POLL_SECONDS = 0.5
LEASE_SECONDS = 120.0  # more than sending one takes
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0  # seconds; the pause doubles with every attempt
HOURS_TRIED = 24
DRAIN_SECONDS = 10.0

DELIVERIES = Counter("mercer_deliveries_total", "Deliveries by what became of them", ["outcome"])

ADD_DELIVERIES = "insert into deliveries (id, body) select * from unnest($1::text[], $2::jsonb[])"
TAKE_DUE = """
update deliveries set attempts = attempts + 1, due_at = clock_timestamp() + make_interval(secs => $2)
where id in (
    select id from deliveries where due_at <= clock_timestamp() order by due_at limit $1 for update skip locked
)
returning id, body::text, attempts, created_at < clock_timestamp() - make_interval(hours => $3) as late
"""
TRY_AGAIN = (
    "update deliveries set due_at = clock_timestamp() + make_interval(secs => $3) where id = $1 and attempts = $2"
)
REMOVE_DELIVERY = "delete from deliveries where id = $1"


class Rejected(Exception):
    """The delivery will never be taken, however often it is tried."""


@dataclass(frozen=True)
class Courier:
    """How a service sends: `send` raises Rejected when it is for good, and anything else when it may work later; it is
    called again with the same id after a crash. `failed` is called when a delivery is given up."""

    send: Callable[[web.Application, str, dict[str, Any]], Awaitable[None]]
    failed: Callable[[web.Application, str, str], Awaitable[None]]


async def deliver(db: Db, bodies: dict[str, dict[str, Any]]) -> None:
    """Have these sent, by their ids, once the caller's transaction is committed."""
    if bodies:
        await db.execute(ADD_DELIVERIES, list(bodies), [json_text(body) for body in bodies.values()])


async def run_deliveries(app: web.Application, courier: Courier) -> None:
    """Send what is due, until cancelled."""
    pool = app[POOL]
    while True:
        try:
            taken = await pool.fetch(TAKE_DUE, AT_ONCE, LEASE_SECONDS, HOURS_TRIED)
            await _finished([asyncio.create_task(_send(app, courier, row)) for row in taken])
        except DATABASE_ERRORS:
            log.warning("deliveries wait for the database", exc_info=True)
            taken = []
        if not taken:
            await asyncio.sleep(POLL_SECONDS)


async def _finished(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for them; when cancelled, too: what is half sent would be sent twice."""
    if tasks:
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
            raise
        for done in tasks:
            done.result()


async def _send(app: web.Application, courier: Courier, row: asyncpg.Record) -> None:
    id_, attempts = row["id"], row["attempts"]
    try:
        async with asyncio.timeout(LEASE_SECONDS / 2):
            await courier.send(app, id_, orjson.loads(row["body"]))
    except Exception as error:
        given_up = row["late"] or isinstance(error, Rejected)
        outcome = "failed" if given_up else "postponed"
        log.warning("delivery " + outcome, id=id_, attempts=attempts, error=repr(error))
        DELIVERIES.labels(outcome).inc()
        if not given_up:
            pause = min(FIRST_PAUSE * 2.0 ** min(attempts - 1, 30), LONGEST_PAUSE)
            await app[POOL].execute(TRY_AGAIN, id_, attempts, pause)
            return
        await courier.failed(app, id_, str(error) or repr(error))
    else:
        DELIVERIES.labels("sent").inc()
    await app[POOL].execute(REMOVE_DELIVERY, id_)
