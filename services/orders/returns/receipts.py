"""Goods that come back: a return is received, once, or canceled.

Receiving is a recorded saga: the inventory puts the goods into stock, the payments service gives the money back, then
the rows say so. While it runs nothing else comes back for the order, so what was checked at the start still holds when
the money has moved. Without enough money left the goods count as returned and the order asks for action.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.embed import Selection, one_json, tree
from services.chassis.errors import ApiError, Conflict, Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.chassis.schemas import Rows
from services.orders import remote
from services.orders.orders.orders import access_order
from services.orders.orders.payment_copies import apply_payments
from services.orders.orders.refunds import REFUNDABLE
from services.orders.reads import RETURNED_ORDER_ANSWER, returned_order_json
from services.orders.resources import RETURN
from services.orders.returns.refund_amounts import Received, after_return, once_each, received_lines
from services.orders.totals import MAX_AMOUNT, MAX_QUANTITY, Line, refundable


class ReceivedItem(Body):
    item_id: Annotated[str, Field(min_length=1)]
    quantity: Annotated[int, Field(ge=0, le=MAX_QUANTITY)]


class ReceiveBody(Body):
    items: list[ReceivedItem]
    """What came back, each line once; also what nobody had requested."""
    refund: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None = None
    """What is given back, in minor units; less than 0 counts as 0. Left out, what the return says."""
    location_id: str | None = None
    """The stock location that takes the goods. Left out, that of the return."""


@dataclass(frozen=True)
class ReturnLine:
    """A line of an order, of its swaps or its claims."""

    id: str
    variant_id: str | None
    amounts: Line


# Access

FIND_ORDER = """
select coalesce(r.order_id, s.order_id, c.order_id) as order_id
from returns r left join swaps s on s.id = r.swap_id left join claims c on c.id = r.claim_order_id
where r.id = $1
"""
RETURN_ROW = """
select id, order_id, swap_id, claim_order_id, status, location_id, refund_amount, no_notification
from returns where id = $1
"""
LINES = """
select l.id, l.variant_id, l.unit_price, l.quantity, l.includes_tax, coalesce(l.returned_quantity, 0) as returned,
    array(select x.rate from line_item_tax_lines x where x.item_id = l.id order by x.position) as rates,
    array(select x.amount from line_item_adjustments x where x.item_id = l.id order by x.position) as adjustments
from line_items l where l.id = any($1::text[])
"""
# Also what its swaps and claims have sent.
RETURNABLE_IDS = """
select id from line_items where order_id = $1
union all
select l.id from swaps s join line_items l on l.swap_id = s.id where s.order_id = $1 and not l.is_return
union all
select l.id from claims c join line_items l on l.claim_order_id = c.id where c.order_id = $1
"""
REQUESTED = "select item_id, requested_quantity from return_items where return_id = $1 order by position"


async def access_return(db: Db, return_id: str, operation: str) -> tuple[Any, Any]:
    """The return, and the order that it is about, which is locked. Raises NotFound, and Conflict while a saga that
    the operation waits for is under way (orders.access_order)."""
    order_id = await db.fetchval(FIND_ORDER, return_id)
    if order_id is None:
        raise NotFound(f"There is no return {return_id}.")
    order = await access_order(db, order_id, operation)
    return await db.fetchrow(RETURN_ROW, return_id), order


async def returnable_lines(db: Db, order_id: str) -> dict[str, ReturnLine]:
    """All that can come back for an order."""
    return await lines_by_id(db, [row["id"] for row in await db.fetch(RETURNABLE_IDS, order_id)])


async def lines_by_id(db: Db, ids: list[str]) -> dict[str, ReturnLine]:
    rows: list[asyncpg.Record] = await db.fetch(LINES, ids)
    return {
        row["id"]: ReturnLine(
            row["id"],
            row["variant_id"],
            Line(
                row["unit_price"],
                row["quantity"],
                row["includes_tax"],
                row["rates"],
                row["adjustments"],
                row["returned"],
            ),
        )
        for row in rows
    }


# Putting goods back into stock


def stocked(lines: Mapping[str, ReturnLine], quantities: Mapping[str, int]) -> list[dict[str, Any]]:
    """The items for the inventory to take: it knows which variants are counted. Custom lines have none."""
    return [
        {"line_item_id": item_id, "variant_id": lines[item_id].variant_id, "quantity": quantity}
        for item_id, quantity in quantities.items()
        if quantity > 0 and lines[item_id].variant_id is not None
    ]


async def restock(app: web.Application, saga: Saga) -> dict[str, Any]:
    state = saga.state
    if state["restock"]:
        await remote.restock(app, saga.key("restock"), state["receipt_id"], state["location_id"], state["restock"])
    return {}


async def unstock(app: web.Application, saga: Saga) -> None:
    if saga.state["restock"]:
        await remote.compensate_restock(app, saga.key("unstock"), saga.state["receipt_id"], saga.key("restock"))


# Actions

# $1 return, $2 what was received, $3 refund, $4 location
RECEIVE = """
with received as (
    select * from rows from (jsonb_to_recordset($2::text::jsonb) as (
        item_id text, quantity int, as_requested boolean
    )) with ordinality as x
), known as (
    update return_items i set quantity = received.quantity, received_quantity = received.quantity,
        is_requested = received.as_requested
    from received where i.return_id = $1 and i.item_id = received.item_id
    returning i.item_id
), more as (
    insert into return_items (return_id, item_id, quantity, received_quantity, is_requested, metadata)
    select $1, received.item_id, received.quantity, received.quantity, false, l.metadata
    from received join line_items l on l.id = received.item_id
    where received.item_id not in (select item_id from return_items where return_id = $1)
    order by received.ordinality
)
update returns set status = 'received', received_at = now(), updated_at = now(), refund_amount = $3, location_id = $4
where id = $1
"""
# $1 what came back and what the rest of each line is worth
COUNT_RETURNED = """
update line_items l set
    returned_quantity = coalesce(l.returned_quantity, 0) + x.quantity, refundable = x.refundable, updated_at = now()
