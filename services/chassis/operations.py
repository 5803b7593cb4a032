"""Operations: what clients may ask of a service, each declared once, and the runner that has them done.

    OPERATIONS = [
        listing("/admin/regions", "regions", REGIONS, "List regions"),
        showing("/admin/regions/{id}", "region", REGION, "Get a region", query=SHOWN, where=LIVE),
        post("/admin/regions", post_regions, "Create a region", body=RegionBody, answer={"region": REGION}),
        post("/admin/orders/{id}/capture", post_capture, "Capture ...", query=WRITTEN, answer=ORDER, asks_others=True),
    ]

A handler is called with a database, then the ids in the path, then the query and the body where they are declared, and
returns the JSON text of its answer: `async def post_region(db, region_id, body)`. The database is a transaction for
what changes something and a connection for what reads. A handler that asks other services, or does anything else
between transactions, is declared with `asks_others`: it gets the request in place of the database, opens what it needs
and returns the response.

The documentation is made of the same declarations (openapi.py).
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

import orjson
from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Page, Resource, Selection, Tree, one_json, page_json
from services.chassis.errors import ApiError, NotFound
from services.chassis.http import Body, Handler, json_bytes, parse
from services.chassis.idempotency import HEADER, keyed
from services.chassis.params import query_of
from services.chassis.queries import Parameters
from services.chassis.schemas import Rows, deleted, page_of

JSON = "application/json"
Method = Literal["GET", "POST", "DELETE"]
Answering = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One operation. `answer` is a declared JSON value (schemas.py), or the type of a body that is no JSON.

    `description` says what the summary leaves open: what is changed, what is refused, units. `errors` are the refusals
    that an intact request can meet; a request that is wrong in itself is always InvalidData. `example` is a body that
    works. `public` needs no user's credentials; `credentials` names the scheme (gateway/docs.py) of those that it wants
    instead. `check(request)` raises before anything of the request is read. `retry_key`: the answer names a key under
    which the request may be repeated, also when none was sent. `refusal` is the JSON value of refusals that do not look
    like the others'. A `raw` handler gets the request and the ids only, and reads its body in a way of its own.
    """

    method: Method
    path: str
    handler: Answering
    summary: str
    description: str = ""
    body: type[Body] | None = None
    query: Parameters[Any] | None = None
    answer: Any = None
    content_type: str = JSON
    status: int = 200
    errors: Sequence[type[ApiError]] = ()
    example: Mapping[str, Any] | None = None
    asks_others: bool = False
    files: bool = False
    public: bool = False
    credentials: str | None = None
    check: Callable[[web.Request], None] | None = None
    retry_key: bool = False
    refusal: Any = None
    raw: bool = False

    def __post_init__(self) -> None:
        read = 0 if self.raw else (self.query is not None) + (self.body is not None)
        expected = 1 + len(self.ids) + read
        parameters = inspect.signature(self.handler).parameters.values()
        least = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        most = len(parameters) if all(p.kind is not p.VAR_POSITIONAL for p in parameters) else expected
        if not least <= expected <= most:
            raise TypeError(f"{self.method} {self.path}: its handler does not take {expected} arguments")

    @property
    def ids(self) -> list[str]:
        """The names of the parts in braces."""
        return re.findall(r"\{(\w+)", self.path)

    def route(self) -> web.RouteDef:
        """The operation as aiohttp knows it."""
        if self.method == "GET":
            return web.get(self.path, runner(self))
        return web.route(self.method, self.path, runner(self))


