"""What the tests of payments share: asking by command, listening to events, and a provider that is far away."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.ids import new_id
from services.chassis.keys import BUS
from services.payments.providers import providers
from tests.support.commands import Ask
from tests.support.far_provider import Far
from tests.support.stack import Stack, listening
from tests.support.waiting import PATIENCE, until


@pytest.fixture
async def ask(stack: Stack) -> Ask:
    """`await ask("capture", {...}, key=...)`: a command to payments, as orders sends it."""
    bus = stack.apps["orders"][BUS]

    async def connected() -> bool:
        return bus.connected and stack.apps["payments"][BUS].connected

    await until(connected)

    async def ask(name: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        return await call(bus, "payments", name, body, key=key, deadline=PATIENCE)

    return ask


@pytest.fixture
def authorized(ask: Ask) -> Callable[..., Awaitable[dict[str, Any]]]:
    """`await authorized(amount=4000)`: a fresh payment."""

    async def make(**more: Any) -> dict[str, Any]:
        payment_id = new_id("pay")
        body = {
            "payment_id": payment_id,
            "order_id": new_id("order"),
            "cart_id": new_id("cart"),
            "swap_id": None,
            "amount": 4000,
            "currency_code": "eur",
            "provider_id": "manual",
            "data": {},
        } | more
        payment: dict[str, Any] = (await ask("authorize", body, key=f"{payment_id}:authorize"))["payment"]
        return payment

    return make


@pytest.fixture
async def heard(stack: Stack) -> AsyncIterator[list[dict[str, Any]]]:
    """All events published while the test runs, as they come."""
    async with listening(stack, "payment.#", "gift_card.#") as events:
        yield events


@pytest.fixture
def far() -> Iterator[Far]:
    found = providers()["far"] = Far()
    yield found
    del providers()["far"]
