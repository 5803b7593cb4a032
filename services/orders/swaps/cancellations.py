"""Canceling a swap: its payment is given up, what was reserved for it is released, its rows say so. A recorded saga,
`cancel_swap`, tried until it is done: giving up a payment cannot be taken back.

A difference that was captured is not given back by this, as in Medusa (docs/behaviour/after-sales.md, "Swaps"): it
counts as paid for the order, and is refunded like that, in the order or by its payment.
"""

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.fulfillments.owners import SWAP, access_owner
from services.orders.orders.payment_copies import store_payments
from services.orders.pricing.quotes import Row
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.swaps.payments import NoBody

REFUNDED = ("difference_refunded", "partially_refunded", "refunded")
HELD = """
select
    (select count(*) from fulfillments where swap_id = s.id and canceled_at is null) as fulfillments,
    (select count(*) from returns where swap_id = s.id and status <> 'canceled') as returns,
    (select p.id from payments p where p.id = c.payment_id and p.canceled_at is null) as payment_id,
    array(select id from line_items where swap_id = s.id and variant_id is not null order by id) as line_item_ids
from swaps s left join carts c on c.id = s.cart_id
where s.id = $1
"""
CANCEL = """
update swaps set payment_status = 'canceled', fulfillment_status = 'canceled', canceled_at = now(), updated_at = now()
where id = $1
"""


async def plan_cancel(db: Db, order_id: str, swap_id: str) -> Row | None:
    """The state of a saga that cancels; None when it is canceled. Raises NotFound, NotAllowed or Conflict."""
    swap = await access_owner(db, SWAP, order_id, swap_id, "cancel_swap")
    if swap["canceled_at"] is not None:
        return None
    if swap["payment_status"] in REFUNDED:
        raise NotAllowed("A swap whose difference was given back cannot be canceled.")
    held = await db.fetchrow(HELD, swap_id)
    if held["fulfillments"]:
        raise NotAllowed("This swap has a fulfillment; cancel it before the swap.")
    if held["returns"]:
        raise NotAllowed("This swap has a return; cancel it before the swap.")
    confirmed = swap["confirmed_at"] is not None
    return {
        "order_id": order_id,
        "swap_id": swap_id,
        "payment_id": held["payment_id"],
        "line_item_ids": held["line_item_ids"] if confirmed else [],
        "no_notification": swap["no_notification"],
    }


async def void_payment(app: web.Application, saga: Saga) -> Row:
    """Cancel the payment; a captured one where the provider allows that, else once all of it was refunded."""
    payment_id = saga.state["payment_id"]
    if payment_id is None:
        return {"payments": []}
    reply = await remote.cancel_payment(app, saga.key("void"), payment_id)
    return {"payments": [reply["payment"]]}


async def release_stock(app: web.Application, saga: Saga) -> Row:
    if saga.state["line_item_ids"]:
        await remote.release(app, saga.key("release"), saga.state["line_item_ids"])
    return {}


async def commit_cancel(db: Db, saga: Saga) -> Row:
    state = saga.state
    await access_owner(db, SWAP, state["order_id"], state["swap_id"], "end_saga")
    await store_payments(db, saga.results["payment"]["payments"])
    await write_cancel(db, state)
    return {}


async def write_cancel(db: Db, state: Row) -> None:
    await db.execute(CANCEL, state["swap_id"])
    data = {"id": state["swap_id"], "order_id": state["order_id"], "no_notification": state["no_notification"]}
    await emit(db, "swap.canceled", state["swap_id"], data)


CANCEL_SWAP = (
    Step("payment", do=void_payment, no_return=True),
    Step("stock", do=release_stock),
    Step("rows", commit=commit_cancel),
)
SAGAS: dict[str, tuple[Step, ...]] = {"cancel_swap": CANCEL_SWAP}


async def post_cancel(
    request: web.Request, order_id: str, swap_id: str, view: OrderView, _body: NoBody
) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None and (state := await plan_cancel(db, order_id, swap_id)):
            if state["payment_id"] or state["line_item_ids"]:
                saga = await begin(db, "cancel_swap", swap_id, state, request)
            else:  # it holds neither money nor stock elsewhere
                await write_cancel(db, state)
    if saga is not None:
        await run(request.app, CANCEL_SWAP, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/swaps/{swap_id}/cancel",
        post_cancel,
        "Cancel a swap",
        description="What was reserved for it is released, and its payment is given up. A difference that was captured "
        "is not given back: refund it before or afterwards; one that a provider such as Stripe has captured has to be "
        "refunded before. Refused with 400 while a fulfillment or the return of the swap stands, and once its "
        "difference was given back. Canceling again changes nothing.",
        query=WRITTEN,
        body=NoBody,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
