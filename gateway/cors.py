"""Which front ends on other origins a browser lets in: those of MERCER_CORS_ORIGINS, none by default.

A dozen lines instead of aiohttp-cors, which wants to know each route, and most paths here belong to the services.
"""

from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from gateway.parts import PARTS
from services.chassis.http import REQUEST_ID_HEADER

METHODS = "GET, HEAD, POST, DELETE"
HEADERS = "Accept, Authorization, Content-Type, Idempotency-Key, X-Medusa-Access-Token, X-Request-Id"
SECONDS = 600  # that a browser remembers the answer to its question


def allowed(request: web.Request, origins: frozenset[str]) -> dict[str, str]:
    """Headers that let the page read the answer; none when it may not."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin not in origins:
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: REQUEST_ID_HEADER,
    }


def preflight(request: web.Request, origins: frozenset[str]) -> web.Response | None:
    """The answer to a browser that asks before it sends; None when this is no such question, or not to
    be granted."""
    if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        return None
    if not allowed(request, origins):
        return None
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(SECONDS),
        },
    )


async def let_in(app: web.Application) -> AsyncIterator[None]:
    """Every answer of the application says so. Through aiohttp's signal, for streamed answers too.

    For the service's `beside`.
    """
    origins = app[PARTS].config.cors_origins

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        response.headers.update(allowed(request, origins))

    if origins:
        app.on_response_prepare.append(add)
    yield
