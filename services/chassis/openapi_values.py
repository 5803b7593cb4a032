"""What a handler works with, as far as its code tells it before there is a request (openapi_code.py): values of the
program itself, rows of resources, JSON put together from them, and what only a request brings.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel

from services.chassis import embed
from services.chassis.errors import ApiError

DEEPEST = 10  # calls followed into each other
MOST = 16  # alternatives kept of one value


class Unknown:
    """A value that only a request brings."""


UNKNOWN = Unknown()


class Query(Unknown):
    """The query string of the request, or a part of it."""


class Sent(Unknown):
    """The value of one query parameter."""

    def __init__(self, name: str) -> None:
        self.name = name


QUERY = Query()


@dataclass(frozen=True, eq=False)
class Row:
    """JSON: a row of a resource, or of one of its faces. `narrowed`: `fields` may leave columns out. `changed`: the
    handler has had it as a value, and may have added to it."""

    resources: tuple[embed.Resource, ...]
    narrowed: bool
    many: bool = False
    changed: bool = False


@dataclass(frozen=True, eq=False)
class Listing:
    """What `page_query` returns."""

    resource: embed.Resource
    narrowed: bool


@dataclass(frozen=True, eq=False)
class Statement:
    """The SQL of a page, not run yet: it returns (JSON text of the rows, number of all)."""

    row: Row


@dataclass(frozen=True, eq=False)
class Chosen:
    """What `one_query` and `selection` return for a query."""

    narrowed: bool


@dataclass(frozen=True, eq=False)
class Shaped:
    """JSON: an object whose keys are known."""

    items: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Listed:
    """JSON: a list of `item`."""

    item: Any


@dataclass(frozen=True, eq=False)
class Json:
    """A JSON text: pieces of text, and values between them."""

    parts: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Several:
    """A tuple of which not every member is known."""

    items: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Closure:
    """A function defined inside another one, with what it sees there."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope


@dataclass(frozen=True, eq=False)
class Answer:
    """A response: its status (0 when that cannot be told), its JSON value, or the plain text that it is."""

    status: int
    value: Any
    kind: str = "application/json"


Alternatives = list[Any]


@dataclass
class Operation:
    """All that was found about one handler."""

    bodies: list[type[BaseModel]] = field(default_factory=list)
    multipart: bool = False
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    errors: set[type[ApiError]] = field(default_factory=set)
    values: list[dict[str, Any]] = field(default_factory=list)  # schemas of a filter's value, when one is followed

    def add(self, other: Operation) -> None:
        """All of that, too."""
        self.bodies += [body for body in other.bodies if body not in self.bodies]
        self.multipart |= other.multipart
        for name, schema in other.parameters.items():
            self.knows(name, schema)
        self.answers += other.answers
        self.errors |= other.errors
        self.values += other.values

    def knows(self, name: str, schema: dict[str, Any] | None = None) -> None:
        """The operation reads this query parameter; a schema that says more replaces one that says less."""
        if name not in self.parameters or (schema and not self.parameters[name]):
            self.parameters[name] = schema or {}


@dataclass
class Scope:
    """The names that a piece of code sees."""

    names: dict[str, Alternatives]
    outside: Mapping[str, Any]

    def look_up(self, name: str) -> Alternatives:
        if name in self.names:
            return self.names[name]
        if name in self.outside:
            return [self.outside[name]]
        return [getattr(builtins, name, UNKNOWN)]


def distinct(found: Iterable[Any]) -> Alternatives:
    """Each value once, and not too many."""
    seen: dict[Any, Any] = {}
    for value in found:
        seen.setdefault(key_of(value), value)
    return list(seen.values())[:MOST]


def key_of(value: Any) -> Any:  # noqa: C901 - one case per kind of value
    """What tells one value from another."""
    match value:
        case Query():
            return Query
        case Sent(name=name):
            return Sent, name
        case Unknown():
            return Unknown
        case Row(resources=resources, narrowed=narrowed, many=many, changed=changed):
            return Row, tuple(map(id, resources)), narrowed, many, changed
        case Listing(resource=resource, narrowed=narrowed):
            return Listing, id(resource), narrowed
        case Statement(row=row):
            return Statement, key_of(row)
        case Chosen(narrowed=narrowed):
            return Chosen, narrowed
        case Shaped(items=items):
            return Shaped, tuple((name, key_of(inner)) for name, inner in items.items())
        case Listed(item=item):
            return Listed, key_of(item)
        case Json(parts=parts) | Several(items=parts):
            return type(value), tuple(map(key_of, parts))
        case bool() | str() | int() | float() | None:
            return type(value), value
        case tuple():
            return tuple, tuple(map(key_of, value))
    return id(value)


def is_known(value: Any) -> bool:
    """Whether it is a value of the program itself."""
    return not isinstance(
        value, Unknown | Row | Listing | Statement | Chosen | Shaped | Listed | Json | Several | Closure | Answer
    )


def members(value: Any) -> list[Any]:
    """`*value`."""
    if isinstance(value, Several):
        return list(value.items)
    if is_known(value) and isinstance(value, Iterable):
        return list(value)
    return [UNKNOWN]


def member(value: Any, key: Any) -> Any:
    """`value[key]`, or the n-th of several values."""
    if isinstance(value, Query) and isinstance(key, str):
        return Sent(key)
    if isinstance(value, Several) and isinstance(key, int) and key < len(value.items):
        return value.items[key]
    if isinstance(value, Shaped):
        return value.items.get(key, UNKNOWN)
    if is_known(value) and is_known(key):
        try:
            return value[key]
        except (KeyError, IndexError, TypeError):
            return UNKNOWN
    return UNKNOWN


