"""A command is executed once for its key, its refusals arrive as they were raised, and nobody waits for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest
import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aiohttp import web

from services.chassis import commands
from services.chassis.bus import Bus
from services.chassis.commands import CommandHandler, Outside, call, run_commands, tombstone
from services.chassis.db import Db, create_pool
from services.chassis.errors import ApiError, NotAllowed, Unavailable
from tests.support.broker import MakeBus, Start, Wire, connected, queue_counts
from tests.support.waiting import PATIENCE, in_time, until

Serve = Callable[..., Awaitable[Bus]]


@pytest.fixture
async def effects(pool: asyncpg.Pool) -> asyncpg.Pool:
    await pool.execute("create table effects (what text, request_id text, actor text)")
    return pool


@pytest.fixture
async def serve(effects: asyncpg.Pool, make_bus: MakeBus, probe: AbstractChannel, start: Start) -> Serve:
    """An instance of the service "stock" with these commands, ready to be called."""
    instances = 0

    async def serve(
        handlers: dict[str, CommandHandler], app: web.Application | None = None, url: str | None = None
    ) -> Bus:
        nonlocal instances
        instances += 1
        bus = await make_bus("stock", url)
        start(run_commands(effects, bus, handlers, app))
        expected = instances

        async def consumed() -> bool:
            counts = await queue_counts(probe, f"{bus.namespace}.stock.commands")
            return counts is not None and counts[1] == expected

        await until(consumed)
        return bus

    return serve


async def reserve(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    context = structlog.contextvars.get_contextvars()
    await db.execute(
        "insert into effects values ($1, $2, $3)", body["what"], context.get("request_id"), context.get("actor")
    )
    return {"reserved": body["what"], "number": await db.fetchval("select count(*) from effects")}


async def compensate_reserve(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    if await tombstone(db, body["compensates"]):
        return {"compensated": "nothing"}
    await db.execute("delete from effects where what = $1", body["what"])
    return {"compensated": body["what"]}


async def done(pool: asyncpg.Pool) -> list[str]:
    return [row["what"] for row in await pool.fetch("select what from effects order by what")]


async def test_reply_and_context(effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus) -> None:
    await serve({"reserve": reserve})
    orders = await make_bus("orders")
    with structlog.contextvars.bound_contextvars(request_id="req_1", actor="usr_1"):
        assert await call(orders, "stock", "reserve", {"what": "shirt"}) == {"reserved": "shirt", "number": 1}
    assert [tuple(row) for row in await effects.fetch("select * from effects")] == [("shirt", "req_1", "usr_1")]


async def test_the_same_key_gets_the_same_reply(effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus) -> None:
    await serve({"reserve": reserve, "other": reserve})
    orders = await make_bus("orders")
    first = await call(orders, "stock", "reserve", {"what": "shirt", "count": 1}, key="k1")
    assert first == {"reserved": "shirt", "number": 1}
    assert await call(orders, "stock", "reserve", {"count": 1, "what": "shirt"}, key="k1") == first
    for name, body in (("reserve", {"what": "shoe", "count": 1}), ("other", {"what": "shirt", "count": 1})):
        with pytest.raises(ApiError) as refused:
            await call(orders, "stock", name, body, key="k1")
        assert (refused.value.status, refused.value.type, refused.value.code) == (
            409,
            "conflict",
            "invalid_state_error",
        )
    assert await done(effects) == ["shirt"]
    assert (await call(orders, "stock", "reserve", {"what": "shirt", "count": 1}, key="k2"))["number"] == 2


async def test_a_key_sent_twice_at_once_is_executed_once(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus
) -> None:
    async def slowly(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        reply = await reserve(db, body)
        await db.fetchval("select pg_sleep(0.1)")
        return reply

    for _ in range(2):
        await serve({"reserve": slowly})
    orders = await make_bus("orders")
    replies = await asyncio.gather(*(call(orders, "stock", "reserve", {"what": "shirt"}, key="k") for _ in range(8)))
    assert replies == [{"reserved": "shirt", "number": 1}] * 8
    assert await done(effects) == ["shirt"]


async def test_refusals_arrive_as_they_were_raised_and_change_nothing(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus
) -> None:
    async def refuse(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        await reserve(db, body)
        if body.get("bug"):
            raise ZeroDivisionError
        raise NotAllowed("Out of stock.", code="insufficient_inventory")

    await serve({"reserve": refuse})
    orders = await make_bus("orders")

    async def answer(name: str, body: dict[str, Any]) -> tuple[Any, ...]:
        with pytest.raises(ApiError) as refused:
            await call(orders, "stock", name, body, key="k")
        return refused.value.status, refused.value.type, refused.value.message, refused.value.code

    assert await answer("reserve", {"what": "x"}) == (400, "not_allowed", "Out of stock.", "insufficient_inventory")
    assert await answer("reserve", {"what": "x", "bug": True}) == (
        500,
        "unknown_error",
        "reserve could not be executed; the reason was logged.",
        "unknown_error",
    )
    assert await answer("steal", {}) == (400, "not_allowed", "There is no command steal here.", None)
    assert await done(effects) == []
    assert await effects.fetchval("select count(*) from command_replies") == 0


async def test_a_deadlock_is_tried_again(effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus) -> None:
    ran = 0

    async def unlucky(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal ran
        ran += 1
        await reserve(db, body)
        if ran < commands.ROUNDS:
            raise asyncpg.DeadlockDetectedError("deadlock")
        return {"ran": ran}

    await serve({"reserve": unlucky})
    assert await call(await make_bus("orders"), "stock", "reserve", {"what": "shirt"}, key="k") == {"ran": 3}
    assert await done(effects) == ["shirt"]


async def test_undoing_what_ran_and_what_never_will(effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus) -> None:
    await serve({"reserve": reserve, "compensate_reserve": compensate_reserve})
    orders = await make_bus("orders")
    await call(orders, "stock", "reserve", {"what": "shirt"}, key="k1")
    compensate = {"what": "shirt", "compensates": "k1"}
    for _ in range(2):
        assert await call(orders, "stock", "compensate_reserve", compensate, key="k1:compensate") == {
            "compensated": "shirt"
        }
    assert await done(effects) == []
    early = {"what": "shoe", "compensates": "k2"}
    assert await call(orders, "stock", "compensate_reserve", early, key="k2:compensate") == {"compensated": "nothing"}
    assert await call(orders, "stock", "compensate_reserve", early, key="k2:compensate again") == {
        "compensated": "nothing"
    }
    with pytest.raises(ApiError, match="reserve was compensated before it came") as refused:
        await call(orders, "stock", "reserve", {"what": "shoe"}, key="k2")
    assert refused.value.status == 409
    assert await done(effects) == []


async def test_an_undo_waits_for_the_command_that_is_under_way(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        reply = await reserve(db, body)
        begun.set()
        await go_on.wait()
        return reply

    await serve({"reserve": slowly, "compensate_reserve": compensate_reserve})
    orders = await make_bus("orders")
    first = asyncio.create_task(call(orders, "stock", "reserve", {"what": "shirt"}, key="k"))
    await begun.wait()
    compensate = asyncio.create_task(
        call(orders, "stock", "compensate_reserve", {"what": "shirt", "compensates": "k"}, key="k:compensate")
    )

    async def blocked() -> Any:
        return await effects.fetchval("select count(*) from pg_locks where not granted")

    await until(blocked)
    go_on.set()
    assert await first == {"reserved": "shirt", "number": 1}
    assert await compensate == {"compensated": "shirt"}
    assert await done(effects) == []


async def test_a_service_that_never_started_is_known_not_to_have_done_it(make_bus: MakeBus) -> None:
    orders = await make_bus("orders")
    with pytest.raises(Unavailable) as refused:
        await call(orders, "stock", "reserve", {}, deadline=PATIENCE)
    assert refused.value.outcome_unknown is False, "it was waited for"


async def test_without_a_broker_a_call_fails_at_once(make_bus: MakeBus, wire: Wire) -> None:
    wire.up = False
    orders = await make_bus("orders", wire.url, connect=False)
    with pytest.raises(Unavailable) as refused:
        await call(orders, "stock", "reserve", {}, deadline=PATIENCE)
    assert refused.value.outcome_unknown is False, "it was waited for"


async def test_a_lost_connection_ends_the_wait(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus, wire: Wire
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        await go_on.wait()
        return await reserve(db, body)

    await serve({"reserve": slowly})
    orders = await make_bus("orders", wire.url)
    asked = asyncio.create_task(call(orders, "stock", "reserve", {"what": "shirt"}, key="k", deadline=2 * PATIENCE))
    await begun.wait()
    wire.cut()
    with pytest.raises(Unavailable) as lost:
        async with in_time():
            await asked
    assert lost.value.outcome_unknown is True
    go_on.set()
    await connected(orders)
    reply = await call(orders, "stock", "reserve", {"what": "shirt"}, key="k")
    assert reply == {"reserved": "shirt", "number": 1}
    assert await done(effects) == ["shirt"]


async def test_a_server_that_loses_its_connection_executes_once(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus, wire: Wire
) -> None:
    ran = 0

    async def cutting(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal ran
        ran += 1
        wire.cut()
        return await reserve(db, body)

    await serve({"reserve": cutting}, url=wire.url)
    orders = await make_bus("orders")
    reply = await call(orders, "stock", "reserve", {"what": "shirt"}, key="k", deadline=PATIENCE)
    assert reply == {"reserved": "shirt", "number": 1}
    assert ran == 1
    assert await done(effects) == ["shirt"]


async def test_a_command_is_not_executed_after_its_deadline(
    database_url: str, effects: asyncpg.Pool, make_bus: MakeBus, start: Start
) -> None:
    """It waits for a connection of a pool that has none left, while its caller gives up."""
    small = await create_pool(database_url, 2, "small")
    stock, orders = await make_bus("stock"), await make_bus("orders")
    start(run_commands(small, stock, {"reserve": reserve}))
    held = [await small.acquire() for _ in range(2)]

    async def asked() -> Any:
        try:
            return await call(orders, "stock", "reserve", {"what": "shirt"}, deadline=0.2)
        except Unavailable as error:
            return error

    async def timed_out() -> bool:
        error = await asked()
        return isinstance(error, Unavailable) and error.outcome_unknown

    await until(timed_out)
    late = commands.COMMAND_SECONDS.labels("reserve", 504)
    before = late._sum.get()
    for connection in held:
        await small.release(connection)

    async def refused() -> bool:
        return bool(late._sum.get() > before)

    await until(refused)
    assert await done(effects) == []
    await small.close()


async def test_a_command_that_nobody_took_in_time_is_thrown_away(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus, probe: AbstractChannel
) -> None:
    orders = await make_bus("orders")
    await probe.declare_queue(
        f"{orders.namespace}.stock.commands", durable=True, arguments={"x-expires": commands.QUEUE_MILLISECONDS}
    )
    with pytest.raises(Unavailable) as lost:
        await call(orders, "stock", "reserve", {"what": "shirt"}, deadline=0.2)
    assert lost.value.outcome_unknown is True

    async def thrown_away() -> bool:
        return await queue_counts(probe, f"{orders.namespace}.stock.commands") == (0, 0)

    await until(thrown_away)
    await serve({"reserve": reserve})
    assert await call(orders, "stock", "reserve", {"what": "shoe"}) == {"reserved": "shoe", "number": 1}


async def test_a_command_outside_transactions_gets_the_application_and_its_key(
    effects: asyncpg.Pool, serve: Serve, make_bus: MakeBus
) -> None:
    app, seen = web.Application(), []

    async def charge(given: web.Application, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        seen.append((given is app, body, key))
        if len(seen) == 1:
            raise ConnectionError("the provider hung up")
        return {"charged": body["amount"]}

    async def undo_charge(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        return {"never": await tombstone(db, body["compensates"])}

    await serve({"charge": Outside(charge), "undo_charge": undo_charge}, app)
    orders = await make_bus("orders")
    with pytest.raises(ApiError) as failed:
        await call(orders, "stock", "charge", {"amount": 5}, key="k")
    assert failed.value.status == 500
    for _ in range(2):
        assert await call(orders, "stock", "charge", {"amount": 5}, key="k") == {"charged": 5}
    assert seen == [(True, {"amount": 5}, "k")] * 2
    with pytest.raises(ApiError, match="used for another command or body"):
        await call(orders, "stock", "charge", {"amount": 6}, key="k")
    assert await call(orders, "stock", "undo_charge", {"compensates": "k"}) == {"never": False}
    assert await call(orders, "stock", "undo_charge", {"compensates": "k2"}) == {"never": True}
    with pytest.raises(ApiError, match="compensated before it came"):
        await call(orders, "stock", "charge", {"amount": 5}, key="k2")
    assert len(seen) == 2


async def test_what_is_not_a_command_is_answered_too(serve: Serve, make_bus: MakeBus) -> None:
    await serve({"reserve": reserve})
    orders = await make_bus("orders")
    raw = await orders.request(f"{orders.namespace}.stock.commands", Message(b"\x00", type="reserve"), 5)
    assert orjson.loads(raw)["error"]["status"] == 400
    raw = await orders.request(f"{orders.namespace}.stock.commands", Message(b"{}"), 5)
    assert orjson.loads(raw)["error"]["status"] == 400


async def test_prune_forgets_old_replies_only(pool: asyncpg.Pool) -> None:
    for key, days in (("old", 8), ("young", 6)):
        await pool.execute(
            "insert into command_replies (key, name, created_at) values ($1, 'x', now() - $2::interval)",
            key,
            timedelta(days=days),
        )
    await commands.prune(pool)
    assert [row["key"] for row in await pool.fetch("select key from command_replies")] == ["young"]
