"""Events leave once, in order, whatever happens to the broker, the relay or its database connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import orjson
import pytest
import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractQueue

from services.chassis import outbox
from services.chassis.bus import Bus
from services.chassis.errors import Unavailable
from services.chassis.outbox import emit, emit_all, run_relay
from tests.support.broker import MakeBus, Start, Wire, connected
from tests.support.waiting import PATIENCE, until


async def emitted(pool: asyncpg.Pool, *events: tuple[str, str, dict[str, Any]]) -> None:
    async with pool.acquire() as db, db.transaction():
        for event in events:
            await emit(db, *event)


async def listening(probe: AbstractChannel, bus: Bus) -> AbstractQueue:
    queue = await probe.declare_queue(exclusive=True)
    await queue.bind(bus.events, "#")
    return queue


async def received(queue: AbstractQueue) -> list[dict[str, Any]]:
    """All events that are in the queue now."""
    events = []
    while message := await queue.get(no_ack=True, fail=False):
        events.append(orjson.loads(message.body))
    return events


def rows_are(pool: asyncpg.Pool, count: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(await pool.fetchval("select count(*) from outbox") == count)

    return check


async def test_emit_numbers_the_events_of_each_aggregate(pool: asyncpg.Pool) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1", actor="usr_1"):
        await emitted(pool, ("order.placed", "order_1", {"a": 1}), ("order.updated", "order_1", {}))
    await emitted(pool, ("order.placed", "order_2", {"b": None}))
    rows = await pool.fetch("select name, aggregate, sequence, data, request_id, actor from outbox order by position")
    assert [tuple(row) for row in rows] == [
        ("order.placed", "order_1", 1, '{"a":1}', "req_1", "usr_1"),
        ("order.updated", "order_1", 2, "{}", "req_1", "usr_1"),
        ("order.placed", "order_2", 1, '{"b":null}', None, None),
    ]


async def test_emit_all_is_emit_for_many(pool: asyncpg.Pool) -> None:
    await emitted(pool, ("region.created", "reg_b", {}))
    with structlog.contextvars.bound_contextvars(request_id="req_1", actor="usr_1"):
        await emit_all(pool, "region.updated", {"reg_b": {"n": 1}, "reg_a": {"n": 2}})
    await emit_all(pool, "region.updated", {})
    rows = await pool.fetch(
        "select name, aggregate, sequence, data, request_id, actor from outbox order by position offset 1"
    )
    assert [tuple(row) for row in rows] == [
        ("region.updated", "reg_a", 1, '{"n":2}', "req_1", "usr_1"),
        ("region.updated", "reg_b", 2, '{"n":1}', "req_1", "usr_1"),
    ]


async def test_emit_belongs_to_the_transaction(pool: asyncpg.Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pool.acquire() as db, db.transaction():
            await emit(db, "order.placed", "order_1", {})
            raise ZeroDivisionError
    assert await pool.fetchval("select count(*) from outbox") == 0
    assert await pool.fetchval("select count(*) from event_sequences") == 0


async def test_relay_publishes_a_cloud_event(
    pool: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("orders")
    queue = await listening(probe, bus)
    with structlog.contextvars.bound_contextvars(request_id="req_1", actor="usr_1"):
        await emitted(pool, ("order.placed", "order_1", {"id": "order_1", "total": 10}))
    await emitted(pool, ("order.placed", "order_2", {}))
    row = await pool.fetchrow(
        """select id::text, to_char(occurred_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as time
        from outbox order by position"""
    )
    start(run_relay(pool, bus))
    await until(rows_are(pool, 0))
    message = await queue.get()
    assert orjson.loads(message.body) == {
        "specversion": "1.0",
        "id": row["id"],
        "source": "/mercer/orders",
        "type": "order.placed",
        "subject": "order_1",
        "time": row["time"],
        "datacontenttype": "application/json",
        "sequence": "1",
        "requestid": "req_1",
        "actor": "usr_1",
        "data": {"id": "order_1", "total": 10},
    }
    assert (message.message_id, message.routing_key, message.content_type, message.delivery_mode) == (
        row["id"],
        "order.placed",
        "application/cloudevents+json",
        2,
    )
    [second] = await received(queue)
    assert second["subject"] == "order_2"
    assert not {"requestid", "actor"} & second.keys()


async def test_a_commit_wakes_the_relay(
    pool: asyncpg.Pool, make_bus: MakeBus, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "POLL_SECONDS", 10 * PATIENCE)
    bus = await make_bus("orders")
    start(run_relay(pool, bus))
    for n in range(3):
        await emitted(pool, ("order.placed", f"order_{n}", {}))
        await until(rows_are(pool, 0))


async def test_a_row_that_is_committed_late_is_not_overlooked(
    pool: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start
) -> None:
    bus = await make_bus("orders")
    queue = await listening(probe, bus)
    start(run_relay(pool, bus))
    async with pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        await emit(late, "order.placed", "order_late", {})
        await emitted(pool, ("order.placed", "order_early", {}))
        await until(rows_are(pool, 0))
        await transaction.commit()
    await until(rows_are(pool, 0))
    assert [event["subject"] for event in await received(queue)] == ["order_early", "order_late"]


async def test_events_wait_for_the_broker(
    pool: asyncpg.Pool,
    make_bus: MakeBus,
    probe: AbstractChannel,
    wire: Wire,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.05)
    bus = await make_bus("orders", wire.url)
    queue = await listening(probe, bus)
    wire.cut(up=False)

    async def noticed() -> bool:
        return not bus.connected

    await until(noticed)
    start(run_relay(pool, bus))
    await emitted(pool, *(("order.placed", f"order_{n}", {}) for n in range(5)))
    with pytest.raises(Unavailable) as refused:
        await bus.publish(bus.events, "order.placed", Message(b"{}"))
    assert refused.value.outcome_unknown is False
    assert await pool.fetchval("select count(*) from outbox") == 5
    wire.up = True
    await until(rows_are(pool, 0))
    assert sorted(event["subject"] for event in await received(queue)) == [f"order_{n}" for n in range(5)]


# 800 events are 300 kB. The broker may confirm as many at once as it likes, but no more than are under way, one of each
# of the 40 aggregates: its answers are 400 bytes or more.
@pytest.mark.parametrize(
    ("direction", "count"), [("from", 0), ("from", 300), ("to", 0), ("to", 20_000), ("to", 120_000), ("to", 270_000)]
)
async def test_nothing_is_lost_or_reordered_when_the_connection_breaks_within_a_batch(
    direction: str,
    count: int,
    pool: asyncpg.Pool,
    make_bus: MakeBus,
    probe: AbstractChannel,
    wire: Wire,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.05)
    bus = await make_bus("orders", wire.url)
    queue = await listening(probe, bus)
    await emitted(pool, *(("order.updated", f"order_{n % 40}", {}) for n in range(800)))
    first = bus._connection
    wire.break_after(direction, count)
    start(run_relay(pool, bus))
    await until(rows_are(pool, 0))
    assert bus._connection is not first, "the wire should have been cut meanwhile"
    seen: dict[str, list[int]] = {}
    for event in await received(queue):
        sequences = seen.setdefault(event["subject"], [])
        if int(event["sequence"]) not in sequences:
            sequences.append(int(event["sequence"]))
    assert seen == {f"order_{n}": list(range(1, 21)) for n in range(40)}


async def test_an_event_is_not_published_before_an_unconfirmed_one_of_its_aggregate(
    pool: asyncpg.Pool, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)
    attempts: list[str] = []

    class Picky:
        """Refuses the second event of order_a, the first time."""

        service, events = "orders", "events"

        async def publish(self, exchange: str, name: str, message: Message) -> None:
            event = orjson.loads(message.body)
            attempt = event["subject"] + event["sequence"]
            attempts.append(attempt)
            await asyncio.sleep(0)
            if attempt == "a2" and attempts.count("a2") == 1:
                raise Unavailable("not now")

    await emitted(pool, *(("order.updated", name, {}) for name in "aabaab"))
    start(run_relay(pool, Picky()))  # type: ignore[arg-type]
    await until(rows_are(pool, 0))
    assert [a for a in attempts if a.startswith("a")] == ["a1", "a2", "a2", "a3", "a4"]
    assert [a for a in attempts if a.startswith("b")] == ["b1", "b2"]


async def test_one_relay_publishes_and_another_takes_over(
    pool: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STANDBY_SECONDS", 0.05)
    first, second = await make_bus("first"), await make_bus("second")
    queue = await listening(probe, first)
    leader = start(run_relay(pool, first))
    await emitted(pool, ("order.placed", "order_0", {}))
    await until(rows_are(pool, 0))
    start(run_relay(pool, second))
    for n in range(1, 50):
        await emitted(pool, ("order.placed", f"order_{n}", {}))
    await until(rows_are(pool, 0))
    events = await received(queue)
    assert [event["source"] for event in events] == ["/mercer/first"] * 50
    assert sorted(event["subject"] for event in events) == sorted(f"order_{n}" for n in range(50))
    leader.cancel()
    await asyncio.wait({leader})
    await emitted(pool, ("order.placed", "order_50", {}))
    await until(rows_are(pool, 0))
    assert [(event["source"], event["subject"]) for event in await received(queue)] == [("/mercer/second", "order_50")]


async def test_relay_survives_the_loss_of_its_database_connection(
    pool: asyncpg.Pool, make_bus: MakeBus, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STANDBY_SECONDS", 0.05)
    bus = await make_bus("orders")
    start(run_relay(pool, bus))
    holder = """
        select pid from pg_locks join pg_database d on d.oid = database
        where locktype = 'advisory' and granted and d.datname = current_database()
    """

    async def leading() -> Any:
        return await pool.fetchval(holder)

    pid = await until(leading)
    await pool.execute("select pg_terminate_backend($1)", pid)
    await emitted(pool, ("order.placed", "order_1", {}))
    await until(rows_are(pool, 0))
    assert await leading() != pid


async def test_a_stopping_relay_publishes_what_is_left(
    pool: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 10)
    bus = await make_bus("orders")
    queue = await listening(probe, bus)
    await emitted(pool, *(("order.placed", f"order_{n}", {}) for n in range(300)))
    relay = asyncio.create_task(run_relay(pool, bus))

    async def begun() -> bool:
        return bool(await pool.fetchval("select count(*) from outbox") < 300)

    await until(begun)
    relay.cancel()
    await asyncio.wait({relay})
    assert relay.cancelled()
    assert await pool.fetchval("select count(*) from outbox") == 0
    assert len(await received(queue)) == 300
    await connected(bus)
