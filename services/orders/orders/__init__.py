"""Orders once they are placed: finding and changing them, and what moves their money and their stock."""

from services.orders.orders import cancellations, captures, export, orders, refunds, reservations, shipping_methods

OPERATIONS = [
    *orders.OPERATIONS,
    *captures.OPERATIONS,
    *refunds.OPERATIONS,
    *cancellations.OPERATIONS,
    *shipping_methods.OPERATIONS,
    *reservations.OPERATIONS,
]
SAGAS = {
    **captures.SAGAS,
    **refunds.SAGAS,
    **cancellations.SAGAS,
}
COMMANDS = {
    **export.COMMANDS,
}
