"""Two that move the money of one order at the same moment, through two processes: one wins, or both where both can, and
the books of all services agree.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.orders import uncapture
from tests.support.factories.shops import place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.fault_injection import Kill
from tests.support.invariants import check_books, check_stock
from tests.support.stack import Stack

ROUNDS = 5
Order = dict[str, Any]
Answer = tuple[int, Any]


@pytest.fixture
async def house(api: Client) -> Warehouse:
    return await make_warehouse(api, pieces=100)


@pytest.fixture
async def other(kill: Kill) -> AsyncIterator[Client]:
    """A second process of orders."""
    async with kill.process("orders") as (client, _):
        yield client


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


async def both(*asked: Any) -> list[Answer]:
    answers: list[Answer] = await asyncio.gather(*asked)
    # Who comes second is told so; nobody is told nonsense.
    assert {status for status, _ in answers} <= {200, 400, 409, 503}, answers
    return answers


def won(answers: list[Answer]) -> int:
    return sum(status == 200 for status, _ in answers)


async def placed(api: Client, stack: Stack, house: Warehouse, *, captured: bool) -> Order:
    """An order of 25.00: 2 small, and shipping."""
    order = await place(api, house.shop)
    if not captured:
        await uncapture(stack, order)
    return order


async def test_two_captures(api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client) -> None:
    for _ in range(ROUNDS):
        order = await placed(api, stack, house, captured=False)
        payment = f"/admin/payments/{order['payments'][0]['id']}/capture"
        path = f"{path_of(order)}/capture"
        answers = await both(orders.post(path), other.post(path), api.post(payment), orders.post(path))
        assert won(answers) == 4, answers
        assert (await check_books(stack, order["id"]))["payment_status"] == "captured"
        # It was taken once, so it was told once.
        told = "select sequence from event_sequences where aggregate = $1"
        assert await stack.pool("payments").fetchval(told, order["payments"][0]["id"]) == 3


@pytest.mark.parametrize(("amount", "winners"), [(1500, 1), (1250, 2), (900, 2)])
async def test_refunds(
    api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client, amount: int, winners: int
) -> None:
    """Three ask; there is enough for one or two."""
    for _ in range(ROUNDS):
        order = await placed(api, stack, house, captured=True)
        path, body = f"{path_of(order)}/refund", {"amount": amount, "reason": "other"}
        payment = f"/admin/payments/{order['payments'][0]['id']}/refund"
        answers = await both(orders.post(path, body), other.post(path, body), api.post(payment, body))
        assert won(answers) == winners, answers
        assert (await check_books(stack, order["id"]))["refunded_total"] == amount * winners


async def test_capture_and_cancel(api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client) -> None:
    for turn in range(ROUNDS * 2):
        order = await placed(api, stack, house, captured=False)
        line = order["items"][0]["id"]
        await api.ok("POST", f"{path_of(order)}/line-items/{line}/reserve", {"location_id": house.location})
        asked = [orders.post(f"{path_of(order)}/capture"), other.post(f"{path_of(order)}/cancel")]
        # Either may be the first to be sent.
        (captured, _), (canceled, _) = (await both(*asked)) if turn % 2 else (await both(*asked[::-1]))[::-1]
        found = await check_books(stack, order["id"])
        assert (found["status"] == "canceled") == (canceled == 200)
        assert 200 in (captured, canceled)
        if canceled != 200:
            assert found["payment_status"] == "captured"
            assert (await orders.post(f"{path_of(order)}/cancel"))[0] == 200
        assert (await house.stock(stack))[house.shop.small] == (100, 0)
    await check_stock(stack)


async def test_refund_and_receipt(api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client) -> None:
    """15.00 are given back while goods worth 20.00 come in, of 25.00: the goods always come in."""
    stocked = 100
    for turn in range(ROUNDS):
        order = await placed(api, stack, house, captured=True)
        items = [{"item_id": order["items"][0]["id"], "quantity": 2}]
        returned = (await api.ok("POST", f"{path_of(order)}/return", {"items": items}))["order"]["returns"][0]
        receive = {"items": items, "location_id": house.location}
        asked = [
            orders.post(f"{path_of(order)}/refund", {"amount": 1500, "reason": "other"}),
            other.post(f"/admin/returns/{returned['id']}/receive", receive),
        ]
        (refunded, _), (received, _) = (await both(*asked)) if turn % 2 else (await both(*asked[::-1]))[::-1]
        assert received == 200
        stocked += 2
        found = await check_books(stack, order["id"])
        assert found["refunded_total"] == (1500 if refunded == 200 else 2000)
        shown = (await api.ok("GET", path_of(order)))["order"]
        assert shown["returns"][0]["status"] == "received"
        assert shown["fulfillment_status"] == ("requires_action" if refunded == 200 else "returned")
        assert (await house.stock(stack))[house.shop.small] == (stocked, 0)


async def test_one_return_received_twice(
    api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client
) -> None:
    for turn in range(ROUNDS):
        order = await placed(api, stack, house, captured=True)
        items = [{"item_id": order["items"][0]["id"], "quantity": 2}]
        returned = (await api.ok("POST", f"{path_of(order)}/return", {"items": items}))["order"]["returns"][0]
        path, body = f"/admin/returns/{returned['id']}/receive", {"items": items, "location_id": house.location}
        answers = await both(orders.post(path, body), other.post(path, body), other.post(path, body))
        assert won(answers) == 1
        assert (await check_books(stack, order["id"]))["refunded_total"] == 2000
        assert (await house.stock(stack))[house.shop.small] == (100 + 2 * (turn + 1), 0)


async def test_two_cancels(api: Client, stack: Stack, house: Warehouse, orders: Client, other: Client) -> None:
    for _ in range(ROUNDS):
        order = await placed(api, stack, house, captured=True)
        path = f"{path_of(order)}/cancel"
        answers = await both(orders.post(path), other.post(path), orders.post(path))
        assert won(answers) >= 1
        assert (await check_books(stack, order["id"]))["status"] == "canceled"
