"""Claims: goods were missing, wrong or broken; the customer gets their money back, or other goods.

Making one is a recorded saga: the inventory reserves what will be sent, the fulfillment provider makes the label for
what comes back, the payments service gives the money back, then the rows say so. While it runs no other claim is made
of the order and nothing comes back for it, so what was checked at the start still holds when the money has moved. A
claim that is refused leaves nothing behind, in any service.
"""

import asyncio
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, model_validator

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict, Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.claims.items import ClaimItem, Id, item_rows, write_items
from services.orders.claims.methods import (
    ClaimMethod,
    access_region,
    check_methods,
    existing_ids,
    new_methods,
    quote_methods,
    set_methods,
)
from services.orders.claims.rules import Claimable, check_claimable, check_refundable, payment_status, worth
from services.orders.customers.addresses import AddressBody, add_address
from services.orders.orders.orders import access_order
from services.orders.orders.payment_copies import apply_payments
from services.orders.orders.refunds import REFUNDABLE
from services.orders.pricing import quotes
from services.orders.pricing.lines import LINES, store_rows, store_taxes
from services.orders.pricing.quotes import Basket, Row, store_copies
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.returns.receipts import lines_by_id
from services.orders.returns.refund_amounts import check_left, once_each, return_refund
from services.orders.returns.returns import LABEL, ReturnShipping, labelled, method_of, write_return
from services.orders.settings import orders_settings
from services.orders.totals import MAX_AMOUNT, MAX_QUANTITY


class ClaimAdditionalItem(Body):
    variant_id: Id
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class ClaimBody(Body):
    type: Literal["refund", "replace"]
    """Whether the customer gets money back, or other goods."""
    claim_items: Annotated[list[ClaimItem], Field(min_length=1)]
    return_shipping: ReturnShipping | None = None
    """With it, also an empty one, what is claimed comes back; without it nothing does."""
    additional_items: list[ClaimAdditionalItem] | None = None
    """What the customer gets, at no cost. Needed for `replace`."""
    shipping_methods: list[ClaimMethod] | None = None
    """How the additional items are sent."""
    shipping_address: AddressBody | None = None
    """Where the additional items go. Left out, to the order's address."""
    refund_amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    """In minor units, for `refund` only. Left out, what the claimed lines cost, as far as they were shipped."""
    no_notification: bool | None = None
    """Whether the customer gets no notification. Left out, the order's own holds."""
    return_location_id: str | None = None
    """The stock location to which the goods come back."""
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def of_its_type(self) -> "ClaimBody":
        if self.type == "replace" and not self.additional_items:
            raise ValueError("additional_items: a claim of type replace needs at least one")
        if self.type == "replace" and self.refund_amount:
            raise ValueError("refund_amount: a claim of type replace gives no money back")
        return self


# What the catalog knows


async def ask_catalog(app: web.Application, order: Any, body: ClaimBody) -> Row:
    """What is sent as lines with all totals, the new shipping methods, the return's label (or None), the documents to
    keep, and which variants are counted. Raises what the catalog refuses with."""
    label_id, label = new_id("sm"), body.return_shipping
    new = new_methods(body.shipping_methods)
    if label is not None and label.option_id:
        new.append({"id": label_id, "shipping_option_id": label.option_id, "asked_price": label.price, "data": None})
    lines, (methods, of_methods), of_country = await asyncio.gather(
        quote_lines(app, order, body.additional_items or []),
        quote_methods(app, order, new),
        country_of(app, body.shipping_address),
    )
    priced, of_lines = lines
    copies: dict[str, list[Row]] = {}
    for documents in (of_lines, of_methods, of_country):
        for kind, docs in documents.items():
            copies.setdefault(kind, []).extend(docs)
    counted = [doc["id"] for doc in of_lines.get("variant", []) if (doc["body"] or {}).get("manage_inventory")]
    return {
        "lines": priced,
        "methods": [method for method in methods if method["id"] != label_id],
        "label": next((method for method in methods if method["id"] == label_id), None),
        "copies": copies,
        "counted": counted,
    }


async def quote_lines(
    app: web.Application, order: Any, items: list[ClaimAdditionalItem]
) -> tuple[list[Row], dict[str, list[Row]]]:
    """(lines, documents). They cost what anybody would pay in the order's region, and are taxed, but not discounted."""
    if not items:
        return [], {}
    lines: list[Row] = [
        {
            "id": new_id("item"),
            "variant_id": item.variant_id,
            "quantity": item.quantity,
            "unit_price": None,
            "includes_tax": None,
            "has_shipping": None,
        }
        for item in items
    ]
    quote = await quotes.ask(app, Basket(order["region_id"], lines, [], []), placing=True)
    return quote.lines, quote.copies


