"""/admin/order-edits: begin, find, read, note, cancel and delete an edit of an order.

An edit has copies of the order's lines, to be changed (items.py), asked for (requests.py) and put in their
place (confirmations.py). An order has one edit at a time that is not over. All of it happens under the lock of the
order.
"""

from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import page_json
from services.chassis.errors import InvalidData, NotAllowed, NotFound
from services.chassis.http import Body, actor, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.outbox import emit
from services.chassis.params import Filter, query_of, search, text
from services.orders import status
from services.orders.edits.access import access_edit
from services.orders.edits.reads import chosen_of, edit_json, edits_page
from services.orders.orders.orders import access_order
from services.orders.pricing.lines import copy_lines

FILTERS: dict[str, Filter] = {
    "q": search("lower({t}.internal_note) like {q}"),
    "order_id": text("{t}.order_id"),
}


class EditBody(Body):
    """`created_by` is understood and changes nothing: it is who asks."""

    order_id: str
    internal_note: str | None = None
    created_by: str | None = None


class EditUpdate(Body):
    internal_note: str | None = None


# Actions

ACTIVE_EDIT = """
select id from order_edits
where order_id = $1 and confirmed_at is null and canceled_at is null and declined_at is null
"""
# $1 edit, $2 order, $3 note, $4 who
ADD = """
insert into order_edits (id, order_id, internal_note, created_by, subtotal, discount_total, item_tax_total)
select $1, id, $3, $4, subtotal, discount_total, item_tax_total from orders where id = $2
"""
NOTE = "update order_edits set internal_note = $2, updated_at = now() where id = $1"
CANCEL = "update order_edits set canceled_at = now(), canceled_by = $2, updated_at = now() where id = $1"
DELETE_CHANGES = "delete from order_item_changes where order_edit_id = $1"
DELETE_LINES = "delete from line_items where order_edit_id = $1"
DELETE = "delete from order_edits where id = $1"


async def create_edit(db: Db, body: EditBody, user_id: str) -> str:
    """A new edit, with copies of the order's lines. Its id. Raises NotFound, NotAllowed, InvalidData, Conflict."""
    order = await access_order(db, body.order_id, "create_edit")
    status.check_alive(order["status"], "edited")
    active = await db.fetchval(ACTIVE_EDIT, order["id"])
    if active is not None:
        raise InvalidData(f"This order is being edited already: confirm or cancel {active} first.")
    edit_id = new_id("oe")
    await db.execute(ADD, edit_id, order["id"], body.internal_note, user_id)
    await copy_lines(db, edit_id, order["id"])
    await emit(db, "order-edit.created", edit_id, {"id": edit_id, "order_id": order["id"]})
    return edit_id


async def update_edit(db: Db, edit_id: str, body: EditUpdate) -> None:
    """Whatever its status. Raises NotFound."""
    edit, order = await access_edit(db, edit_id, "describe_edit")
    if "internal_note" in body.model_fields_set:
        await db.execute(NOTE, edit_id, body.internal_note)
    await emit(db, "order-edit.updated", edit["id"], {"id": edit_id, "order_id": order["id"]})


async def cancel_edit(db: Db, edit_id: str, user_id: str) -> None:
    """Again: nothing happens. Raises NotFound, Conflict, or NotAllowed for one that was confirmed or declined."""
    edit, order = await access_edit(db, edit_id, "cancel_edit")
    if edit["status"] == "canceled":
        return
    if edit["status"] in ("confirmed", "declined"):
        raise NotAllowed(f"A {edit['status']} order edit cannot be canceled.")
    await db.execute(CANCEL, edit_id, user_id)
    await emit(db, "order-edit.canceled", edit_id, {"id": edit_id, "order_id": order["id"]})


async def delete_edit(db: Db, edit_id: str) -> None:
    """Throw it away, if there is one. Raises Conflict, or NotAllowed once it was asked for or has ended."""
    try:
        edit, _ = await access_edit(db, edit_id, "delete_edit")
    except NotFound:
        return
    if edit["status"] != "created":
        raise NotAllowed(f"A {edit['status']} order edit cannot be deleted.")
    await db.execute(DELETE_CHANGES, edit_id)
    await db.execute(DELETE_LINES, edit_id)
    await db.execute(DELETE, edit_id)


# Handlers


async def get_order_edits(request: web.Request) -> web.Response:
    """Newest first."""
    page = edits_page(query_of(request), FILTERS)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "order_edits", page))


async def post_order_edits(request: web.Request) -> web.Response:
    body = await parse(request, EditBody)
    async with transaction(request) as db:
        edit_id = await create_edit(db, body, actor(request))
        return json_bytes(request, await edit_json(db, edit_id))


async def get_order_edit(request: web.Request) -> web.Response:
    chosen = chosen_of(query_of(request))
    async with reading(request) as db:
        return json_bytes(request, await edit_json(db, request.match_info["id"], chosen))


async def post_order_edit(request: web.Request) -> web.Response:
    edit_id, body = request.match_info["id"], await parse(request, EditUpdate)
    async with transaction(request) as db:
        await update_edit(db, edit_id, body)
        return json_bytes(request, await edit_json(db, edit_id))


async def delete_order_edit(request: web.Request) -> web.Response:
    edit_id = request.match_info["id"]
    async with transaction(request) as db:
        await delete_edit(db, edit_id)
        return json_bytes(request, json_text({"id": edit_id, "object": "order_edit", "deleted": True}))


async def post_cancel(request: web.Request) -> web.Response:
    edit_id = request.match_info["id"]
    async with transaction(request) as db:
        await cancel_edit(db, edit_id, actor(request))
        return json_bytes(request, await edit_json(db, edit_id))


OPERATIONS = [
    web.get("/admin/order-edits", get_order_edits),
    web.post("/admin/order-edits", post_order_edits),
    web.get("/admin/order-edits/{id}", get_order_edit),
    web.post("/admin/order-edits/{id}", post_order_edit),
    web.delete("/admin/order-edits/{id}", delete_order_edit),
    web.post("/admin/order-edits/{id}/cancel", post_cancel),
]
