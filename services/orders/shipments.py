"""A fulfillment leaves the house: tracking numbers, shipped quantities, and what follows for the order."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.chassis.params import query_of
from services.orders import status
from services.orders.fulfillments import ITEMS, access_fulfillment
from services.orders.orders import access_order, order_lines
from services.orders.reads import check_order_query, written_order_json


class ShipmentBody(Body):
    fulfillment_id: Annotated[str, Field(min_length=1)]
    tracking_numbers: list[str] | None = None
    no_notification: bool | None = None


# $1 the fulfillment, $2 the order, $3 no_notification, $4 $5 ids and numbers of links, $6 the order's status
WRITE = """
with shipped as (
    update fulfillments set shipped_at = now(), no_notification = coalesce($3, no_notification), updated_at = now()
    where id = $1
), links as (
    insert into tracking_links (id, fulfillment_id, tracking_number)
    select l.id, $1, l.number from unnest($4::text[], $5::text[]) as l(id, number)
), counted as (
    update line_items li set shipped_quantity = coalesce(li.shipped_quantity, 0) + fi.quantity, updated_at = now()
    from fulfillment_items fi where fi.fulfillment_id = $1 and li.id = fi.item_id
)
update orders set fulfillment_status = $6, updated_at = now() where id = $2
"""


async def create_shipment(db: Db, order_id: str, body: ShipmentBody) -> None:
    """Raises NotFound or NotAllowed."""
    order = await access_order(db, order_id, unless=("cancel_order", "cancel_fulfillment"))
    status.check_alive(order["status"], "shipped")
    fulfillment = await access_fulfillment(db, order_id, body.fulfillment_id)
    status.check_shippable(shipped=fulfillment["shipped"], canceled=fulfillment["canceled"])
    items = {row["item_id"]: row["quantity"] for row in await db.fetch(ITEMS, fulfillment["id"])}
    lines = status.shipped(status.lines_of(await order_lines(db, order_id)), items)
    numbers = body.tracking_numbers or []
    ids = [new_id("tlink") for _ in numbers]
    after = status.after_shipment(lines)
    await db.execute(WRITE, fulfillment["id"], order_id, body.no_notification, ids, numbers, after)
    quiet = (body.no_notification, fulfillment["no_notification"], order["no_notification"])
    data: dict[str, Any] = {
        "id": order_id,
        "fulfillment_id": fulfillment["id"],
        "tracking_numbers": numbers,
        "no_notification": next((said for said in quiet if said is not None), None),
    }
    await emit(db, "order.shipment_created", order_id, data)


async def post_shipment(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    body = await parse(request, ShipmentBody)
    async with transaction(request) as db:
        await create_shipment(db, order_id, body)
        return json_bytes(request, await written_order_json(db, order_id, query))


ROUTES = [web.post("/admin/orders/{id}/shipment", post_shipment)]
