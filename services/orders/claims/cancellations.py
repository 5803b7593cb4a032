"""Canceling a claim: the stock that was reserved for its goods is released, its row says so.

A recorded saga, for the stock is the inventory's. Once it may be released there is no turning back: the saga is tried
until it is done, and meanwhile nothing of the claim can be fulfilled.
"""

from typing import Any

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.claims.rules import check_cancelable
from services.orders.fulfillments.owners import CLAIM, access_owner
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json

STANDING = """
select
    (select count(*) from fulfillments where claim_order_id = $1 and canceled_at is null) as fulfillments,
    (select count(*) from returns where claim_order_id = $1 and status <> 'canceled') as returns
"""
LINES = "select id from line_items where claim_order_id = $1 and variant_id is not null order by id"
CANCEL = """
update claims set fulfillment_status = 'canceled', canceled_at = now(), updated_at = now() where id = $1
"""


async def plan_cancel(db: Db, order_id: str, claim_id: str) -> dict[str, Any] | None:
    """The state of a saga that cancels; None when it is canceled already. Raises NotFound, NotAllowed or Conflict."""
    claim = await access_owner(db, CLAIM, order_id, claim_id, "cancel_claim")
    if claim["canceled_at"] is not None:
        return None
    check_cancelable(refunded=claim["refund_amount"] or 0, **await db.fetchrow(STANDING, claim_id))
    return {
        "order_id": order_id,
        "claim_id": claim_id,
        "line_item_ids": [row["id"] for row in await db.fetch(LINES, claim_id)],
        "no_notification": claim["no_notification"],
    }


async def release_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Delete the reservations of the lines, whoever made them."""
    if saga.state["line_item_ids"]:
        await remote.release(app, saga.key("release"), saga.state["line_item_ids"])
    return {}


async def commit_cancel(db: Db, saga: Saga) -> dict[str, Any]:
    """Nothing is checked here: the stock is released, and nothing could be done with the claim meanwhile."""
    order_id, claim_id = saga.state["order_id"], saga.state["claim_id"]
    await access_owner(db, CLAIM, order_id, claim_id, "end_saga")
    await db.execute(CANCEL, claim_id)
    event = {"id": claim_id, "order_id": order_id, "no_notification": saga.state["no_notification"]}
    await emit(db, "claim.canceled", claim_id, event)
    return {}


CANCEL_CLAIM = (Step("stock", do=release_stock, no_return=True), Step("rows", commit=commit_cancel))
SAGAS = {"cancel_claim": CANCEL_CLAIM}


async def post_cancel(request: web.Request, order_id: str, claim_id: str, view: OrderView) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None and (state := await plan_cancel(db, order_id, claim_id)):
            saga = await begin(db, "cancel_claim", claim_id, state, request)
    if saga is not None:
        await run(request.app, CANCEL_CLAIM, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/claims/{claim_id}/cancel",
        post_cancel,
        "Cancel a claim",
        description="What was reserved for its goods is released. Refused with 400 once the claim gave money back, and "
        "while a fulfillment or the return of the claim stands. Canceling again changes nothing.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
