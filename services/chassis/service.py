"""A service as data, and the process made of it: HTTP, relay, consumer, commands and sagas in one event loop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import structlog
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.chassis import commands, consumers, declared, idempotency, openapi, sagas
from services.chassis.bus import Bus
from services.chassis.commands import CommandHandler, run_commands
from services.chassis.consumers import Listener, run_consumer
from services.chassis.db import Db, create_pool
from services.chassis.documents import Kind, resend
from services.chassis.http import answering
from services.chassis.keys import BUS, POOL, SETTINGS
from services.chassis.log import setup_logging
from services.chassis.migrate import check_migrated, migrate
from services.chassis.operations import Operation
from services.chassis.outbox import run_relay
from services.chassis.sagas import Step, run_resumer
from services.chassis.settings import Settings
from services.chassis.tasks import end

log = structlog.get_logger()
MAX_LINE = 16 * 1024  # lists of ids stand in the query string
CleanupContext = Callable[[web.Application], AsyncIterator[None]]
STOP_SECONDS = 30.0  # more than any background task takes to finish what it has begun


@dataclass(frozen=True)
class Service:
    """The table of contents of a service: all that reaches it, and by which name."""

    name: str
    folder: Path
    operations: Sequence[Operation]
    pages: Sequence[web.RouteDef] = ()  # what it answers that is no operation for clients, as its state or its manual
    settings: type[Settings] = Settings
    listeners: Mapping[str, Listener] = field(default_factory=dict)
    commands: Mapping[str, CommandHandler] = field(default_factory=dict)
    documents: Mapping[str, Kind] = field(default_factory=dict)  # rows that others keep copies of
    glossary: Mapping[str, str] = field(default_factory=dict)  # what columns hold, for the documentation
    sagas: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)  # the names that it emits, each with what happened
    beside: Sequence[CleanupContext] = ()  # what it keeps open: entered before it works, left when all work has stopped
    workers: Mapping[str, Callable[[web.Application], Awaitable[None]]] = field(default_factory=dict)  # until cancelled
    seed: Callable[[Db], Awaitable[None]] | None = None  # runs at every start; fills a database that is empty
    after_migrations: Callable[[Db, Any], Awaitable[None]] | None = None  # gets the settings, too; runs with `migrate`
    # The routes of its operations and pages, where they are not wrapped in the middleware that lets in only who the
    # gateway vouches for.
    edge: Callable[[Sequence[Operation], Sequence[web.RouteDef]], Sequence[web.RouteDef]] | None = None
    server: Mapping[str, Any] = field(default_factory=dict)  # more arguments of aiohttp's server

    @property
    def sql(self) -> Path:
        """The folder in which its migrations are."""
        return self.folder / "sql"


def make_app(service: Service, settings: Settings) -> web.Application:
    """The application of one process of `service`. Starting it needs a migrated database, and no broker."""
    secret = settings.secret.get_secret_value()
    app = web.Application(
        middlewares=[] if service.edge else [answering(secret, idempotency.replay)],
        client_max_size=settings.max_body_bytes,
        handler_args={"max_line_size": MAX_LINE, "max_field_size": MAX_LINE, **service.server},
    )
    app[SETTINGS] = settings
    own = {page.path for page in service.pages}
    everywhere = [
        web.get("/health", get_health),
        web.get("/metrics", get_metrics),
        web.get(openapi.PATH, openapi.serving(service.name, service.operations, service.documents, service.glossary)),
    ]
    pages = [*(page for page in everywhere if page.path not in own), *service.pages]
    if service.edge:
        app.add_routes(service.edge(service.operations, pages))
    else:
        app.add_routes([*pages, web.get(declared.PATH, declared.serving(service.operations))])
        app.add_routes(operation.route() for operation in service.operations)
    app.cleanup_ctx.append(lambda app: running(service, app))
    return app


async def prepare(service: Service, settings: Settings) -> None:
    """Bring the database up to date, and see to what has to be in it."""
    url = settings.database_url.get_secret_value()
    await migrate(url, service.sql)
    if service.after_migrations is None:
        return
    db = await asyncpg.connect(url)
    try:
        async with db.transaction():
            await service.after_migrations(db, settings)
    finally:
        await db.close()


async def running(service: Service, app: web.Application) -> AsyncIterator[None]:
    """Everything that runs beside HTTP. It stops in reverse order: sagas, commands, consumer, then the relay, which
    publishes what is left, then the broker and the database."""
    settings = app[SETTINGS]
    url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        pool = app[POOL] = await create_pool(url, settings.pool_size, service.name)
        stack.push_async_callback(pool.close)
        await check_migrated(pool, service.sql)
        if service.seed:
            async with pool.acquire() as db, db.transaction():
                await service.seed(db)
        bus = app[BUS] = Bus(settings.rabbitmq_url.get_secret_value(), settings.namespace, service.name)
        await bus.start()
        stack.push_async_callback(bus.close)
        for context in service.beside:
            await stack.enter_async_context(asynccontextmanager(context)(app))
        await stack.enter_async_context(task("relay", run_relay(pool, bus)))
        if service.listeners:
            await stack.enter_async_context(task("consumer", run_consumer(pool, bus, service.listeners)))
        if service.commands:
            await stack.enter_async_context(task("commands", run_commands(pool, bus, service.commands, app)))
        if service.sagas:
            await stack.enter_async_context(task("sagas", run_resumer(app, service.sagas)))
        for name, worker in service.workers.items():
            await stack.enter_async_context(task(name, worker(app)))
        await stack.enter_async_context(task("housekeeping", keep_house(pool)))
        log.info("started", port=settings.port)
        yield
        log.info("stopping")


@asynccontextmanager
async def task(name: str, work: Any) -> AsyncIterator[None]:
    """`work` running in the background for as long as the block lasts. Dying of an exception ends the process: a
    service that answers but no longer publishes is worse than one that is restarted."""

    def done(finished: asyncio.Task[None]) -> None:
        if not finished.cancelled() and (error := finished.exception()):
            log.critical("background task died", task=name, exc_info=error)
            raise SystemExit(1)

    running = asyncio.create_task(work, name=name)
    running.add_done_callback(done)
    try:
        yield
    finally:
        await end(running, STOP_SECONDS)
        with suppress(asyncio.CancelledError):
            await running


async def keep_house(pool: asyncpg.Pool) -> None:
    """Throw away what has served its time."""
    while True:
        await asyncio.sleep(600)
        try:
            for prune in (idempotency.prune, consumers.prune, commands.prune, sagas.prune):
                await prune(pool)
        except Exception:
            log.warning("housekeeping failed", exc_info=True)


async def get_health(request: web.Request) -> web.Response:
    """200 when requests can be served. The broker is reported, not required: reads work without it."""
    broker = "ok" if request.app[BUS].connected else "down"
    try:
        async with asyncio.timeout(2), request.app[POOL].acquire() as db:
            await db.fetchval("select 1")
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return web.json_response({"status": "unavailable", "database": "down", "broker": broker}, status=503)
    return web.json_response({"status": "ok", "database": "ok", "broker": broker})


async def get_metrics(request: web.Request) -> web.Response:
    """Answers with the counters of this process, in Prometheus' text format."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def serve(app: web.Application, settings: Settings) -> None:
    """Answer on the settings' host and port until SIGTERM or SIGINT."""
    web.run_app(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_timeout=settings.shutdown_seconds,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


async def resend_all(service: Service, settings: Settings, kinds: Sequence[str]) -> None:
    """Send the documents of these kinds to whoever keeps copies: as events, which a running process publishes."""
    if not kinds or set(kinds) - service.documents.keys():
        raise SystemExit(f"Name kinds of documents of {service.name}: {', '.join(sorted(service.documents))}.")
    pool = await create_pool(settings.database_url.get_secret_value(), 2, service.name)
    try:
        for kind in kinds:
            log.info("sent again", kind=kind, documents=await resend(pool, kind, service.documents[kind]))
    finally:
        await pool.close()


def main(service: Service) -> None:
    """`python -m PACKAGE` serves; with `migrate` it brings its database up to date and exits, with `resend` and
    kinds of documents it sends these once more to the services that keep copies, and exits."""
    settings = service.settings()
    setup_logging(service.name, settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        asyncio.run(prepare(service, settings))
    elif sys.argv[1:2] == ["resend"]:
        asyncio.run(resend_all(service, settings, sys.argv[2:]))
    else:
        serve(make_app(service, settings), settings)
