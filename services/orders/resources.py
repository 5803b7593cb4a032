"""What the answers about orders are made of: every resource with its columns and relations, declared once as data.

Two shapes of a line exist besides the full one: plain (its own columns, as inside lists, swaps and claims) and
`refundable` alone. Draft orders show carts; what a cart shows is the same line with other totals.
"""

from functools import cache

from services.chassis.embed import STAMP, Many, Nested, One, Relation, Resource, Value, cols, tree
from services.chassis.schemas import Either, Json

LINE_COLUMNS = (
    "id cart_id order_id swap_id claim_order_id original_item_id order_edit_id title description thumbnail is_return "
    "is_giftcard should_merge allow_discounts has_shipping unit_price variant_id quantity fulfilled_quantity "
    "returned_quantity shipped_quantity metadata includes_tax created_at@ updated_at@"
)
LINE_TOTALS = "subtotal discount_total tax_total total original_tax_total original_total"
METHOD_COLUMNS = "id shipping_option_id order_id claim_order_id cart_id swap_id return_id price data includes_tax"
METHOD_TOTALS = "subtotal tax_total total original_tax_total original_total"
BY_POSITION = "{t}.position"


# What the JSON of statements looks like (chassis/schemas.py)

TEXT_OR_NULL = Either((str, None))
OBJECT_OR_NULL = Json({"type": ["object", "null"]})
MOMENT = Json({"type": "string", "format": "date-time"})
SHOWN_PROVIDER = {"id": str, "is_installed": bool}
CURRENCY_CODE = Json({"type": "string", "description": "ISO 4217, in lower case."})
TAX_CODE = Json({"type": ["string", "null"], "description": "What the tax authority calls the rate."})
TAXED = Json(
    {"type": "boolean", "description": "Whether prices in it include taxes, unless their list says so itself."}
)
SHOWN_CURRENCY = Either(
    ({"code": CURRENCY_CODE, "symbol": str, "symbol_native": str, "name": str, "includes_tax": TAXED}, None)
)


# Of the catalog: copies


def document(kind: str, key: str, **relations: Relation) -> One:
    """The copy whose id is `key`, SQL over the parent `{p}`."""
    return One(Resource("copies", relations=relations, document=True), f"{{t}}.kind = '{kind}' and {{t}}.id = {key}")


REGION = document(
    "region",
    "{p}.region_id",
    countries=Nested(),
    currency=Nested(),
    payment_providers=Nested(),
    fulfillment_providers=Nested(),
    tax_rates=Nested(),
)
SALES_CHANNEL = document("sales_channel", "{p}.sales_channel_id")
SHIPPING_OPTION = document(
    "shipping_option",
    "{p}.shipping_option_id and {t}.body ->> 'deleted_at' is null",
    profile=Nested(),
    region=Nested(),
    requirements=Nested(),
    # An option names a provider that is installed; the copy has its name.
    provider=Value("json_build_object('id', {p}.body ->> 'provider_id', 'is_installed', true)", SHOWN_PROVIDER),
)
COUNTRY = document("country", "{p}.country_code")
# The product's copy says which profile it has, the profile's what that is: one event for a profile that is renamed,
# not one for each of its products.
PROFILE = document("shipping_profile", "{p}.related ->> 'profile_id' and {t}.body ->> 'deleted_at' is null")
PROFILES = Many(
    PROFILE.to,
    PROFILE.on,
    "{t}.id",
    also={"profile": PROFILE, "profile_id": Value("{p}.related -> 'profile_id'", TEXT_OR_NULL)},
)
PRODUCT = One(
    Resource("copies", relations={"profiles": PROFILES}, document=True),
    "{t}.kind = 'product' and {t}.id = {p}.body ->> 'product_id'",
)
VARIANT = document("variant", "{p}.variant_id", product=PRODUCT)
CURRENCY = Value(
    "select c.related -> 'currency' from copies c where c.kind = 'region' and c.id = {p}.region_id", SHOWN_CURRENCY
)


