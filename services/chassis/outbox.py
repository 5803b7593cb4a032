"""Events leave through a table: written with the change that they report, published after it is committed.

`emit` is the only way to say that something happened. One relay per service publishes, in the order of the rows: the
instance that holds the advisory lock; the others stand by. It deletes a row when the broker has confirmed it, and picks
rows by their presence, never by "id > last seen": positions are drawn before the commit, so a lower one can appear
later. An event can be published twice (a confirm that got lost), never not at all; consumers drop the second one.
"""

import asyncio
import time
from contextlib import suppress
from itertools import groupby
from typing import Any

import aio_pika
import asyncpg
import orjson
import structlog
from prometheus_client import Counter, Gauge

from services.chassis.bus import Bus
from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS, Unavailable
from services.chassis.jsons import json_text

log = structlog.get_logger()

RELAY_LOCK = 7305214  # any fixed number, advisory locks are per database
BATCH = 200
POLL_SECONDS = 1.0
STANDBY_SECONDS = 3.0
RETRY_SECONDS = 1.0
DRAIN_SECONDS = 10.0

PUBLISHED = Counter("mercer_outbox_published_total", "Events that the broker has confirmed")
DEPTH = Gauge("mercer_outbox_rows", "Events that wait to be published")
AGE = Gauge("mercer_outbox_oldest_seconds", "Age of the oldest event that waits to be published")

# $1 name, $2 aggregate, $3 data, $4 request id, $5 actor. The aggregate's row stays locked until the commit, so events
# of one aggregate get their sequence, their position and their visibility in the same order.
EMIT = """
with numbered as (
    insert into event_sequences as s (aggregate, sequence) values ($2, 1)
    on conflict (aggregate) do update set sequence = s.sequence + 1
    returning sequence
), written as (
    insert into outbox (name, aggregate, sequence, data, request_id, actor)
    select $1, $2, sequence, $3::text::json, $4, $5 from numbered
)
select sequence, pg_notify('outbox', '') from numbered
"""
# The same for many aggregates, locked in the order of their ids. $2 aggregates (each once), $3 data.
EMIT_ALL = """
with events as (
    select * from unnest($2::text[], $3::text[]) as g(aggregate, data)
), numbered as (
    insert into event_sequences as s (aggregate, sequence) select aggregate, 1 from events order by aggregate
    on conflict (aggregate) do update set sequence = s.sequence + 1
    returning aggregate, sequence
), written as (
    insert into outbox (name, aggregate, sequence, data, request_id, actor)
    select $1, aggregate, sequence, data::json, $4, $5 from numbered join events using (aggregate) order by aggregate
)
select pg_notify('outbox', '')
"""
# The same for those that a statement finds; what it says of them never leaves the database.
EMIT_SELECTED = """
with events as materialized (
    %s
), numbered as (
    insert into event_sequences as s (aggregate, sequence) select aggregate, 1 from events order by aggregate
    on conflict (aggregate) do update set sequence = s.sequence + 1
    returning aggregate, sequence
), written as (
    insert into outbox (name, aggregate, sequence, data, request_id, actor)
    select $%d, aggregate, sequence, data, $%d, $%d from numbered join events using (aggregate) order by aggregate
)
select pg_notify('outbox', '')
"""
# Each row is locked, a new one made, without a new number.
HOLD = """
insert into event_sequences as s (aggregate, sequence) select a, 0 from unnest($1::text[]) a order by a
on conflict (aggregate) do update set sequence = s.sequence
"""
WAITING = """
select position, id::text, name, aggregate, sequence, data::text, request_id, actor,
       to_char(occurred_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as time
from outbox order by position limit $1
"""
LEFT = "delete from outbox where position = any($1::bigint[])"
MEASURE = "select count(*) as rows, coalesce(extract(epoch from now() - min(occurred_at)), 0)::float as age from outbox"


async def emit(db: Db, name: str, aggregate: str, data: dict[str, Any]) -> int:
    """Say, in the caller's transaction, that `name` ("order.placed") happened to `aggregate` (an id). Returns the
    event's sequence number.

    Emit last: until the commit, others wait to emit for the same aggregate.
    """
    context = structlog.contextvars.get_contextvars()
    body = json_text(data)
    sequence: int = await db.fetchval(EMIT, name, aggregate, body, context.get("request_id"), context.get("actor"))
    return sequence


async def emit_all(db: Db, name: str, data: dict[str, dict[str, Any]]) -> None:
    """Emit `name` for many aggregates at once, `data` being by their ids: one statement."""
    if data:
        context = structlog.contextvars.get_contextvars()
        bodies = [json_text(body) for body in data.values()]
        await db.execute(EMIT_ALL, name, list(data), bodies, context.get("request_id"), context.get("actor"))


