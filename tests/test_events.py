"""The registry of events (`services/*/events.py`) against the code: every name that is emitted is in it, and no
other. What is really published is held against it at the end of each run of the tests (tests/support/stack.py)."""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("services/orders", "services/catalog", "services/payments", "services/inventory", "gateway")
EMITTERS = {"emit", "emit_all", "emit_selected"}
ANYTHING = r"[\w-]+"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """Where in the code something stands."""

    module: str
    function: Function | None


class Code:
    """The constants, imports and calls of one service."""

    def __init__(self, package: str) -> None:
        self.constants: dict[tuple[str, str], ast.expr] = {}
        self.imports: dict[tuple[str, str], tuple[str, str]] = {}
        self.calls: list[tuple[ast.Call, Place]] = []
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            self._read(ast.parse(path.read_text()), Place(module, None))

    def _read(self, node: ast.AST, place: Place) -> None:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Call():
                    self.calls.append((child, place))
                case ast.ImportFrom(module=str(source), names=names):
                    self.imports |= {(place.module, n.asname or n.name): (source, n.name) for n in names}
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if place.function is None:
                    self.constants[place.module, name] = value
            self._read(child, Place(place.module, child) if isinstance(child, Function) else place)

    def emitted(self) -> Iterator[str]:
        """A pattern for each name that the service may emit."""
        for call, place in self.calls:
            if self.called(call, place)[1] in EMITTERS:
                yield from self.texts(call.args[1], place)

    def called(self, call: ast.Call, place: Place) -> tuple[str, str]:
        """The module and the name of what is called."""
        match call.func:
            case ast.Name(id=name):
                return self.imports.get((place.module, name), (place.module, name))
            case ast.Attribute(value=ast.Name(id=of), attr=name) if (place.module, of) in self.imports:
                return ".".join(self.imports[place.module, of]), name
        return "", ""

    def texts(self, value: ast.expr, place: Place) -> set[str]:
        """Patterns of the texts that `value` can be. Raises AssertionError for what cannot be followed."""
        match value:
            case ast.Constant(value=str(text)):
                return {re.escape(text)}
            case ast.JoinedStr(values=parts):
                patterns = {""}
                for part in parts:
                    patterns = {before + text for before in patterns for text in self.part(part, place)}
                return patterns
            case ast.IfExp(body=one, orelse=other):
                return self.texts(one, place) | self.texts(other, place)
            case ast.Name(id=name):
                return self.named(name, place)
        raise AssertionError(f"{place.module}:{value.lineno}: {ast.unparse(value)}: an event's name cannot be followed")

    def named(self, name: str, place: Place) -> set[str]:
        """Patterns of what a variable can be: a parameter, something assigned, or a constant."""
        if place.function and name in parameters(place.function):
            return self.arguments(place, place.function, name)
        if place.function and (values := assigned(place.function, name)):
            return set().union(*(self.texts(value, place) for value in values))
        source = self.imports.get((place.module, name), (place.module, name))
        assert source in self.constants, f"{place.module}: {name}: an event's name cannot be followed"
        return self.texts(self.constants[source], Place(source[0], None))

    def part(self, part: ast.expr, place: Place) -> set[str]:
        """Patterns of a part of an f-string; of what is not known, that it is a word."""
        if isinstance(part, ast.FormattedValue):
            try:
                return self.texts(part.value, place)
            except AssertionError:
                return {ANYTHING}
        return self.texts(part, place)

    def arguments(self, place: Place, function: Function, name: str) -> set[str]:
        """Patterns of what callers in this service give for the parameter."""
        position = parameters(function).index(name)
        found: set[str] = set()
        for call, caller in self.calls:
            if self.called(call, caller) == (place.module, function.name):
                by_name = [keyword.value for keyword in call.keywords if keyword.arg == name]
                found |= self.texts(by_name[0] if by_name else call.args[position], caller)
        return found


def parameters(function: Function) -> list[str]:
    return [arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)]


def assigned(function: Function, name: str) -> list[ast.expr]:
    """What the function assigns to the variable."""
    return [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_registry_names_what_is_emitted(package: str) -> None:
    events: Mapping[str, str] = importlib.import_module(package.replace("/", ".") + ".events").EVENTS
    patterns = set(Code(package).emitted())
    unknown = [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in events)]
    assert not unknown, "emitted, and not declared"
    never = [name for name in events if not any(re.fullmatch(pattern, name) for pattern in patterns)]
    assert not never, "declared, and never emitted"


def test_an_event_is_one_services() -> None:
    names: list[str] = []
    for package in PACKAGES:
        events = importlib.import_module(package.replace("/", ".") + ".events").EVENTS
        names += events
        assert all(re.fullmatch(r"[A-Z].*\.", said) for said in events.values()), "one plain sentence each"
    assert len(names) == len(set(names))
