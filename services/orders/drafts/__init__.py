"""Draft orders: offers that staff make, and how one becomes an order when it is paid."""

from services.orders.drafts import drafts, items, placements

OPERATIONS = [
    *drafts.OPERATIONS,
    *items.OPERATIONS,
    *placements.OPERATIONS,
]
SAGAS = {
    **placements.SAGAS,
}
