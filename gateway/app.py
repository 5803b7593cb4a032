"""The gateway as one application: who may pass, what it answers itself, and what keeps running beside HTTP."""

import asyncio
import functools
import itertools
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import asyncpg
import structlog
from aiohttp import ClientTimeout, web
from prometheus_client import Histogram

from gateway import access_tokens, apps, auth, docs, emails, invites, resets, users
from gateway.attempts import Attempts, TooManyAttempts
from gateway.auth import NotSignedIn
from gateway.cors import let_in, preflight
from gateway.dialects import shoplazza
from gateway.identity import Caller, Identity
from gateway.parts import CALLER, PARTS, REQUEST_ID, Parts
from gateway.passwords import Passwords
from gateway.proxy import METHODS, SERVICE_OF, forward, upstream_session
from gateway.settings import GatewaySettings
from services.chassis.bus import Bus
from services.chassis.commands import run_commands
from services.chassis.db import create_pool
from services.chassis.documents import documents_of
from services.chassis.errors import ApiError, InvalidData, NotFound, TooLarge, Unavailable
from services.chassis.http import ACTOR, REQUEST_ID_HEADER, SECONDS, Handler, Replay, error_response
from services.chassis.keys import BUS, POOL
from services.chassis.log import setup_logging
from services.chassis.migrate import check_migrated, migrate
from services.chassis.outbox import run_relay
from services.chassis.service import get_metrics, keep_house, serve, task

log = structlog.get_logger()
SQL = Path(__file__).parent / "sql"
GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
HEALTH_SECONDS = 2.0
MAX_LINE = 16 * 1024  # lists of ids stand in the query string

# Ids of requests that came without one: random per process, then counted, which is all that telling them apart needs.
PROCESS = secrets.token_hex(8)
REQUESTS = itertools.count(1)
# What may be asked without credentials; nothing else under /admin.
OPEN = auth.OPEN | resets.OPEN | invites.OPEN


