"""Reads of orders, carts and draft orders: which relations and columns an answer has, and the one statement for it.

Three kinds of answers about an order differ (docs/behaviour/orders.md, "Reading"): GET one, a list, and the answer
to a write, which is never narrowed to the chosen relations.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

from services.chassis.db import Db
from services.chassis.embed import (
    Many,
    One,
    Relation,
    Resource,
    Selection,
    Tree,
    cols,
    expanded,
    merge,
    one_json,
    selected,
    tree,
    without,
)
from services.chassis.errors import InvalidData, NotFound
from services.chassis.params import Query, check_known, word
from services.chassis.queries import GENERAL, Parameters
from services.chassis.schemas import Rows
from services.orders.relations import WHOLE_DRAFT
from services.orders.resources import (
    BARE_CART,
    BY_POSITION,
    CART_COLUMNS,
    CLAIM,
    DRAFT_COLUMNS,
    EXTRA_LINE,
    LINE_TOTALS,
    METHOD_TOTALS,
    ORDER_COLUMNS,
    PLAIN_ORDER,
    REGION,
    RETURN,
    SWAP,
    discounts,
    line,
    lines_of,
    methods_of,
)

# Carts

CART_TOTALS = (
    "subtotal discount_total raw_discount_total shipping_total item_tax_total shipping_tax_total tax_total "
    "gift_card_total gift_card_tax_total total"
)


CART = Resource(
    "carts",
    cols(f"{CART_COLUMNS} {CART_TOTALS}", object="'cart'"),
    BARE_CART.relations
    | {
        "discounts": discounts("cart_discounts", "cart_id"),
        "items": lines_of("cart_id", f"{LINE_TOTALS} raw_discount_total"),
        "region": REGION,
        "shipping_methods": methods_of("cart_id", METHOD_TOTALS),
    },
    omit=BARE_CART.omit,
)

# Draft orders

LISTED_DRAFT = Resource("draft_orders", cols(DRAFT_COLUMNS), WHOLE_DRAFT.relations, always=tree(["cart"]))
DRAFT = Resource(
    "draft_orders", cols(DRAFT_COLUMNS), WHOLE_DRAFT.relations | {"cart": One(CART, "{t}.id = {p}.cart_id")}
)
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
DRAFT_ANSWER = {"draft_order": Rows((DRAFT, UPDATED_DRAFT), (("cart", DRAFT_CART_EXPAND), ("order", ())))}

# Orders

ORDER_TOTALS = (
    "subtotal discount_total shipping_total tax_total item_tax_total shipping_tax_total gift_card_total "
    "gift_card_tax_total total paid_total refunded_total refundable_amount"
)
NOT_SHOWN = {"billing_address_id", "shipping_address_id", "external_id", "idempotency_key"}
TOTALS = tuple(cols(ORDER_TOTALS))
DEFAULT_FIELDS = tuple(name for name in cols(ORDER_COLUMNS) if name not in NOT_SHOWN)
# What the totals of an order are made of: the answer to a write always has it.
WRITTEN_EXPAND = tree(
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
    WRITTEN_EXPAND,
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
DEFAULT_EXPAND = merge(without(PLACED_EXPAND, "items", "variant"), tree(["sales_channel"]))
# With the default fields or a total, lines come with the product of their variant even when nothing asked for it.
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

REFUNDABLE = cols("refundable")


def returnable(items: Many) -> Many:
    """What can come back, like the order's own lines `items`; those of swaps and claims come without their variant."""
    lines = items.to
    omit = {**lines.omit, "variant": "{t}.order_id is null"}
    to = Resource(lines.table, lines.columns, lines.relations, always=lines.always, omit=omit)
    return replace(items, to=to, on=RETURNABLE)


