"""The difference that is due for a swap, once its customer has confirmed it: what they owe is captured, what they are
owed is given back out of the order's payments. A recorded saga, `process_swap_payment`; money that has moved stays.

When the provider will not, the swap asks for action, and the payment can be processed again.
"""

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import ApiError, Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.fulfillments.owners import SWAP, access_owner
from services.orders.orders.payment_copies import apply_payments
from services.orders.orders.refunds import REFUNDABLE
from services.orders.pricing.quotes import Row
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json

PAYMENT = "select payment_id from carts where id = $1"
SET_STATUS = "update swaps set payment_status = $2, updated_at = now() where id = $1"
SETTLED = ("captured", "difference_refunded")


class NoBody(Body):
    """A body without properties."""


async def plan_process(db: Db, order_id: str, swap_id: str) -> Row | None:
    """The state of a saga that settles the difference; None when it is settled. Raises NotFound, NotAllowed, Conflict.

    Nothing to settle is settled here.
    """
    swap = await access_owner(db, SWAP, order_id, swap_id, "process_swap_payment")
    if swap["canceled_at"] is not None:
        raise NotAllowed("The payment of a canceled swap cannot be processed.")
    if swap["confirmed_at"] is None:
        raise NotAllowed("The customer has not confirmed this swap yet, so its payment cannot be processed.")
    if swap["payment_status"] in SETTLED:
        return None
    due, no_notification = swap["difference_due"], swap["no_notification"]
    if due == 0:
        await settle(db, order_id, swap_id, "difference_refunded", "swap.refund_processed", no_notification)
        return None
    state = {"order_id": order_id, "swap_id": swap_id, "no_notification": no_notification, "due": due}
    if due > 0:
        return state | {"payment_id": await db.fetchval(PAYMENT, swap["cart_id"])}
    payment_ids = [row["id"] for row in await db.fetch(REFUNDABLE, order_id)]
    return state | {"payment_ids": payment_ids, "amount": -due, "reason": "swap", "note": None}


async def settle(db: Db, order_id: str, swap_id: str, status: str, event: str, no_notification: bool | None) -> None:
    """Write how it ended, and emit the event."""
    await db.execute(SET_STATUS, swap_id, status)
    await emit(db, event, swap_id, {"id": swap_id, "order_id": order_id, "no_notification": no_notification})


async def move_money(app: web.Application, saga: Saga) -> Row:
    """Take or give back the difference; or why the payments service will not."""
    state = saga.state
    try:
        if state["due"] > 0:
            reply = await remote.capture(app, saga.key("capture"), state["payment_id"])
            return {"payments": [reply["payment"]], "refund": None}
        if not state["payment_ids"]:
            return {"refused": "No payment of the order has anything left to give back."}
        refund = {name: state[name] for name in ("order_id", "payment_ids", "amount", "reason", "note")}
        return await remote.refund(app, saga.key("refund"), refund)
    except ApiError as refusal:
        if refusal.status >= 500:
            raise
        return {"refused": refusal.message}


async def record_payment(db: Db, saga: Saga) -> Row:
    state, reply = saga.state, saga.results["money"]
    order_id, swap_id, no_notification = state["order_id"], state["swap_id"], state["no_notification"]
    owed = state["due"] > 0
    await access_owner(db, SWAP, order_id, swap_id, "end_saga")
    if "refused" in reply:
        event = "swap.payment_capture_failed" if owed else "swap.process_refund_failed"
        await settle(db, order_id, swap_id, "requires_action", event, no_notification)
        return {"refused": reply["refused"]}
    await apply_payments(db, order_id, reply["payments"], reply["refund"], no_notification)
    if owed:
        await settle(db, order_id, swap_id, "captured", "swap.payment_captured", no_notification)
    else:
        await settle(db, order_id, swap_id, "difference_refunded", "swap.refund_processed", no_notification)
    return {}


PROCESS_SWAP_PAYMENT = (Step("money", do=move_money, no_return=True), Step("rows", commit=record_payment))
SAGAS: dict[str, tuple[Step, ...]] = {"process_swap_payment": PROCESS_SWAP_PAYMENT}


async def post_process_payment(
    request: web.Request, order_id: str, swap_id: str, view: OrderView, _body: NoBody
) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None and (state := await plan_process(db, order_id, swap_id)):
            saga = await begin(db, "process_swap_payment", swap_id, state, request)
    if saga is not None:
        await run(request.app, PROCESS_SWAP_PAYMENT, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/swaps/{swap_id}/process-payment",
        post_process_payment,
        "Settle the difference of a swap",
        description="What the customer owes is captured, what they are owed is refunded out of the order's payments; a "
        "difference of 0 is settled at once. Refused with 400 until the customer has confirmed the swap. When the "
        "payment provider refuses, the answer is still 200, the swap's payment status is `requires_action`, and the "
        "payment can be processed again. A settled swap stays as it is.",
        query=WRITTEN,
        body=NoBody,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