from jsonb_to_recordset($1::text::jsonb) as x(item_id text, quantity int, refundable bigint)
where l.id = x.item_id
"""
COUNTERS = "select quantity, coalesce(returned_quantity, 0) as returned from line_items where order_id = $1"
SET_STATUS = "update orders set fulfillment_status = $2, updated_at = now() where id = $1"
CANCEL_RETURN = (
    "update returns set status = 'canceled', updated_at = now() where id = $1 and status <> 'canceled' returning id"
)


def check_receivable(return_: Mapping[str, Any]) -> None:
    """Raises NotAllowed for a return that was received or canceled."""
    if return_["status"] == "canceled":
        raise NotAllowed("A canceled return cannot be received.")
    if return_["status"] == "received":
        raise NotAllowed("This return was received already.")


async def plan_receipt(db: Db, return_id: str, body: ReceiveBody) -> dict[str, Any]:
    """The state of a saga that receives, the order locked. Raises NotFound, NotAllowed, InvalidData or Conflict."""
    return_, order = await access_return(db, return_id, "receive_return")
    check_receivable(return_)
    if not body.items:
        raise InvalidData("items: name what came back; cancel a return of which nothing comes.")
    lines = await returnable_lines(db, order["id"])
    requested = {row["item_id"]: row["requested_quantity"] for row in await db.fetch(REQUESTED, return_id)}
    quantities = once_each((item.item_id, item.quantity) for item in body.items)
    received = received_lines({id_: line.amounts for id_, line in lines.items()}, requested, quantities)
    refund = max(return_["refund_amount"] if body.refund is None else body.refund, 0)
    # What comes back for a swap is paid for by the swap.
    amount = refund if return_["order_id"] is not None else 0
    payment_ids = [row["id"] for row in await db.fetch(REFUNDABLE, order["id"])] if amount else []
    enough = amount <= order["refundable_amount"] and bool(payment_ids)
    return {
        "return_id": return_id,
        "order_id": order["id"],
        "receipt_id": new_id("rcpt"),
        "items": [asdict(item) for item in received],
        "restock": stocked(lines, quantities),
        "location_id": body.location_id or return_["location_id"],
        "refund": refund,
        "amount": amount if enough else 0,
        "action_required": amount > 0 and not enough,
        "payment_ids": payment_ids,
        "reason": "return",
        "note": None,
        "no_notification": no_notification_of(return_, order),
    }


def no_notification_of(return_: Mapping[str, Any], order: Mapping[str, Any]) -> bool | None:
    """The return's no_notification, or else the order's."""
    no_notification: bool | None = return_["no_notification"]
    return order["no_notification"] if no_notification is None else no_notification


async def refund_payments(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Refund the amount. Another refund may have been faster: then there is not enough left, which is no reason to
    refuse the goods."""
    if not saga.state["amount"]:
        return {}
    refund = {name: saga.state[name] for name in ("order_id", "payment_ids", "amount", "reason", "note")}
    try:
        return await remote.refund(app, saga.key("refund"), refund)
    except ApiError as error:
        if error.type != "not_allowed":
            raise
        return {"refused": error.message}


