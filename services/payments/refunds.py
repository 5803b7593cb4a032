"""Refunds: money given back, out of one payment or spread over several of an order."""

from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Selection, one_json
from services.chassis.errors import NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.payments.operations import Operation, Part, Reply, Work, check_idle, perform
from services.payments.payments import payment_row, payment_rows
from services.payments.provider_protocol import Data
from services.payments.remote import notify_payment
from services.payments.resources import MAX_AMOUNT, REFUND

ALL = Selection(tuple(REFUND.columns), ())
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Reason = Literal["discount", "return", "swap", "claim", "other"]


# Bodies


class RefundBody(Body):
    amount: Amount
    """In minor units; no more than what of the payment is left."""
    reason: Reason
    note: str | None = None


# Actions

# What was captured can be given back, also of a payment that was given up with its order or swap.
LOCK_PAYMENTS = """
select id, amount - amount_refunded as refundable, captured_at is not null as open
from payments where id = any($1) order by id for update
"""
REFUND_OF_KEY = "select id from refunds where request_key = $1"
# $1 the refund, $2 its parts: [{payment_id, amount, data}]
CREATE_REFUND = """
with given as (
    select * from jsonb_to_recordset($2::text::jsonb) as g(payment_id text, amount bigint, data jsonb)
), refund as (
    insert into refunds (id, payment_id, order_id, amount, reason, note, request_key)
    select id, payment_id, order_id, amount, reason, note, request_key
    from jsonb_to_record($1::text::jsonb) as r(
        id text, payment_id text, order_id text, amount bigint, reason text, note text, request_key text
    )
    returning id
), parts as (
    insert into refund_parts (refund_id, payment_id, amount)
    select refund.id, given.payment_id, given.amount from given cross join refund
)
update payments p
set amount_refunded = p.amount_refunded + given.amount, data = given.data, updated_at = now()
from given where p.id = given.payment_id
"""


def spread(amount: int, refundable: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """How much of `amount` comes out of which payment: each gives what it can, in the order given."""
    parts = []
    for payment_id, most in refundable:
        share = min(amount, most)
        if share > 0:
            parts.append((payment_id, share))
            amount -= share
    return parts


async def prepare_refund(db: Db, facts: dict[str, Any], payment_ids: list[str]) -> Work | Reply:
    """Made already under the same key: as it is. Raises NotFound, and NotAllowed for more than can be refunded."""
    locked = {row["id"]: row for row in await db.fetch(LOCK_PAYMENTS, payment_ids)}
    if missing := [payment_id for payment_id in payment_ids if payment_id not in locked]:
        raise NotFound(f"There is no payment {missing[0]}.")
    await check_idle(db, payment_ids)
    if refund_id := await db.fetchval(REFUND_OF_KEY, facts["request_key"]):
        return await refund_reply(db, refund_id, payment_ids)
    open_ids = [payment_id for payment_id in dict.fromkeys(payment_ids) if locked[payment_id]["open"]]
    parts = spread(facts["amount"], [(payment_id, locked[payment_id]["refundable"]) for payment_id in open_ids])
    possible = sum(locked[payment_id]["refundable"] for payment_id in open_ids)
    if facts["amount"] > possible:
        raise NotAllowed(f"Only {possible} can be refunded from {', '.join(payment_ids)}.")
    rows = {row["id"]: row for row in await payment_rows(db, open_ids)}
    return Work([Part(rows[payment_id], amount) for payment_id, amount in parts], facts | {"payment_ids": payment_ids})


async def settle_refund(db: Db, work: Work, answers: list[Data]) -> Reply:
    parts = [
        {"payment_id": part.payment["id"], "amount": part.amount, "data": data}
        for part, data in zip(work.parts, answers, strict=False)  # as far as the providers went along
    ]
    refund = work.facts | {"amount": sum(part["amount"] for part in parts)}
    await db.execute(CREATE_REFUND, json_text(refund), json_text(parts))
    reply = await refund_reply(db, work.facts["id"], work.facts["payment_ids"])
    drawn = {part["payment_id"] for part in parts}
    for row in reply["payments"]:
        if row["id"] in drawn:
            data = {"id": row["id"], "order_id": row["order_id"], "payment": row, "refund": reply["refund"]}
            await emit(db, "payment.payment_refunded", row["id"], data)
    return reply


async def refund_reply(db: Db, refund_id: str, payment_ids: list[str]) -> Reply:
    return {
        "refund": orjson.loads(await refund_json(db, refund_id)),
        "payments": await payment_rows(db, payment_ids),
    }


async def refund_json(db: Db, refund_id: str) -> str:
    """The refund as JSON text. Raises NotFound."""
    text = await one_json(db, REFUND, ALL, "{t}.id = $1", refund_id)
    if text is None:
        raise NotFound(f"There is no refund {refund_id}.")
    return text


GIVE_BACK = Operation("refund", settle_refund)


async def refund(
    app: web.Application,
    payment_ids: list[str],
    *,
    payment_id: str | None,
    order_id: str | None,
    amount: int,
    reason: str,
    note: str | None,
    request_key: str | None,
    request: web.Request | None = None,
) -> Reply:
    """Give money back, once for a `request_key`. `payment_id` and `order_id` are what the refund shows."""
    facts = {
        "id": new_id("ref"),
        "payment_id": payment_id,
        "order_id": order_id,
        "amount": amount,
        "reason": reason,
        "note": note,
        "request_key": request_key,
    }
    return await perform(app, GIVE_BACK, lambda db: prepare_refund(db, facts, payment_ids), request)


# Handlers


async def post_refund(request: web.Request, payment_id: str, body: RefundBody) -> web.Response:
    async with reading(request) as db:
        order_id = (await payment_row(db, payment_id))["order_id"]
    key = request.headers.get(HEADER)
    reply = await refund(
        request.app,
        [payment_id],
        payment_id=payment_id,
        order_id=order_id,
        amount=body.amount,
        reason=body.reason,
        note=body.note,
        request_key=key and f"{actor(request)}:{payment_id}:{key}",
        request=request,
    )
    await notify_payment(request.app, reply["payments"][0], reply["refund"])
    async with transaction(request) as db:
        return json_bytes(request, f'{{"refund":{await refund_json(db, reply["refund"]["id"])}}}')


OPERATIONS = [
    post(
        "/admin/payments/{id}/refund",
        post_refund,
        "Refund a payment",
        description="The amount is in minor units. Refused with 400 for more than was captured and not given back, and "
        "with 503 while the provider is at work on the payment or does not answer.",
        body=RefundBody,
        example={"amount": 1000, "reason": "return", "note": "Came back unused"},
        answer={"refund": REFUND},
        errors=(NotFound, NotAllowed, Unavailable),
        asks_others=True,
    )
]
