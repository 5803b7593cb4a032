"""Capturing and refunding over HTTP: the payments service does it, the order shows it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.sagas import begin
from services.orders.orders.captures import capture_payments, plan_capture
from services.orders.orders.refunds import RefundBody, plan_refund, refund_payments
from tests.support.client import Client
from tests.support.factories.orders import uncapture
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


async def shown(api: Client, order: Order) -> Order:
    answer: Order = (await api.ok("GET", path_of(order)))["order"]
    return answer


async def payment_of(api: Client, order: Order) -> dict[str, Any]:
    """The payment as the payments service has it."""
    payment: dict[str, Any] = (await api.ok("GET", f"/admin/payments/{order['payments'][0]['id']}"))["payment"]
    return payment


def named(heard: list[dict[str, Any]], name: str, order: Order) -> list[dict[str, Any]]:
    return [event["data"] for event in heard if event["type"] == name and event["subject"] == order["id"]]


# Captures


async def test_capture(api: Client, awaiting: Order, heard: list[dict[str, Any]]) -> None:
    assert (await shown(api, awaiting))["payment_status"] == "awaiting"
    answer = (await api.ok("POST", f"{path_of(awaiting)}/capture"))["order"]
    assert answer["payment_status"] == "captured"
    assert answer["payments"][0]["captured_at"] == (await payment_of(api, awaiting))["captured_at"]
    assert await shown(api, awaiting) == await shown(api, awaiting) | {"payment_status": "captured"}

    async def emitted() -> bool:
        return bool(named(heard, "order.payment_captured", awaiting))

    await until(emitted)


async def test_a_captured_order_stays_as_it_is(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    before = await shown(api, order)
    answer = (await api.ok("POST", f"{path_of(order)}/capture"))["order"]
    assert answer["payment_status"] == "captured"
    assert await shown(api, order) == before


async def test_captures_at_the_same_time_have_one_effect(
    api: Client, stack: Stack, awaiting: Order, heard: list[dict[str, Any]]
) -> None:
    answers = await asyncio.gather(*(api.post(f"{path_of(awaiting)}/capture") for _ in range(8)))
    assert [status for status, _ in answers] == [200] * 8
    assert {answer["order"]["payments"][0]["captured_at"] for _, answer in answers} == {
        (await payment_of(api, awaiting))["captured_at"]
    }

    last = await stack.pool("orders").fetchval(
        "select sequence from event_sequences where aggregate = $1", awaiting["id"]
    )

    async def emitted() -> bool:
        return any((e["subject"], int(e["sequence"])) == (awaiting["id"], last) for e in heard)

    await until(emitted)
    assert len(named(heard, "order.payment_captured", awaiting)) == 1


async def test_capture_and_cancel_at_the_same_time(api: Client, stack: Stack, ordered: Ordered) -> None:
    for _ in range(5):
        order = await ordered()
        await uncapture(stack, order)
        captured, canceled = await asyncio.gather(
            api.post(f"{path_of(order)}/capture"), api.post(f"{path_of(order)}/cancel")
        )
        assert 200 in (captured[0], canceled[0])
        assert {captured[0], canceled[0]} <= {200, 400, 409}
        after, payment = await shown(api, order), await payment_of(api, order)
        seen = after["payments"][0]
        assert (seen["captured_at"], seen["canceled_at"]) == (payment["captured_at"], payment["canceled_at"])
        assert (payment["captured_at"] is not None) == (captured[0] == 200)
        assert (payment["canceled_at"] is not None) == (canceled[0] == 200)
        expected = ("canceled", "canceled") if canceled[0] == 200 else ("pending", "captured")
        assert (after["status"], after["payment_status"]) == expected


async def test_a_capture_that_was_cut_off_is_finished(api: Client, stack: Stack, awaiting: Order) -> None:
    app = stack.apps["orders"]
    async with app[POOL].acquire() as db, db.transaction():
        state = {"order_id": awaiting["id"], "payment_ids": await plan_capture(db, awaiting["id"])}
        saga = await begin(db, "capture", new_id("cap"), state)
    status, answer = await api.post(f"{path_of(awaiting)}/cancel")
    assert (status, answer["type"]) == (409, "conflict")
    await capture_payments(app, saga)
    await app[POOL].execute("update sagas set leased_until = now() where id = $1", saga.id)

    async def done() -> bool:
        ended = await app[POOL].fetchval("select status from sagas where id = $1", saga.id)
        return bool(ended == "done" and (await shown(api, awaiting))["payment_status"] == "captured")

    await until(done)


async def test_a_capture_asked_for_elsewhere_is_heard_of(
    api: Client, awaiting: Order, heard: list[dict[str, Any]]
) -> None:
    await api.ok("POST", f"/admin/payments/{awaiting['payments'][0]['id']}/capture")

    async def done() -> bool:
        return bool((await shown(api, awaiting))["payment_status"] == "captured")

    await until(done)

    async def emitted() -> bool:
        return bool(named(heard, "order.payment_captured", awaiting))

    await until(emitted)


async def test_a_lost_reply_is_healed_by_the_event(api: Client, stack: Stack, awaiting: Order) -> None:
    """The payments service has captured, and nothing of this service's own has come through."""
    app = stack.apps["orders"]
    async with app[POOL].acquire() as db, db.transaction():
        state = {"order_id": awaiting["id"], "payment_ids": await plan_capture(db, awaiting["id"])}
        saga = await begin(db, "capture", new_id("cap"), state)
    await capture_payments(app, saga)

    async def done() -> bool:
        return bool((await shown(api, awaiting))["payment_status"] == "captured")

    await until(done)
    await app[POOL].execute("update sagas set leased_until = now() where id = $1", saga.id)


