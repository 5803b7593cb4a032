"""Fulfillments of a claim: all that it sends, at once (fulfillments/owners.py)."""

from typing import Any

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.operations import post
from services.chassis.sagas import Saga, intention, run
from services.orders.claims.items import Id
from services.orders.claims.rules import check_fulfillable
from services.orders.fulfillments.cancellations import CANCEL_FULFILLMENT, begin_cancellation, cancel_fulfillment
from services.orders.fulfillments.creations import (
    FULFILL,
    FulfillmentPlan,
    asks_others,
    begin_fulfillments,
    plan_fulfillments,
    write_fulfillments,
)
from services.orders.fulfillments.owners import CLAIM, access_owner, ship
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json


class ClaimFulfillmentBody(Body):
    location_id: str | None = None
    """The stock location that the goods are taken from. Left out, stock does not move."""
    no_notification: bool | None = None
    """Said in the event; left out, the claim's own holds."""
    metadata: dict[str, Any] | None = None


class ClaimShipmentBody(Body):
    fulfillment_id: Id
    tracking_numbers: list[str] | None = None
    """Each becomes one of the fulfillment's `tracking_links`."""


async def plan_claim_fulfillment(db: Db, order_id: str, claim_id: str, body: ClaimFulfillmentBody) -> FulfillmentPlan:
    """All of the claim's lines, the order locked. Raises NotFound, NotAllowed, InvalidData or Conflict."""
    claim = await access_owner(db, CLAIM, order_id, claim_id, "fulfill_claim")
    check_fulfillable(claim["type"])
    return await plan_fulfillments(
        db,
        CLAIM,
        claim,
        None,
        location_id=body.location_id,
        no_notification=claim["no_notification"] if body.no_notification is None else body.no_notification,
        metadata=body.metadata,
    )


# Handlers


async def post_fulfillment(
    request: web.Request, order_id: str, claim_id: str, view: OrderView, body: ClaimFulfillmentBody
) -> web.Response:
    saga: Saga | None = None
    if asks_others(body.location_id):
        async with intention(request) as (db, saga):
            if saga is None:
                saga = await begin_fulfillments(db, await plan_claim_fulfillment(db, order_id, claim_id, body), request)
        await run(request.app, FULFILL, saga)
    async with transaction(request) as db:
        if saga is None:
            await write_fulfillments(db, await plan_claim_fulfillment(db, order_id, claim_id, body))
        return json_bytes(request, await order_json(db, order_id, view))


async def post_cancel(
    request: web.Request, order_id: str, claim_id: str, fulfillment_id: str, view: OrderView
) -> web.Response:
    async with intention(request) as (db, saga):
        if saga is None:
            saga = await begin_cancellation(db, request, CLAIM, order_id, claim_id, fulfillment_id)
    if saga is not None:
        await run(request.app, CANCEL_FULFILLMENT, saga)
    async with transaction(request) as db:
        if saga is None:
            await cancel_fulfillment(db, CLAIM, order_id, claim_id, fulfillment_id)
        return json_bytes(request, await order_json(db, order_id, view))


async def post_shipment(db: Db, order_id: str, claim_id: str, view: OrderView, body: ClaimShipmentBody) -> str:
    claim = await access_owner(db, CLAIM, order_id, claim_id, "ship")
    no_notification = claim["no_notification"]
    await ship(
        db,
        CLAIM,
        claim,
        body.fulfillment_id,
        body.tracking_numbers or [],
        stored=no_notification,
        no_notification=no_notification,
    )
    return await order_json(db, order_id, view)


OPERATIONS = [
    post(
        "/admin/orders/{id}/claims/{claim_id}/fulfillments",
        post_fulfillment,
        "Create fulfillments of a claim",
        description="All that the claim sends is fulfilled, with its own shipping methods. With a location, stock and "
        "reservations go down there. Refused with 400 for a claim of type `refund`, for one without a shipping method, "
        "and for one that was fulfilled.",
        query=WRITTEN,
        body=ClaimFulfillmentBody,
        example={"location_id": "sloc_01JD0000000000000000000000", "no_notification": True},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Conflict, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/orders/{id}/claims/{claim_id}/fulfillments/{fulfillment_id}/cancel",
        post_cancel,
        "Cancel a fulfillment of a claim",
        description="The claim can be fulfilled again; what was taken out of stock at a location goes back there. "
        "Refused with 400 once it was shipped or canceled. A provider on the other side of a network may refuse, too.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/orders/{id}/claims/{claim_id}/shipments",
        post_shipment,
        "Ship a fulfillment of a claim",
        description="The customer is notified, unless the claim says `no_notification`. Refused with 400 when it was "
        "shipped or canceled before.",
        query=WRITTEN,
        body=ClaimShipmentBody,
        example={"fulfillment_id": "ful_01JD0000000000000000000000", "tracking_numbers": ["1Z999AA10123456784"]},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
]
