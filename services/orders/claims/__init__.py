"""Claims: goods were missing, wrong or broken; money back, or other goods."""

from services.orders.claims import cancellations, claims, fulfillments, updates

OPERATIONS = [
    *claims.OPERATIONS,
    *updates.OPERATIONS,
    *cancellations.OPERATIONS,
    *fulfillments.OPERATIONS,
]
SAGAS = {
    **claims.SAGAS,
    **cancellations.SAGAS,
}
