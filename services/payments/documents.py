"""The rows of payments that other services keep copies of (services/chassis/documents.py)."""

from collections.abc import Mapping

from services.chassis.documents import Kind
from services.payments.resources import COLLECTION

KINDS: Mapping[str, Kind] = {"payment_collection": Kind(COLLECTION)}