def attribute(value: Any, name: str) -> Any:
    """`value.name` of what is not wholly known."""
    if isinstance(value, Listing):
        return {"resource": value.resource, "chosen": Chosen(value.narrowed)}.get(name, UNKNOWN)
    if isinstance(value, Answer) and name in ("text", "body"):
        return value.value
    return UNKNOWN


def joined(pieces: tuple[Any, ...], parts: list[ast.expr]) -> Any:
    """An f-string: known, or a JSON text with values in it."""
    if all(isinstance(piece, str | int) for piece in pieces):
        return "".join(map(str, pieces))
    return Json(
        tuple(
            piece if isinstance(part, ast.Constant) or isinstance(piece, str) else Json((piece,))
            for piece, part in zip(pieces, parts, strict=True)
        )
    )


def compared(op: ast.cmpop, a: Any, b: Any) -> Iterator[bool]:
    """`a op b`: both ways when it cannot be told."""
    works = {ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.Eq: operator.eq, ast.NotEq: operator.ne}
    if is_known(a) and is_known(b) and type(op) in works:
        yield bool(works[type(op)](a, b))
    elif isinstance(op, ast.Is | ast.IsNot) and b is None and isinstance(a, Row | Json | Shaped):
        yield from (False, True)
    elif isinstance(op, ast.In | ast.NotIn) and is_known(a) and is_known(b):
        try:
            yield (a in b) == isinstance(op, ast.In)
        except TypeError:
            yield from (False, True)
    else:
        yield from (False, True)


def combined(op: ast.operator, a: Any, b: Any) -> Any:
    """`a | b`, `a + b` of tables, texts and objects."""
    if isinstance(op, ast.BitOr) and (isinstance(a, Query) or isinstance(b, Query)):
        return QUERY
    if isinstance(op, ast.BitOr) and isinstance(a, Shaped | dict) and isinstance(b, Shaped | dict):
        parts = [x.items if isinstance(x, Shaped) else x for x in (a, b)]
        items = {**parts[0], **parts[1]}
        return items if all(map(is_known, items.values())) else Shaped(items)
    if is_known(a) and is_known(b):
        works: dict[Any, Callable[[Any, Any], Any]] = {
            ast.BitOr: operator.or_,
            ast.BitAnd: operator.and_,
            ast.Add: operator.add,
            ast.Sub: operator.sub,
        }
        try:
            return works[type(op)](a, b)
        except (KeyError, TypeError):
            return UNKNOWN
    return UNKNOWN


def statements_in(value: Any) -> list[Statement]:
    """The statements in what is given to the database: one, or one with more text around it."""
    if isinstance(value, Json):
        return [statement for part in value.parts for statement in statements_in(part)]
    return [value] if isinstance(value, Statement) else []


def json_value(text: Any) -> Any:
    """The value of a JSON text whose pieces are known; UNKNOWN when they make no JSON."""
    if isinstance(text, str | bytes):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return UNKNOWN
    if isinstance(text, Row | Shaped | Listed):
        return text
    if not isinstance(text, Json):
        return UNKNOWN
    if len(text.parts) == 1 and not isinstance(text.parts[0], str):
        inner = text.parts[0]
        return json_value(inner) if isinstance(inner, Json) else inner
    held: list[Any] = []
    pieces: list[str] = []
    for part in text.parts:
        if isinstance(part, str):
            pieces.append(part)
        else:
            pieces.append(f'"\\u0001{len(held)}"')
            held.append(json_value(part))
    try:
        return filled(orjson.loads("".join(pieces)), held)
    except orjson.JSONDecodeError:
        return UNKNOWN


def merged(values: list[Any]) -> list[Any]:
    """JSON values that are alternatives: rows in the same place become one row with several faces."""
    found: list[Any] = []
    for value in values:
        for n, other in enumerate(found):
            one = together(other, value)
            if one is not None:
                found[n] = one
                break
        else:
            found.append(value)
    return found


def together(a: Any, b: Any) -> Any:
    """One value that stands for both, or None when they are of different kinds."""
    if isinstance(a, Row) and isinstance(b, Row) and a.many == b.many:
        faces = tuple(dict.fromkeys((*a.resources, *b.resources)))
        return Row(faces, a.narrowed or b.narrowed, a.many, a.changed or b.changed)
    if isinstance(a, Shaped | dict) and isinstance(b, Shaped | dict):
        left, right = (x.items if isinstance(x, Shaped) else x for x in (a, b))
        if left.keys() == right.keys():
            items = {key: together(left[key], right[key]) for key in left}
            return Shaped(items) if None not in items.values() else None
    if isinstance(a, Unknown) and isinstance(b, Unknown):
        return a
    if is_known(a) and is_known(b) and type(a) is type(b):
        return a
    return None


def filled(value: Any, held: list[Any]) -> Any:
    """The parsed text with the values in the places that were kept for them."""
    if isinstance(value, str) and value.startswith("\x01"):
        return held[int(value[1:])]
    if isinstance(value, dict):
        return Shaped({key: filled(inner, held) for key, inner in value.items()})
    if isinstance(value, list):
        return Listed(filled(value[0], held) if value else UNKNOWN)
    return value


@dataclass(frozen=True, eq=False)
class Followed:
    """What came of following a function with these arguments, and how deep inside others that was."""

    deep: int
    returned: Alternatives
    found: Operation
    kept: Any  # the arguments: their identities are part of the key, so they must not be thrown away


Memory = dict[Any, Followed]
