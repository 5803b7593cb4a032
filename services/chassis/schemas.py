"""What answers look like, as JSON schemas: out of what operations declare, and what the database says about columns.

A declared answer is a JSON value with types in place of values: `{"order": Rows((ORDER,), EXPAND), "count": int}`. A
resource stands for its row, a list for any number of its one item, `None` for null, a constant for itself.

Each noun has two schemas. `PlainOrder` is a row with its columns; its relations are objects, or lists of them, and no
more is said. `Order` is what answers about orders show: relations that come by default are shown in full, those that
have to be asked for as plain rows. So no answer's schema grows with the circles that relations make.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.chassis.embed import STAMP, Many, Nested, One, Relation, Resource, Tree, Value, merge

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
JSON_TYPES = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8", "numeric"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar", "uuid", "name"), "string"),
    "bool": "boolean",
}
PYTHON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}
COPY_KIND = re.compile(r"kind = '(\w+)'")
# What is called so in every service.
GLOSSARY = {
    "created_at": "When it was made, UTC.",
    "updated_at": "When it was last changed, UTC.",
    "deleted_at": "When it was deleted, UTC; null while it is there.",
    "metadata": "Whatever the merchant keeps with it.",
    "idempotency_key": "The key under which the request that made it may be repeated.",
}
NOT_NULL = """
select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
where a.attnotnull and a.attnum > 0 and c.relnamespace = current_schema()::regnamespace
"""
PLAIN = re.compile(r"\{t\}\.(\w+)")
STAMPED = re.compile(re.escape(STAMP).replace("%s", r"(\w+)"))

BELOW_COPY = ""  # in place of the name of a row that relations start from


@dataclass(frozen=True, eq=False)
class Rows:
    """A row in an answer: of one of these resources, which are faces of the same noun. `tree` are the relations that it
    shows by default; `narrowed`, where a request may leave columns out; `more`, where the handler adds keys."""

    resources: tuple[Resource, ...]
    tree: Tree = ()
    narrowed: bool = False
    more: bool = False


@dataclass(frozen=True, eq=False)
class Either:
    """One of several values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Json:
    """A value that is described by a JSON schema."""

    schema: Mapping[str, Any]


def page_of(key: str, row: Any) -> dict[str, Any]:
    """The answer of a list."""
    return {key: [row], "count": int, "offset": int, "limit": int}


def deleted(noun: str) -> dict[str, Any]:
    """The answer of a deletion."""
    return {"id": str, "object": noun, "deleted": True}


@dataclass(frozen=True)
class Column:
    """What Postgres says about one key: the name of its type, and whether it can be null."""

    type: str
    nullable: bool


Types = dict[int, dict[str, Column]]  # by the identity of a resource, which is how resources compare


def rows_in(value: Any) -> Iterator[Rows]:
    """All rows in a declared answer."""
    match value:
        case Rows():
            yield value
        case Resource():
            yield Rows((value,))
        case Either(values=values):
            for each in values:
                yield from rows_in(each)
        case dict():
            for each in value.values():
                yield from rows_in(each)
        case list():
            yield from rows_in(value[0])


def below(resources: Iterable[Resource]) -> list[Resource]:
    """The resources and all that they are related to, each once: relations may lead back."""
    reached: dict[int, Resource] = {}
    left = list(resources)
    while left:
        resource = left.pop()
        if id(resource) not in reached:
            reached[id(resource)] = resource
            left += [r.to for r in resource.relations.values() if isinstance(r, Many | One)]
    return list(reached.values())


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
            column.name: Column(column.type.name, not is_required(resource, column.name, required))
            for column in (statement.get_attributes() if statement else ())
        }
    return types


def is_required(resource: Resource, name: str, required: set[tuple[str, str]]) -> bool:
    """Whether the column can never be null."""
    sql = resource.columns.get(name, "")
    plain = PLAIN.fullmatch(sql) or STAMPED.fullmatch(sql)
    return plain is not None and (resource.table, plain[1]) in required


def column_schema(resource: Resource, name: str, column: Column) -> Schema:
    """The schema of one key; an empty one for JSON that only its reader knows."""
    if STAMPED.fullmatch(resource.columns.get(name, "")):
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


def any_of(schemas: Iterable[Schema]) -> Schema:
    """One of them; each once, and simple ones as one with several types."""
    line = ""
    different: list[Schema] = []
    for schema in schemas:
        line = line or schema.get("description", "")
        bare = {key: value for key, value in schema.items() if key != "description"}
        for part in bare["anyOf"] if bare.keys() == {"anyOf"} else [bare]:
            unite(different, part)
    found = different[0] if len(different) == 1 else {"anyOf": different}
    return {"description": line} | found if line else found


def unite(schemas: list[Schema], added: Schema) -> None:
    """Add a schema to those that are alternatives to it, as further types of one of them where that says the same."""
    if added in schemas:
        return
    for n, known in enumerate(schemas):
        formats = {each.get("format") for each in (known, added) if each != NULL}
        if all("type" in each and each.keys() <= {"type", "format"} for each in (known, added)) and len(formats) == 1:
            types = dict.fromkeys(t for each in (known, added) for t in types_of(each))
            united = sorted(types, key=lambda t: t == "null")
            schemas[n] = {**known, **added, "type": united if len(united) > 1 else united[0]}
            return
    schemas.append(added)


