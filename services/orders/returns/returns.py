"""Returns: a customer wants to send lines of an order back. What they are worth is settled when it is requested.

A label is priced by the catalog, before the transaction. `receive_now` takes the goods at once: they go into stock and
count as returned, but nothing is refunded and the order's status stays (docs/behaviour/after-sales.md, "Returns").
"""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import tree
from services.chassis.errors import Conflict, Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import listing, post
from services.chassis.outbox import emit
from services.chassis.queries import page
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote, status
from services.orders.fulfillment_providers import answer_of, is_remote, provider
from services.orders.orders.orders import access_order
from services.orders.pricing.lines import METHODS, method_row, store_rows, store_taxes
from services.orders.pricing.quotes import Basket, Row, question, store_copies
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.resources import RETURN
from services.orders.returns.reasons import check_reasons
from services.orders.returns.receipts import (
    count_returned,
    restock,
    return_event,
    returnable_lines,
    stocked,
    unstock,
)
from services.orders.returns.refund_amounts import check_left, once_each, return_refund
from services.orders.totals import MAX_AMOUNT, MAX_QUANTITY, Method


class ReturnItem(Body):
    item_id: Annotated[str, Field(min_length=1)]
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    reason_id: str | None = None
    """A return reason that groups no others."""
    note: str | None = None


class ReturnShipping(Body):
    option_id: str | None = None
    """A shipping option for returns. Left out, there is no label."""
    price: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    """In minor units; left out, that of the option."""


class ReturnBody(Body):
    items: Annotated[list[ReturnItem], Field(min_length=1)]
    """Each line once."""
    return_shipping: ReturnShipping | None = None
    """The label, whose price is taken off what is given back."""
    refund: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None = None
    """What will be given back, in minor units; 0 counts as left out, less as 0. Left out, what the items were sold for,
    less the label."""
    receive_now: bool | None = None
    """Whether the goods are here already: they go into stock and count as returned, but nothing is refunded."""
    note: str | None = None
    """Accepted and not kept; the notes of the items are."""
    no_notification: bool | None = None
    """Whether the customer gets no notification. Left out, the order's own holds."""
    location_id: str | None = None
    """The stock location to which the goods come back."""


# The label

FIND_ORDER = "select id, status, region_id, customer_id, subtotal from orders where id = $1"


async def quote_label(app: web.Application, order: Row, shipping: ReturnShipping) -> Row | None:
    """What the catalog says about the label: its method, with `tax_rates`, and `copies`. Raises what it refuses with.

    What the option asks of a cart is measured against the order.
    """
    if not shipping.option_id:
        return None
    bought = {"id": "order", "variant_id": None, "quantity": 1, "unit_price": order["subtotal"]}
    method = {"id": new_id("sm"), "shipping_option_id": shipping.option_id, "asked_price": shipping.price}
    basket = Basket(order["region_id"], [bought], [method], [], order["customer_id"])
    reply = await remote.price_cart(app, question(basket))
    return {"method": reply["shipping_methods"][0], "copies": reply["copies"]}


def method_of(label: Row) -> Method:
    method = label["method"]
    return Method(method["price"], method["includes_tax"], [rate["rate"] or 0 for rate in method["tax_rates"]])


# Actions

# $1 return, $2 items
WRITE_RETURN = """
with added as (
    insert into returns (
        id, order_id, swap_id, claim_order_id, shipping_data, location_id, refund_amount, no_notification,
        idempotency_key
    )
    select id, order_id, swap_id, claim_order_id, nullif(shipping_data, 'null'), location_id, refund_amount,
        no_notification, idempotency_key
    from jsonb_to_record($1::text::jsonb) as x(
        id text, order_id text, swap_id text, claim_order_id text, shipping_data jsonb, location_id text,
        refund_amount bigint, no_notification boolean, idempotency_key text)
    returning id
)
insert into return_items (return_id, item_id, quantity, requested_quantity, reason_id, note, metadata)
select added.id, x.item_id, x.quantity, x.quantity, x.reason_id, x.note, l.metadata
from added, rows from (jsonb_to_recordset($2::text::jsonb) as (
    item_id text, quantity int, reason_id text, note text
)) with ordinality as x
join line_items l on l.id = x.item_id
order by x.ordinality
"""
RECEIVE_NOW = """
with items as (
    update return_items set received_quantity = quantity where return_id = $1
)
update returns set status = 'received', received_at = now(), updated_at = now() where id = $1
"""


async def plan_return(db: Db, order_id: str, body: ReturnBody, label: Row | None, key: str) -> Row:
    """What is to be written, the order locked. Raises NotFound, NotAllowed, InvalidData, Duplicate or Conflict."""
    order = await access_order(db, order_id, "create_return")
    quantities = once_each((item.item_id, item.quantity) for item in body.items)
    lines = await returnable_lines(db, order_id)
    for item_id, quantity in quantities.items():
        if item_id not in lines:
            raise NotFound(f"This order has no line {item_id}.")
        if order["canceled_at"] is not None:
            raise InvalidData("Nothing of a canceled order can be returned.")
        check_left(item_id, lines[item_id].amounts, quantity)
    await check_reasons(db, (item.reason_id for item in body.items if item.reason_id is not None))
    goods = ((lines[item_id].amounts, quantity) for item_id, quantity in quantities.items())
    worth = return_refund(goods, method_of(label) if label else None)
    return {
        "id": new_id("ret"),
        "order_id": order_id,
        "items": [item.model_dump() for item in body.items],
        "restock": stocked(lines, quantities),
        "label": label and label["method"],
        "shipping_data": {} if label else None,
        "location_id": body.location_id,
        "refund_amount": max(body.refund, 0) if body.refund else worth,
        "no_notification": order["no_notification"] if body.no_notification is None else body.no_notification,
        "idempotency_key": key,
    }


