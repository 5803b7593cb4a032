"""The three operations of /store for the cart of a swap: who may, what they cost, what the customer's confirmation
changes in all services, and what a refusal leaves behind.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.service import make_app
from services.orders.service import SERVICE
from tests.support.client import Client
from tests.support.factories.shops import Shop
from tests.support.factories.swaps import Swapping, SwapShop, depot_of, sent_order, swap_of
from tests.support.locks import stalled, waits
from tests.support.stack import Stack, serve
from tests.support.waiting import until

Row = dict[str, Any]


@pytest.fixture
async def swap(api: Client, stack: Stack, shop: Shop) -> Swapping:
    """1 of the small variant for 2 of the large, sent for 2.50: the customer owes 22.50."""
    order = await sent_order(api, shop)
    return await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 2}, shipping=250)


async def held(stack: Stack, swap: Swapping) -> list[tuple[Any, ...]]:
    """(amount, captured, canceled) of the payments that the payments service has for the swap."""
    rows = await stack.pool("payments").fetch(
        "select amount, captured_at is not null, canceled_at is not null from payments where swap_id = $1 order by id",
        swap.id,
    )
    return [tuple(row) for row in rows]


# Who may


async def test_whoever_has_the_id_and_nobody_else(api: Client, shop: Shop, swap: Swapping) -> None:
    visitor, path = swap.visitor, f"/store/carts/{swap.cart}"
    draft = (await api.ok("POST", "/admin/draft-orders", shop.draft()))["draft_order"]
    body = {"option_id": shop.shipping_option}
    for cart in ("cart_missing", draft["cart_id"], swap.order["cart_id"]):
        for action in ("shipping-methods", "payment-sessions", "complete"):
            status, answer = await visitor.post(f"/store/carts/{cart}/{action}", body if "methods" in action else None)
            assert (status, answer["type"]) == (404, "not_found"), (cart, action)
    for method, where in (
        ("GET", path),
        ("POST", path),
        ("POST", f"{path}/line-items"),
        ("DELETE", f"{path}/complete"),
        ("GET", f"{path}/complete"),
        ("POST", f"{path}/complete/"),
        ("POST", f"/store/carts/..%2F..%2Fadmin%2Forders/{swap.cart}/complete"),
        ("POST", "/store/carts"),
    ):
        assert (await visitor.request(method, where))[0] == 404, (method, where)
    assert (await visitor.get(f"/admin/swaps/{swap.id}"))[0] == 401
    assert (await swap.choose())["total"] == 2250


# Shipping


async def test_shipping_is_chosen(api: Client, shop: Shop, swap: Swapping) -> None:
    path = f"/store/carts/{swap.cart}/shipping-methods"
    body = {"option_id": shop.shipping_option, "data": {"locker": 12}}
    cart = (await swap.visitor.ok("POST", path, body))["cart"]
    assert [(m["price"], m["data"], m["total"]) for m in cart["shipping_methods"]] == [(250, {"locker": 12}, 250)]
    assert (cart["id"], cart["shipping_total"], cart["total"]) == (swap.cart, 250, 2250)
    assert {line["has_shipping"] for line in cart["items"]} == {True}
    again = (await swap.visitor.ok("POST", path, {"option_id": shop.shipping_option}))["cart"]
    assert [(m["price"], m["data"]) for m in again["shipping_methods"]] == [(250, {})]
    shown = await swap.shown()
    assert (shown["cart"]["total"], shown["shipping_methods"], shown["difference_due"]) == (2250, [], None)


async def option(api: Client, shop: Shop, **more: Any) -> str:
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    body = {
        "name": "Another",
        "region_id": shop.region,
        "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": 650,
        "data": {"id": "manual-fulfillment"},
    }
    return str((await api.ok("POST", "/admin/shipping-options", body | more))["shipping_option"]["id"])


async def test_what_cannot_be_chosen(api: Client, stack: Stack, shop: Shop, swap: Swapping) -> None:
    other, label, internal = (
        await option(api, shop),
        await option(api, shop, is_return=True),
        await option(api, shop, admin_only=True),
    )
    free = await swap_of(api, stack, shop, await swap.order_now(), back={shop.small: 1}, new={shop.large: 1})
    before = await swap.shown(), await free.shown()
    for of, body, status in (
        (swap, {"option_id": other}, 400),  # not offered
        (swap, {"option_id": "so_missing"}, 400),
        (swap, {}, 400),
        (swap, {"option_id": shop.shipping_option, "price": 0}, 400),
        (free, {"option_id": "so_missing"}, 404),
        (free, {"option_id": label}, 400),
        (free, {"option_id": internal}, 400),
    ):
        assert (await of.visitor.post(f"/store/carts/{of.cart}/shipping-methods", body))[0] == status, body
    assert (await swap.shown(), await free.shown()) == before
    path = f"/store/carts/{free.cart}/shipping-methods"
    cart = (await free.visitor.ok("POST", path, {"option_id": other}))["cart"]
    assert (cart["shipping_total"], cart["total"]) == (650, 1150)
    cart = (await free.visitor.ok("POST", path, {"option_id": shop.shipping_option}))["cart"]
    assert ([m["price"] for m in cart["shipping_methods"]], cart["total"]) == ([500], 1000)


async def test_choosing_twice_at_once(swap: Swapping) -> None:
    path, body = f"/store/carts/{swap.cart}/shipping-methods", {"option_id": swap.shop.shipping_option}
    answers = await asyncio.gather(*(swap.visitor.post(path, body) for _ in range(3)))
    assert {status for status, _ in answers} <= {200, 409} and answers[0][0] in (200, 409)
    assert (await swap.shown())["cart"]["total"] == 2250
    assert len((await swap.shown())["cart"]["shipping_methods"]) == 1


# Payment sessions


async def test_a_session_for_what_is_to_be_paid(api: Client, stack: Stack, shop: Shop, swap: Swapping) -> None:
    path = f"/store/carts/{swap.cart}/payment-sessions"
    cart = (await swap.visitor.ok("POST", path))["cart"]
    session = cart["payment_session"]
    assert (session["provider_id"], session["amount"], session["status"], session["is_selected"]) == (
        "manual",
        2000,
        "pending",
        True,
    )
    cart = await swap.choose()
    assert [(s["provider_id"], s["amount"]) for s in cart["payment_sessions"]] == [("manual", 2250)]
    for body in ({"provider_id": "nobody"}, {"provider_id": 5}, {"amount": 1}):
        status, answer = await swap.visitor.post(path, body)
        assert (status, answer["type"]) == (400, "invalid_data"), body
    back = await swap_of(api, stack, shop, await swap.order_now(), back={shop.large: 1}, new={shop.small: 1})
    cart = (await back.visitor.ok("POST", f"/store/carts/{back.cart}/payment-sessions"))["cart"]
    assert cart["payment_sessions"] == []


# Completing


async def test_the_customer_owes_something(api: Client, stack: Stack, swap: Swapping, heard: list[Row]) -> None:
    done = await swap.confirm()
    assert (done["id"], done["difference_due"], done["payment_status"]) == (swap.id, 2250, "awaiting")
    assert done["confirmed_at"] is not None and done["shipping_address"]["city"] == "Berlin"
    shown, order = await swap.shown(), await swap.order_now()
    payment = shown["payment"]
    assert (payment["amount"], payment["provider_id"], payment["captured_at"]) == (2250, "manual", None)
    assert (payment["swap_id"], payment["order_id"], payment["cart_id"]) == (swap.id, swap.order["id"], swap.cart)
    assert (shown["cart"]["payment_id"], shown["cart"]["completed_at"] is not None) == (payment["id"], True)
    assert [(m["price"], m["shipping_option"]["id"]) for m in shown["shipping_methods"]] == [
        (250, swap.shop.shipping_option)
    ]
    assert (order["paid_total"], order["refundable_amount"], order["payment_status"]) == (6250, 6250, "captured")
    assert sorted(p["amount"] for p in order["payments"]) == [2250, 4000]
    assert await held(stack, swap) == [(2250, False, False)]
    # Again: the same answer, nothing more happens.
    again = await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    assert again["data"] == done
    assert await held(stack, swap) == [(2250, False, False)]

    async def emitted() -> Any:
        return [e["data"] for e in heard if e["type"] == "swap.payment_completed"]

    assert await until(emitted) == [
        {"id": swap.id, "order_id": swap.order["id"], "difference_due": 2250, "no_notification": None}
    ]


async def test_the_customer_gets_something_back(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.large: 1}, new={shop.small: 1}, shipping=0)
    done = await swap.confirm()
    assert (done["difference_due"], done["payment_status"]) == (-500, "awaiting")
    assert (await swap.shown())["payment"] is None
    assert (await swap.order_now())["paid_total"] == 4000
    assert await held(stack, swap) == []


async def test_nothing_is_due(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.large: 1}, new={shop.large: 1}, shipping=0)
    done = await swap.confirm()
    assert (done["difference_due"], done["payment_status"]) == (0, "confirmed")
    assert await held(stack, swap) == []


async def test_nothing_is_sent(api: Client, stack: Stack, shop: Shop) -> None:
    """Without a shipping method, nothing is said about whether the lines have one."""
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.large: 1}, new={shop.small: 1})
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    shown = await swap.shown()
    assert (shown["difference_due"], shown["shipping_methods"]) == (-500, [])
    assert {line["has_shipping"] for line in shown["cart"]["items"]} == {None}
    status, answer = await swap.post("fulfillments", {})
    assert (status, answer["type"]) == (400, "not_allowed")


async def test_what_cannot_be_completed(api: Client, stack: Stack, swap: Swapping) -> None:
    path = f"/store/carts/{swap.cart}"
    before = await swap.shown(), await swap.order_now()
    status, answer = await swap.visitor.post(f"{path}/complete")
    assert (status, answer["type"]) == (400, "not_allowed"), "nobody to pay to"
    assert (await swap.shown(), await swap.order_now()) == before
    await swap.choose()
    await swap.cancel_return()
    await swap.ok("cancel")
    before = await swap.shown(), await swap.order_now()
    for action, body in (
        ("complete", None),
        ("payment-sessions", None),
        ("shipping-methods", {"option_id": swap.shop.shipping_option}),
    ):
        status, answer = await swap.visitor.post(f"{path}/{action}", body)
        assert (status, answer["type"]) == (400, "not_allowed"), action
    assert (await swap.shown(), await swap.order_now()) == before
    assert await held(stack, swap) == []


async def test_a_confirmed_cart_is_not_changed(swap: Swapping) -> None:
    await swap.confirm()
    before = await swap.shown()
    for action, body in (("payment-sessions", None), ("shipping-methods", {"option_id": swap.shop.shipping_option})):
        assert (await swap.visitor.post(f"/store/carts/{swap.cart}/{action}", body))[0] == 400
    assert await swap.shown() == before


async def test_completing_twice_at_once(stack: Stack, swap: Swapping) -> None:
    await swap.choose()
    path = f"/store/carts/{swap.cart}/complete"
    answers = await asyncio.gather(*(swap.visitor.post(path) for _ in range(6)))
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    assert await held(stack, swap) == [(2250, False, False)]
    order = await swap.order_now()
    assert (order["paid_total"], len(order["payments"])) == (6250, 2)


async def test_completing_and_canceling_at_once(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    for _ in range(3):
        now = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        swap = await swap_of(api, stack, shop, now, back={shop.small: 1}, new={shop.large: 1}, shipping=250)
        await swap.choose()
        await swap.cancel_return()
        (completed, _), (canceled, _) = await asyncio.gather(
            swap.visitor.post(f"/store/carts/{swap.cart}/complete"), swap.post("cancel")
        )
        assert (completed, canceled) in ((200, 200), (200, 409), (400, 200), (409, 200))
        shown = await swap.shown()
        if canceled == 200:
            assert shown["payment_status"] == "canceled"
            assert await held(stack, swap) in ([], [(750, False, True)])
        else:
            assert shown["payment_status"] == "awaiting"
            assert await held(stack, swap) == [(750, False, False)]


async def test_nothing_else_happens_while_it_is_completed(stack: Stack, swap: Swapping) -> None:
    await swap.choose()
    await swap.cancel_return()
    path = f"/store/carts/{swap.cart}"
    async with stalled(stack, "payments", "payments"):
        completing = asyncio.create_task(swap.visitor.post(f"{path}/complete"))

        async def reached() -> bool:
            return await waits(stack, "payments")

        await until(reached)
        for post in (
            swap.post("cancel"),
            swap.post("process-payment"),
            swap.post("fulfillments", {}),
            swap.visitor.post(f"{path}/complete"),
            swap.visitor.post(f"{path}/payment-sessions"),
            swap.visitor.post(f"{path}/shipping-methods", {"option_id": swap.shop.shipping_option}),
        ):
            status, answer = await post
            assert (status, answer["type"]) == (409, "conflict")
    assert (await completing)[0] == 200
    assert await held(stack, swap) == [(2250, False, False)]


async def test_without_the_broker(stack: Stack, swap: Swapping) -> None:
    await swap.choose()
    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        before = await swap.shown(), await swap.order_now()
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        status, answer = await cut_off.post(f"/store/carts/{swap.cart}/complete")
        assert (status, answer["type"]) == (503, "unavailable")
        assert (await swap.shown(), await swap.order_now()) == before
    finally:
        await runner.cleanup()
    assert (await swap.confirm())["difference_due"] == 2250


# Stock


@pytest.fixture
async def depot(api: Client, stack: Stack) -> SwapShop:
    """5 pieces of what swaps send."""
    return await depot_of(api, stack, 5)


@pytest.fixture
async def reserving(stack: Stack) -> AsyncIterator[Client]:
    """A process of orders that reserves on placement."""
    settings = stack.settings["orders"].model_copy(update={"reserve_stock": "on_placement", "port": 0})
    runner, base = await serve(make_app(SERVICE, settings))
    try:
        yield Client(stack.session, base, stack.service("orders").headers)
    finally:
        await runner.cleanup()


async def test_new_goods_are_reserved(depot: SwapShop, reserving: Client) -> None:
    paying = await depot.swap(2)
    await paying.visitor.ok("POST", f"/store/carts/{paying.cart}/complete")
    assert await depot.level() == (5, 2)
    repaid = await depot.swap(1, back=5, bought=5)  # the customer pays nothing: reserved where placements reserve
    await reserving.ok("POST", f"/store/carts/{repaid.cart}/complete")
    assert await depot.level() == (5, 3)
    by_hand = await depot.swap(1, back=5, bought=5)
    await by_hand.visitor.ok("POST", f"/store/carts/{by_hand.cart}/complete")
    assert await depot.level() == (5, 3)
    await paying.cancel_return()
    await paying.ok("cancel")
    assert await depot.level() == (5, 1)


async def test_what_is_out_of_stock(depot: SwapShop) -> None:
    swap = await depot.swap(6, allow_backorder=False)
    before = await swap.shown(), await swap.order_now()
    status, answer = await swap.visitor.post(f"/store/carts/{swap.cart}/complete")
    assert (status, answer["type"], answer["code"]) == (409, "not_allowed", "insufficient_inventory")
    assert (await swap.shown(), await swap.order_now()) == before
    assert (await depot.level(), await held(depot.stack, swap)) == ((5, 0), [])
    late = await depot.swap(6)  # staff allow it by default
    await late.visitor.ok("POST", f"/store/carts/{late.cart}/complete")
    assert await depot.level() == (5, 6)


async def test_the_last_piece_goes_to_one_of_two(depot: SwapShop) -> None:
    first, second = await depot.swap(3, allow_backorder=False), await depot.swap(3, allow_backorder=False)
    answers = await asyncio.gather(*(s.visitor.post(f"/store/carts/{s.cart}/complete") for s in (first, second)))
    assert sorted(status for status, _ in answers) == [200, 409]
    assert await depot.level() == (5, 3)
    paid = [*await held(depot.stack, first), *await held(depot.stack, second)]
    assert paid == [(3500, False, False)]


async def test_refused_by_payments_nothing_stays_reserved(depot: SwapShop) -> None:
    swap = await depot.swap(2)
    pool = depot.stack.pool("orders")
    await pool.execute("update payment_sessions set provider_id = 'gone' where cart_id = $1", swap.cart)
    before = await swap.shown(), await swap.order_now()
    status, answer = await swap.visitor.post(f"/store/carts/{swap.cart}/complete")
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await swap.shown(), await swap.order_now()) == before
    assert (await depot.level(), await held(depot.stack, swap)) == ((5, 0), [])


async def test_what_the_channel_does_not_stock_is_not_reserved(depot: SwapShop, api: Client, uid: str) -> None:
    channel = (await api.ok("POST", "/admin/sales-channels", {"name": uid}))["sales_channel"]["id"]
    swap = await depot.swap(2, sales_channel_id=channel)
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    assert await depot.level() == (5, 0)
    assert (await swap.shown())["payment_status"] == "awaiting"
