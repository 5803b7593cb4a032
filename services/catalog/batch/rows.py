"""The rows of batch jobs, as who works on one sees them.

Whoever works on a job holds its lease, and every statement demands it: a process that was paused for too long, whose
job was taken over or canceled, changes nothing any more. Nothing is locked while the work goes on.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import InvalidData
from services.chassis.jsons import json_text
from services.chassis.keys import POOL, SETTINGS
from services.chassis.outbox import emit, emit_all

LEASE_SECONDS = 15.0
STATEMENT_SECONDS = 900.0  # a single one writes all that a file says
LOCK_SECONDS = 10.0
MAX_ERRORS = 50
DRY_RUN_DAYS = 7  # after which a dry run that nobody has confirmed is over

DUE = """
completed_at is null and canceled_at is null and failed_at is null
and (pre_processed_at is null or confirmed_at is not null) and leased_until < clock_timestamp()
"""
TAKE = f"""
update batch_jobs set leased_by = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
    attempts = attempts + 1
where id in (select id from batch_jobs where {DUE} order by leased_until, created_at limit $3 for update skip locked)
returning id, type, dry_run, context::text, result::text, attempts, pre_processed_at is not null as prepared, created_by
"""  # noqa: S608 - constants
RENEW = """
update batch_jobs set leased_until = clock_timestamp() + make_interval(secs => $3)
where id = $1 and leased_by = $2 and canceled_at is null returning true
"""
RELEASE = """
update batch_jobs set leased_by = null, leased_until = clock_timestamp() + make_interval(secs => $3),
    attempts = attempts - $4::int
where id = $1 and leased_by = $2
"""
PREPARED = """
update batch_jobs set pre_processed_at = clock_timestamp(),
    confirmed_at = case when dry_run then null else clock_timestamp() end, attempts = 1,
    result = $3::text::jsonb, context = $4::text::jsonb, updated_at = clock_timestamp(),
    leased_by = case when dry_run then null else leased_by end,
    leased_until = case when dry_run then '-infinity' else leased_until end
where id = $1 and leased_by = $2 and canceled_at is null
returning confirmed_at is not null
"""
START = """
update batch_jobs set processing_at = coalesce(processing_at, clock_timestamp()), updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and canceled_at is null returning true
"""
PROGRESS = """
update batch_jobs set result = result || $3::text::jsonb, updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and canceled_at is null returning true
"""
COMPLETE = """
update batch_jobs set completed_at = clock_timestamp(), result = $3::text::jsonb, leased_by = null,
    updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and canceled_at is null returning true
"""
# What it did is rolled back, so that it never was processed.
FAIL = """
update batch_jobs set failed_at = clock_timestamp(), processing_at = null, result = $3::text::jsonb, leased_by = null,
    updated_at = clock_timestamp()
where id = $1 and leased_by = $2 and canceled_at is null returning true
"""
NOT_CONFIRMED = f"The dry run was not confirmed within {DRY_RUN_DAYS} days."
# With the lines that it has read. One that somebody is confirming or cancelling is passed over until the next time.
EXPIRE = """
with expired as (
    update batch_jobs set failed_at = clock_timestamp(), updated_at = clock_timestamp(),
        result = result || jsonb_build_object('errors', coalesce(result -> 'errors', '[]') || to_jsonb($2::text))
    where id in (
        select id from batch_jobs
        where pre_processed_at < clock_timestamp() - make_interval(days => $1)
            and confirmed_at is null and canceled_at is null and failed_at is null
        for update skip locked
    )
    returning id
), forgotten as (
    delete from batch_import_lines where job_id in (select id from expired)
)
select id from expired
"""
# After the job itself, which is what somebody who cancels locks first.
FORGET = "delete from batch_import_lines where job_id = $1"


class Stopped(Exception):
    """The job was canceled, or somebody else has it."""


class BadFile(InvalidData):
    """What is wrong with a file: some messages, and how many more there are."""

    def __init__(self, messages: Sequence[str], count: int | None = None) -> None:
        super().__init__("; ".join(messages))
        left = (len(messages) if count is None else count) - MAX_ERRORS
        self.messages = [*messages[:MAX_ERRORS], *([f"There are {left} more errors."] if left > 0 else [])]


@dataclass
class Job:
    """A job that this process has the lease of. `result` is what was known when it was prepared. One that is
    `completed` has no lease any more, and something left to tidy up."""

    app: web.Application
    id: str
    type: str
    context: dict[str, Any]
    result: dict[str, Any]
    attempts: int
    prepared: bool
    dry_run: bool
    created_by: str
    lease: str
    completed: bool = False


@asynccontextmanager
async def connected(app: web.Application) -> AsyncIterator[asyncpg.Connection]:
    """A connection of one's own: work that takes minutes must not take those of the requests, nor their time limits."""
    settings = app[SETTINGS]
    db = await asyncpg.connect(
        settings.database_url.get_secret_value(),
        command_timeout=STATEMENT_SECONDS,
        server_settings={
            "application_name": "catalog batch jobs",
            "jit": "off",
            "timezone": "UTC",
            "lock_timeout": f"{LOCK_SECONDS:g}s",
            "work_mem": "32MB",
        },
    )
    try:
        yield db
    finally:
        await db.close(timeout=5)


