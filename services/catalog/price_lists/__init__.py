"""Price lists: prices that hold for a time, or for groups of customers."""

from services.catalog.price_lists import price_lists, prices, products

OPERATIONS = [
    *price_lists.OPERATIONS,
    *prices.OPERATIONS,
    *products.OPERATIONS,
]
