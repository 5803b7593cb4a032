"""Swaps: a customer sends goods back and gets others, and the difference is settled."""

from services.orders.swaps import cancellations, fulfillments, payments, swaps

OPERATIONS = [
    *swaps.OPERATIONS,
    *payments.OPERATIONS,
    *cancellations.OPERATIONS,
    *fulfillments.OPERATIONS,
]
SAGAS = {
    **swaps.SAGAS,
    **payments.SAGAS,
    **cancellations.SAGAS,
}
