"""Fulfillments of orders, swaps and claims: created, shipped, canceled."""

from services.orders.fulfillments import cancellations, creations, dispatches, fulfillments, shipments

OPERATIONS = [
    *fulfillments.OPERATIONS,
    *shipments.OPERATIONS,
    *dispatches.OPERATIONS,
]
SAGAS = {
    **creations.SAGAS,
    **cancellations.SAGAS,
}
