"""A provider that is far away: asked once, asked again after a crash, and nothing else happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.errors import ApiError, NotAllowed
from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.far_provider import Far
from tests.support.stack import Stack
from tests.support.waiting import until

Authorized = Callable[..., Awaitable[dict[str, Any]]]


async def test_far_provider_is_asked_once_each(
    stack: Stack, payments: Client, ask: Ask, authorized: Authorized, far: Far
) -> None:
    payment = await authorized(provider_id="far", amount=1000)
    assert payment["data"] == {"last": "authorize"}
    path = f"/admin/payments/{payment['id']}"
    captured = await payments.ok("POST", f"{path}/capture")
    assert await payments.ok("POST", f"{path}/capture") == captured
    await payments.ok("POST", f"{path}/refund", {"amount": 400, "reason": "other"})
    canceled = await ask("cancel", {"payment_id": payment["id"]})
    assert [name for name, _, _ in far.requests] == ["authorize", "capture", "refund 400", "cancel"]
    assert (canceled["payment"]["amount_refunded"], canceled["payment"]["data"]) == (400, {"last": "cancel"})
    assert await stack.pool("payments").fetchval("select count(*) from provider_work") == 0


async def test_far_provider_refuses(stack: Stack, payments: Client, authorized: Authorized, far: Far) -> None:
    payment = await authorized(provider_id="far")
    far.errors = [NotAllowed("The card is stolen.")]
    status, body = await payments.post(f"/admin/payments/{payment['id']}/capture")
    assert (status, body) == (400, {"type": "not_allowed", "message": "The card is stolen."})
    assert (await payments.ok("GET", f"/admin/payments/{payment['id']}"))["payment"]["captured_at"] is None
    assert await stack.pool("payments").fetchval("select count(*) from provider_work") == 0
    assert (await payments.ok("POST", f"/admin/payments/{payment['id']}/capture"))["payment"]["captured_at"]


async def test_nobody_else_touches_a_payment_at_work(
    payments: Client, ask: Ask, authorized: Authorized, far: Far
) -> None:
    payment = await authorized(provider_id="far")
    far.gate = asyncio.Event()
    capture = asyncio.create_task(payments.post(f"/admin/payments/{payment['id']}/capture"))

    async def asked() -> bool:
        return len(far.requests) == 2

    await until(asked)
    for name in ("capture", "cancel"):
        with pytest.raises(ApiError) as refused:
            await ask(name, {"payment_id": payment["id"]}, key=new_id("key"))
        assert refused.value.status == 503
    assert (await payments.post(f"/admin/payments/{payment['id']}/capture"))[0] == 503
    far.gate.set()
    status, body = await capture
    assert (status, body["payment"]["data"]) == (200, {"last": "capture"})
    assert [name for name, _, _ in far.requests] == ["authorize", "capture"]


async def test_silent_provider_is_asked_again_under_the_same_key(
    stack: Stack, payments: Client, authorized: Authorized, far: Far
) -> None:
    payment = await authorized(provider_id="far")
    far.errors = [TimeoutError()]
    status, body = await payments.post(f"/admin/payments/{payment['id']}/capture")
    assert (status, body["type"]) == (503, "unavailable")

    async def captured() -> bool:
        shown = await payments.ok("GET", f"/admin/payments/{payment['id']}")
        return shown["payment"]["captured_at"] is not None

    await until(captured)
    keys = [key for name, _, key in far.requests if name == "capture"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert await stack.pool("payments").fetchval("select count(*) from provider_work") == 0
