"""Resources as JSON schemas: which keys a row has in an answer, and what the database says about their types."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.chassis.documents import Kind
from services.chassis.embed import STAMP, Many, Nested, One, Relation, Resource, Value
from services.chassis.openapi_values import Json, Listed, Row, Several, Shaped, Unknown

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
JSON_TYPES = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8", "numeric"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar", "uuid", "name"), "string"),
    "bool": "boolean",
}
KIND = re.compile(r"kind = '(\w+)'")
NOT_NULL = """
select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
where a.attnotnull and a.attnum > 0 and c.relnamespace = current_schema()::regnamespace
"""
PLAIN = re.compile(r"\{t\}\.(\w+)")
STAMPED = re.compile(re.escape(STAMP).replace(r"\{t\}", r"\{t\}").replace("%s", r"(\w+)"))


@dataclass(frozen=True)
class Column:
    """What Postgres says about one key: the name of its type, and whether it can be null."""

    type: str
    nullable: bool


Types = dict[int, dict[str, Column]]  # by the identity of a resource, which is how resources compare


def below(resources: Iterable[Resource]) -> list[Resource]:
    """The resources and all that they are related to, each once: relations may lead back."""
    found: dict[int, Resource] = {}
    left = list(resources)
    while left:
        resource = left.pop()
        if id(resource) not in found:
            found[id(resource)] = resource
            left += [r.to for r in resource.relations.values() if isinstance(r, Many | One)]
    return list(found.values())


async def column_types(db: asyncpg.Connection, resources: Iterable[Resource]) -> Types:
    """The types of everything that the resources show. Postgres is asked to prepare what a read would run."""
    required = {(row["relname"], row["attname"]) for row in await db.fetch(NOT_NULL)}
    types: Types = {}
    for resource in below(resources):
        values = {n: f"({v.sql.format(p='t0')})" for n, v in resource.relations.items() if isinstance(v, Value)}
        shown = {**{n: of.format(t="t0") for n, of in resource.columns.items()}, **values}
        items = ", ".join(f'{of} as "{name}"' for name, of in shown.items())
        # Nothing runs: a statement is only described.
        sql = f"select {items} from {resource.table} t0"  # noqa: S608 - out of declared names
        statement = await db.prepare(sql) if items else None
        types[id(resource)] = {
            found.name: Column(found.type.name, not is_required(resource, found.name, required))
            for found in (statement.get_attributes() if statement else ())
        }
    return types


def is_required(resource: Resource, name: str, required: set[tuple[str, str]]) -> bool:
    """Whether the column can never be null."""
    sql = resource.columns.get(name, "")
    plain = PLAIN.fullmatch(sql) or STAMPED.fullmatch(sql)
    return plain is not None and (resource.table, plain[1]) in required


def is_time(resource: Resource, name: str) -> bool:
    return STAMPED.fullmatch(resource.columns.get(name, "")) is not None


def column_schema(resource: Resource, name: str, column: Column) -> Schema:
    """The schema of one key."""
    if is_time(resource, name):
        schema: Schema = {"type": "string", "format": "date-time"}
    elif name == "metadata":
        schema = {"type": "object"}
    elif column.type.endswith("[]") or column.type.startswith("_"):
        schema = {"type": "array", "items": {"type": JSON_TYPES.get(column.type.strip("_[]"), "string")}}
    elif column.type in JSON_TYPES:
        schema = {"type": JSON_TYPES[column.type]}
    else:
        return {}
    return schema | {"type": [schema["type"], "null"]} if column.nullable else schema


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, NULL]}


def any_of(schemas: Iterable[Schema]) -> Schema:
    """One of them; each once."""
    found: list[Schema] = []
    for schema in schemas:
        parts = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
        found += [part for part in parts if part not in found]
    return found[0] if len(found) == 1 else {"anyOf": found}


def camel(name: str) -> str:
    """`shipping_option`, `SHIPPING_OPTION` -> `ShippingOption`; what is so already stays."""
    parts = (part.lower() if part.isupper() else part for part in re.split(r"[_\W]+", name))
    return "".join(part[:1].upper() + part[1:] for part in parts)


def shaped_keys(shape: str) -> set[str]:
    """The keys that a `shape` adds: those of its `jsonb_build_object(...)`s and of its JSON texts."""
    found = set(re.findall(r'"(\w+)":', shape))
    for start in re.finditer(r"jsonb_build_object\(", shape):
        arguments, depth, begun = [], 1, start.end()
        for n in range(begun, len(shape)):
            depth += {"(": 1, ")": -1}.get(shape[n], 0)
            if depth == 0 or (depth == 1 and shape[n] == ","):
                arguments.append(shape[begun:n].strip())
                begun = n + 1
            if depth == 0:
                break
        found.update(key[1:-1] for key in arguments[::2] if re.fullmatch(r"'\w+'", key))
    return found


class Components:
    """The schemas of a service, named after the variables that hold the resources."""

    def __init__(self, service: str, package: str, types: Types) -> None:
        self.schemas: dict[str, Schema] = {}
        self._service, self._types = service, types
        self._names: dict[Any, str] = {}
        self._variables: dict[int, str] = {}
        for module_name, module in sorted(sys.modules.items()):
            if module_name.startswith(package):
                for variable, value in vars(module).items():
                    if isinstance(value, Resource):
                        self._variables.setdefault(id(value), camel(variable))

    def ref(self, key: Any, wanted: str) -> tuple[Schema, bool]:
        """A reference to the component of `key`, and whether it has still to be made. Its name is its own: no other
        row's, no body's."""
        new = key not in self._names
        if new:
            name, n = f"{self._service}.{wanted}", 2
            while name in self.schemas or name in self._names.values():
                name, n = f"{self._service}.{wanted}{n}", n + 1
            self._names[key] = name
        return {"$ref": f"#/components/schemas/{self._names[key]}"}, new

    def rows(
        self, resources: list[Resource], hint: str, *, narrowed: bool = False, changed: bool = False, on: str = ""
    ) -> Schema:
        """The schema of a row that is of one of these resources, which are faces of the same thing."""
        if any(r.document for r in resources):
            return any_of(self.document(r, hint, on) for r in resources)
        key = (tuple(sorted(map(id, resources))), narrowed, changed)
        wanted = next((self._variables[id(r)] for r in resources if id(r) in self._variables), camel(hint))
        ref, new = self.ref(key, wanted + ("Selection" if narrowed else ""))
        if new:
            name = ref["$ref"].rpartition("/")[2]
            self.schemas[name] = {}
            self.schemas[name] = self.row(resources, name.partition(".")[2].removesuffix("Selection"), narrowed)
            if changed:
                del self.schemas[name]["additionalProperties"]
        return ref

    def row(self, resources: list[Resource], name: str, narrowed: bool) -> Schema:
        """The object itself."""
        found: dict[str, list[Schema]] = {}
        for resource in resources:
            for key, each in self.properties(resource, name):
                found.setdefault(key, []).append(each)
        sure = set.intersection(*(self.sure(resource, narrowed) for resource in resources))
        schema: Schema = {
            "type": "object",
            "properties": {key: any_of(schemas) for key, schemas in found.items()},
        }
        if sure:
            schema["required"] = [key for key in found if key in sure]
        schema["additionalProperties"] = False
        return schema

    def sure(self, resource: Resource, narrowed: bool) -> set[str]:
        """The keys that every row has."""
        if narrowed or resource.shape:
            return {"id"} & resource.columns.keys()
        always = {name for name, _ in resource.always}
        return (resource.columns.keys() | always) - resource.omit.keys()

    def properties(self, resource: Resource, name: str) -> Iterator[tuple[str, Schema]]:
        types = self._types.get(id(resource), {})
        for key in resource.columns:
            yield key, column_schema(resource, key, types[key]) if key in types else {}
        for key, relation in resource.relations.items():
            yield from self.relation(resource, key, relation, name)
        for key in sorted(shaped_keys(resource.shape) - resource.columns.keys()):
            yield key, {}

    def relation(self, resource: Resource, key: str, relation: Relation, name: str) -> Iterator[tuple[str, Schema]]:
        match relation:
            case One():
                yield key, nullable(self.rows([relation.to], f"{name}_{key}", on=relation.on))
            case Many():
                yield key, {"type": "array", "items": self.rows([relation.to], f"{name}_{key}", on=relation.on)}
                for other, also in relation.also.items():
                    yield from self.relation(resource, other, also, name)
            case Value():
                column = self._types.get(id(resource), {}).get(key)
                yield key, column_schema(resource, key, column) if column else {}
            case Nested():
                for each in (key, *relation.also):
                    yield each, {}

    def document(self, resource: Resource, hint: str, on: str) -> Schema:
        """A copy of another service's row: that service says what it looks like."""
        kind = KIND.search(f"{on} {resource.table}")
        copy: Schema = {"$ref": f"#/components/schemas/copies.{camel(kind[1])}"} if kind else {"type": "object"}
        own = dict(
            pair
            for key, relation in resource.relations.items()
            if not isinstance(relation, Nested)
            for pair in self.relation(resource, key, relation, hint)
        )
        return {"allOf": [copy, {"properties": own}]} if own else copy


