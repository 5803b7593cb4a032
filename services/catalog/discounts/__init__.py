"""Discounts: codes that take something off a cart, what they are for, and how often they were used."""

from services.catalog.discounts import conditions, customer_groups, discounts, dynamic_codes, regions, rows, uses

OPERATIONS = [
    *discounts.OPERATIONS,
    *conditions.OPERATIONS,
    *dynamic_codes.OPERATIONS,
]
LISTENERS = {
    **regions.LISTENERS,
    **customer_groups.LISTENERS,
}
COMMANDS = {
    **uses.COMMANDS,
}
KINDS = {
    **rows.DISCOUNT_KINDS,
}
