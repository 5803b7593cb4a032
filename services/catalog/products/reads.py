"""How products look in answers: columns, relations, and the keys that come and go with prices and stock.

Two rules of the API make several faces of one product. Prices carry their `variant_id` and `price_list`, and variants
with prices carry the (empty) fields of a calculated price, only where `variants` and `variants.prices` are both asked
for. And only GET shows what is available: `purchasable`, and the stock that the inventory counts instead of the stored
`inventory_quantity` (services/catalog/products/stock.py).
"""

from functools import cache

from services.catalog.resources import CURRENCY, INNER_REGION, LOCATED_CHANNEL, SHIPPING_PROFILE
from services.chassis.db import Db
from services.chassis.embed import STAMP, Many, One, Resource, Selection, Tree, Value, cols, one_json, tree
from services.chassis.errors import NotFound
from services.chassis.schemas import Json, Rows

PRODUCT_COLUMNS = cols(
    "id created_at@ updated_at@ deleted_at@ title subtitle description handle is_giftcard status thumbnail weight"
    " length height width hs_code origin_country mid_code material collection_id type_id discountable external_id"
    " metadata"
)
VARIANT_COLUMNS = cols(
    "id created_at@ updated_at@ deleted_at@ title product_id sku barcode ean upc variant_rank inventory_quantity"
    " allow_backorder manage_inventory hs_code origin_country mid_code material weight length height width metadata"
)
PRICE_COLUMNS = cols(
    "id created_at@ updated_at@ deleted_at@ currency_code amount min_quantity max_quantity price_list_id region_id"
)

COLLECTION_COLUMNS = cols("id created_at@ updated_at@ deleted_at@ title handle metadata")
TYPE = Resource("product_types", cols("id created_at@ updated_at@ deleted_at@ value metadata"))
TAG = Resource("product_tags", cols("id created_at@ updated_at@ deleted_at@ value metadata"))
IMAGE = Resource("images", cols("id created_at@ updated_at@ deleted_at@ url metadata"))
CATEGORY_COLUMNS = cols(
    "id created_at@ updated_at@ name description handle is_active is_internal rank parent_category_id metadata"
)
# Products, variants and options as they are shown inside of each other, where each leads to the others again.
PRODUCT = Resource("products", PRODUCT_COLUMNS)
VARIANT = Resource("product_variants", VARIANT_COLUMNS)
OPTION = Resource("product_options", cols("id created_at@ updated_at@ deleted_at@ title product_id metadata"))
VARIANT_ON = "{t}.id = {p}.variant_id and {t}.deleted_at is null"
OPTION_VALUE = Resource(
    "product_option_values",
    cols("id created_at@ updated_at@ deleted_at@ value option_id variant_id metadata"),
    {
        "option": One(OPTION, "{t}.id = {p}.option_id and {t}.deleted_at is null"),
        "variant": One(VARIANT, VARIANT_ON),
    },
)
# The item of the inventory that counts a variant. An item counts one variant, so the link is numbered after it.
ITEM_LINK = Resource(
    "variant_availability",
    cols(
        "inventory_item_id variant_id",
        id="'pvitem_' || substr({t}.inventory_item_id, length('iitem_') + 1)",
        created_at=STAMP % "linked_at",
        updated_at=STAMP % "linked_at",
        deleted_at="null::text",
        required_quantity="1",
    ),
    {"variant": One(VARIANT, VARIANT_ON)},
)

PLAIN_LIST = Resource(
    "price_lists",
    cols(
        "id created_at@ updated_at@ name description type status starts_at@ ends_at@ includes_tax",
        deleted_at="null::text",
    ),
)
PRICE = Resource(
    "prices",
    PRICE_COLUMNS,
    {
        "currency": One(CURRENCY, "{t}.code = {p}.currency_code"),
        "region": One(INNER_REGION, "{t}.id = {p}.region_id and {t}.deleted_at is null"),
        "price_list": One(PLAIN_LIST, "{t}.id = {p}.price_list_id"),
        "variants": Many(
            VARIANT,
            VARIANT_ON,
            also={"variant": One(VARIANT, VARIANT_ON), "variant_id": Value("to_json({p}.variant_id)", shows=str)},
        ),
    },
)
PRICED = Resource("prices", PRICE_COLUMNS | {"variant_id": "{t}.variant_id", "price_list": "null::json"})
# Where prices are shown as they are, those of price lists are among them.
PRICES = Many(PRICE, "{t}.variant_id = {p}.id and {t}.deleted_at is null")
OWN_PRICES = "{t}.variant_id = {p}.id and {t}.price_list_id is null and {t}.deleted_at is null"