def types_of(schema: Schema) -> list[str]:
    held = schema["type"]
    return held if isinstance(held, list) else [held]


def nullable(schema: Schema) -> Schema:
    return any_of([schema, NULL])


def camel(name: str) -> str:
    """`shipping_option` -> `ShippingOption`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[_\W]+", name))


def table_name(resource: Resource) -> str:
    """The table that its rows are of: also of a subquery, whose first table it is."""
    name = re.match(r"\w+", re.sub(r"^\(\s*select\b.*?\bfrom\s+", "", resource.table, flags=re.S).strip("( "))
    return resource.called or (name[0] if name else "rows")


def noun(resource: Resource) -> str:
    """The name of one row: of `line_items` it is `LineItem`."""
    return camel(singular(table_name(resource)))


def singular(name: str) -> str:
    """`companies` -> `company`, `addresses` -> `address`, `items` -> `item`."""
    for ending, one in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if name.endswith(ending) and not name.endswith("ss"):
            return name.removesuffix(ending) + one
    return name


def shaped_keys(shape: str) -> set[str]:
    """The keys that a `shape` adds: those of its `jsonb_build_object(...)`s and of its JSON texts."""
    keys = set(re.findall(r'"(\w+)":', shape))
    for start in re.finditer(r"jsonb_build_object\(", shape):
        arguments, depth, begun = [], 1, start.end()
        for n in range(begun, len(shape)):
            depth += {"(": 1, ")": -1}.get(shape[n], 0)
            if depth == 0 or (depth == 1 and shape[n] == ","):
                arguments.append(shape[begun:n].strip())
                begun = n + 1
            if depth == 0:
                break
        keys.update(key[1:-1] for key in arguments[::2] if re.fullmatch(r"'\w+'", key))
    return keys


class Components:
    """The schemas of one service, by name. `answers` are all its declared answers, `glossary` says what columns hold:
    by `table.column`, or by `column` alone where it means the same everywhere."""

    def __init__(self, service: str, types: Types, answers: Iterable[Any], glossary: Mapping[str, str]) -> None:
        self.schemas: dict[str, Schema] = {}
        self._service, self._types, self._glossary = service, types, {**GLOSSARY, **glossary}
        # What all answers show of a noun, so that it has one schema.
        self._roots: dict[tuple[str, bool], Rows] = {}
        for rows in (rows for answer in answers for rows in rows_in(answer)):
            key = (noun(rows.resources[0]), rows.narrowed)
            known = self._roots.get(key, Rows(()))
            self._roots[key] = Rows(
                tuple({id(r): r for r in (*known.resources, *rows.resources)}.values()),
                merge(known.tree, rows.tree),
                rows.narrowed,
                known.more or rows.more,
            )
        self._plain: dict[str, list[Resource]] = {}

    def plain_rows(self, resources: Iterable[Resource]) -> None:
        """Tell which faces of each noun there are, before the first schema is made."""
        for resource in below(resources):
            self._plain.setdefault(noun(resource), []).append(resource)

    def answer(self, value: Any, hint: str = "answer") -> Schema:
        """The schema of a declared answer."""
        match value:
            case Resource():
                return self.answer(Rows((value,)), hint)
            case Rows():
                return self._root(value, hint)
            case Either(values=values):
                return any_of(self.answer(each, hint) for each in values)
            case Json(schema=schema):
                properties = {key: self.described(key, of) for key, of in schema.get("properties", {}).items()}
                return {**schema, "properties": properties} if properties else dict(schema)
            case dict():
                return {
                    "type": "object",
                    "properties": {key: self.described(key, self.answer(inner, key)) for key, inner in value.items()},
                    "required": list(value),
                    "additionalProperties": False,
                }
            case list():
                return {"type": "array", "items": self.answer(value[0], hint)}
            case None:
                return NULL
            case type():
                return {"type": PYTHON_TYPES[value]}
        return {"const": value}

    def copies(self, kinds: Mapping[str, Resource]) -> dict[str, Schema]:
        """What this service's rows look like where others show their copies of them, by kind."""
        return {
            f"copies.{camel(name)}": {"type": "object", "properties": dict(self._properties([resource], (), name))}
            for name, resource in kinds.items()
        }

    def _root(self, rows: Rows, hint: str) -> Schema:
        if any(resource.document for resource in rows.resources):
            return any_of(self._document(resource, hint, "") for resource in rows.resources)
        name = noun(rows.resources[0])
        shown = self._roots[name, rows.narrowed]
        # Where some answers are narrowed and others are not, each kind has its schema.
        suffix = "Selection" if rows.narrowed and (name, False) in self._roots else ""
        return self._named(name + suffix, list(shown.resources), shown, path=name)

    def _named(self, name: str, resources: list[Resource], rows: Rows, path: str) -> Schema:
        """A reference to the component, which is made when it is first asked for."""
        name = f"{self._service}.{name}"
        if name not in self.schemas:
            self.schemas[name] = {}
            self.schemas[name] = self._object(resources, rows, path)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, resources: list[Resource], rows: Rows, path: str) -> Schema:
        properties: dict[str, list[Schema]] = {}
        for key, each in self._properties(resources, rows.tree, path):
            properties.setdefault(key, []).append(each)
        always = set.intersection(*(self._always(resource, rows.narrowed) for resource in resources))
        schema: Schema = {"type": "object", "properties": {key: any_of(each) for key, each in properties.items()}}
        if required := [key for key in properties if key in always]:
            schema["required"] = required
        if not rows.more:
            schema["additionalProperties"] = False
        return schema

    def _always(self, resource: Resource, narrowed: bool) -> set[str]:
        """The keys that every row has."""
        if narrowed or resource.shape:
            return {"id"} & resource.columns.keys()
        always = {name for name, _ in resource.always}
        return (resource.columns.keys() | always) - resource.omit.keys()

    def _properties(self, resources: list[Resource], tree: Tree, path: str | None) -> Iterator[tuple[str, Schema]]:
        """The columns and relations of these faces. Without a `path` the row is plain."""
        for resource in resources:
            types, table = self._types.get(id(resource), {}), table_name(resource)
            for key in resource.columns:
                schema = column_schema(resource, key, types[key]) if key in types else {}
                yield key, self.described(key, schema, table)
            for key, relation in resource.relations.items():
                below_it = dict(merge(tree, resource.always)).get(key)
                for name, schema in self._relation(resource, key, relation, below_it, path):
                    yield name, self.described(name, schema, table)
            for key in sorted(shaped_keys(resource.shape) - resource.columns.keys()):
                yield key, self.described(key, {}, table)

    def line(self, key: str, table: str = "") -> str:
        """What the glossary says of a property; nothing where it is obvious."""
        return self._glossary.get(f"{table}.{key}") or self._glossary.get(key, "")

    def described(self, key: str, schema: Schema, table: str = "") -> Schema:
        """The schema of a property, with what is said of it; what it says of itself goes first."""
        line = self.line(key, table)
        return {"description": line} | schema if line else schema

    def _relation(
        self, resource: Resource, key: str, relation: Relation, tree: Tree | None, path: str | None
    ) -> Iterator[tuple[str, Schema]]:
        """The relation, and what is shown with it. `tree` is what it shows by default, None when it has to be asked
        for itself."""
        match relation:
            case One():
                yield key, nullable(self._related(relation.to, key, relation.on, tree, path))
            case Many():
                yield key, {"type": "array", "items": self._related(relation.to, key, relation.on, tree, path)}
                for other, also in relation.also.items():
                    yield from self._relation(resource, other, also, tree, path)
            case Value():
                column = self._types.get(id(resource), {}).get(key)
                if relation.shows is not None:
                    yield key, self.answer(relation.shows)
                else:
                    yield key, column_schema(resource, key, column) if column else {}
            case Nested():
                for each in (key, *relation.also):
                    yield each, {}

    def _related(self, to: Resource, key: str, on: str, tree: Tree | None, path: str | None) -> Schema:
        if path is None:
            return {"type": "object"}
        if to.document:
            return self._document(to, key, on, below_another=path == BELOW_COPY)
        if not tree:
            return self._plain_row(to)
        # Faces that the same relation leads to, in the answers about one noun, are one schema too.
        name = path + camel(singular(key))
        known = f"{self._service}.{name}"
        if known in self.schemas:
            return {"$ref": f"#/components/schemas/{known}"}
        faces = self._plain.get(noun(to), [to])
        return self._named(name, faces if to in faces else [*faces, to], Rows((to,), tree), name)

    def _plain_row(self, to: Resource) -> Schema:
        faces = self._plain.get(noun(to), [to])
        name = f"{self._service}.Plain{noun(to)}"
        if name not in self.schemas:
            self.schemas[name] = {}
            properties: dict[str, list[Schema]] = {}
            for key, each in self._properties(faces, (), None):
                properties.setdefault(key, []).append(each)
            self.schemas[name] = {
                "type": "object",
                "properties": {key: any_of(each) for key, each in properties.items()},
                "additionalProperties": False,
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _document(self, resource: Resource, hint: str, on: str, below_another: bool = False) -> Schema:
        """A copy of another service's row: that service says what it looks like, with its relations. Copies of further
        rows may stand below it."""
        kind = COPY_KIND.search(f"{on} {resource.table}")
        copy: Schema = {"$ref": f"#/components/schemas/copies.{camel(kind[1])}"} if kind else {"type": "object"}
        own = {
            name: self.described(name, schema)
            for key, relation in resource.relations.items()
            if isinstance(relation, One | Many) and not below_another
            for name, schema in self._relation(resource, key, relation, None, BELOW_COPY)
        }
        return {"allOf": [copy, {"properties": own}]} if own else copy
