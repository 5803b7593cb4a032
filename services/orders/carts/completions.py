"""A customer confirms a swap: POST /store/carts/{id}/complete. A recorded saga, `complete_swap`:

    price (catalog: the taxes of this moment) -> reserve (inventory) -> authorize (payments) -> rows

Each step that others took is compensated when a later one is refused. While it runs nothing else is done with the swap.
What is due is captured, or given back, when staff process the payment (swaps/payments.py).
"""

from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import ApiError, Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.queries import NOTHING
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.fulfillments.owners import SWAP, access_owner
from services.orders.orders.payment_copies import store_payments
from services.orders.pricing.lines import LINES, store_taxes
from services.orders.pricing.quotes import Row, store_copies
from services.orders.settings import orders_settings
from services.orders.swaps.carts import (
    SwapCart,
    access_cart,
    check_open,
    load_cart,
    reprice,
    set_methods,
    store_cart,
)
from services.orders.swaps.reads import CONFIRMED_ANSWER, confirmed_json
from services.orders.totals import Totals


class OutOfStock(ApiError):
    """409: what the customer wants instead is not there any more."""

    status, type, code = 409, "not_allowed", "insufficient_inventory"


# $1 cart, $2 swap, $3 payment, $4 status of the swap's payment
CONFIRM_ROWS = """
with cart as (
    update carts set completed_at = now(), payment_authorized_at = now(), payment_id = $3, updated_at = now()
    where id = $1
    returning shipping_address_id, total
), methods as (
    update shipping_methods set swap_id = $2 where cart_id = $1
), sessions as (
    update payment_sessions set status = 'authorized', amount = cart.total, payment_authorized_at = now(),
        updated_at = now()
    from cart where cart_id = $1 and is_selected and $3::text is not null
)
update swaps set difference_due = cart.total, shipping_address_id = cart.shipping_address_id, payment_status = $4,
    confirmed_at = now(), updated_at = now()
from cart where swaps.id = $2
"""
# What the customer owes for the swap counts as paid for the order once it was authorized, as its own total did.
ADD_TO_PAID = """
update orders set paid_total = paid_total + $2, refundable_amount = refundable_amount + $2, updated_at = now()
where id = $1
"""
SESSION_DATA = "select data::text from payment_sessions where cart_id = $1 and is_selected"


def check_payable(total: int, provider_id: str | None) -> None:
    """Raises NotAllowed when there is something to pay and nobody to pay it to."""
    if total > 0 and provider_id is None:
        raise NotAllowed("There is a difference to pay; start a payment session before completing the cart.")


# Steps


def cart_of(saga: Saga) -> SwapCart:
    """The cart as it stood when the saga was begun; nothing changes it meanwhile."""
    return SwapCart(**saga.state["cart"])


async def price(app: web.Application, saga: Saga) -> Row:
    """Price the cart with all taxes as they are now, and find which of the new goods have stock that is counted."""
    cart = cart_of(saga)
    priced = await reprice(app, cart, cart.methods, taxed=True)
    check_payable(priced.total.total, cart.provider_id)
    async with app[POOL].acquire() as db, db.transaction():
        await store_copies(db, priced.copies)
    variants = priced.copies.get("variant", [])
    counted = {doc["id"] for doc in variants if (doc["body"] or {}).get("manage_inventory")}
    counted_lines = [
        {"line_item_id": line["id"], "variant_id": line["variant_id"], "quantity": line["quantity"]}
        for line in cart.new_lines
        if line["variant_id"] in counted
    ]
    # Also where placements reserve nothing, as the recorded answers have it, when there is something to pay.
    reserves = saga.state["reserve"] or priced.total.total > 0 or not cart.allow_backorder
    return {
        "lines": priced.lines,
        "methods": priced.methods,
        "total": asdict(priced.total),
        "reserve": counted_lines if reserves else [],
    }


async def reserve(app: web.Application, saga: Saga) -> Row:
    """Reserve stock for the new goods, all or nothing. Where a backorder is allowed, what is missing is no obstacle."""
    cart, items = cart_of(saga), saga.results["price"]["reserve"]
    if not items:
        return {}
    reservations = {
        "order_id": cart.order_id,
        "sales_channel_id": cart.sales_channel_id,
        "items": items,
        "mode": "claim" if cart.allow_backorder else "placement",
    }
    try:
        await remote.reserve(app, saga.key("reserve"), reservations)
    except ApiError as refusal:
        if refusal.code == "insufficient_inventory":
            raise OutOfStock(refusal.message) from None
        if refusal.type == "invalid_data" and cart.allow_backorder:
            return {"refused": refusal.message}  # the channel's locations do not know these goods
        raise
    return {}