async def write_return(db: Db, plan: Row) -> None:
    """Write the rows; emit the event when it is a return of the order itself. The order is locked, all is checked."""
    await db.execute(
        WRITE_RETURN,
        json_text({name: plan[name] for name in plan if name not in ("items", "label")}),
        json_text(plan["items"]),
    )
    if plan["label"]:
        label = method_row(plan["label"])
        await store_rows(db, METHODS, [label], return_id=plan["id"])
        await store_taxes(db, METHODS, [label], frozen=True)
    if plan["order_id"] is not None and plan.get("claim_order_id") is None:
        event = return_event(plan["order_id"], plan["id"], plan["no_notification"])
        await emit(db, "order.return_requested", plan["order_id"], event)


# A label that is requested from a provider over a network: a step of the saga that makes the return, alone (the saga's
# state is the return then) or as a part of a swap or a claim (`return` in its state).


def is_requested(label: Row | None) -> bool:
    """Whether the label is requested from a provider over a network."""
    return label is not None and is_remote(label["provider_id"])


def return_of(saga: Saga) -> Row | None:
    """The return that the saga makes, if it makes one."""
    plan: Row | None = saga.state.get("return", saga.state)
    return plan


async def request_label(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Asks the provider for a label and returns it, for the return's `shipping_data`; nothing where none is needed."""
    plan = return_of(saga)
    if plan is None or not is_requested(plan["label"]):
        return {}
    provider_id = plan["label"]["provider_id"]
    items = [{name: item[name] for name in ("item_id", "quantity")} for item in plan["items"]]
    requested = {"id": plan["id"], "order": {"id": saga.state["order_id"]}, "items": items, "method": plan["label"]}
    return await answer_of(provider_id, provider(provider_id).create_return(requested, saga.key("label")))


async def cancel_label(app: web.Application, saga: Saga) -> None:
    plan = return_of(saga)
    if plan is not None and is_requested(plan["label"]):
        provider_id, label = plan["label"]["provider_id"], {"id": plan["id"], "data": saga.results.get("label")}
        await answer_of(provider_id, provider(provider_id).cancel_return(label, saga.key("unlabel")))


LABEL = Step("label", do=request_label, compensate=cancel_label)


def labelled(plan: Row, saga: Saga) -> Row:
    """The return as it is to be written, with what the provider answered."""
    return plan | ({"shipping_data": saga.results.get("label") or {}} if plan["label"] else {})


async def check_again(db: Db, saga: Saga, items: list[Row]) -> Row:
    """The order, locked: it may have changed while the label was requested. Raises NotFound, NotAllowed or Conflict."""
    order_id = saga.state["order_id"]
    order: Row = await access_order(db, order_id, "create_return", saga.id)
    status.check_alive(order["status"], "returned")
    lines = await returnable_lines(db, order_id)
    for item in items:
        if item["item_id"] not in lines:
            raise NotFound(f"This order has no line {item['item_id']}.")
        check_left(item["item_id"], lines[item["item_id"]].amounts, item["quantity"])
    return order


# With receive_now, or with such a label: a saga


async def commit_return_now(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again whether the items may come back, and write the return."""
    plan = saga.state
    await check_again(db, saga, plan["items"])
    await write_return(db, labelled(plan, saga))
    if not plan.get("receive_now", True):
        return {"return_id": plan["id"]}
    await db.execute(RECEIVE_NOW, plan["id"])
    await count_returned(db, {item["item_id"]: item["quantity"] for item in plan["items"]})
    event = return_event(plan["order_id"], plan["id"], plan["no_notification"])
    await emit(db, "order.items_returned", plan["order_id"], event)
    return {"return_id": plan["id"]}


RETURN_NOW = (
    Step("restock", do=restock, compensate=unstock),
    LABEL,
    Step("rows", commit=commit_return_now),
)
SAGAS = {"return_now": RETURN_NOW}


# Handlers

FOUND = page(RETURN, {}, limit=50, expand=tree(["items", "order", "swap"]), knows=("limit", "offset"))


async def post_return(request: web.Request, order_id: str, view: OrderView, body: ReturnBody) -> web.Response:
    label, key = None, request.headers[HEADER]
    if body.return_shipping is not None and body.return_shipping.option_id:
        async with reading(request) as db:
            order = await db.fetchrow(FIND_ORDER, order_id)
        if order is None:
            raise NotFound(f"There is no order {order_id}.")
        label = await quote_label(request.app, order, body.return_shipping)
    saga: Saga | None = None
    if body.receive_now or is_requested(label and label["method"]):
        async with intention(request) as (db, saga):
            if saga is None:
                plan = await plan_return(db, order_id, body, label, key)
                await store_copies(db, label["copies"] if label else {})
                state = plan | {"receipt_id": plan["id"], "receive_now": bool(body.receive_now)}
                state |= {} if body.receive_now else {"restock": []}
                saga = await begin(db, "return_now", plan["id"], state, request)
        await run(request.app, RETURN_NOW, saga)
    async with transaction(request) as db:
        if saga is None:
            plan = await plan_return(db, order_id, body, label, key)
            await store_copies(db, label["copies"] if label else {})
            await write_return(db, plan)
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/return",
        post_return,
        "Request a return",
        description="What it will give back is settled now, fulfilled or not, and paid when the return is received. "
        "Refused with 400 for more than can still come back of a line.",
        query=WRITTEN,
        body=ReturnBody,
        example={"items": [{"item_id": "item_01JD0000000000000000000000", "quantity": 1, "note": "too small"}]},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Duplicate, Conflict, Unavailable),
        asks_others=True,
        retry_key=True,
    ),
    listing("/admin/returns", "returns", FOUND, "List returns", description="The newest come first."),
]
