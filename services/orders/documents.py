"""The rows of orders that other services keep copies of (services/chassis/documents.py)."""

from services.chassis.documents import Kind
from services.orders.resources import BARE_CART, CUSTOMER, GROUP, PLAIN_ORDER, PLAIN_SWAP

KINDS = {
    "order": Kind(PLAIN_ORDER),
    "cart": Kind(BARE_CART),
    "swap": Kind(PLAIN_SWAP),
    "customer": Kind(CUSTOMER),
    "customer_group": Kind(GROUP),
}
