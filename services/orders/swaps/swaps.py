"""Swaps: a customer sends goods back and gets others. Staff make a swap, with a return and a cart; the customer
confirms it through the cart (carts.py), and then the difference that is due is settled (payments.py).

The catalog is asked before the transaction: for the prices of what the customer gets, and for the label of the return.
With a label that is requested from a provider over a network, making a swap is a recorded saga.
"""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict, Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import listing, post, showing
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.orders.orders import access_order
from services.orders.pricing import quotes
from services.orders.pricing.quotes import STORE_DISCOUNTS, Basket, Quote, Row, store_copies
from services.orders.reads import ORDER_ANSWER, RETURNABLE_WRITTEN, OrderView, order_json
from services.orders.returns.returns import (
    LABEL,
    ReturnBody,
    ReturnItem,
    ReturnShipping,
    check_again,
    is_requested,
    labelled,
    plan_return,
    quote_label,
    write_return,
)
from services.orders.swaps.carts import add_lines, label_line, new_line, returned_line, store_cart, totalled
from services.orders.swaps.reads import SHOWN_SWAP, SWAP_EXPAND, SWAPS
from services.orders.totals import MAX_AMOUNT, MAX_QUANTITY, Totals

Id = Annotated[str, Field(min_length=1)]
Price = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class SwapAdditionalItem(Body):
    variant_id: Id
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class Label(Body):
    option_id: Id
    """A shipping option for returns."""
    price: Price | None = None
    """In minor units; left out, that of the option."""


class OfferedOption(Body):
    option_id: Id
    price: Price
    """In minor units, whatever the option costs otherwise."""


class SwapBody(Body):
    return_items: Annotated[list[ReturnItem], Field(min_length=1)]
    """What the customer sends back, each line once."""
    additional_items: list[SwapAdditionalItem] | None = None
    """What the customer gets, at the prices that are in force now."""
    return_shipping: Label | None = None
    """The label for what comes back; its price is a line of the swap's cart."""
    custom_shipping_options: list[OfferedOption] | None = None
    """The ways to ship from which the customer chooses. Left out, all those of the region."""
    sales_channel_id: str | None = None
    """In which the new goods are sold. Left out, in the store's own."""
    return_location_id: str | None = None
    """The stock location to which the goods come back."""
    no_notification: bool | None = None
    """Whether the customer gets no notification. Left out, the order's own holds."""
    allow_backorder: bool = True
    """Whether the customer can confirm the swap when the new goods are not in stock."""


# What is known before the transaction

FIND_ORDER = """
select o.id, o.status, o.payment_status, o.fulfillment_status, o.region_id, o.customer_id, o.subtotal,
    array(
        select d.discount_id from order_discounts d
        join copies c on c.kind = 'discount' and c.id = d.discount_id
        where d.order_id = o.id and c.body is not null and c.related -> 'rule' ->> 'type' <> 'free_shipping'
        order by d.position
    ) as discount_ids
from orders o where o.id = $1
"""


def check_swappable(order: Any) -> None:
    """Raises NotAllowed for an order that was not paid, of which nothing was sent, or that was canceled."""
    if order["payment_status"] != "captured":
        raise NotAllowed(
            f"Only what is paid for can be swapped; the payment of this order is {order['payment_status']}."
        )
    if order["fulfillment_status"] == "not_fulfilled":
        raise NotAllowed("Nothing of this order was fulfilled yet; change the order instead of swapping.")


async def check_offer(app: web.Application, region_id: str, body: SwapBody) -> dict[str, list[Row]]:
    """The documents of the shipping options that staff offer, and of the sales channel. Raises NotFound for one that is
    not there, Duplicate, InvalidData for an option of another region or a channel that is closed."""
    option_ids = [option.option_id for option in body.custom_shipping_options or []]
    if len(set(option_ids)) < len(option_ids):
        raise Duplicate("custom_shipping_options: an option is named twice.")
    channel_ids = [] if body.sales_channel_id is None else [body.sales_channel_id]
    named = {"shipping_option": option_ids, "sales_channel": channel_ids}
    if not any(named.values()):
        return {}
    copies: dict[str, list[Row]] = (await remote.documents(app, {k: v for k, v in named.items() if v}))["copies"]
    alive = {
        kind: {d["id"]: d["body"] for d in docs if d["body"] and not d["body"].get("deleted_at")}
        for kind, docs in copies.items()
    }
    for kind, ids in named.items():
        if missing := [id_ for id_ in ids if id_ not in alive.get(kind, {})]:
            raise NotFound(f"There is no {kind.replace('_', ' ')} {', '.join(missing)}.")
    for option_id, option in alive.get("shipping_option", {}).items():
        if option["region_id"] != region_id:
            raise InvalidData(f"Shipping option {option_id} is not of the order's region.")
    for channel_id, channel in alive.get("sales_channel", {}).items():
        if channel["is_disabled"]:
            raise InvalidData(f"Sales channel {channel_id} is disabled.")
    return copies


