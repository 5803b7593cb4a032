"""Confirming an order edit: its lines take the place of the order's.

A recorded saga. The inventory reserves what is more, all or nothing, in an installation that reserves when orders are
placed; then one transaction replaces the lines. What was reserved for the old lines follows in a saga of its own,
begun in that transaction and tried until it is done: it moves to the lines that took their place, as far as these need
it, and the rest is released. Until then nothing else is done to the order (concurrency.py). An installation that
reserves by hand only releases it, and nobody waits for that.

Counters, fulfillments, returns and claims follow the lines, so that each fulfillment is of lines that the order has.
Money and statuses stay as they are (docs/behaviour/after-sales.md, "Order edits").
"""

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import actor, json_bytes
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.saga_rows import let_go
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.edits.access import access_edit, check_active
from services.orders.edits.reads import EDIT_ANSWER, edit_json
from services.orders.edits.rules import Counters, Successor, check_replaceable, moves, needed
from services.orders.orders.orders import check_free
from services.orders.pricing.amounts import recompute_order
from services.orders.settings import orders_settings

log = structlog.get_logger()

LINES_OF_ORDER = """
select id, variant_id, quantity, coalesce(fulfilled_quantity, 0) as fulfilled,
    coalesce(greatest(fulfilled_quantity, shipped_quantity, returned_quantity), 0) as kept
from line_items where order_id = $1 order by created_at, position
"""
LINES_OF_EDIT = """
select id, variant_id, quantity, original_item_id as original
from line_items where order_edit_id = $1 order by created_at, position
"""
# $1 order, $2 edit
REPLACE_LINES = """
with successors as (
    select n.id, o.id as original, o.fulfilled_quantity, o.shipped_quantity, o.returned_quantity
    from line_items n left join line_items o on o.id = n.original_item_id where n.order_edit_id = $2
), gone as (
    update line_items set order_id = null, updated_at = now() where order_id = $1
), come as (
    update line_items l set order_id = $1, fulfilled_quantity = s.fulfilled_quantity,
        shipped_quantity = s.shipped_quantity, returned_quantity = s.returned_quantity, updated_at = now()
    from successors s where l.id = s.id
), fulfilled as (
    update fulfillment_items i set item_id = s.id from successors s where i.item_id = s.original
), returned as (
    update return_items i set item_id = s.id from successors s where i.item_id = s.original
)
update claim_items i set item_id = s.id from successors s where i.item_id = s.original
"""
CONFIRM_ROW = "update order_edits set confirmed_at = now(), confirmed_by = $2, updated_at = now() where id = $1"


async def access_confirmable(db: Db, edit_id: str, saga_id: str = "") -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The edit, and its order, which is locked. Raises NotFound, NotAllowed, and Conflict while anything is at work on
    the order's lines."""
    edit, order = await access_edit(db, edit_id, "confirm_edit", saga_id)
    if edit["status"] == "confirmed":
        return edit, order
    check_active(edit["status"], order["status"], "confirmed")
    await check_free(db, order["id"], "replace_lines", saga_id)
    return edit, order


async def read_lines(db: Db, order_id: str, edit_id: str) -> tuple[list[Counters], list[Successor]]:
    """The order's lines, and those that take their place. Raises NotAllowed when they cannot."""
    lines = [Counters(**row) for row in await db.fetch(LINES_OF_ORDER, order_id)]
    successors = [Successor(**row) for row in await db.fetch(LINES_OF_EDIT, edit_id)]
    check_replaceable(lines, successors)
    return lines, successors


async def plan_confirm(db: Db, edit_id: str, user_id: str, *, reserve: bool) -> dict[str, Any] | None:
    """The state of a saga that confirms; None when it was confirmed. Raises NotFound, NotAllowed or Conflict."""
    edit, order = await access_confirmable(db, edit_id)
    if edit["status"] == "confirmed":
        return None
    lines, successors = await read_lines(db, order["id"], edit_id)
    return {
        "order_id": order["id"],
        "edit_id": edit_id,
        "user_id": user_id,
        "sales_channel_id": order["sales_channel_id"],
        "keep": reserve,
        "reserve": needed(lines, successors) if reserve else [],
    }