def copy_schemas(components: Components, kinds: Mapping[str, Kind]) -> dict[str, Schema]:
    """What this service's rows look like where others show their copies of them, by kind."""
    found = {}
    for name, kind in kinds.items():
        properties = dict(components.properties(kind.resource, camel(name)))
        found[f"copies.{camel(name)}"] = {"type": "object", "properties": properties}
    return found


# What is always called so in answers.
HINTS = {"id": "string", "access_token": "string", "count": "integer", "offset": "integer", "limit": "integer"}


def json_schema(value: Any, components: Components, hint: str = "answer") -> Schema:
    """The schema of a JSON value that was found in a handler, or declared in `ANSWERS`."""
    if isinstance(value, Row):
        row = components.rows(list(value.resources), hint, narrowed=value.narrowed, changed=value.changed)
        return {"type": "array", "items": row} if value.many else row
    if isinstance(value, Resource):
        return components.rows([value], hint)
    if isinstance(value, Shaped | dict):
        items = value.items if isinstance(value, Shaped) else value
        return {
            "type": "object",
            "properties": {key: json_schema(inner, components, key) for key, inner in items.items()},
            "required": list(items),
            "additionalProperties": False,
        }
    if isinstance(value, Listed):
        return {"type": "array", "items": json_schema(value.item, components, hint)}
    if isinstance(value, list | Several):
        held = value if isinstance(value, list) else value.items
        return {"type": "array", "items": any_of(json_schema(item, components, hint) for item in held) if held else {}}
    if isinstance(value, Json):  # a text that was put together, as a value
        return {"type": "string"}
    if isinstance(value, Unknown):
        return {"type": HINTS[hint]} if hint in HINTS else {}
    return constant_schema(value, hint)


PYTHON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


def constant_schema(value: Any, hint: str) -> Schema:
    """Of a constant, its type; `object` and `deleted` are always the same. A type stands for its values."""
    if isinstance(value, type):
        return {"type": PYTHON_TYPES[value]}
    if hint in ("object", "deleted"):
        return {"const": value}
    return NULL if value is None else {"type": PYTHON_TYPES[type(value)]}
