"""A service's part of the OpenAPI document, made of what runs: its routes, what their handlers do with a request
(openapi_code.py), and what the database says about the rows that they show (openapi_rows.py).

The gateway puts the parts together (gateway/docs.py). Made once, when it is first asked for.

Where an answer cannot be told from the code, because its JSON comes out of a statement of its own, the noun's file says
it beside them, in `ANSWERS`: `{"get_tag_usage": {"tags": [{"id": str, "usage_count": str}]}}`. Types stand for
their values, resources for rows. The tests hold every answer that they get against the document (tests/answers.py).
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.chassis.documents import Kind
from services.chassis.embed import Resource
from services.chassis.errors import ApiError
from services.chassis.idempotency import HEADER, MAX_LENGTH
from services.chassis.keys import POOL
from services.chassis.openapi_code import Follower, operation_of
from services.chassis.openapi_rows import (
    Components,
    Schema,
    any_of,
    column_types,
    copy_schemas,
    json_schema,
)
from services.chassis.openapi_values import (
    UNKNOWN,
    Json,
    Listed,
    Memory,
    Operation,
    Row,
    Shaped,
    Unknown,
    json_value,
    merged,
)

PATH = "/openapi.json"
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")
ERROR: Schema = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "message": {"type": "string"}, "code": {"type": "string"}},
    "required": ["type", "message"],
    "additionalProperties": False,
}
FAILED = {"$ref": "#/components/responses/Error"}
SHARED: dict[str, Any] = {
    "schemas": {"Error": ERROR},
    "responses": {
        "Error": {
            "description": "Why the request was refused. Nothing has changed.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        },
        "Unauthorized": {
            "description": "Nobody, or nobody we know, is asking.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
    "parameters": {
        HEADER: {
            "name": HEADER,
            "in": "header",
            "description": "The same request with the same key is answered again, not done again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": "^[!-~]+$"},
        }
    },
}


def routes_of(routes: Iterable[web.AbstractRouteDef]) -> list[web.RouteDef]:
    """The routes that clients are meant to use."""
    return [r for r in routes if isinstance(r, web.RouteDef) and r.method in METHODS and r.path.count("/") > 1]


def kinds_of(commands: Mapping[str, Any]) -> Mapping[str, Kind]:
    """The rows that other services keep copies of, out of the command that hands them out."""
    if "documents" not in commands:
        return {}
    kinds: Mapping[str, Kind] = inspect.getclosurevars(commands["documents"]).nonlocals["kinds"]
    return kinds


async def part_of(
    service: str, package: str, routes: Iterable[web.AbstractRouteDef], kinds: Mapping[str, Kind], pool: asyncpg.Pool
) -> dict[str, Any]:
    """`{"paths", "components"}` of one service."""
    used = routes_of(routes)
    # Reading all that code takes seconds of computing, once.
    memory: Memory = {}
    operations = await asyncio.to_thread(lambda: [operation_of(route.handler, memory) for route in used])
    answers = [answers_of(route.handler, found) for route, found in zip(used, operations, strict=True)]
    values = [value for each in answers for _, _, value in each]
    resources = [*resources_in(values), *(kind.resource for kind in kinds.values())]
    async with pool.acquire() as db:
        types = await column_types(db, resources)
    components = Components(service, package, types)
    refs = body_schemas(service, operations, components)
    paths: dict[str, dict[str, Any]] = {}
    for route, found, answer in zip(used, operations, answers, strict=True):
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = described(route, path, found, answer, refs, components)
    schemas = {**components.schemas, **copy_schemas(components, kinds)}
    schemas.update(components.schemas)  # those that the copies are made of
    return {"paths": paths, "components": {"schemas": schemas}}


Answers = list[tuple[int, str, Any]]


def answers_of(handler: Callable[..., Any], found: Operation) -> Answers:
    """(status, content type, JSON value) of all that the handler answers with when it succeeds."""
    declared = inspect.unwrap(handler).__globals__.get("ANSWERS", {}) if inspect.isfunction(handler) else {}
    if handler.__name__ in declared:
        return [(200, "application/json", declared[handler.__name__])]
    answers: Answers = []
    for status, kind in dict.fromkeys((a.status, a.kind) for a in found.answers if 0 < a.status < 400):
        values = [
            json_value(a.value) if kind == "application/json" else a.value
            for a in found.answers
            if (a.status, a.kind) == (status, kind) and a.value not in (None, "")
        ]
        told = [value for value in merged(values) if not isinstance(value, Unknown)]
        answers += [(status, kind, value) for value in told] or [(status, kind, UNKNOWN)]
    return answers


def resources_in(values: Iterable[Any]) -> list[Resource]:
    """All resources whose rows stand somewhere in these JSON values."""
    found: list[Resource] = []
    for value in values:
        match value:
            case Resource():
                found.append(value)
            case Row(resources=resources):
                found += resources
            case Shaped(items=items):
                found += resources_in(items.values())
            case dict():
                found += resources_in(value.values())
            case Listed(item=item):
                found += resources_in([item])
            case list() | tuple():
                found += resources_in(value)
            case Json(parts=parts):
                found += resources_in(parts)
    return found


# Bodies


def body_schemas(service: str, operations: list[Operation], components: Components) -> dict[type[BaseModel], Schema]:
    """References to the schemas of all bodies, which pydantic knows."""
    models = list(dict.fromkeys(model for found in operations for model in found.bodies))
    refs, document = models_json_schema(
        [(model, "validation") for model in models], ref_template=f"#/components/schemas/{service}.{{model}}"
    )
    # pydantic tells two models of one name apart by their modules.
    long = re.compile(rf"{service}\.services__{service}__(\w+?)__")
    text = orjson.dumps(
        cleaned([document.get("$defs", {}), [refs[(model, "validation")] for model in models]])
    ).decode()
    schemas, found = orjson.loads(long.sub(rf"{service}.\1.", text))
    for name, schema in schemas.items():
        components.schemas[re.sub(rf"^services__{service}__(\w+?)__", r"\1.", name).join((f"{service}.", ""))] = schema
    return dict(zip(models, found, strict=True))


def cleaned(schema: Any) -> Any:
    """Without titles, which repeat the names, and without defaults that only mean "absent"."""
    if isinstance(schema, dict):
        kept = {}
        for key, value in schema.items():
            if (key == "title" and isinstance(value, str)) or (key == "default" and value is None):
                continue
            kept[key] = {n: cleaned(v) for n, v in value.items()} if key == "properties" else cleaned(value)
        return kept
    return [cleaned(item) for item in schema] if isinstance(schema, list) else schema


# Operations


def described(
    route: web.RouteDef,
    path: str,
    found: Operation,
    answers: Answers,
    refs: Mapping[type[BaseModel], Schema],
    components: Components,
) -> dict[str, Any]:
    """The Operation Object of a route."""
    handler: Any = route.handler
    operation: dict[str, Any] = {
        "operationId": "_".join(re.findall("[a-z0-9]+", f"{route.method} {path.removeprefix('/admin')}".lower())),
        "summary": handler.__name__.replace("_", " ").capitalize(),
        "tags": [path.split("/")[2].replace("-", " ").capitalize()],
        "x-handler": f"{handler.__module__}.{handler.__name__}",
    }
    if text := inspect.getdoc(handler):
        operation["description"] = text
    parameters = [*path_parameters(path), *query_parameters(found.parameters)]
    if route.method == "POST":
        parameters.append({"$ref": f"#/components/parameters/{HEADER}"})
    if parameters:
        operation["parameters"] = parameters
    if found.bodies:
        schema = any_of(refs[model] for model in found.bodies)
        required = all(any(f.is_required() for f in model.model_fields.values()) for model in found.bodies)
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    elif found.multipart:
        files = {"type": "object", "properties": {"files": {"type": "array", "items": BINARY}}, "required": ["files"]}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": files}}}
    operation["responses"] = responses(found, answers, path, components)
    return operation


BINARY: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}


def path_parameters(path: str) -> list[dict[str, Any]]:
    """The parts in braces."""
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def query_parameters(schemas: Mapping[str, Schema]) -> list[dict[str, Any]]:
    """As they are written in a query string: a list as `name[]=`, comparisons as `name[gt]=`."""
    found = []
    for name, schema in schemas.items():
        forms = schema.get("anyOf", [schema])
        for form in forms:
            parameter: dict[str, Any] = {"name": name, "in": "query", "schema": form or {"type": "string"}}
            if form.get("type") == "object" and len(forms) > 1:  # one name cannot have two styles
                found += [
                    {"name": f"{name}[{key}]", "in": "query", "schema": of} for key, of in form["properties"].items()
                ]
                continue
            if form.get("type") == "array":
                parameter |= {"name": f"{name}[]", "style": "form", "explode": True}
            elif form.get("type") == "object":
                parameter |= {"style": "deepObject", "explode": True}
            found.append(parameter)
    return found


def responses(found: Operation, answers: Answers, path: str, components: Components) -> dict[str, Any]:
    """Every status with what comes with it; a status that several things lead to, with all of them."""
    made: dict[str, Any] = {}
    for status in dict.fromkeys(status for status, _, _ in answers):
        content: dict[str, Any] = {}
        for kind in dict.fromkeys(k for s, k, _ in answers if s == status and s != HTTPStatus.NO_CONTENT):
            values = [value for s, k, value in answers if (s, k) == (status, kind)]
            is_json = kind == "application/json"
            schemas = [json_schema(v, components) for v in values] if is_json else [{"type": "string"}]
            content[kind] = {"schema": any_of(schemas)}
        made[str(status)] = {"description": HTTPStatus(status).phrase} | ({"content": content} if content else {})
    if path.startswith("/admin"):
        made["401"] = {"$ref": "#/components/responses/Unauthorized"}
    # What a handler answers with itself when it refuses, as other dialects do.
    said = [json_value(a.value) for a in found.answers if not 0 < a.status < 400 and a.kind == "application/json"]
    for status in sorted({error.status for error in found.errors} - {401, 500}):
        special = [body_of(error) for error in found.errors if error.status == status]
        made[str(status)] = refusal([*special, *said], components)
    made["default"] = refusal(said, components)
    return dict(sorted(made.items()))


def body_of(error: type[ApiError]) -> Any:
    """The JSON value of an error that does not look like the others; None for those that do."""
    if error.body is ApiError.body:
        return None
    return merged(list(Follower().called(error.body, [UNKNOWN], {})))[0]


def refusal(bodies: list[Any], components: Components) -> dict[str, Any]:
    """The response of a refusal: the usual one, or also these bodies."""
    others = [json_schema(value, components) for value in bodies if value is not None]
    if not others:
        return FAILED
    schema = any_of([{"$ref": "#/components/schemas/Error"}, *others])
    description = SHARED["responses"]["Error"]["description"]
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def serving(
    service: str, package: str, routes: Sequence[web.AbstractRouteDef], kinds: Mapping[str, Kind]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of GET /openapi.json of a service."""
    made: list[bytes] = []
    lock = asyncio.Lock()

    async def get_document(request: web.Request) -> web.Response:
        async with lock:
            if not made:
                made.append(orjson.dumps(await part_of(service, package, routes, kinds, request.app[POOL])))
        return web.Response(body=made[0], content_type="application/json")

    return get_document
