"""The rows of sagas. Whoever runs one holds its lease, and every statement asks for it: a process that was paused for
too long, and whose saga was taken over, changes nothing.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import structlog
from aiohttp import web

from services.chassis import idempotency
from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS, ApiError, Conflict, error_from
from services.chassis.ids import new_id
from services.chassis.jsons import json_text

LEASE_SECONDS = 15.0
WAIT_SECONDS = 5.0
LONGEST_PAUSE = 300.0
DAYS_KEPT = 30

BEGIN = """
insert into sagas (id, kind, subject, state, leased_by, leased_until, request_id, actor)
values ($1, $2, $3, $4::text::jsonb, $5, clock_timestamp() + make_interval(secs => $6), $7, $8)
on conflict (kind, subject) where status in ('running', 'compensating') do nothing
returning true
"""
RECORD = """
update sagas set results = results || jsonb_build_object($3::text, $4::text::jsonb), updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and status in ('running', 'compensating')
returning results::text
"""
TURN_BACK = """
update sagas set status = 'compensating', error = $3::text::jsonb, results = $4::text::jsonb || results,
    updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and status = 'running'
returning results::text
"""
END = """
update sagas set status = $3, result = $4::text::jsonb, leased_by = null, updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and status in ('running', 'compensating')
returning true
"""
POSTPONE = """
update sagas set leased_by = null, leased_until = clock_timestamp() + make_interval(secs => $3)
where id = $1 and leased_by = $2
"""
RENEW = "update sagas set leased_until = clock_timestamp() + make_interval(secs => $3) where id = $1 and leased_by = $2"
TAKE_OVER = """
update sagas set leased_by = $1, leased_until = clock_timestamp() + make_interval(secs => $2), attempts = attempts + 1
where id in (
    select id from sagas
    where status in ('running', 'compensating') and kind = any($3::text[]) and leased_until < clock_timestamp()
    order by leased_until limit $4 for update skip locked
)
returning id, kind, subject, state::text, results::text, status, attempts, request_id, actor
"""
LOAD_SAGA = """
select kind, subject, state::text, results::text, result::text, status from sagas
where id = $1 and status <> 'compensated'
"""
ENDED = "select status, result::text, error::text from sagas where id = $1"
LET_GO = "update sagas set leased_by = null, leased_until = clock_timestamp() where id = $1"
WAKE = """
update sagas set leased_until = clock_timestamp()
where status in ('running', 'compensating') and leased_by is null and subject = any($1::text[])
"""


def running_sql(kinds: str, key: str, value: str) -> str:
    """The statement, or a part of one, that says of which of the kinds a saga is under way with this value in its
    state; all three are SQL. Sagas that are under way are few: the index sagas_active holds no others."""
    return f"""select s.kind from sagas s
    where s.status in ('running', 'compensating') and s.kind = any({kinds}) and s.state ->> {key} = {value}"""  # noqa: S608


RUNNING = f"{running_sql('$1::text[]', '$2', '$3')} and s.id <> $4 limit 1"
RUNNING_FOR = """
select kind from sagas where status in ('running', 'compensating') and kind = any($1::text[]) and subject = $2 limit 1
"""
STATES = """
select state::text from sagas
where status in ('running', 'compensating') and kind = any($1::text[]) and state ->> $2 = $3
"""
PRUNE = """
delete from sagas where status in ('done', 'compensated') and updated_at < now() - make_interval(days => $1)
"""


@dataclass
class Saga:
    """One run of recorded steps. `state` is what it was begun with, `results` what its steps have answered."""

    id: str
    kind: str
    subject: str
    state: dict[str, Any]
    lease: str
    results: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    attempts: int = 0
    result: dict[str, Any] | None = None
    context: dict[str, Any] = field(default_factory=dict)

    def key(self, step: str) -> str:
        """The idempotency key of a command that `step` sends; made before the call, the same after a restart."""
        return f"{self.id}:{step}"


class LeaseLostError(Exception):
    """Somebody else has taken over this saga, or it has ended."""


async def begin(db: Db, kind: str, subject: str, state: dict[str, Any], request: web.Request | None = None) -> Saga:
    """Record the intention, in the caller's transaction. Raises Conflict while another one runs for the subject.

    With the `request` that asked for it, the same request finds this saga when it comes again (sagas.intention).
    """
    context = structlog.contextvars.get_contextvars()
    origin = (context.get("request_id"), context.get("actor"))
    text = json_text(state)
    saga = Saga(id=new_id("saga"), kind=kind, subject=subject, state=orjson.loads(text), lease=uuid4().hex)
    if not await db.fetchval(BEGIN, saga.id, kind, subject, text, saga.lease, LEASE_SECONDS, *origin):
        raise Conflict(f"{kind.replace('_', ' ')} is already in progress for {subject}; wait until it has ended.")
    if request is not None:
        await idempotency.remember(db, request, saga.id)
    return saga


async def load(db: Db, saga_id: str) -> Saga | None:
    """A saga as it stands, without its lease; None when it was compensated or forgotten."""
    row = await db.fetchrow(LOAD_SAGA, saga_id)
    if row is None:
        return None
    state, results = orjson.loads(row["state"]), orjson.loads(row["results"])
    result = orjson.loads(row["result"]) if row["result"] else None
    return Saga(saga_id, row["kind"], row["subject"], state, "", results, row["status"], result=result)


async def record(db: Db, saga: Saga, name: str, result: object) -> None:
    """Keep what a step has answered."""
    results = await db.fetchval(RECORD, saga.id, saga.lease, name, json_text(result))
    if results is None:
        raise LeaseLostError
    saga.results = orjson.loads(results)


async def turn_back(db: Db, saga: Saga, error: Exception, *, maybe_ran: str | None) -> None:
    """From now on the saga is compensated. `maybe_ran` names the step that failed when it may have run all the same."""
    refusal = error if isinstance(error, ApiError) else ApiError(f"The step failed with {type(error).__name__}.")
    marked = {maybe_ran: None} if maybe_ran else {}
    results = await db.fetchval(
        TURN_BACK, saga.id, saga.lease, json_text(refusal.body() | {"status": refusal.status}), json_text(marked)
    )
    if results is None:
        raise LeaseLostError
    saga.status, saga.results = "compensating", orjson.loads(results)


async def end(db: Db, saga: Saga, status: str, result: dict[str, Any] | None) -> None:
    """The saga is done, or compensated. A `result` is read back as it would be after a restart."""
    text = json_text(result)
    if not await db.fetchval(END, saga.id, saga.lease, status, text):
        raise LeaseLostError
    saga.status, saga.result = status, orjson.loads(text)


async def postpone(pool: asyncpg.Pool, saga: Saga) -> None:
    """Let go of the saga; the resumer picks it up after a pause that grows with every attempt."""
    pause = min(2.0 ** min(saga.attempts, 30), LONGEST_PAUSE)
    with suppress(*DATABASE_ERRORS):
        await pool.execute(POSTPONE, saga.id, saga.lease, pause)


async def let_go(db: Db, saga: Saga) -> None:
    """Nobody waits for this saga, which the caller has begun: the resumer takes it, and need not wait for its lease."""
    await db.execute(LET_GO, saga.id)


async def wake(db: Db, subjects: list[str]) -> None:
    """Have the sagas of these subjects that wait for their next attempt go on at once."""
    await db.execute(WAKE, subjects)


async def running(db: Db, kinds: Iterable[str], key: str, value: str, besides: str = "") -> str | None:
    """The kind of a saga of one of these kinds, other than `besides`, that is under way with this value in its state;
    None when there is none."""
    kind: str | None = await db.fetchval(RUNNING, list(kinds), key, value, besides)
    return kind


async def running_for(db: Db, kinds: Iterable[str], subject: str) -> str | None:
    """The kind of a saga of one of these kinds that is under way for the subject; None when there is none."""
    kind: str | None = await db.fetchval(RUNNING_FOR, list(kinds), subject)
    return kind


async def states(db: Db, kinds: Iterable[str], key: str, value: str) -> list[dict[str, Any]]:
    """The states of the sagas of these kinds that are under way with this value in their state."""
    return [orjson.loads(row["state"]) for row in await db.fetch(STATES, list(kinds), key, value)]


async def take_over(db: Db, kinds: Iterable[str], limit: int) -> list[Saga]:
    """Sagas of dead processes, and those whose pause is over, under a new lease."""
    lease = uuid4().hex
    return [
        Saga(
            id=row["id"],
            kind=row["kind"],
            subject=row["subject"],
            state=orjson.loads(row["state"]),
            lease=lease,
            results=orjson.loads(row["results"]),
            status=row["status"],
            attempts=row["attempts"],
            context={"request_id": row["request_id"], "actor": row["actor"]},
        )
        for row in await db.fetch(TAKE_OVER, lease, LEASE_SECONDS, list(kinds), limit)
    ]


async def wait_done(db: Db, saga: Saga) -> dict[str, Any] | None:
    """The result of a saga that somebody else runs; None when it has not ended within a few seconds.

    Raises the error for which it was compensated.
    """
    until = time.monotonic() + WAIT_SECONDS
    while True:
        row = await db.fetchrow(ENDED, saga.id)
        if row["status"] == "done":
            return dict(orjson.loads(row["result"]))
        if row["status"] == "compensated":
            error = orjson.loads(row["error"])
            raise error_from(error["status"], error)
        if time.monotonic() > until:
            return None
        await asyncio.sleep(0.1)


async def keep_lease(pool: asyncpg.Pool, saga: Saga) -> None:
    """Renew the lease in time, until cancelled."""
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with suppress(*DATABASE_ERRORS):
            await pool.execute(RENEW, saga.id, saga.lease, LEASE_SECONDS)


async def prune(db: Db) -> None:
    """Forget sagas that ended long ago; called on a timer."""
    await db.execute(PRUNE, DAYS_KEPT)