def discounts(table: str, column: str, *, rules: bool = True) -> Many:
    """The discounts of a cart or an order, in the order in which they were given; with their `rules` whatever else."""
    return Many(
        Resource(
            f"(select d.{column}, d.position, c.body, c.related from {table} d "  # noqa: S608 - names from below
            "join copies c on c.kind = 'discount' and c.id = d.discount_id)",
            relations={"rule": Nested(), "regions": Nested(), "parent_discount": Nested()},
            document=True,
            always=tree(["rule"] if rules else []),
        ),
        f"{{t}}.{column} = {{p}}.id",
        BY_POSITION,
    )


# Own rows

ADDRESS_COLUMNS = (
    "id customer_id company first_name last_name address_1 address_2 city country_code province postal_code phone "
    "metadata created_at@ updated_at@ deleted_at@"
)
ADDRESS = Resource("addresses", cols(ADDRESS_COLUMNS), {"country": COUNTRY})
GROUP = Resource("customer_groups", cols("id name metadata created_at@ updated_at@ deleted_at@"))
CUSTOMER_COLUMNS = (
    "id email first_name last_name billing_address_id phone has_account metadata created_at@ updated_at@ deleted_at@"
)
CUSTOMER = Resource(
    "customers",
    cols(CUSTOMER_COLUMNS),
    {
        "billing_address": One(ADDRESS, "{t}.id = {p}.billing_address_id"),
        "shipping_addresses": Many(ADDRESS, "{t}.customer_id = {p}.id and {t}.deleted_at is null"),
    },
)
PAYMENT_SESSION = Resource(
    "payment_sessions",
    cols(
        "id cart_id provider_id is_selected is_initiated status data idempotency_key amount payment_authorized_at@ "
        "created_at@ updated_at@"
    ),
)
ADJUSTMENT = Resource("line_item_adjustments", cols("id item_id description discount_id amount metadata"))
FULFILLMENT_ITEM = Resource("fulfillment_items", cols("fulfillment_id item_id quantity"))
TRACKING_LINK = Resource(
    "tracking_links",
    cols("id url tracking_number fulfillment_id idempotency_key created_at@ updated_at@ deleted_at@ metadata"),
)
FULFILLMENT = Resource(
    "fulfillments",
    cols(
        "id claim_order_id swap_id order_id provider_id location_id no_notification tracking_numbers data metadata "
        "shipped_at@ canceled_at@ idempotency_key created_at@ updated_at@"
    ),
    {
        "items": Many(FULFILLMENT_ITEM, "{t}.fulfillment_id = {p}.id", "{t}.item_id"),
        "tracking_links": Many(TRACKING_LINK, "{t}.fulfillment_id = {p}.id", BY_POSITION),
    },
    always=tree(["items"]),
)
ORDER_COLUMNS = (
    "id status fulfillment_status payment_status display_id cart_id draft_order_id customer_id email region_id "
    "currency_code tax_rate sales_channel_id canceled_at@ created_at@ updated_at@ metadata no_notification "
    "billing_address_id shipping_address_id external_id idempotency_key"
)
CART_COLUMNS = (
    "id email billing_address_id shipping_address_id region_id customer_id payment_id type completed_at@ "
    "payment_authorized_at@ idempotency_key context sales_channel_id metadata created_at@ updated_at@ deleted_at@"
)
SWAP_COLUMNS = (
    "id fulfillment_status payment_status order_id difference_due shipping_address_id cart_id allow_backorder "
    "no_notification idempotency_key metadata confirmed_at@ canceled_at@ created_at@ updated_at@ deleted_at@"
)
CLAIM_COLUMNS = (
    "id type payment_status fulfillment_status order_id shipping_address_id refund_amount no_notification "
    "idempotency_key metadata canceled_at@ created_at@ updated_at@ deleted_at@"
)
RETURN_COLUMNS = (
    "id status swap_id claim_order_id order_id shipping_data refund_amount location_id no_notification "
    "idempotency_key metadata received_at@ created_at@ updated_at@"
)
# As they are shown inside something else: without totals. Their relations go in circles, see relations.py.
PLAIN_ORDER = Resource("orders", cols(ORDER_COLUMNS, object="'order'"))
BARE_CART = Resource(
    "carts",
    cols(CART_COLUMNS, object="'cart'"),
    omit={"payment_session": "not exists (select from payment_sessions s where s.cart_id = {t}.id and s.is_selected)"},
)
PLAIN_SWAP = Resource("swaps", cols(SWAP_COLUMNS))
PLAIN_CLAIM = Resource("claims", cols(CLAIM_COLUMNS))
PLAIN_RETURN = Resource("returns", cols(RETURN_COLUMNS), always=tree(["items"]))
PLAIN_EDIT = Resource(
    "order_edits",
    cols(
        "id order_id internal_note created_by requested_by requested_at@ confirmed_by confirmed_at@ declined_by "
        "declined_at@ declined_reason canceled_by canceled_at@ payment_collection_id created_at@ updated_at@",
        status="case when {t}.canceled_at is not null then 'canceled' "
        "when {t}.confirmed_at is not null then 'confirmed' when {t}.declined_at is not null then 'declined' "
        "when {t}.requested_at is not null then 'requested' else 'created' end",
    ),
)
DRAFT_COLUMNS = (
    "id status display_id cart_id order_id canceled_at@ created_at@ updated_at@ metadata no_notification_order"
)
PAYMENT_COLUMNS = (
    "id swap_id cart_id order_id amount currency_code amount_refunded provider_id data captured_at@ canceled_at@ "
    "created_at@ updated_at@ metadata idempotency_key"
)
PAYMENT = Resource(
    "payments",
    cols(PAYMENT_COLUMNS),
    {
        "cart": One(BARE_CART, "{t}.id = {p}.cart_id"),
        "currency": Value(
            "select c.related -> 'currency' from orders o join copies c on c.kind = 'region' and c.id = o.region_id "
            "where o.id = {p}.order_id",
            SHOWN_CURRENCY,
        ),
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
        "swap": One(PLAIN_SWAP, "{t}.id = {p}.swap_id"),
    },
)
REFUND = Resource(
    "refunds",
    cols("id order_id payment_id amount note reason metadata idempotency_key created_at@ updated_at@"),
    {
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
        "payment": One(PAYMENT, "{t}.id = {p}.payment_id"),
    },
)