async def country_of(app: web.Application, address: AddressBody | None) -> dict[str, list[Row]]:
    """The document of the address's country, which need not be of the order's region. Raises NotFound."""
    if address is None or address.country_code is None:
        return {}
    code = address.country_code.lower()
    copies: dict[str, list[Row]] = (await remote.documents(app, {"country": [code]}))["copies"]
    if not copies.get("country"):
        raise NotFound(f"shipping_address: there is no country {address.country_code}.")
    return copies


# Planning

COUNTERS = """
select l.id, coalesce(l.fulfilled_quantity, 0) as fulfilled, coalesce(l.shipped_quantity, 0) as shipped,
    coalesce(o.canceled_at, s.canceled_at, c.canceled_at) is not null as canceled
from line_items l
left join swaps s on s.id = l.swap_id
left join claims c on c.id = l.claim_order_id
join orders o on o.id = coalesce(l.order_id, s.order_id, c.order_id)
where l.id = any($2::text[]) and o.id = $1 and not l.is_return
"""


async def claimable_lines(db: Db, order_id: str, ids: list[str]) -> dict[str, Claimable]:
    """Those of the lines that are of this order, of its swaps or of its claims."""
    counters = await db.fetch(COUNTERS, order_id, ids)
    lines = await lines_by_id(db, [row["id"] for row in counters])
    return {
        row["id"]: Claimable(variant_id=lines[row["id"]].variant_id, amounts=lines[row["id"]].amounts, **dict(row))
        for row in counters
    }


async def plan_claim(db: Db, order_id: str, body: ClaimBody, quoted: Row, key: str) -> Row:
    """What is to be written, the order locked. Raises NotFound, NotAllowed, InvalidData, Duplicate or Conflict."""
    order = await access_order(db, order_id, "create_claim")
    items = [(item.item_id, item.quantity) for item in body.claim_items]
    lines = await claimable_lines(db, order_id, [item_id for item_id, _ in items])
    check_claimable(lines, items)
    await check_methods(db, order_id, existing_ids(body.shipping_methods))
    claim_id, refund = new_id("claim"), body.refund_amount
    if body.type == "refund" and refund is None:
        refund = worth(lines, items)
    payment_ids = [row["id"] for row in await db.fetch(REFUNDABLE, order_id)] if refund else []
    check_refundable(refund or 0, order["refundable_amount"], len(payment_ids))
    plan: Row = {
        "order_id": order_id,
        "claim_id": claim_id,
        "sales_channel_id": order["sales_channel_id"],
        "type": body.type,
        "refund_amount": refund,
        "amount": refund or 0,
        "reason": "claim",
        "note": None,
        "payment_ids": payment_ids,
        "no_notification": order["no_notification"] if body.no_notification is None else body.no_notification,
        "metadata": body.metadata,
        "idempotency_key": key,
        "address": body.shipping_address and body.shipping_address.model_dump(),
        "items": item_rows(body.claim_items, {id_: line.variant_id for id_, line in lines.items()}),
        "lines": quoted["lines"],
        "linked": existing_ids(body.shipping_methods),
        "methods": quoted["methods"],
        "reserve": [
            {"line_item_id": line["id"], "variant_id": line["variant_id"], "quantity": line["quantity"]}
            for line in quoted["lines"]
            if line["variant_id"] in quoted["counted"]
        ],
    }
    if plan["address"] and plan["address"]["country_code"]:
        plan["address"]["country_code"] = plan["address"]["country_code"].lower()
    return plan | {"return": body.return_shipping and plan_return(plan, lines, items, body, quoted["label"])}


def plan_return(
    plan: Row, lines: dict[str, Claimable], items: list[tuple[str, int]], body: ClaimBody, label: Row | None
) -> Row:
    """What comes back, to be written with the claim. It is worth what the claim gives back, label included, or else the
    goods less the label. Raises Duplicate or NotAllowed."""
    back = once_each(items)
    for item_id, quantity in back.items():
        check_left(item_id, lines[item_id].amounts, quantity)
    value = plan["refund_amount"]
    if value is None:
        goods = ((lines[item_id].amounts, quantity) for item_id, quantity in back.items())
        value = return_refund(goods, method_of({"method": label}) if label else None)
    return {
        "id": new_id("ret"),
        "order_id": plan["order_id"],
        "claim_order_id": plan["claim_id"],
        "items": [{"item_id": item_id, "quantity": quantity} for item_id, quantity in back.items()],
        "label": label,
        "shipping_data": {} if label else None,
        "location_id": body.return_location_id,
        "refund_amount": value,
        "no_notification": plan["no_notification"],
    }


# Steps


