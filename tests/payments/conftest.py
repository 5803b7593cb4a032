"""What the tests of payments share: asking by command, listening to events, and a provider that is far away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.ids import new_id
from services.chassis.keys import BUS
from services.payments.provider_protocol import Data, Row
from services.payments.providers import providers
from tests.conftest import Stack, listening, until

Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def ask(stack: Stack) -> Ask:
    """`await ask("capture", {...}, key=...)`: a command to payments, as orders sends it."""
    bus = stack.apps["orders"][BUS]

    async def connected() -> bool:
        return bus.connected and stack.apps["payments"][BUS].connected

    await until(connected)

    async def ask(name: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        return await call(bus, "payments", name, body, key=key, deadline=20)

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


class Far:
    """A provider on the other side of a network: slow, sometimes unwilling, sometimes silent."""

    remote = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None

    async def _answer(self, name: str, payment: Row, key: str) -> Data:
        self.asked.append((name, payment["id"], key))
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return {"last": name}

    async def authorize(self, payment: Row, key: str) -> Data:
        return await self._answer("authorize", payment, key)

    async def capture(self, payment: Row, key: str) -> Data:
        return await self._answer("capture", payment, key)

    async def cancel(self, payment: Row, key: str) -> Data:
        return await self._answer("cancel", payment, key)

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        return await self._answer(f"refund {amount}", payment, key)


@pytest.fixture
def far() -> Iterator[Far]:
    found = providers()["far"] = Far()
    yield found
    del providers()["far"]
