"""The functions through which every request and every answer passes, and what a call of each of them says about an
operation. `given` are its arguments by their names.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson
import pydantic_core
from aiohttp import web
from pydantic import BaseModel

from services.chassis import embed, http, params
from services.chassis.openapi_values import (
    QUERY,
    UNKNOWN,
    Answer,
    Chosen,
    Json,
    Listed,
    Listing,
    Operation,
    Query,
    Row,
    Sent,
    Shaped,
    Statement,
    Unknown,
    is_known,
    json_value,
    members,
)

Given = Mapping[str, Any]


TEXT: dict[str, Any] = {"type": "string"}


TEXTS = {"type": "array", "items": TEXT}


GENERAL: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 0},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
    "order": TEXT,
    "expand": TEXT,
    "fields": TEXT,
}


class Follower(Protocol):
    """Who follows a handler (openapi_code.py), as seen from here."""

    found: Operation

    def schema_of(self, condition: Any) -> dict[str, Any]:
        """The JSON schema of a filter's values."""


def on_parse(follower: Follower, given: Given) -> Any:
    model = given.get("model")
    if inspect.isclass(model) and issubclass(model, BaseModel) and model not in follower.found.bodies:
        follower.found.bodies.append(model)
    return UNKNOWN


def on_page_query(follower: Follower, given: Given) -> Any:
    filters = given["filters"].items if isinstance(given["filters"], Shaped) else given["filters"]
    for name, condition in filters.items() if isinstance(filters, Mapping) else ():
        follower.found.knows(name, follower.schema_of(condition))
    knows = given.get("knows", ("limit", "offset", "order", "expand", "fields"))
    general(follower, knows if is_known(knows) else (), given.get("limit"))
    if not is_resource(given):
        return UNKNOWN
    shown = given.get("fields")
    fewer = shown is not None and not (is_known(shown) and set(shown) >= set(given["resource"].columns))
    return Listing(given["resource"], fewer or not is_known(knows) or "fields" in knows)


def on_one_query(follower: Follower, given: Given) -> Any:
    if isinstance(given.get("query"), dict):
        return Chosen(narrowed=False)
    general(follower, ("fields", "expand"))
    return Chosen(narrowed=True)


def on_selection(follower: Follower, given: Given) -> Any:
    return Chosen(narrowed=isinstance(given.get("query"), Unknown) or not is_known(given.get("fields")))


def on_check_known(follower: Follower, given: Given) -> Any:
    general(follower, [name for name in members(given.get("known")) if isinstance(name, str)])
    return None


def on_word(follower: Follower, given: Given) -> Any:
    return of_type(follower, given, TEXT)


def on_truth(follower: Follower, given: Given) -> Any:
    return of_type(follower, given, {"type": "boolean"})


def on_number(follower: Follower, given: Given) -> Any:
    return of_type(follower, given, {"type": "number"})


def on_moment(follower: Follower, given: Given) -> Any:
    return of_type(follower, given, {"type": "string", "format": "date-time"})


def on_conditions(follower: Follower, given: Given) -> Any:
    filters = given.get("filters")
    for name, condition in filters.items() if isinstance(filters, Mapping) else ():
        follower.found.knows(name, follower.schema_of(condition))
    return UNKNOWN


def on_one_json(follower: Follower, given: Given) -> Any:
    chosen = given.get("chosen")
    narrowed = chosen.narrowed if isinstance(chosen, Chosen) else not is_known(chosen) or narrows(given, chosen)
    return Row((given["resource"],), narrowed) if is_resource(given) else UNKNOWN


def on_page_json(follower: Follower, given: Given) -> Any:
    page, key = given.get("page"), given.get("key")
    row = Row((page.resource,), page.narrowed, many=True) if isinstance(page, Listing) else Listed(UNKNOWN)
    if not isinstance(key, str):
        return UNKNOWN
    return Json((Shaped({key: row, "count": 0, "offset": 0, "limit": 0}),))


def on_replace(follower: Follower, given: Given) -> Any:
    page = given.get("obj")
    changes = given.get("changes", {})
    if isinstance(page, Listing):
        resource, chosen = changes.get("resource", page.resource), changes.get("chosen")
        narrowed = chosen.narrowed if isinstance(chosen, Chosen) else page.narrowed
        return Listing(resource if isinstance(resource, embed.Resource) else page.resource, narrowed)
    if is_known(page) and all(map(is_known, changes.values())):
        return computed(dataclasses.replace, [page], dict(changes))
    return page if isinstance(page, Chosen) else UNKNOWN


