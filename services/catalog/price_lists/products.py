"""The products of a price list, with what their variants cost without it and by it."""

from dataclasses import replace

from aiohttp import web

from services.catalog.answers import get_page, listed
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
from services.chassis.embed import Many, One, Resource, page_query, tree
from services.chassis.params import Filter, choices, query_of, texts

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
    "type": texts("{t}.type_id"),
}


async def get_price_list_products(request: web.Request) -> web.Response:
    """An unknown list has no products, which is no error."""
    query = query_of(request)
    searched = bool(query.get("q"))
    if searched:
        # A search shows all columns, and looks at titles and descriptions itself.
        query = {name: value for name, value in query.items() if name not in ("fields", "title", "description")}
    else:
        query.pop("q", None)
    page = page_query(
        PRODUCT,
        query,
        FILTERS,
        limit=50,
        fields=tuple(PRODUCT_COLUMNS),
        expand=TREE,
        where=f"{IN_LIST} and {listed(query)}",
        args=(request.match_info["id"],),
    )
    return await get_page(request, "products", page if searched else replace(page, chosen=in_place_of_key(page.chosen)))


OPERATIONS = [web.get("/admin/price-lists/{id}/products", get_price_list_products)]
