"""Ending what runs in the background."""

import asyncio
from typing import Any


async def end(task: asyncio.Task[Any], patience: float) -> None:
    """Cancel the task and wait until it is done; cancel it again when it is not after `patience` seconds.

    Python 3.11 loses a cancellation that comes in the moment in which what `wait_for` waits for is there, and the
    client of the broker uses it for everything: asked once, a process might never end.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience)