# Actions

ORIGINALS = """
select l.id, l.title, l.thumbnail, l.variant_id, l.product_id, l.unit_price, l.quantity, l.allow_discounts,
    l.includes_tax, l.metadata,
    coalesce(s.canceled_at, c.canceled_at) is not null as canceled,
    (select coalesce(json_agg(json_build_object('rate', x.rate, 'name', x.name, 'code', x.code) order by x.position),
        '[]') from line_item_tax_lines x where x.item_id = l.id) as tax_lines,
    (select coalesce(json_agg(json_build_object('discount_id', x.discount_id, 'amount', x.amount,
        'description', x.description) order by x.position), '[]')
     from line_item_adjustments x where x.item_id = l.id) as discounts
from line_items l left join swaps s on s.id = l.swap_id left join claims c on c.id = l.claim_order_id
where l.id = any($1::text[])
"""
ORIGINALS_JSON = f"select coalesce(json_agg(o), '[]')::text from ({ORIGINALS}) o"  # noqa: S608 - ours
# $1 swap, $2 order, $3 cart, $4 no_notification, $5 allow_backorder, $6 key, $7 sales channel, $8 the cart's metadata,
# $9 $10 offered options and prices
WRITE_SWAP = """
with cart as (
    insert into carts (
        id, type, email, customer_id, region_id, currency_code, sales_channel_id, billing_address_id,
        shipping_address_id, metadata
    )
    select $3, 'swap', email, customer_id, region_id, currency_code, $7, billing_address_id, shipping_address_id,
        $8::text::jsonb
    from orders where id = $2
), offered as (
    insert into custom_shipping_options (cart_id, shipping_option_id, price)
    select $3, x.id, x.price from unnest($9::text[], $10::bigint[]) as x(id, price)
)
insert into swaps (id, order_id, cart_id, no_notification, allow_backorder, idempotency_key)
values ($1, $2, $3, $4, $5, $6)
"""


async def original_lines(db: Db, ids: list[str]) -> dict[str, Row]:
    """The lines that are to come back, with tax lines and discounts. Raises NotAllowed for those of a canceled swap or
    claim: nobody has them."""
    rows: list[Row] = orjson.loads(await db.fetchval(ORIGINALS_JSON, ids))
    if gone := [row["id"] for row in rows if row["canceled"]]:
        raise NotAllowed(f"{', '.join(gone)} belongs to a swap or a claim that was canceled.")
    return {row["id"]: row for row in rows}


async def plan_swap(
    db: Db,
    order_id: str,
    body: SwapBody,
    quote: Quote,
    label: Row | None,
    copies: dict[str, list[Row]],
    key: str,
) -> Row:
    """What is to be written, the order locked; what the catalog showed is kept. Raises NotFound, NotAllowed,
    InvalidData, Duplicate or Conflict."""
    await store_copies(db, quote.copies)
    await store_copies(db, label["copies"] if label else {})
    await store_copies(db, copies)
    return_body = ReturnBody(
        items=body.return_items, location_id=body.return_location_id, no_notification=body.no_notification
    )
    back = await plan_return(db, order_id, return_body, label, key)
    check_swappable(await access_order(db, order_id, "create_swap"))
    originals = await original_lines(db, [item.item_id for item in body.return_items])
    swap_id = new_id("swap")
    lines = [
        *(line | {"swap_id": swap_id} for line in quote.lines),
        *([label_line(label["method"])] if label else []),
        *(returned_line(originals[item.item_id], item.quantity) for item in body.return_items),
    ]
    lines, _, total = totalled(lines, [], taxed=False)
    return {
        "id": swap_id,
        "order_id": order_id,
        "cart_id": new_id("cart"),
        "no_notification": back["no_notification"],
        "allow_backorder": body.allow_backorder,
        "idempotency_key": key,
        "sales_channel_id": body.sales_channel_id or quote.sales_channel_id,
        "offered": [option.model_dump() for option in body.custom_shipping_options or []],
        "lines": lines,
        "total": asdict(total),
        "discounts": quote.discounts,
        "return": back | {"order_id": None, "swap_id": swap_id, "idempotency_key": None},
    }