# Steps of confirm_edit


async def reserve(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Reserve stock for what is more. The inventory knows which variants are counted."""
    state = saga.state
    if state["reserve"]:
        reservations = {
            "order_id": state["order_id"],
            "sales_channel_id": state["sales_channel_id"],
            "created_by": state["user_id"],
            "items": state["reserve"],
        }
        await remote.reserve(app, saga.key("reserve"), reservations)
    return {}


async def release(app: web.Application, saga: Saga) -> None:
    await remote.compensate_reserve(app, saga, saga.state["reserve"])


async def commit_confirm(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again, for the order may have been canceled or fulfilled meanwhile, and replace its lines."""
    state, result = saga.state, dict[str, Any](stock=None)
    order_id, edit_id = state["order_id"], state["edit_id"]
    await access_confirmable(db, edit_id, saga.id)
    lines, successors = await read_lines(db, order_id, edit_id)
    await db.execute(REPLACE_LINES, order_id, edit_id)
    await recompute_order(db, order_id)
    await db.execute(CONFIRM_ROW, edit_id, state["user_id"])
    follow = moves(lines, successors, keep=state["keep"])
    if follow:
        kind = "settle_edit" if state["keep"] else "clear_edit"
        stock = await begin(db, kind, edit_id, {"order_id": order_id, "moves": follow})
        if saga.attempts:
            await let_go(db, stock)  # the resumer has taken the confirmation, and takes the stock, too
        else:
            result["stock"] = {name: getattr(stock, name) for name in ("id", "kind", "subject", "state", "lease")}
    await emit(db, "order-edit.confirmed", edit_id, {"id": edit_id, "order_id": order_id})
    return result


CONFIRM_EDIT = (Step("reserve", do=reserve, compensate=release), Step("rows", commit=commit_confirm))


# Steps of settle_edit and clear_edit


async def hold(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Do nothing; but from here on there is no turning back, the lines are there."""
    return {}


async def move_reservations(app: web.Application, saga: Saga) -> dict[str, Any]:
    state = saga.state
    return await remote.move_reservations(app, saga.key("stock"), state["order_id"], state["moves"])


async def commit_stock(db: Db, saga: Saga) -> dict[str, Any]:
    """Do nothing: the stock is where the lines are, and nothing here says where that is."""
    return {}


SETTLE_EDIT = (
    Step("hold", do=hold, no_return=True),
    Step("stock", do=move_reservations),
    Step("end", commit=commit_stock),
)
SAGAS = {"confirm_edit": CONFIRM_EDIT, "settle_edit": SETTLE_EDIT, "clear_edit": SETTLE_EDIT}


# Handler


async def post_confirm(request: web.Request, edit_id: str) -> web.Response:
    app = request.app
    async with intention(request) as (db, saga):
        if saga is None:
            on_placement = orders_settings(app).reserve_stock == "on_placement"
            state = await plan_confirm(db, edit_id, actor(request), reserve=on_placement)
            if state is not None:
                saga = await begin(db, "confirm_edit", edit_id, state, request)
    if saga is not None:
        confirmed = await run(app, CONFIRM_EDIT, saga)
        if confirmed["stock"] is not None:
            try:
                await run(app, SETTLE_EDIT, Saga(**confirmed["stock"]))
            except Unavailable:
                log.warning("confirmed, the stock has not followed yet", edit=edit_id)
    async with transaction(request) as db:
        return json_bytes(request, await edit_json(db, edit_id))


OPERATIONS = [
    post(
        "/admin/order-edits/{id}/confirm",
        post_confirm,
        "Confirm an order edit",
        description="Its lines take the place of the order's, and totals and reserved stock follow; payments and "
        "statuses do not, and nothing is refunded. Needs no request and no payment. Refused with 400 where stock is "
        "reserved by itself and there is not enough of it, and with 409 while something else is at work on the order.",
        answer=EDIT_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
