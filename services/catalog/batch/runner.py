"""The worker that does batch jobs, beside the requests of the same process.

Several processes work on the same jobs: each takes what nobody has a lease of. A job that was cut off, by a restart or
by trouble that passes, begins again from where it was pre-processed; after a few attempts it fails.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import structlog
from aiohttp import web

from services.catalog.batch import order_export, price_lists, product_export, product_import
from services.catalog.batch.rows import (
    LEASE_SECONDS,
    BadFile,
    Job,
    Stopped,
    connected,
    expire,
    fail,
    release,
    renew,
    start,
    take,
)
from services.catalog.products.references import refusals
from services.chassis.db import Db
from services.chassis.errors import DATABASE_ERRORS, ApiError, database_trouble
from services.chassis.keys import POOL

log = structlog.get_logger()

AT_ONCE = 2  # of one process: each may have one connection and one core
POLL_SECONDS = 2.0
RENEW_SECONDS = 1.0  # a canceled job stops within this time
RETRY_SECONDS = 2.0
MAX_ATTEMPTS = 5
EXPIRE_SECONDS = 3600.0  # between looks for dry runs that were not confirmed in time
CHANNEL = "batch_jobs"


@dataclass(frozen=True)
class Kind:
    """`prepare` returns whether to go on; `process` ends with `rows.complete`."""

    prepare: Callable[[Job], Awaitable[bool]]
    process: Callable[[Job], Awaitable[None]]


KINDS: Mapping[str, Kind] = {
    "product-export": Kind(product_export.prepare, product_export.process),
    "product-import": Kind(product_import.prepare, product_import.process),
    "price-list-import": Kind(price_lists.prepare, price_lists.process),
    "order-export": Kind(order_export.prepare, order_export.process),
}


async def wake(db: Db) -> None:
    """Have the workers of all processes look, as soon as the caller's transaction is committed."""
    await db.execute("select pg_notify($1, '')", CHANNEL)


async def run_jobs(app: web.Application) -> None:
    """Do jobs until cancelled; then let go of those under way."""
    while True:
        try:
            async with connected(app) as db:
                await _serve(app, db)
        except DATABASE_ERRORS:
            log.warning("batch jobs lost their database", exc_info=True)
        await asyncio.sleep(RETRY_SECONDS)


async def _serve(app: web.Application, db: asyncpg.Connection) -> None:
    look = asyncio.Event()

    def notified(*_: object) -> None:
        look.set()

    await db.add_listener(CHANNEL, notified)
    running: set[asyncio.Task[None]] = set()
    expired = float("-inf")
    try:
        while True:
            look.clear()
            if time.monotonic() - expired >= EXPIRE_SECONDS:
                async with db.transaction():
                    await expire(db)
                expired = time.monotonic()
            if len(running) < AT_ONCE:
                for job in await take(db, app, AT_ONCE - len(running)):
                    task = asyncio.create_task(_run(job), name=job.id)
                    running.add(task)
                    task.add_done_callback(running.discard)
                    task.add_done_callback(notified)
            with suppress(TimeoutError):
                await asyncio.wait_for(look.wait(), POLL_SECONDS)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run(job: Job) -> None:
    """Work on the job for as long as it is ours, and see to what becomes of it."""
    with structlog.contextvars.bound_contextvars(job=job.id, kind=job.type, actor=job.created_by, request_id=None):
        work, watch = asyncio.create_task(_work(job)), asyncio.create_task(_watch(job))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _end(work, watch)
            with suppress(*DATABASE_ERRORS):
                await release(job)
            raise
        await _end(work, watch)
        if not work.cancelled():
            await _settle(job, work.exception())


async def _end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(job: Job) -> None:
    """Keep the lease; returns when it is lost or the job was canceled."""
    missed = 0.0
    while missed < LEASE_SECONDS:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            if not await renew(job) and not job.completed:
                return
            missed = 0.0
        except DATABASE_ERRORS:
            missed += RENEW_SECONDS


async def _work(job: Job) -> None:
    if job.attempts > MAX_ATTEMPTS:
        raise BadFile([f"The job was cut off {MAX_ATTEMPTS} times; it is not tried again."])
    with refusals():
        kind = KINDS[job.type]
        if job.prepared or await kind.prepare(job):
            await start(job)
            await kind.process(job)


async def _settle(job: Job, error: BaseException | None) -> None:
    """What becomes of the job after its work has ended."""
    match error:
        case None | Stopped():
            return
        case BadFile():
            messages = error.messages
        case ApiError() if error.status < 500:
            messages = [error.message]
        case _ if not (isinstance(error, ApiError) or database_trouble(error)):
            log.error("batch job failed", exc_info=error)
            messages = ["Something went wrong here; it was logged under the id of the job."]
        case _ if job.attempts >= MAX_ATTEMPTS:
            log.error("batch job given up", exc_info=error)
            messages = [error.message if isinstance(error, ApiError) else "The database could not be reached."]
        case _:
            log.warning("batch job is tried again", error=repr(error), attempt=job.attempts)
            with suppress(*DATABASE_ERRORS):
                await release(job, seconds=2.0**job.attempts, failed=True)
            return
    try:
        async with job.app[POOL].acquire() as db, db.transaction():
            await fail(db, job, messages)
    except DATABASE_ERRORS:
        log.warning("batch job not ended yet, its lease will", exc_info=True)
