"""kill -9 between any two steps of authorizing what a customer owes for a swap with Stripe, and of giving it up: of
orders, of payments, and of payments while Stripe is at it. After the restart the books of orders, payments and Stripe
agree: what Stripe holds is a payment, and one payment at most holds what the customer owes.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.keys import BUS
from services.orders.carts.completions import COMPLETE_SWAP
from services.orders.swaps.cancellations import CANCEL_SWAP
from services.payments.payments import AUTHORIZE, GIVE_UP
from tests.support.client import Client
from tests.support.factories.swaps import Swapping, SwapShop, depot_of
from tests.support.fake_stripe import FakeStripe, environment
from tests.support.fault_injection import Kill, compensated, gone, points
from tests.support.invariants import check_books, check_stock, payments_heard
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
Request = Coroutine[Any, Any, tuple[int, Any]]
STOCK, DUE = 10, 2000
PAYMENTS = """
select data ->> 'id' as intent, amount, captured_at is not null as captured, canceled_at is not null as canceled
from payments where swap_id = $1 order by id
"""


@pytest.fixture
async def depot(api: Client, stack: Stack, stripe: FakeStripe) -> AsyncIterator[SwapShop]:
    """Its region is paid through Stripe, too."""
    bus = stack.apps["payments"][BUS]
    made = await depot_of(api, stack, STOCK)

    async def offered() -> bool:
        await call(bus, "catalog", "payment_providers", {"ids": ["manual", "stripe"]})
        path, body = f"/admin/regions/{made.house.shop.region}/payment-providers", {"provider_id": "stripe"}
        return (await api.post(path, body))[0] == 200

    await until(offered)  # what payments said when it started may come after it
    yield made
    await call(bus, "catalog", "payment_providers", {"ids": ["manual"]})


@pytest.fixture
def kill_stripe(kill: Kill, stripe: FakeStripe) -> Kill:
    kill.environment = environment(stripe)
    return kill


def by_method(stripe: FakeStripe) -> Row:
    """A payment session that names a method: the intent is made when the cart is completed."""
    return {"provider_id": "stripe", "data": {"payment_method": "pm_card_visa"}}


def by_browser(stripe: FakeStripe) -> Row:
    """One with an intent of the shop's front end, to be confirmed when the cart is completed."""
    intent = stripe.confirmed_later(DUE, "eur")
    intent["payment_method"] = "pm_card_visa"
    return {"provider_id": "stripe", "data": {"id": intent["id"]}}


Paying = Callable[[FakeStripe], Row]


async def check_stripe(stack: Stack, stripe: FakeStripe, swap: Swapping) -> str:
    """What Stripe holds or has taken is what the payments of the swap say. Returns the swap's payment_status."""
    rows = await stack.pool("payments").fetch(PAYMENTS, swap.id)
    alive = [row["intent"] for row in rows if not row["canceled"]]
    assert [
        id_ for id_, intent in stripe.intents.items() if intent["status"] in ("requires_capture", "succeeded")
    ] == alive
    for row in rows:
        wanted = "canceled" if row["canceled"] else "requires_capture"
        assert (stripe.intents[row["intent"]]["status"], row["amount"], row["captured"]) == (wanted, DUE, False)
    assert len(alive) <= 1
    await payments_heard(stack)
    await check_stock(stack)
    shown = await swap.shown()
    status: str = shown["payment_status"]
    if status == "awaiting":
        assert shown["payment"]["data"]["id"] == alive[0]
    else:
        assert alive == []
    return status


async def restart(kill: Kill) -> None:
    """Both services start again, and finish or compensate what they have begun: the one asks the other."""
    await kill.restart("payments")
    await kill.restart("orders")


async def killed(kill: Kill, operation: Any, point: str, request: Callable[[], Request]) -> int:
    """The status of a request that makes the payments service die there; everything has ended after it."""
    async with kill.process("payments", operation.kind, point, first=True) as (_, pid):
        asked = asyncio.create_task(request())
        await gone(pid)
        status, _ = await asked
    await restart(kill)
    return status


async def finish(depot: SwapShop, stripe: FakeStripe, swap: Swapping, key: str | None, paying: Paying) -> None:
    """The customer completes the cart, again; with another payment where the first one was given up."""
    status = await check_stripe(depot.stack, stripe, swap)
    assert status in ("awaiting", "not_paid")
    assert await depot.level() == (STOCK, 2 if status == "awaiting" else 0)
    if status == "not_paid":
        await swap.pay(paying(stripe))
    path, headers = f"/store/carts/{swap.cart}/complete", {"Idempotency-Key": key} if key else {}
    assert (await swap.visitor.post(path, headers=headers))[0] == 200
    assert await check_stripe(depot.stack, stripe, swap) == "awaiting"
    assert (await depot.level(), (await swap.order_now())["paid_total"]) == ((STOCK, 2), 4500 + DUE)


