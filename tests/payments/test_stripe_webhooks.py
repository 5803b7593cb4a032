"""What Stripe tells: signed or refused, taken once, and what follows for the payment and its order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from services.chassis import sagas
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.shops import place, set_up
from tests.support.fake_stripe import FakeStripe, Thing, signature
from tests.support.stack import Stack
from tests.support.waiting import until

Authorized = Callable[..., Awaitable[dict[str, Any]]]
PATH = "/webhooks/stripe"
VISA = {"payment_method": "pm_card_visa"}


async def tell(api: Client, event: Thing, **how: Any) -> tuple[int, Any]:
    """Stripe's request to the gateway, without credentials."""
    payload = orjson.dumps(event)
    return await api.post(PATH, raw=payload, headers=signature(payload, **how), anonymous=True)


@pytest.fixture
async def payment(authorized: Authorized, stripe: FakeStripe) -> dict[str, Any]:
    return await authorized(provider_id="stripe", data=VISA, amount=1000)


@pytest.fixture
async def order(api: Client, stack: Stack, ask: Ask, stripe: FakeStripe) -> dict[str, Any]:
    """An order of 25.00 that is paid by Stripe, not captured yet. Drafts are paid by `system`, so it is made one."""
    made = await place(api, await set_up(api))
    intent = stripe.confirmed(made["total"])
    for service in ("payments", "orders"):
        await stack.pool(service).execute(
            "update payments set provider_id = 'stripe', captured_at = null, data = $2::text::jsonb "
            "where order_id = $1",
            made["id"],
            orjson.dumps(intent).decode(),
        )
    await stack.pool("orders").execute("update orders set payment_status = 'awaiting' where id = $1", made["id"])
    return {**made, "intent": intent["id"], "payment": made["payments"][0]["id"]}


async def row(stack: Stack, payment_id: str) -> tuple[bool, bool, int, str]:
    """(captured, canceled, given back, the intent's status)."""
    found = await stack.pool("payments").fetchrow(
        "select captured_at is not null, canceled_at is not null, amount_refunded, data ->> 'status' "
        "from payments where id = $1",
        payment_id,
    )
    return tuple(found)


async def test_only_what_stripe_has_signed_counts(
    api: Client, stack: Stack, stripe: FakeStripe, payment: dict[str, Any]
) -> None:
    stripe.capture(payment["data"]["id"])
    event = stripe.event("payment_intent.succeeded", payment["data"]["id"])
    payload = orjson.dumps(event)
    good = signature(payload)
    for status, answer in (
        await tell(api, event, secret="whsec_of_somebody_else"),
        await tell(api, event, age=301),
        await api.post(PATH, raw=payload, anonymous=True),
        await api.post(PATH, raw=payload, anonymous=True, headers={"Stripe-Signature": "t=now,v1=x"}),
        await api.post(PATH, raw=payload + b" ", anonymous=True, headers=good),
        await api.post(PATH, raw=b"[1]", anonymous=True, headers=signature(b"[1]")),
        await api.post(PATH, raw=b"\xff", anonymous=True, headers=good),
    ):
        assert (status, answer["type"]) == (400, "invalid_data")
        assert "whsec" not in str(answer)
    assert await row(stack, payment["id"]) == (False, False, 0, "requires_capture")
    assert await api.post(PATH, raw=payload, headers=good, anonymous=True) == (200, {"received": True})
    assert await row(stack, payment["id"]) == (True, False, 0, "succeeded")


async def test_the_door_is_narrow(api: Client, stripe: FakeStripe) -> None:
    assert (await api.post(PATH, raw=b"x" * (256 * 1024 + 1), anonymous=True))[0] == 413
    assert (await api.get(PATH, anonymous=True))[0] == 404
    for path in (PATH + "/x", PATH + "/", "/webhooks/stripe%2f..%2fadmin", "/webhooks/other"):
        assert (await api.post(path, anonymous=True))[0] == 404, path


async def test_without_stripe_there_is_no_door(api: Client) -> None:
    assert (await api.post(PATH, anonymous=True))[0] == 404


