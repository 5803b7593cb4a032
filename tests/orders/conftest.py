"""What the tests of orders share: a shop to sell from, orders, and the events that are heard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.orders import Order, uncapture
from tests.support.factories.shops import Shop, place, set_up
from tests.support.fake_smtp import Mailbox, installed
from tests.support.stack import Stack, listening


@pytest.fixture
async def shop(api: Client) -> Shop:
    """Made for each test: a test that makes its own takes the countries away from the others."""
    return await set_up(api)


@pytest.fixture
def ordered(api: Client, shop: Shop) -> Callable[..., Awaitable[Order]]:
    """`await ordered(quantity=2, ...)`: a paid order of the small variant and 1 of the large; it costs 40.00 then."""

    async def make(quantity: int = 2, **more: Any) -> Order:
        items = [{"variant_id": shop.small, "quantity": quantity}, {"variant_id": shop.large, "quantity": 1}]
        return await place(api, shop, **{"items": items} | more)

    return make


@pytest.fixture
async def awaiting(stack: Stack, ordered: Callable[..., Awaitable[Order]]) -> Order:
    """An order whose payment was authorized but not captured."""
    order = await ordered()
    await uncapture(stack, order)
    return order


@pytest.fixture
async def heard(stack: Stack) -> AsyncIterator[list[dict[str, Any]]]:
    """All events about orders, swaps and claims published while the test runs, as they come."""
    async with listening(stack, "order.#", "swap.#", "claim.#") as events:
        yield events


@pytest.fixture
async def mailbox(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mailbox]:
    """A mail server, by which customers are told."""
    async with installed(monkeypatch, "smtp://127.0.0.1:{port}?from=shop@example.com&tls=none") as box:
        yield box
