"""Asking the customer to agree to an order edit. What it costs more is collected by the payments service.

A recorded saga: the payments service makes a payment collection of the difference, then the edit points at it. An edit
that costs no more has none. Asked again, an edit gets another collection, of the difference that it makes by then.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from services.chassis import copies
from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote
from services.orders.edits.access import access_edit, check_active
from services.orders.edits.reads import EDIT_ANSWER, edit_json


class RequestBody(Body):
    payment_collection_description: str | None = None
    """Shown with the payment collection, where one is made."""


# Only the lines differ: what ships them is the order's own.
DIFFERENCE = """
select e.subtotal - e.discount_total + e.item_tax_total - (o.subtotal - o.discount_total + o.item_tax_total) as due,
    exists (select from order_item_changes where order_edit_id = e.id) as changed
from order_edits e join orders o on o.id = e.order_id where e.id = $1
"""
REQUEST_ROW = """
update order_edits set requested_at = coalesce(requested_at, now()), requested_by = coalesce(requested_by, $2),
    payment_collection_id = coalesce($3, payment_collection_id), updated_at = now()
where id = $1
"""


async def access_requestable(db: Db, edit_id: str, saga_id: str = "") -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The edit, and its order, which is locked; one that was confirmed has been agreed to. Raises NotFound, NotAllowed,
    Conflict, and InvalidData when it changes nothing."""
    edit, order = await access_edit(db, edit_id, "request_edit", saga_id)
    if edit["status"] != "confirmed":
        check_active(edit["status"], order["status"], "requested")
    return edit, order


async def difference(db: Db, edit_id: str) -> int:
    """What the edit, which is locked, costs more than the order. Raises InvalidData when it changes nothing."""
    row = await db.fetchrow(DIFFERENCE, edit_id)
    if not row["changed"]:
        raise InvalidData("This order edit changes nothing; change a line first.")
    due: int = row["due"]
    return due


async def plan_request(db: Db, edit_id: str, description: str | None, user_id: str) -> dict[str, Any] | None:
    """The state of a saga that collects what the edit costs more; None when that is nothing."""
    edit, order = await access_requestable(db, edit_id)
    due = await difference(db, edit_id)
    if due <= 0 or edit["status"] == "confirmed":
        return None
    return {
        "order_id": order["id"],
        "edit_id": edit_id,
        "user_id": user_id,
        "collection": {
            "payment_collection_id": new_id("paycol"),
            "order_edit_id": edit_id,
            "amount": due,
            "currency_code": order["currency_code"],
            "region_id": order["region_id"],
            "description": description,
            "created_by": user_id,
        },
    }


async def write_request(db: Db, edit: Mapping[str, Any], user_id: str, collection_id: str | None) -> None:
    """Write that the edit, which is locked, was requested; again, nothing changes but the collection."""
    await db.execute(REQUEST_ROW, edit["id"], user_id, collection_id)
    if edit["requested_at"] is None:
        data = {"id": edit["id"], "order_id": edit["order_id"], "payment_collection_id": collection_id}
        await emit(db, "order-edit.requested", edit["id"], data)


async def request_without_payment(db: Db, edit_id: str, user_id: str) -> None:
    """Write that the edit was requested. Raises Conflict when it costs more by now."""
    edit, _ = await access_requestable(db, edit_id)
    if edit["status"] == "confirmed":
        return
    if await difference(db, edit_id) > 0:
        raise Conflict("This order edit was changed at this very moment; look at it, and try again.")
    await write_request(db, edit, user_id, None)


# Steps


async def create_collection(app: web.Application, saga: Saga) -> dict[str, Any]:
    return await remote.create_collection(app, saga.key("collection"), saga.state["collection"])


async def drop_collection(app: web.Application, saga: Saga) -> None:
    collection_id, compensates = saga.state["collection"]["payment_collection_id"], saga.key("collection")
    await remote.drop_collection(app, saga.key("drop"), collection_id, compensates)


async def commit_request(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again: the order may have been canceled. The edit's lines could not change meanwhile."""
    state = saga.state
    edit, _ = await access_requestable(db, state["edit_id"], saga.id)
    if edit["status"] == "confirmed" or await difference(db, state["edit_id"]) != state["collection"]["amount"]:
        raise Conflict("This order edit was changed at this very moment; look at it, and try again.")
    documents = saga.results["collection"]["copies"]
    await copies.store(db, "payment_collection", documents["payment_collection"])
    await write_request(db, edit, state["user_id"], state["collection"]["payment_collection_id"])
    return {}


REQUEST_EDIT = (
    Step("collection", do=create_collection, compensate=drop_collection),
    Step("rows", commit=commit_request),
)
SAGAS = {"request_edit": REQUEST_EDIT}


# Handler


async def post_request(request: web.Request, edit_id: str, body: RequestBody) -> web.Response:
    user_id = actor(request)
    async with intention(request) as (db, saga):
        if saga is None:
            state = await plan_request(db, edit_id, body.payment_collection_description, user_id)
            if state is not None:
                saga = await begin(db, "request_edit", edit_id, state, request)
    if saga is not None:
        await run(request.app, REQUEST_EDIT, saga)
    async with transaction(request) as db:
        if saga is None:
            await request_without_payment(db, edit_id, user_id)
        return json_bytes(request, await edit_json(db, edit_id))


OPERATIONS = [
    post(
        "/admin/order-edits/{id}/request",
        post_request,
        "Request a customer's confirmation of an order edit",
        description="Where the edit costs more than the order, a payment collection of the difference is made; "
        "requested again, another one. Refused with 400 when it changes nothing or has ended. A confirmed edit is "
        "answered as it is.",
        body=RequestBody,
        example={"payment_collection_description": "The larger size"},
        answer=EDIT_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Conflict, Unavailable),
        asks_others=True,
    )
]
