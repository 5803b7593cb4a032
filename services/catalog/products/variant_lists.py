"""Finding variants: those of a product, all of them, one."""

from dataclasses import dataclass, replace

from aiohttp import web

from services.catalog.answers import LIVE
from services.catalog.products.calculated_prices import Context, completed, context_of, priced_variants, variants_json
from services.catalog.products.reads import ANY_VARIANT, VARIANT, VARIANT_COLUMNS, variant_resource
from services.catalog.products.search import variants_with
from services.chassis import queries
from services.chassis.db import reading
from services.chassis.embed import Page, Resource, Selection, merge, tree, without
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.operations import get, listing, showing
from services.chassis.params import TEXT, Filter, Query, dates, described, flag, numbers, texts
from services.chassis.queries import Parameters, page
from services.chassis.schemas import Rows

FILTERS: dict[str, Filter] = {
    "id": texts("{t}.id"),
    "manage_inventory": flag("{t}.manage_inventory"),
    "allow_backorder": flag("{t}.allow_backorder"),
    "inventory_quantity": described(
        numbers("{t}.inventory_quantity"), "The quantity stored with the variant, which is not its stock."
    ),
    "q": described(
        Filter(variants_with, TEXT),
        "A part of the title or SKU, or of the product's title. With it, the product is shown, too.",
    ),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}
ALL_FILTERS = {name: of for name, of in FILTERS.items() if not name.endswith("_at")} | {"title": texts("{t}.title")}
OWN_TREE = tree(("options", "prices"))
ALL_TREE = tree(("product", "options", "prices"))
FIELDS = tuple(name for name in VARIANT_COLUMNS if name != "variant_rank")

# Reading requests

OF_PRODUCT = page(
    VARIANT,
    FILTERS,
    limit=100,
    fields=tuple(VARIANT_COLUMNS),
    expand=OWN_TREE,
    where="{t}.product_id = $1 and {t}.deleted_at is null",
    order="{t}.created_at desc, {t}.id",  # those that were made together as they were given
)
ALL = page(VARIANT, ALL_FILTERS, limit=20, fields=FIELDS, expand=ALL_TREE, where="{t}.deleted_at is null")
ONE = queries.one(VARIANT, fields=FIELDS, expand=ALL_TREE)
CONTEXT = {
    "region_id": TEXT | {"description": "The region to calculate prices for, with its taxes."},
    "currency_code": TEXT | {"description": "The currency to calculate prices in."},
    "cart_id": TEXT | {"description": "The cart whose region counts."},
    "customer_id": TEXT | {"description": "The customer whose groups' price lists count, too."},
}


def shown(chosen: Selection, query: Query, always: tuple[str, ...] = ()) -> Selection:
    """What a search, or the operation itself, shows besides what was requested. Below what it always shows, nothing."""
    more = (*always, "product") if query.get("q") else always
    below = without(chosen.tree, *always) if always else chosen.tree
    return Selection(chosen.fields, merge(below, tree(more)))


def shows_stock(query: Query) -> bool:
    """Whether the stock shows, which it does with the columns that it belongs to."""
    fields = query.get("fields", "manage_inventory")
    return "manage_inventory" in fields or "inventory_quantity" in fields


def read_of_product(query: Query, product_id: str) -> Page:
    """The page of a product's variants that a request asks for."""
    requested = OF_PRODUCT.read(query, product_id)
    return replace(requested, chosen=shown(requested.chosen, query))


@dataclass(frozen=True)
class PricedPage:
    """A page of variants, and where and for whom their prices are calculated."""

    page: Page
    context: Context
    stock: bool


def read_all(query: Query, *_path: str) -> PricedPage:
    """The page of all variants that a request asks for; the first arguments of its statement are the context's."""
    context = context_of(query)
    requested = ALL.read(query, *context.args)
    return PricedPage(
        replace(requested, chosen=shown(requested.chosen, query, ("prices",))), context, shows_stock(query)
    )


def face(requested: PricedPage, context: Context) -> Resource:
    """Variants as this request has them shown: with calculated prices where the context prices, with availability where
    it is asked for."""
    return priced_variants(quantity=requested.stock, compared=context.priced)


def read_one(query: Query, *_path: str) -> Selection:
    """The columns and relations of a variant that a request asks for."""
    return shown(ONE.read(query), query, ("prices",))


# Handlers


async def get_variants(request: web.Request, requested: PricedPage) -> web.Response:
    context = await completed(request.app, requested.context)
    args = (*context.args, *requested.page.args[len(context.args) :])
    page = replace(requested.page, resource=face(requested, context), args=args)
    async with reading(request) as db:
        return json_bytes(request, await variants_json(db, page, context))


SHOWN = Rows((ANY_VARIANT,), ALL_TREE, narrowed=True)

OPERATIONS = [
    listing(
        "/admin/products/{id}/variants",
        "variants",
        Parameters(read_of_product, OF_PRODUCT.schemas, Rows((VARIANT,), OWN_TREE, narrowed=True)),
        "List the variants of a product",
        description="The newest come first. Prices are as they are stored, those of price lists among them; a product "
        "that is not there has no variants.",
    ),
    get(
        "/admin/variants",
        get_variants,
        "List variants",
        description="With a region, a currency or a cart, each variant that has a price there shows the lowest one "
        "that holds now as `calculated_price`, and its own one as `original_price`, in minor units. In a region that "
        "calculates taxes these come with and without tax. A variant that has none shows all its prices.",
        query=Parameters(read_all, {**CONTEXT, **ALL.schemas}, SHOWN),
        answer={"variants": [SHOWN], "count": int},
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    showing(
        "/admin/variants/{id}",
        "variant",
        variant_resource(priced=True, counted=False),
        "Get a variant",
        query=Parameters(read_one, ONE.schemas, SHOWN),
        where=LIVE,
    ),
]
