"""What every request gets at the edge: an id, the question who is asking, and every exception as an answer."""

import functools
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import structlog
from aiohttp import hdrs, web
from prometheus_client import Histogram

from gateway.attempts import TooManyAttempts
from gateway.auth import NotSignedIn
from gateway.cors import preflight
from gateway.identity import Caller
from gateway.parts import CALLER, PARTS, REQUEST_ID, WAY
from gateway.proxy import METHODS, forward
from gateway.routing import Way
from services.chassis.errors import ApiError, InvalidData, NotFound, Unavailable
from services.chassis.http import ACTOR, REQUEST_ID_HEADER, REQUEST_SECONDS, Handler, Replay, answer_to, error_response
from services.chassis.operations import Operation

log = structlog.get_logger()
GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

# Ids of requests that came without one: random per process, then counted, which is all that telling them apart needs.
PROCESS = secrets.token_hex(8)
REQUESTS = itertools.count(1)
# Who asks: None where anybody may.
Admission = Callable[[web.Request], Awaitable[Caller | None]]


def at_the_edge(handler: Handler, admitted: Admission) -> Handler:
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
            caller = await admitted(request)
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
    return REQUEST_SECONDS.labels(method, route, status)


async def anybody(request: web.Request) -> None:
    """For what is public."""


async def by_declaration(request: web.Request) -> Caller | None:
    """For what a service answers: what it declares. Raises NotSignedIn before anything else under /admin is looked at:
    not even whether the path exists is told."""
    routing, path = request.app[PARTS].routing, request.path
    way = routing.way(request)
    if way is None and not path.startswith("/admin/") and path != "/admin":
        way = await routing.new_way(request)
    caller = None if way is not None and way.public else await user(request)
    request[WAY] = way or await routing.new_way(request)
    return caller


async def user(request: web.Request) -> Caller:
    """Raises NotSignedIn."""
    caller = await request.app[PARTS].identity.caller(request)
    if caller is None:
        raise NotSignedIn
    request[CALLER], request[ACTOR] = caller, caller.id
    return caller


def answer_for(request: web.Request, error: Exception) -> web.Response:
    """Every exception as an answer: `{type, message, code?}`, or plain text where the API has it so."""
    match error:
        case ApiError() if error.plain:
            return web.Response(status=error.status, text=error.message)
        case TooManyAttempts():
            response = error_response(error)
            response.headers["Retry-After"] = str(error.seconds)
            return response
        case Replay():
            kind = "application/json" if error.body.startswith("{") else "text/plain"
            return web.Response(status=error.status, text=error.body, content_type=kind)
        case web.HTTPException() if not isinstance(error, web.HTTPRequestEntityTooLarge):
            return error_response(NotFound(f"There is no {request.method} {request.path}."))
        case ConnectionError() if request.transport is None or request.transport.is_closing():
            return error_response(InvalidData("The client went away."))  # nobody reads it, and nothing is wrong here
        case OSError() | asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError():
            return no_database(request, error)
        case asyncpg.InterfaceError() | asyncpg.InsufficientResourcesError():
            return no_database(request, error)
    return answer_to(request, error)


def no_database(request: web.Request, error: Exception) -> web.Response:
    """503: what the gateway itself needs is not there."""
    log.warning("database unavailable", method=request.method, path=request.path, exc_info=error)
    return error_response(Unavailable("The gateway cannot reach its database right now; try again later."))


def route_of(request: web.Request) -> str:
    """The path without its ids, out of a bounded set."""
    way: Way | None = request.get(WAY)
    if way is not None:
        return way.label
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


def guarded_routes(operations: Sequence[Operation], pages: Sequence[web.RouteDef]) -> list[web.RouteDef]:
    """What the application answers: these, and after them whatever a service answers. Anybody may read the pages."""
    guarded = [exactly(page.method, page.path, at_the_edge(page.handler, anybody)) for page in pages]
    for operation in operations:
        handler = at_the_edge(operation.route().handler, anybody if operation.public else user)
        guarded.append(exactly(operation.method, operation.path, handler))
        if operation.path.startswith("/admin/"):  # a slash at the end means nothing, as with what is forwarded
            guarded.append(exactly(operation.method, operation.path + "/", handler))
    anything = r"/{rest:[\s\S]*}"  # a dot would not match a newline
    return [*guarded, web.route("*", anything, at_the_edge(forward, by_declaration))]


def exactly(method: str, path: str, handler: Handler) -> web.RouteDef:
    """The route, which for GET would answer HEAD as well."""
    return web.route(method, path, handler, **({"allow_head": False} if method == hdrs.METH_GET else {}))
