"""Fulfillments of an order: created and canceled (creations.py, cancellations.py)."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.operations import post
from services.chassis.sagas import Saga, intention, run
from services.orders import status
from services.orders.fulfillments.cancellations import CANCEL_FULFILLMENT, begin_cancellation, cancel_fulfillment
from services.orders.fulfillments.creations import (
    FULFILL,
    FulfillmentPlan,
    asks_others,
    begin_fulfillments,
    plan_fulfillments,
    write_fulfillments,
)
from services.orders.fulfillments.owners import ORDER, access_owner
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.totals import MAX_QUANTITY


class FulfillmentItem(Body):
    item_id: str
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class FulfillmentBody(Body):
    items: Annotated[list[FulfillmentItem], Field(min_length=1)]
    """A line that is named twice counts both times."""
    location_id: str | None = None
    """The stock location that the goods are taken from. Left out, stock does not move."""
    no_notification: bool | None = None
    """Said in the event; left out, the order's own holds."""
    metadata: dict[str, Any] | None = None


async def plan_fulfillment(db: Db, order_id: str, body: FulfillmentBody) -> FulfillmentPlan:
    """What is to be fulfilled, the order locked. Raises NotFound, NotAllowed or Conflict."""
    order = await access_owner(db, ORDER, order_id, order_id, "fulfill_order")
    return await plan_fulfillments(
        db,
        ORDER,
        order,
        status.quantities_by_line((item.item_id, item.quantity) for item in body.items),
        location_id=body.location_id,
        no_notification=body.no_notification,
        metadata=body.metadata or {},
    )


# Handlers


async def post_fulfillment(request: web.Request, order_id: str, view: OrderView, body: FulfillmentBody) -> web.Response:
    saga: Saga | None = None
    if asks_others(body.location_id):
        async with intention(request) as (db, saga):
            if saga is None:
                saga = await begin_fulfillments(db, await plan_fulfillment(db, order_id, body), request)
        await run(request.app, FULFILL, saga)
    async with transaction(request) as db:
        if saga is None:
            await write_fulfillments(db, await plan_fulfillment(db, order_id, body))
        return json_bytes(request, await order_json(db, order_id, view))


async def post_cancel(request: web.Request, order_id: str, fulfillment_id: str, view: OrderView) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None:
            saga = await begin_cancellation(db, request, ORDER, order_id, order_id, fulfillment_id)
    if saga is not None:
        await run(request.app, CANCEL_FULFILLMENT, saga)
    async with transaction(request) as db:
        if saga is None:
            await cancel_fulfillment(db, ORDER, order_id, order_id, fulfillment_id)
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/fulfillment",
        post_fulfillment,
        "Create fulfillments of an order",
        description="Each line goes with the shipping method of its product's shipping profile; every method that gets "
        "lines makes one fulfillment. With a location, stock and reservations go down there. Refused with 400 for more "
        "than is left of a line, and for an order without a shipping method.",
        query=WRITTEN,
        body=FulfillmentBody,
        example={"items": [{"item_id": "item_01JD0000000000000000000000", "quantity": 1}], "no_notification": True},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/orders/{id}/fulfillments/{fulfillment_id}/cancel",
        post_cancel,
        "Cancel a fulfillment of an order",
        description="Its quantities can be fulfilled again; what was taken out of stock at a location goes back there. "
        "Refused with 400 once it was shipped or canceled. A provider on the other side of a network may refuse, too.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
]
