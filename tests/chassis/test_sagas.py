"""A saga that is killed anywhere is finished or compensated, and each of its effects happens exactly once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
import pytest
import structlog
from aiohttp import web

from services.chassis import saga_rows, sagas
from services.chassis.bus import Bus
from services.chassis.db import Db
from services.chassis.errors import ApiError, Conflict, NotAllowed, Unavailable
from services.chassis.keys import BUS, POOL
from services.chassis.sagas import Saga, Step, begin, run, run_resumer
from tests.support.broker import Start
from tests.support.waiting import PATIENCE, until


class Killed(BaseException):
    """As if the process had died here."""


class World:
    """Another service, idempotent by key, that remembers what it did; and the places where a process can die."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.passed: list[str] = []
        self.kill_at: str | None = None
        self.killed = False
        self.fail: dict[str, list[Exception]] = {}  # by place: what is raised there, once each
        self.calls: list[str] = []

    def place(self, name: str) -> None:
        self.passed.append(name)
        if name == self.kill_at:
            self.kill_at, self.killed = None, True
            raise Killed
        if self.fail.get(name):
            raise self.fail[name].pop(0)

    async def do(self, saga: Saga, step: str) -> dict[str, Any]:
        self.calls.append(step)
        self.place(f"before {step}")
        async with self.pool.acquire() as db, db.transaction():
            fresh = "insert into remote (key) values ($1) on conflict do nothing returning true"
            if await db.fetchval(fresh, saga.key(step)):
                await db.execute("insert into effects (subject, what) values ($1, $2)", saga.subject, step)
            elif await db.fetchval("select compensated from remote where key = $1", saga.key(step)):
                raise Conflict("compensated before it came")
        self.place(f"after {step}")
        return {"step": step, "subject": saga.state["cart"]}

    async def compensate(self, saga: Saga, step: str) -> None:
        self.calls.append(f"compensate {step}")
        self.place(f"before compensate {step}")
        async with self.pool.acquire() as db, db.transaction():
            bury = "insert into remote (key, compensated) values ($1, true) on conflict do nothing returning true"
            mark = "update remote set compensated = true where key = $1 and not compensated returning true"
            if not await db.fetchval(bury, saga.key(step)) and await db.fetchval(mark, saga.key(step)):
                await db.execute(
                    "insert into effects (subject, what) values ($1, $2)", saga.subject, f"compensate {step}"
                )
        self.place(f"after compensate {step}")

    async def commit(self, db: Db, saga: Saga) -> dict[str, Any]:
        self.calls.append("order")
        self.place("before order")
        await db.execute("insert into effects (subject, what) values ($1, 'order')", saga.subject)
        self.place("after order")
        return {"order": saga.subject, "paid": saga.results["authorize"]["step"]}

    async def effects(self, subject: str) -> list[str]:
        rows = await self.pool.fetch("select what from effects where subject = $1 order by n", subject)
        return [row["what"] for row in rows]

    async def saga(self, subject: str) -> Any:
        return await self.pool.fetchrow("select * from sagas where subject = $1 order by id desc limit 1", subject)

    async def lose_lease(self) -> None:
        """The time of those who died has run out."""
        await self.pool.execute("update sagas set leased_until = now() where status in ('running', 'compensating')")


@pytest.fixture
async def world(pool: asyncpg.Pool) -> World:
    await pool.execute("create table remote (key text primary key, compensated boolean not null default false)")
    await pool.execute("create table effects (n bigserial, subject text, what text)")
    return World(pool)


