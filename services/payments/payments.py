"""Payments: authorized when an order is placed, captured, canceled; and what they look like over HTTP."""

from collections.abc import Collection
from typing import Any

import orjson
from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Page, Selection, one_json, page_json
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import get, post
from services.chassis.outbox import emit
from services.chassis.queries import one
from services.payments.operations import Operation, Part, Reply, Work, check_idle, perform
from services.payments.provider_protocol import Data, Row
from services.payments.providers import provider
from services.payments.remote import fetch_documents, notify_payment
from services.payments.resources import PAYMENT

ALL = Selection(tuple(PAYMENT.columns), ())
SHOWN = tuple(name for name in PAYMENT.columns if name not in ("created_at", "updated_at", "idempotency_key"))

LOCK_PAYMENT = (
    "select id, captured_at, canceled_at, amount_refunded = amount as returned from payments where id = $1 for update"
)
# An id that does not exist yet cannot be locked as a row.
LOCK_ID = "select pg_advisory_xact_lock(hashtextextended($1, 0))"
IS_VOIDED = "select exists (select from voided_payments where id = $1)"
VOID_PAYMENT = "insert into voided_payments (id) values ($1) on conflict do nothing"
CREATE_PAYMENT = """
insert into payments (id, order_id, cart_id, swap_id, amount, currency_code, provider_id, data)
select id, order_id, cart_id, swap_id, amount, currency_code, provider_id, $2::text::jsonb
from jsonb_to_record($1::text::jsonb) as p(
    id text, order_id text, cart_id text, swap_id text, amount bigint, currency_code text, provider_id text
)
"""
CAPTURE_PAYMENT = "update payments set captured_at = now(), updated_at = now(), data = $2::text::jsonb where id = $1"
CANCEL_PAYMENT = "update payments set canceled_at = now(), updated_at = now(), data = $2::text::jsonb where id = $1"
IS_USED = "select exists (select from payments where provider_id = $1 and data ->> 'id' = $2)"
ABROAD = "select order_id, cart_id, swap_id from payments where id = $1"


# Actions


async def payment_json(db: Db, payment_id: str, chosen: Selection = ALL) -> str:
    """The payment as JSON text. Raises NotFound."""
    text = await one_json(db, PAYMENT, chosen, "{t}.id = $1", payment_id)
    if text is None:
        raise NotFound(f"There is no payment {payment_id}.")
    return text


async def payment_row(db: Db, payment_id: str) -> Row:
    """The payment as the API shows it, with all columns. Raises NotFound."""
    row: Row = orjson.loads(await payment_json(db, payment_id))
    return row


async def payment_rows(db: Db, payment_ids: list[str]) -> list[Row]:
    """Those payments as the API shows them, in the order of their ids."""
    page = Page(PAYMENT, ALL, "{t}.id = any($1)", "{t}.id", (payment_ids,), len(payment_ids), 0)
    rows: list[Row] = orjson.loads(await page_json(db, "payments", page))["payments"]
    return rows


async def access_payment(db: Db, payment_id: str) -> Any:
    """The payment, locked. Raises NotFound; Unavailable while a provider is at work on it."""
    payment = await db.fetchrow(LOCK_PAYMENT, payment_id)
    if payment is None:
        raise NotFound(f"There is no payment {payment_id}.")
    await check_idle(db, [payment_id])
    return payment


async def emit_payment(db: Db, event: str, payment_id: str) -> Reply:
    """Emit the event with the payment as it is now. Returns what a command answers, with it."""
    row = await payment_row(db, payment_id)
    await emit(db, event, payment_id, {"id": payment_id, "order_id": row["order_id"], "payment": row})
    return {"payment": row}


async def prepare_authorize(db: Db, payment: Row) -> Work | Reply:
    """Made already: as it is. Raises Conflict when the id is another payment's, or was given up before it came."""
    payment_id = payment["id"]
    provider(payment["provider_id"])
    await db.execute(LOCK_ID, payment_id)
    await check_idle(db, [payment_id])
    if await db.fetchval(IS_VOIDED, payment_id):
        raise Conflict(f"Payment {payment_id} was given up before it was made.")
    if await db.fetchrow(LOCK_PAYMENT, payment_id):
        row = await payment_row(db, payment_id)
        if any(row[name] != payment[name] for name in ("order_id", "amount", "currency_code", "provider_id")):
            raise Conflict(f"Payment {payment_id} exists already, for something else.")
        return {"payment": row}
    return Work([Part(payment, payment["amount"])], uses=await checked_uses(db, payment))


async def checked_uses(db: Db, payment: Row) -> list[str]:
    """What the customer has prepared at a remote provider, by its id there. Raises NotAllowed where another payment was
    made of it: it pays once."""
    reference = payment["data"].get("id") if provider(payment["provider_id"]).remote else None
    if not isinstance(reference, str) or not reference:
        return []
    await db.execute(LOCK_ID, reference)
    await check_idle(db, [reference])
    if await db.fetchval(IS_USED, payment["provider_id"], reference):
        raise NotAllowed(f"Another payment was made with {reference}.")
    return [reference]


