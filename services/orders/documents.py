"""The rows of orders that other services keep copies of (services/chassis/documents.py)."""

from services.chassis.documents import Kind
from services.orders.customers import CUSTOMER, GROUP
from services.orders.resources import PLAIN_ORDER

KINDS = {"order": Kind(PLAIN_ORDER), "customer": Kind(CUSTOMER), "customer_group": Kind(GROUP)}
