"""Documents of this service's own rows, for the copies that others keep of them (copies.py).

They travel in events and in the replies to the command `documents`. Who reads documents for an event has locked the
rows before, in an earlier statement: then no event carries a document that is older than its number says.

A document that has got another shape reaches the copies of rows that nobody touches with `resend`, in events of a name
of their own: `copies.region` carries documents of the kind `region`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import asyncpg
import orjson

from services.chassis.commands import CommandHandler
from services.chassis.db import Db
from services.chassis.embed import Resource, Tree, aliases, object_sql, relation_sql
from services.chassis.errors import InvalidData
from services.chassis.outbox import emit_all, hold

Docs = list[dict[str, Any]]

AT_ONCE = 100  # aggregates, for which nobody else emits as long as it takes


@dataclass(frozen=True, eq=False)
class Kind:
    """Rows of `resource` as documents: the relations that go along, and the aggregate that their events are of."""

    resource: Resource
    related: Tree = ()
    id: str = "{t}.id"
    aggregate: str = "{t}.id"


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


async def docs(db: Db, ids_by_kind: Mapping[str, list[str]], kinds: Mapping[str, Kind]) -> dict[str, Docs]:
    """{kind: documents} of {kind: ids}, deleted rows included, unknown ids left out. One statement."""
    named = {name: ids for name, ids in ids_by_kind.items() if ids}
    if not named:
        return {}
    text = await db.fetchval(docs_sql(tuple((name, kinds[name]) for name in named)), *named.values())
    documents: dict[str, Docs] = orjson.loads(text)
    return documents


async def doc(db: Db, kind: str, id_: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """`{"id", "copies"}`: what an event about one row carries."""
    return {"id": id_, "copies": await docs(db, {kind: [id_]}, kinds)}


async def each_doc(db: Db, kind: str, ids: list[str], kinds: Mapping[str, Kind]) -> dict[str, dict[str, Any]]:
    """What the events about several rows carry, by id."""
    documents = await docs(db, {kind: ids}, kinds)
    return {row["id"]: {"id": row["id"], "copies": {kind: [row]}} for row in documents.get(kind, [])}


def documents_of(kinds: Mapping[str, Kind]) -> CommandHandler:
    """The command `documents`: {kinds: {kind: [ids]}} -> {copies: {kind: [document]}}."""

    async def documents(db: Db, body: dict[str, Any]) -> dict[str, Any]:
        ids_by_kind = body.get("kinds")
        if not isinstance(ids_by_kind, dict) or not all(map(is_ids, ids_by_kind.values())):
            raise InvalidData("kinds: must be lists of ids by kind.")
        if unknown := sorted(ids_by_kind.keys() - kinds.keys()):
            raise InvalidData(f"There are no documents of {', '.join(unknown)} here.")
        return {"copies": await docs(db, ids_by_kind, kinds)}

    return documents


def is_ids(value: object) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(id_, str) for id_ in value)


# Sending again. $1 the last aggregate that was sent, $2 how many.
AGGREGATES = "select distinct {aggregate} as aggregate from {table} t0 where {aggregate} > $1 order by 1 limit $2"
MEMBERS = "select {id} as id, {aggregate} as aggregate from {table} t0 where {aggregate} = any($1::text[])"


async def resend(pool: asyncpg.Pool, name: str, kind: Kind) -> int:
    """Emit the documents of all rows of the kind `name`, aggregate by aggregate, under new numbers; returns how many.

    Broken off, it can be begun anew: what is sent twice changes nothing.
    """
    parts = {"id": kind.id.format(t="t0"), "aggregate": kind.aggregate.format(t="t0"), "table": kind.resource.table}
    sent, last = 0, ""
    while True:
        async with pool.acquire() as db, db.transaction():
            rows = await db.fetch(AGGREGATES.format(**parts), last, AT_ONCE)
            if not rows:
                return sent
            aggregates = [row["aggregate"] for row in rows]
            await hold(db, aggregates)
            members = {row["id"]: row["aggregate"] for row in await db.fetch(MEMBERS.format(**parts), aggregates)}
            by_aggregate: dict[str, Docs] = defaultdict(list)
            for doc in (await docs(db, {name: list(members)}, {name: kind})).get(name, []):
                by_aggregate[members[doc["id"]]].append(doc)
            data = {aggregate: {"copies": {name: documents}} for aggregate, documents in by_aggregate.items()}
            await emit_all(db, f"copies.{name}", data)
        sent, last = sent + sum(map(len, by_aggregate.values())), aggregates[-1]
