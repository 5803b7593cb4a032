"""SIGTERM: requests in flight are answered, events leave, and the process ends by itself."""

import asyncio
import signal
from functools import partial

import aiohttp
import pytest

from services.chassis.service import STOP_SECONDS
from tests.support.client import Client
from tests.support.factories.shops import set_up
from tests.support.locks import stalled, waits
from tests.support.processes import another
from tests.support.stack import Stack
from tests.support.waiting import in_time, until


async def test_a_stopping_service_answers_what_it_has_begun(api: Client, stack: Stack) -> None:
    shop = await set_up(api)
    async with another(stack, "orders") as (stopping, process):
        async with stalled(stack, "catalog", "product_variants"):
            asked = asyncio.create_task(stopping.post("/admin/draft-orders", shop.draft()))
            await until(partial(waits, stack, "catalog"))
            process.send_signal(signal.SIGTERM)

            async def closed() -> bool:
                try:
                    await stopping.session.get(stopping.base + "/health", headers={"Connection": "close"})
                except aiohttp.ClientConnectorError:
                    return True
                return False

            await until(closed)
            assert not asked.done()
        status, answer = await asked
        assert (status, answer["draft_order"]["status"]) == (200, "open")
        async with in_time():
            assert await process.wait() == 0

    async def left() -> bool:
        return bool(await stack.pool("orders").fetchval("select count(*) from outbox") == 0)

    await until(left)


@pytest.mark.parametrize("service", ["catalog", "payments", "inventory"])
async def test_a_service_stops_at_once_when_it_has_nothing_to_do(stack: Stack, service: str) -> None:
    async with another(stack, service) as (_, process):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):  # as long as no task has to be asked twice
            assert await process.wait() == 0