async def emit_selected(db: Db, name: str, select: str, *args: object) -> None:
    """Emit `name` for as many aggregates as `select` finds, as rows (aggregate, data json), each aggregate once."""
    context = structlog.contextvars.get_contextvars()
    n = len(args)
    text = EMIT_SELECTED % (select, n + 1, n + 2, n + 3)
    await db.execute(text, *args, name, context.get("request_id"), context.get("actor"))


async def hold(db: Db, aggregates: list[str]) -> None:
    """Let nobody else emit for these aggregates until the commit. Whoever changed them in a transaction that emits has
    committed by then, or gets a number after those that this transaction gives."""
    await db.execute(HOLD, aggregates)


async def run_relay(pool: asyncpg.Pool, bus: Bus) -> None:
    """Publish what is in the outbox until cancelled; then publish what is left, for a bounded time."""
    stop = asyncio.Event()
    work = asyncio.create_task(_relay(pool, bus, stop))
    try:
        await asyncio.wait({work})
    finally:
        stop.set()
        await asyncio.wait({work}, timeout=DRAIN_SECONDS)
        work.cancel()
        await asyncio.wait({work})
    work.result()


async def _relay(pool: asyncpg.Pool, bus: Bus, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with pool.acquire() as db:
                if await db.fetchval("select pg_try_advisory_lock($1)", RELAY_LOCK):
                    await _lead(db, bus, stop)
        except DATABASE_ERRORS:
            log.warning("relay lost its database", exc_info=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STANDBY_SECONDS)


async def _lead(db: asyncpg.Connection, bus: Bus, stop: asyncio.Event) -> None:
    """Be the one relay of this database, until `stop` is set. Raises when the connection, and so the lock, is lost."""
    wake = asyncio.Event()

    def notified(*_: object) -> None:
        wake.set()

    stopping = asyncio.ensure_future(stop.wait())
    stopping.add_done_callback(notified)
    try:
        await db.add_listener("outbox", notified)
        measured, troubled = 0.0, False
        while True:
            wake.clear()
            waiting, published = await _publish_batch(db, bus)
            if stop.is_set() and published == 0:
                return
            if time.monotonic() - measured > POLL_SECONDS:
                measured = time.monotonic()
                row = await db.fetchrow(MEASURE)
                DEPTH.set(row["rows"])
                AGE.set(row["age"])
            if troubled != (published < waiting):
                troubled = not troubled
                log.warning("events wait for the broker" if troubled else "events leave again", published=published)
            if troubled:
                await asyncio.sleep(RETRY_SECONDS)
            elif waiting < BATCH:
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), POLL_SECONDS)
    finally:
        stopping.cancel()
        try:
            await db.remove_listener("outbox", notified)
            await db.execute("select pg_advisory_unlock($1)", RELAY_LOCK)
        except DATABASE_ERRORS:
            db.terminate()  # the lock must not stay on a connection that goes back to the pool


async def _publish_batch(db: asyncpg.Connection, bus: Bus) -> tuple[int, int]:
    """How many rows were waiting, and how many of them have left."""
    rows = await db.fetch(WAITING, BATCH)
    rows.sort(key=lambda row: row["aggregate"])  # stable: each aggregate's rows stay in order
    chains = [list(chain) for _, chain in groupby(rows, key=lambda row: row["aggregate"])]
    positions = [p for sent in await asyncio.gather(*(_publish_chain(bus, c) for c in chains)) for p in sent]
    if positions:
        await db.execute(LEFT, positions)
        PUBLISHED.inc(len(positions))
    return len(rows), len(positions)


async def _publish_chain(bus: Bus, rows: list[asyncpg.Record]) -> list[int]:
    """Publish events of one aggregate, each after the one before is confirmed. Returns the positions that were."""
    positions: list[int] = []
    for row in rows:
        try:
            await bus.publish(bus.events, row["name"], cloud_event(bus.service, row))
        except Unavailable:
            break
        positions.append(row["position"])
    return positions


def cloud_event(service: str, row: asyncpg.Record) -> aio_pika.Message:
    """The row as a CloudEvent 1.0 in structured mode. Attributes without a value are left out."""
    extensions = {"requestid": row["request_id"], "actor": row["actor"]}
    event = {
        "specversion": "1.0",
        "id": row["id"],
        "source": f"/mercer/{service}",
        "type": row["name"],
        "subject": row["aggregate"],
        "time": row["time"],
        "datacontenttype": "application/json",
        "sequence": str(row["sequence"]),
        **{name: value for name, value in extensions.items() if value is not None},
        "data": orjson.Fragment(row["data"]),
    }
    return aio_pika.Message(
        orjson.dumps(event),
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=row["id"],
        type=row["name"],
    )
