"""Regions and countries as other services keep them."""

from collections.abc import Mapping

from services.catalog.resources import COUNTRY, REGION, TAX_RATE
from services.chassis.documents import Kind
from services.chassis.embed import Many, Resource, tree

REGION_DOC = Resource(
    REGION.table,
    REGION.columns,
    {**REGION.relations, "tax_rates": Many(TAX_RATE, "{t}.region_id = {p}.id")},
)
# A country moves between regions, so its documents are numbered apart from theirs: all countries are one aggregate.
COUNTRIES = "countries"

REGION_KINDS: Mapping[str, Kind] = {
    "region": Kind(REGION_DOC, tree(REGION_DOC.relations)),
    "country": Kind(COUNTRY, id="{t}.iso_2", aggregate=f"'{COUNTRIES}'"),
}