def tax_lines(table: str, key: str, *, frozen: bool, stored: bool = False) -> Value:
    """Frozen tax lines are rows of their own; those of the moment, which are all that carts show, have neither id nor
    times, and are not there where only what is `stored` is shown."""
    own = f"x.rate, x.name, x.code, x.{key}"
    times = ", ".join(f"{STAMP.format(t='x') % name} as {name}" for name in ("created_at", "updated_at"))
    of_now = {"rate": float, "name": str, "code": TAX_CODE, key: str}
    of_then = {"id": str, **of_now, "metadata": OBJECT_OR_NULL, "created_at": MOMENT, "updated_at": MOMENT}
    return Value(
        f"select coalesce(json_agg(case when {'x.frozen' if frozen else 'false'} "  # noqa: S608 - names from below
        f"then (select row_to_json(r) from (select x.id, {own}, x.metadata, {times}) r) "
        f"else (select row_to_json(r) from (select {own}) r) end order by x.position), '[]'::json) "
        f"from {table} x where x.{key} = {{p}}.id{' and x.frozen' if stored else ''}",
        [Either((of_then, of_now)) if frozen else of_now],
    )


@cache
def line(totals: str = "", *, frozen: bool = True) -> Resource:
    """A line item with these totals besides its own columns."""
    return Resource(
        "line_items",
        cols(f"{LINE_COLUMNS} {totals}"),
        {
            "adjustments": Many(ADJUSTMENT, "{t}.item_id = {p}.id", BY_POSITION),
            "cart": One(BARE_CART, "{t}.id = {p}.cart_id"),
            "claim_order": One(PLAIN_CLAIM, "{t}.id = {p}.claim_order_id"),
            "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
            "order_edit": One(PLAIN_EDIT, "{t}.id = {p}.order_edit_id"),
            "swap": One(PLAIN_SWAP, "{t}.id = {p}.swap_id"),
            "tax_lines": tax_lines("line_item_tax_lines", "item_id", frozen=frozen, stored=not totals),
            "variant": VARIANT,
        },
        omit={"tax_lines": "not {t}.has_tax_lines"},
    )


