"""An event has its effect once, however often it comes and whatever breaks in between."""

import asyncio
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import aiormq
import asyncpg
import orjson
import pytest
import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from services.chassis import consumers
from services.chassis.bus import Bus
from services.chassis.consumers import ATTEMPTS, Event, apply, joined, run_consumer
from services.chassis.db import Db
from tests.support.broker import MakeBus, Start, Wire, connected, queue_counts
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(consumers, "LONGEST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(consumers, "OUTAGE_SECONDS", 0.01)


@pytest.fixture
async def effects(pool: asyncpg.Pool) -> asyncpg.Pool:
    """The pool of a service whose listener counts what it applies."""
    await pool.execute("create table effects (id text, request_id text)")
    return pool


async def on_counted(db: Db, event: Event) -> None:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    await db.execute("insert into effects (id, request_id) values ($1, $2)", event.id, request_id)


def event_body(event_id: str, name: str = "thing.counted", **changes: Any) -> bytes:
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/mercer/other",
        "type": name,
        "subject": "thing_1",
        "time": "2026-01-02T03:04:05.678Z",
        "sequence": "7",
        "requestid": "req_1",
        "data": {"count": 1},
    }
    return orjson.dumps(event | changes)


async def send(bus: Bus, body: bytes, name: str = "thing.counted") -> None:
    await bus.publish(bus.events, name, Message(body, delivery_mode=2))


async def applied(pool: asyncpg.Pool) -> list[str]:
    return [row["id"] for row in await pool.fetch("select id from effects order by id")]


async def consumed(probe: AbstractChannel, bus: Bus, consumers: int = 1) -> None:
    """Wait until the service's queue is there and has so many consumers."""

    async def check() -> bool:
        counts = await queue_counts(probe, f"{bus.namespace}.stock.events")
        return counts is not None and counts[1] == consumers

    await until(check)


async def dead(probe: AbstractChannel, bus: Bus) -> AbstractIncomingMessage:
    queue = await probe.get_queue(f"{bus.namespace}.stock.dead")

    async def arrived() -> AbstractIncomingMessage | None:
        return await queue.get(no_ack=True, fail=False)

    message = await until(arrived)
    assert isinstance(message, AbstractIncomingMessage)
    return message


