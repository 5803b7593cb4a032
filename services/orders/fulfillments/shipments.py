"""Shipping a fulfillment of an order (owners.py)."""

from typing import Annotated

from pydantic import Field

from services.chassis.db import Db
from services.chassis.errors import Conflict, NotAllowed, NotFound
from services.chassis.http import Body
from services.chassis.operations import post
from services.orders.fulfillments.owners import ORDER, access_owner, ship
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json


class ShipmentBody(Body):
    fulfillment_id: Annotated[str, Field(min_length=1)]
    tracking_numbers: list[str] | None = None
    """Each becomes one of the fulfillment's `tracking_links`."""
    no_notification: bool | None = None
    """Whether the customer gets no notification. Left out, the order's own holds."""


async def post_shipment(db: Db, order_id: str, view: OrderView, body: ShipmentBody) -> str:
    order = await access_owner(db, ORDER, order_id, order_id, "ship")
    await ship(
        db,
        ORDER,
        order,
        body.fulfillment_id,
        body.tracking_numbers or [],
        stored=body.no_notification,
        no_notification=order["no_notification"] if body.no_notification is None else body.no_notification,
    )
    return await order_json(db, order_id, view)


OPERATIONS = [
    post(
        "/admin/orders/{id}/shipment",
        post_shipment,
        "Ship a fulfillment of an order",
        description="The quantities of the fulfillment count as shipped, and the customer is notified. Refused with "
        "400 when it was shipped or canceled before.",
        query=WRITTEN,
        body=ShipmentBody,
        example={"fulfillment_id": "ful_01JD0000000000000000000000", "tracking_numbers": ["1Z999AA10123456784"]},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    )
]
