"""POST /admin/orders/{id}/shipping-methods: one more way of shipping, for a price that staff names.

It takes the place of the methods of the same shipping profile. Its tax is that of the moment, and there is none when
another method of the order has tax lines from its payment: those are the order's taxes (docs/behaviour/orders.md).
"""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import post
from services.orders import remote, status
from services.orders.fulfillment_providers import validated
from services.orders.orders.orders import access_order, emit_updated
from services.orders.pricing.amounts import recompute_order
from services.orders.pricing.lines import METHODS, method_row, store_rows, store_taxes
from services.orders.pricing.quotes import Basket, option_data, question, store_copies
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json
from services.orders.totals import MAX_AMOUNT


class ShippingMethodBody(Body):
    option_id: Annotated[str, Field(min_length=1)]
    """The shipping option to ship by. It has to be one of the order's region."""
    price: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
    """What the customer pays for it, in minor units, whatever the option costs."""
    data: dict[str, Any] | None = None
    """What the option's fulfillment provider is given, and checks."""


FIND_ORDER = "select status, region_id, customer_id from orders where id = $1"
# Methods that came from the cart stay there, to be seen with the draft; those that a claim uses stay with the claim.
REMOVE_METHODS = """
with detached as (
    update shipping_methods set order_id = null
    where order_id = $1 and profile_id = $2 and return_id is null and coalesce(cart_id, claim_order_id) is not null
)
delete from shipping_methods
where order_id = $1 and profile_id = $2 and return_id is null and coalesce(cart_id, claim_order_id) is null
"""
# Whether a method of the order has tax lines of its payment.
HAS_FROZEN_TAXES = """
select exists (
    select from shipping_methods m join shipping_method_tax_lines t on t.shipping_method_id = m.id
    where m.order_id = $1 and t.frozen
)
"""


async def quote_method(app: web.Application, order: Any, option_id: str, price: int) -> dict[str, Any]:
    """What the catalog says about the option: {"shipping_methods": [it], "copies"}. Raises what it refuses with."""
    method = {"id": new_id("sm"), "shipping_option_id": option_id, "asked_price": price}
    basket = Basket(order["region_id"], [], [method], [], order["customer_id"])
    return await remote.price_cart(app, question(basket))


async def add_shipping_method(db: Db, order_id: str, body: ShippingMethodBody, reply: dict[str, Any]) -> None:
    """Add the method that was quoted, in place of those of its profile. Raises NotFound, NotAllowed or Conflict."""
    order = await access_order(db, order_id, "add_shipping_method")
    check_open(order)
    method = method_row(reply["shipping_methods"][0]) | {"price": body.price, "data": body.data or {}}
    await store_copies(db, reply["copies"])
    await db.execute(REMOVE_METHODS, order_id, method["profile_id"])
    frozen = await db.fetchval(HAS_FROZEN_TAXES, order_id)
    await store_rows(db, METHODS, [method], order_id=order_id)
    if not frozen:
        await store_taxes(db, METHODS, [method], frozen=False)
    await recompute_order(db, order_id)
    await emit_updated(db, order_id, order["no_notification"])


def check_open(order: Any) -> None:
    """Raises NotAllowed for a canceled order."""
    status.check_alive(order["status"], "given a shipping method")


async def post_shipping_method(
    request: web.Request, order_id: str, view: OrderView, body: ShippingMethodBody
) -> web.Response:
    async with reading(request) as db:
        order = await db.fetchrow(FIND_ORDER, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    check_open(order)
    reply = await quote_method(request.app, order, body.option_id, body.price)
    cart = {"region_id": order["region_id"], "customer_id": order["customer_id"], "items": []}
    option = option_data(reply["copies"], body.option_id)
    body.data = await validated(reply["shipping_methods"][0]["provider_id"], option, body.data or {}, cart)
    async with transaction(request) as db:
        await add_shipping_method(db, order_id, body, reply)
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/shipping-methods",
        post_shipping_method,
        "Add a shipping method to an order",
        description="It takes the place of the order's methods of the same shipping profile, and the totals follow; "
        "no payment is made or given back. Refused for a canceled order.",
        query=WRITTEN,
        body=ShippingMethodBody,
        example={"option_id": "so_01HBZ4R8V3A5", "price": 500},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    )
]
