"""Finding variants: those of a product, all of them, one."""

from dataclasses import replace

from aiohttp import web

from services.catalog.answers import LIVE, get_page, one
from services.catalog.products.calculated_prices import Context, completed, context_of, priced_variants, variants_json
from services.catalog.products.reads import VARIANT, VARIANT_COLUMNS, variant_resource
from services.catalog.products.search import found_variants
from services.chassis.db import reading
from services.chassis.embed import Resource, Selection, merge, one_query, page_query, tree, without
from services.chassis.http import json_bytes
from services.chassis.params import TEXT, Filter, Query, dates, flag, numbers, query_of, texts

FILTERS: dict[str, Filter] = {
    "id": texts("{t}.id"),
    "manage_inventory": flag("{t}.manage_inventory"),
    "allow_backorder": flag("{t}.allow_backorder"),
    "inventory_quantity": numbers("{t}.inventory_quantity"),
    "q": Filter(found_variants, TEXT),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}
ALL_FILTERS = {name: of for name, of in FILTERS.items() if not name.endswith("_at")} | {"title": texts("{t}.title")}
OWN_TREE = tree(("options", "prices"))
ALL_TREE = tree(("product", "options", "prices"))
FIELDS = tuple(name for name in VARIANT_COLUMNS if name != "variant_rank")


def shown(chosen: Selection, query: Query, always: tuple[str, ...] = ()) -> Selection:
    """What a search, or the operation itself, shows besides what was asked for. Below what it always shows, nothing."""
    more = (*always, "product") if query.get("q") else always
    asked = without(chosen.tree, *always) if always else chosen.tree
    return Selection(chosen.fields, merge(asked, tree(more)))


def face(query: Query, context: Context) -> Resource:
    """Variants with prices and availability; the stock shows with the columns that it belongs to."""
    fields = query.get("fields", "manage_inventory")
    quantity = "manage_inventory" in fields or "inventory_quantity" in fields
    return priced_variants(quantity=quantity, compared=context.priced)


async def get_product_variants(request: web.Request) -> web.Response:
    query = query_of(request)
    page = page_query(
        VARIANT,
        query,
        FILTERS,
        limit=100,
        fields=tuple(VARIANT_COLUMNS),
        expand=OWN_TREE,
        where="{t}.product_id = $1 and {t}.deleted_at is null",
        args=(request.match_info["id"],),
        order="{t}.created_at desc, {t}.id",  # those that were made together as they were given
    )
    return await get_page(request, "variants", replace(page, chosen=shown(page.chosen, query)))


async def get_variants(request: web.Request) -> web.Response:
    query = query_of(request)
    context = context_of(query)
    page = page_query(
        VARIANT,
        query,
        ALL_FILTERS,
        limit=20,
        fields=FIELDS,
        expand=ALL_TREE,
        where="{t}.deleted_at is null",
        args=context.args,
    )
    context = await completed(request.app, context)
    args = (*context.args, *page.args[len(context.args) :])
    page = replace(page, resource=face(query, context), args=args, chosen=shown(page.chosen, query, ("prices",)))
    async with reading(request) as db:
        return json_bytes(request, await variants_json(db, page, context))


async def get_variant(request: web.Request) -> web.Response:
    query, variant_id = query_of(request), request.match_info["id"]
    resource = variant_resource(priced=True, counted=False)
    what = shown(one_query(VARIANT, query, fields=FIELDS, expand=ALL_TREE), query, ("prices",))
    async with reading(request) as db:
        return json_bytes(request, await one(db, "variant", resource, what, variant_id, LIVE))


OPERATIONS = [
    web.get("/admin/products/{id}/variants", get_product_variants),
    web.get("/admin/variants", get_variants),
    web.get("/admin/variants/{id}", get_variant),
]
