"""Refunds: how much, out of which payment, and never twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from services.payments.refunds import spread
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.stack import Stack

Captured = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def captured(ask: Ask, authorized: Callable[..., Awaitable[dict[str, Any]]]) -> Captured:
    async def make(**more: Any) -> dict[str, Any]:
        payment = await authorized(**more)
        row: dict[str, Any] = (await ask("capture", {"payment_id": payment["id"]}))["payment"]
        return row

    return make


async def refunded(stack: Stack, payment_id: str) -> tuple[int, int, int]:
    """What the payment says was given back, what its parts add up to, and in how many refunds."""
    row = await stack.pool("payments").fetchrow(
        "select amount_refunded, coalesce(sum(r.amount), 0)::bigint, count(r.amount) "
        "from payments p left join refund_parts r on r.payment_id = p.id where p.id = $1 group by p.id",
        payment_id,
    )
    return tuple(row)


async def test_refund_piece_by_piece(stack: Stack, payments: Client, captured: Captured) -> None:
    payment = await captured(amount=4000)
    path = f"/admin/payments/{payment['id']}/refund"
    first = await payments.ok("POST", path, {"amount": 1500, "reason": "discount", "note": "Late delivery"})
    refund = first["refund"]
    assert refund == {
        "id": refund["id"],
        "payment_id": payment["id"],
        "order_id": payment["order_id"],
        "amount": 1500,
        "reason": "discount",
        "note": "Late delivery",
        "created_at": refund["created_at"],
        "updated_at": refund["created_at"],
        "metadata": None,
        "idempotency_key": None,
    }
    assert refund["id"].startswith("ref_")
    status, body = await payments.post(path, {"amount": 2501, "reason": "other"})
    assert (status, body["type"]) == (400, "not_allowed")
    assert await refunded(stack, payment["id"]) == (1500, 1500, 1)
    second = await payments.ok("POST", path, {"amount": 2500, "reason": "claim"})
    assert (second["refund"]["amount"], second["refund"]["note"]) == (2500, None)
    assert (await payments.ok("GET", f"/admin/payments/{payment['id']}"))["payment"]["amount_refunded"] == 4000
    status, body = await payments.post(path, {"amount": 1, "reason": "swap"})
    assert (status, body["type"]) == (400, "not_allowed")
    assert await refunded(stack, payment["id"]) == (4000, 4000, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"amount": 10},
        {"reason": "other"},
        {"amount": 10, "reason": "whim"},
        {"amount": 10.5, "reason": "other"},
        {"amount": "10", "reason": "other"},
        {"amount": True, "reason": "other"},
        {"amount": 0, "reason": "other"},
        {"amount": -5, "reason": "other"},
        {"amount": 10**30, "reason": "other"},
        {"amount": 10, "reason": "other", "note": 5},
        {"amount": 10, "reason": "other", "note": "a\0b"},
        {"amount": 10, "reason": "other", "colour": "red"},
        [],
    ],
    ids=str,
)
async def test_refund_refused(stack: Stack, payments: Client, captured: Captured, body: Any) -> None:
    payment = await captured()
    status, answer = await payments.post(f"/admin/payments/{payment['id']}/refund", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await refunded(stack, payment["id"]) == (0, 0, 0)
    assert (await payments.post("/admin/payments/pay_missing/refund", body))[0] == 400


async def test_refund_of_what_was_not_captured(
    stack: Stack, payments: Client, authorized: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    payment = await authorized()
    body = {"amount": 10, "reason": "other"}
    status, answer = await payments.post(f"/admin/payments/{payment['id']}/refund", body)
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await payments.post("/admin/payments/pay_missing/refund", body))[0] == 404
    assert await refunded(stack, payment["id"]) == (0, 0, 0)


async def test_refunds_in_parallel_never_exceed_the_payment(stack: Stack, payments: Client, captured: Captured) -> None:
    for _ in range(3):
        payment = await captured(amount=1000)
        path = f"/admin/payments/{payment['id']}/refund"
        answers = await asyncio.gather(*(payments.post(path, {"amount": 300, "reason": "other"}) for _ in range(16)))
        assert sorted(status for status, _ in answers) == [200] * 3 + [400] * 13
        assert await refunded(stack, payment["id"]) == (900, 900, 3)


async def test_same_refund_asked_twice_at_once(stack: Stack, payments: Client, captured: Captured) -> None:
    payment = await captured(amount=1000)
    path, headers = f"/admin/payments/{payment['id']}/refund", {"Idempotency-Key": new_id("key")}
    body = {"amount": 300, "reason": "other"}
    answers = await asyncio.gather(*(payments.post(path, body, headers=headers) for _ in range(8)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["refund"]["id"] for _, answer in answers}) == 1
    status, answer = await payments.post(path, body | {"amount": 200}, headers=headers)
    assert (status, answer["type"]) == (409, "conflict")
    assert await refunded(stack, payment["id"]) == (300, 300, 1)


async def test_refund_command_spreads_over_payments(stack: Stack, ask: Ask, captured: Captured) -> None:
    order_id = new_id("order")
    first, second = await captured(amount=1000, order_id=order_id), await captured(amount=500, order_id=order_id)
    ids = [first["id"], second["id"]]
    body = {"payment_ids": ids, "order_id": order_id, "amount": 1200, "reason": "return", "note": None}
    key = new_id("key")
    reply = await ask("refund", body, key=key)
    assert {name: reply["refund"][name] for name in ("payment_id", "order_id", "amount", "reason", "note")} == {
        "payment_id": None,
        "order_id": order_id,
        "amount": 1200,
        "reason": "return",
        "note": None,
    }
    assert [(row["id"], row["amount_refunded"]) for row in reply["payments"]] == [(ids[0], 1000), (ids[1], 200)]
    assert await ask("refund", body, key=key) == reply
    with pytest.raises(ApiError) as refused:
        await ask("refund", body | {"amount": 301}, key=new_id("key"))
    assert refused.value.type == "not_allowed"
    assert [await refunded(stack, i) for i in ids] == [(1000, 1000, 1), (200, 200, 1)]


async def test_refund_command_in_parallel_is_one_refund(stack: Stack, ask: Ask, captured: Captured) -> None:
    payment = await captured(amount=1000)
    body = {"payment_ids": [payment["id"]], "amount": 400, "reason": "return", "note": None, "order_id": None}
    key = new_id("key")
    replies = await asyncio.gather(*(ask("refund", body, key=key) for _ in range(8)))
    assert len({reply["refund"]["id"] for reply in replies}) == 1
    assert await refunded(stack, payment["id"]) == (400, 400, 1)


@given(st.lists(st.integers(0, 1000), max_size=6), st.integers(1, 6000))
def test_spread(refundable: list[int], amount: int) -> None:
    offered = [(str(n), most) for n, most in enumerate(refundable)]
    parts = spread(amount, offered)
    assert sum(share for _, share in parts) == min(amount, sum(refundable))
    assert all(0 < share <= dict(offered)[payment_id] for payment_id, share in parts)
