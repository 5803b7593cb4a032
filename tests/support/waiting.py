"""How tests wait: for a condition, never for a time.

PATIENCE is how long something that is bound to happen may take on a machine that is busy with other work. It is long:
only a test that fails waits for all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 120.0


def in_time() -> asyncio.Timeout:
    """`async with in_time():` fails when the block takes longer than anything that works can take."""
    return asyncio.timeout(PATIENCE)


async def until(check: Callable[[], Awaitable[Any]], every: float = 0.02) -> Any:
    """The first truthy result of `check`, asked again and again."""
    async with in_time():
        while not (result := await check()):
            await asyncio.sleep(every)
        return result
