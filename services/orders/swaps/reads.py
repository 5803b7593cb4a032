"""What answers about swaps are made of. An order's answer shows its swaps by itself (services/orders/reads.py)."""

from services.chassis.db import Db
from services.chassis.embed import Many, One, Resource, Selection, Tree, cols, one_json, tree
from services.chassis.queries import page
from services.chassis.schemas import Rows
from services.orders.reads import CART
from services.orders.relations import GIFT_CARDS
from services.orders.resources import (
    ADDRESS,
    BY_POSITION,
    CART_COLUMNS,
    PLAIN_ORDER,
    PLAIN_SWAP,
    REGION,
    RETURN,
    SWAP,
    discounts,
    line,
    method,
)

ITEM_PARTS = tree(["adjustments", "tax_lines", "variant"])


def lines(column: str, always: Tree) -> Many:
    """Lines of a swap or its cart, without totals."""
    plain = line()
    resource = Resource("line_items", plain.columns, plain.relations, always=always)
    return Many(resource, f"{{t}}.{column} = {{p}}.id", BY_POSITION)


SWAP_CART = Resource(
    "carts",
    cols(
        f"{CART_COLUMNS} subtotal tax_total shipping_total discount_total gift_card_total gift_card_tax_total total",
        object="'cart'",
    ),
    {
        "discounts": discounts("cart_discounts", "cart_id"),
        "gift_cards": GIFT_CARDS,
        "items": lines("cart_id", ITEM_PARTS),
        "region": REGION,
        "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
        "shipping_methods": Many(method(), "{t}.cart_id = {p}.id", BY_POSITION),
    },
)
SHOWN_SWAP = Resource(
    "swaps",
    cols(
        "id fulfillment_status payment_status order_id difference_due cart_id metadata created_at@ updated_at@",
    ),
    {
        "additional_items": lines("swap_id", tree(["adjustments"])),
        "cart": One(SWAP_CART, "{t}.id = {p}.cart_id"),
        "fulfillments": SWAP.relations["fulfillments"],
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
        "payment": SWAP.relations["payment"],
        "return_order": One(RETURN, "{t}.swap_id = {p}.id"),
        "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
        "shipping_methods": SWAP.relations["shipping_methods"],
    },
)
SWAP_EXPAND = tree(
    [
        "additional_items",
        "cart.discounts.rule",
        "cart.gift_cards",
        "cart.items",
        "cart.region.tax_rates",
        "cart.shipping_address",
        "cart.shipping_methods",
        "fulfillments",
        "order",
        "payment",
        "return_order",
        "shipping_address",
        "shipping_methods.shipping_option",
    ]
)
SWAPS = page(PLAIN_SWAP, {}, limit=50, where="{t}.deleted_at is null", knows=("limit", "offset"))
CONFIRMED_SWAP = Resource("swaps", SWAP.columns, {"shipping_address": SHOWN_SWAP.relations["shipping_address"]})
CONFIRMED = Selection(tuple(CONFIRMED_SWAP.columns), tree(["shipping_address"]))
CONFIRMED_ANSWER = {"type": "swap", "data": Rows((CONFIRMED_SWAP,), CONFIRMED.tree)}
STORE_CART = Selection(
    tuple(CART.columns),
    tree(
        [
            "billing_address",
            "discounts.rule",
            "gift_cards",
            "items.variant.product",
            "payment",
            "payment_session",
            "payment_sessions",
            "region.countries",
            "region.payment_providers",
            "region.tax_rates",
            "sales_channel",
            "shipping_address",
            "shipping_methods.shipping_option",
        ]
    ),
)
STORE_CART_ANSWER = {"cart": Rows((CART,), STORE_CART.tree)}


async def store_cart_json(db: Db, cart_id: str) -> str:
    """What the customer sees of the cart, `{"cart": ...}`."""
    return f'{{"cart":{await one_json(db, CART, STORE_CART, "{t}.id = $1", cart_id)}}}'


async def confirmed_json(db: Db, swap_id: str) -> str:
    """The answer to completing the cart of a swap, `{"type": "swap", "data": ...}`."""
    text = await one_json(db, CONFIRMED_SWAP, CONFIRMED, "{t}.id = $1", swap_id)
    return f'{{"type":"swap","data":{text}}}'
