"""Stripe, as far as the payment provider asks it: an HTTP server that keeps intents, refunds and idempotency keys.

It can be unwilling, slow, or lose its answers; somebody can work in its dashboard; and it signs what it sends.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import SecretStr

from services.payments.providers import providers

API_KEY, WEBHOOK_SECRET = "sk_test_of_the_stand_in", "whsec_of_the_stand_in"
DECLINED, QUESTIONED = "pm_card_chargeDeclined", "pm_card_authenticationRequired"
Thing = dict[str, Any]


class Refused(Exception):
    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": {"type": kind, "message": message, "code": code}}


@dataclass
class FakeStripe:
    """`base` is its address; it has a `search` or, as in some countries, has not. What is in `trouble` happens to the
    next requests that change something, one each: "lost" (done, not answered), "down" (500, not done), "limit" (429,
    not done). While `gate` is closed nothing that changes something is answered."""

    base: str = ""
    search: bool = True
    intents: dict[str, Thing] = field(default_factory=dict)
    refunds: list[Thing] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)  # path and key of all that changes something
    trouble: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: dict[str, tuple[bytes, int, Thing]] = field(default_factory=dict)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v1/payment_intents/search", self.get_search),
                web.get("/v1/payment_intents/{id}", self.get_intent),
                web.get("/v1/refunds", self.get_refunds),
                web.post("/v1/{path:.*}", self.post),
            ]
        )
        return app

    # Over HTTP

    async def get_intent(self, request: web.Request) -> web.Response:
        try:
            self._check_key(request)
            return web.json_response(self._intent(request.match_info["id"]))
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)

    async def get_search(self, request: web.Request) -> web.Response:
        """Searches by one value of the metadata."""
        if not self.search:
            refused = Refused(400, "invalid_request_error", "Search is not available in your country.")
            return web.json_response(refused.body, status=refused.status)
        condition = re.fullmatch(r"metadata\['(\w+)'\]:'(\w+)'", request.query["query"])
        assert condition
        data = [intent for intent in self.intents.values() if intent["metadata"].get(condition[1]) == condition[2]]
        return web.json_response({"object": "search_result", "url": request.path, "has_more": False, "data": data})

    async def get_refunds(self, request: web.Request) -> web.Response:
        data = [refund for refund in self.refunds if refund["payment_intent"] == request.query["payment_intent"]]
        return web.json_response({"object": "list", "url": "/v1/refunds", "has_more": False, "data": data})

    async def post(self, request: web.Request) -> web.StreamResponse:
        sent, key = await request.read(), request.headers.get("Idempotency-Key", "")
        self.requests.append((request.path, key))
        await self.gate.wait()
        trouble = self.trouble.pop(0) if self.trouble else ""
        try:
            self._check_key(request)
            if trouble == "down":
                raise Refused(500, "api_error", "Something is broken at Stripe.")
            if trouble == "limit":
                raise Refused(429, "invalid_request_error", "Too many requests.", "rate_limit")
            status, answer = self._once(key, request.match_info["path"], sent, dict(await request.post()))
        except Refused as refused:
            status, answer = refused.status, refused.body
        if trouble == "lost":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(answer, status=status)

    def forget(self) -> None:
        """A day has passed: no key is known any more."""
        self._answers.clear()

    def _check_key(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            raise Refused(401, "invalid_request_error", "Invalid API Key provided.")

    def _once(self, key: str, path: str, sent: bytes, form: dict[str, Any]) -> tuple[int, Thing]:
        """A key gets one answer, also when that is a refusal."""
        digest = hashlib.sha256(path.encode() + b"\n" + sent).digest()
        if key in self._answers:
            known, status, answer = self._answers[key]
            if known != digest:
                raise Refused(400, "idempotency_error", "Keys can only be used with the same parameters.")
            return status, answer
        try:
            status, answer = 200, self._do(path, form)
        except Refused as refused:
            status, answer = refused.status, refused.body
        self._answers[key] = digest, status, orjson.loads(orjson.dumps(answer))
        return status, answer

    def _do(self, path: str, form: dict[str, Any]) -> Thing:
        match path.split("/"):
            case ["payment_intents"]:
                intent = self.confirmed_later(int(form["amount"]), form["currency"], **named(form, "metadata"))
                intent["payment_method"] = form["payment_method"]
                return self._confirm(intent)
            case ["payment_intents", intent_id]:
                intent = self._intent(intent_id)
                intent["metadata"] |= named(form, "metadata")
                return intent
            case ["payment_intents", intent_id, "confirm"]:
                return self._confirm(self._intent(intent_id))
            case ["payment_intents", intent_id, "capture"]:
                return self._capture(self._intent(intent_id), None)
            case ["payment_intents", intent_id, "cancel"]:
                return self._cancel(self._intent(intent_id))
            case ["refunds"]:
                return self._refund(form["payment_intent"], int(form["amount"]), named(form, "metadata"))
        raise Refused(404, "invalid_request_error", f"Unrecognized request URL: {path}.")

    # What it keeps

    def confirmed_later(self, amount: int, currency: str, **metadata: str) -> Thing:
        """An intent as a shop's front end makes it, before the customer confirms."""
        intent: Thing = {
            "id": f"pi_{secrets.token_hex(8)}",
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "currency": currency,
            "capture_method": "manual",
            "client_secret": "known to the customer's browser only",
            "metadata": metadata,
            "payment_method": None,
            "status": "requires_confirmation",
        }
        self.intents[intent["id"]] = intent
        return intent

    def confirmed(self, amount: int, currency: str = "eur") -> Thing:
        """An intent that the customer has confirmed."""
        intent = self.confirmed_later(amount, currency)
        intent["payment_method"] = "pm_card_visa"
        return self._confirm(intent)

    def _intent(self, intent_id: str) -> Thing:
        if intent_id not in self.intents:
            raise Refused(404, "invalid_request_error", f"No such payment_intent: '{intent_id}'", "resource_missing")
        return self.intents[intent_id]

    def _confirm(self, intent: Thing) -> Thing:
        if intent["payment_method"] == DECLINED:
            intent["status"] = "requires_payment_method"
            raise Refused(402, "card_error", "Your card was declined.", "card_declined")
        if intent["payment_method"] == QUESTIONED:
            intent["status"] = "requires_action"
        else:
            intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        return intent

    def _check_status(self, intent: Thing, *statuses: str) -> None:
        if intent["status"] not in statuses:
            message = f"This PaymentIntent could not be changed because it has a status of {intent['status']}."
            raise Refused(400, "invalid_request_error", message, "payment_intent_unexpected_state")

    def _capture(self, intent: Thing, amount: int | None) -> Thing:
        self._check_status(intent, "requires_capture")
        received = amount or intent["amount"]
        intent |= {"status": "succeeded", "amount_capturable": 0, "amount_received": received}
        return intent

    def _cancel(self, intent: Thing) -> Thing:
        self._check_status(intent, "requires_capture", "requires_confirmation", "requires_action")
        intent |= {"status": "canceled", "amount_capturable": 0}
        return intent

    def refunded(self, intent_id: str) -> int:
        return sum(refund["amount"] for refund in self.refunds if refund["payment_intent"] == intent_id)

    def held(self, intent_id: str) -> int:
        """What the shop has of an intent's money."""
        received: int = self.intents[intent_id]["amount_received"]
        return received - self.refunded(intent_id)

    def _refund(self, intent_id: str, amount: int, metadata: Thing) -> Thing:
        self._check_status(self._intent(intent_id), "succeeded")
        if amount > self.held(intent_id):
            message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({self.held(intent_id)})"
            raise Refused(400, "invalid_request_error", message)
        refund = {
            "id": f"re_{secrets.token_hex(8)}",
            "object": "refund",
            "amount": amount,
            "payment_intent": intent_id,
            "metadata": metadata,
            "status": "succeeded",
        }
        self.refunds.append(refund)
        return refund

    # In the dashboard

    def capture(self, intent_id: str, amount: int | None = None) -> Thing:
        return self._capture(self._intent(intent_id), amount)

    def cancel(self, intent_id: str) -> Thing:
        return self._cancel(self._intent(intent_id))

    def refund(self, intent_id: str, amount: int) -> Thing:
        return self._refund(intent_id, amount, {})

    # What it sends

    def event(self, kind: str, intent_id: str) -> Thing:
        """An event about the intent, or its charge, as they are now."""
        intent = self.intents[intent_id]
        thing = dict(intent)
        if kind.startswith("charge."):
            thing = {
                "id": f"ch_{intent_id}",
                "object": "charge",
                "amount": intent["amount"],
                "captured": intent["status"] == "succeeded",
                "amount_captured": intent["amount_received"],
                "amount_refunded": intent["amount"] - self.held(intent_id),
                "payment_intent": intent_id,
                "metadata": {},
            }
        return {
            "id": f"evt_{secrets.token_hex(8)}",
            "object": "event",
            "type": kind,
            "created": int(time.time()),
            "data": {"object": thing},
        }


