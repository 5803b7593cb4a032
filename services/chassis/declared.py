"""Which requests a service answers, by itself: `GET /operations` on its own port, which needs no database.

The gateway sends each request by what the services say here (gateway/routing.py).
"""

from collections.abc import Awaitable, Callable, Iterable

import orjson
from aiohttp import web
from pydantic import BaseModel

from services.chassis.operations import JSON, Operation

PATH = "/operations"


class Declared(BaseModel):
    """What the gateway has to know of an operation. A newer service may say more."""

    method: str
    path: str
    public: bool = False
    files: bool = False


class Declarations(BaseModel):
    operations: list[Declared]


def declarations(operations: Iterable[Operation]) -> Declarations:
    declared = [Declared(method=o.method, path=o.path, public=o.public, files=o.files) for o in operations]
    return Declarations(operations=declared)


def serving(operations: Iterable[Operation]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of GET /operations."""
    body = orjson.dumps(declarations(operations).model_dump())

    async def get_declarations(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=JSON)

    return get_declarations
