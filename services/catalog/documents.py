"""What other services keep of the catalog: documents of its rows, for events and for the command `documents`.

See services/chassis/copies.py. Who reads documents for an event has locked the rows before, in an earlier statement:
then no event carries a document that is older than its number says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from services.catalog.resources import COUNTRY, REGION, SALES_CHANNEL, SHIPPING_OPTION, SHIPPING_PROFILE, TAX_RATE
from services.chassis.commands import CommandHandler
from services.chassis.db import Db
from services.chassis.embed import Many, Resource, Tree, aliases, object_sql, relation_sql, tree
from services.chassis.errors import InvalidData

Docs = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Kind:
    """Rows of `resource` as documents: the relations that go along, and the aggregate that their events are of."""

    resource: Resource
    related: Tree = ()
    id: str = "{t}.id"
    aggregate: str = "{t}.id"


REGION_DOC = Resource(
    REGION.table,
    REGION.columns,
    {**REGION.relations, "tax_rates": Many(TAX_RATE, "{t}.region_id = {p}.id")},
)
# A country moves between regions, so its documents are numbered apart from theirs: all countries are one aggregate.
COUNTRIES = "countries"

# Those of products and variants are in product_documents.py.
KINDS: Mapping[str, Kind] = {
    "region": Kind(REGION_DOC, tree(REGION_DOC.relations)),
    "country": Kind(COUNTRY, id="{t}.iso_2", aggregate=f"'{COUNTRIES}'"),
    "sales_channel": Kind(SALES_CHANNEL),
    "shipping_profile": Kind(SHIPPING_PROFILE),
    "shipping_option": Kind(SHIPPING_OPTION, tree(("region", "profile", "requirements"))),
}


def kind_sql(kind: Kind, ids: str) -> str:
    """SQL of the JSON list of the documents whose ids are in the array `ids`."""
    names = aliases()
    related = ", ".join(
        f"'{key}', {sql}"
        for name, below in kind.related
        for key, sql in relation_sql(kind.resource.relations[name], name, below, "t0", names)
    )
    id_, aggregate = kind.id.format(t="t0"), kind.aggregate.format(t="t0")
    sequence = f"coalesce((select sequence from event_sequences where aggregate = {aggregate}), 0)"  # noqa: S608 - ours
    document = (
        f"json_build_object('id', {id_}, 'sequence', {sequence}, "
        f"'body', {object_sql(kind.resource, (), 't0', names)}, 'related', json_build_object({related}))"
    )
    rows = f"from {kind.resource.table} t0 where {id_} = any({ids}::text[])"
    return f"(select coalesce(json_agg({document}), '[]') {rows})"


@lru_cache
def docs_sql(kinds: tuple[tuple[str, Kind], ...]) -> str:
    """The statement of the documents of several kinds; the ids of each kind are one argument."""
    pairs = ", ".join(f"'{name}', {kind_sql(kind, f'${n}')}" for n, (name, kind) in enumerate(kinds, 1))
    return f"select json_build_object({pairs})::text"


async def docs(db: Db, wanted: Mapping[str, list[str]], kinds: Mapping[str, Kind] = KINDS) -> dict[str, Docs]:
    """{kind: documents} of {kind: ids}, deleted rows included, unknown ids left out. One statement."""
    asked = {name: ids for name, ids in wanted.items() if ids}
    if not asked:
        return {}
    text = await db.fetchval(docs_sql(tuple((name, kinds[name]) for name in asked)), *asked.values())
    found: dict[str, Docs] = orjson.loads(text)
    return found


async def doc(db: Db, kind: str, id_: str, kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """`{"id", "copies"}`: what an event about one row carries."""
    return {"id": id_, "copies": await docs(db, {kind: [id_]}, kinds)}


async def each_doc(db: Db, kind: str, ids: list[str], kinds: Mapping[str, Kind] = KINDS) -> dict[str, dict[str, Any]]:
    """What the events about several rows carry, by id."""
    found = await docs(db, {kind: ids}, kinds)
    return {d["id"]: {"id": d["id"], "copies": {kind: [d]}} for d in found.get(kind, [])}


def documents_of(kinds: Mapping[str, Kind]) -> CommandHandler:
    """The command `documents`: {kinds: {kind: [ids]}} -> {copies: {kind: [document]}}."""

    async def documents(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(body["kinds"].keys() - kinds.keys())
        if unknown:
            raise InvalidData(f"The catalog has no documents of {', '.join(unknown)}.")
        return {"copies": await docs(db, body["kinds"], kinds)}

    return documents