def named(form: dict[str, Any], group: str) -> dict[str, str]:
    """The fields `group[name]` of a form."""
    return {name[len(group) + 1 : -1]: str(value) for name, value in form.items() if name.startswith(f"{group}[")}


def signature(payload: bytes, secret: str = WEBHOOK_SECRET, age: int = 0) -> dict[str, str]:
    """The header of a webhook, as Stripe documents it, `age` seconds old."""
    at = int(time.time()) - age
    mac = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={mac}"}


@asynccontextmanager
async def installed_stripe() -> AsyncIterator[FakeStripe]:
    """A running one, and the payment provider `stripe` of this process speaking to it."""
    from services.payments.stripe_provider import Stripe
    from tests.support.stack import serve

    fake = FakeStripe()
    fake.gate.set()
    runner, fake.base = await serve(fake.app())
    provider = Stripe(SecretStr(API_KEY), fake.base, SecretStr(WEBHOOK_SECRET))
    providers()["stripe"] = provider
    try:
        yield fake
    finally:
        fake.gate.set()
        del providers()["stripe"]
        await provider.close()
        await runner.cleanup()


def environment(fake: FakeStripe) -> dict[str, str]:
    """The settings of another process that has this Stripe."""
    return {
        "MERCER_STRIPE_API_KEY": API_KEY,
        "MERCER_STRIPE_API_BASE": fake.base,
        "MERCER_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
