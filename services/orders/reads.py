"""Reads of orders, carts and draft orders: which relations and columns an answer has, and the one statement for it.

Three kinds of answers about an order differ (reference/orders.md, "Orders: reading"): GET one, a list, and the answer
to a write, which is never narrowed to the chosen relations.
"""

from dataclasses import replace
from functools import cache

from services.chassis.db import Db
from services.chassis.embed import (
    Many,
    One,
    Page,
    Relation,
    Resource,
    Selection,
    Tree,
    Value,
    cols,
    expanded,
    merge,
    one_json,
    page_query,
    selected,
    tree,
)
from services.chassis.errors import InvalidData, NotFound
from services.chassis.params import Filter, Query, check_known
from services.orders.resources import (
    ADDRESS,
    CLAIM,
    CURRENCY,
    CUSTOMER,
    DRAFT_COLUMNS,
    FULFILLMENT,
    LINE_TOTALS,
    METHOD_TOTALS,
    ORDER_COLUMNS,
    ORDER_EDIT,
    PAYMENT,
    PAYMENT_SESSION,
    PLAIN_ORDER,
    REFUND,
    REFUNDABLE,
    REGION,
    RETURN,
    SALES_CHANNEL,
    SWAP,
    discounts,
    lines_of,
    methods_of,
)

EMPTY_LIST = Value("'[]'::json")

# Carts

CART_COLUMNS = (
    "id email billing_address_id shipping_address_id region_id customer_id payment_id type completed_at@ "
    "payment_authorized_at@ idempotency_key context sales_channel_id metadata created_at@ updated_at@ deleted_at@"
)
CART_TOTALS = (
    "subtotal discount_total raw_discount_total shipping_total item_tax_total shipping_tax_total tax_total "
    "gift_card_total gift_card_tax_total total"
)


def cart(totals: bool) -> Resource:
    """A cart, with its totals and those of its lines or without."""
    return Resource(
        "carts",
        cols(f"{CART_COLUMNS} {CART_TOTALS if totals else ''}", object="'cart'"),
        {
            "billing_address": One(ADDRESS, "{t}.id = {p}.billing_address_id"),
            "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
            "customer": One(CUSTOMER, "{t}.id = {p}.customer_id"),
            "discounts": discounts("cart_discounts", "cart_id"),
            "gift_cards": EMPTY_LIST,  # drafts have no way to redeem a card
            "items": lines_of("cart_id", f"{LINE_TOTALS} raw_discount_total") if totals else plain_lines("cart_id"),
            "payment": One(PAYMENT, "{t}.id = {p}.payment_id"),
            "payment_session": One(PAYMENT_SESSION, "{t}.cart_id = {p}.id and {t}.is_selected"),
            "payment_sessions": Many(PAYMENT_SESSION, "{t}.cart_id = {p}.id"),
            "region": REGION,
            "sales_channel": SALES_CHANNEL,
            "shipping_methods": methods_of("cart_id", METHOD_TOTALS if totals else ""),
        },
        omit={
            "payment_session": "not exists (select from payment_sessions s where s.cart_id = {t}.id and s.is_selected)"
        },
    )


def plain_lines(column: str) -> Many:
    """The lines without totals, and without relations that were not asked for."""
    lines = lines_of(column, "")
    return replace(lines, to=Resource(lines.to.table, lines.to.columns, lines.to.relations, omit=lines.to.omit))


PLAIN_CART = cart(totals=False)
CART = cart(totals=True)

# Draft orders

