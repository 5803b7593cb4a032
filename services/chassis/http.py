"""What every service does with a request: who asks, what the body says, and how an answer or an error is rendered."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import jwt
import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, ValidationError
from ulid import ULID

from services.chassis.errors import (
    ApiError,
    InvalidData,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    database_trouble,
)

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ACTOR_HEADER = "X-Mercer-Actor"
REQUEST_ID_HEADER = "X-Request-Id"
ANSWER: web.RequestKey[web.Response] = web.RequestKey("answer", web.Response)
ACTOR: web.RequestKey[str] = web.RequestKey("actor", str)
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # an escaped NUL in JSON text: Postgres stores none
OPEN_PATHS = frozenset({"/health", "/metrics"})

REQUEST_SECONDS = Histogram(
    "mercer_http_request_seconds",
    "Time to answer a request",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class Replay(Exception):
    """Ends a request that was answered before under its Idempotency-Key, with that answer."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body


# The default of a property that may be left out but not be null.
ABSENT: Any = None


class Body(BaseModel):
    """Base of request bodies: unknown properties and wrong JSON types are refused (docs/behaviour/requests.md).

    An optional property may be null. Where null and absent differ, look at `model_fields_set`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


Model = TypeVar("Model", bound=BaseModel)


def complaints(error: ValidationError) -> str:
    """All that is wrong with a body or query, in one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    )


async def parse(request: web.Request, model: type[Model]) -> Model:
    """The body as `model`. Without a body, or with one that is not JSON, as if it were `{}`. Raises InvalidData."""
    raw = await request.read() if request.body_exists and request.content_type == "application/json" else b""
    if NUL.search(raw):
        raise InvalidData("A text must not contain a NUL character.")
    try:
        # Through orjson, which knows no NaN and no integer that a double or 64 bits cannot hold.
        return model.model_validate_json(orjson.dumps(orjson.loads(raw or b"{}")))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise InvalidData("The body is not JSON.") from None
    except ValidationError as error:
        raise InvalidData(complaints(error)) from None


def json_bytes(request: web.Request, body: str | bytes, status: int = 200) -> web.Response:
    """An answer that is JSON text already. Made inside the transaction that it reports on, see `db.transaction`."""
    data = {"text": body} if isinstance(body, str) else {"body": body}
    response = web.Response(status=status, content_type="application/json", **data)
    request[ANSWER] = response
    return response


def actor(request: web.Request) -> str:
    """Id of the user who asks, for example `usr_01J...`; the gateway vouches for it."""
    return request[ACTOR]


def sign_actor(secret: str, user_id: str, role: str, seconds: int = 60) -> str:
    """The token with which the gateway tells a service who is asking (HS256, short-lived)."""
    now = int(time.time())
    return jwt.encode({"sub": user_id, "role": role, "iat": now, "exp": now + seconds}, secret, algorithm="HS256")


def error_response(error: ApiError) -> web.Response:
    """`{type, message, code?}` with the error's status."""
    return web.json_response(error.body(), status=error.status)


class Actors:
    """Who is asking, by the gateway's token; the gateway uses one token for many requests, so it is checked once."""

    MAX_KNOWN = 10_000

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: dict[str, tuple[str, float]] = {}

    def check(self, request: web.Request) -> str:
        """Id of the user. Raises Unauthorized: nothing but health and metrics is reachable without the token."""
        token = request.headers.get(ACTOR_HEADER, "")
        user_id, expires = self._known.get(token, ("", 0.0))
        if expires > time.time():
            return user_id
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})
        except jwt.InvalidTokenError:
            raise Unauthorized("This service answers the gateway only.") from None
        if len(self._known) >= self.MAX_KNOWN:
            self._known.clear()
        self._known[token] = claims["sub"], float(claims["exp"])
        return str(claims["sub"])


def answering(secret: str, replay: Callable[[web.Request], Awaitable[None]]) -> Middleware:
    """The only middleware: request id, who is asking, duration, and every exception as an answer. `replay` raises
    Replay for what was answered before (idempotency.py)."""
    actors = Actors(secret)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request.headers.get(REQUEST_ID_HEADER) or str(ULID())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response: web.StreamResponse
        try:
            if request.path not in OPEN_PATHS:
                request[ACTOR] = actors.check(request)
                structlog.contextvars.bind_contextvars(actor=request[ACTOR])
            if "\0" in request.path:
                raise NotFound("A path must not contain a NUL character.")
            if ACTOR in request:
                await replay(request)
            response = await handler(request)
        except Exception as error:
            response = answer_to(request, error)
        response.headers[REQUEST_ID_HEADER] = request_id
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        REQUEST_SECONDS.labels(request.method, route, response.status).observe(time.perf_counter() - started)
        return response

    return middleware


def answer_to(request: web.Request, error: Exception) -> web.Response:
    """Every exception as an answer; what nobody foresaw is logged."""
    match error:
        case ApiError():
            return error_response(error)
        case Replay():
            return web.Response(status=error.status, text=error.body, content_type="application/json")
        case web.HTTPRequestEntityTooLarge():
            return error_response(TooLarge("The body is larger than this server accepts."))
        case web.HTTPNotFound() | web.HTTPMethodNotAllowed():
            return error_response(NotFound(f"There is no {request.method} {request.path}."))
        case web.HTTPException():
            raise error
    log.error("request failed", method=request.method, path=request.path, exc_info=error)
    if database_trouble(error):
        return error_response(Unavailable("The database cannot be reached right now; try again later."))
    return error_response(ApiError("Something went wrong here; it was logged under this request id."))