def runner(operation: Operation) -> Handler:
    """The operation as an aiohttp handler: reads the request, checks it, opens the transaction, calls, answers."""
    opened = reading if operation.method == "GET" else transaction
    query, body, handler, names = operation.query, operation.body, operation.handler, operation.ids

    async def run(request: web.Request) -> web.StreamResponse:
        if operation.check is not None:
            operation.check(request)
        if operation.retry_key:  # before the body is read
            request = keyed(request)
        ids = [request.match_info[name] for name in names]
        if operation.raw:
            answer: web.StreamResponse = await handler(request, *ids)
            return answer
        arguments: list[Any] = [*ids]
        if query is not None:
            arguments.append(query.read(query_of(request), *ids))
        if body is not None:
            arguments.append(await parse(request, body))
        response: web.StreamResponse
        if operation.asks_others:
            response = await handler(request, *arguments)
        else:
            async with opened(request) as db:
                response = json_bytes(request, await handler(db, *arguments), operation.status)
        if operation.retry_key:
            response.headers[HEADER] = request.headers[HEADER]
        return response

    return run


class Declared(TypedDict, total=False):
    """What an operation may say of itself besides its path, its handler and its summary."""

    description: str
    body: type[Body] | None
    answer: Any
    content_type: str
    status: int
    errors: Sequence[type[ApiError]]
    example: Mapping[str, Any] | None
    asks_others: bool
    files: bool
    public: bool
    credentials: str | None
    check: Callable[[web.Request], None] | None
    retry_key: bool
    refusal: Any
    raw: bool


class DeclaredWithQuery(Declared, total=False):
    query: Parameters[Any] | None


def get(path: str, handler: Answering, summary: str, **declared: Unpack[DeclaredWithQuery]) -> Operation:
    return Operation(method="GET", path=path, handler=handler, summary=summary, **declared)


def post(path: str, handler: Answering, summary: str, **declared: Unpack[DeclaredWithQuery]) -> Operation:
    return Operation(method="POST", path=path, handler=handler, summary=summary, **declared)


def delete(path: str, handler: Answering, summary: str, **declared: Unpack[DeclaredWithQuery]) -> Operation:
    return Operation(method="DELETE", path=path, handler=handler, summary=summary, **declared)


def listing(path: str, key: str, query: Parameters[Page], summary: str, **declared: Unpack[Declared]) -> Operation:
    """GET of a list that is only a resource and its filters: `{"<key>": [...], "count", "offset", "limit"}`."""

    async def get_page(db: Db, *arguments: Any) -> str:
        return await page_json(db, key, arguments[-1])

    assert query.rows is not None, "the query of a list says which rows it shows"
    declared.setdefault("answer", page_of(key, query.rows))
    return get(path, get_page, summary, query=query, **declared)


def showing(
    path: str,
    key: str,
    resource: Resource,
    summary: str,
    *,
    query: Parameters[Selection] | None = None,
    where: str = "{t}.id = $1",
    expand: Tree = (),
    **declared: Unpack[Declared],
) -> Operation:
    """GET of one row: `{"<key>": {...}}`. The ids in the path are the `$1`... of `where`. Without a query it shows all
    columns and the relations of `expand`. Raises NotFound."""
    everything = Selection(tuple(resource.columns), expand)

    async def get_row(db: Db, *arguments: Any) -> str:
        chosen = arguments[-1] if query is not None else everything
        ids = arguments[:-1] if query is not None else arguments
        text = await one_json(db, resource, chosen, where, *ids)
        if text is None:
            raise NotFound(f"There is no {key.replace('_', ' ')} {ids[-1]}.")
        return f'{{"{key}":{text}}}'

    declared.setdefault("answer", {key: (query.rows if query is not None else None) or Rows((resource,), expand)})
    declared.setdefault("errors", (NotFound,))
    return get(path, get_row, summary, query=query, **declared)


def deletion(
    path: str, action: Callable[..., Awaitable[object]], noun: str, summary: str, **declared: Unpack[Declared]
) -> Operation:
    """DELETE that is an action `action(db, *ids)` and answers `{"id", "object", "deleted": true}`."""

    async def delete_row(db: Db, *ids: str) -> bytes:
        await action(db, *ids)
        return orjson.dumps({"id": ids[-1], "object": noun, "deleted": True})

    declared.setdefault("answer", deleted(noun))
    return delete(path, delete_row, summary, **declared)
