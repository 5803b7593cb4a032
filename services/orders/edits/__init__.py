"""Order edits: lines of a placed order are changed, with its customer asked and its stock following."""

from services.orders.edits import confirmations, edits, items, requests

OPERATIONS = [
    *edits.OPERATIONS,
    *items.OPERATIONS,
    *requests.OPERATIONS,
    *confirmations.OPERATIONS,
]
SAGAS = {
    **requests.SAGAS,
    **confirmations.SAGAS,
}
