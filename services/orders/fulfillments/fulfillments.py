"""Packing lines of an order, and unpacking them again (creations.py, cancellations.py)."""

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db
from services.chassis.http import Body, parse
from services.chassis.params import query_of
from services.orders import status
from services.orders.fulfillments.cancellations import answer_unpacking
from services.orders.fulfillments.creations import Packing, answer_packing, plan_packing
from services.orders.fulfillments.owners import ORDER, access_owner
from services.orders.reads import check_order_query, written_order_json

LARGEST = 2**31 - 1


class FulfillmentItem(Body):
    item_id: str
    quantity: Annotated[int, Field(ge=1, le=LARGEST)]


class FulfillmentBody(Body):
    items: Annotated[list[FulfillmentItem], Field(min_length=1)]
    location_id: str | None = None
    no_notification: bool | None = None
    metadata: dict[str, Any] | None = None


async def plan_fulfillment(db: Db, order_id: str, body: FulfillmentBody) -> Packing:
    """What is to be packed, the order locked. Raises NotFound, NotAllowed or Conflict."""
    order = await access_owner(db, ORDER, order_id, order_id, "fulfill_order")
    return await plan_packing(
        db,
        ORDER,
        order,
        status.asked_quantities((item.item_id, item.quantity) for item in body.items),
        location_id=body.location_id,
        no_notification=body.no_notification,
        metadata=body.metadata or {},
    )


async def post_fulfillment(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    body = await parse(request, FulfillmentBody)

    async def plan(db: Db) -> Packing:
        return await plan_fulfillment(db, order_id, body)

    answer = partial(written_order_json, order_id=order_id, query=query)
    return await answer_packing(request, body.location_id, plan, answer)


async def post_cancel_fulfillment(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    answer = partial(written_order_json, order_id=order_id, query=query)
    parcel_id = request.match_info["fulfillment_id"]
    return await answer_unpacking(request, ORDER, order_id, order_id, parcel_id, answer)


OPERATIONS = [
    web.post("/admin/orders/{id}/fulfillment", post_fulfillment),
    web.post("/admin/orders/{id}/fulfillments/{fulfillment_id}/cancel", post_cancel_fulfillment),
]