async def reserve(app: web.Application, saga: Saga) -> Row:
    """Reserve what will be sent, all or nothing; in an installation that reserves by hand also what is not there."""
    state = saga.state
    if state["reserve"]:
        reservation = {
            "order_id": state["order_id"],
            "sales_channel_id": state["sales_channel_id"],
            "created_by": state["user_id"],
            "items": state["reserve"],
            "mode": "placement" if state["reserve_stock"] == "on_placement" else "claim",
        }
        await remote.reserve(app, saga.key("reserve"), reservation)
    return {}


async def release(app: web.Application, saga: Saga) -> None:
    await remote.compensate_reserve(app, saga, saga.state["reserve"])


async def refund_payments(app: web.Application, saga: Saga) -> Row:
    """Refund the amount. The payments service refuses when another refund was faster: then there is no claim."""
    if not saga.state["amount"]:
        return {}
    refund = {name: saga.state[name] for name in ("order_id", "payment_ids", "amount", "reason", "note")}
    return await remote.refund(app, saga.key("refund"), refund)


ADD_CLAIM = """
insert into claims (
    id, order_id, type, payment_status, refund_amount, shipping_address_id, no_notification, metadata, idempotency_key
)
select claim_id, order_id, type, $2, refund_amount, $3, no_notification, nullif(metadata, 'null'), idempotency_key
from jsonb_to_record($1::text::jsonb) as x(
    claim_id text, order_id text, type text, refund_amount bigint, no_notification boolean, metadata jsonb,
    idempotency_key text)
"""


async def commit_claim(db: Db, saga: Saga) -> Row:
    """Nothing is checked here: the money has moved, and what was checked could not change meanwhile."""
    state, reply = saga.state, saga.results["refund"]
    order_id, claim_id, no_notification = state["order_id"], state["claim_id"], state["no_notification"]
    order = await access_order(db, order_id, "end_saga")
    address_id = await add_address(db, state["address"]) if state["address"] else order["shipping_address_id"]
    fields = ("claim_id", "order_id", "type", "refund_amount", "no_notification", "metadata", "idempotency_key")
    status = payment_status(state["type"], paid_back=True)
    await db.execute(ADD_CLAIM, json_text({name: state[name] for name in fields}), status, address_id)
    if state["lines"]:
        await store_rows(db, LINES, state["lines"], claim_order_id=claim_id)
        await store_taxes(db, LINES, state["lines"], frozen=True)
    await set_methods(db, claim_id, state["linked"], state["methods"])
    await write_items(db, claim_id, state["items"])
    if state["return"] is not None:
        await write_return(db, labelled(state["return"], saga))
    event = {"id": claim_id, "order_id": order_id, "no_notification": no_notification}
    await emit(db, "claim.created", claim_id, event | {"type": state["type"]})
    if state["type"] == "refund":
        await emit(db, "claim.refund_processed", claim_id, event | {"amount": state["amount"]})
    if "refund" in reply:
        await apply_payments(db, order_id, reply["payments"], reply["refund"], no_notification)
    return {"claim_id": claim_id}


CREATE_CLAIM = (
    Step("reserve", do=reserve, compensate=release),
    LABEL,
    Step("refund", do=refund_payments, no_return=True),
    Step("rows", commit=commit_claim),
)
SAGAS = {"create_claim": CREATE_CLAIM}


# Handlers


async def post_claims(request: web.Request, order_id: str, view: OrderView, body: ClaimBody) -> web.Response:
    async with reading(request) as db:
        order = await access_region(db, order_id)
    quoted = await ask_catalog(request.app, order, body)
    async with intention(request) as (db, saga):
        if saga is None:
            plan = await plan_claim(db, order_id, body, quoted, request.headers[HEADER])
            await store_copies(db, quoted["copies"])
            who = {"user_id": actor(request), "reserve_stock": orders_settings(request.app).reserve_stock}
            saga = await begin(db, "create_claim", plan["claim_id"], plan | who, request)
    await run(request.app, CREATE_CLAIM, saga)
    async with transaction(request) as db:
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/claims",
        post_claims,
        "Create a claim",
        description="A claim of type `refund` gives the money back at once; one of type `replace` reserves what it "
        "sends, which is fulfilled next. Lines of the order, of its swaps and of its claims can be claimed, as far as "
        "they were fulfilled; custom lines cannot. Refused with 400 for more money than can be refunded, and when the "
        "stock does not suffice. A claim that is refused leaves nothing behind.",
        query=WRITTEN,
        body=ClaimBody,
        example={
            "type": "replace",
            "claim_items": [
                {"item_id": "item_01JD0000000000000000000000", "quantity": 1, "reason": "wrong_item", "tags": ["size"]}
            ],
            "additional_items": [{"variant_id": "variant_01JD0000000000000000000000", "quantity": 1}],
            "return_shipping": {},
        },
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Duplicate, Conflict, Unavailable),
        asks_others=True,
        retry_key=True,
    )
]