@pytest.fixture
def app(pool: asyncpg.Pool) -> web.Application:
    app = web.Application()
    app[POOL] = pool
    app[BUS] = Bus("amqp://unused", "none", "tests")
    app[BUS].connected = True
    return app


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sagas, "RESUME_SECONDS", 0.02)
    monkeypatch.setattr(saga_rows, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(saga_rows, "WAIT_SECONDS", 0.2)


def steps_of(world: World, *, no_return: str | None = None) -> Sequence[Step]:
    def step(name: str, *, undoable: bool = True) -> Step:
        async def do(app: web.Application, saga: Saga) -> dict[str, Any]:
            return await world.do(saga, name)

        async def compensate(app: web.Application, saga: Saga) -> None:
            await world.compensate(saga, name)

        return Step(
            name, do=do, compensate=compensate if undoable and name != no_return else None, no_return=name == no_return
        )

    return (step("price", undoable=False), step("reserve"), step("authorize"), Step("order", commit=world.commit))


async def begun(world: World, subject: str) -> Saga:
    async with world.pool.acquire() as db, db.transaction():
        return await begin(db, "place_order", subject, {"cart": subject})


async def ended(world: World, subject: str) -> Any:
    """The saga's row, once it is done or compensated; the lease of one that was killed runs out meanwhile."""

    async def check() -> Any:
        if world.killed:
            world.killed = False
            await world.lose_lease()
        row = await world.saga(subject)
        return row if row["status"] in ("done", "compensated") else None

    return await until(check)


ALL = ["price", "reserve", "authorize"]
UNDONE = ["price", "reserve", "authorize", "compensate authorize", "compensate reserve"]


async def test_a_saga_runs_its_steps_once_and_commits(world: World, app: web.Application) -> None:
    saga = await begun(world, "cart_1")
    assert await run(app, steps_of(world), saga) == {"order": "cart_1", "paid": "authorize"}
    assert await world.effects("cart_1") == [*ALL, "order"]
    row = await world.saga("cart_1")
    assert (row["status"], row["attempts"], row["leased_by"], row["error"]) == ("done", 0, None, None)
    assert orjson.loads(row["result"]) == {"order": "cart_1", "paid": "authorize"}
    assert orjson.loads(row["results"]) == {step: {"step": step, "subject": "cart_1"} for step in ALL}


async def test_one_at_a_time_for_a_subject(world: World, app: web.Application) -> None:
    saga = await begun(world, "cart_1")
    with pytest.raises(Conflict, match="place order is already in progress for cart_1"):
        await begun(world, "cart_1")
    await begun(world, "cart_2")
    await run(app, steps_of(world), saga)
    await begun(world, "cart_1")


async def test_begin_belongs_to_the_transaction(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world.pool.acquire() as db, db.transaction():
            await begin(db, "place_order", "cart_1", {})
            raise ZeroDivisionError
    assert await world.saga("cart_1") is None


@pytest.mark.parametrize(
    ("refused_at", "effects"),
    [
        ("before price", []),
        ("before reserve", ["price"]),
        ("before authorize", ["price", "reserve", "compensate reserve"]),
        ("before order", UNDONE),
        ("after order", UNDONE),
    ],
)
async def test_a_refusal_is_compensated_in_reverse(
    refused_at: str, effects: list[str], world: World, app: web.Application
) -> None:
    world.fail[refused_at] = [NotAllowed("Card declined.", code="card_declined")]
    saga = await begun(world, "cart_1")
    with pytest.raises(NotAllowed, match=r"Card declined\."):
        await run(app, steps_of(world), saga)
    assert await world.effects("cart_1") == effects
    assert [call for call in world.calls if call.startswith("compensate")] == [
        e for e in effects if e.startswith("compensate")
    ]
    row = await world.saga("cart_1")
    assert row["status"] == "compensated"
    assert orjson.loads(row["error"]) == {
        "status": 400,
        "type": "not_allowed",
        "message": "Card declined.",
        "code": "card_declined",
    }
    await begun(world, "cart_1")


@pytest.mark.parametrize(
    "error", [Unavailable("timeout", outcome_unknown=True), ApiError("bug there"), KeyError("bug")]
)
async def test_an_unknown_outcome_is_undone_too(error: Exception, world: World, app: web.Application) -> None:
    world.fail["after authorize"] = [error]
    saga = await begun(world, "cart_1")
    with pytest.raises(type(error)):
        await run(app, steps_of(world), saga)
    assert await world.effects("cart_1") == UNDONE
    assert (await world.saga("cart_1"))["status"] == "compensated"


async def test_a_command_that_comes_after_its_undo_is_refused(world: World, app: web.Application) -> None:
    world.fail["before authorize"] = [Unavailable("timeout", outcome_unknown=True)]
    saga = await begun(world, "cart_1")
    with pytest.raises(Unavailable):
        await run(app, steps_of(world), saga)
    with pytest.raises(Conflict):
        await world.do(saga, "authorize")
    assert await world.effects("cart_1") == ["price", "reserve", "compensate reserve"]


async def test_a_broker_that_is_down_changes_nothing(world: World, app: web.Application) -> None:
    world.fail["before price"] = [Unavailable("no broker")]
    saga = await begun(world, "cart_1")
    with pytest.raises(Unavailable):
        await run(app, steps_of(world), saga)
    assert world.calls == ["price"]
    assert (await world.saga("cart_1"))["status"] == "compensated"
    world.fail["before reserve"] = [Unavailable("no broker")]
    saga = await begun(world, "cart_2")
    with pytest.raises(Unavailable):
        await run(app, steps_of(world), saga)
    assert world.calls == ["price", "price", "reserve"]


async def test_what_cannot_be_undone_now_is_undone_later(world: World, app: web.Application, start: Start) -> None:
    before = runs()
    world.fail["before order"] = [NotAllowed("no")]
    world.fail["before compensate reserve"] = [Unavailable("no broker"), Unavailable("no broker")]
    saga = await begun(world, "cart_1")
    with pytest.raises(NotAllowed):
        await run(app, steps_of(world), saga)
    row = await world.saga("cart_1")
    assert (row["status"], row["leased_by"]) == ("compensating", None)
    start(run_resumer(app, {"place_order": steps_of(world)}))
    row = await ended(world, "cart_1")
    assert (row["status"], row["attempts"]) == ("compensated", 2)
    await until(lambda: counted({"postponed": 2, "compensated": 1}, before))
    assert await world.effects("cart_1") == UNDONE
    assert world.calls.count("compensate authorize") == 1


def runs() -> dict[str, float]:
    """The metric, by outcome."""
    (metric,) = sagas.RUNS.collect()
    samples = [s for s in metric.samples if s.name.endswith("_total") and s.labels["kind"] == "place_order"]
    return {s.labels["outcome"]: s.value for s in samples}


async def counted(wanted: dict[str, int], before: dict[str, float]) -> bool:
    """Whether they were counted; services that run in this process may have ended sagas meanwhile, too."""
    now = runs()
    return all(now.get(name, 0) - before.get(name, 0) >= count for name, count in wanted.items())


SCENARIOS: dict[str, dict[str, list[Exception]]] = {
    "all well": {},
    "refused": {"before authorize": [NotAllowed("no"), NotAllowed("no")]},
    "refused at last": {"after order": [NotAllowed("no"), NotAllowed("no")]},
    "timeout": {"after authorize": [Unavailable("timeout", outcome_unknown=True)]},
    "never arrived": {"before authorize": [Unavailable("timeout", outcome_unknown=True)]},
    "compensate fails once": {
        "before order": [NotAllowed("no")] * 2,
        "after compensate authorize": [Unavailable("down")],
    },
}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_killed_at_any_place(scenario: str, world: World, app: web.Application, start: Start) -> None:
    steps = steps_of(world)

    def set_scene() -> None:
        world.fail = {place: list(errors) for place, errors in SCENARIOS[scenario].items()}
        world.passed.clear()

    start(run_resumer(app, {"place_order": steps}))
    set_scene()
    saga = await begun(world, "rehearsal")
    try:
        await run(app, steps, saga)
    except ApiError:
        await ended(world, "rehearsal")
    places = list(dict.fromkeys(world.passed))
    assert len(places) >= 5
    for place in places:
        set_scene()
        world.kill_at = place
        saga = await begun(world, place)
        with pytest.raises((Killed, ApiError)):
            await run(app, steps, saga)
        await world.lose_lease()
        row = await ended(world, place)
        assert world.kill_at is None, f"nobody came by {place}"
        effects = await world.effects(place)
        if scenario == "all well":
            assert row["status"] == "done"
        if row["status"] == "done":
            assert effects == [*ALL, "order"]
            assert orjson.loads(row["result"]) == {"order": place, "paid": "authorize"}
        else:
            kept = [e for e in effects if not e.startswith("compensate")]
            assert kept == ALL[: len(kept)]
            assert effects == [*kept, *(f"compensate {step}" for step in reversed(kept) if step != "price")]


async def test_a_step_whose_result_is_recorded_does_not_run_again(
    world: World, app: web.Application, start: Start
) -> None:
    world.kill_at = "after authorize"
    saga = await begun(world, "cart_1")
    with pytest.raises(Killed):
        await run(app, steps_of(world), saga)
    start(run_resumer(app, {"place_order": steps_of(world)}))
    await ended(world, "cart_1")
    assert world.calls == ["price", "reserve", "authorize", "authorize", "order"]


async def test_a_cancelled_run_is_taken_over(world: World, app: web.Application, start: Start) -> None:
    stuck, steps = asyncio.Event(), steps_of(world)

    async def hang(app: web.Application, saga: Saga) -> dict[str, Any]:
        stuck.set()
        await asyncio.Event().wait()
        return {}

    saga = await begun(world, "cart_1")
    running = asyncio.create_task(run(app, (*steps[:2], Step("authorize", do=hang)), saga))
    await stuck.wait()
    running.cancel()
    await asyncio.wait({running})
    await world.lose_lease()
    start(run_resumer(app, {"place_order": steps}))
    assert (await ended(world, "cart_1"))["status"] == "done"
    assert await world.effects("cart_1") == [*ALL, "order"]


async def test_who_has_lost_the_lease_changes_nothing(world: World, app: web.Application) -> None:
    """The first one was asleep in a step for so long that a second one took the saga over."""
    steps, asleep, wake = steps_of(world), asyncio.Event(), asyncio.Event()

    async def sleepy(db: Db, saga: Saga) -> dict[str, Any]:
        asleep.set()
        await wake.wait()
        return await world.commit(db, saga)

    first = await begun(world, "cart_1")
    running = asyncio.create_task(run(app, (*steps[:3], Step("order", commit=sleepy)), first))
    await asleep.wait()
    await world.lose_lease()
    [second] = await saga_rows.take_over(world.pool, ["place_order"], 10)
    assert (second.id, second.attempts, sorted(second.results)) == (first.id, 1, sorted(ALL))
    wake.set()
    with pytest.raises(Unavailable) as lost:
        await running
    assert lost.value.outcome_unknown is True
    assert await world.effects("cart_1") == ALL
    assert await run(app, steps, second) == {"order": "cart_1", "paid": "authorize"}
    assert await run(app, steps, first) == {"order": "cart_1", "paid": "authorize"}
    assert await world.effects("cart_1") == [*ALL, "order"]


@pytest.mark.parametrize("refusal", [None, NotAllowed("no")])
async def test_who_has_lost_the_lease_records_nothing(
    refusal: Exception | None, world: World, app: web.Application
) -> None:
    steps, asleep, wake = steps_of(world), asyncio.Event(), asyncio.Event()

    async def sleepy(app: web.Application, saga: Saga) -> dict[str, Any]:
        asleep.set()
        await wake.wait()
        if refusal:
            raise refusal
        return {"step": "too late"}

    first = await begun(world, "cart_1")
    running = asyncio.create_task(run(app, (*steps[:2], Step("authorize", do=sleepy), steps[3]), first))
    await asleep.wait()
    await world.lose_lease()
    [second] = await saga_rows.take_over(world.pool, ["place_order"], 10)
    wake.set()
    with pytest.raises(Unavailable):
        await running
    row = await world.saga("cart_1")
    assert (row["status"], sorted(orjson.loads(row["results"]))) == ("running", ["price", "reserve"])
    assert world.calls == ["price", "reserve"]
    assert await run(app, steps, second) == {"order": "cart_1", "paid": "authorize"}
    assert await world.effects("cart_1") == [*ALL, "order"]


async def test_who_comes_again_waits_for_the_end(
    world: World, app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_rows, "WAIT_SECONDS", PATIENCE)
    steps = steps_of(world)
    saga = await begun(world, "cart_1")
    again = await saga_rows.load(world.pool, saga.id)
    assert again is not None
    waiting = asyncio.create_task(run(app, steps, again))
    done = await run(app, steps, saga)
    assert await waiting == done == {"order": "cart_1", "paid": "authorize"}
    afterwards = await saga_rows.load(world.pool, saga.id)
    assert afterwards is not None
    assert await run(app, steps, afterwards) == done
    assert world.calls == [*ALL, "order"]
    world.fail["before order"] = [NotAllowed("Card declined.", code="card_declined")]
    saga = await begun(world, "cart_1")
    again = await saga_rows.load(world.pool, saga.id)
    assert again is not None
    waiting = asyncio.create_task(run(app, steps, again))
    with pytest.raises(NotAllowed):
        await run(app, steps, saga)
    with pytest.raises(ApiError) as refused:
        await waiting
    error = refused.value
    assert (error.status, error.message, error.code) == (400, "Card declined.", "card_declined")
    assert await saga_rows.load(world.pool, saga.id) is None


async def test_two_resumers_share_the_work(world: World, app: web.Application, start: Start) -> None:
    for n in range(30):
        await begun(world, f"cart_{n}")
    await world.lose_lease()
    for _ in range(2):
        start(run_resumer(app, {"place_order": steps_of(world)}))
    for n in range(30):
        assert (await ended(world, f"cart_{n}"))["status"] == "done"
    assert sorted(world.calls) == sorted([*ALL, "order"] * 30)


async def test_a_lease_is_renewed(
    world: World, app: web.Application, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_rows, "LEASE_SECONDS", 3.0)  # two of them may pass without a turn of the loop
    steps = steps_of(world)
    saga = await begun(world, "cart_1")
    before = (await world.saga("cart_1"))["leased_until"]

    async def until_renewed(app: web.Application, saga: Saga) -> dict[str, Any]:
        async def run_out() -> bool:
            return bool(await world.pool.fetchval("select clock_timestamp() > $1", before))

        await until(run_out)
        return await world.do(saga, "authorize")

    start(run_resumer(app, {"place_order": steps}))
    await run(app, (*steps[:2], Step("authorize", do=until_renewed), steps[3]), saga)
    assert (await world.saga("cart_1"))["attempts"] == 0
    assert world.calls == [*ALL, "order"]


class Absent(Bus):
    """A broker that is not there yet, and how often somebody looked."""

    looks = 0
    there = False

    @property
    def connected(self) -> bool:
        self.looks += 1
        return self.there

    @connected.setter
    def connected(self, value: bool) -> None:
        self.there = value


async def test_nothing_is_resumed_before_the_broker_is_there(
    world: World, app: web.Application, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sagas, "BROKER_SECONDS", 0.01)
    bus = app[BUS] = Absent("amqp://unused", "none", "tests")
    await begun(world, "cart_1")
    await world.lose_lease()
    start(run_resumer(app, {"place_order": steps_of(world)}))
    await until(lambda: looked(bus, 3))
    row = await world.saga("cart_1")
    assert (row["status"], row["attempts"], world.calls) == ("running", 0, [])
    bus.connected = True
    assert (await ended(world, "cart_1"))["status"] == "done"


async def looked(bus: Absent, times: int) -> bool:
    return bus.looks >= times


async def test_sagas_of_others_are_left_alone(world: World, app: web.Application, start: Start) -> None:
    async with world.pool.acquire() as db, db.transaction():
        await begin(db, "of_a_newer_version", "cart_1", {})
    await begun(world, "cart_2")
    await world.lose_lease()
    start(run_resumer(app, {"place_order": steps_of(world)}))
    await ended(world, "cart_2")
    row = await world.saga("cart_1")
    assert (row["status"], row["attempts"]) == ("running", 0)


@pytest.mark.parametrize(
    "trouble",
    [
        {"after authorize": [Unavailable("timeout", outcome_unknown=True), Unavailable("no broker")]},
        {"before authorize": [Unavailable("timeout", outcome_unknown=True), Unavailable("no broker")]},
        {"before order": [NotAllowed("odd"), KeyError("bug")]},
    ],
)
async def test_after_the_point_of_no_return_it_is_tried_until_done(
    trouble: dict[str, list[Exception]], world: World, app: web.Application, start: Start
) -> None:
    world.fail = {place: list(errors) for place, errors in trouble.items()}
    steps = steps_of(world, no_return="authorize")
    saga = await begun(world, "cart_1")
    with pytest.raises(Unavailable) as unfinished:
        await run(app, steps, saga)
    assert unfinished.value.outcome_unknown is True
    start(run_resumer(app, {"place_order": steps}))
    row = await ended(world, "cart_1")
    assert (row["status"], row["attempts"]) == ("done", 2)
    assert await world.effects("cart_1") == [*ALL, "order"]


async def test_before_the_point_of_no_return_it_turns_back(world: World, app: web.Application) -> None:
    steps = steps_of(world, no_return="authorize")
    for subject, error in (("cart_1", NotAllowed("declined")), ("cart_2", Unavailable("no broker"))):
        world.fail["before authorize"] = [error]
        saga = await begun(world, subject)
        with pytest.raises(type(error)):
            await run(app, steps, saga)
        assert (await world.saga(subject))["status"] == "compensated"
        assert await world.effects(subject) == ["price", "reserve", "compensate reserve"]


async def test_pauses_grow(world: World, app: web.Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_rows, "LONGEST_PAUSE", 300.0)
    saga = await begun(world, "cart_1")
    for attempts, pause in ((0, 1), (3, 8), (20, 300), (5000, 300)):
        saga.attempts = attempts
        await saga_rows.postpone(world.pool, saga)
        left = await world.pool.fetchval("select extract(epoch from leased_until - now())::float from sagas")
        assert pause - 0.5 < left <= pause
        await world.pool.execute("update sagas set leased_by = $1", saga.lease)


async def test_a_resumed_saga_belongs_to_its_request(world: World, app: web.Application, start: Start) -> None:
    seen: list[dict[str, Any]] = []

    async def note(db: Db, saga: Saga) -> dict[str, Any]:
        seen.append(structlog.contextvars.get_contextvars())
        return {}

    with structlog.contextvars.bound_contextvars(request_id="req_1", actor="usr_1"):
        await begun(world, "cart_1")
    await world.lose_lease()
    start(run_resumer(app, {"place_order": (Step("order", commit=note),)}))
    await ended(world, "cart_1")
    assert seen == [{"request_id": "req_1", "actor": "usr_1"}]


async def test_prune_forgets_what_ended_long_ago(world: World) -> None:
    for subject, status, days in (("a", "done", 31), ("b", "compensated", 31), ("c", "running", 31), ("d", "done", 29)):
        await begun(world, subject)
        await world.pool.execute(
            "update sagas set status = $2, updated_at = now() - make_interval(days => $3) where subject = $1",
            subject,
            status,
            days,
        )
    await sagas.prune(world.pool)
    rows = await world.pool.fetch("select subject from sagas order by subject")
    assert [row["subject"] for row in rows] == ["c", "d"]
