"""Giving money of an order back: the payments service does it, the order shows it (compare captures.py)."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import post
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote, status
from services.orders.orders.orders import access_order
from services.orders.orders.payment_copies import apply_payments
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.totals import MAX_AMOUNT


class RefundBody(Body):
    amount: Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
    """In minor units; no more than the order's `refundable_amount`."""
    reason: Literal["discount", "return", "swap", "claim", "other"]
    note: str | None = None
    """Why, in words."""
    no_notification: bool | None = None
    """Whether the customer is not to be notified; what the order says, by default."""


# Payments that can give something back, the newest first. Also what was captured for a swap that was canceled then.
REFUNDABLE = """
select id from payments
where order_id = $1 and captured_at is not null and amount > amount_refunded
order by created_at desc, id desc
"""


async def plan_refund(db: Db, order_id: str, body: RefundBody) -> dict[str, Any]:
    """The state of a saga that refunds. Raises NotFound, NotAllowed or Conflict."""
    order = await access_order(db, order_id, "refund")
    status.check_alive(order["status"], "refunded")
    if body.amount > order["refundable_amount"]:
        raise NotAllowed(f"Only {order['refundable_amount']} of this order can be refunded, not {body.amount}.")
    payment_ids = [row["id"] for row in await db.fetch(REFUNDABLE, order_id)]
    if not payment_ids:
        raise NotAllowed("No payment of this order was captured; there is nothing to refund.")
    return {"order_id": order_id, "payment_ids": payment_ids, **body.model_dump()}


async def refund_payments(app: web.Application, saga: Saga) -> dict[str, Any]:
    """The payments service refuses it when another refund was faster. The refund is the order's: it names no payment,
    whichever of them it is taken from."""
    refund = {name: saga.state[name] for name in ("order_id", "payment_ids", "amount", "reason", "note")}
    return await remote.refund(app, saga.key("refund"), refund)


async def commit_refund(db: Db, saga: Saga) -> dict[str, Any]:
    state, reply = saga.state, saga.results["payments"]
    await apply_payments(
        db, state["order_id"], reply["payments"], reply["refund"], state["no_notification"], settles=True
    )
    return {"refund_id": reply["refund"]["id"]}


REFUND = (Step("payments", do=refund_payments, no_return=True), Step("order", commit=commit_refund))
SAGAS = {"refund": REFUND}


async def post_refund(request: web.Request, order_id: str, view: OrderView, body: RefundBody) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None:
            saga = await begin(db, "refund", new_id("ref"), await plan_refund(db, order_id, body), request)
    await run(request.app, REFUND, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/refund",
        post_refund,
        "Refund an order",
        description="Gives money of the captured payments back, the newest payment first. Refused with 400 for more "
        "than is left to refund, and for a canceled order.",
        query=WRITTEN,
        body=RefundBody,
        example={"amount": 1000, "reason": "discount", "note": "It came too late."},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
