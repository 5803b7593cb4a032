"""What the tests of orders share: a shop to sell from, orders, and the events that are heard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.conftest import Client, Stack, listening, until
from tests.shop import Shop, place, set_up
from tests.smtp import Mailbox, installed

Order = dict[str, Any]


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


async def uncapture(stack: Stack, order: Order) -> None:
    """Make of a paid order one whose payment was authorized only; drafts are captured at once."""

    async def heard_of_all_payments() -> bool:
        # What was captured is also told by event: one that comes late would compensate what follows.
        sent = await stack.pool("payments").fetchval(
            "select sum(sequence)::int from event_sequences where aggregate like 'pay\\_%'"
        )
        taken = await stack.pool("orders").fetchval("select count(*)::int from inbox where name like 'payment.%'")
        return bool(sent == taken)

    await until(heard_of_all_payments)
    for service in ("payments", "orders"):
        await stack.pool(service).execute("update payments set captured_at = null where order_id = $1", order["id"])
    await stack.pool("orders").execute("update orders set payment_status = 'awaiting' where id = $1", order["id"])


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