# Lines inside swaps and claims.
EXTRA_LINE = Resource(
    "line_items", line("refundable").columns, line("refundable").relations, always=tree(["adjustments", "tax_lines"])
)


@cache
def method(totals: str = "", *, frozen: bool = True) -> Resource:
    """A shipping method with these totals besides its own columns."""
    return Resource(
        "shipping_methods",
        cols(f"{METHOD_COLUMNS} {totals}"),
        {
            "cart": One(BARE_CART, "{t}.id = {p}.cart_id"),
            "claim_order": One(PLAIN_CLAIM, "{t}.id = {p}.claim_order_id"),
            "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
            "return_order": One(PLAIN_RETURN, "{t}.id = {p}.return_id"),
            "shipping_option": SHIPPING_OPTION,
            "swap": One(PLAIN_SWAP, "{t}.id = {p}.swap_id"),
            "tax_lines": tax_lines("shipping_method_tax_lines", "shipping_method_id", frozen=frozen),
        },
    )


# Lines and methods of an order's or a cart's own: never without what their totals are made of.
def lines_of(column: str, totals: str) -> Many:
    """The lines of an order or cart."""
    base = line(totals, frozen=column != "cart_id")
    always = tree(["adjustments", "tax_lines", "variant"])
    return Many(
        Resource("line_items", base.columns, base.relations, always=always, omit=base.omit),
        f"{{t}}.{column} = {{p}}.id",
        "{t}.created_at, {t}.position",
    )


def methods_of(column: str, totals: str) -> Many:
    """The shipping methods of an order or cart."""
    base = method(totals, frozen=column != "cart_id")
    return Many(
        Resource("shipping_methods", base.columns, base.relations, always=tree(["tax_lines"])),
        f"{{t}}.{column} = {{p}}.id",
        BY_POSITION,
    )


# After-sales