NO_CALCULATED_PRICE = """{row} || case when exists (
    select from prices c where c.variant_id = {t}.id and c.price_list_id is null and c.deleted_at is null
) then '{{"original_price": null, "calculated_price": null, "original_price_includes_tax": null,
    "calculated_price_includes_tax": null, "original_price_incl_tax": null, "calculated_price_incl_tax": null,
    "original_tax": null, "calculated_tax": null, "tax_rates": null}}'::jsonb else '{{}}'::jsonb end"""
# One row whatever there is: looked up per variant shown, for a join would be made for all variants that are there.
AVAILABILITY = """(
    select (({priced}) {stock})
        - case when {{t}}.manage_inventory and not a.has_item then 'inventory_quantity' else '' end
        || jsonb_build_object('purchasable',
            not {{t}}.manage_inventory or not a.has_item or {{t}}.allow_backorder or a.available > 0)
    from (
        select coalesce(max(c.available), 0) as available, coalesce(bool_or(c.has_item), false) as has_item
        from variant_availability c where c.variant_id = {{t}}.id
    ) a
)"""
STOCK = """|| case when {t}.manage_inventory and a.has_item
    then jsonb_build_object('inventory_quantity', a.available) else '{{}}'::jsonb end"""


@cache
def variant_resource(*, priced: bool, counted: bool) -> Resource:
    """Variants, with or without the fields of calculated prices and with or without availability."""
    shape = NO_CALCULATED_PRICE if priced else "{row}"
    if counted:
        shape = AVAILABILITY.format(priced=shape, stock=STOCK)
    return Resource(
        "product_variants",
        VARIANT_COLUMNS,
        {**VARIANT.relations, "prices": Many(PRICED, OWN_PRICES) if priced else PRICES},
        shape=shape if priced or counted else "",
    )


PROFILE_ON = "{t}.id = {p}.profile_id and {t}.deleted_at is null"
PROFILES = Many(
    SHIPPING_PROFILE,
    PROFILE_ON,
    also={
        "profile": One(SHIPPING_PROFILE, PROFILE_ON),
        "profile_id": Value("select to_json(s.id) from shipping_profiles s where s.id = {p}.profile_id", shows=str),
    },
)
PLAIN_PRODUCT = Resource("products", PRODUCT_COLUMNS, {"profiles": PROFILES})
COLLECTION = Resource("product_collections", COLLECTION_COLUMNS)
CATEGORY = Resource("product_categories", CATEGORY_COLUMNS)
VARIANTS_ON = "{t}.product_id = {p}.id and {t}.deleted_at is null"
VARIANTS_ORDER = "{t}.variant_rank, {t}.created_at, {t}.id"
OPTION.relations.update(
    {
        "values": Many(OPTION_VALUE, "{t}.option_id = {p}.id and {t}.deleted_at is null"),
        "product": One(PRODUCT, "{t}.id = {p}.product_id and {t}.deleted_at is null"),
    }
)
VARIANT.relations.update(
    {
        "product": One(PRODUCT, "{t}.id = {p}.product_id"),
        "prices": PRICES,
        "options": Many(OPTION_VALUE, "{t}.variant_id = {p}.id and {t}.deleted_at is null"),
        "inventory_items": Many(
            ITEM_LINK, "{t}.variant_id = {p}.id and {t}.inventory_item_id is not null", order="{t}.variant_id"
        ),
    }
)
CATEGORY.relations.update(
    {
        "parent_category": One(CATEGORY, "{t}.id = {p}.parent_category_id"),
        "category_children": Many(CATEGORY, "{t}.parent_category_id = {p}.id", order="{t}.rank, {t}.handle"),
        "products": Many(
            PRODUCT,
            "{t}.id in (select product_id from product_category_links where category_id = {p}.id)"
            " and {t}.deleted_at is null",
        ),
    }
)
PRODUCT.relations.update(
    {
        "variants": Many(VARIANT, VARIANTS_ON, order=VARIANTS_ORDER),
        "options": Many(OPTION, "{t}.product_id = {p}.id and {t}.deleted_at is null"),
        "profiles": PROFILES,
        "images": Many(
            IMAGE,
            "{t}.id in (select image_id from product_images where product_id = {p}.id)",
            order="(select l.position from product_images l where l.image_id = {t}.id and l.product_id = {p}.id)",
        ),
        "tags": Many(
            TAG,
            "{t}.id in (select tag_id from product_tag_links where product_id = {p}.id)",
            order="(select l.position from product_tag_links l where l.tag_id = {t}.id and l.product_id = {p}.id)",
        ),
        "type": One(TYPE, "{t}.id = {p}.type_id"),
        "collection": One(COLLECTION, "{t}.id = {p}.collection_id and {t}.deleted_at is null"),
        "sales_channels": Many(
            LOCATED_CHANNEL,
            "{t}.id in (select sales_channel_id from product_sales_channels where product_id = {p}.id)"
            " and {t}.deleted_at is null",
        ),
        "categories": Many(
            CATEGORY,
            "{t}.id in (select category_id from product_category_links where product_id = {p}.id)",
            order="{t}.rank, {t}.handle",
        ),
    }
)