async def get_health(request: web.Request) -> web.Response:
    """200 when the database and all services answer, else 503 and which of them does not."""

    async def service_answers(base: str) -> str:
        try:
            async with request.app[PARTS].upstream.get(
                base + "/health", timeout=ClientTimeout(total=HEALTH_SECONDS)
            ) as answer:
                return "ok" if answer.status == 200 else "unavailable"
        except (aiohttp.ClientError, OSError):
            return "down"

    async def database_answers() -> str:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await request.app[POOL].fetchval("select 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return "down"
        return "ok"

    targets = request.app[PARTS].targets
    database, *states = await asyncio.gather(database_answers(), *map(service_answers, targets.values()))
    ready = {database, *states} == {"ok"}
    body = {
        "status": "ok" if ready else "unavailable",
        "services": dict(zip(targets, states, strict=True)),
        "database": database,
        "broker": "ok" if request.app[BUS].connected else "down",
    }
    return web.json_response(body, status=200 if ready else 503)


def at_the_edge(handler: Handler) -> Handler:
    """What every request gets: an id, the question who is asking, every exception as an answer, its duration measured.

    Wrapped around each handler: aiohttp's way of calling a middleware costs a tenth of a forwarded request.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        given = request.headers.get(REQUEST_ID_HEADER)
        request_id = given if given and GOOD_REQUEST_ID.fullmatch(given) else f"{PROCESS}-{next(REQUESTS):x}"
        request[REQUEST_ID] = request_id
        structlog.contextvars.clear_contextvars()
        try:
            if early := preflight(request, request.app[PARTS].config.cors_origins):
                return early
            caller = await known_caller(request)
            structlog.contextvars.bind_contextvars(request_id=request_id, actor=caller and caller.id)
            if "\0" in request.path:  # no id has one, and the database would stumble over it
                raise NotFound(f"There is no {request.path}.")
            response = await handler(request)
        except Exception as error:
            structlog.contextvars.bind_contextvars(request_id=request_id)
            response = answer_for(request, error)
        if not response.prepared:
            response.headers[REQUEST_ID_HEADER] = request_id
            response.headers["Server"] = "mercer"
        method = request.method if request.method in METHODS else "other"
        seconds(method, route_of(request), response.status).observe(time.perf_counter() - started)
        return response

    return guarded


@functools.lru_cache(maxsize=2000)
def seconds(method: str, route: str, status: int) -> Histogram:
    """The chassis' histogram for one combination. All three are out of bounded sets."""
    return SECONDS.labels(method, route, status)


async def known_caller(request: web.Request) -> Caller | None:
    """Who asks; None where anybody may. Raises NotSignedIn before anything else under /admin is looked at: not even
    whether the path exists is told."""
    path = request.path
    if not path.startswith("/admin/") and path != "/admin":
        return None
    if (request.method, path.removesuffix("/")) in OPEN:
        return None
    caller = await request.app[PARTS].identity.caller(request)
    if caller is None:
        raise NotSignedIn
    request[CALLER], request[ACTOR] = caller, caller.id
    return caller


def answer_for(request: web.Request, error: Exception) -> web.Response:
    """Every exception as an answer: `{type, message, code?}`, or plain text where the API has it so."""
    match error:
        case NotSignedIn():
            return web.Response(status=401, text=error.message)
        case TooManyAttempts():
            response = error_response(error)
            response.headers["Retry-After"] = str(error.seconds)
            return response
        case ApiError():
            return error_response(error)
        case Replay():
            kind = "application/json" if error.body.startswith("{") else "text/plain"
            return web.Response(status=error.status, text=error.body, content_type=kind)
        case web.HTTPRequestEntityTooLarge():
            return error_response(TooLarge("The body is larger than this server accepts."))
        case web.HTTPException():
            return error_response(NotFound(f"There is no {request.method} {request.path}."))
        case ConnectionError() if request.transport is None or request.transport.is_closing():
            return error_response(InvalidData("The client went away."))  # nobody reads it, and nothing is wrong here
        case OSError() | asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError():
            return no_database(request, error)
        case asyncpg.InterfaceError() | asyncpg.InsufficientResourcesError():
            return no_database(request, error)
    log.error("request failed", method=request.method, path=request.path, exc_info=error)
    return error_response(ApiError("Something went wrong here; it was logged under this request id."))


def no_database(request: web.Request, error: Exception) -> web.Response:
    """503: what the gateway itself needs is not there."""
    log.warning("database unavailable", method=request.method, path=request.path, exc_info=error)
    return error_response(Unavailable("The gateway cannot reach its database right now; try again later."))


def route_of(request: web.Request) -> str:
    """The path without its ids, out of a bounded set."""
    segment = request.path.split("/", 3)[2:3]
    if segment and segment[0] in SERVICE_OF:
        return f"/admin/{segment[0]}"
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


OPERATIONS = [
    web.get("/health", get_health),
    web.get("/metrics", get_metrics),
    *auth.OPERATIONS,
    *resets.OPERATIONS,  # before users: /admin/users/{id} takes any word
    *users.OPERATIONS,
    *invites.OPERATIONS,
    *access_tokens.OPERATIONS,
    *shoplazza.OPERATIONS,
    *apps.OPERATIONS,
    *docs.OPERATIONS,
]


def make_app(settings: GatewaySettings) -> web.Application:
    """The application of one process. Starting it needs a migrated database; no broker, and no services yet."""
    app = web.Application(
        client_max_size=settings.max_body_bytes,
        handler_args={
            "auto_decompress": False,  # what is compressed passes as it is
            "lingering_time": 3.0,  # for who still sends after his answer, to notice it
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_LINE,
        },
    )
    for route in OPERATIONS:
        app.router.add_route(route.method, route.path, at_the_edge(route.handler))
        if route.path.startswith("/admin/"):  # a slash at the end means nothing, as with what is forwarded
            app.router.add_route(route.method, route.path + "/", at_the_edge(route.handler))
    app.router.add_route("*", r"/{rest:[\s\S]*}", at_the_edge(forward))  # a dot would not match a newline
    app[docs.DOCUMENTATION] = docs.Documentation(OPERATIONS, OPEN)
    let_in(app, settings.cors_origins)
    app.cleanup_ctx.append(lambda app: running(app, settings))
    return app


async def running(app: web.Application, settings: GatewaySettings) -> AsyncIterator[None]:
    """Everything that the handlers need, and the relay of the events that they emit."""
    async with AsyncExitStack() as stack:
        pool = app[POOL] = await create_pool(settings.database_url.get_secret_value(), settings.pool_size, "gateway")
        stack.push_async_callback(pool.close)
        await check_migrated(pool, SQL)
        app[PARTS] = parts = Parts(
            config=settings,
            targets=settings.urls(),
            identity=Identity(pool, settings.session_secret.get_secret_value(), settings.secret.get_secret_value()),
            passwords=Passwords(),
            attempts=Attempts(),
            upstream=await stack.enter_async_context(upstream_session(settings)),
        )
        stack.callback(parts.passwords.close)
        bus = app[BUS] = Bus(settings.rabbitmq_url.get_secret_value(), settings.namespace, "gateway")
        await bus.start()
        stack.push_async_callback(bus.close)
        await stack.enter_async_context(task("relay", run_relay(pool, bus)))
        commands = {"documents": documents_of(users.KINDS)}
        await stack.enter_async_context(task("commands", run_commands(pool, bus, commands, app)))
        await stack.enter_async_context(task("mails", emails.run_mails(app)))
        await stack.enter_async_context(task("housekeeping", keep_house(pool)))
        log.info("started", port=settings.port)
        yield
        log.info("stopping")


async def prepare(settings: GatewaySettings) -> None:
    """Migrate the database and see to it that the first user exists."""
    url = settings.database_url.get_secret_value()
    await migrate(url, SQL)
    if settings.admin_email is None and settings.admin_password is None:
        return
    if settings.admin_email is None or settings.admin_password is None:
        raise SystemExit("MERCER_ADMIN_EMAIL and MERCER_ADMIN_PASSWORD are needed together.")
    db = await asyncpg.connect(url)
    try:
        async with db.transaction():
            created = await users.ensure_admin(db, settings.admin_email, settings.admin_password.get_secret_value())
    except ValueError as error:
        raise SystemExit(f"MERCER_ADMIN_EMAIL {error}.") from None
    finally:
        await db.close()
    log.info("admin user created" if created else "admin user exists", email=settings.admin_email)


def main() -> None:
    """`python -m gateway [migrate]`."""
    settings = GatewaySettings()
    setup_logging("gateway", settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        asyncio.run(prepare(settings))
    else:
        serve(make_app(settings), settings)
