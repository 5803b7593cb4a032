"""The cart of a swap: what the customer gets, less what comes back. Its total is the difference that is due.

Its lines are the new goods, the label of the return if it has one, and a line with a negative price for each line that
comes back, taxed and discounted as it was bought. Prices and discounts are those of the moment in which the swap was
made, taxes those of the moment in which the customer confirms it; until then only totals show them, the new lines have
no tax lines yet (docs/behaviour/after-sales.md, "Swaps").
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.ids import new_id
from services.orders.fulfillments.owners import SWAP, access_owner
from services.orders.pricing import quotes
from services.orders.pricing.amounts import added_up
from services.orders.pricing.lines import (
    LINE_TOTALS,
    LINES,
    METHODS,
    change_rows,
    store_adjustments,
    store_rows,
    store_taxes,
)
from services.orders.pricing.quotes import Basket, Row, store_totals
from services.orders.totals import Line, Totals, refundable

# Lines


def new_line(variant_id: str, quantity: int) -> Row:
    """A line of new goods as it is before the catalog was asked."""
    return {
        "id": new_id("item"),
        "variant_id": variant_id,
        "quantity": quantity,
        "unit_price": None,
        "includes_tax": None,
        "has_shipping": None,
        "should_merge": True,
        "is_return": False,
        "metadata": {},
    }


def returned_line(line: Row, quantity: int) -> Row:
    """The line that gives back `quantity` of a line that was bought, with their share of its discount."""
    whole = line["quantity"]
    discounts = [
        d | {"amount": -(d["amount"] if quantity == whole else d["amount"] * quantity / whole)}
        for d in line["discounts"]
    ]
    return line | {
        "id": new_id("item"),
        "unit_price": -line["unit_price"],
        "quantity": quantity,
        "description": None,
        "is_return": True,
        "is_giftcard": False,
        "should_merge": True,
        "has_shipping": None,
        "rates": [rate["rate"] for rate in line["tax_lines"]],
        "discounts": discounts,
        "adjustments": [discount["amount"] for discount in discounts],
    }


def label_line(label: Row) -> Row:
    """What the label of the return costs."""
    return {
        "id": new_id("item"),
        "title": "Return shipping",
        "description": None,
        "thumbnail": None,
        "variant_id": None,
        "product_id": None,
        "unit_price": label["price"],
        "quantity": 1,
        "includes_tax": label["includes_tax"],
        "is_return": True,
        "is_giftcard": False,
        "should_merge": True,
        "allow_discounts": False,
        "has_shipping": True,
        "metadata": None,
        "tax_lines": label["tax_rates"],
        "rates": [rate["rate"] or 0 for rate in label["tax_rates"]],
        "discounts": [],
        "adjustments": [],
    }


def totalled(lines: Sequence[Row], methods: Sequence[Row], *, taxed: bool) -> tuple[list[Row], list[Row], Totals]:
    """Lines, methods, and the totals of all. What the new goods are worth when they come back is without tax as long as
    they have no tax lines (not `taxed`)."""
    by_line, by_method, total = added_up(lines, methods)

    def worth(line: Row) -> int:
        rates = line["rates"] if taxed or line["is_return"] else []
        amounts = Line(line["unit_price"], line["quantity"], line["includes_tax"], rates, line["adjustments"])
        return refundable(amounts, line["quantity"])

    return (
        [line | asdict(by_line[line["id"]]) | {"refundable": worth(line)} for line in lines],
        [method | asdict(by_method[method["id"]]) for method in methods],
        total,
    )


# A swap's cart as it stands

LOAD_CART = """
select json_build_object(
    'id', c.id, 'swap_id', s.id, 'order_id', s.order_id, 'region_id', c.region_id, 'customer_id', c.customer_id,
    'currency_code', c.currency_code, 'sales_channel_id', c.sales_channel_id, 'version', c.version, 'total', c.total,
    'canceled', s.canceled_at is not null, 'confirmed', s.confirmed_at is not null,
    'allow_backorder', s.allow_backorder, 'no_notification', s.no_notification,
    'offered', (
        select coalesce(json_object_agg(x.shipping_option_id, x.price), '{}')
        from custom_shipping_options x where x.cart_id = c.id),
    'provider_id', (select x.provider_id from payment_sessions x where x.cart_id = c.id and x.is_selected limit 1),
    'lines', (
        select coalesce(json_agg(json_build_object(
            'id', l.id, 'swap_id', l.swap_id, 'variant_id', l.variant_id, 'product_id', l.product_id,
            'title', l.title, 'unit_price', l.unit_price, 'quantity', l.quantity, 'is_return', l.is_return,
            'includes_tax', l.includes_tax, 'has_shipping', l.has_shipping,
            'rates', array(select x.rate from line_item_tax_lines x where x.item_id = l.id order by x.position),
            'adjustments', array(
                select x.amount from line_item_adjustments x where x.item_id = l.id order by x.position)
            ) order by l.position), '[]')
        from line_items l where l.cart_id = c.id),
    'methods', (
        select coalesce(json_agg(json_build_object(
            'id', m.id, 'shipping_option_id', m.shipping_option_id, 'profile_id', m.profile_id,
            'provider_id', m.provider_id, 'price', m.price, 'asked_price', m.asked_price, 'data', m.data,
            'includes_tax', m.includes_tax) order by m.position), '[]')
        from shipping_methods m where m.cart_id = c.id)
)::text
from carts c join swaps s on s.cart_id = c.id
where c.id = $1 and c.type = 'swap' and c.deleted_at is null and s.deleted_at is null
"""


@dataclass(frozen=True)
class SwapCart:
    """The cart of a swap, as it stood when it was read. `offered` are prices by shipping option, if staff set any."""

    id: str
    swap_id: str
    order_id: str
    region_id: str
    customer_id: str | None
    currency_code: str
    sales_channel_id: str | None
    version: int
    total: int
    canceled: bool
    confirmed: bool
    allow_backorder: bool
    no_notification: bool | None
    offered: dict[str, int]
    provider_id: str | None
    lines: list[Row]
    methods: list[Row]

    @property
    def new_lines(self) -> list[Row]:
        """The lines of what the customer gets."""
        return [line for line in self.lines if not line["is_return"]]


async def load_cart(db: Db, cart_id: str) -> SwapCart:
    """Raises NotFound, also for the carts of draft orders."""
    text = await db.fetchval(LOAD_CART, cart_id)
    if text is None:
        raise NotFound(f"There is no swap whose cart is {cart_id}.")
    return SwapCart(**orjson.loads(text))


async def access_cart(db: Db, cart_id: str, operation: str) -> SwapCart:
    """The cart, its order locked. Raises NotFound, and Conflict while a saga that the operation waits for is under
    way (orders.access_order)."""
    known = await load_cart(db, cart_id)
    await access_owner(db, SWAP, known.order_id, known.swap_id, operation)
    return await load_cart(db, cart_id)  # again: it may have changed before it could be locked


def check_open(cart: SwapCart) -> None:
    """Raises NotAllowed for a swap that was canceled, or confirmed already."""
    if cart.canceled:
        raise NotAllowed("This swap was canceled; its cart cannot be changed or completed any more.")
    if cart.confirmed:
        raise NotAllowed("This swap is confirmed; its cart cannot be changed any more.")


# Prices


@dataclass(frozen=True)
class Repriced:
    """A cart with the taxes of this moment. `lines` are all of it, those of the new goods with their tax lines."""

    lines: list[Row]
    methods: list[Row]
    total: Totals
    copies: dict[str, list[Row]]


async def reprice(app: web.Application, cart: SwapCart, methods: Sequence[Row], *, taxed: bool = False) -> Repriced:
    """What the cart comes to with these methods. Raises what the catalog refuses with, and Unavailable.

    All taxes count, also where those of drafts are not shown. Prices and discounts stay.
    """
    basket = Basket(cart.region_id, cart.new_lines, list(methods), [], cart.customer_id)
    quote = await quotes.ask(app, basket, placing=True)
    priced = {line["id"]: line for line in quote.lines}
    lines = [
        line | {name: priced[line["id"]][name] for name in ("tax_lines", "rates")} if line["id"] in priced else line
        for line in cart.lines
    ]
    return Repriced(*totalled(lines, quote.methods, taxed=taxed), quote.copies)


# Rows

# Every line whose product is of the profile of one of the methods.
SHIPPED = """
update line_items l set has_shipping = exists (
        select from shipping_methods m join copies p on p.kind = 'product' and p.id = l.product_id
        where m.cart_id = $1 and m.profile_id = p.related ->> 'profile_id'),
    updated_at = now()
where l.cart_id = $1 and l.variant_id is not null
"""


async def store_cart(db: Db, cart_id: str, lines: Sequence[Row], total: Totals) -> None:
    """Bring the stored totals of the cart and its lines up to date."""
    await change_rows(db, LINES, [{name: line[name] for name in ("id", *LINE_TOTALS)} for line in lines])
    await store_totals(db, cart_id, total)


async def set_methods(db: Db, cart_id: str, methods: Sequence[Row], *, frozen: bool = False) -> None:
    """Make these the shipping methods of the cart. `frozen` tax lines never change."""
    await store_rows(db, METHODS, methods, cart_id=cart_id)
    await store_taxes(db, METHODS, methods, frozen=frozen)
    if methods:
        await db.execute(SHIPPED, cart_id)


async def add_lines(db: Db, cart_id: str, lines: Sequence[Row]) -> None:
    """The lines of a new cart, with their discounts, and with the tax lines of what comes back."""
    await store_rows(db, LINES, [line | {"has_tax_lines": True} for line in lines], cart_id=cart_id)
    await store_taxes(db, LINES, [line for line in lines if line["is_return"]], frozen=True)
    await store_adjustments(db, lines)