@pytest.mark.parametrize("point", points(COMPLETE_SWAP, "authorize"))
async def test_orders_dies_of_it(depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, point: str) -> None:
    swap = await depot.swap(paying=by_method(stripe))
    key = await kill_stripe("orders", "complete_swap", point, f"/store/carts/{swap.cart}/complete")
    assert await check_stripe(depot.stack, stripe, swap) == ("not_paid" if compensated(point) else "awaiting")
    await finish(depot, stripe, swap, key, by_method)


@pytest.mark.parametrize(
    ("paying", "point"),
    [(by_method, point) for point in points(AUTHORIZE.steps)]
    + [(by_browser, point) for point in points(AUTHORIZE.steps, "ask")],
)
async def test_payments_dies_of_it(
    depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, paying: Paying, point: str
) -> None:
    swap = await depot.swap(paying=paying(stripe))
    headers = {"Idempotency-Key": swap.id}
    path = f"/store/carts/{swap.cart}/complete"
    status = await killed(kill_stripe, AUTHORIZE, point, lambda: swap.visitor.post(path, headers=headers))
    assert status in (200, 503)
    await finish(depot, stripe, swap, swap.id, paying)


@pytest.mark.parametrize(("paying", "asked"), [(by_method, 1), (by_browser, 1), (by_browser, 2)])
async def test_payments_dies_while_stripe_is_at_it(
    depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, paying: Paying, asked: int
) -> None:
    """At the first, or second, of the requests that change something: Stripe does it all the same."""
    swap = await depot.swap(paying=paying(stripe))
    stripe.gate.clear()

    async def arrived(number: int) -> bool:
        return len(stripe.requests) == number

    async with kill_stripe.process("payments", first=True) as (_, pid):
        answer = asyncio.create_task(swap.visitor.post(f"/store/carts/{swap.cart}/complete"))
        await until(lambda: arrived(1))
        if asked == 2:
            stripe.gate.set()  # the one that waits may pass
            stripe.gate.clear()
            await until(lambda: arrived(2))
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        stripe.gate.set()
        assert (await answer)[0] in (200, 503)
    await restart(kill_stripe)
    await finish(depot, stripe, swap, None, paying)


@pytest.mark.parametrize("paying", [by_method, by_browser])
async def test_payments_was_away_for_more_than_a_day(
    depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, paying: Paying
) -> None:
    """Stripe has made the intent, and has forgotten the key by the time that it is asked again."""
    swap = await depot.swap(paying=paying(stripe))
    async with kill_stripe.process("payments", AUTHORIZE.kind, "ask:after", first=True) as (_, pid):
        answer = asyncio.create_task(swap.visitor.post(f"/store/carts/{swap.cart}/complete"))
        await gone(pid)
        stripe.forget()
        assert (await answer)[0] == 503
    await restart(kill_stripe)
    assert (len(stripe.intents), await check_stripe(depot.stack, stripe, swap)) == (1, "not_paid")
    await finish(depot, stripe, swap, None, paying)


# Giving it up


@pytest.fixture
async def confirmed(depot: SwapShop, stripe: FakeStripe) -> Swapping:
    """A swap that is to be canceled; the customer has paid."""
    swap = await depot.swap(paying=by_method(stripe))
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    await swap.cancel_return()
    assert await check_stripe(depot.stack, stripe, swap) == "awaiting"
    return swap


async def check_canceled(depot: SwapShop, stripe: FakeStripe, swap: Swapping, key: str) -> None:
    for _ in range(2):
        assert await check_stripe(depot.stack, stripe, swap) == "canceled"
        assert await depot.level() == (STOCK, 0)
        assert [path for path, _ in stripe.requests if path.endswith("/cancel")]
        answer = await depot.stack.service("orders").post(f"{swap.path}/cancel", headers={"Idempotency-Key": key})
        assert answer[0] == 200
    await check_books(depot.stack, swap.order["id"])


@pytest.mark.parametrize("point", points(CANCEL_SWAP, "payment"))
async def test_orders_dies_of_canceling(
    depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, confirmed: Swapping, point: str
) -> None:
    key = await kill_stripe("orders", "cancel_swap", point, f"{confirmed.path}/cancel")
    await check_canceled(depot, stripe, confirmed, key)


@pytest.mark.parametrize("point", points(GIVE_UP.steps))
async def test_payments_dies_of_canceling(
    depot: SwapShop, stripe: FakeStripe, kill_stripe: Kill, confirmed: Swapping, point: str
) -> None:
    orders, headers = depot.stack.service("orders"), {"Idempotency-Key": confirmed.id}
    path = f"{confirmed.path}/cancel"
    status = await killed(kill_stripe, GIVE_UP, point, lambda: orders.post(path, headers=headers))
    assert status in (200, 503)
    await check_canceled(depot, stripe, confirmed, confirmed.id)
