"""Rules of the code base that a tool can hold (CONTRIBUTING.md). Imports: import-linter, in `make lint`."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.settings import Settings

ROOT = Path(__file__).parent.parent
SERVICES = ("orders", "catalog", "payments", "inventory")
SOURCES = sorted(p for top in ("services", "gateway") for p in (ROOT / top).rglob("*.py"))
TOP = ("service.py", "listeners.py", "commands.py", "remote.py", "documents.py", "events.py", "settings.py")
ASKING = {"call", "notify", "notify_until_heard"}
STATEMENTS = {"execute", "executemany", "fetch", "fetchrow", "fetchval"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
MAX_LINES = 420
# The names of services and of what they are about; also as parts of words.
BUSINESS = "orders catalog payment inventor cart stock region discount customer fulfil refund gift price"
CHASSIS_TABLES = "outbox|event_sequences|inbox|command_replies|sagas|idempotency_keys|deliveries|schema_migrations"


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_source(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_LINES, "split it by sub-noun"
    assert ast.get_docstring(tree) or not text.strip(), "say what the module owns"
    if "chassis" not in path.parts:
        looped = [
            call.lineno
            for loop in ast.walk(tree)
            if isinstance(loop, ast.For | ast.AsyncFor | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
            for part in (loop.body if isinstance(loop, ast.For | ast.AsyncFor) else [loop])
            for call in calls(part)
            if method(call) in STATEMENTS and not iterates(loop, call)
        ]
        assert not looped, f"a statement in a loop, at lines {looped}"
        assert "publish" not in {method(call) for call in calls(tree)}, "events leave through emit()"
        assert not re.search(rf"\b(from|join|into|update) ({CHASSIS_TABLES})\b", text), "ask the chassis for its rows"


@pytest.mark.parametrize("path", sorted((ROOT / "services/chassis").rglob("*.py")), ids=lambda p: p.name)
def test_the_chassis_knows_no_business(path: Path) -> None:
    tree = ast.parse(path.read_text())
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg | ast.keyword) and node.arg}
    words |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words |= texts - docstrings
    assert not [word for word in words if any(known in word.lower() for known in BUSINESS.split())]


def iterates(loop: ast.AST, call: ast.Call) -> bool:
    """Whether the call makes what a comprehension iterates over, which happens once."""
    generators = getattr(loop, "generators", [])
    return bool(generators) and any(node is call for node in ast.walk(generators[0].iter))


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_the_same_files_at_its_top(name: str) -> None:
    """service.py, what it hears, what others may ask, what it asks of others, what others copy, what it emits."""
    folder = ROOT / "services" / name
    assert not [file for file in TOP if not (folder / file).exists()]
    modules = {file: importlib.import_module(f"services.{name}.{file.removesuffix('.py')}") for file in TOP}
    service = modules["service.py"].SERVICE
    assert service.listeners == modules["listeners.py"].LISTENERS
    assert service.commands == modules["commands.py"].COMMANDS
    assert service.events == modules["events.py"].EVENTS
    assert modules["documents.py"].KINDS
    assert service.settings is not Settings
    assert service.settings.__module__ == f"services.{name}.settings"


def test_the_gateway_has_those_that_make_sense() -> None:
    """It hears nothing and asks nothing of others by command: it forwards."""
    modules = {file: importlib.import_module(f"gateway.{file}") for file in ("service", "commands", "events")}
    service = modules["service"].SERVICE
    assert service.commands == modules["commands"].COMMANDS
    assert service.events == modules["events"].EVENTS
    assert service.settings.__module__ == "gateway.settings"
    assert importlib.import_module("gateway.documents").KINDS


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_other_services_are_asked_in_remote(path: Path) -> None:
    if "chassis" in path.parts or path.name == "remote.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "services.chassis.commands":
            assert not ASKING & {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("commands", name) for name in ASKING}
