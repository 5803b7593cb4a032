"""Placing an order: what happens when a draft order is paid. A recorded saga, `place_order`:

    price (catalog) -> discounts (catalog: one use of each) -> reserve (inventory, if this installation does)
        -> authorize (payments) -> order (our rows)

Each step that others took is compensated when a later one is refused. While it runs nobody else can change the draft.
The order is there, and order.placed is emitted, before its money is captured: that is a saga of its own,
`capture_placed`, begun in the transaction that makes the order, and it is tried until payments has either done or
refused it.
"""

from dataclasses import asdict, replace

import structlog
from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import ApiError, Conflict, Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.saga_rows import let_go
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.drafts.parts import LOCK_DRAFT, Draft, access_draft, load_draft
from services.orders.drafts.pricing import basket_as_it_is
from services.orders.orders.payment_copies import apply_payments, store_payments
from services.orders.pricing import quotes
from services.orders.pricing.quotes import Basket, Quote, Row
from services.orders.reads import ORDER_ANSWER, placed_order_json
from services.orders.settings import orders_settings
from services.orders.totals import Totals

log = structlog.get_logger()

SYSTEM_PROVIDER = "system"

ADD_ORDER = """
insert into orders (
    id, cart_id, draft_order_id, customer_id, email, region_id, currency_code, sales_channel_id, billing_address_id,
    shipping_address_id, no_notification, metadata, payment_status, subtotal, discount_total, raw_discount_total,
    shipping_total, item_tax_total, shipping_tax_total, tax_total, gift_card_total, gift_card_tax_total, total,
    paid_total, refundable_amount
)
select $2, c.id, $1, c.customer_id, c.email, c.region_id, c.currency_code, c.sales_channel_id, c.billing_address_id,
    c.shipping_address_id, d.no_notification_order, c.metadata, $3, c.subtotal, c.discount_total, c.raw_discount_total,
    c.shipping_total, c.item_tax_total, c.shipping_tax_total, c.tax_total, c.gift_card_total, c.gift_card_tax_total,
    c.total, $4, $4
from draft_orders d join carts c on c.id = d.cart_id where d.id = $1
returning display_id
"""
# $1 cart, $2 order
MOVE_TO_ORDER = """
with lines as (update line_items set order_id = $2, updated_at = now() where cart_id = $1),
    methods as (update shipping_methods set order_id = $2 where cart_id = $1)
insert into order_discounts (order_id, discount_id)
select $2, discount_id from cart_discounts where cart_id = $1 order by position
"""
COMPLETE_DRAFT = """
with cart as (
    update carts set completed_at = now(), payment_authorized_at = now(), payment_id = $4, updated_at = now()
    where id = $2
)
update draft_orders set status = 'completed', order_id = $3, completed_at = now(), updated_at = now() where id = $1
"""
ADD_SESSION = """
insert into payment_sessions (
    id, cart_id, provider_id, amount, status, data, is_selected, is_initiated, payment_authorized_at
)
values ($1, $2, $3, $4, 'authorized', $5::text::jsonb, true, true, now())
"""
NO_NOTIFICATION = "select no_notification from orders where id = $1"


# Before the saga: what it is about


def check_payable(draft: Draft) -> None:
    """Raises Duplicate for a draft that was paid, InvalidData for one without lines."""
    if draft.status != "open":
        raise Duplicate("This draft order was paid already.")
    if not draft.lines:
        raise InvalidData("A draft order without lines cannot be paid; add what was bought.")


def intended(draft: Draft, user_id: str, *, reserve: bool) -> Row:
    """The state of the saga: the cart as it stands, and the ids of what will be made."""
    return {
        "draft_id": draft.id,
        "cart_id": draft.cart_id,
        "sales_channel_id": draft.sales_channel_id,
        "order_id": new_id("order"),
        "payment_id": new_id("pay"),
        "user_id": user_id,
        "reserve": reserve,
        "basket": asdict(basket_as_it_is(draft)),
    }


# Steps of place_order


async def price(app: web.Application, saga: Saga) -> Row:
    """Everything as it costs now, taxes included even where drafts do not show them; and which stock is counted."""
    quote = await quotes.ask(app, Basket(**saga.state["basket"]), placing=True)
    async with app[POOL].acquire() as db, db.transaction():
        await quotes.store_copies(db, quote.copies)
    variants = quote.copies.get("variant", [])
    managed = [doc["id"] for doc in variants if (doc["body"] or {}).get("manage_inventory")]
    # The documents are stored: a saga is kept for weeks, they would be most of it.
    return {"quote": asdict(replace(quote, copies={})), "managed": managed}