async def release(app: web.Application, saga: Saga) -> None:
    await remote.compensate_reserve(app, saga, saga.results["price"]["reserve"])


async def authorize(app: web.Application, saga: Saga) -> Row:
    """Authorize a payment of the difference, where the customer owes it."""
    cart, amount = cart_of(saga), saga.results["price"]["total"]["total"]
    if amount <= 0:
        return {"payment": None}
    payment = {
        "payment_id": saga.state["payment_id"],
        "order_id": cart.order_id,
        "cart_id": cart.id,
        "swap_id": cart.swap_id,
        "amount": amount,
        "currency_code": cart.currency_code,
        "provider_id": cart.provider_id,
        "data": saga.state["data"],
    }
    reply = await remote.authorize(app, saga.key("authorize"), payment)
    return {"payment": reply["payment"]}


async def void(app: web.Application, saga: Saga) -> None:
    if saga.results["price"]["total"]["total"] > 0:
        await remote.cancel_payment(app, saga.key("void"), saga.state["payment_id"], compensates=saga.key("authorize"))


async def confirm(db: Db, saga: Saga) -> Row:
    """Write the swap's rows. Nothing is checked: the money is there, and nothing else touched the swap meanwhile."""
    cart, priced, payment = cart_of(saga), saga.results["price"], saga.results["authorize"]["payment"]
    await access_owner(db, SWAP, cart.order_id, cart.swap_id, "end_saga")
    total = Totals(**priced["total"])
    await set_methods(db, cart.id, priced["methods"], frozen=True)
    await store_taxes(db, LINES, [line for line in priced["lines"] if not line["is_return"]], frozen=True)
    await store_cart(db, cart.id, priced["lines"], total)
    status = "awaiting" if total.total else "confirmed"
    await db.execute(CONFIRM_ROWS, cart.id, cart.swap_id, payment and payment["id"], status)
    if payment:
        await store_payments(db, [payment])
        await db.execute(ADD_TO_PAID, cart.order_id, payment["amount"])
    data = {
        "id": cart.swap_id,
        "order_id": cart.order_id,
        "difference_due": total.total,
        "no_notification": cart.no_notification,
    }
    await emit(db, "swap.payment_completed", cart.swap_id, data)
    return {"swap_id": cart.swap_id}


COMPLETE_SWAP = (
    Step("price", do=price),
    Step("reserve", do=reserve, compensate=release),
    Step("authorize", do=authorize, compensate=void),
    Step("rows", commit=confirm),
)
SAGAS = {"complete_swap": COMPLETE_SWAP}


async def session_data(db: Db, cart_id: str) -> dict[str, Any]:
    """What the customer's browser has for the payment provider."""
    text = await db.fetchval(SESSION_DATA, cart_id)
    data: dict[str, Any] = orjson.loads(text) if text else {}
    return data


# Handler


async def post_complete(request: web.Request, cart_id: str, _query: None) -> web.Response:
    """A cart that was completed is answered as it was then."""
    app = request.app
    async with intention(request) as (db, saga):
        if saga is None:
            cart = await access_cart(db, cart_id, "complete_swap")
            if not cart.confirmed:
                check_open(cart)
                check_payable(cart.total, cart.provider_id)
                state = {
                    "order_id": cart.order_id,
                    "swap_id": cart.swap_id,
                    "cart": asdict(cart),
                    "payment_id": new_id("pay"),
                    "data": await session_data(db, cart_id),
                    "reserve": orders_settings(app).reserve_stock == "on_placement",
                }
                saga = await begin(db, "complete_swap", cart.swap_id, state, request)
    if saga is not None:
        await run(app, COMPLETE_SWAP, saga)
    async with transaction(request) as db:
        cart = await load_cart(db, cart_id)
        return json_bytes(request, await confirmed_json(db, cart.swap_id))


OPERATIONS = [
    post(
        "/store/carts/{id}/complete",
        post_complete,
        "Complete the cart of a swap",
        description="Confirms the swap: stock is reserved for the new goods, and a difference that the customer owes "
        "is authorized. Refused with 400 when there is a difference and no payment session, with 409 when the goods "
        "are out of stock and no backorder is allowed. A completed cart is answered as it was then.",
        query=NOTHING,
        public=True,
        answer=CONFIRMED_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, OutOfStock, Unavailable),
        asks_others=True,
    )
]
