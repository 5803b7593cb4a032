"""Discounts: codes that take something off a cart, what they are for, and how often they were used."""

from services.catalog.discounts import (
    condition_resources,
    conditions,
    customer_groups,
    discounts,
    dynamic_codes,
    regions,
    rows,
    uses,
)

OPERATIONS = [
    *discounts.OPERATIONS,
    *regions.OPERATIONS,
    *conditions.OPERATIONS,
    *condition_resources.OPERATIONS,
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
