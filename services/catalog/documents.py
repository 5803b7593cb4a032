"""The catalog's rows that other services keep copies of (services/chassis/documents.py)."""

from collections.abc import Mapping
from typing import Any

from services.catalog.resources import COUNTRY, REGION, SALES_CHANNEL, SHIPPING_OPTION, SHIPPING_PROFILE, TAX_RATE
from services.chassis import documents
from services.chassis.db import Db
from services.chassis.documents import Docs, Kind
from services.chassis.embed import Many, Resource, tree

REGION_DOC = Resource(
    REGION.table,
    REGION.columns,
    {**REGION.relations, "tax_rates": Many(TAX_RATE, "{t}.region_id = {p}.id")},
)
# A country moves between regions, so its documents are numbered apart from theirs: all countries are one aggregate.
COUNTRIES = "countries"

# Those of products and variants are in products/documents.py.
KINDS: Mapping[str, Kind] = {
    "region": Kind(REGION_DOC, tree(REGION_DOC.relations)),
    "country": Kind(COUNTRY, id="{t}.iso_2", aggregate=f"'{COUNTRIES}'"),
    "sales_channel": Kind(SALES_CHANNEL),
    "shipping_profile": Kind(SHIPPING_PROFILE),
    "shipping_option": Kind(SHIPPING_OPTION, tree(("region", "profile", "requirements"))),
}


async def docs(db: Db, wanted: Mapping[str, list[str]], kinds: Mapping[str, Kind] = KINDS) -> dict[str, Docs]:
    """{kind: documents} of {kind: ids}, deleted rows included, unknown ids left out. One statement."""
    return await documents.docs(db, wanted, kinds)


async def doc(db: Db, kind: str, id_: str, kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """`{"id", "copies"}`: what an event about one row carries."""
    return {"id": id_, "copies": await docs(db, {kind: [id_]}, kinds)}


async def each_doc(db: Db, kind: str, ids: list[str], kinds: Mapping[str, Kind] = KINDS) -> dict[str, dict[str, Any]]:
    """What the events about several rows carry, by id."""
    found = await docs(db, {kind: ids}, kinds)
    return {d["id"]: {"id": d["id"], "copies": {kind: [d]}} for d in found.get(kind, [])}
