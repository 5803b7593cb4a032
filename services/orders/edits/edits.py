"""/admin/order-edits: begin, find, read, note, cancel and delete an edit of an order.

An edit has copies of the order's lines, to be changed (items.py), requested (requests.py) and put in their
place (confirmations.py). An order has one edit at a time that is not over. All of it happens under the lock of the
order.
"""

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import deletion, listing, post, showing
from services.chassis.outbox import emit
from services.orders import status
from services.orders.edits.access import access_edit
from services.orders.edits.reads import EDIT, EDIT_ANSWER, EDIT_SHOWN, EDITS_LISTED, edit_json
from services.orders.orders.orders import access_order
from services.orders.pricing.lines import copy_lines


class EditBody(Body):
    order_id: str
    internal_note: str | None = None
    """For staff."""
    created_by: str | None = None
    """Understood, and changes nothing: it is who asks."""


class EditUpdate(Body):
    internal_note: str | None = None
    """For staff; null takes it away."""


# Actions

ACTIVE_EDIT = """
select id from order_edits
where order_id = $1 and confirmed_at is null and canceled_at is null and declined_at is null
"""
# $1 edit, $2 order, $3 note, $4 who
ADD_EDIT = """
insert into order_edits (id, order_id, internal_note, created_by, subtotal, discount_total, item_tax_total)
select $1, id, $3, $4, subtotal, discount_total, item_tax_total from orders where id = $2
"""
UPDATE_NOTE = "update order_edits set internal_note = $2, updated_at = now() where id = $1"
CANCEL_ROW = "update order_edits set canceled_at = now(), canceled_by = $2, updated_at = now() where id = $1"
DELETE_CHANGES = "delete from order_item_changes where order_edit_id = $1"
DELETE_LINES = "delete from line_items where order_edit_id = $1"
DELETE_EDIT = "delete from order_edits where id = $1"


async def create_edit(db: Db, body: EditBody, user_id: str) -> str:
    """Begin an edit, with copies of the order's lines, and return its id. Raises NotFound, NotAllowed, InvalidData or
    Conflict."""
    order = await access_order(db, body.order_id, "create_edit")
    status.check_alive(order["status"], "edited")
    active = await db.fetchval(ACTIVE_EDIT, order["id"])
    if active is not None:
        raise InvalidData(f"This order is being edited already: confirm or cancel {active} first.")
    edit_id = new_id("oe")
    await db.execute(ADD_EDIT, edit_id, order["id"], body.internal_note, user_id)
    await copy_lines(db, edit_id, order["id"])
    await emit(db, "order-edit.created", edit_id, {"id": edit_id, "order_id": order["id"]})
    return edit_id


async def update_edit(db: Db, edit_id: str, body: EditUpdate) -> None:
    """Change the note, whatever the status is. Raises NotFound."""
    edit, order = await access_edit(db, edit_id, "describe_edit")
    if "internal_note" in body.model_fields_set:
        await db.execute(UPDATE_NOTE, edit_id, body.internal_note)
    await emit(db, "order-edit.updated", edit["id"], {"id": edit_id, "order_id": order["id"]})


async def cancel_edit(db: Db, edit_id: str, user_id: str) -> None:
    """Cancel the edit; one that is canceled stays as it is. Raises NotFound, Conflict, or NotAllowed for one that was
    confirmed or declined."""
    edit, order = await access_edit(db, edit_id, "cancel_edit")
    if edit["status"] == "canceled":
        return
    if edit["status"] in ("confirmed", "declined"):
        raise NotAllowed(f"A {edit['status']} order edit cannot be canceled.")
    await db.execute(CANCEL_ROW, edit_id, user_id)
    await emit(db, "order-edit.canceled", edit_id, {"id": edit_id, "order_id": order["id"]})


async def delete_edit(db: Db, edit_id: str) -> None:
    """Delete the edit, if there is one. Raises Conflict, or NotAllowed once it was requested or has ended."""
    try:
        edit, _ = await access_edit(db, edit_id, "delete_edit")
    except NotFound:
        return
    if edit["status"] != "created":
        raise NotAllowed(f"A {edit['status']} order edit cannot be deleted.")
    await db.execute(DELETE_CHANGES, edit_id)
    await db.execute(DELETE_LINES, edit_id)
    await db.execute(DELETE_EDIT, edit_id)


# Handlers


async def post_order_edits(request: web.Request, body: EditBody) -> web.Response:
    async with transaction(request) as db:
        edit_id = await create_edit(db, body, actor(request))
        return json_bytes(request, await edit_json(db, edit_id))


async def post_order_edit(db: Db, edit_id: str, body: EditUpdate) -> str:
    await update_edit(db, edit_id, body)
    return await edit_json(db, edit_id)


async def post_cancel(request: web.Request, edit_id: str) -> web.Response:
    async with transaction(request) as db:
        await cancel_edit(db, edit_id, actor(request))
        return json_bytes(request, await edit_json(db, edit_id))


OPERATIONS = [
    listing(
        "/admin/order-edits",
        "order_edits",
        EDITS_LISTED,
        "List order edits",
        description="The newest come first. Items and totals are there whatever `expand` and `fields` say.",
    ),
    post(
        "/admin/order-edits",
        post_order_edits,
        "Begin an order edit",
        description="The edit begins with copies of all lines of the order, which stays as it is until the edit is "
        "confirmed. Refused with 400 for a canceled order, and while another edit of it has not ended.",
        body=EditBody,
        example={"order_id": "order_01HBZ4R8V3A5", "internal_note": "A size smaller."},
        answer=EDIT_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Conflict),
        asks_others=True,
    ),
    showing(
        "/admin/order-edits/{id}",
        "order_edit",
        EDIT,
        "Get an order edit",
        description="Items and totals are there whatever `expand` and `fields` say. `difference_due` compares with "
        "the order's total of the moment.",
        query=EDIT_SHOWN,
    ),
    post(
        "/admin/order-edits/{id}",
        post_order_edit,
        "Update an order edit",
        description="Changes its note, whatever its status is.",
        body=EditUpdate,
        example={"internal_note": "The customer called again."},
        answer=EDIT_ANSWER,
        errors=(NotFound,),
    ),
    deletion(
        "/admin/order-edits/{id}",
        delete_edit,
        "order_edit",
        "Delete an order edit",
        description="With its lines and changes. Refused with 400 once it was requested or has ended. One that is not "
        "there is no error.",
        errors=(NotAllowed, Conflict),
    ),
    post(
        "/admin/order-edits/{id}/cancel",
        post_cancel,
        "Cancel an order edit",
        description="Refused with 400 for one that was confirmed or declined. A canceled edit is answered as it is.",
        answer=EDIT_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
        asks_others=True,
    ),
]
