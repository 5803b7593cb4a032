"""What other services may ask of the catalog."""

from collections.abc import Mapping

from services.catalog import channels, discounts, products, shipping
from services.catalog.documents import KINDS
from services.catalog.pricing.carts import price_cart
from services.chassis.commands import CommandHandler
from services.chassis.documents import documents_of

COMMANDS: Mapping[str, CommandHandler] = {
    **products.COMMANDS,
    **channels.COMMANDS,
    **discounts.COMMANDS,
    **shipping.COMMANDS,
    "documents": documents_of(KINDS),
    "price_cart": price_cart,
}
