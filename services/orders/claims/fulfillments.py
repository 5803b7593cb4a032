"""What a claim sends: packed all at once, shipped, unpacked (fulfillments/owners.py)."""

from functools import partial
from typing import Any

from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.http import Body, json_bytes, parse
from services.chassis.params import query_of
from services.orders.claims.items import Id
from services.orders.claims.rules import check_fulfillable
from services.orders.fulfillments.cancellations import answer_unpacking
from services.orders.fulfillments.creations import Packing, answer_packing, plan_packing
from services.orders.fulfillments.owners import CLAIM, access_owner, ship
from services.orders.reads import check_order_query, written_order_json


class ClaimFulfillmentBody(Body):
    location_id: str | None = None
    no_notification: bool | None = None
    metadata: dict[str, Any] | None = None


class ClaimShipmentBody(Body):
    fulfillment_id: Id
    tracking_numbers: list[str] | None = None


async def plan_claim_fulfillment(db: Db, order_id: str, claim_id: str, body: ClaimFulfillmentBody) -> Packing:
    """All of the claim's lines, the order locked. Raises NotFound, NotAllowed or Conflict."""
    claim = await access_owner(db, CLAIM, order_id, claim_id, "fulfill_claim")
    check_fulfillable(claim["type"])
    quiet = claim["no_notification"] if body.no_notification is None else body.no_notification
    return await plan_packing(
        db, CLAIM, claim, None, location_id=body.location_id, no_notification=quiet, metadata=body.metadata
    )


async def post_claim_fulfillment(request: web.Request) -> web.Response:
    order_id, claim_id, query = request.match_info["id"], request.match_info["claim_id"], query_of(request)
    check_order_query(query)
    body = await parse(request, ClaimFulfillmentBody)

    async def plan(db: Db) -> Packing:
        return await plan_claim_fulfillment(db, order_id, claim_id, body)

    answer = partial(written_order_json, order_id=order_id, query=query)
    return await answer_packing(request, body.location_id, plan, answer)


async def post_claim_fulfillment_cancel(request: web.Request) -> web.Response:
    order_id, claim_id, query = request.match_info["id"], request.match_info["claim_id"], query_of(request)
    check_order_query(query)
    answer = partial(written_order_json, order_id=order_id, query=query)
    parcel_id = request.match_info["fulfillment_id"]
    return await answer_unpacking(request, CLAIM, order_id, claim_id, parcel_id, answer)


async def post_claim_shipment(request: web.Request) -> web.Response:
    """The parcel keeps the claim's `no_notification`."""
    order_id, claim_id, query = request.match_info["id"], request.match_info["claim_id"], query_of(request)
    check_order_query(query)
    body = await parse(request, ClaimShipmentBody)
    async with transaction(request) as db:
        claim = await access_owner(db, CLAIM, order_id, claim_id, "ship")
        quiet, numbers = claim["no_notification"], body.tracking_numbers or []
        await ship(db, CLAIM, claim, body.fulfillment_id, numbers, kept=quiet, quiet=quiet)
        return json_bytes(request, await written_order_json(db, order_id, query))


OPERATIONS = [
    web.post("/admin/orders/{id}/claims/{claim_id}/fulfillments", post_claim_fulfillment),
    web.post(
        "/admin/orders/{id}/claims/{claim_id}/fulfillments/{fulfillment_id}/cancel", post_claim_fulfillment_cancel
    ),
    web.post("/admin/orders/{id}/claims/{claim_id}/shipments", post_claim_shipment),
]
