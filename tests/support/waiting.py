"""How tests wait: for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 10.0, every: float = 0.02) -> Any:
    """The first truthy result of `check`, asked again and again; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not (result := await check()):
            await asyncio.sleep(every)
        return result