def on_selection_class(follower: Follower, given: Given) -> Any:
    if all(map(is_known, given.values())):
        return computed(embed.Selection, [], dict(given))
    return Chosen(narrowed=not is_known(given.get("fields")))


def on_json_bytes(follower: Follower, given: Given) -> Any:
    answer = Answer(status_of(given), given.get("body"))
    follower.found.answers.append(answer)
    return answer


def on_json_response(follower: Follower, given: Given) -> Any:
    answer = Answer(status_of(given), Json((given.get("data"),)))
    follower.found.answers.append(answer)
    return answer


def on_response(follower: Follower, given: Given) -> Any:
    value, kind = given.get("text", given.get("body")), given.get("content_type", "text/plain")
    answer = Answer(status_of(given), value, kind if isinstance(kind, str) else "text/plain")
    follower.found.answers.append(answer)
    return answer


def on_dumps(follower: Follower, given: Given) -> Any:
    return Json((next(iter(given.values()), UNKNOWN),))


def on_loads(follower: Follower, given: Given) -> Any:
    value = on_fragment(follower, given)
    return dataclasses.replace(value, changed=True) if isinstance(value, Row) else value


def on_fragment(follower: Follower, given: Given) -> Any:
    text = next(iter(given.values()), UNKNOWN)
    return json_value(text) if isinstance(text, Json | Row) else UNKNOWN


def on_page_sql(follower: Follower, given: Given) -> Any:
    chosen = given.get("chosen")
    narrowed = chosen.narrowed if isinstance(chosen, Chosen) else not is_known(chosen) or narrows(given, chosen)
    return Statement(Row((given["resource"],), narrowed, many=True)) if is_resource(given) else UNKNOWN


def on_page_text(follower: Follower, given: Given) -> Any:
    page = given.get("page")
    return Statement(Row((page.resource,), page.narrowed, many=True)) if isinstance(page, Listing) else UNKNOWN


def general(follower: Follower, names: Iterable[str], limit: Any = None) -> None:
    for name in names:
        more = {"default": limit} if name == "limit" and isinstance(limit, int) else {}
        follower.found.knows(name, GENERAL.get(name, {}) | more)


def of_type(follower: Follower, given: Given, schema: dict[str, Any]) -> Any:
    """A value of the query is read as this."""
    follower.found.values.append(schema)
    if isinstance(sent := given.get("value"), Sent):
        follower.found.knows(sent.name, schema)
    return UNKNOWN


def reads(schema: dict[str, Any]) -> Callable[[Follower, Given], Any]:
    """`integer(query, name, default)` and its kin: the default is part of the schema."""

    def on_read(follower: Follower, given: Given) -> Any:
        if isinstance(name := given.get("name"), str) and isinstance(given.get("query"), Query):
            default = given.get("default")
            follower.found.knows(name, schema | ({"default": default} if is_known(default) else {}))
        return UNKNOWN

    return on_read


def narrows(given: Given, chosen: Any) -> bool:
    """Whether a selection that is known leaves columns out."""
    return isinstance(chosen, embed.Selection) and set(chosen.fields) < set(given["resource"].columns)


def is_resource(given: Given) -> bool:
    return isinstance(given.get("resource"), embed.Resource)


def status_of(given: Given) -> int:
    status = given.get("status", 200)
    return status if isinstance(status, int) else 0


def computed(function: Any, args: list[Any], named: dict[str, Any]) -> Any:
    """The result of a function that only computes; an argument that is not known is left to its default."""
    try:
        return function(*args, **{name: value for name, value in named.items() if is_known(value)})
    except Exception:  # it may well not like what is left
        return UNKNOWN


SPECIAL: dict[Any, Callable[[Follower, Given], Any]] = {
    http.parse: on_parse,
    http.json_bytes: on_json_bytes,
    embed.page_query: on_page_query,
    embed.one_query: on_one_query,
    embed.selection: on_selection,
    embed.one_json: on_one_json,
    embed.page_json: on_page_json,
    embed.page_sql: on_page_sql,
    embed.page_text: on_page_text,
    embed.Selection: on_selection_class,
    params.query_of: lambda follower, given: QUERY,
    params.check_known: on_check_known,
    params.integer: reads({"type": "integer", "minimum": 0}),
    params.boolean: reads({"type": "boolean"}),
    params.word: on_word,
    params.truth: on_truth,
    params.number: on_number,
    params.moment: on_moment,
    params.conditions: on_conditions,
    dataclasses.replace: on_replace,
    web.json_response: on_json_response,
    web.Response: on_response,
    orjson.dumps: on_dumps,
    orjson.loads: on_loads,
    orjson.Fragment: on_fragment,
    pydantic_core.to_json: on_dumps,
}
