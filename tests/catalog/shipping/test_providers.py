"""The catalog hears which providers there are from the services that have them, whichever of them started first."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.catalog.shipping.providers import OPTIONS
from services.chassis.commands import call, notify_until_heard, run_commands
from services.chassis.keys import BUS
from tests.support.client import Client
from tests.support.stack import Stack
from tests.support.waiting import until


async def payment_providers(api: Client) -> dict[str, bool]:
    listed = (await api.ok("GET", "/admin/store/payment-providers"))["payment_providers"]
    return {provider["id"]: provider["is_installed"] for provider in listed}


@pytest.fixture
async def as_before(stack: Stack) -> AsyncIterator[None]:
    yield
    await stack.pool("catalog").execute("delete from payment_providers where id = 'tests'")
    await stack.pool("catalog").execute("delete from fulfillment_providers where id = 'tests'")
    await stack.pool("catalog").execute("delete from copies where kind = 'fulfillment_provider' and id = 'tests'")


async def test_told_at_the_start_of_payments(api: Client, stack: Stack, as_before: None) -> None:
    bus = stack.apps["payments"][BUS]
    before = await payment_providers(api)
    for _ in range(2):
        assert await call(bus, "catalog", "payment_providers", {"ids": ["manual", "tests"]}) == {}
    assert await payment_providers(api) == before | {"tests": True}
    await call(bus, "catalog", "payment_providers", {"ids": ["manual"]})
    assert (await payment_providers(api)).get("tests") is not True


async def test_told_at_the_start_of_orders(stack: Stack, as_before: None) -> None:
    offers = {"manual": OPTIONS["manual"], "tests": [{"id": "express"}]}
    assert await call(stack.apps["orders"][BUS], "catalog", "fulfillment_providers", {"providers": offers}) == {}
    query = "select body ->> 'options' from copies where kind = 'fulfillment_provider' and id = 'tests'"
    assert await stack.pool("catalog").fetchval(query) == '[{"id": "express"}]'
    installed = "select is_installed from fulfillment_providers where id = 'tests'"
    assert await stack.pool("catalog").fetchval(installed) is True


async def test_told_until_it_is_heard(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.commands.AGAIN_SECONDS", 0.05)
    app, heard = stack.apps["payments"], []
    telling = asyncio.create_task(notify_until_heard(app, "latecomer", "hear", {"ids": ["a"]}))

    async def hear(db: Any, body: dict[str, Any]) -> dict[str, Any]:
        heard.append(body)
        return {}

    done, _ = await asyncio.wait({telling}, timeout=0.2)
    assert not done
    bus = type(app[BUS])(stack.settings["payments"].rabbitmq_url.get_secret_value(), stack.namespace, "latecomer")
    await bus.start()
    late = asyncio.create_task(run_commands(stack.pool("payments"), bus, {"hear": hear}))
    try:
        await until(lambda: ended(telling))
    finally:
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        await bus.close()
    assert heard[0] == {"ids": ["a"]}


async def ended(task: asyncio.Task[None]) -> bool:
    return task.done()