# Refunds


async def test_refund_in_parts(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    path = f"{path_of(order)}/refund"
    body = {"amount": 1500, "reason": "discount", "note": "Scratched", "no_notification": True}
    answer = (await api.ok("POST", path, body))["order"]
    assert (answer["payment_status"], answer["refunded_total"], answer["refundable_amount"]) == (
        "partially_refunded",
        1500,
        2500,
    )
    assert [payment["amount_refunded"] for payment in answer["payments"]] == [1500]
    refund = answer["refunds"][0]
    assert refund == {
        "id": refund["id"],
        "order_id": order["id"],
        "payment_id": None,
        "amount": 1500,
        "reason": "discount",
        "note": "Scratched",
        "metadata": None,
        "idempotency_key": None,
        "created_at": refund["created_at"],
        "updated_at": refund["created_at"],
    }
    before = await shown(api, order)
    status, refusal = await api.post(path, {"amount": 2501, "reason": "other"})
    assert (status, refusal["type"]) == (400, "not_allowed")
    assert await shown(api, order) == before
    answer = (await api.ok("POST", path, {"amount": 2500, "reason": "other"}))["order"]
    assert (answer["payment_status"], answer["refundable_amount"], len(answer["refunds"])) == ("refunded", 0, 2)
    assert (await api.post(path, {"amount": 1, "reason": "other"}))[0] == 400
    assert (await payment_of(api, order))["amount_refunded"] == 4000

    async def emitted() -> bool:
        return len(named(heard, "order.refund_created", order)) == 2

    await until(emitted)
    assert named(heard, "order.refund_created", order)[0] == {
        "id": order["id"],
        "refund_id": refund["id"],
        "amount": 1500,
        "reason": "discount",
        "no_notification": True,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 1.5, "reason": "other"},
        {"amount": "1", "reason": "other"},
        {"amount": 0, "reason": "other"},
        {"amount": -100, "reason": "other"},
        {"amount": 2**70, "reason": "other"},
        {"amount": 10},
        {"reason": "other"},
        {"amount": 100, "reason": "because"},
        {"amount": 100, "reason": "other", "colour": "red"},
    ],
)
async def test_bad_refunds_are_refused(api: Client, ordered: Ordered, body: dict[str, Any]) -> None:
    order = await ordered()
    status, answer = await api.post(f"{path_of(order)}/refund", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await shown(api, order))["refunds"] == []


async def test_what_was_not_captured_is_not_refunded(api: Client, awaiting: Order) -> None:
    status, answer = await api.post(f"{path_of(awaiting)}/refund", {"amount": 1, "reason": "other"})
    assert (status, answer["type"]) == (400, "not_allowed")


async def test_never_more_than_paid(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    body = {"amount": 1500, "reason": "other"}
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/refund", body) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] * 2 + [400] * 6
    after = await shown(api, order)
    assert (after["refunded_total"], after["refundable_amount"], len(after["refunds"])) == (3000, 1000, 2)
    assert (await payment_of(api, order))["amount_refunded"] == 3000


async def test_an_idempotency_key_refunds_once(api: Client, ordered: Ordered, uid: str) -> None:
    order, key = await ordered(), {"Idempotency-Key": uid}
    body = {"amount": 1000, "reason": "other"}
    first = await api.post(f"{path_of(order)}/refund", body, headers=key)
    assert await api.post(f"{path_of(order)}/refund", body, headers=key) == first
    assert (first[0], (await shown(api, order))["refunded_total"]) == (200, 1000)


async def test_a_refund_that_was_cut_off_is_finished_once(api: Client, stack: Stack, ordered: Ordered) -> None:
    order, app = await ordered(), stack.apps["orders"]
    async with app[POOL].acquire() as db, db.transaction():
        state = await plan_refund(db, order["id"], RefundBody(amount=700, reason="other"))
        saga = await begin(db, "refund", new_id("ref"), state)
    await refund_payments(app, saga)
    await app[POOL].execute("update sagas set leased_until = now() where id = $1", saga.id)

    async def done() -> bool:
        ended = await app[POOL].fetchval("select status from sagas where id = $1", saga.id)
        return bool(ended == "done" and (await shown(api, order))["refunds"])

    await until(done)
    after = await shown(api, order)
    assert (after["payment_status"], after["refunded_total"]) == ("partially_refunded", 700)
    assert [refund["amount"] for refund in after["refunds"]] == [700]
    assert (await payment_of(api, order))["amount_refunded"] == 700


async def test_a_refund_asked_for_elsewhere_is_heard_of(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    payment_id = order["payments"][0]["id"]
    await api.ok("POST", f"/admin/payments/{payment_id}/refund", {"amount": 4000, "reason": "return"})

    async def done() -> bool:
        return bool((await shown(api, order))["refunded_total"] == 4000)

    await until(done)
    after = await shown(api, order)
    # Only a refund of the order itself changes its payment status (docs/behaviour/after-sales.md).
    assert after["payment_status"] == "captured"
    assert (after["refunded_total"], after["refundable_amount"]) == (4000, 0)
    assert [(refund["amount"], refund["payment_id"]) for refund in after["refunds"]] == [(4000, payment_id)]
