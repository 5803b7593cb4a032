"""How tests wait: for a condition, never for a time.

PATIENCE is how long something that is bound to happen may take on a machine that is busy with other work. It is long:
only a test that fails waits for all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.chassis import commands

PATIENCE = 120.0
# How long the product waits before it goes on without an answer. A busy machine lets that happen while nothing is
# wrong, and all services of a test share one process.
LIMITS = (
    "services.chassis.bus.CONFIRM_SECONDS",
    "services.chassis.connection.IDLE_SECONDS",
    "services.chassis.connection.LOCK_SECONDS",
    "services.chassis.connection.STATEMENT_SECONDS",
    "services.chassis.saga_rows.WAIT_SECONDS",
    "services.catalog.batch.rows.LOCK_SECONDS",
    "services.orders.drafts.pricing.REFRESH_SECONDS",
    "services.orders.fulfillment_providers.ANSWER_SECONDS",
    "services.payments.remote.FETCH_SECONDS",
    "gateway.health.HEALTH_SECONDS",
    "gateway.routing.ANSWER_SECONDS",
    "gateway.upstream.CONNECT_SECONDS",
    "gateway.upstream.QUEUE_SECONDS",
)


@contextmanager
def patient_product() -> Iterator[None]:
    """The product waits as long as the tests do; a test that is about a limit sets it anew."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in LIMITS:
            patch.setattr(limit, PATIENCE)
        for function in (commands.call, commands.notify):
            patch.setattr(function, "__kwdefaults__", (function.__kwdefaults__ or {}) | {"deadline": PATIENCE})
        yield


def in_time() -> asyncio.Timeout:
    """`async with in_time():` fails when the block takes longer than anything that works can take."""
    return asyncio.timeout(PATIENCE)


async def until(check: Callable[[], Awaitable[Any]], every: float = 0.02) -> Any:
    """The first truthy result of `check`, asked again and again."""
    async with in_time():
        while not (result := await check()):
            await asyncio.sleep(every)
        return result