def quote_of(saga: Saga) -> Quote:
    """What the first step was quoted."""
    quote = saga.results["price"]["quote"]
    return Quote(**quote | {"totals": Totals(**quote["totals"])})


def discount_ids(saga: Saga) -> list[str]:
    """The discounts to use, sorted, so that asking again is the same command."""
    return sorted(discount["id"] for discount in quote_of(saga).discounts)


async def use_discounts(app: web.Application, saga: Saga) -> Row:
    """Use each discount once, as far as their limits go."""
    ids = discount_ids(saga)
    if ids:
        await remote.use_discounts(app, saga.key("discounts"), saga.state["order_id"], ids)
    return {"discount_ids": ids}


async def unuse_discounts(app: web.Application, saga: Saga) -> None:
    ids = discount_ids(saga)
    if ids:
        key, compensates = saga.key("unuse"), saga.key("discounts")
        await remote.unuse_discounts(app, key, saga.state["order_id"], ids, compensates=compensates)


def managed_items(saga: Saga) -> list[Row]:
    """The lines to reserve stock for."""
    managed = saga.results["price"]["managed"] if saga.state["reserve"] else []
    return [
        {"line_item_id": line["id"], "variant_id": line["variant_id"], "quantity": line["quantity"]}
        for line in quote_of(saga).lines
        if line["variant_id"] in managed
    ]


async def reserve(app: web.Application, saga: Saga) -> Row:
    """Reserve stock for the lines that have any, all or nothing; none in an installation that reserves by hand."""
    items = managed_items(saga)
    if not items:
        return {"line_item_ids": []}
    reservations = {
        "order_id": saga.state["order_id"],
        "sales_channel_id": saga.state["sales_channel_id"],
        "created_by": saga.state["user_id"],
        "items": items,
    }
    await remote.reserve(app, saga.key("reserve"), reservations)
    return {"line_item_ids": [item["line_item_id"] for item in items]}


async def release(app: web.Application, saga: Saga) -> None:
    await remote.compensate_reserve(app, saga, managed_items(saga))


async def authorize(app: web.Application, saga: Saga) -> Row:
    """Authorize a payment of the whole amount; none when there is nothing to pay."""
    quote, state = quote_of(saga), saga.state
    if quote.totals.total == 0:
        return {"payment": None}
    payment = {
        "payment_id": state["payment_id"],
        "order_id": state["order_id"],
        "cart_id": state["cart_id"],
        "swap_id": None,
        "amount": quote.totals.total,
        "currency_code": quote.currency_code,
        "provider_id": SYSTEM_PROVIDER,
        "data": {},
    }
    reply = await remote.authorize(app, saga.key("authorize"), payment)
    return {"payment": reply["payment"]}


async def void(app: web.Application, saga: Saga) -> None:
    if quote_of(saga).totals.total:
        payment_id, key = saga.state["payment_id"], saga.key("authorize")
        await remote.cancel_payment(app, saga.key("void"), payment_id, compensates=key)


async def place_order(db: Db, saga: Saga) -> Row:
    """Write the order's rows, and the intention to capture its payment."""
    state, quote, payment = saga.state, quote_of(saga), saga.results["authorize"]["payment"]
    draft_id, cart_id, order_id = state["draft_id"], state["cart_id"], state["order_id"]
    await db.execute(LOCK_DRAFT, draft_id)  # its rows in the order in which a change locks them
    await quotes.store_quote(db, cart_id, quote, frozen=True)
    # What costs nothing is paid for.
    payment_status = "awaiting" if payment else "captured"
    paid = payment["amount"] if payment else 0
    display_id = await db.fetchval(ADD_ORDER, draft_id, order_id, payment_status, paid)
    await db.execute(MOVE_TO_ORDER, cart_id, order_id)
    await db.execute(COMPLETE_DRAFT, draft_id, cart_id, order_id, payment["id"] if payment else None)
    result: Row = {"order_id": order_id, "capture": None}
    if payment:
        await store_payments(db, [payment])
        session, data = new_id("ps"), json_text(payment["data"] or {})
        await db.execute(ADD_SESSION, session, cart_id, SYSTEM_PROVIDER, payment["amount"], data)
        capture = await begin(db, "capture_placed", order_id, {"order_id": order_id, "payment_ids": [payment["id"]]})
        if saga.attempts:
            await let_go(db, capture)  # the resumer has taken the placement, and takes the capture, too
        else:
            result["capture"] = {name: getattr(capture, name) for name in ("id", "kind", "subject", "state", "lease")}
    await emit(db, "draft_order.updated", draft_id, {"id": draft_id, "cart_id": cart_id, "order_id": order_id})
    placed = await placed_data(db, order_id, display_id, quote)
    if any(line["is_giftcard"] for line in quote.lines):
        result["gift_cards"] = placed
    await emit(db, "order.placed", order_id, placed)
    return result


