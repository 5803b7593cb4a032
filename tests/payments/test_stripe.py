"""The provider `stripe`, against a server that behaves like it (tests/support/fake_stripe.py)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from services.payments import providers
from services.payments.settings import StripeSettings
from services.payments.stripe_provider import Stripe
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.fake_stripe import API_KEY, DECLINED, QUESTIONED, FakeStripe
from tests.support.stack import Stack
from tests.support.waiting import until

Authorized = Callable[..., Awaitable[dict[str, Any]]]
VISA = {"payment_method": "pm_card_visa"}


async def work(stack: Stack) -> int:
    """Payments that a remote provider is at work on."""
    return int(await stack.pool("payments").fetchval("select count(*) from provider_work"))


async def shown(payments: Client, payment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await payments.ok("GET", f"/admin/payments/{payment['id']}"))["payment"]
    return found


async def test_a_payment_from_beginning_to_end(
    stack: Stack, payments: Client, authorized: Authorized, stripe: FakeStripe
) -> None:
    payment = await authorized(provider_id="stripe", data=VISA, amount=1000)
    intent = stripe.intents[payment["data"]["id"]]
    assert (intent["status"], intent["amount"], intent["currency"]) == ("requires_capture", 1000, "eur")
    assert intent["metadata"] == {
        "mercer_payment_id": payment["id"],
        "mercer_order_id": payment["order_id"],
        "mercer_cart_id": payment["cart_id"],
    }
    assert "client_secret" not in payment["data"]
    path = f"/admin/payments/{payment['id']}"
    captured = (await payments.ok("POST", f"{path}/capture"))["payment"]
    assert captured["captured_at"] is not None
    assert (captured["data"]["status"], stripe.held(intent["id"])) == ("succeeded", 1000)
    assert (await payments.ok("POST", f"{path}/capture"))["payment"] == captured
    for amount in (300, 200):
        await payments.ok("POST", f"{path}/refund", {"amount": amount, "reason": "other"})
    assert [refund["amount"] for refund in stripe.refunds] == [300, 200]
    assert (await shown(payments, payment))["amount_refunded"] == 500
    assert (await payments.post(f"{path}/refund", {"amount": 501, "reason": "other"}))[0] == 400
    assert stripe.held(intent["id"]) == 500
    assert [path.rsplit("/", 1)[1] for path, _ in stripe.requests] == [
        "payment_intents",
        "capture",
        "refunds",
        "refunds",
    ]
    assert await work(stack) == 0


async def test_what_was_not_captured_is_given_up(
    payments: Client, ask: Ask, authorized: Authorized, stripe: FakeStripe
) -> None:
    payment = await authorized(provider_id="stripe", data=VISA)
    canceled = (await ask("cancel", {"payment_id": payment["id"]}))["payment"]
    assert canceled["canceled_at"] is not None
    assert stripe.intents[payment["data"]["id"]]["status"] == "canceled"


async def test_what_was_captured_is_not_given_up(
    payments: Client, ask: Ask, authorized: Authorized, stripe: FakeStripe
) -> None:
    payment = await authorized(provider_id="stripe", data=VISA)
    captured = (await payments.ok("POST", f"/admin/payments/{payment['id']}/capture"))["payment"]
    with pytest.raises(ApiError) as refused:
        await ask("cancel", {"payment_id": payment["id"]})
    assert (refused.value.status, refused.value.type) == (400, "not_allowed")
    found = await shown(payments, payment)
    assert (found["canceled_at"], found["data"]) == (None, captured["data"])
    assert stripe.held(payment["data"]["id"]) == 4000


async def test_what_went_back_whole_is_given_up_without_stripe(
    payments: Client, ask: Ask, authorized: Authorized, stripe: FakeStripe
) -> None:
    payment = await authorized(provider_id="stripe", data=VISA)
    path = f"/admin/payments/{payment['id']}"
    await payments.ok("POST", f"{path}/capture")
    await payments.ok("POST", f"{path}/refund", {"amount": 3999, "reason": "swap"})
    with pytest.raises(ApiError):
        await ask("cancel", {"payment_id": payment["id"]})
    await payments.ok("POST", f"{path}/refund", {"amount": 1, "reason": "swap"})
    asked = len(stripe.requests)
    canceled = (await ask("cancel", {"payment_id": payment["id"]}))["payment"]
    assert (canceled["canceled_at"] is not None, canceled["amount_refunded"]) == (True, 4000)
    assert (len(stripe.requests), stripe.held(payment["data"]["id"])) == (asked, 0)
    assert (await ask("cancel", {"payment_id": payment["id"]}))["payment"] == canceled


async def test_an_intent_of_the_shops_front_end(
    payments: Client, ask: Ask, authorized: Authorized, stripe: FakeStripe
) -> None:
    """It pays once, and only what it is for."""
    intent = stripe.confirmed(4000)
    payment = await authorized(provider_id="stripe", data={"id": intent["id"]})
    assert payment["data"]["id"] == intent["id"]
    assert intent["metadata"]["mercer_payment_id"] == payment["id"]
    later = stripe.confirmed_later(4000, "eur")
    later["payment_method"] = "pm_card_visa"
    assert (await authorized(provider_id="stripe", data={"id": later["id"]}))["data"]["status"] == "requires_capture"
    taken = stripe.confirmed(4000)
    taken["metadata"]["mercer_payment_id"] = "pay_of_another_shop"
    unpaid = stripe.confirmed_later(4000, "eur") | {"status": "requires_payment_method"}
    stripe.intents[unpaid["id"]] = unpaid
    for data, complaint in (
        ({"id": intent["id"]}, "Another payment"),
        ({"id": taken["id"]}, "something else"),
        ({"id": stripe.confirmed(3999)["id"]}, "3999 eur"),
        ({"id": stripe.confirmed(4000, "usd")["id"]}, "4000 usd"),
        ({"id": unpaid["id"]}, "requires_payment_method"),
        ({"id": "pi_of_nobody"}, "No such payment_intent"),
        ({}, "nothing to pay with"),
    ):
        with pytest.raises(ApiError, match=complaint) as refused:
            await authorized(provider_id="stripe", data=data)
        assert (refused.value.status, refused.value.type) == (400, "not_allowed"), data


async def test_one_intent_for_two_payments_at_once(ask: Ask, authorized: Authorized, stripe: FakeStripe) -> None:
    for _ in range(3):
        intent = stripe.confirmed(4000)
        made = await asyncio.gather(
            *(authorized(provider_id="stripe", data={"id": intent["id"]}) for _ in range(3)), return_exceptions=True
        )
        paid = [payment for payment in made if isinstance(payment, dict)]
        assert len(paid) == 1, made
        assert intent["metadata"]["mercer_payment_id"] == paid[0]["id"]


@pytest.mark.parametrize(("method", "complaint"), [(DECLINED, "declined"), (QUESTIONED, "requires_action")])
async def test_the_card_is_declined(
    stack: Stack, payments: Client, authorized: Authorized, stripe: FakeStripe, method: str, complaint: str
) -> None:
    with pytest.raises(ApiError, match=complaint) as refused:
        await authorized(provider_id="stripe", data={"payment_method": method})
    assert (refused.value.status, refused.value.type) == (400, "not_allowed")
    assert await work(stack) == 0
    assert {intent["status"] for intent in stripe.intents.values()} <= {"requires_payment_method", "canceled"}


async def test_lost_answers(stack: Stack, payments: Client, authorized: Authorized, stripe: FakeStripe) -> None:
    """Once is hidden by the SDK; more often is finished later, under the same key."""
    payment = await authorized(provider_id="stripe", data=VISA)
    path = f"/admin/payments/{payment['id']}"
    stripe.trouble = ["lost"]
    await payments.ok("POST", f"{path}/capture")
    stripe.trouble = ["lost", "lost"]
    status, body = await payments.post(f"{path}/refund", {"amount": 100, "reason": "other"})
    assert (status, body["type"]) == (503, "unavailable")
    assert len(stripe.refunds) == 1

    async def settled() -> bool:
        return bool((await shown(payments, payment))["amount_refunded"] == 100)

    await until(settled)
    assert len(stripe.refunds) == 1
    assert await work(stack) == 0


@pytest.mark.parametrize("trouble", ["down", "limit"])
async def test_stripe_is_down(payments: Client, authorized: Authorized, stripe: FakeStripe, trouble: str) -> None:
    payment = await authorized(provider_id="stripe", data=VISA)
    stripe.trouble = [trouble] * 2
    status, body = await payments.post(f"/admin/payments/{payment['id']}/capture")
    assert (status, body["type"]) == (503, "unavailable")

    async def captured() -> bool:
        return (await shown(payments, payment))["captured_at"] is not None

    await until(captured)
    assert stripe.held(payment["data"]["id"]) == 4000


async def test_the_key_is_wrong(
    stack: Stack, payments: Client, authorized: Authorized, stripe: FakeStripe, capfd: pytest.CaptureFixture[str]
) -> None:
    payment = await authorized(provider_id="stripe", data=VISA)
    right, wrong = providers.providers()["stripe"], Stripe(SecretStr("sk_wrong_one"), stripe.base, None)
    providers.providers()["stripe"] = wrong
    status, body = await payments.post(f"/admin/payments/{payment['id']}/capture")
    await wrong.close()
    providers.providers()["stripe"] = right
    assert (status, body["type"]) == (503, "unavailable")
    assert await work(stack) == 0
    said = str(body) + "".join(capfd.readouterr())
    assert "sk_wrong_one" not in said
    assert API_KEY not in said
    await payments.ok("POST", f"/admin/payments/{payment['id']}/capture")


async def test_a_refund_that_only_some_payments_can_give(
    payments: Client, ask: Ask, authorized: Authorized, stripe: FakeStripe
) -> None:
    """What went through is settled, for money has moved."""
    order_id = new_id("order")
    made = [await authorized(provider_id="stripe", data=VISA, amount=1000, order_id=order_id) for _ in range(2)]
    for payment in made:
        await ask("capture", {"payment_id": payment["id"]})
    stripe.refund(made[1]["data"]["id"], 900)
    wanted = {"payment_ids": [p["id"] for p in made], "order_id": order_id, "amount": 1500, "reason": "other"}
    reply = await ask("refund", wanted, key=new_id("key"))
    assert reply["refund"]["amount"] == 1000
    assert [p["amount_refunded"] for p in reply["payments"]] == [1000, 0]
    assert [stripe.held(p["data"]["id"]) for p in made] == [0, 100]


async def test_an_old_saga_does_not_refund_twice(stripe: FakeStripe, authorized: Authorized, ask: Ask) -> None:
    """Stripe forgets keys after a day."""
    payment = await authorized(provider_id="stripe", data=VISA)
    await ask("capture", {"payment_id": payment["id"]})
    found = providers.provider("stripe")
    for _ in range(2):
        await found.refund(payment, 100, "a key")
        stripe._answers.clear()
    assert stripe.refunded(payment["data"]["id"]) == 100
    for _ in range(2):
        assert (await found.capture(payment, "another key"))["status"] == "succeeded"
        stripe._answers.clear()


def test_without_a_key_there_is_no_such_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERCER_STRIPE_API_KEY", "")
    assert set(providers.providers.__wrapped__()) == {"system", "manual"}
    monkeypatch.setenv("MERCER_STRIPE_API_KEY", "sk_test")
    assert set(providers.providers.__wrapped__()) == {"system", "manual", "stripe"}
    assert "sk_test" not in repr(StripeSettings())


async def test_regions_offer_the_providers_there_are(stack: Stack, api: Client, stripe: FakeStripe) -> None:
    there = providers.providers()

    async def offered(*expected: str) -> None:
        """Payments says what there is, and the catalog hears of it."""

        async def heard() -> bool:
            # Again, for what was said before, at a start or by a process of another test, may come after it.
            async with stack.pool("payments").acquire() as db, db.transaction():
                await db.execute("delete from emitted_providers")
                await providers.emit_providers(db)
            listed = await api.ok("GET", "/admin/store/payment-providers")
            return {provider["id"] for provider in listed["payment_providers"]} == {*expected}

        await until(heard, every=0.2)

    region = {"name": "Stripes", "currency_code": "usd", "tax_rate": 0, "countries": [], "fulfillment_providers": []}
    region |= {"payment_providers": ["stripe"]}
    here = there.pop("stripe")
    await offered("manual")
    assert (await api.post("/admin/regions", region))[0] == 400
    there["stripe"] = here
    await offered("manual", "stripe")
    made = (await api.ok("POST", "/admin/regions", region))["region"]
    assert [provider["id"] for provider in made["payment_providers"]] == ["stripe"]
    await api.ok("DELETE", f"/admin/regions/{made['id']}")
    del there["stripe"]
    await offered("manual")
    assert (await api.post("/admin/regions", region))[0] == 400
    there["stripe"] = here


async def test_what_was_authorized_before_is_found(stripe: FakeStripe) -> None:
    provider: Any = providers.providers()["stripe"]
    payment = {"id": new_id("pay"), "amount": 1000, "currency_code": "eur", "data": VISA}
    assert await provider.find_authorized(payment) is None
    made = await provider.authorize(payment, "once")
    assert await provider.find_authorized(payment) == made
    assert await provider.find_authorized(payment | {"id": new_id("pay")}) is None
    stripe.search = False
    assert await provider.find_authorized(payment) is None
    stripe.search = True
    stripe.cancel(made["id"])
    assert await provider.find_authorized(payment) is None
