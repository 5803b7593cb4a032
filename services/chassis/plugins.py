"""Providers that others install beside us: found through Python entry points.

The name of an entry point is the provider's id. It leads to an object, or to something that makes one when called.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from aiohttp import web

from services.chassis.db import Db
from services.chassis.keys import POOL


def installed(group: str) -> dict[str, Any]:
    """Loads all providers of a group of entry points; they are returned by id."""
    loaded = {point.name: point.load() for point in entry_points(group=group)}
    return {name: entry() if callable(entry) else entry for name, entry in loaded.items()}


async def kept_open(
    app: web.Application, providers: Callable[[], Mapping[str, object]], at_start: Callable[[Db], Awaitable[None]]
) -> AsyncIterator[None]:
    """Runs `at_start`, in a transaction, when the process starts; closes those that can be when it ends.

    For a service's `beside`.
    """
    async with app[POOL].acquire() as db, db.transaction():
        await at_start(db)
    yield
    for provider in providers().values():
        if close := getattr(provider, "close", None):
            await close()
