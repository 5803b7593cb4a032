"""A fulfillment of an order leaves the house (owners.py)."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.chassis.db import transaction
from services.chassis.http import Body, json_bytes, parse
from services.chassis.params import query_of
from services.orders.fulfillments.owners import ORDER, access_owner, ship
from services.orders.reads import check_order_query, written_order_json


class ShipmentBody(Body):
    fulfillment_id: Annotated[str, Field(min_length=1)]
    tracking_numbers: list[str] | None = None
    no_notification: bool | None = None


async def post_shipment(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    body = await parse(request, ShipmentBody)
    async with transaction(request) as db:
        order = await access_owner(db, ORDER, order_id, order_id, "ship")
        said, numbers = body.no_notification, body.tracking_numbers or []
        quiet = order["no_notification"] if said is None else said
        await ship(db, ORDER, order, body.fulfillment_id, numbers, kept=said, quiet=quiet)
        return json_bytes(request, await written_order_json(db, order_id, query))


OPERATIONS = [web.post("/admin/orders/{id}/shipment", post_shipment)]
