"""Stripe as a payment provider: a payment is a PaymentIntent, authorized first and captured later.

Settings: `MERCER_STRIPE_API_KEY` (without it there is no such provider here), `MERCER_STRIPE_WEBHOOK_SECRET` (of the
endpoint /webhooks/stripe, see stripe_webhooks.py), `MERCER_STRIPE_API_BASE`. Amounts are in the currency's minor units,
here as there. A payment's `data` is the intent as Stripe last showed it, without its client secret.

Every call that changes something has an idempotency key made from ours, so asking again changes nothing twice. Stripe
forgets such a key after a day, and a saga can be older: what is already as it should be counts as done (`made`, too).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import stripe
import structlog
from pydantic import SecretStr

from services.chassis.errors import InvalidData, NotAllowed, Unavailable
from services.payments.provider_protocol import Data, Row

log = structlog.get_logger()

SECONDS = aiohttp.ClientTimeout(total=20)
RETRIES = 1  # by the SDK, under the same key: a connection that Stripe had closed meanwhile
TOLERANCE = 300  # seconds that a signature is good for
NOT_THERE = "payment_intent_unexpected_state"  # the intent's status does not allow what was asked
WAITING = ("requires_capture", "succeeded")  # the customer has done all that is needed


class Stripe:
    """The provider of the protocol in provider_protocol.py, over one kept-alive client."""

    remote = True

    def __init__(self, api_key: SecretStr, api_base: str, webhook_secret: SecretStr | None) -> None:
        self._http = stripe.AIOHTTPClient(timeout=SECONDS)
        self._v1 = stripe.StripeClient(
            api_key.get_secret_value(),
            base_addresses={"api": api_base.rstrip("/")},
            max_network_retries=RETRIES,
            http_client=self._http,
        ).v1
        self._webhook_secret = webhook_secret

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def authorize(self, payment: Row, key: str) -> Data:
        """With `data["id"]`, the intent that the customer has confirmed; with `data["payment_method"]`, a new one."""
        data = payment["data"]
        with explained():
            if data.get("id"):
                return await self._take(payment, str(data["id"]), key)
            if data.get("payment_method"):
                return await self._make(payment, str(data["payment_method"]), key)
        raise NotAllowed("There is nothing to pay with: data has neither the id of a payment intent nor a method.")

    async def find_authorized(self, payment: Row) -> Data | None:
        """The intent that was made, or taken, for the payment; None where there is none, or it failed.

        Stripe's search finds it after a minute; that early the key is still known.
        """
        with explained():
            try:
                page = await self._v1.payment_intents.search_async(
                    {"query": f"metadata['mercer_payment_id']:'{payment['id']}'"}
                )
            except stripe.InvalidRequestError:  # in some countries there is no search
                return None
        return next((shown(intent) for intent in page.data if intent.status in WAITING), None)

    async def capture(self, payment: Row, key: str) -> Data:
        intents, intent_id = self._v1.payment_intents, payment["data"]["id"]
        with explained():
            try:
                return shown(await intents.capture_async(intent_id, options={"idempotency_key": key}))
            except stripe.InvalidRequestError as error:
                return await self._done_already(intent_id, "succeeded", error)

    async def cancel(self, payment: Row, key: str) -> Data:
        """Of what was captured there is nothing to give up: NotAllowed."""
        intents, intent_id = self._v1.payment_intents, payment["data"]["id"]
        with explained():
            try:
                return shown(await intents.cancel_async(intent_id, options={"idempotency_key": key}))
            except stripe.InvalidRequestError as error:
                return await self._done_already(intent_id, "canceled", error)

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        data: Data = payment["data"]
        refunds = self._v1.refunds
        with explained():
            refunded = await refunds.list_async({"payment_intent": data["id"], "limit": 100})
            if any(metadata_of(refund).get("mercer_key") == key for refund in refunded.data):
                return data
            refund = await refunds.create_async(
                {"payment_intent": data["id"], "amount": amount, "metadata": {"mercer_key": key}},
                {"idempotency_key": key},
            )
        if refund.status in ("failed", "canceled"):
            raise NotAllowed(f"Stripe could not refund this: {refund.failure_reason or refund.status}.")
        return data

    def verified(self, payload: bytes, signature: str) -> dict[str, Any]:
        """The event that Stripe signed not long ago, its intent as it is kept. Raises InvalidData for anything else."""
        if self._webhook_secret is None:
            raise InvalidData("This installation has no webhook secret of Stripe.")
        try:
            event = stripe.Webhook.construct_event(
                payload, signature, self._webhook_secret.get_secret_value(), TOLERANCE
            )
        except (stripe.SignatureVerificationError, ValueError, TypeError, AttributeError):
            raise InvalidData("This is not signed by Stripe, or was signed too long ago.") from None
        shown_event: dict[str, Any] = event.to_dict(for_json=True)
        shown_event["data"]["object"].pop("client_secret", None)
        return shown_event

    async def _take(self, payment: Row, intent_id: str, key: str) -> Data:
        """An intent from the shop's front end, bound to this payment. Raises NotAllowed for one that does not fit."""
        intents = self._v1.payment_intents
        intent = await intents.retrieve_async(intent_id)
        if (intent.amount, intent.currency) != (payment["amount"], payment["currency_code"]):
            raise NotAllowed(f"Payment intent {intent_id} is of {intent.amount} {intent.currency}, not what is to pay.")
        if metadata_of(intent).get("mercer_payment_id", payment["id"]) != payment["id"]:
            raise NotAllowed(f"Payment intent {intent_id} pays for something else.")
        if intent.status == "requires_confirmation":
            intent = await intents.confirm_async(intent_id, options={"idempotency_key": f"{key}:confirm"})
        if intent.status not in WAITING:
            raise NotAllowed(f"Payment intent {intent_id} is not authorized: {intent.status}.")
        bound = await intents.update_async(
            intent_id, {"metadata": metadata(payment)}, options={"idempotency_key": f"{key}:bind"}
        )
        return shown(bound)

    async def _make(self, payment: Row, method: str, key: str) -> Data:
        """A new intent, confirmed at once; nobody is there to answer a bank's questions."""
        intents = self._v1.payment_intents
        intent = await intents.create_async(
            {
                "amount": payment["amount"],
                "currency": payment["currency_code"],
                "payment_method": method,
                "capture_method": "manual",
                "confirm": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "metadata": metadata(payment),
            },
            {"idempotency_key": key},
        )
        if intent.status not in WAITING:
            await intents.cancel_async(intent.id, options={"idempotency_key": f"{key}:give-up"})
            raise NotAllowed(f"The payment was not authorized: {intent.status}.")
        return shown(intent)

    async def _done_already(self, intent_id: str, status: str, error: stripe.InvalidRequestError) -> Data:
        """The intent, when it is what was asked for already: here under a forgotten key, or in Stripe's dashboard."""
        if error.code == NOT_THERE:
            intent = await self._v1.payment_intents.retrieve_async(intent_id)
            if intent.status == status:
                return shown(intent)
        raise error


