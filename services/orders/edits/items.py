"""The lines of an order edit: added, given another quantity, taken out; and such changes taken back.

Nothing here touches the order. What of a line was fulfilled, shipped or returned cannot be taken away.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, post
from services.chassis.outbox import emit_all
from services.chassis.schemas import deleted
from services.orders.edits.access import check_active
from services.orders.edits.quotes import Edit, Plan, check_unchanged, load_edit, price, store_plan
from services.orders.edits.reads import EDIT_ANSWER, edit_json
from services.orders.pricing.quotes import Row
from services.orders.pricing.rounds import change_priced
from services.orders.totals import MAX_QUANTITY

Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class NewItem(Body):
    variant_id: Annotated[str, Field(min_length=1)]
    """Of a product that the order's region can buy; the line costs what the customer would pay now."""
    quantity: Quantity
    metadata: dict[str, Any] | None = None


class EditItemUpdate(Body):
    quantity: Quantity
    """No less than what of the line was fulfilled, shipped or returned."""


# Plans: what the edit becomes

KNOWN_LINE = "select true from line_items where id = $1"
KNOWN_CHANGE = "select true from order_item_changes where id = $1"


def new_change(type_: str, line_id: str | None, original_id: str | None) -> Row:
    """A change that is not stored yet."""
    return {"id": new_id("oic"), "type": type_, "line_item_id": line_id, "original_line_item_id": original_id}


def with_item(edit: Edit, body: NewItem) -> Plan:
    """The edit with a line of its own for the item, also where it has one of that variant."""
    line: Row = {
        "id": new_id("item"),
        "variant_id": body.variant_id,
        "quantity": body.quantity,
        "unit_price": None,
        "includes_tax": None,
        "returned": 0,
        "tax_lines": [],
        "adjustments": [],
        "discounts": [],
        "metadata": body.metadata or {},
    }
    return Plan([*edit.lines, line], add=[new_change("item_add", line["id"], None)])


def with_quantity(edit: Edit, line_id: str, quantity: int) -> Plan:
    """The edit with another quantity of the line. Raises NotAllowed for less than what has left or come back of it."""
    lines = [line | {"quantity": quantity} if line["id"] == line_id else line for line in edit.lines]
    line = next(line for line in edit.lines if line["id"] == line_id)
    if quantity < line["kept"]:
        raise NotAllowed(f"{line['kept']} of line {line_id} were fulfilled or returned; it cannot be less than that.")
    if edit.change_of(line_id) is not None:
        return Plan(lines)
    return Plan(lines, add=[new_change("item_update", line_id, line["original_item_id"])])


def without_item(edit: Edit, line_id: str) -> Plan:
    """The edit without the line, whatever its quantity was changed to. Raises InvalidData for one that was added,
    NotAllowed for one of which something was fulfilled."""
    line = next(line for line in edit.lines if line["id"] == line_id)
    if line["original_item_id"] is None:
        raise InvalidData(f"Line {line_id} was added by this edit; delete that change instead.")
    if line["kept"]:
        raise NotAllowed(f"{line['kept']} of line {line_id} were fulfilled or returned; it cannot be taken out.")
    updated = edit.change_of(line_id)
    removed = new_change("item_remove", None, line["original_item_id"])
    lines = [other for other in edit.lines if other["id"] != line_id]
    return Plan(lines, add=[removed], drop=[updated["id"]] if updated else [])


def without_change(edit: Edit, change: Row) -> Plan:
    """The edit as if the change had never been made: an added line goes, one that was taken out comes back, a quantity
    is again the order's."""
    line_id, original, drop = change["line_item_id"], change["original"], [change["id"]]
    if change["type"] == "item_add":
        return Plan([line for line in edit.lines if line["id"] != line_id], drop=drop)
    if change["type"] == "item_update":
        quantity = original["quantity"]
        lines = [line | {"quantity": quantity} if line["id"] == line_id else line for line in edit.lines]
        return Plan(lines, drop=drop)
    back = original | {"id": new_id("item"), "original_item_id": original["id"], "copy_of": original["id"]}
    return Plan([*edit.lines, back], drop=drop)


async def check_foreign(db: Db, edit: Edit, line_id: str) -> bool:
    """Whether the edit has the line. Raises InvalidData for a line of something else."""
    if edit.line(line_id) is not None:
        return True
    if await db.fetchval(KNOWN_LINE, line_id):
        raise InvalidData(f"Line {line_id} is not one of this order edit.")
    return False


# Handlers