async def test_listener_gets_the_event_once(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("stock")
    seen: list[Event] = []

    async def listener(db: Db, event: Event) -> None:
        seen.append(event)
        await on_counted(db, event)

    start(run_consumer(effects, bus, {"thing.counted": listener}))
    await consumed(probe, bus)
    first, second = str(uuid4()), str(uuid4())
    for event_id in (first, first, first, second):
        await send(bus, event_body(event_id))
    await send(bus, event_body(str(uuid4()), "thing.ignored"), "thing.ignored")

    async def settled() -> bool:
        counts = await queue_counts(probe, f"{bus.namespace}.stock.events")
        return len(await applied(effects)) == 2 and counts == (0, 1)

    await until(settled)
    event = Event(
        id=first,
        name="thing.counted",
        aggregate="thing_1",
        sequence=7,
        time="2026-01-02T03:04:05.678Z",
        data={"count": 1},
        request_id="req_1",
    )
    assert [e for e in seen if e.id == first] == [event]
    assert await applied(effects) == sorted([first, second])
    assert await effects.fetchval("select count(*) from inbox") == 2
    assert await effects.fetchval("select distinct request_id from effects") == "req_1"


async def test_an_event_that_two_parts_hear_is_told_to_each_in_one_transaction(effects: asyncpg.Pool) -> None:
    event = Event(str(uuid4()), "thing.counted", "thing_1", 7, "2026-01-02T03:04:05.678Z", {"count": 1})
    heard = []

    async def second(db: Db, event: Event) -> None:
        heard.append(await db.fetchval("select count(*) from effects"))
        if len(heard) == 1:
            raise RuntimeError

    listeners = joined({"thing.counted": on_counted, "other": on_counted}, {"thing.counted": second})
    assert listeners["other"] is on_counted
    with pytest.raises(RuntimeError):
        await apply(effects, listeners, event)
    assert (heard, await applied(effects)) == ([1], [])
    assert await apply(effects, listeners, event)
    assert (heard, await applied(effects)) == ([1, 1], [event.id])


async def test_effect_happens_once_when_the_connection_breaks_before_the_acknowledgement(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, wire: Wire, start: Start
) -> None:
    bus = await make_bus("stock", wire.url)
    other = await make_bus("other")
    ran = 0

    async def listener(db: Db, event: Event) -> None:
        nonlocal ran
        ran += 1
        await on_counted(db, event)
        wire.cut()

    start(run_consumer(effects, bus, {"thing.counted": listener}))
    await consumed(probe, bus)
    repeated = consumers.RECEIVED.labels("thing.counted", "repeated")
    before = repeated._value.get()
    await send(other, event_body("once"))

    async def came_again() -> bool:
        return bool(repeated._value.get() > before)

    await until(came_again)
    assert ran == 1
    assert await applied(effects) == ["once"]


async def test_an_event_that_only_a_newer_version_knows_is_not_lost(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    old, new = await make_bus("stock"), await make_bus("stock")
    newer = asyncio.create_task(run_consumer(effects, new, {"thing.counted": on_counted, "thing.new": on_counted}))
    await consumed(probe, new)
    newer.cancel()
    await asyncio.wait({newer})
    start(run_consumer(effects, old, {"thing.counted": on_counted}))
    await consumed(probe, old)
    await send(old, event_body("unknown here", "thing.new"), "thing.new")
    assert orjson.loads((await dead(probe, old)).body)["id"] == "unknown here"
    assert await applied(effects) == []


async def test_another_instance_applies_what_a_dead_one_had_begun(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, wire: Wire, start: Start, database_url: str
) -> None:
    doomed, healthy = await make_bus("stock", wire.url), await make_bus("stock")
    begun = asyncio.Event()

    async def stuck(db: Db, event: Event) -> None:
        await on_counted(db, event)
        begun.set()
        await asyncio.Event().wait()

    task = start(run_consumer(effects, doomed, {"thing.counted": stuck}))
    await consumed(probe, doomed)
    await send(healthy, event_body("handed over"))
    await begun.wait()
    start(run_consumer(effects, healthy, {"thing.counted": on_counted}))
    wire.cut(up=False)
    consumers_of_doomed = doomed._subscriptions[0]
    for running in consumers_of_doomed._running:
        running.cancel()
    task.cancel()

    async def done() -> bool:
        return await applied(effects) == ["handed over"]

    await until(done)


async def test_an_event_that_always_fails_ends_in_the_dead_queue(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("stock")
    ran = 0

    async def failing(db: Db, event: Event) -> None:
        nonlocal ran
        await on_counted(db, event)
        ran += 1
        raise ZeroDivisionError

    start(run_consumer(effects, bus, {"thing.counted": failing, "thing.fine": on_counted}))
    await consumed(probe, bus)
    await send(bus, event_body("bad"))
    await send(bus, event_body("good", "thing.fine"), "thing.fine")
    message = await dead(probe, bus)
    assert orjson.loads(message.body)["id"] == "bad"
    assert ran == ATTEMPTS + 1
    assert await applied(effects) == ["good"]
    assert await effects.fetchval("select count(*) from inbox") == 1


@pytest.mark.parametrize("body", [b"\x00", b"[]", b"{}", event_body("x", data=3), event_body("x", sequence="first")])
async def test_what_cannot_be_read_goes_to_the_dead_queue_at_once(
    body: bytes, effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("stock")
    start(run_consumer(effects, bus, {"thing.counted": on_counted}))
    await consumed(probe, bus)
    await send(bus, body)
    message = await dead(probe, bus)
    assert message.body == body
    assert message.headers["x-death"][0]["reason"] == "rejected"  # type: ignore[index, call-overload]
    assert await applied(effects) == []


@pytest.mark.parametrize(
    "outage", [ConnectionResetError("gone"), asyncpg.DeadlockDetectedError("again"), asyncpg.InterfaceError("closed")]
)
async def test_an_outage_of_the_database_uses_up_no_attempt(
    outage: Exception, effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("stock")
    ran = 0

    async def listener(db: Db, event: Event) -> None:
        nonlocal ran
        ran += 1
        if ran <= 2 * ATTEMPTS:
            raise outage
        await on_counted(db, event)

    start(run_consumer(effects, bus, {"thing.counted": listener}))
    await consumed(probe, bus)
    await send(bus, event_body("patient"))

    async def done() -> bool:
        return await applied(effects) == ["patient"]

    await until(done)
    assert ran == 2 * ATTEMPTS + 1


async def test_consumption_is_restored_when_the_queue_is_deleted_or_the_connection_lost(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, wire: Wire, start: Start
) -> None:
    bus = await make_bus("stock", wire.url)
    start(run_consumer(effects, bus, {"thing.counted": on_counted}))
    for n, harm in enumerate((None, "queue", "wire", "exchange")):
        connection = bus._connection
        if harm == "queue":
            await probe.queue_delete(f"{bus.namespace}.stock.events")
        elif harm == "exchange":
            await probe.exchange_delete(bus.events)
            wire.cut()
        elif harm == "wire":
            wire.cut()
        if harm:

            async def made_again(old: Any = connection) -> bool:
                return bus.connected and bus._connection is not old

            await until(made_again)
        await connected(bus)
        await consumed(probe, bus)
        await send(bus, event_body(f"event {n}"))

        async def done(count: int = n + 1) -> bool:
            return len(await applied(effects)) == count

        await until(done)


async def test_a_service_starts_without_a_broker_and_connects_later(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, wire: Wire, start: Start
) -> None:
    wire.up = False
    bus = await make_bus("stock", wire.url, connect=False)
    start(run_consumer(effects, bus, {"thing.counted": on_counted}))
    assert not bus.connected
    wire.up = True
    await connected(bus)
    await send(bus, event_body("late"))

    async def done() -> bool:
        return await applied(effects) == ["late"]

    await until(done)


async def test_a_stopping_consumer_finishes_what_it_has_begun(
    effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel
) -> None:
    bus = await make_bus("stock")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(db: Db, event: Event) -> None:
        begun.set()
        await go_on.wait()
        await on_counted(db, event)

    task = asyncio.create_task(run_consumer(effects, bus, {"thing.counted": slow}))
    await consumed(probe, bus)
    await send(bus, event_body("begun"))
    await begun.wait()
    [subscription] = bus._subscriptions
    assert subscription._queue is not None
    channel = cast(aiormq.Channel, await subscription._queue.channel.get_underlay_channel())
    task.cancel()

    async def consumes_no_more() -> bool:
        return not channel.consumers

    await until(consumes_no_more)
    await send(bus, event_body("left for later"))
    go_on.set()
    await asyncio.wait({task})
    assert await applied(effects) == ["begun"]
    await consumed(probe, bus, 0)
    assert await queue_counts(probe, f"{bus.namespace}.stock.events") == (1, 0)


async def test_prune_forgets_old_messages_only(pool: asyncpg.Pool) -> None:
    for name, days in (("old", 15), ("young", 13)):
        await pool.execute(
            "insert into inbox (message_id, name, received_at) values ($1, 'x', now() - $2::interval)",
            name,
            timedelta(days=days),
        )
    await consumers.prune(pool)
    assert [row["message_id"] for row in await pool.fetch("select message_id from inbox")] == ["young"]
