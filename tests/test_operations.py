"""What every declared operation says of itself (services/chassis/operations.py)."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

import orjson
import pytest
from pydantic import BaseModel

from services.chassis import operations
from services.chassis.operations import Operation
from tests.support.operations import declared, services

ALL = declared()
each = pytest.mark.parametrize(("module", "operation"), [pytest.param(*of, id=name) for name, of in ALL.items()])


def test_all_of_them_are_operations_and_routed_once() -> None:
    held = [operation for service in services().values() for operation in service.operations]
    assert [o for o in held if not isinstance(o, Operation)] == []
    assert len(held) == len(ALL) > 260


@each
def test_a_handler_is_named_for_its_method_and_takes_what_is_declared(module: str, operation: Operation) -> None:
    handler = operation.handler
    if handler.__module__ == operations.__name__:  # made by the chassis
        return
    assert handler.__name__.startswith(f"{operation.method.lower()}_"), (module, handler.__name__)
    if operation.body is not None and not operation.raw:
        hints = get_type_hints(handler)
        last = list(inspect.signature(handler).parameters)[-1]
        assert hints[last] is operation.body, (module, handler.__name__)


@each
def test_it_is_described_in_sentences(module: str, operation: Operation) -> None:
    assert re.fullmatch(r"[A-Z][^.]*", operation.summary), operation.summary
    assert len(operation.summary) < 90
    assert not operation.description or operation.description.endswith((".", ")")), operation.description
    assert not re.search(r"\b(he|his|him|she|her)\b", operation.description)


@each
def test_its_example_is_a_body_that_it_takes(module: str, operation: Operation) -> None:
    if operation.body is None:
        assert operation.example is None
        return
    if len(operation.body.model_fields) > 1:
        assert operation.example is not None, f"{module}: an example of {operation.body.__name__}"
    if operation.example is not None:
        operation.body.model_validate_json(orjson.dumps(operation.example))


@each
def test_what_changes_something_says_what_it_answers(module: str, operation: Operation) -> None:
    assert operation.answer is not None or operation.status == 204 or operation.content_type != operations.JSON


def parts_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and the models of its properties."""
    todo: list[Any] = [model]
    seen: set[type[BaseModel]] = set()
    while todo:
        found = todo.pop()
        if inspect.isclass(found) and issubclass(found, BaseModel):
            if found not in seen:
                seen.add(found)
                yield found
                todo += [field.annotation for field in found.model_fields.values()]
        else:
            todo += getattr(found, "__args__", ())


def test_bodies_have_names_of_their_own() -> None:
    """So that the document needs not tell them apart by their modules."""
    models = {part for _, operation in ALL.values() if operation.body for part in parts_of(operation.body)}
    names = [(model.__module__.split(".")[1], model.__name__) for model in models]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