@cache
def order(lines: str = FULL, extra: str = "refundable", *, bare: bool = False) -> Resource:
    """An order whose lines have these totals, and those of its swaps and claims `extra`. Of `bare` lines only
    `refundable` is shown, and what was asked for."""
    items = lines_of("order_id", lines)
    relations: dict[str, Relation] = PLAIN_ORDER.relations | {
        "claims": Many(with_extra(CLAIM, "claim_order_id", extra), "{t}.order_id = {p}.id and {t}.deleted_at is null"),
        "discounts": discounts("order_discounts", "order_id"),
        "items": replace(items, to=Resource("line_items", REFUNDABLE, items.to.relations)) if bare else items,
        "region": REGION,
        "returnable_items": returnable(items),
        "returns": Many(RETURN, "{t}.order_id = {p}.id"),
        "shipping_methods": methods_of("order_id", METHOD_TOTALS if lines in (FULL, RAW) else ""),
        "swaps": Many(with_extra(SWAP, "swap_id", extra), "{t}.order_id = {p}.id and {t}.deleted_at is null"),
    }
    return Resource("orders", cols(f"{ORDER_COLUMNS} {ORDER_TOTALS}", object="'order'"), relations)


def with_extra(resource: Resource, column: str, totals: str) -> Resource:
    """Swaps or claims whose additional lines, found by `column`, have these totals."""
    plain = line(totals)
    lines = Resource("line_items", plain.columns, plain.relations, always=EXTRA_LINE.always)
    extra = Many(lines, f"{{t}}.{column} = {{p}}.id", BY_POSITION)
    return replace(resource, relations=resource.relations | {"additional_items": extra})


ORDER = order()


def chosen_relations(query: Query, *, returnable: bool) -> Tree:
    """What `expand` asks for. Raises InvalidData for `returnable_items` where it is not to be had."""
    relations = expanded(ORDER, query, DEFAULT_EXPAND)
    if not returnable and "returnable_items" in dict(relations):
        raise InvalidData("expand: returnable_items is not to be had here.")
    return relations


def keeps_defaults(query: Query) -> bool:
    """Whether the default fields are asked for: without `fields`, or where it only adds to them and takes away."""
    names = [name.strip() for name in word("fields", query.get("fields", "+id")).split(",")]
    return any(names) and all(name[:1] in ("", "+", "-") for name in names)


def named_in(query: Query) -> frozenset[str]:
    """The paths that `expand` names, each as a whole."""
    return frozenset(path.strip() for path in query["expand"].split(","))


def shown(relations: Tree, query: Query, *, defaults: bool) -> Tree:
    """The relations that GET one or a list shows of those asked for.

    What only stands on the way, as `customer` does in `expand=customer.groups`, is shown when it is a list, not when it
    is a single row. The default fields name `refundable` of every line, those of swaps and claims too; hence these are
    there whatever was asked for, and the order's own lines show no more than what was named of them.
    """
    if "expand" not in query:
        return relations
    named = named_in(query)
    tops = {name: below for name, below in relations if name in named or isinstance(ORDER.relations[name], Many)}
    if defaults and "items" not in named:
        parts, of_lines = dict(tops.get("items", ())), line().relations
        tops["items"] = tuple(
            (part, parts[part])
            for part in sorted(parts)
            if f"items.{part}" in named or isinstance(of_lines[part], Many)
        )
    if defaults or query.get("fields") == "":
        # With nothing but `returnable_items`, all the default relations are read, but these alone are shown.
        base = dict(DEFAULT_EXPAND) if named == {"returnable_items"} else {}
        tops = {name: base.get(name, ()) for name in ("claims", "swaps")} | {"items": ()} | tops
    return tuple(sorted(tops.items()))


@dataclass(frozen=True)
class OrderView:
    """What one request shows of an order: `expand` and `fields`, read once."""

    order: Resource
    chosen: Selection


def order_view(query: Query, *, totals: bool, returnable: bool = False) -> OrderView:
    """What GET one (`totals`: all totals are shown, whatever `fields` says) or a list shows of an order."""
    relations = chosen_relations(query, returnable=returnable)
    defaults = keeps_defaults(query)
    fields = selected(ORDER, query, DEFAULT_FIELDS, () if totals else ("created_at",))
    summed = set(fields) & set(TOTALS)
    bare = defaults and "expand" in query and "items" not in named_in(query)
    if defaults or summed:
        relations = with_products(relations)
    relations = shown(relations, query, defaults=defaults)
    if totals:
        extra = RAW if "returnable_items" in dict(relations) else LISTED
        face = order(FULL if defaults else RAW, extra, bare=bare)
        return OrderView(face, Selection(in_order((*fields, *TOTALS)), relations))
    if defaults:
        return OrderView(order(FULL if summed else LISTED, bare=bare), Selection(fields, relations))
    if summed:
        return OrderView(order(SUMMED if summed & {"subtotal", "total"} else "", ""), Selection(fields, relations))
    blank = ("tax_rate",) if query.get("fields") == "" else ()
    return OrderView(order(RAW), Selection(in_order((*fields, *blank, *TOTALS)), relations))