async def commit_receipt(db: Db, saga: Saga) -> dict[str, Any]:
    """Nothing is checked here: the money has moved, and nothing else could come back meanwhile."""
    state, reply = saga.state, saga.results["refund"]
    order_id, no_notification = state["order_id"], state["no_notification"]
    await access_order(db, order_id, "end_saga")
    return_ = await db.fetchrow(RETURN_ROW, state["return_id"])
    received = [Received(**item) for item in state["items"]]
    rows = [
        {"item_id": item.item_id, "quantity": item.quantity, "as_requested": item.as_requested} for item in received
    ]
    await db.execute(RECEIVE, return_["id"], json_text(rows), state["refund"], state["location_id"])
    await count_returned(db, {item.item_id: item.quantity for item in received})
    if return_["order_id"] is not None:
        action = state["action_required"] or "refused" in reply
        counters = [(row["quantity"], row["returned"]) for row in await db.fetch(COUNTERS, order_id)]
        await db.execute(SET_STATUS, order_id, "requires_action" if action else after_return(counters))
        name = "order.return_action_required" if action else "order.items_returned"
        await emit(db, name, order_id, return_event(order_id, return_["id"], no_notification))
    if return_["swap_id"] is not None:
        data = {"id": return_["swap_id"], "order_id": order_id}
        data |= {"return_id": return_["id"], "no_notification": no_notification}
        await emit(db, "swap.received", return_["swap_id"], data)
    if "refund" in reply:
        await apply_payments(db, order_id, reply["payments"], reply["refund"], no_notification)
    return {}


async def count_returned(db: Db, quantities: Mapping[str, int]) -> None:
    """Count these quantities as returned; what is left of their lines can still be refunded."""
    rows, lines = [], await lines_by_id(db, list(quantities))
    for item_id, quantity in quantities.items():
        line = lines[item_id].amounts
        left = max(line.quantity - line.returned - quantity, 0)
        rows.append({"item_id": item_id, "quantity": quantity, "refundable": refundable(line, left)})
    await db.execute(COUNT_RETURNED, json_text(rows))


def return_event(order_id: str, return_id: str, no_notification: bool | None) -> dict[str, Any]:
    return {"id": order_id, "return_id": return_id, "no_notification": no_notification}


async def cancel_return(db: Db, return_id: str) -> str:
    """Cancel the return, once, and return the id of its order. Raises NotFound, NotAllowed, Conflict."""
    return_, order = await access_return(db, return_id, "cancel_return")
    if return_["status"] == "received":
        raise NotAllowed("A return that was received cannot be canceled.")
    if await db.fetchval(CANCEL_RETURN, return_id):
        event = return_event(order["id"], return_id, no_notification_of(return_, order))
        await emit(db, "order.return_canceled", order["id"], event)
    order_id: str = order["id"]
    return order_id


RECEIVE_RETURN = (
    Step("restock", do=restock, compensate=unstock),
    Step("refund", do=refund_payments, no_return=True),
    Step("rows", commit=commit_receipt),
)
SAGAS = {"receive_return": RECEIVE_RETURN}


# Handlers

RECEIVED = Selection(tuple(RETURN.columns), tree(["items", "swap"]))


async def post_receipt(request: web.Request, return_id: str, body: ReceiveBody) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None:
            state = await plan_receipt(db, return_id, body)
            saga = await begin(db, "receive_return", return_id, state, request)
    await run(request.app, RECEIVE_RETURN, saga)
    async with transaction(request) as db:
        text = await one_json(db, RETURN, RECEIVED, "{t}.id = $1", return_id)
        return json_bytes(request, f'{{"return":{text}}}')


async def post_cancel(db: Db, return_id: str) -> str:
    return await returned_order_json(db, await cancel_return(db, return_id))


OPERATIONS = [
    post(
        "/admin/returns/{id}/receive",
        post_receipt,
        "Receive a return",
        description="The goods go into stock and the money is refunded; what comes back for a swap is paid for by the "
        "swap. When more is to be given back than is left, the goods count as returned all the same, nothing is "
        "refunded, and the order's fulfillment status is `requires_action`. Refused with 400 for a return that was "
        "received or canceled.",
        body=ReceiveBody,
        example={"items": [{"item_id": "item_01JD0000000000000000000000", "quantity": 1}]},
        answer={"return": Rows((RETURN,), RECEIVED.tree)},
        errors=(NotFound, NotAllowed, InvalidData, Duplicate, Conflict, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/returns/{id}/cancel",
        post_cancel,
        "Cancel a return",
        description="The answer is the order without its totals. Refused with 400 once it was received. Canceling "
        "again changes nothing.",
        answer=RETURNED_ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
]
