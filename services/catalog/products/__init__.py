"""Products with their variants, options, prices, tags, types, collections and categories."""

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

OPERATIONS = [
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