PLACED_FACTS = """
select o.email, o.customer_id, o.currency_code, o.region_id, o.sales_channel_id, o.no_notification, o.total,
    o.draft_order_id, (c.body ->> 'gift_cards_taxable')::boolean as gift_cards_taxable,
    (c.body ->> 'tax_rate')::double precision as region_tax_rate
from orders o left join copies c on c.kind = 'region' and c.id = o.region_id
where o.id = $1
"""


async def placed_data(db: Db, order_id: str, display_id: int, quote: Quote) -> Row:
    """What order.placed says: which discounts were used, and enough to make the gift cards that were sold."""
    return {
        "id": order_id,
        "display_id": display_id,
        **dict(await db.fetchrow(PLACED_FACTS, order_id)),
        "discount_ids": [discount["id"] for discount in quote.discounts],
        "items": [
            {
                name: line[name]
                for name in ("id", "variant_id", "product_id", "quantity", "unit_price", "subtotal", "is_giftcard")
            }
            | {"tax_rate": sum(line["rates"]) if line["rates"] else None, "metadata": line["metadata"]}
            for line in quote.lines
        ],
    }


PLACE_ORDER = (
    Step("price", do=price),
    Step("discounts", do=use_discounts, compensate=unuse_discounts),
    Step("reserve", do=reserve, compensate=release),
    Step("authorize", do=authorize, compensate=void),
    Step("order", commit=place_order),
)


# Steps of capture_placed


async def hold(app: web.Application, saga: Saga) -> Row:
    """Do nothing; but from here on there is no turning back, the order is there."""
    return {}


async def capture(app: web.Application, saga: Saga) -> Row:
    """Capture the payment, or keep why the payments service will not."""
    try:
        reply = await remote.capture(app, saga.key("capture"), saga.state["payment_ids"][0])
    except ApiError as refusal:
        if refusal.status >= 500:
            raise
        return {"payment": None, "refusal": refusal.message}
    return {"payment": reply["payment"]}


async def record_capture(db: Db, saga: Saga) -> Row:
    """Write that the money is here, or emit that the order goes on waiting for it."""
    order_id, outcome = saga.state["order_id"], saga.results["capture"]
    if outcome["payment"] is None:
        no_notification = await db.fetchval(NO_NOTIFICATION, order_id)
        data = {"id": order_id, "reason": outcome["refusal"], "no_notification": no_notification}
        await emit(db, "order.payment_capture_failed", order_id, data)
        return {"captured": False}
    await apply_payments(db, order_id, [outcome["payment"]])
    return {"captured": True}


CAPTURE_PLACED = (
    Step("hold", do=hold, no_return=True),
    Step("capture", do=capture),
    Step("record", commit=record_capture),
)


# Handler


async def post_pay(request: web.Request, draft_id: str) -> web.Response:
    app = request.app
    async with intention(request) as (db, saga):
        if saga is None:
            await access_draft(db, draft_id, "pay_draft")
            draft = await load_draft(db, draft_id)
            check_payable(draft)
            reserve_now = orders_settings(app).reserve_stock == "on_placement"
            state = intended(draft, actor(request), reserve=reserve_now)
            saga = await begin(db, "place_order", draft_id, state, request)
    placed = await run(app, PLACE_ORDER, saga)
    if placed["capture"] is not None:
        try:
            await run(app, CAPTURE_PLACED, Saga(**placed["capture"]))
        except Unavailable:
            log.warning("placed, not captured yet", order=placed["order_id"])
    if "gift_cards" in placed:
        await remote.notify_gift_cards_sold(app, placed["gift_cards"])
    async with transaction(request) as db:
        return json_bytes(request, await placed_order_json(db, placed["order_id"]))


OPERATIONS = [
    post(
        "/admin/draft-orders/{id}/pay",
        post_pay,
        "Pay a draft order",
        description="Makes the order, with a payment of the whole amount by the provider `system`, which is captured. "
        "Prices are the draft's, taxes those of the moment. Refused with 400 without lines, and where stock is "
        "reserved by itself and there is not enough; with 422 when the draft was paid already.",
        answer=ORDER_ANSWER,
        errors=(NotFound, InvalidData, NotAllowed, Conflict, Duplicate, Unavailable),
        asks_others=True,
    )
]
SAGAS = {"place_order": PLACE_ORDER, "capture_placed": CAPTURE_PLACED}
