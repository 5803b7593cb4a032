"""kill -9 of a service in the middle of placing orders: each is finished or compensated, and the books of all agree."""

import asyncio
import random
import signal
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client
from tests.support.factories.shops import Shop, set_up
from tests.support.processes import another
from tests.support.stack import Stack
from tests.support.waiting import until

DRAFTS = 12


@pytest.fixture
async def shop(api: Client) -> Shop:
    return await set_up(api)


async def settled(stack: Stack) -> bool:
    """Whether no saga is under way, those of the dead process included: their leases are taken for expired."""
    left = await stack.pool("orders").fetchval(
        "with expired as (update sagas set leased_until = now() - interval '1 second' "
        "where status in ('running', 'compensating')) "
        "select count(*) from sagas where status in ('running', 'compensating')"
    )
    return bool(left == 0)


@pytest.mark.parametrize("seed", range(3))
async def test_orders_dies_while_it_places_orders(api: Client, stack: Stack, shop: Shop, seed: int) -> None:
    drafts = [(await api.ok("POST", "/admin/draft-orders", shop.draft()))["draft_order"]["id"] for _ in range(DRAFTS)]
    async with another(stack, "orders") as (doomed, process):

        async def pay(draft: str) -> Any:
            try:
                return await doomed.post(f"/admin/draft-orders/{draft}/pay")
            except aiohttp.ClientError:
                return None

        paying = [asyncio.create_task(pay(draft)) for draft in drafts]
        # Not to wait for a condition: the process has to die at any moment of the work.
        await asyncio.sleep(random.Random(seed).uniform(0.01, 0.4))
        process.send_signal(signal.SIGKILL)
        answers = await asyncio.gather(*paying)

    async def done() -> bool:
        return await settled(stack)

    await until(done, every=0.5)
    orders = {
        row["draft_order_id"]: dict(row)
        for row in await stack.pool("orders").fetch(
            "select id, draft_order_id, total, payment_status from orders where draft_order_id = any($1)", drafts
        )
    }
    held = await stack.pool("payments").fetch(
        "select order_id, amount, captured_at is not null as captured, canceled_at is not null as canceled "
        "from payments where order_id = any($1)",
        [order["id"] for order in orders.values()],
    )
    # Exactly one payment for each order, of its total, captured; and none that no order knows of.
    assert sorted((p["order_id"], p["amount"], p["captured"], p["canceled"]) for p in held) == sorted(
        (order["id"], order["total"], True, False) for order in orders.values()
    )
    assert {order["payment_status"] for order in orders.values()} <= {"captured"}
    carts = await stack.pool("orders").fetch(
        "select id, cart_id, status, order_id from draft_orders where id = any($1)", drafts
    )
    assert {c["id"]: c["order_id"] for c in carts} == {d: orders[d]["id"] if d in orders else None for d in drafts}
    loose = await stack.pool("payments").fetchval(
        "select count(*) from payments where cart_id = any($1) and order_id <> all ($2) and canceled_at is null",
        [c["cart_id"] for c in carts],
        [order["id"] for order in orders.values()],
    )
    assert loose == 0
    # Who was told of an order has one, and what is left open can be paid.
    told = [draft for draft, answer in zip(drafts, answers, strict=True) if answer and answer[0] == 200]
    assert set(told) <= set(orders)
    for draft in set(drafts) - set(orders):
        assert (await api.post(f"/admin/draft-orders/{draft}/pay"))[0] == 200