DRAFT_RELATIONS = {
    "cart": One(PLAIN_CART, "{t}.id = {p}.cart_id"),
    "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
}
LISTED_DRAFT = Resource("draft_orders", cols(DRAFT_COLUMNS), DRAFT_RELATIONS)
WHOLE_DRAFT = Resource("draft_orders", cols(f"{DRAFT_COLUMNS} completed_at@ idempotency_key"), DRAFT_RELATIONS)
DRAFT = Resource("draft_orders", cols(DRAFT_COLUMNS), DRAFT_RELATIONS | {"cart": One(CART, "{t}.id = {p}.cart_id")})
UPDATED_DRAFT = Resource("draft_orders", WHOLE_DRAFT.columns, DRAFT.relations)
LISTED_DRAFT_EXPAND = tree(["order", "cart.items.adjustments"])
DRAFT_CART_EXPAND = tree(
    [
        "billing_address.country",
        "customer",
        "discounts.rule",
        "gift_cards",
        "items.variant.product.profiles",
        "payment",
        "payment_session",
        "payment_sessions",
        "region.payment_providers",
        "region.tax_rates",
        "shipping_address.country",
        "shipping_methods.shipping_option",
    ]
)

# Orders

ORDER_TOTALS = (
    "subtotal discount_total shipping_total tax_total item_tax_total shipping_tax_total gift_card_total "
    "gift_card_tax_total total paid_total refunded_total refundable_amount"
)
NOT_SHOWN = {"billing_address_id", "shipping_address_id", "external_id", "idempotency_key"}
TOTALS = tuple(cols(ORDER_TOTALS))
DEFAULT_FIELDS = tuple(name for name in cols(ORDER_COLUMNS) if name not in NOT_SHOWN)
# What the totals of an order are made of: the answer to a write always has it.
WRITTEN = tree(
    [
        "claims",
        "discounts",
        "gift_card_transactions",
        "gift_cards",
        "items",
        "payments",
        "refunds",
        "region",
        "shipping_methods",
        "swaps",
    ]
)
AFTER_SALE = ("additional_items.variant", "fulfillments.tracking_links", "shipping_address", "shipping_methods")
PLACED_EXPAND = merge(
    WRITTEN,
    tree(
        [
            "billing_address",
            "customer",
            "fulfillments.tracking_links",
            "items.variant.product.profiles",
            "returns.items.reason",
            "returns.shipping_method.shipping_option",
            "returns.shipping_method.tax_lines",
            "shipping_address",
            "shipping_methods.shipping_option",
            "claims.claim_items.images",
            "claims.claim_items.item",
            "claims.return_order.shipping_method.tax_lines",
            "swaps.payment",
            "swaps.return_order.shipping_method.shipping_option",
            "swaps.return_order.shipping_method.tax_lines",
            "swaps.shipping_methods.shipping_option",
            "swaps.shipping_methods.tax_lines",
            *(f"{name}.{path}" for name in ("claims", "swaps") for path in AFTER_SALE),
        ]
    ),
)
DEFAULT_EXPAND = merge(PLACED_EXPAND, tree(["sales_channel"]))
# With the default fields, lines come with the product of their variant even when `expand` did not ask for it.
PRODUCTS = {name: tree([f"{name}.variant.product.profiles"]) for name in ("items", "returnable_items")}
# Also what its swaps and claims have shipped.
RETURNABLE = (
    "{t}.id in (select l.id from line_items l where l.order_id = {p}.id "
    "union all select l.id from swaps s join line_items l on l.swap_id = s.id where s.order_id = {p}.id "
    "union all select l.id from claims c join line_items l on l.claim_order_id = c.id where c.order_id = {p}.id) "
    "and not {t}.is_return and coalesce({t}.returned_quantity, 0) < coalesce({t}.shipped_quantity, 0)"
)
FULL, RAW, LISTED, SUMMED = (
    f"{LINE_TOTALS} refundable",
    f"{LINE_TOTALS} refundable raw_discount_total",
    "refundable",
    f"{LINE_TOTALS} raw_discount_total",
)


def returnable(items: Many) -> Many:
    """What can come back, like the order's own lines `items`; those of swaps and claims come without their variant."""
    lines = items.to
    omit = {**lines.omit, "variant": "{t}.order_id is null"}
    to = Resource(lines.table, lines.columns, lines.relations, always=lines.always, omit=omit)
    return replace(items, to=to, on=RETURNABLE)