async def test_an_event_is_taken_once(
    api: Client, stack: Stack, payments: Client, stripe: FakeStripe, payment: dict[str, Any]
) -> None:
    await payments.ok("POST", f"/admin/payments/{payment['id']}/capture")
    stripe.refund(payment["data"]["id"], 100)
    event = stripe.event("charge.refunded", payment["data"]["id"])
    answers = await asyncio.gather(*(tell(api, event) for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    # Signed anew, as Stripe does when it sends an event again.
    assert (await tell(api, event, age=10))[0] == 200
    assert await row(stack, payment["id"]) == (True, False, 100, "succeeded")
    made = await stack.pool("payments").fetch("select amount, reason from refunds where payment_id = $1", payment["id"])
    assert [tuple(refund) for refund in made] == [(100, "other")]


async def test_what_is_done_in_the_dashboard_shows(
    api: Client, stack: Stack, stripe: FakeStripe, order: dict[str, Any]
) -> None:
    """At once, in payments and in the order, and in no other order of events."""

    async def money() -> tuple[Any, ...]:
        found = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        return found["payment_status"], found["refunded_total"], found["refundable_amount"]

    assert await money() == ("awaiting", 0, 2500)
    stripe.capture(order["intent"])
    assert (await tell(api, stripe.event("payment_intent.succeeded", order["intent"])))[0] == 200
    assert await money() == ("captured", 0, 2500)
    assert (await api.post(f"/admin/orders/{order['id']}/cancel"))[0] == 400  # Stripe gives back, it does not give up
    assert await money() == ("captured", 0, 2500)
    stripe.refund(order["intent"], 400)
    early = stripe.event("charge.refunded", order["intent"])
    stripe.refund(order["intent"], 300)
    assert (await tell(api, stripe.event("charge.refunded", order["intent"])))[0] == 200
    assert await money() == ("captured", 700, 1800)
    assert (await tell(api, early))[0] == 200
    assert await money() == ("captured", 700, 1800)
    # What is asked for here goes on from there.
    answer = await api.ok("POST", f"/admin/orders/{order['id']}/refund", {"amount": 1800, "reason": "other"})
    assert (answer["order"]["payment_status"], stripe.held(order["intent"])) == ("refunded", 0)
    assert (await tell(api, stripe.event("charge.refunded", order["intent"])))[0] == 200
    assert await money() == ("refunded", 2500, 0)


async def test_captured_in_part(api: Client, stack: Stack, stripe: FakeStripe, order: dict[str, Any]) -> None:
    """What was left out is the customer's again, whichever event tells first."""
    stripe.capture(order["intent"], 2000)
    for kind in ("charge.refunded", "payment_intent.succeeded"):
        assert (await tell(api, stripe.event(kind, order["intent"])))[0] == 200
        found = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        assert (found["refunded_total"], found["refundable_amount"]) == (500, 2000)
    assert await row(stack, order["payment"]) == (True, False, 500, "succeeded")


async def test_given_up_at_stripe(
    api: Client, stack: Stack, payments: Client, stripe: FakeStripe, payment: dict[str, Any]
) -> None:
    stripe.cancel(payment["data"]["id"])
    for kind in ("charge.refunded", "payment_intent.canceled", "payment_intent.amount_capturable_updated"):
        assert (await tell(api, stripe.event(kind, payment["data"]["id"])))[0] == 200
    assert await row(stack, payment["id"]) == (False, True, 0, "canceled")
    assert (await payments.post(f"/admin/payments/{payment['id']}/capture"))[0] == 400
    # News that is older than what is known changes nothing.
    late = stripe.event("payment_intent.succeeded", payment["data"]["id"])
    late["data"]["object"] |= {"status": "succeeded", "amount_received": 1000}
    assert (await tell(api, late))[0] == 200
    assert await row(stack, payment["id"]) == (False, True, 0, "canceled")


@pytest.mark.parametrize("kind", ["payment_intent.amount_capturable_updated", "payment_intent.payment_failed"])
async def test_news_of_what_waits_is_kept(
    api: Client, stack: Stack, payments: Client, stripe: FakeStripe, payment: dict[str, Any], kind: str
) -> None:
    event = stripe.event(kind, payment["data"]["id"])
    event["data"]["object"] |= {"status": "requires_payment_method", "last_payment_error": {"code": "expired_card"}}
    assert (await tell(api, event))[0] == 200
    found = (await payments.ok("GET", f"/admin/payments/{payment['id']}"))["payment"]
    assert found["data"]["last_payment_error"] == {"code": "expired_card"}
    assert "client_secret" not in found["data"]
    assert (found["captured_at"], found["canceled_at"]) == (None, None)


async def test_what_is_not_ours_is_none_of_our_business(api: Client, stack: Stack, stripe: FakeStripe) -> None:
    intent = stripe.confirmed(700)
    before = await stack.pool("payments").fetchval("select count(*) from payments")
    for kind in ("payment_intent.succeeded", "payment_intent.canceled", "charge.refunded", "customer.created"):
        assert (await tell(api, stripe.event(kind, intent["id"])))[0] == 200
    assert await stack.pool("payments").fetchval("select count(*) from payments") == before


async def test_news_heals_a_lost_answer(
    api: Client,
    stack: Stack,
    payments: Client,
    stripe: FakeStripe,
    payment: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer to our capture was lost, and we are not to ask again for a while."""
    monkeypatch.setattr(sagas, "RESUME_SECONDS", 0.05)
    stripe.trouble = ["lost", "lost"]
    assert (await payments.post(f"/admin/payments/{payment['id']}/capture"))[0] == 503
    await stack.pool("payments").execute(
        "update sagas set leased_until = now() + interval '1 hour' where subject = "
        "(select work_id from provider_work where payment_id = $1)",
        payment["id"],
    )
    event = stripe.event("payment_intent.succeeded", payment["data"]["id"])
    assert (await tell(api, event))[0] == 503  # we are at it ourselves: tell us again

    async def captured() -> bool:
        return await row(stack, payment["id"]) == (True, False, 0, "succeeded")

    await until(captured)
    assert (await tell(api, event))[0] == 200
    assert await row(stack, payment["id"]) == (True, False, 0, "succeeded")
    assert [path for path, _ in stripe.requests].count(f"/v1/payment_intents/{payment['data']['id']}/capture") == 3
