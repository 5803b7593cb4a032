"""Products with their variants, options, prices, tags, types, collections and categories."""

from aiohttp import web

from services.catalog.products import (
    categories,
    collections,
    documents,
    lists,
    options,
    products,
    stock,
    tags,
    types,
    variant_lists,
    variants,
)
from services.chassis.operations import Operation

OPERATIONS: list[Operation | web.RouteDef] = [
    *tags.OPERATIONS,
    *types.OPERATIONS,
    *lists.OPERATIONS,
    *products.OPERATIONS,
    *options.OPERATIONS,
    *variants.OPERATIONS,
    *variant_lists.OPERATIONS,
    *collections.OPERATIONS,
    *categories.OPERATIONS,
]
LISTENERS = {
    **stock.LISTENERS,
}
COMMANDS = {
    **stock.COMMANDS,
}
KINDS = {
    **documents.PRODUCT_KINDS,
}
