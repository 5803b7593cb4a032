"""Events of other services come in through one queue and are applied once.

A listener runs in one transaction with the insert of the message's id into `inbox`; the message is acknowledged after
the commit. A message that comes again finds its id there and changes nothing. Events of one aggregate can come in any
order and at the same time: a listener checks the state it finds, or stores copies by sequence (copies.py).

When a listener raises, the message goes back to the queue and, after a few attempts, to `{namespace}.{service}.dead`,
from where an operator moves it back (a shovel). When the database is what fails, the message waits here instead.
The queue is bound to the names in LISTENERS. Names that a new version no longer listens to stay bound, because an old
one may still run beside it; such events end in the dead queue until an operator removes the binding.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from prometheus_client import Counter

from services.chassis.bus import Bus
from services.chassis.db import Db
from services.chassis.errors import database_trouble

log = structlog.get_logger()

PREFETCH = 20
ATTEMPTS = 10
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0  # the pause doubles with every attempt
OUTAGE_SECONDS = 1.0
DAYS_KEPT = 14

RECEIVED = Counter("mercer_events_received_total", "Events by what became of them", ["name", "outcome"])

RECEIVE = "insert into inbox (message_id, name) values ($1, $2) on conflict do nothing returning true"
PRUNE = """
delete from inbox where message_id in (
    select message_id from inbox where received_at < now() - make_interval(days => $1) order by received_at limit 5000
)
"""


@dataclass(frozen=True)
class Event:
    """Something that happened in another service."""

    id: str
    name: str
    aggregate: str
    sequence: int
    time: str
    data: dict[str, Any]
    request_id: str | None = None
    actor: str | None = None


Listener = Callable[[Db, Event], Awaitable[object]]


def joined(*tables: Mapping[str, Listener]) -> Mapping[str, Listener]:
    """All listeners of several parts of a service. An event that more than one part hears goes to each in turn, in the
    one transaction."""
    hearers: dict[str, list[Listener]] = {}
    for table in tables:
        for name, listener in table.items():
            hearers.setdefault(name, []).append(listener)
    return {name: in_turn(listeners) for name, listeners in hearers.items()}


def in_turn(listeners: Sequence[Listener]) -> Listener:
    """One listener that calls each of these, one after the other."""
    if len(listeners) == 1:
        return listeners[0]

    async def call_each(db: Db, event: Event) -> None:
        for listener in listeners:
            await listener(db, event)

    return call_each


def decode(body: bytes) -> Event:
    """Raises ValueError, KeyError or TypeError when it is not one of our events."""
    doc = orjson.loads(body)
    if not isinstance(doc["data"], dict):
        raise TypeError("data is not an object")
    return Event(
        id=str(doc["id"]),
        name=str(doc["type"]),
        aggregate=str(doc["subject"]),
        sequence=int(doc["sequence"]),
        time=str(doc["time"]),
        data=doc["data"],
        request_id=doc.get("requestid"),
        actor=doc.get("actor"),
    )


async def receive(db: Db, message_id: str, name: str) -> bool:
    """Whether the message comes for the first time; this transaction has taken it then."""
    return bool(await db.fetchval(RECEIVE, message_id, name))


async def apply(pool: asyncpg.Pool, listeners: Mapping[str, Listener], event: Event) -> bool:
    """Run the event's listener, unless it ran before. Returns whether it ran now."""
    async with pool.acquire() as db, db.transaction():
        if not await receive(db, event.id, event.name):
            return False
        await listeners[event.name](db, event)
        return True


async def run_consumer(pool: asyncpg.Pool, bus: Bus, listeners: Mapping[str, Listener]) -> None:
    """Apply events until cancelled; those under way are finished first."""
    # Events are never urgent: they leave half of the connections to requests.
    slots = asyncio.Semaphore(max(1, pool.get_max_size() // 2))

    async def declare(channel: AbstractChannel) -> AbstractQueue:
        name = f"{bus.namespace}.{bus.service}"
        dead = await channel.declare_queue(f"{name}.dead", durable=True, arguments={"x-queue-type": "quorum"})
        await dead.bind(bus.dead, bus.service)
        queue = await channel.declare_queue(
            f"{name}.events",
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": ATTEMPTS,
                "x-dead-letter-exchange": bus.dead,
                "x-dead-letter-routing-key": bus.service,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        for event_name in listeners:
            await queue.bind(bus.events, event_name)
        return queue

    async def receive(message: AbstractIncomingMessage) -> None:
        try:
            event = decode(message.body)
        except (ValueError, KeyError, TypeError) as error:
            log.error("event cannot be read, moved to the dead queue", id=message.message_id, error=repr(error))  # noqa: TRY400
            RECEIVED.labels("unknown", "dead").inc()
            await message.reject(requeue=False)
            return
        with structlog.contextvars.bound_contextvars(
            request_id=event.request_id, actor=event.actor, event=event.name, event_id=event.id
        ):
            outcome = await _settle(pool, listeners, event, message, slots)
        RECEIVED.labels(event.name, outcome).inc()

    subscription = await bus.subscribe(declare, receive, PREFETCH)
    try:
        await asyncio.Event().wait()
    finally:
        await bus.unsubscribe(subscription)


async def _settle(
    pool: asyncpg.Pool,
    listeners: Mapping[str, Listener],
    event: Event,
    message: AbstractIncomingMessage,
    slots: asyncio.Semaphore,
) -> str:
    """Apply the event and acknowledge it, or give it back. Returns what became of it, for the metrics."""
    while True:
        try:
            async with slots:
                applied = await apply(pool, listeners, event)
        except Exception as error:
            if database_trouble(error):
                log.warning("event waits for the database", error=repr(error))
                await asyncio.sleep(OUTAGE_SECONDS)
                continue
            log.exception("event not applied")
            attempts = int(str((message.headers or {}).get("x-delivery-count", 0)))
            await asyncio.sleep(min(RETRY_SECONDS * 2**attempts, LONGEST_RETRY_SECONDS))
            await message.reject(requeue=True)
            return "failed"
        await message.ack()
        return "applied" if applied else "repeated"


async def prune(db: Db) -> None:
    """Forget ids of messages that cannot come again; called on a timer."""
    while await db.execute(PRUNE, DAYS_KEPT) != "DELETE 0":
        pass
