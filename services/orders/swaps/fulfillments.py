"""The new goods of a swap are packed, all at once, and shipped; or unpacked again (fulfillments/owners.py). The order's
own fulfillment status stays as it is.
"""

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.http import Body, json_bytes, parse
from services.chassis.params import query_of
from services.orders.fulfillments.cancellations import answer_unpacking
from services.orders.fulfillments.creations import Packing, answer_packing, plan_packing
from services.orders.fulfillments.owners import SWAP, access_owner, ship
from services.orders.reads import check_order_query, written_order_json


class SwapFulfillmentBody(Body):
    metadata: dict[str, Any] | None = None
    no_notification: bool | None = None
    location_id: str | None = None


class SwapShipmentBody(Body):
    fulfillment_id: Annotated[str, Field(min_length=1)]
    tracking_numbers: list[str] | None = None
    no_notification: bool | None = None


async def post_swap_fulfillment(request: web.Request) -> web.Response:
    order_id, swap_id, query = request.match_info["id"], request.match_info["swap_id"], query_of(request)
    check_order_query(query)
    body = await parse(request, SwapFulfillmentBody)

    async def plan(db: Db) -> Packing:
        swap = await access_owner(db, SWAP, order_id, swap_id, "fulfill_swap")
        said = body.no_notification
        quiet = swap["no_notification"] if said is None else said
        return await plan_packing(
            db, SWAP, swap, None, location_id=body.location_id, no_notification=quiet, metadata=body.metadata
        )

    answer = partial(written_order_json, order_id=order_id, query=query)
    return await answer_packing(request, body.location_id, plan, answer)


async def post_swap_shipment(request: web.Request) -> web.Response:
    """What is said about notifications is kept with the parcel, or else what the swap says."""
    order_id, swap_id, query = request.match_info["id"], request.match_info["swap_id"], query_of(request)
    check_order_query(query)
    body = await parse(request, SwapShipmentBody)
    async with transaction(request) as db:
        swap = await access_owner(db, SWAP, order_id, swap_id, "ship")
        quiet = swap["no_notification"] if body.no_notification is None else body.no_notification
        await ship(db, SWAP, swap, body.fulfillment_id, body.tracking_numbers or [], kept=quiet, quiet=quiet)
        return json_bytes(request, await written_order_json(db, order_id, query))


async def post_swap_fulfillment_cancel(request: web.Request) -> web.Response:
    order_id, swap_id, query = request.match_info["id"], request.match_info["swap_id"], query_of(request)
    check_order_query(query)
    parcel_id = request.match_info["fulfillment_id"]
    answer = partial(written_order_json, order_id=order_id, query=query)
    return await answer_unpacking(request, SWAP, order_id, swap_id, parcel_id, answer)


OPERATIONS = [
    web.post("/admin/orders/{id}/swaps/{swap_id}/fulfillments", post_swap_fulfillment),
    web.post("/admin/orders/{id}/swaps/{swap_id}/shipments", post_swap_shipment),
    web.post("/admin/orders/{id}/swaps/{swap_id}/fulfillments/{fulfillment_id}/cancel", post_swap_fulfillment_cancel),
]