@cache
def order(lines: str = FULL, bare: frozenset[str] = frozenset()) -> Resource:
    """An order whose lines have these totals. Of the relations in `bare` only `refundable` is shown."""
    items = lines_of("order_id", lines)
    relations: dict[str, Relation] = {
        "billing_address": One(ADDRESS, "{t}.id = {p}.billing_address_id"),
        "cart": One(PLAIN_CART, "{t}.id = {p}.cart_id"),
        "claims": Many(CLAIM, "{t}.order_id = {p}.id and {t}.deleted_at is null"),
        "currency": CURRENCY,
        "customer": One(CUSTOMER, "{t}.id = {p}.customer_id"),
        "discounts": discounts("order_discounts", "order_id"),
        "draft_order": One(WHOLE_DRAFT, "{t}.id = {p}.draft_order_id"),
        "edits": Many(ORDER_EDIT, "{t}.order_id = {p}.id"),
        "fulfillments": Many(FULFILLMENT, "{t}.order_id = {p}.id"),
        "gift_card_transactions": EMPTY_LIST,  # cards can be sold but not redeemed under /admin
        "gift_cards": EMPTY_LIST,
        "items": items,
        "payments": Many(PAYMENT, "{t}.order_id = {p}.id"),
        "refunds": Many(REFUND, "{t}.order_id = {p}.id"),
        "region": REGION,
        "returnable_items": returnable(items),
        "returns": Many(RETURN, "{t}.order_id = {p}.id"),
        "sales_channel": SALES_CHANNEL,
        "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
        "shipping_methods": methods_of("order_id", METHOD_TOTALS if lines in (FULL, RAW) else ""),
        "swaps": Many(SWAP, "{t}.order_id = {p}.id and {t}.deleted_at is null"),
    }
    if "items" in bare:
        relations["items"] = replace(items, to=REFUNDABLE)
    for name, column in (("claims", "claim_order_id"), ("swaps", "swap_id")):
        if name in bare:
            extra = Many(REFUNDABLE, f"{{t}}.{column} = {{p}}.id", "{t}.position")
            within = Resource(name, {}, {"additional_items": extra}, always=tree(["additional_items"]))
            relations[name] = Many(within, "{t}.order_id = {p}.id and {t}.deleted_at is null")
    return Resource("orders", cols(f"{ORDER_COLUMNS} {ORDER_TOTALS}", object="'order'"), relations)


ORDER = order()


def chosen_relations(query: Query, *, returnable: bool) -> Tree:
    """What `expand` asks for. Raises InvalidData for `returnable_items` where it is not to be had."""
    asked = expanded(ORDER, query, DEFAULT_EXPAND)
    if not returnable and "returnable_items" in dict(asked):
        raise InvalidData("expand: returnable_items is not to be had here.")
    return asked


def order_view(query: Query, *, totals: bool, returnable: bool = False) -> tuple[Resource, Selection]:
    """What GET one (`totals`: all totals are shown, whatever `fields` says) or a list shows of an order.

    The default fields include `refundable` of every line; so lines that were not expanded show that and nothing else.
    """
    asked = chosen_relations(query, returnable=returnable)
    if "fields" in query:
        always = ("created_at",) if not totals else ()
        fields = selected(ORDER, query, DEFAULT_FIELDS, always)
        if totals or not set(fields) & set(TOTALS):
            return order(RAW), Selection(in_order((*fields, *TOTALS)), asked)
        return order(SUMMED), Selection(fields, asked)
    asked = with_products(asked)
    bare = frozenset({"items", "claims", "swaps"} - dict(asked).keys())
    fields = in_order((*DEFAULT_FIELDS, *TOTALS)) if totals else DEFAULT_FIELDS
    return order(FULL if totals else LISTED, bare), Selection(fields, merge(asked, tree(sorted(bare))))


