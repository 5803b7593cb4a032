"""Query strings, the Medusa way: `a[]=x`, `a[0]=x`, `a[gt]=x`, `expand`, `fields`, `limit`, `offset`, `order`.

A list declares its filters as data, `FILTERS = {"email": text("{t}.email"), "created_at": dates("{t}.created_at")}`.
The text of the SQL that comes out depends only on which parameters were sent, never on their values.
Rules: docs/behaviour/requests.md, "Kinds of query parameters", "Expand and fields", "Paging and order".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from services.chassis.errors import InvalidData

Query = dict[str, Any]
Bind = Callable[[object], str]
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
FLAG: Schema = {"type": "boolean"}
WHOLE_NUMBER: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
DATE: Schema = {"type": "string", "format": "date-time"}


@dataclass(frozen=True, eq=False)
class Filter:
    """`condition(name, value, bind)` turns what was sent as a parameter into SQL over `{t}`, or raises InvalidData.
    `schema` is what may be sent."""

    condition: Callable[[str, Any, Bind], str]
    schema: Schema

    def __call__(self, name: str, value: Any, bind: Bind) -> str:
        return self.condition(name, value, bind)


def described(filter_: Filter, description: str) -> Filter:
    """Adds a line for the documentation to a filter."""
    return Filter(filter_.condition, filter_.schema | {"description": description})


KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
SIMPLE_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
MAX_OFFSET = 2**62


@dataclass
class Values:
    """Collects the arguments of one statement, in the order of their `$n`."""

    args: list[object] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """Keep `value` as an argument and return its placeholder."""
        self.args.append(value)
        return f"${len(self.args)}"


def parse_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """`a[]=1&a[]=2&b[gt]=3&c=4` -> {"a": ["1", "2"], "b": {"gt": "3"}, "c": "4"}. Raises InvalidData on a mixture."""
    query: Query = {}
    for key, value in pairs:
        match = KEY.fullmatch(key)
        if not match:
            raise InvalidData(f"{key}: this is not the name of a parameter.")
        name, subs = match[1], re.findall(r"\[([^\[\]]*)\]", match[2])
        if "\0" in value:
            raise InvalidData(f"{name}: must not contain a NUL character.")
        if not subs:
            if name in query:
                raise InvalidData(f"{name}: given more than once; send a list as {name}[]=.")
            query[name] = value
        elif len(subs) == 1 and (subs[0] == "" or subs[0].isdigit()):
            held = query.setdefault(name, [])
            if not isinstance(held, list):
                raise InvalidData(f"{name}: is a list and something else at once.")
            held.append(value)
        elif len(subs) == 1:
            held = query.setdefault(name, {})
            if not isinstance(held, dict):
                raise InvalidData(f"{name}: is a list and something else at once.")
            if subs[0] in held:
                raise InvalidData(f"{name}[{subs[0]}]: given more than once.")
            held[subs[0]] = value
        else:
            raise InvalidData(f"{name}: is nested too deeply.")
    return query


def query_of(request: web.Request) -> Query:
    """The request's query string as `parse_query` reads it."""
    return parse_query(request.query.items())


def check_known(query: Query, known: Iterable[str]) -> None:
    """Raises InvalidData for a parameter that the operation does not know."""
    unknown = sorted(query.keys() - set(known))
    if unknown:
        raise InvalidData(f"Unknown parameter: {', '.join(unknown)}.")


def word(name: str, value: Any) -> str:
    """A parameter that is one text. Raises InvalidData for a list or an object."""
    if not isinstance(value, str):
        raise InvalidData(f"{name}: must be given once, as text.")
    return value


def integer(query: Query, name: str, default: int) -> int:
    """The parameter as a whole number, or the default. Raises InvalidData for less than 0, and for anything else."""
    if name not in query:
        return default
    value = word(name, query[name])
    if not re.fullmatch(r"\d{1,18}", value):
        raise InvalidData(f"{name}: must be a whole number, 0 or more.")
    return int(value)


def boolean(query: Query, name: str, default: bool) -> bool:
    """The parameter as a flag, or the default. Raises InvalidData for anything but `true` and `false`."""
    if name not in query:
        return default
    return truth(name, query[name])


def truth(name: str, value: Any) -> bool:
    """Whether the value is `true`. Raises InvalidData for anything but `true` and `false`."""
    if value not in ("true", "false"):
        raise InvalidData(f"{name}: must be true or false.")
    return bool(value == "true")


