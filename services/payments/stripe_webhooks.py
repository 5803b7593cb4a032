"""What Stripe sends by itself, at POST /webhooks/stripe: it heals answers that were lost, and brings what was done in
Stripe's dashboard.

Anybody can reach this, so nothing is believed that Stripe has not signed (the SDK checks that) a few minutes ago at
most. An event is taken once, by its id. Events come late and in any order: they only ever bring a payment forward, to
captured, canceled, or more given back. While we are at work on the payment ourselves an event is refused with 503, for
Stripe sends it again, and our work, should it hang, is taken up at once.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from services.chassis.consumers import receive
from services.chassis.db import Db, transaction
from services.chassis.errors import InvalidData, NotFound, Unavailable
from services.chassis.http import NUL, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import post
from services.payments.operations import Part, Reply, Work, check_idle, wake
from services.payments.payments import emit_payment, payment_row, settle_cancel, settle_capture
from services.payments.provider_protocol import Data, Row
from services.payments.providers import providers
from services.payments.refunds import settle_refund
from services.payments.remote import notify_payment

FIND_PAYMENT = "select id from payments where provider_id = 'stripe' and data ->> 'id' = $1 order by id for update"
UPDATE_DATA = "update payments set data = $2::text::jsonb, updated_at = now() where id = $1"

Change = Callable[[Db, Row, dict[str, Any]], Awaitable[list[Reply]]]


async def access_intent(db: Db, thing: Mapping[str, Any], at_work: list[str]) -> Row | None:
    """The payment that an intent or a charge is about, locked; None for what others do with the same account. Raises
    Unavailable while our own work on it is under way, which `at_work` then names, also when it is only coming to be."""
    intent_id = thing["id"] if thing["object"] == "payment_intent" else thing.get("payment_intent")
    payment_id: str | None = await db.fetchval(FIND_PAYMENT, intent_id)
    at_work += [one for one in (payment_id, (thing.get("metadata") or {}).get("mercer_payment_id")) if one]
    await check_idle(db, at_work)
    return await payment_row(db, payment_id) if payment_id else None


# What an event changes of the payment it is about


async def on_changed(db: Db, payment: Row, intent: dict[str, Any]) -> list[Reply]:
    """What can be captured, or why nothing can: kept with a payment that still waits for its capture."""
    if payment["captured_at"] or payment["canceled_at"]:
        return []
    await db.execute(UPDATE_DATA, payment["id"], json_text(intent))
    return [await emit_payment(db, "payment.updated", payment["id"])]


async def on_succeeded(db: Db, payment: Row, intent: dict[str, Any]) -> list[Reply]:
    """Captured. What Stripe's dashboard left out of it went back to the customer."""
    replies = await capture(db, payment, intent)
    if not replies and not payment["canceled_at"] and payment["data"].get("status") != "succeeded":
        await db.execute(UPDATE_DATA, payment["id"], json_text(intent))
        replies = [await emit_payment(db, "payment.updated", payment["id"])]
    return replies + await give_back(db, payment, payment["amount"] - intent["amount_received"])


async def on_canceled(db: Db, payment: Row, intent: dict[str, Any]) -> list[Reply]:
    """Given up, by somebody or because it was too old."""
    if payment["captured_at"] or payment["canceled_at"]:
        return []
    return [await settle_cancel(db, Work([Part(payment, payment["amount"])]), [intent])]


async def on_refunded(db: Db, payment: Row, charge: dict[str, Any]) -> list[Reply]:
    """A charge that was never captured is "refunded" when it is given up; another event says so."""
    if not charge["captured"]:
        return []
    replies = await capture(db, payment, payment["data"])
    return replies + await give_back(db, payment, charge["amount_refunded"])


async def capture(db: Db, payment: Row, data: Data) -> list[Reply]:
    if payment["captured_at"] or payment["canceled_at"]:
        return []
    return [await settle_capture(db, Work([Part(payment, payment["amount"])]), [data])]


async def give_back(db: Db, payment: Row, total: int) -> list[Reply]:
    """Of the payment, `total` was given back in all: what we do not know of yet becomes a refund."""
    amount = min(total, payment["amount"]) - payment["amount_refunded"]
    if amount <= 0 or payment["canceled_at"]:
        return []
    facts = {
        "id": new_id("ref"),
        "payment_id": payment["id"],
        "order_id": payment["order_id"],
        "amount": amount,
        "reason": "other",
        "note": "Given back at Stripe.",
        "request_key": None,
        "payment_ids": [payment["id"]],
    }
    data = (await payment_row(db, payment["id"]))["data"]
    reply = await settle_refund(db, Work([Part(payment, amount)], facts), [data])
    return [{"payment": reply["payments"][0], "refund": reply["refund"]}]


CHANGES: Mapping[str, Change] = {
    "payment_intent.amount_capturable_updated": on_changed,
    "payment_intent.payment_failed": on_changed,
    "payment_intent.succeeded": on_succeeded,
    "payment_intent.canceled": on_canceled,
    "charge.refunded": on_refunded,
}


async def post_stripe(request: web.Request) -> web.Response:
    """200 for whatever Stripe has signed, also for what is of no interest or came before."""
    stripe: Any = providers().get("stripe")
    if stripe is None:
        raise NotFound("There is no payment provider stripe here.")
    payload = await request.read()
    event = stripe.verified(payload, request.headers.get("Stripe-Signature", ""))
    if NUL.search(payload):
        raise InvalidData("A text must not contain a NUL character.")
    replies: list[Reply] = []
    at_work: list[str] = []
    try:
        async with transaction(request) as db:
            if (change := CHANGES.get(event["type"])) and await receive(db, event["id"], event["type"]):
                thing = event["data"]["object"]
                payment = await access_intent(db, thing, at_work)
                replies = await change(db, payment, thing) if payment else []
            answer = json_bytes(request, '{"received":true}')
    except Unavailable:
        await wake(request.app[POOL], at_work)
        raise
    if replies:
        await notify_payment(request.app, **replies[-1])
    return answer


OPERATIONS = [
    post(
        "/webhooks/stripe",
        post_stripe,
        "Take an event of Stripe's",
        description="Answers 200 for whatever Stripe has signed, also for what is of no interest or came before. "
        "Refused with 400 for a signature that is wrong.",
        answer={"received": True},
        errors=(NotFound, InvalidData, Unavailable),
        asks_others=True,
        public=True,
    )
]