def with_products(asked: Tree) -> Tree:
    """The relations, with the product of every line."""
    for name in PRODUCTS.keys() & dict(asked).keys():
        asked = merge(asked, PRODUCTS[name])
    return asked


def in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, each once and in the order of their declaration, so that equal choices are equal statements."""
    return tuple(name for name in ORDER.columns if name in set(names))


def written_order_view(query: Query, *, returnable: bool = False) -> tuple[Resource, Selection]:
    """What the answer to a write shows of an order. A total among the fields brings along what it is made of."""
    asked = merge(WRITTEN, chosen_relations(query, returnable=returnable))
    narrowed = "fields" in query
    fields = selected(ORDER, query, DEFAULT_FIELDS)
    if not narrowed or set(fields) & set(TOTALS):
        fields, asked = (*fields, "tax_rate"), with_products(asked)
    return order(RAW if narrowed else FULL), Selection(in_order((*fields, *TOTALS, "object")), asked)


async def order_json(db: Db, order_id: str, query: Query) -> str:
    """The answer of GET one, `{"order": ...}`. Raises NotFound, and InvalidData for a bad query."""
    check_known(query, ("fields", "expand"))
    return await found_order(db, order_id, *order_view(query, totals=True, returnable=True))


async def written_order_json(db: Db, order_id: str, query: Query, *, returnable: bool = False) -> str:
    """The answer of a write about an order, `{"order": ...}`. Check the query with `check_order_query` before it."""
    return await found_order(db, order_id, *written_order_view(query, returnable=returnable))


async def placed_order_json(db: Db, order_id: str) -> str:
    """The answer to paying a draft order: that of a write, without the sales channel."""
    fields = in_order((*(f for f in DEFAULT_FIELDS if f != "sales_channel_id"), *TOTALS, "object"))
    return await found_order(db, order_id, ORDER, Selection(fields, PLACED_EXPAND))


async def returned_order_json(db: Db, order_id: str) -> str:
    """The answer to cancelling a return: that of a write without the sales channel, and without totals but what can
    still be refunded of each line."""
    fields = (*(f for f in DEFAULT_FIELDS if f != "sales_channel_id"), "object")
    return await found_order(db, order_id, order(LISTED), Selection(in_order(fields), PLACED_EXPAND))


async def found_order(db: Db, order_id: str, resource: Resource, chosen: Selection) -> str:
    """`{"order": ...}`. Raises NotFound."""
    text = await one_json(db, resource, chosen, "{t}.id = $1", order_id)
    if text is None:
        raise NotFound(f"There is no order {order_id}.")
    return f'{{"order":{text}}}'


def check_order_query(query: Query, *, returnable: bool = False) -> None:
    """Raises InvalidData for a query that a write about an order would not understand."""
    check_known(query, ("fields", "expand"))
    written_order_view(query, returnable=returnable)


async def draft_json(db: Db, draft_id: str, *, order: bool = False, whole: bool = False) -> str:
    """`{"draft_order": ...}` with its cart and all that is in it, the order too, or the whole row. Raises NotFound."""
    resource = UPDATED_DRAFT if whole else DRAFT
    relations = (("cart", DRAFT_CART_EXPAND), *((("order", ()),) if order else ()))
    text = await one_json(db, resource, Selection(tuple(resource.columns), relations), "{t}.id = $1", draft_id)
    if text is None:
        raise NotFound(f"There is no draft order {draft_id}.")
    return f'{{"draft_order":{text}}}'


def drafts_page(query: Query, filters: dict[str, Filter], limit: int = 50) -> Page:
    """A checked list request of draft orders. Raises InvalidData."""
    page = page_query(LISTED_DRAFT, query, filters, limit=limit, expand=LISTED_DRAFT_EXPAND)
    # The cart is always there.
    return replace(page, chosen=replace(page.chosen, tree=merge(page.chosen.tree, tree(["cart"]))))
