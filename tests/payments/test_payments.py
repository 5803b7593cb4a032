"""Payments: commands, what they refuse, and that concurrency changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.stack import Stack
from tests.support.waiting import until

Authorized = Callable[..., Awaitable[dict[str, Any]]]
SHOWN = {
    "id", "swap_id", "cart_id", "order_id", "amount", "currency_code", "amount_refunded", "provider_id", "data",
    "captured_at", "canceled_at", "metadata",
}  # fmt: skip


async def outcome(work: Awaitable[Any]) -> str:
    try:
        await work
    except ApiError as error:
        return error.type
    return "ok"


async def test_authorize(payments: Client, ask: Ask, authorized: Authorized, heard: list[dict[str, Any]]) -> None:
    payment = await authorized(amount=2500, provider_id="system", currency_code="eur")
    assert payment == {
        "id": payment["id"],
        "swap_id": None,
        "cart_id": payment["cart_id"],
        "order_id": payment["order_id"],
        "amount": 2500,
        "currency_code": "eur",
        "amount_refunded": 0,
        "provider_id": "system",
        "data": {},
        "captured_at": None,
        "canceled_at": None,
        "created_at": payment["created_at"],
        "updated_at": payment["created_at"],
        "metadata": None,
        "idempotency_key": None,
    }
    assert payment["created_at"].endswith("Z")
    shown = await payments.ok("GET", f"/admin/payments/{payment['id']}")
    assert shown == {"payment": {name: payment[name] for name in SHOWN}}

    async def came() -> bool:
        return any(event["subject"] == payment["id"] for event in heard)

    await until(came)
    [event] = [event for event in heard if event["subject"] == payment["id"]]
    assert (event["type"], event["data"]) == (
        "payment.created",
        {"id": payment["id"], "order_id": payment["order_id"], "payment": payment},
    )


async def test_authorize_again_under_another_key(stack: Stack, ask: Ask, authorized: Authorized) -> None:
    payment = await authorized()
    body = {
        name: payment[name] for name in ("order_id", "cart_id", "swap_id", "amount", "currency_code", "provider_id")
    }
    again = await ask("authorize", body | {"payment_id": payment["id"], "data": {}}, key=new_id("key"))
    assert again == {"payment": payment}
    with pytest.raises(ApiError, match="exists already") as refused:
        await ask("authorize", body | {"payment_id": payment["id"], "amount": 1}, key=new_id("key"))
    assert refused.value.status == 409
    assert await stack.pool("payments").fetchval("select amount from payments where id = $1", payment["id"]) == 4000


@pytest.mark.parametrize(
    "more",
    [{"provider_id": "nobody"}, {"amount": -1}, {"amount": 2**60}, {"amount": 1.5}, {"currency_code": None}],
    ids=str,
)
async def test_authorize_refused(stack: Stack, authorized: Authorized, more: dict[str, Any]) -> None:
    before = await stack.pool("payments").fetchval("select count(*) from payments")
    with pytest.raises(ApiError) as refused:
        await authorized(**more)
    assert (refused.value.status, refused.value.type) == (400, "invalid_data")
    assert await stack.pool("payments").fetchval("select count(*) from payments") == before


async def test_capture(payments: Client, ask: Ask, authorized: Authorized, heard: list[dict[str, Any]]) -> None:
    payment = await authorized()
    captured = (await ask("capture", {"payment_id": payment["id"]}, key=new_id("key")))["payment"]
    assert captured["captured_at"] is not None
    assert captured == payment | {
        "captured_at": captured["captured_at"],
        "updated_at": captured["captured_at"],
        "data": {"status": "captured"},
    }
    assert await payments.ok("POST", f"/admin/payments/{payment['id']}/capture") == {"payment": captured}

    async def came() -> list[dict[str, Any]]:
        return [event for event in heard if event["subject"] == payment["id"]][1:]

    [event] = await until(came)
    assert (event["type"], event["sequence"], event["data"]["payment"]) == ("payment.payment_captured", "2", captured)


async def test_capture_in_parallel_is_one_capture(
    stack: Stack, payments: Client, ask: Ask, authorized: Authorized
) -> None:
    payment = await authorized()
    path = f"/admin/payments/{payment['id']}/capture"
    answers = await asyncio.gather(
        *(payments.ok("POST", path) for _ in range(8)),
        *(ask("capture", {"payment_id": payment["id"]}, key=new_id("key")) for _ in range(8)),
    )
    assert all(answer == answers[0] for answer in answers)
    sequence = "select sequence from event_sequences where aggregate = $1"
    assert await stack.pool("payments").fetchval(sequence, payment["id"]) == 2


async def test_capture_unknown(payments: Client, ask: Ask) -> None:
    status, body = await payments.post("/admin/payments/pay_missing/capture")
    assert (status, body["type"]) == (404, "not_found")
    assert (await payments.get("/admin/payments/pay_missing"))[0] == 404
    assert await outcome(ask("capture", {"payment_id": "pay_missing"})) == "not_found"
    assert await outcome(ask("cancel", {"payment_id": "pay_missing", "compensates": None})) == "not_found"


async def test_cancel(payments: Client, ask: Ask, authorized: Authorized) -> None:
    payment = await authorized()
    canceled = (await ask("cancel", {"payment_id": payment["id"], "compensates": None}, key=new_id("key")))["payment"]
    assert canceled == payment | {
        "canceled_at": canceled["canceled_at"],
        "updated_at": canceled["canceled_at"],
        "data": {"status": "canceled"},
    }
    assert await ask("cancel", {"payment_id": payment["id"], "compensates": None}, key=new_id("key")) == {
        "payment": canceled
    }
    status, body = await payments.post(f"/admin/payments/{payment['id']}/capture")
    assert (status, body["type"]) == (400, "not_allowed")
    status, body = await payments.post(f"/admin/payments/{payment['id']}/refund", {"amount": 1, "reason": "other"})
    assert (status, body["type"]) == (400, "not_allowed")
    shown = await payments.ok("GET", f"/admin/payments/{payment['id']}")
    assert shown["payment"] == {name: canceled[name] for name in SHOWN}


async def test_cancel_of_a_captured_payment_keeps_both_times(ask: Ask, authorized: Authorized) -> None:
    payment = await authorized(provider_id="system")
    captured = (await ask("capture", {"payment_id": payment["id"]}))["payment"]
    canceled = (await ask("cancel", {"payment_id": payment["id"]}))["payment"]
    assert canceled["captured_at"] == captured["captured_at"]
    assert canceled["canceled_at"] is not None
    assert canceled["data"] == {}


async def test_what_was_captured_can_be_refunded_after_the_cancel(
    payments: Client, ask: Ask, authorized: Authorized
) -> None:
    payment = await authorized()
    path = f"/admin/payments/{payment['id']}"
    await ask("capture", {"payment_id": payment["id"]})
    canceled = (await ask("cancel", {"payment_id": payment["id"]}))["payment"]
    assert (await payments.ok("POST", f"{path}/capture", query={"fields": "id"}))["payment"] == canceled
    made = (await payments.ok("POST", f"{path}/refund", {"amount": 1500, "reason": "swap"}))["refund"]
    assert (made["amount"], made["payment_id"]) == (1500, payment["id"])
    status, body = await payments.post(f"{path}/refund", {"amount": 2501, "reason": "swap"})
    assert (status, body["type"]) == (400, "not_allowed")
    shown = (await payments.ok("GET", path))["payment"]
    assert (shown["amount_refunded"], shown["canceled_at"]) == (1500, canceled["canceled_at"])


async def test_cancel_before_the_authorization_came(stack: Stack, ask: Ask, authorized: Authorized) -> None:
    payment_id = new_id("pay")
    assert await ask("cancel", {"payment_id": payment_id, "compensates": "some:key"}, key=new_id("key")) == {
        "payment": None
    }
    with pytest.raises(ApiError) as refused:
        await authorized(payment_id=payment_id)
    assert refused.value.status == 409
    assert not await stack.pool("payments").fetchval("select true from payments where id = $1", payment_id)


async def test_capture_and_cancel_at_once_one_wins(
    ask: Ask, authorized: Authorized, heard: list[dict[str, Any]]
) -> None:
    """Capture first and then cancel is allowed, so what must never happen is a capture after the cancel."""
    for _ in range(10):
        payment = await authorized()
        body = {"payment_id": payment["id"]}
        outcomes = await asyncio.gather(
            *(outcome(ask(name, body, key=new_id("key"))) for name in ("capture", "cancel") * 4)
        )
        after = (await ask("cancel", body))["payment"]
        assert set(outcomes[1::2]) == {"ok"}
        assert set(outcomes[0::2]) <= {"ok", "not_allowed"}
        assert ("ok" in outcomes[0::2]) == (after["captured_at"] is not None)
        wanted = ["payment.created", "payment.canceled"]
        if after["captured_at"] is not None:
            wanted.insert(1, "payment.payment_captured")
        assert await history(heard, payment["id"], len(wanted)) == wanted


async def history(heard: list[dict[str, Any]], payment_id: str, length: int) -> list[str]:
    """Names of the payment's events in the order in which they happened."""

    async def came() -> list[dict[str, Any]]:
        events = [event for event in heard if event["subject"] == payment_id]
        return events if len(events) >= length else []

    return [event["type"] for event in sorted(await until(came), key=lambda event: int(event["sequence"]))]


