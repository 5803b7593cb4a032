"""Carts as customers see them: until now, the cart of a swap."""

from services.orders.carts import carts, completions

OPERATIONS = [
    *carts.OPERATIONS,
    *completions.OPERATIONS,
]
SAGAS = {
    **completions.SAGAS,
}
