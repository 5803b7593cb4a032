"""Background tasks end, also those that lose a cancellation."""

import asyncio

from services.chassis.tasks import end


async def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task, 0.01)
    assert task.cancelled()
    assert lost == 3


async def test_a_task_gets_the_time_it_needs_to_finish() -> None:
    finished = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            finished.append(True)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task, 60)
    assert finished == [True]
    await end(task, 60)
