"""The API's documentation: /openapi.json, put together from what each service says about itself, and /docs to read it.

A service is asked again after a while, since it may have been replaced by a newer one. While it is down, what it last
said stands; what it never said is missing, and the document says so.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
from aiohttp import ClientTimeout, web

from gateway.dialects.shoplazza import CREDENTIALS, TOKEN_HEADER
from gateway.documents import KINDS
from gateway.glossary import GLOSSARY
from gateway.identity import API_TOKEN_HEADER, COOKIE, Caller
from gateway.parts import PARTS, Parts
from services.chassis.http import ACTOR_HEADER
from services.chassis.keys import POOL
from services.chassis.openapi import PATH, SHARED, part_of
from services.chassis.operations import Operation

log = structlog.get_logger()

STATIC = Path(__file__).parent / "static"
ASSETS = {
    "start.js": STATIC / "start.js",
    **{name: STATIC / "swagger-ui" / name for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")},
}
# The page needs nothing from elsewhere, and gets nothing.
POLICY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
}
ASKED_AGAIN, TRIED_AGAIN = 60.0, 5.0  # seconds after an answer, and after none
ANSWER_SECONDS = 120.0  # the first answer of a service is computed when it is asked for
READER = Caller("documentation", "documentation")  # services answer nothing unsigned; no user has such an id
INFO = {
    "title": "Mercer",
    "version": "1",
    "description": "A headless commerce back office. Money is in minor units, times are UTC.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
OF_USERS = {
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_token": {"type": "apiKey", "in": "header", "name": API_TOKEN_HEADER},
}
SCHEMES = OF_USERS | {CREDENTIALS: {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}}
Document = dict[str, Any]


class Documentation:
    """What is known of each part, in one gateway process."""

    def __init__(self, own: Sequence[Operation]) -> None:
        self._own = own
        self._known: dict[str, Document] = {}
        self._asked: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def document(self, request: web.Request) -> Document:
        """The whole of it."""
        parts = request.app[PARTS]
        async with self._lock:
            if "gateway" not in self._known:
                self._known["gateway"] = await part_of("gateway", self._own, KINDS, GLOSSARY, request.app[POOL])
            now = time.monotonic()
            due = [name for name in parts.targets if self._asked.get(name, 0.0) <= now]
            found = await asyncio.gather(*(ask(parts, name) for name in due))
        for name, part in zip(due, found, strict=True):
            self._asked[name] = time.monotonic() + (TRIED_AGAIN if part is None else ASKED_AGAIN)
            if part is not None:
                self._known[name] = part
        missing = sorted(parts.targets.keys() - self._known.keys())
        return whole([self._known[name] for name in sorted(self._known)], missing)


async def ask(parts: Parts, service: str) -> Document | None:
    """What the service says about itself; None when it says nothing."""
    headers = {ACTOR_HEADER: parts.identity.actor_token(READER)}
    try:
        async with parts.upstream.get(
            parts.targets[service] + PATH, headers=headers, timeout=ClientTimeout(total=ANSWER_SECONDS)
        ) as answer:
            answer.raise_for_status()
            found: Document = orjson.loads(await answer.read())
            return found if found.keys() >= {"paths", "components"} else None
    except (aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
        log.warning("no documentation", service=service, reason=str(error))
        return None


def whole(parts: Iterable[Document], missing: list[str]) -> Document:
    """One document out of the parts."""
    paths: Document = {}
    schemas: Document = {}
    tags: Document = {}
    for part in parts:
        tags |= {tag["name"]: tag for tag in part.get("tags", ())}
        schemas |= part["components"]["schemas"]
        for path, item in part["paths"].items():
            paths.setdefault(path, {}).update(item)
    schemas |= SHARED["schemas"]
    document: Document = {
        "openapi": "3.1.0",
        "info": INFO | ({"x-missing": missing} if missing else {}),
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in OF_USERS],
        "tags": [tag for _, tag in sorted(tags.items())],
        "paths": dict(sorted(paths.items())),
        "components": SHARED | {"schemas": dict(sorted(schemas.items())), "securitySchemes": SCHEMES},
    }
    # A copy whose owner has not said yet what it looks like can be anything.
    for name in copies_named(document) - schemas.keys():
        schemas[name] = {}
        document["components"]["schemas"][name] = {}
    return document


def copies_named(value: Any) -> set[str]:
    """Names of the schemas of copies that are referred to anywhere."""
    if isinstance(value, dict):
        ref = value.get("$ref")
        named = {ref.rpartition("/")[2]} if isinstance(ref, str) and "/schemas/copies." in ref else set()
        return named.union(*map(copies_named, value.values()))
    return set().union(*map(copies_named, value)) if isinstance(value, list) else set()


async def get_page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "docs.html", headers=POLICY)


async def get_asset(request: web.Request) -> web.FileResponse:
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    return web.FileResponse(asset, headers=POLICY | {"Cache-Control": "public, max-age=3600"})


async def get_document(request: web.Request) -> web.Response:
    document = await request.app[DOCUMENTATION].document(request)
    return web.Response(body=orjson.dumps(document), content_type="application/json")


DOCUMENTATION: web.AppKey[Documentation] = web.AppKey("documentation", Documentation)


def documenting(operations: Sequence[Operation]) -> Callable[[web.Application], AsyncIterator[None]]:
    """The documentation of these operations, and of what the services have. For the service's `beside`."""

    async def documentation(app: web.Application) -> AsyncIterator[None]:
        app[DOCUMENTATION] = Documentation(operations)
        yield

    return documentation


PAGES = [
    web.get(PATH, get_document),
    web.get("/docs", get_page),
    web.get("/docs/{name}", get_asset),
]
