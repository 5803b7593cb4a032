"""Returns: what customers send back, why, and what they get for it."""

from services.orders.returns import reasons, receipts, returns

OPERATIONS = [
    *reasons.OPERATIONS,
    *returns.OPERATIONS,
    *receipts.OPERATIONS,
]
SAGAS = {
    **returns.SAGAS,
    **receipts.SAGAS,
}