async def change_edit(
    request: web.Request,
    edit_id: str,
    plan: Callable[[Db, Edit], Awaitable[Plan | None]],
    answer: Callable[[Db, str], Awaitable[str]] = edit_json,
) -> web.Response:
    """Price what `plan` makes of the edit, and store it. Without a plan nothing changes."""

    async def planned(db: Db) -> tuple[Edit, Plan] | str:
        edit = await load_edit(db, edit_id)
        changed = await plan(db, edit)
        return (edit, changed) if changed is not None else await answer(db, edit_id)

    async def quoted(planned: tuple[Edit, Plan]) -> Row | None:
        return await price(request.app, *planned)

    async def store(db: Db, planned: tuple[Edit, Plan], reply: Row | None) -> str:
        edit, plan = planned
        await check_unchanged(db, edit)
        await store_plan(db, edit, plan, reply)
        await emit_changes(db, edit, plan)
        return await answer(db, edit_id)

    busy = "This order edit is being changed by others all the time; try again later."
    return await change_priced(request, plan=planned, quote=quoted, store=store, busy=busy)


async def emit_changes(db: Db, edit: Edit, plan: Plan) -> None:
    """Emit which changes came and went; the names are those that users of Medusa know."""
    of = {"order_edit_id": edit.id, "order_id": edit.order_id}
    await emit_all(db, "order-edit-item-change.DELETED", {id_: {"ids": [id_]} | of for id_ in plan.drop})
    came = {change["id"]: {"id": change["id"], "type": change["type"]} | of for change in plan.add}
    await emit_all(db, "order-edit-item-change.CREATED", came)


async def post_items(request: web.Request, edit_id: str, body: NewItem) -> web.Response:
    async def plan(db: Db, edit: Edit) -> Plan:
        check_active(edit.status, edit.order_status, "changed")
        return with_item(edit, body)

    return await change_edit(request, edit_id, plan)


async def post_item(request: web.Request, edit_id: str, line_id: str, body: EditItemUpdate) -> web.Response:
    async def plan(db: Db, edit: Edit) -> Plan:
        check_active(edit.status, edit.order_status, "changed")
        if not await check_foreign(db, edit, line_id):
            raise NotFound(f"There is no line {line_id}.")
        return with_quantity(edit, line_id, body.quantity)

    return await change_edit(request, edit_id, plan)


async def delete_item(request: web.Request, edit_id: str, line_id: str) -> web.Response:
    """A line that is not there, or no longer, is taken out already."""

    async def plan(db: Db, edit: Edit) -> Plan | None:
        check_active(edit.status, edit.order_status, "changed")
        return without_item(edit, line_id) if await check_foreign(db, edit, line_id) else None

    return await change_edit(request, edit_id, plan)


async def delete_change(request: web.Request, edit_id: str, change_id: str) -> web.Response:
    async def plan(db: Db, edit: Edit) -> Plan:
        change = next((change for change in edit.changes if change["id"] == change_id), None)
        if change is None and await db.fetchval(KNOWN_CHANGE, change_id):
            raise InvalidData(f"{change_id} is not a change of this order edit.")
        if change is None:
            raise NotFound(f"There is no change {change_id}.")
        check_active(edit.status, edit.order_status, "changed")
        return without_change(edit, change)

    async def answer(db: Db, edit_id: str) -> str:
        return json_text({"id": change_id, "object": "item_change", "deleted": True})

    return await change_edit(request, edit_id, plan, answer)


ERRORS = (NotFound, NotAllowed, InvalidData, Conflict, Unavailable)
OPERATIONS = [
    post(
        "/admin/order-edits/{id}/items",
        post_items,
        "Add a line to an order edit",
        description="A line of its own, also where the edit has one of that variant. Discounts are spread over all "
        "lines anew. Refused with 400 once the edit has ended.",
        body=NewItem,
        example={"variant_id": "variant_01HBZ4R8V3A5", "quantity": 1},
        answer=EDIT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
    post(
        "/admin/order-edits/{id}/items/{item_id}",
        post_item,
        "Change the quantity of a line of an order edit",
        description="The line is one of the edit's, not of the order's. Discounts are spread over all lines anew. "
        "Refused with 400 for less than was fulfilled, shipped or returned, and once the edit has ended.",
        body=EditItemUpdate,
        example={"quantity": 3},
        answer=EDIT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
    delete(
        "/admin/order-edits/{id}/items/{item_id}",
        delete_item,
        "Take a line out of an order edit",
        description="Refused with 400 for a line of which something was fulfilled, shipped or returned, for one that "
        "the edit itself added, whose change is deleted instead, and once the edit has ended. One that is not there "
        "is no error.",
        answer=EDIT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
    delete(
        "/admin/order-edits/{id}/changes/{change_id}",
        delete_change,
        "Delete a change of an order edit",
        description="As if it had never been made: a line that was added goes, one that was taken out comes back, a "
        "quantity is the order's again. Refused with 400 once the edit has ended.",
        answer=deleted("item_change"),
        errors=ERRORS,
        asks_others=True,
    ),
]
