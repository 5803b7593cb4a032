"""Orders once they are placed: finding and changing them, and what moves their money and their stock."""

from aiohttp import web

from services.chassis.operations import Operation
from services.orders.orders import cancellations, captures, export, orders, refunds, reservations, shipping_methods

OPERATIONS: list[Operation | web.RouteDef] = [
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
