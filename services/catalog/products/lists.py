"""Finding products: GET /admin/products, GET /admin/products/{id}."""

from dataclasses import dataclass, replace
from typing import Any

from services.catalog.answers import listed, one
from services.catalog.products.conditions import named_in_condition
from services.catalog.products.reads import PRODUCT, PRODUCT_COLUMNS, PRODUCT_TREE, SHOWN, product_resource
from services.catalog.products.search import products_with
from services.chassis import queries
from services.chassis.db import Db
from services.chassis.embed import Page, Resource, Selection, tree, without
from services.chassis.errors import NotFound
from services.chassis.operations import get, listing
from services.chassis.params import (
    FLAG,
    TEXT,
    TEXTS,
    Bind,
    Filter,
    Query,
    boolean,
    choices,
    dates,
    described,
    text,
    texts,
    truth,
)
from services.chassis.queries import Parameters, page

STATUSES = ("draft", "proposed", "published", "rejected")
LINKED = "{{t}}.id in (select l.product_id from {table} l where {condition})"
BELOW = """l.category_id in (
    with recursive below as (
        select c.id from product_categories c where {ids}
        union select c.id from product_categories c join below b on c.parent_category_id = b.id
    ) select id from below
)"""
PRICED_IN = """{{t}}.id in (
    select v.product_id from product_variants v join prices m on m.variant_id = v.id
    where {ids} and m.deleted_at is null and v.deleted_at is null
)"""


def linked(table: str, column: str, where: str = "true") -> Filter:
    """Products that `table` links to one of the ids given."""
    ids = texts(f"l.{column}", array_only=True)
    return Filter(
        lambda name, value, bind: LINKED.format(table=table, condition=f"{ids(name, value, bind)} and {where}"), TEXTS
    )


def in_categories(name: str, value: Any, bind: Bind) -> str:
    """Products in one of the categories themselves."""
    return linked("product_category_links", "category_id")(name, value, bind)


def below_categories(name: str, value: Any, bind: Bind) -> str:
    """Products in one of the categories, or anywhere below one."""
    ids = texts("c.id", array_only=True)(name, value, bind)
    return LINKED.format(table="product_category_links", condition=BELOW.format(ids=ids))


def priced_in_list(name: str, value: Any, bind: Bind) -> str:
    """Products with a variant that has a price in one of the lists."""
    return PRICED_IN.format(ids=texts("m.price_list_id", array_only=True)(name, value, bind))


def gift_cards(name: str, value: Any, bind: Bind) -> str:
    """Gift cards or the rest, in words that the index of the few gift cards knows."""
    return "{t}.is_giftcard" if truth(name, value) else "not {t}.is_giftcard"


def ignored(name: str, value: Any, bind: Bind) -> str:
    """A parameter that only says how another one is meant."""
    return "true"


FILTERS: dict[str, Filter] = {
    "id": texts("{t}.id"),
    "status": choices("{t}.status", STATUSES, array_only=False),
    "collection_id": texts("{t}.collection_id", array_only=True),
    "discount_condition_id": named_in_condition,
    "type_id": texts("{t}.type_id", array_only=True),
    "tags": described(linked("product_tag_links", "tag_id"), "Ids of tags: products with one of them."),
    "sales_channel_id": linked("product_sales_channels", "sales_channel_id"),
    "category_id": described(Filter(in_categories, TEXTS), "Ids of categories: products in one of them."),
    "include_category_children": described(
        Filter(ignored, FLAG), "Whether `category_id` also means the categories below those."
    ),
    "price_list_id": described(
        Filter(priced_in_list, TEXTS), "Ids of price lists: products with a variant that has a price in one of them."
    ),
    "title": text("{t}.title"),
    "description": text("{t}.description"),
    "handle": text("{t}.handle"),
    "is_giftcard": Filter(gift_cards, FLAG),
    "q": described(
        Filter(products_with, TEXT),
        "A part of a title or description, of a variant's title or SKU, or of a collection's title. With it, `fields`, "
        "`title` and `description` count for nothing.",
    ),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("{t}.deleted_at"), "Deleted products are listed in place of the others."),
}


def face(query: Query, chosen: Selection) -> tuple[Resource, Selection]:
    """The resource for what the request expands: prices are complete only next to `variants` itself, as is stock.

    What is requested below complete prices is not shown.
    """
    expanded = {p.strip() for p in query.get("expand", "variants,variants.prices").split(",")}
    priced = {"variants", "variants.prices"} <= expanded
    below = without(chosen.tree, "variants", "prices") if priced else chosen.tree
    return product_resource(priced=priced, counted="variants" in expanded), Selection(chosen.fields, below)


def in_place_of_key(chosen: Selection) -> Selection:
    """A type or a collection that is expanded alone stands in place of its id."""
    alone = {tree(("type",)): "type_id", tree(("collection",)): "collection_id"}.get(chosen.tree)
    return Selection(tuple(name for name in chosen.fields if name != alone), chosen.tree)


PLAIN = page(PRODUCT, FILTERS, limit=50, fields=tuple(PRODUCT_COLUMNS), expand=PRODUCT_TREE, where=listed)
WITH_CATEGORIES_BELOW = page(
    PRODUCT,
    FILTERS | {"category_id": Filter(below_categories, TEXTS)},
    limit=50,
    fields=tuple(PRODUCT_COLUMNS),
    expand=PRODUCT_TREE,
    where=listed,
)
ONE = queries.one(PRODUCT, fields=tuple(PRODUCT_COLUMNS), expand=PRODUCT_TREE)


def read_products(query: Query, *_path: str) -> Page:
    """The page that a request asks for."""
    parameters = PLAIN
    if boolean(query, "include_category_children", default=False):
        parameters = WITH_CATEGORIES_BELOW
    if query.get("q") == "":
        del query["q"]
    searched = "q" in query
    if searched:
        # A search shows all columns, and looks at titles and descriptions itself.
        query = {name: value for name, value in query.items() if name not in ("fields", "title", "description")}
    requested = parameters.read(query)
    resource, chosen = face(query, requested.chosen)
    return replace(requested, resource=resource, chosen=chosen if searched else in_place_of_key(chosen))


@dataclass(frozen=True)
class ProductView:
    """What one request shows of a product."""

    product: Resource
    chosen: Selection


def read_product(query: Query, *_path: str) -> ProductView:
    """The view that a request asks for."""
    return ProductView(*face(query, in_place_of_key(ONE.read(query))))


async def get_product(db: Db, product_id: str, view: ProductView) -> str:
    return await one(db, "product", view.product, view.chosen, product_id)


OPERATIONS = [
    listing(
        "/admin/products",
        "products",
        Parameters(read_products, PLAIN.schemas, SHOWN),
        "List products",
        description="Variants come with their availability, and with their prices where `variants.prices` is "
        "expanded, as it is by default. Amounts are in minor units. A `type` or `collection` that is the only thing "
        "expanded stands in place of its id.",
    ),
    get(
        "/admin/products/{id}",
        get_product,
        "Get a product",
        description="Variants come with their availability. Amounts are in minor units.",
        query=Parameters(read_product, ONE.schemas, SHOWN),
        answer={"product": SHOWN},
        errors=(NotFound,),
    ),
]
