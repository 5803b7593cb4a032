"""Shipping options and profiles as other services keep them."""

from collections.abc import Mapping

from services.catalog.resources import SHIPPING_OPTION, SHIPPING_PROFILE
from services.chassis.documents import Kind
from services.chassis.embed import tree

SHIPPING_KINDS: Mapping[str, Kind] = {
    "shipping_profile": Kind(SHIPPING_PROFILE),
    "shipping_option": Kind(SHIPPING_OPTION, tree(("region", "profile", "requirements"))),
}
