"""Functions, as the documentation looks at them (openapi_code.py): where their code is, and which only compute."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import orjson

from services.chassis import embed, params
from services.chassis.openapi_meaning import TEXT, TEXTS, Given
from services.chassis.openapi_values import (
    is_known,
)

OURS = ("services.", "gateway.")


# They build SQL and send messages: nothing about requests, answers and errors stands there.
SILENT = tuple(f"services.chassis.{name}" for name in ("embed", "documents", "outbox", "copies", "bus", "ids"))


signature = functools.cache(inspect.signature)


def filter_schema(condition: Any) -> dict[str, Any]:
    """The JSON schema of a filter's values; empty for one that chassis/params.py did not make."""
    made_by = getattr(condition, "__qualname__", "").split(".")[0]
    inside = inspect.getclosurevars(condition).nonlocals if isinstance(condition, FunctionType) else {}
    match made_by:
        case "texts":
            return TEXTS if inside["array_only"] else {"anyOf": [TEXTS, TEXT]}
        case "choices":
            one = {"type": "string", "enum": sorted(inside["known"])}
            many = {"type": "array", "items": one}
            return many if inspect.getclosurevars(inside["inner"]).nonlocals["array_only"] else {"anyOf": [many, one]}
        case "flag":
            return {"type": "boolean"}
        case "compared":
            one = {"type": "string", "format": "date-time"} if inside["type_"] == "timestamptz" else {"type": "number"}
            ranges = {
                "type": "object",
                "properties": dict.fromkeys(params.OPERATORS, one),
                "additionalProperties": False,
            }
            return {"anyOf": [ranges, one]} if inside["bare"] else ranges
    return TEXT if made_by in ("text", "search") else {}


FACTORIES = frozenset({"text", "texts", "choices", "flag", "compared", "search"})


def is_filter(function: Any) -> bool:
    """Whether it is a filter that chassis/params.py made."""
    return (
        isinstance(function, FunctionType)
        and function.__module__ == params.__name__
        and function.__qualname__.partition(".")[0] in FACTORIES
        and "<locals>" in function.__qualname__
    )


@functools.cache
def source_of(function: FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The syntax tree of a function, or None for what has no source of its own."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, TypeError, SyntaxError):
        return None
    node = tree.body[0]
    return node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None


def code_of(function: Any) -> Any:
    """The function to follow: not what the standard library has wrapped around it."""
    while hasattr(function, "__wrapped__") and not (
        isinstance(function, FunctionType) and str(function.__globals__["__name__"]).startswith(OURS)
    ):
        function = function.__wrapped__
    return function


# Called as they are when all their arguments are known: they only compute.
PURE: set[Any] = {
    *(tuple, list, dict, set, frozenset, sorted, len, str, bool, min, max),
    *(embed.cols, embed.tree, embed.merge, embed.Resource, embed.Many, embed.One, embed.Value, embed.Nested),
    *(params.text, params.texts, params.choices, params.flag, params.dates, params.numbers, params.search),
    embed.Selection,
    dataclasses.replace,
}


# And functions of ours that say they return one of these.
COMPUTED = ("Resource", "Many", "One", "Value", "Tree", "Filter", "Selection", "dict[str, Filter]", "Relation")


def arguments(function: Any, args: list[Any], named: Given) -> Given:
    """The arguments by their names."""
    if function is orjson.Fragment:  # has no signature
        return {"contents": args[0]}
    return signature(function).bind_partial(*args, **named).arguments


def settled(function: Any, named: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The arguments, each flag among them that is not known tried both ways."""
    open_flags = (
        [
            name
            for name, parameter in signature(function).parameters.items()
            if parameter.annotation in (bool, "bool") and not is_known(named.get(name, True))
        ]
        if isinstance(inspect.unwrap(function), FunctionType)
        else []
    )
    for flags in itertools.product((False, True), repeat=len(open_flags)):
        yield {**named, **dict(zip(open_flags, flags, strict=True))}


def computable(function: Any, args: list[Any], named: dict[str, Any]) -> bool:
    """Whether it only computes, and enough is known to call it."""
    if not all(map(is_known, args)) or not getattr(function, "__hash__", None):
        return False
    if function in PURE:
        return all(map(is_known, named.values()))
    target = inspect.unwrap(function) if callable(function) else None
    if not isinstance(target, FunctionType) or inspect.iscoroutinefunction(target):
        return False
    return str(target.__annotations__.get("return", "")).rpartition(".")[2].rstrip("'>") in COMPUTED or (
        target.__annotations__.get("return") in (embed.Resource, embed.Tree, embed.Many, embed.One, params.Filter)
    )


def is_told(function: FunctionType) -> bool:
    """Whether the code of a function can say something about an operation."""
    module = str(function.__globals__["__name__"])
    return module.startswith(OURS) and not module.startswith(SILENT)