def moment(name: str, value: Any) -> datetime:
    """The value as a time; a date is its midnight, and the zone is UTC where none is given. Raises InvalidData."""
    try:
        if not SIMPLE_DATE.fullmatch(word(name, value)):
            raise ValueError
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidData(f"{name}: must be a date such as 2026-11-22 or 2026-11-22T09:00:00Z.") from None


def number(name: str, value: Any) -> float:
    """The value as a number. Raises InvalidData for anything else, NaN and infinity included."""
    if not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", word(name, value)):
        raise InvalidData(f"{name}: must be a number.")
    return float(value)


# Filters: each is made once, in a FILTERS table, and turns (name, value, bind) into a condition.


def text(sql: str) -> Filter:
    """Accepts one text, which has to be equal."""
    return Filter(lambda name, value, bind: f"{sql} = {bind(word(name, value))}", TEXT)


def texts(sql: str, array_only: bool = False) -> Filter:
    """Accepts one text or a list of them, one of which has to be equal; with `array_only` a bare text is refused."""

    def condition(name: str, value: Any, bind: Bind) -> str:
        if isinstance(value, dict) or (array_only and not isinstance(value, list)):
            raise InvalidData(f"{name}: must be a list, {name}[]=.")
        return f"{sql} = any({bind([value] if isinstance(value, str) else value)}::text[])"

    return Filter(condition, TEXTS)


def choices(sql: str, allowed: Iterable[str], array_only: bool = True) -> Filter:
    """Accepts a list out of `allowed`, and refuses any other value."""
    known = frozenset(allowed)
    inner = texts(sql, array_only)

    def condition(name: str, value: Any, bind: Bind) -> str:
        sql = inner(name, value, bind)
        if not known.issuperset([value] if isinstance(value, str) else value):
            raise InvalidData(f"{name}: must be of {', '.join(sorted(known))}.")
        return sql

    return Filter(condition, {"type": "array", "items": {"type": "string", "enum": sorted(known)}})


def flag(sql: str) -> Filter:
    """Accepts `true` or `false`."""
    return Filter(lambda name, value, bind: f"{sql} = {bind(truth(name, value))}::boolean", FLAG)


def compared(sql: str, read: Callable[[str, Any], object], type_: str, bare: bool) -> Filter:
    """Accepts `name[gt]=` and its kin; a bare value means equality where `bare` allows it."""

    def condition(name: str, value: Any, bind: Bind) -> str:
        if bare and isinstance(value, str):
            return f"{sql} = {bind(read(name, value))}::{type_}"
        if not isinstance(value, dict) or not OPERATORS.keys() >= value.keys():
            raise InvalidData(f"{name}: compare it with {', '.join(f'{name}[{o}]' for o in OPERATORS)}.")
        return " and ".join(f"{sql} {OPERATORS[o]} {bind(read(name, v))}::{type_}" for o, v in sorted(value.items()))

    ranges: Schema = {
        "type": "object",
        "properties": dict.fromkeys(OPERATORS, DATE if type_ == "timestamptz" else NUMBER),
    }
    return Filter(condition, ranges)


def dates(sql: str) -> Filter:
    """Accepts `created_at[gte]=2026-11-01` and its kin; a bare date is refused."""
    return compared(sql, moment, "timestamptz", bare=False)


def numbers(sql: str) -> Filter:
    """Accepts a number, or `[lt]`, `[lte]`, `[gt]`, `[gte]`."""
    return compared(sql, number, "double precision", bare=True)


def search(sql: str) -> Filter:
    """Accepts free text: `sql` compares lower-cased columns with `like {q}`, `{q}` being the pattern of a substring. An
    empty text is in everything, also where the columns are null."""

    def condition(name: str, value: Any, bind: Bind) -> str:
        if value == "":
            return "true"
        escaped = re.sub(r"([\\%_])", r"\\\1", word(name, value).lower())
        return "(" + sql.replace("{q}", bind(f"%{escaped}%")) + ")"

    return Filter(condition, TEXT | {"description": "Only those in which this text is found, in capitals or not."})


def conditions(query: Query, filters: Mapping[str, Filter], values: Values) -> list[str]:
    """The conditions of the filters that were sent, in the order of their declaration (so that texts repeat)."""
    return [build(name, query[name], values.bind) for name, build in filters.items() if name in query]
