"""Dispatches: lines are fulfilled and shipped in one step. An extension of the API, which other dialects are translated
to (gateway/dialects/): fulfilling and shipping apart could stop half way.

Its refusals have codes: `invalid_line_item`, `insufficient_quantity`, `invalid_order_status`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import post
from services.chassis.sagas import Saga, intention, run
from services.orders import status
from services.orders.fulfillments.creations import (
    FULFILL,
    FulfillmentPlan,
    PlannedFulfillment,
    asks_others,
    begin_fulfillments,
    plan_fulfillments,
    write_fulfillments,
)
from services.orders.fulfillments.owners import ORDER, access_owner, lines_of
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.totals import MAX_QUANTITY

Text = Annotated[str, Field(max_length=2000)]


class DispatchItem(Body):
    item_id: Annotated[str, Field(min_length=1)]
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)] | None = None
    """Left out, all that is left of the line."""


class Tracking(Body):
    tracking_number: Text
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://")] | None = None
    metadata: dict[str, Any] | None = None


class DispatchBody(Body):
    items: Annotated[list[DispatchItem], Field(min_length=1)]
    """Each line once."""
    location_id: str | None = None
    """The stock location that the goods are taken from. Left out, stock does not move."""
    tracking_links: list[Tracking] = Field(default_factory=list)
    no_notification: bool | None = None
    """Whether the customer gets no notification. Left out, the order's own holds."""
    metadata: dict[str, Any] | None = None


# Actions


def quantities_of(lines: Sequence[status.Line], items: Sequence[DispatchItem]) -> dict[str, int]:
    """The quantity to fulfill of each line. Raises NotFound or NotAllowed."""
    left = {line.id: line.quantity - line.fulfilled for line in lines}
    quantities: dict[str, int] = {}
    for item in items:
        if item.item_id not in left or item.item_id in quantities:
            raise NotFound(f"{item.item_id} is no line of this order, or stands here twice.", code="invalid_line_item")
        quantities[item.item_id] = left[item.item_id] if item.quantity is None else item.quantity
        if not 0 < quantities[item.item_id] <= left[item.item_id]:
            raise NotAllowed(
                f"Of line {item.item_id} only {max(left[item.item_id], 0)} are left to fulfill.",
                code="insufficient_quantity",
            )
    return quantities


async def plan_dispatch(db: Db, order_id: str, body: DispatchBody) -> FulfillmentPlan:
    """One fulfillment of all lines, the order locked. Raises NotFound, NotAllowed or Conflict."""
    order = await access_owner(db, ORDER, order_id, order_id, "dispatch_order")
    if order["canceled_at"] is not None or order["status"] == "archived":
        raise NotAllowed("A canceled or archived order cannot be shipped.", code="invalid_order_status")
    quantities = quantities_of(status.lines_of(await lines_of(db, ORDER, order_id)), body.items)
    plan = await plan_fulfillments(
        db,
        ORDER,
        order,
        quantities,
        location_id=body.location_id,
        no_notification=body.no_notification,
        metadata=body.metadata,
    )
    fulfillment = PlannedFulfillment(new_id("ful"), plan.fulfillments[0].provider_id, quantities)
    return replace(plan, fulfillments=[fulfillment], links=[link.model_dump() for link in body.tracking_links])


# Handlers


async def post_dispatch(request: web.Request, order_id: str, view: OrderView, body: DispatchBody) -> web.Response:
    saga: Saga | None = None
    if asks_others(body.location_id):
        async with intention(request) as (db, saga):
            if saga is None:
                saga = await begin_fulfillments(db, await plan_dispatch(db, order_id, body), request)
        await run(request.app, FULFILL, saga)
    async with transaction(request) as db:
        if saga is None:
            await write_fulfillments(db, await plan_dispatch(db, order_id, body))
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/dispatches",
        post_dispatch,
        "Fulfill and ship in one step",
        description="All lines become one fulfillment, which counts as shipped at once; both happens, or nothing. "
        "An extension of the API. The `code` of a refusal is `invalid_line_item`, `insufficient_quantity` or "
        "`invalid_order_status` where one of these is why.",
        query=WRITTEN,
        body=DispatchBody,
        example={
            "items": [{"item_id": "item_01JD0000000000000000000000"}],
            "tracking_links": [{"tracking_number": "1Z999AA10123456784", "url": "https://carrier.example/1Z999"}],
        },
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
