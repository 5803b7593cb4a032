"""Canceling an order: its payments are given up, what was reserved for it is released, its rows say so.

A recorded saga. Giving up a payment cannot be taken back, so from then on it is tried until it is done; meanwhile
nothing else can be done with the order (concurrency.py).
"""

from typing import Any

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote, status
from services.orders.orders.orders import access_order
from services.orders.orders.payment_copies import store_payments
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json

ALIVE = """
select
    (select count(*) from refunds where order_id = $1) as refunds,
    (select count(*) from fulfillments where order_id = $1 and canceled_at is null) as fulfillments,
    (select count(*) from returns where order_id = $1 and status <> 'canceled') as returns,
    (select count(*) from swaps where order_id = $1 and canceled_at is null and deleted_at is null) as swaps,
    (select count(*) from claims where order_id = $1 and canceled_at is null and deleted_at is null) as claims
"""
# A provider can refuse to give up what it has captured: it is asked first, before any other was given up.
HELD = """
select
    array(
        select id from payments where order_id = $1 and canceled_at is null order by captured_at is null, id
    ) as payment_ids,
    array(select id from line_items where order_id = $1 and variant_id is not null order by id) as line_item_ids
"""
CANCEL_ROW = """
update orders set status = 'canceled', fulfillment_status = 'canceled', payment_status = 'canceled',
    canceled_at = now(), updated_at = now()
where id = $1
"""


async def plan_cancel(db: Db, order_id: str) -> dict[str, Any] | None:
    """The state of a saga that cancels; None when it is canceled already. Raises NotFound, NotAllowed or Conflict."""
    order = await access_order(db, order_id, "cancel_order")
    if order["status"] == "canceled":
        return None
    status.check_cancelable(**await db.fetchrow(ALIVE, order_id))
    held = await db.fetchrow(HELD, order_id)
    return {"order_id": order_id, "no_notification": order["no_notification"], **held}


async def void_payments(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Cancel the payments, also captured ones: the provider decides what that means."""
    voided = []
    for payment_id in saga.state["payment_ids"]:
        reply = await remote.cancel_payment(app, saga.key(payment_id), payment_id)
        voided.append(reply["payment"])
    return {"payments": voided}


async def release_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Delete the reservations of the lines, whoever made them."""
    line_item_ids = saga.state["line_item_ids"]
    if line_item_ids:
        await remote.release(app, saga.key("release"), line_item_ids)
    return {}


async def commit_cancel(db: Db, saga: Saga) -> dict[str, Any]:
    order_id = saga.state["order_id"]
    await access_order(db, order_id, "end_saga")
    await store_payments(db, saga.results["payments"]["payments"])
    await db.execute(CANCEL_ROW, order_id)
    data = {"id": order_id, "no_notification": saga.state["no_notification"]}
    await emit(db, "order.canceled", order_id, data)
    return {}


CANCEL_ORDER = (
    Step("payments", do=void_payments, no_return=True),
    Step("stock", do=release_stock),
    Step("order", commit=commit_cancel),
)
SAGAS = {"cancel_order": CANCEL_ORDER}


async def post_cancel(request: web.Request, order_id: str, view: OrderView) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None and (state := await plan_cancel(db, order_id)):
            saga = await begin(db, "cancel_order", order_id, state, request)
    if saga is not None:
        await run(request.app, CANCEL_ORDER, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/cancel",
        post_cancel,
        "Cancel an order",
        description="Its payments are canceled and the stock that was reserved for it is free again. Refused with 400 "
        "while the order has refunds, or fulfillments, returns, swaps or claims that are not canceled. A canceled "
        "order is answered as it is.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
