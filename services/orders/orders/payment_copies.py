"""Payments and refunds of an order, as the payments service reported them: in the reply to a command, or by event.

Both ways bring the same facts in any order, so they are merged, never replaced: a payment once captured or canceled
stays so, what was refunded only grows. What follows for the order is worked out here, whichever report comes first.
"""

from typing import Any

import orjson

from services.chassis.db import Db
from services.chassis.jsons import json_text
from services.chassis.outbox import emit
from services.chassis.saga_rows import states
from services.orders import status

STORE_PAYMENTS = """
insert into payments as p (
    id, order_id, cart_id, swap_id, amount, currency_code, amount_refunded, provider_id, data, captured_at, canceled_at,
    idempotency_key, metadata, created_at, updated_at
)
select id, order_id, cart_id, swap_id, amount, currency_code, amount_refunded, provider_id, coalesce(data, '{}'),
    captured_at, canceled_at, idempotency_key, nullif(metadata, 'null'), created_at, updated_at
from jsonb_to_recordset($1::text::jsonb) as x(
    id text, order_id text, cart_id text, swap_id text, amount bigint, currency_code text, amount_refunded bigint,
    provider_id text, data jsonb, captured_at timestamptz, canceled_at timestamptz, idempotency_key text,
    metadata jsonb, created_at timestamptz, updated_at timestamptz
)
order by id
on conflict (id) do update set
    amount_refunded = greatest(p.amount_refunded, excluded.amount_refunded),
    captured_at = coalesce(p.captured_at, excluded.captured_at),
    canceled_at = coalesce(p.canceled_at, excluded.canceled_at),
    data = case when excluded.updated_at >= p.updated_at then excluded.data else p.data end,
    updated_at = greatest(p.updated_at, excluded.updated_at)
"""
STORE_REFUND = """
insert into refunds (id, order_id, payment_id, amount, reason, note, idempotency_key, metadata, created_at, updated_at)
select id, order_id, payment_id, amount, reason, note, idempotency_key, nullif(metadata, 'null'), created_at, updated_at
from jsonb_to_record($1::text::jsonb) as x(
    id text, order_id text, payment_id text, amount bigint, reason text, note text, idempotency_key text,
    metadata jsonb, created_at timestamptz, updated_at timestamptz
)
on conflict (id) do nothing
returning true
"""
LOCK_ORDER = "select payment_status, no_notification from orders where id = $1 for no key update"
MONEY = """
select
    coalesce((select json_agg(json_build_object('amount', amount, 'amount_refunded', amount_refunded,
        'captured', captured_at is not null, 'canceled', canceled_at is not null))
        from payments where order_id = $1), '[]')::text as payments,
    coalesce((select sum(amount) from refunds where order_id = $1), 0)::bigint as refunded
"""
# The event can be faster than the request that asked for the refund, which knows whom not to notify.
REFUNDING = ("refund", "receive_return", "create_claim", "process_swap_payment")
# The same report comes more than once; only the first one changes the order.
SETTLE = """
update orders o set
    payment_status = x.payment_status,
    refunded_total = x.refunded_total,
    refundable_amount = x.refundable_amount,
    updated_at = now()
from (
    select $2 as payment_status, least($3, paid_total) as refunded_total,
        greatest(paid_total - $3, 0) as refundable_amount
    from orders where id = $1
) x
where o.id = $1 and (o.payment_status, o.refunded_total, o.refundable_amount)
    is distinct from (x.payment_status, x.refunded_total, x.refundable_amount)
"""


async def store_payments(db: Db, payments: list[dict[str, Any]]) -> None:
    """Merge these payments into what is known of them."""
    await db.execute(STORE_PAYMENTS, json_text(payments))


async def apply_payments(
    db: Db,
    order_id: str,
    payments: list[dict[str, Any]],
    refund: dict[str, Any] | None = None,
    no_notification: bool | None = None,
    *,
    settles: bool = False,
) -> None:
    """Store what is reported about the money of an order, and emit what follows: captured, refunded. That is done
    once, however often the report comes. An order that is not there yet takes its payments as it finds them when it
    is placed.

    Only a refund of the order itself `settles` it: what returns, claims and payments give back shows in the totals,
    and the payment status stays (docs/behaviour/after-sales.md, "Payments")."""
    order = await db.fetchrow(LOCK_ORDER, order_id)
    await store_payments(db, payments)
    is_new_refund = refund is not None and await db.fetchval(STORE_REFUND, json_text(refund))
    if order is None:
        return
    money = await db.fetchrow(MONEY, order_id)
    payment_status, refunded = order["payment_status"], money["refunded"] if settles else 0
    if settles or payment_status not in ("partially_refunded", "refunded"):
        payment_status = status.payment_status(payment_status, orjson.loads(money["payments"]), refunded)
    await db.execute(SETTLE, order_id, payment_status, money["refunded"])
    if no_notification is None and is_new_refund and refund is not None:
        sagas = await states(db, REFUNDING, "order_id", order_id)
        this = (refund["amount"], refund["reason"])
        no_notification = next(
            (s["no_notification"] for s in sagas if (s.get("amount"), s.get("reason")) == this), None
        )
    if no_notification is None:
        no_notification = order["no_notification"]
    if payment_status == "captured" and order["payment_status"] != "captured":
        await emit(db, "order.payment_captured", order_id, {"id": order_id, "no_notification": no_notification})
    if is_new_refund and refund is not None:
        data = {
            "id": order_id,
            "refund_id": refund["id"],
            "amount": refund["amount"],
            "reason": refund["reason"],
            "no_notification": no_notification,
        }
        await emit(db, "order.refund_created", order_id, data)


async def take_payment(db: Db, payment: dict[str, Any] | None, refund: dict[str, Any] | None) -> None:
    """Store what is reported about a payment, whoever asked for what happened to it."""
    if payment is None:
        return
    if payment.get("order_id"):
        await apply_payments(db, payment["order_id"], [payment], refund)
    else:
        await store_payments(db, [payment])