RETURN_REASON = Resource(
    "return_reasons",
    cols("id value label description parent_return_reason_id created_at@ updated_at@ deleted_at@ metadata"),
)
RETURN_ITEM = Resource(
    "return_items",
    cols("return_id item_id quantity is_requested requested_quantity received_quantity reason_id note metadata"),
    {
        "reason": One(RETURN_REASON, "{t}.id = {p}.reason_id"),
        "item": One(line(), "{t}.id = {p}.item_id"),
        "return_order": One(PLAIN_RETURN, "{t}.id = {p}.return_id"),
    },
)
RETURN = Resource(
    "returns",
    cols(RETURN_COLUMNS),
    {
        "claim_order": One(PLAIN_CLAIM, "{t}.id = {p}.claim_order_id"),
        "items": Many(RETURN_ITEM, "{t}.return_id = {p}.id", BY_POSITION),
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
        "shipping_method": One(method(), "{t}.return_id = {p}.id"),
        "swap": One(PLAIN_SWAP, "{t}.id = {p}.swap_id"),
    },
    always=tree(["items"]),
)
SWAP = Resource(
    "swaps",
    cols(SWAP_COLUMNS),
    {
        "cart": One(BARE_CART, "{t}.id = {p}.cart_id"),
        "additional_items": Many(EXTRA_LINE, "{t}.swap_id = {p}.id", BY_POSITION),
        "return_order": One(RETURN, "{t}.swap_id = {p}.id"),
        # Those that were created last: what was canceled before is not shown any more.
        "fulfillments": Many(
            FULFILLMENT,
            "{t}.swap_id = {p}.id and {t}.created_at = "
            "(select max(f.created_at) from fulfillments f where f.swap_id = {p}.id)",
        ),
        # A payment that was given up with an attempt to confirm the swap is not its payment.
        "payment": One(PAYMENT, "{t}.id = (select c.payment_id from carts c where c.id = {p}.cart_id)"),
        "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
        "shipping_methods": Many(method(), "{t}.swap_id = {p}.id", BY_POSITION),
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
    },
    always=tree(["additional_items"]),
)
CLAIM_CHILD = "id claim_item_id url created_at@ updated_at@ deleted_at@ metadata"
CLAIM_ITEM = Resource(
    "claim_items",
    cols("id claim_order_id item_id variant_id reason note quantity metadata created_at@ updated_at@ deleted_at@"),
    {
        "claim_order": One(PLAIN_CLAIM, "{t}.id = {p}.claim_order_id"),
        "item": One(line(), "{t}.id = {p}.item_id"),
        "images": Many(
            Resource("claim_images", cols(CLAIM_CHILD)),
            "{t}.claim_item_id = {p}.id and {t}.deleted_at is null",
            BY_POSITION,
        ),
        "tags": Many(
            Resource(
                "(select g.*, i.claim_item_id from claim_tags g join claim_item_tags i on i.tag_id = g.id)",
                cols("id value created_at@ updated_at@ deleted_at@ metadata"),
            ),
            "{t}.claim_item_id = {p}.id",
        ),
        "variant": VARIANT,
    },
)
CLAIM = Resource(
    "claims",
    cols(CLAIM_COLUMNS),
    {
        "additional_items": Many(EXTRA_LINE, "{t}.claim_order_id = {p}.id", BY_POSITION),
        "claim_items": Many(CLAIM_ITEM, "{t}.claim_order_id = {p}.id and {t}.deleted_at is null", BY_POSITION),
        "return_order": One(RETURN, "{t}.claim_order_id = {p}.id"),
        "fulfillments": Many(FULFILLMENT, "{t}.claim_order_id = {p}.id"),
        "shipping_address": One(ADDRESS, "{t}.id = {p}.shipping_address_id"),
        "shipping_methods": Many(method(), "{t}.claim_order_id = {p}.id", BY_POSITION),
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
    },
    always=tree(["additional_items"]),
)
EDIT_CHANGE = Resource(
    "order_item_changes",
    cols(
        "id type order_edit_id line_item_id original_line_item_id created_at@ updated_at@",
        deleted_at="null::text",  # a change that is taken back is gone
    ),
    {
        "line_item": One(line(), "{t}.id = {p}.line_item_id"),
        "original_line_item": One(line(), "{t}.id = {p}.original_line_item_id"),
        "order_edit": One(PLAIN_EDIT, "{t}.id = {p}.order_edit_id"),
    },
)
# Nothing under /admin pays a collection.
PAYMENT_COLLECTION = document(
    "payment_collection",
    "{p}.payment_collection_id",
    currency=Value(
        "select c.related -> 'currency' from copies c where c.kind = 'region' and c.id = {p}.body ->> 'region_id'",
        SHOWN_CURRENCY,
    ),
    payment_sessions=Value("'[]'::json", [dict]),
    payments=Value("'[]'::json", [dict]),
    region=One(REGION.to, "{t}.kind = 'region' and {t}.id = {p}.body ->> 'region_id'"),
)
# Inside an order; by itself an edit has totals, too (edits/reads.py).
ORDER_EDIT = Resource(
    "order_edits",
    PLAIN_EDIT.columns,
    {
        "changes": Many(EDIT_CHANGE, "{t}.order_edit_id = {p}.id", BY_POSITION),
        "items": Many(line(), "{t}.order_edit_id = {p}.id", "{t}.created_at, {t}.position"),
        "order": One(PLAIN_ORDER, "{t}.id = {p}.order_id"),
        "payment_collection": PAYMENT_COLLECTION,
    },
)
