"""What the catalog does when something happened elsewhere; each room says which events it hears."""

from collections.abc import Mapping

from services.catalog import batch, channels, discounts, products, shipping
from services.chassis.consumers import Listener, joined

LISTENERS: Mapping[str, Listener] = joined(
    products.LISTENERS,
    channels.LISTENERS,
    discounts.LISTENERS,
    shipping.LISTENERS,
    batch.LISTENERS,
)