async def write_swap(db: Db, plan: Row) -> None:
    """Write the swap with its return and its cart, and emit the event. The order is locked, all is checked."""
    swap_id, order_id, cart_id = plan["id"], plan["order_id"], plan["cart_id"]
    offered, discounts, no_notification = plan["offered"], plan["discounts"], plan["no_notification"]
    await db.execute(
        WRITE_SWAP,
        swap_id,
        order_id,
        cart_id,
        no_notification,
        plan["allow_backorder"],
        plan["idempotency_key"],
        plan["sales_channel_id"],
        json_text({"swap_id": swap_id, "parent_order_id": order_id}),
        [option["option_id"] for option in offered],
        [option["price"] for option in offered],
    )
    await add_lines(db, cart_id, plan["lines"])
    await db.execute(STORE_DISCOUNTS, cart_id, [d["id"] for d in discounts], [d["code"] for d in discounts])
    await store_cart(db, cart_id, plan["lines"], Totals(**plan["total"]))
    await write_return(db, plan["return"])
    await emit(db, "swap.created", swap_id, {"id": swap_id, "order_id": order_id, "no_notification": no_notification})


async def commit_swap(db: Db, saga: Saga) -> Row:
    """Check again whether the items may come back, and write the swap."""
    plan, items = saga.state, saga.state["return"]["items"]
    check_swappable(await check_again(db, saga, items))
    await original_lines(db, [item["item_id"] for item in items])
    await write_swap(db, plan | {"return": labelled(plan["return"], saga)})
    return {"swap_id": plan["id"]}


CREATE_SWAP = (LABEL, Step("rows", commit=commit_swap))
SAGAS = {"create_swap": CREATE_SWAP}


# Handlers


async def post_swap(request: web.Request, order_id: str, view: OrderView, body: SwapBody) -> web.Response:
    app, key = request.app, request.headers[HEADER]
    async with reading(request) as db:
        order = await db.fetchrow(FIND_ORDER, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    check_swappable(order)
    lines = [new_line(item.variant_id, item.quantity) for item in body.additional_items or []]
    basket = Basket(order["region_id"], lines, [], [], order["customer_id"], discount_ids=order["discount_ids"])
    quote = await quotes.ask(app, basket, placing=True)
    label = None
    if body.return_shipping is not None:
        shipping = ReturnShipping(option_id=body.return_shipping.option_id, price=body.return_shipping.price)
        label = await quote_label(app, order, shipping)
    copies = await check_offer(app, order["region_id"], body)
    saga: Saga | None = None
    if is_requested(label and label["method"]):
        async with intention(request) as (db, saga):
            if saga is None:
                plan = await plan_swap(db, order_id, body, quote, label, copies, key)
                saga = await begin(db, "create_swap", plan["id"], plan, request)
        await run(app, CREATE_SWAP, saga)
    async with transaction(request) as db:
        if saga is None:
            await write_swap(db, await plan_swap(db, order_id, body, quote, label, copies, key))
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/swaps",
        post_swap,
        "Create a swap",
        description="Makes the return and the cart of the swap; the customer confirms it through the cart. What comes "
        "back stands in the cart with a negative price, so that the cart's total is the difference that is due; taxes "
        "of the new goods follow when it is confirmed. Refused with 400 unless the order was paid and something of it "
        "was fulfilled.",
        query=RETURNABLE_WRITTEN,
        body=SwapBody,
        example={
            "return_items": [{"item_id": "item_01JD0000000000000000000000", "quantity": 1}],
            "additional_items": [{"variant_id": "variant_01JD0000000000000000000000", "quantity": 1}],
        },
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Duplicate, Conflict, Unavailable),
        asks_others=True,
        retry_key=True,
    ),
    listing("/admin/swaps", "swaps", SWAPS, "List swaps", description="The newest come first."),
    showing(
        "/admin/swaps/{id}",
        "swap",
        SHOWN_SWAP,
        "Get a swap",
        description="With its cart, its return and its order. Until the customer has confirmed it, `difference_due` is "
        "null and the cart's total is the difference.",
        expand=SWAP_EXPAND,
        where="{t}.id = $1 and {t}.deleted_at is null",
    ),
]