def with_products(relations: Tree) -> Tree:
    """Adds the product of every line to the relations."""
    for name in PRODUCTS.keys() & dict(relations).keys():
        relations = merge(relations, PRODUCTS[name])
    return relations


def in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, each once and in the order of their declaration, so that equal choices are equal statements."""
    return tuple(name for name in ORDER.columns if name in set(names))


def shown_view(query: Query, *_path: str) -> OrderView:
    """What GET one shows of an order."""
    check_known(query, ("fields", "expand"))
    return order_view(query, totals=True, returnable=True)


def written_view(query: Query, *_path: str, returnable: bool = False) -> OrderView:
    """What the answer to a write shows of an order. A total among the fields brings along what it is made of."""
    check_known(query, ("fields", "expand"))
    relations = merge(WRITTEN_EXPAND, chosen_relations(query, returnable=returnable))
    narrowed = not keeps_defaults(query)
    fields = selected(ORDER, query, DEFAULT_FIELDS)
    if not narrowed or set(fields) & set(TOTALS):
        fields, relations = (*fields, "tax_rate"), with_products(relations)
    return OrderView(order(RAW if narrowed else FULL), Selection(in_order((*fields, *TOTALS, "object")), relations))


FACES = (
    *(order(LISTED, bare=bare) for bare in (False, True)),
    *(order(lines, extra, bare=bare) for lines in (FULL, RAW) for extra in (LISTED, RAW) for bare in (False, True)),
    order(SUMMED, ""),
    order("", ""),
)
VIEW = {name: GENERAL[name] for name in ("expand", "fields")}
ORDER_ROWS = Rows(FACES, DEFAULT_EXPAND, narrowed=True)
# The query strings of operations about an order, which are read into an OrderView.
SHOWN = Parameters(shown_view, VIEW, ORDER_ROWS)
WRITTEN = Parameters(written_view, VIEW, ORDER_ROWS)
RETURNABLE_WRITTEN = Parameters(partial(written_view, returnable=True), VIEW, ORDER_ROWS)
ORDER_ANSWER = {"order": ORDER_ROWS}
RETURNED_ORDER_ANSWER = {"order": Rows((order(LISTED),), PLACED_EXPAND, narrowed=True)}


async def order_json(db: Db, order_id: str, view: OrderView) -> str:
    """`{"order": ...}`, as the view has it. Raises NotFound."""
    text = await one_json(db, view.order, view.chosen, "{t}.id = $1", order_id)
    if text is None:
        raise NotFound(f"There is no order {order_id}.")
    return f'{{"order":{text}}}'


async def placed_order_json(db: Db, order_id: str) -> str:
    """The answer to paying a draft order: that of a write, without the sales channel."""
    fields = in_order((*(f for f in DEFAULT_FIELDS if f != "sales_channel_id"), *TOTALS, "object"))
    return await order_json(db, order_id, OrderView(ORDER, Selection(fields, PLACED_EXPAND)))


async def returned_order_json(db: Db, order_id: str) -> str:
    """The answer to cancelling a return: that of a write without the sales channel, and without totals but what can
    still be refunded of each line."""
    fields = (*(f for f in DEFAULT_FIELDS if f != "sales_channel_id"), "object")
    return await order_json(db, order_id, OrderView(order(LISTED), Selection(in_order(fields), PLACED_EXPAND)))


async def draft_json(db: Db, draft_id: str, *, order: bool = False, whole: bool = False) -> str:
    """`{"draft_order": ...}` with its cart and all that is in it, the order too, or the whole row. Raises NotFound."""
    resource = UPDATED_DRAFT if whole else DRAFT
    relations = (("cart", DRAFT_CART_EXPAND), *((("order", ()),) if order else ()))
    text = await one_json(db, resource, Selection(tuple(resource.columns), relations), "{t}.id = $1", draft_id)
    if text is None:
        raise NotFound(f"There is no draft order {draft_id}.")
    return f'{{"draft_order":{text}}}'