async def settle_authorize(db: Db, work: Work, answers: list[Data]) -> Reply:
    payment = work.parts[0].payment
    await db.execute(CREATE_PAYMENT, json_text(payment), json_text(answers[0]))
    return await emit_payment(db, "payment.created", payment["id"])


async def prepare_capture(db: Db, payment_id: str) -> Work | Reply:
    """Captured already: as it is. Raises NotAllowed for a canceled one."""
    payment = await access_payment(db, payment_id)
    row = await payment_row(db, payment_id)
    if payment["captured_at"]:
        return {"payment": row}
    if payment["canceled_at"]:
        raise NotAllowed(f"Payment {payment_id} is canceled and cannot be captured.")
    return Work([Part(row, row["amount"])])


async def settle_capture(db: Db, work: Work, answers: list[Data]) -> Reply:
    payment_id = work.parts[0].payment["id"]
    await db.execute(CAPTURE_PAYMENT, payment_id, json_text(answers[0]))
    return await emit_payment(db, "payment.payment_captured", payment_id)


async def prepare_cancel(db: Db, payment_id: str, compensate: bool) -> Work | Reply:
    """Canceled already: as it is. With `compensate`, a payment that was never made never will be, and that is no
    error."""
    await db.execute(LOCK_ID, payment_id)
    await check_idle(db, [payment_id])
    payment = await db.fetchrow(LOCK_PAYMENT, payment_id)
    if payment is None and compensate:
        await db.execute(VOID_PAYMENT, payment_id)
        return {"payment": None}
    row = await payment_row(db, payment_id)
    if payment["canceled_at"]:
        return {"payment": row}
    work = Work([Part(row, row["amount"])])
    # A provider elsewhere may refuse to give up what it captured. When all of it went back, there is nothing to ask.
    returned = payment["captured_at"] and payment["returned"] and work.remote
    return await settle_cancel(db, work, [row["data"]]) if returned else work


async def settle_cancel(db: Db, work: Work, answers: list[Data]) -> Reply:
    payment_id = work.parts[0].payment["id"]
    await db.execute(CANCEL_PAYMENT, payment_id, json_text(answers[0]))
    return await emit_payment(db, "payment.canceled", payment_id)


AUTHORIZE = Operation("authorize", settle_authorize)
CAPTURE_ALL = Operation("capture", settle_capture)
GIVE_UP = Operation("cancel", settle_cancel)


async def authorize(app: web.Application, payment: Row) -> Reply:
    """Make the payment through its provider."""
    return await perform(app, AUTHORIZE, lambda db: prepare_authorize(db, payment))


async def capture(app: web.Application, payment_id: str, request: web.Request | None = None) -> Reply:
    """Take the money; a payment that is captured already stays as it is."""
    return await perform(app, CAPTURE_ALL, lambda db: prepare_capture(db, payment_id), request)


async def cancel(app: web.Application, payment_id: str, compensate: bool) -> Reply:
    """Give the payment up. Allowed for a captured one, too: `canceled_at` then stands beside `captured_at`, and the
    money can still be refunded (refunds.py)."""
    return await perform(app, GIVE_UP, lambda db: prepare_cancel(db, payment_id, compensate))


async def refresh(app: web.Application, payment_id: str, relations: Collection[str]) -> None:
    """Bring the copies of the payment's order, cart and swap up to date, those of `relations`, best effort: they change
    without an event that is heard here."""
    kinds = [kind for kind in ("cart", "order", "swap") if kind in relations]
    row = await app[POOL].fetchrow(ABROAD, payment_id) if kinds else None
    shown = {kind: [row[f"{kind}_id"]] for kind in kinds if row and row[f"{kind}_id"] is not None}
    await fetch_documents(app, "orders", shown)


# Handlers


async def get_payment(request: web.Request, payment_id: str, chosen: Selection) -> web.Response:
    await refresh(request.app, payment_id, dict(chosen.tree))
    async with reading(request) as db:
        return json_bytes(request, f'{{"payment":{await payment_json(db, payment_id, chosen)}}}')


async def post_capture(request: web.Request, payment_id: str) -> web.Response:
    reply = await capture(request.app, payment_id, request)
    await notify_payment(request.app, reply["payment"])
    async with transaction(request) as db:
        return json_bytes(request, f'{{"payment":{await payment_json(db, payment_id)}}}')


PAYMENT_SHOWN = one(PAYMENT, fields=SHOWN)
OPERATIONS = [
    get(
        "/admin/payments/{id}",
        get_payment,
        "Get a payment",
        description="Its order, cart and swap are asked of orders when `expand` names them.",
        query=PAYMENT_SHOWN,
        answer={"payment": PAYMENT_SHOWN.rows},
        errors=(NotFound,),
        asks_others=True,
    ),
    post(
        "/admin/payments/{id}/capture",
        post_capture,
        "Capture a payment",
        description="The provider moves the money, once; a payment that is captured already is answered as it is. "
        "Refused with 400 for a canceled one, and with 503 while the provider is at work on it or does not answer.",
        answer={"payment": PAYMENT},
        errors=(NotFound, NotAllowed, Unavailable),
        asks_others=True,
    ),
]
