"""The products of a price list, with what their variants cost without it and by it."""

from dataclasses import replace

from services.catalog.answers import listed
from services.catalog.products.lists import FILTERS as PRODUCT_FILTERS
from services.catalog.products.lists import STATUSES, in_place_of_key
from services.catalog.products.reads import (
    PLAIN_LIST,
    PRICE_COLUMNS,
    PRODUCT_COLUMNS,
    VARIANT_COLUMNS,
    product_resource,
    variant_resource,
)
from services.chassis.embed import Many, One, Page, Resource, tree
from services.chassis.operations import listing
from services.chassis.params import Filter, Query, choices, described, texts
from services.chassis.queries import Parameters, page

# $1 is the list.
PRICE = Resource(
    "prices",
    PRICE_COLUMNS,
    {"price_list": One(PLAIN_LIST, "{t}.id = {p}.price_list_id")},
    always=tree(("price_list",)),
)
OWN_AND_LISTED = (
    "{t}.variant_id = {p}.id and ({t}.price_list_id is null or {t}.price_list_id = $1) and {t}.deleted_at is null"
)
VARIANT = Resource(
    "product_variants",
    VARIANT_COLUMNS,
    {**variant_resource(priced=False, counted=False).relations, "prices": Many(PRICE, OWN_AND_LISTED)},
    always=tree(("prices",)),
)
PRODUCT = Resource(
    "products",
    PRODUCT_COLUMNS,
    {
        **product_resource(priced=False, counted=False).relations,
        "variants": Many(
            VARIANT,
            "{t}.product_id = {p}.id and {t}.deleted_at is null",
            order="{t}.variant_rank, {t}.created_at, {t}.id",
        ),
    },
)
IN_LIST = """{t}.id in (
    select v.product_id from product_variants v join prices m on m.variant_id = v.id
    where m.price_list_id = $1 and m.deleted_at is null and v.deleted_at is null
)"""
TREE = tree(("variants.options", "profiles", "images", "options.values", "tags", "type", "collection"))
KNOWN = (
    "id",
    "collection_id",
    "tags",
    "title",
    "description",
    "handle",
    "is_giftcard",
    "q",
    "created_at",
    "updated_at",
    "deleted_at",
)
FILTERS: dict[str, Filter] = {
    **{name: PRODUCT_FILTERS[name] for name in KNOWN},
    "status": choices("{t}.status", STATUSES, array_only=False),
    "type": described(texts("{t}.type_id"), "Ids of product types."),
}


ALL_PRODUCTS = page(
    PRODUCT,
    FILTERS,
    limit=50,
    fields=tuple(PRODUCT_COLUMNS),
    expand=TREE,
    where=lambda query: f"{IN_LIST} and {listed(query)}",
)


def read_products(query: Query, list_id: str) -> Page:
    """A search shows all columns, and looks at titles and descriptions itself; an empty one is none. Raises
    InvalidData."""
    searched = bool(query.get("q"))
    unread = ("fields", "title", "description") if searched else ("q",)
    products = ALL_PRODUCTS.read({name: value for name, value in query.items() if name not in unread}, list_id)
    return products if searched else replace(products, chosen=in_place_of_key(products.chosen))


OPERATIONS = [
    listing(
        "/admin/price-lists/{id}/products",
        "products",
        Parameters(read_products, ALL_PRODUCTS.schemas, ALL_PRODUCTS.rows),
        "List the products of a price list",
        description="Products with a variant that has a price in the list. Each variant shows its own prices and those "
        "of this list. A list that does not exist has no products.",
    )
]