@cache
def product_resource(*, priced: bool, counted: bool) -> Resource:
    """Products, with the face of their variants chosen as in `variant_resource`."""
    variants = variant_resource(priced=priced, counted=counted)
    relations = {**PRODUCT.relations, "variants": Many(variants, VARIANTS_ON, order=VARIANTS_ORDER)}
    return Resource(PRODUCT.table, PRODUCT_COLUMNS, relations)


# What a product is answered with unless the request says otherwise.
PRODUCT_TREE: Tree = tree(
    (
        "variants.prices",
        "variants.options",
        "profiles",
        "images",
        "options.values",
        "tags",
        "type",
        "collection",
        "sales_channels",
        "categories",
    )
)
WHOLE_PRODUCT = Selection(tuple(PRODUCT_COLUMNS), PRODUCT_TREE)


# What the documentation shows: variants with whatever any of their faces has. No key but the id is always there.
CALCULATED = {
    "original_price": "null::bigint",
    "calculated_price": "null::bigint",
    "calculated_price_type": "null::text",
    "original_price_includes_tax": "null::boolean",
    "calculated_price_includes_tax": "null::boolean",
    "original_price_incl_tax": "null::bigint",
    "calculated_price_incl_tax": "null::bigint",
    "original_tax": "null::bigint",
    "calculated_tax": "null::bigint",
    "purchasable": "null::boolean",
}
TAX_RATES = Value("null", shows=Json({"type": ["array", "null"], "items": {"type": "object"}}))
ANY_VARIANT = Resource(
    "product_variants", VARIANT_COLUMNS | CALCULATED, {**VARIANT.relations, "tax_rates": TAX_RATES}, shape="{row}"
)
ANY_PRODUCT = Resource(
    PRODUCT.table,
    PRODUCT_COLUMNS,
    {**PRODUCT.relations, "variants": Many(ANY_VARIANT, VARIANTS_ON, order=VARIANTS_ORDER)},
)
# A product as a request chooses it, and the one in the answer to a change.
SHOWN = Rows((ANY_PRODUCT,), PRODUCT_TREE, narrowed=True)
WRITTEN = Rows((ANY_PRODUCT,), PRODUCT_TREE)


async def product_json(db: Db, product_id: str, *, priced: bool = True) -> str:
    """The product as the answer of a change shows it: whole, without availability. Raises NotFound."""
    resource = product_resource(priced=priced, counted=False)
    text = await one_json(db, resource, WHOLE_PRODUCT, "{t}.id = $1 and {t}.deleted_at is null", product_id)
    if text is None:
        raise NotFound(f"There is no product {product_id}.")
    return text
