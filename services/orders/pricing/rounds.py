"""How a cart, or an edit, is changed that the catalog has to price: it is asked without a transaction, about what was
there at that moment, and its answer is stored only while that is still so.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict
from services.chassis.http import json_bytes

ROUNDS = 5

Planned = TypeVar("Planned")
Quoted = TypeVar("Quoted")


class StaleError(Exception):
    """What was priced has changed since it was read."""


async def change_priced(
    request: web.Request,
    *,
    plan: Callable[[Db], Awaitable[Planned | str]],
    quote: Callable[[Planned], Awaitable[Quoted]],
    store: Callable[[Db, Planned, Quoted], Awaitable[str]],
    busy: str,
) -> web.Response:
    """The answer of `store`, or that of `plan` when there is nothing to change.

    `store` locks, and raises StaleError when what `plan` has read is not as it was; then all begins anew. Raises
    Conflict, which says `busy`, when that happens again and again, and what the three raise.
    """
    for _ in range(ROUNDS):
        async with reading(request) as db:
            planned = await plan(db)
        if isinstance(planned, str):
            return json_bytes(request, planned)
        quoted = await quote(planned)
        with suppress(StaleError):
            async with transaction(request) as db:
                return json_bytes(request, await store(db, planned, quoted))
    raise Conflict(busy)
