"""Products and variants as other services keep them, and the facts that the inventory makes its items from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.catalog.products.reads import PLAIN_PRODUCT, VARIANT_COLUMNS
from services.chassis.db import Db
from services.chassis.documents import Docs, Kind, docs
from services.chassis.embed import Resource, tree

# Variants come in the events of their product, so their documents count with it.
PRODUCT_KINDS: Mapping[str, Kind] = {
    "product": Kind(PLAIN_PRODUCT, tree(("profiles",))),
    "variant": Kind(Resource("product_variants", VARIANT_COLUMNS), aggregate="{t}.product_id"),
}

STOCKED = (
    "id",
    "product_id",
    "manage_inventory",
    "allow_backorder",
    "sku",
    "title",
    "origin_country",
    "hs_code",
    "mid_code",
    "material",
    "weight",
    "length",
    "height",
    "width",
)


@dataclass(frozen=True)
class Changes:
    """What the inventory is notified of: the facts of new variants, and the documents, numbered."""

    variants: list[dict[str, Any]] = field(default_factory=list)
    copies: Mapping[str, Docs] = field(default_factory=dict)


def numbered(copies: Mapping[str, Docs]) -> dict[str, Docs]:
    """The documents as the next event of their product brings them; the product is locked, so nobody else's does."""
    return {kind: [doc | {"sequence": doc["sequence"] + 1} for doc in docs] for kind, docs in copies.items()}


async def product_docs(db: Db, product_ids: list[str], variant_ids: list[str]) -> dict[str, Docs]:
    """The `copies` of an event about products and variants. One statement."""
    return await docs(db, {"product": product_ids, "variant": variant_ids}, PRODUCT_KINDS)


def stock_facts(copies: Mapping[str, Docs], product_title: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What the inventory makes its items of new variants from, out of their documents."""
    bodies = {doc["id"]: doc["body"] for doc in copies.get("variant", [])}
    return [{key: bodies[i][key] for key in STOCKED} | {"product_title": product_title} for i in ids]
