"""A service's part of the OpenAPI document: its declared operations (operations.py), with what pydantic says of their
bodies and the database of the rows in their answers (schemas.py). gateway/docs.py puts the parts together.
"""

import asyncio
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
from services.chassis.embed import Tree
from services.chassis.errors import ApiError, InvalidData
from services.chassis.idempotency import HEADER, MAX_LENGTH
from services.chassis.keys import POOL
from services.chassis.operations import JSON, Operation
from services.chassis.params import NUMBER
from services.chassis.queries import Parameters
from services.chassis.schemas import Components, Rows, Schema, any_of, column_types, rows_in, table_name

PATH = "/openapi.json"
ERROR: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "What kind of refusal it is, for programs."},
        "message": {"type": "string", "description": "What is wrong and what to do, for people."},
        "code": {"type": "string", "description": "A finer distinction, where there is one."},
    },
    "required": ["type", "message"],
    "additionalProperties": False,
}
FAILED = {"$ref": "#/components/responses/Error"}
UNAUTHORIZED = {"$ref": "#/components/responses/Unauthorized"}
SHARED: dict[str, Any] = {
    "schemas": {"Error": ERROR},
    "responses": {
        "Error": {
            "description": "Why the request was refused. Nothing has changed.",
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
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
FILES: Schema = {
    "type": "object",
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    },
    "required": ["files"],
}
MOMENTS = {"lt": "is before", "lte": "is not after", "gt": "is after", "gte": "is not before"}
AMOUNTS = {"lt": "is less than", "lte": "is at most", "gt": "is more than", "gte": "is at least"}


async def part_of(
    service: str,
    operations: Sequence[Operation],
    kinds: Mapping[str, Kind],
    glossary: Mapping[str, str],
    pool: asyncpg.Pool,
) -> dict[str, Any]:
    """`{"paths", "components"}` of one service."""
    answers = [value for operation in operations for value in (operation.answer, operation.refusal)]
    copied = {name: kind.resource for name, kind in kinds.items()}
    resources = [*(r for value in answers for rows in rows_in(value) for r in rows.resources), *copied.values()]
    async with pool.acquire() as db:
        types = await column_types(db, resources)
    components = Components(service, types, answers, glossary)
    components.plain_rows(resources)
    bodies = body_schemas(service, operations, components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = described(operation, path, bodies, components)
    tags = {tag(path): glossary.get(noun_path(path)) for path in paths}
    copies = components.copies(copied)
    return {
        "tags": [{"name": name, "description": line} for name, line in tags.items() if line],
        "paths": paths,
        "components": {"schemas": {**components.schemas, **copies}},
    }


def body_schemas(
    service: str, operations: Iterable[Operation], components: Components
) -> dict[type[BaseModel], Schema]:
    """References to the schemas of all bodies, which pydantic makes; they are added to the components. A property of
    which its model says nothing is what a column of that name is."""
    models = list(dict.fromkeys(operation.body for operation in operations if operation.body is not None))
    refs, document = models_json_schema(
        [(model, "validation") for model in models], ref_template=f"#/components/schemas/{service}.{{model}}"
    )
    # pydantic tells two models of one name apart by their modules.
    text = orjson.dumps(
        cleaned([document.get("$defs", {}), [refs[(model, "validation")] for model in models]])
    ).decode()
    named, references = orjson.loads(text)
    for name, schema in named.items():
        properties = schema.get("properties", {})
        properties.update({key: components.described(key, of) for key, of in properties.items()})
        components.schemas[f"{service}.{name}"] = schema
    return dict(zip(models, references, strict=True))


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


def described(
    operation: Operation, path: str, bodies: Mapping[type[BaseModel], Schema], components: Components
) -> dict[str, Any]:
    """The Operation Object."""
    described: dict[str, Any] = {
        "operationId": operation_id(operation.method, path),
        "summary": operation.summary,
        "description": operation.description or f"{operation.summary}.",
        "tags": [tag(path)],
    }
    parameters = path_parameters(path)
    if operation.query is not None:
        parameters += query_parameters(operation.query, components)
    if operation.method == "POST":
        parameters.append({"$ref": f"#/components/parameters/{HEADER}"})
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"schema": bodies[operation.body]}
        if operation.example is not None:
            content["example"] = operation.example
        required = any(field.is_required() for field in operation.body.model_fields.values())
        described["requestBody"] = {"required": required, "content": {JSON: content}}
    elif operation.files:
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": FILES}}}
    described["responses"] = responses(operation, components)
    if operation.public:
        described["security"] = [{operation.credentials: []}] if operation.credentials else []
    return described


def noun_path(path: str) -> str:
    """What a tag is named for: `/admin/publishable-api-key/{id}` -> `/admin/publishable-api-keys`."""
    first, second = [*path.split("/"), ""][1:3]
    found = f"/{first}/{second}" if first in ("admin", "store") else f"/{first}"
    return f"{found}s" if found.endswith("-key") else found


def tag(path: str) -> str:
    """The noun that an operation is about: `/admin/order-edits/{id}` -> `Order edits`."""
    words = noun_path(path).rpartition("/")[2].replace("-", " ").capitalize()
    return re.sub(r"api\b", "API", words)


def operation_id(method: str, path: str) -> str:
    """`GET /admin/orders/{id}` -> `get_orders_id`."""
    return "_".join(re.findall("[a-z0-9]+", f"{method} {path.removeprefix('/admin')}".lower()))


def path_parameters(path: str) -> list[dict[str, Any]]:
    """The parts in braces, each with what it is the id of."""
    found = []
    for before, name in re.findall(r"([\w-]+)/\{(\w+)\}", path):
        noun = name.removesuffix("_id") if name.endswith("_id") else before.removesuffix("s")
        what = noun.replace("-", " ").replace("_", " ")
        line = f"The {name.replace('_', ' ')}." if name != "id" and not name.endswith("_id") else f"Id of the {what}."
        schema = {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, "description": line, "schema": schema})
    return found


def query_parameters(query: Parameters[Any], components: Components) -> list[dict[str, Any]]:
    """As they are written in a query string: a list as `name[]=`, comparisons as `name[gt]=`, each once. A filter that
    says nothing of itself is about the property of that name."""
    table = table_name(query.rows.resources[0]) if query.rows else ""
    parameters = []
    for name, schema in query.schemas.items():
        own = schema.get("description", "")
        if name == "expand" and query.rows is not None:
            own += relations_line(query.rows)
        if schema.get("type") == "object":
            for key, of in schema["properties"].items():
                words = (AMOUNTS if of == NUMBER else MOMENTS).get(key, key.replace("_", " "))
                line = of.get("description") or f"Only those whose `{name}` {words} this. {own}"
                parameters.append(parameter(f"{name}[{key}]", of, line))
        elif schema.get("type") == "array":
            line = own or f"Only those whose `{name}` is one of these. {components.line(name, table)}"
            parameters.append(parameter(f"{name}[]", schema, line) | {"style": "form", "explode": True})
        else:
            line = own or f"Only those whose `{name}` is this. {components.line(name, table)}"
            parameters.append(parameter(name, schema, line))
    return parameters


def relations_line(rows: Rows) -> str:
    """Which relations can be asked for, and which come without."""
    names = sorted({name for resource in rows.resources for name in resource.relations})
    usual = paths(rows.tree)
    line = f" There are {quoted(names)}, and theirs as `a.b`." if names else " There are none."
    return line + (f" By default {quoted(usual)}." if usual else "")


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def paths(tree: Tree, above: str = "") -> list[str]:
    """`a.b` for every relation that has none below it."""
    return [path for name, below in tree for path in (paths(below, f"{above}{name}.") or [above + name])]


def parameter(name: str, schema: Schema, line: str) -> dict[str, Any]:
    plain = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": "query", "description": line.strip(), "schema": plain}


def responses(operation: Operation, components: Components) -> dict[str, Any]:
    """Every status with what comes with it."""
    status = HTTPStatus(operation.status)
    success: dict[str, Any] = {"description": status.phrase}
    if status != HTTPStatus.NO_CONTENT:
        is_json = operation.content_type == JSON
        schema = components.answer(operation.answer) if is_json else {"type": "string"}
        success["content"] = {operation.content_type: {"schema": schema}}
    refusal: dict[str, Any] = FAILED
    if operation.refusal is not None:
        either = any_of([{"$ref": "#/components/schemas/Error"}, components.answer(operation.refusal)])
        refusal = {"description": SHARED["responses"]["Error"]["description"], "content": {JSON: {"schema": either}}}
    made: dict[str, Any] = {str(int(status)): success}
    errors: list[type[ApiError]] = [*operation.errors, *([InvalidData] if operation.body or operation.query else [])]
    for status_code, line in refusal_lines(error for error in errors if not error.plain).items():
        made[status_code] = refusal | {"description": line}
    made |= {str(error.status): UNAUTHORIZED for error in errors if error.plain}
    if not operation.public:
        made["401"] = UNAUTHORIZED
    return dict(sorted((made | {"default": refusal}).items()))


def refusal_lines(errors: Iterable[type[ApiError]]) -> dict[str, str]:
    """What each status means, by the `type` of its errors, which say it themselves."""
    lines: dict[str, list[str]] = {}
    for error in sorted(set(errors), key=lambda error: (error.status, error.type)):
        meaning = (error.__doc__ or "").partition(": ")[2].partition("\n")[0]
        lines.setdefault(str(error.status), []).append(f"`{error.type}`: {meaning}")
    return {status: " ".join(found) for status, found in lines.items()}


def serving(
    service: str, operations: Sequence[Operation], kinds: Mapping[str, Kind], glossary: Mapping[str, str]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of GET /openapi.json of a service; the document is made once, when it is first asked for."""
    made: list[bytes] = []
    lock = asyncio.Lock()

    async def get_document(request: web.Request) -> web.Response:
        async with lock:
            if not made:
                part = await part_of(service, operations, kinds, glossary, request.app[POOL])
                made.append(orjson.dumps(part))
        return web.Response(body=made[0], content_type=JSON)

    return get_document