async def test_authorize_and_undo_at_once(stack: Stack, ask: Ask, authorized: Authorized) -> None:
    for _ in range(10):
        payment_id = new_id("pay")
        made, compensated = await asyncio.gather(
            outcome(authorized(payment_id=payment_id)),
            ask("cancel", {"payment_id": payment_id, "compensates": f"{payment_id}:authorize"}, key=new_id("key")),
        )
        row = await stack.pool("payments").fetchrow("select canceled_at from payments where id = $1", payment_id)
        assert (made, row is not None) in (("ok", True), ("conflict", False))
        assert row is None or row["canceled_at"] is not None
        assert (compensated["payment"] is None) == (row is None)


async def test_get_with_fields(payments: Client, authorized: Authorized) -> None:
    payment = await authorized()
    path = f"/admin/payments/{payment['id']}"
    shown = await payments.ok("GET", path, query={"fields": "amount,created_at"})
    assert shown == {"payment": {"id": payment["id"], "amount": 4000, "created_at": payment["created_at"]}}
    for query in ({"colour": "red"}, {"fields": "colour"}, {"expand": "colour"}, {"expand": "order.items"}):
        status, body = await payments.get(path, query)
        assert (status, body["type"]) == (400, "invalid_data"), query


async def test_get_is_one_statement(stack: Stack, payments: Client, authorized: Authorized) -> None:
    payment = await authorized()
    with stack.statements("payments") as seen:
        await payments.ok("GET", f"/admin/payments/{payment['id']}")
    assert len([text for text in seen if "from payments" in text]) == 1


async def test_nobody_is_let_in_without_the_gateway(payments: Client, authorized: Authorized) -> None:
    payment = await authorized()
    assert (await payments.get(f"/admin/payments/{payment['id']}", anonymous=True))[0] == 401
