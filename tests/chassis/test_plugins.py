"""Providers of others: found as installed packages, announced at the start, closed at the end."""

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from services.chassis import plugins
from services.chassis.keys import POOL

POINTS = """
[mercer.tests]
by_class = tests.chassis.test_plugins:Closing
by_object = tests.chassis.test_plugins:PLAIN
"""


class Closing:
    closed = False

    async def close(self) -> None:
        self.closed = True


class Plain:
    """Nothing to close."""


PLAIN = Plain()


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an installed package offers."""
    info = tmp_path / "mercer_tests-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mercer-tests\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    return plugins.installed("mercer.tests")


def test_by_class_or_object(found: dict[str, Any]) -> None:
    assert sorted(found) == ["by_class", "by_object"]
    assert (type(found["by_class"]).__name__, found["by_object"]) == ("Closing", PLAIN)
    assert plugins.installed("mercer.nothing") == {}


async def test_announced_and_closed(found: dict[str, Any], pool: asyncpg.Pool) -> None:
    app, steps = web.Application(), []
    app[POOL] = pool

    async def announce(db: Any) -> None:
        steps.append(db.is_in_transaction())

    opened = partial(plugins.kept_open, providers=lambda: found, at_start=announce)
    async with asynccontextmanager(opened)(app):
        assert (steps, found["by_class"].closed) == ([True], False)
    assert (steps, found["by_class"].closed) == ([True], True)
