"""Capturing what an order was authorized for: the payments service does it, the order shows it.

The reply is stored at once. Should it get lost, the saga asks again, and the event payment.payment_captured brings the
same facts (payment_copies.py).
"""

from typing import Any

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import post
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote, status
from services.orders.orders.orders import access_order
from services.orders.orders.payment_copies import apply_payments
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json

OPEN = """
select id from payments where order_id = $1 and captured_at is null and canceled_at is null order by created_at, id
"""


async def plan_capture(db: Db, order_id: str) -> list[str]:
    """The payments to capture, none when all are. Raises NotFound, NotAllowed or Conflict."""
    order = await access_order(db, order_id, "capture")
    status.check_alive(order["status"], "captured")
    return [row["id"] for row in await db.fetch(OPEN, order_id)]


async def capture_payments(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Each payment is captured once, whoever else asks: the payments service sees to that."""
    captured = []
    for payment_id in saga.state["payment_ids"]:
        reply = await remote.capture(app, saga.key(payment_id), payment_id)
        captured.append(reply["payment"])
    return {"payments": captured}


async def commit_capture(db: Db, saga: Saga) -> dict[str, Any]:
    await apply_payments(db, saga.state["order_id"], saga.results["payments"]["payments"])
    return {}


# Money that was taken is not given back because a row could not be written.
CAPTURE = (Step("payments", do=capture_payments, no_return=True), Step("order", commit=commit_capture))
SAGAS = {"capture": CAPTURE}


async def post_capture(request: web.Request, order_id: str, view: OrderView) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None and (payment_ids := await plan_capture(db, order_id)):
            state = {"order_id": order_id, "payment_ids": payment_ids}
            # A subject of its own: two that capture at once are both answered that it is done.
            saga = await begin(db, "capture", new_id("cap"), state, request)
    if saga is not None:
        await run(request.app, CAPTURE, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/capture",
        post_capture,
        "Capture an order's payments",
        description="Every payment that is authorized and not canceled is captured, once. The answer shows them.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
