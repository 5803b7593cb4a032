"""How a claim sends its goods: new shipping methods, for the option's price or one that staff names, and methods of the
order, which stay on it. Nobody pays for them, so they have no taxes."""

from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db
from services.chassis.errors import NotFound
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.orders import remote
from services.orders.fulfillment_providers import validated
from services.orders.pricing.lines import METHODS, method_row, store_rows
from services.orders.pricing.quotes import Basket, Row, option_data, question
from services.orders.totals import MAX_AMOUNT


class ClaimMethod(Body):
    """A method that there is, by its id, or a new one of an option."""

    id: str | None = None
    """A shipping method of the order, or of one of its claims."""
    option_id: str | None = None
    """The shipping option for a new method."""
    price: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    """In minor units; left out, that of the option."""
    data: dict[str, Any] | None = None
    """What the fulfillment provider has to know, such as a pick-up point."""


FIND_ORDER = "select id, region_id, customer_id, subtotal from orders where id = $1"
UNKNOWN_METHODS = """
select x.id from unnest($2::text[]) as x(id)
where not exists (
    select from shipping_methods m left join claims c on c.id = m.claim_order_id
    where m.id = x.id and (m.order_id = $1 or c.order_id = $1) and m.return_id is null
)
"""
# $1 claim, $2 ids of those that there are. Those that belong to the order as well stay there.
LINK_METHODS = """
with left_out as (
    update shipping_methods set claim_order_id = null
    where claim_order_id = $1 and id <> all ($2::text[]) and coalesce(order_id, cart_id, swap_id) is not null
), gone as (
    delete from shipping_methods
    where claim_order_id = $1 and id <> all ($2::text[]) and coalesce(order_id, cart_id, swap_id) is null
)
update shipping_methods set claim_order_id = $1 where id = any($2::text[])
"""


async def access_region(db: Db, order_id: str) -> Any:
    """The order as far as prices depend on it; not locked. Raises NotFound."""
    order = await db.fetchrow(FIND_ORDER, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    return order


def existing_ids(methods: Sequence[ClaimMethod] | None) -> list[str]:
    """The ids of the methods that there are already."""
    return [method.id for method in methods or () if method.id]


def new_methods(methods: Sequence[ClaimMethod] | None) -> list[Row]:
    """The new methods, to be priced. Raises NotFound for one that names no option."""
    new = [method for method in methods or () if not method.id]
    if any(not method.option_id for method in new):
        raise NotFound("shipping_methods: name the id of a method, or the option_id for a new one.")
    return [
        {"id": new_id("sm"), "shipping_option_id": method.option_id, "asked_price": method.price, "data": method.data}
        for method in new
    ]


async def quote_methods(app: web.Application, order: Any, new: list[Row]) -> tuple[list[Row], dict[str, list[Row]]]:
    """(the methods as rows with `tax_rates`, the catalog's documents). Raises what the catalog and the providers of the
    methods refuse with.

    What an option asks of a cart is measured against the order.
    """
    if not new:
        return [], {}
    bought = {"id": "order", "variant_id": None, "quantity": 1, "unit_price": order["subtotal"]}
    basket = Basket(order["region_id"], [bought], new, [], order["customer_id"])
    reply = await remote.price_cart(app, question(basket))
    cart = {"region_id": order["region_id"], "customer_id": order["customer_id"], "items": []}
    data = {method["id"]: method["data"] or {} for method in new}
    methods = []
    for method in reply["shipping_methods"]:
        option = option_data(reply["copies"], method["option_id"])
        kept = await validated(method["provider_id"], option, data[method["id"]], cart)
        methods.append(method | {"data": kept})
    return methods, reply["copies"]


async def check_methods(db: Db, order_id: str, ids: list[str]) -> None:
    """Raises NotFound for a method that is not of this order."""
    if row := await db.fetchrow(UNKNOWN_METHODS, order_id, ids):
        raise NotFound(f"Order {order_id} has no shipping method {row['id']}.")


async def set_methods(db: Db, claim_id: str, ids: list[str], methods: list[Row]) -> None:
    """Make these the methods of the claim, and no others."""
    await db.execute(LINK_METHODS, claim_id, ids)
    if methods:
        rows = [method_row(method) | {"data": method["data"]} for method in methods]
        await store_rows(db, METHODS, rows, claim_order_id=claim_id)
