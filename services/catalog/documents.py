"""The catalog's rows that other services keep copies of; each room says which it has."""

from collections.abc import Mapping

from services.catalog import channels, discounts, products, regions, shipping
from services.chassis.documents import Kind

KINDS: Mapping[str, Kind] = {
    **products.KINDS,
    **channels.KINDS,
    **discounts.KINDS,
    **regions.KINDS,
    **shipping.KINDS,
}