def metadata(payment: Row) -> dict[str, str]:
    """What the intent says of the payment."""
    named = {f"mercer_{name}": payment.get(name) for name in ("order_id", "cart_id", "swap_id")}
    return {"mercer_payment_id": payment["id"]} | {name: value for name, value in named.items() if value}


def metadata_of(thing: stripe.PaymentIntent | stripe.Refund) -> dict[str, Any]:
    """The metadata of a thing of Stripe's."""
    return thing.metadata.to_dict() if thing.metadata else {}


def shown(intent: stripe.PaymentIntent) -> Data:
    """What is kept of an intent: all but what a browser would need to pay it."""
    return {name: value for name, value in intent.to_dict(for_json=True).items() if name != "client_secret"}


@contextmanager
def explained() -> Iterator[None]:
    """Stripe's errors as ours. NotAllowed says that nothing happened, Unavailable that it is not known."""
    try:
        yield
    except stripe.CardError as error:
        raise NotAllowed(f"The card was declined: {error.user_message}") from None
    except stripe.InvalidRequestError as error:
        raise NotAllowed(f"Stripe refuses: {error.user_message}") from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        log.error("Stripe does not accept the API key", code=error.code, request=error.request_id)  # noqa: TRY400
        raise Unavailable("Stripe does not accept this installation's key.") from None
    except (stripe.StripeError, aiohttp.ClientError, OSError) as error:
        log.warning("no answer of Stripe", error=type(error).__name__, request=getattr(error, "request_id", None))
        raise Unavailable(
            "Stripe does not answer; what was asked for may have happened.", outcome_unknown=True
        ) from error
