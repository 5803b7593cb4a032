"""Work that spans services, as recorded steps that a restart finishes or compensates.

A saga is declared as data; its last step commits the rows and marks the saga done in one transaction:

    PLACE_ORDER = (
        Step("reserve", do=reserve, compensate=release),
        Step("authorize", do=authorize, compensate=void),
        Step("order", commit=create_order),
    )

    async with intention(request) as (db, saga):
        if saga is None:
            ...check, lock, write...
            saga = await begin(db, "place_order", cart_id, state, request)
    order = await run(request.app, PLACE_ORDER, saga)
    async with transaction(request) as db:
        return json_bytes(...)

A step's result is recorded before the next one starts. A step that was cut off runs again, so `do` and `compensate`
must be idempotent: they call with `saga.key(...)`, which is the same every time. When a step is refused, or its outcome
is not known, the steps that ran or may have run are compensated in reverse; `compensate` must cope with one that never
ran (commands.tombstone). Once a step marked `no_return` may have run (money has moved) there is no compensating: the
saga is tried until it is done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from aiohttp import web
from prometheus_client import Counter

from services.chassis import idempotency, saga_rows
from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS, ApiError, Unavailable
from services.chassis.keys import BUS, POOL
from services.chassis.saga_rows import LeaseLostError, Saga, begin, prune

__all__ = ["Saga", "Step", "begin", "intention", "prune", "run", "run_resumer"]

log = structlog.get_logger()

# `done`, `compensated`, and `postponed` each time that one has to wait for the resumer: what stays there needs a look.
RUNS = Counter("mercer_sagas_total", "Runs of sagas by how they ended", ["kind", "outcome"])

BROKER_SECONDS = 0.2
RESUME_SECONDS = 3.0
AT_ONCE = 8


@dataclass(frozen=True)
class Step:
    """`do` and `compensate` call other services; `commit`, which only the last step has, gets a transaction instead."""

    name: str
    do: Callable[[web.Application, Saga], Awaitable[dict[str, Any]]] | None = None
    compensate: Callable[[web.Application, Saga], Awaitable[object]] | None = None
    commit: Callable[[Db, Saga], Awaitable[dict[str, Any]]] | None = None
    no_return: bool = False


@asynccontextmanager
async def intention(request: web.Request) -> AsyncIterator[tuple[Db, Saga | None]]:
    """The transaction in which a handler begins a saga, and the saga that this very request began when it came before
    (same Idempotency-Key), unless that was compensated. Raises Replay when it was answered, see `db.transaction`."""
    async with request.app[POOL].acquire() as db, db.transaction():
        _, saga_id = await idempotency.claim(db, request)
        yield db, await saga_rows.load(db, saga_id) if saga_id else None


async def run(app: web.Application, steps: Sequence[Step], saga: Saga) -> dict[str, Any]:
    """Run the saga to its end and return the last step's result; one without a lease is run elsewhere, so wait for it.

    Raises the error for which it turned back; what cannot be compensated now, the resumer compensates.
    """
    pool, error = app[POOL], None
    try:
        if saga.status != "done" and not saga.lease:
            raise LeaseLostError
        async with _lease(pool, saga):
            if saga.status == "running":
                error = await _forward(app, steps, saga)
            if saga.status == "compensating":
                await _compensate(app, steps, saga)
    except LeaseLostError:
        result = await saga_rows.wait_done(pool, saga)
        if result is None:
            raise Unavailable("This is being finished elsewhere; look again later.", outcome_unknown=True) from None
        return result
    RUNS.labels(saga.kind, saga.status if saga.status in ("done", "compensated") else "postponed").inc()
    if error is not None:
        raise error
    return saga.result or {}


@asynccontextmanager
async def _lease(pool: asyncpg.Pool, saga: Saga) -> AsyncIterator[None]:
    renewal = asyncio.create_task(saga_rows.keep_lease(pool, saga))
    try:
        yield
    finally:
        renewal.cancel()


async def _forward(app: web.Application, steps: Sequence[Step], saga: Saga) -> Exception | None:
    """Run the steps that are left. Returns the error of the one that failed, if any."""
    for step in steps:
        if step.name in saga.results:
            continue
        try:
            await _take(app, step, saga)
        except LeaseLostError:
            raise
        except Exception as error:
            log.warning("saga step failed", saga=saga.id, kind=saga.kind, step=step.name, error=repr(error))
            maybe_ran = _may_have_run(error, saga)
            if (step.no_return and maybe_ran) or any(s.no_return and s.name in saga.results for s in steps):
                await saga_rows.postpone(app[POOL], saga)
                return Unavailable("This could not be finished now; it will be, once possible.", outcome_unknown=True)
            await saga_rows.turn_back(app[POOL], saga, error, maybe_ran=step.name if maybe_ran else None)
            return error
    return None


async def _take(app: web.Application, step: Step, saga: Saga) -> None:
    if step.commit is None:
        assert step.do is not None, f"step {step.name} has nothing to do"
        await saga_rows.record(app[POOL], saga, step.name, await step.do(app, saga))
        return
    async with app[POOL].acquire() as db, db.transaction():
        await saga_rows.end(db, saga, "done", await step.commit(db, saga))


def _may_have_run(error: Exception, saga: Saga) -> bool:
    """A refusal says that the step changed nothing. A resumed saga does not know what its earlier attempts did."""
    if isinstance(error, ApiError) and error.status < 500:
        return False
    return saga.attempts > 0 or getattr(error, "outcome_unknown", True)


async def _compensate(app: web.Application, steps: Sequence[Step], saga: Saga) -> None:
    """Compensate what ran or may have run, in reverse. What fails is tried again by the resumer."""
    try:
        for step in reversed(steps):
            compensated = f"{step.name}:compensated"
            if step.compensate is not None and step.name in saga.results and compensated not in saga.results:
                await step.compensate(app, saga)
                await saga_rows.record(app[POOL], saga, compensated, True)
        await saga_rows.end(app[POOL], saga, "compensated", None)
    except LeaseLostError:
        raise
    except Exception as error:
        log.warning("saga not compensated yet", saga=saga.id, kind=saga.kind, attempts=saga.attempts, error=repr(error))
        await saga_rows.postpone(app[POOL], saga)


async def run_resumer(app: web.Application, sagas: Mapping[str, Sequence[Step]]) -> None:
    """Take over the sagas whose process has died, and those that were postponed, until cancelled.

    Not before the broker is there: a step that cannot be sent would only turn its saga back.
    """
    tasks: set[asyncio.Task[None]] = set()
    try:
        while True:
            if len(tasks) == AT_ONCE:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not app[BUS].connected:
                await asyncio.sleep(BROKER_SECONDS)
                continue
            try:
                for saga in await saga_rows.take_over(app[POOL], sagas, AT_ONCE - len(tasks)):
                    task = asyncio.create_task(_resume(app, sagas[saga.kind], saga))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            except DATABASE_ERRORS:
                log.warning("resumer lost its database", exc_info=True)
            if len(tasks) < AT_ONCE:
                await asyncio.sleep(RESUME_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _resume(app: web.Application, steps: Sequence[Step], saga: Saga) -> None:
    with structlog.contextvars.bound_contextvars(**saga.context):
        try:
            await run(app, steps, saga)
        except Exception as error:
            log.warning("saga resumed", saga=saga.id, kind=saga.kind, status=saga.status, error=repr(error))
        else:
            log.info("saga resumed", saga=saga.id, kind=saga.kind, status=saga.status)