async def take(db: Db, app: web.Application, limit: int) -> list[Job]:
    """Jobs that there is something to do for, under a lease. Those of dead processes, too."""
    lease = uuid4().hex
    return [
        Job(
            app,
            row["id"],
            row["type"],
            orjson.loads(row["context"]),
            rested(row["type"], orjson.loads(row["result"] or "{}") or {}),
            row["attempts"],
            row["prepared"],
            row["dry_run"],
            row["created_by"],
            lease,
        )
        for row in await db.fetch(TAKE, lease, LEASE_SECONDS, limit)
    ]


def rested(type_: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result without what was noted on the way: it begins again."""
    if type_.endswith("-export"):
        return {name: value for name, value in result.items() if name == "stat_descriptors"}
    at_first = {"advancement_count": 0} if "advancement_count" in result else {}
    return {name: value for name, value in result.items() if name not in ("progress", "errors")} | at_first


async def renew(job: Job) -> bool:
    """Whether the job is still ours, for another while."""
    return bool(await job.app[POOL].fetchval(RENEW, job.id, job.lease, LEASE_SECONDS))


async def release(job: Job, *, seconds: float = 0, failed: bool = False) -> None:
    """Let somebody take the job after that time. Only a failure counts as an attempt."""
    await job.app[POOL].execute(RELEASE, job.id, job.lease, seconds, 0 if failed else 1)


async def pre_processed(db: Db, job: Job, result: dict[str, Any]) -> bool:
    """The job is known to be possible; in the caller's transaction. Returns whether it goes on at once."""
    confirmed = await db.fetchval(PREPARED, job.id, job.lease, json_text(result), json_text(job.context))
    if confirmed is None:
        raise Stopped
    job.result, job.prepared = result, True
    await emit(db, "batch.pre_processed", job.id, {"id": job.id})
    return bool(confirmed)


async def expire(db: Db) -> None:
    """Dry runs that nobody has confirmed in time fail, in the caller's transaction: what they have read is let go."""
    expired = [row["id"] for row in await db.fetch(EXPIRE, DRY_RUN_DAYS, NOT_CONFIRMED)]
    await emit_all(db, "batch.failed", {job_id: {"id": job_id} for job_id in expired})


async def start(job: Job) -> None:
    """The job is being processed from now on. Raises Stopped."""
    if not await job.app[POOL].fetchval(START, job.id, job.lease):
        raise Stopped


async def advance(job: Job, done: int, of: int) -> None:
    """Note how far the job is, for who asks. Raises Stopped."""
    progress = {"count": of, "advancement_count": done, "progress": done / of if of else 1}
    if not await job.app[POOL].fetchval(PROGRESS, job.id, job.lease, json_text(progress)):
        raise Stopped


async def complete(db: Db, job: Job, result: dict[str, Any]) -> None:
    """The job is done; in the transaction that did it."""
    if not await db.fetchval(COMPLETE, job.id, job.lease, json_text(result)):
        raise Stopped
    job.completed = True
    await db.execute(FORGET, job.id)
    await emit(db, "batch.completed", job.id, {"id": job.id})


async def fail(db: Db, job: Job, messages: Sequence[str]) -> None:
    """The job is over, and changed nothing."""
    errors = [message.replace("\0", "") for message in messages]  # what the database cannot store
    if await db.fetchval(FAIL, job.id, job.lease, json_text(job.result | {"errors": errors})):
        await db.execute(FORGET, job.id)
        await emit(db, "batch.failed", job.id, {"id": job.id})
