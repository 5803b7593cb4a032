"""Copies of other contexts' rows never go back in time."""

import asyncio
import random
from typing import Any

import asyncpg
import orjson
import pytest

from services.chassis.consumers import Event
from services.chassis.copies import missing, on_copies, store


def doc(doc_id: str, sequence: int, **body: Any) -> dict[str, Any]:
    return {"id": doc_id, "sequence": sequence, "body": body, "related": {"payment_providers": [{"id": "manual"}]}}


async def stored(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    rows = await pool.fetch("select kind, id, sequence, body::text, related::text from copies order by kind, id")
    return [
        (r["kind"], r["id"], r["sequence"], orjson.loads(r["body"] or "null"), orjson.loads(r["related"])) for r in rows
    ]


async def test_store_keeps_the_newest(pool: asyncpg.Pool) -> None:
    related = {"payment_providers": [{"id": "manual"}]}
    await store(pool, "region", [doc("reg_1", 5, name="EU"), doc("reg_2", 1, name="US")])
    await store(pool, "region", [doc("reg_1", 4, name="stale"), doc("reg_2", 2, name="USA")])
    assert await stored(pool) == [
        ("region", "reg_1", 5, {"name": "EU"}, related),
        ("region", "reg_2", 2, {"name": "USA"}, related),
    ]
    await store(pool, "region", [doc("reg_1", 5, name="EU, read again"), {"id": "reg_2", "sequence": 3, "body": None}])
    await store(pool, "region", [])
    assert await stored(pool) == [
        ("region", "reg_1", 5, {"name": "EU, read again"}, related),
        ("region", "reg_2", 3, None, {}),
    ]


async def test_store_takes_the_newest_of_two_in_one_call(pool: asyncpg.Pool) -> None:
    await store(pool, "region", [doc("reg_1", 1, name="old"), doc("reg_1", 3, name="new"), doc("reg_1", 2, name="mid")])
    assert [(row[2], row[3]) for row in await stored(pool)] == [(3, {"name": "new"})]


async def test_missing_are_those_never_stored(pool: asyncpg.Pool) -> None:
    await store(pool, "region", [doc("reg_1", 1)])
    assert await missing(pool, "region", ["reg_3", "reg_1", "reg_2", "reg_3"]) == ["reg_3", "reg_2"]
    assert await missing(pool, "variant", ["reg_1"]) == ["reg_1"]
    assert await missing(pool, "region", []) == []


async def test_on_copies_stores_what_an_event_carries(pool: asyncpg.Pool) -> None:
    def event(sequence: int, copies: dict[str, Any]) -> Event:
        return Event("id", "region.updated", "reg_1", sequence, "2026-01-02T03:04:05.678Z", {"copies": copies})

    region, country = {"id": "reg_1", "body": {"name": "EU"}, "related": {}}, {"id": "fr", "body": {"name": "France"}}
    async with pool.acquire() as db, db.transaction():
        await on_copies(db, event(7, {"region": [region], "country": [country]}))
        await on_copies(db, event(6, {"region": [region | {"body": {"name": "stale"}}]}))
        await on_copies(db, Event("id", "region.updated", "reg_1", 8, "", {}))
    assert await stored(pool) == [
        ("country", "fr", 7, {"name": "France"}, {}),
        ("region", "reg_1", 7, {"name": "EU"}, {}),
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_storing_the_same_rows_at_once_does_not_deadlock(seed: int, pool: asyncpg.Pool) -> None:
    order = random.Random(seed)
    ids = [f"var_{n:03}" for n in range(200)]

    async def writer(sequence: int) -> None:
        mine = order.sample(ids, len(ids))
        async with pool.acquire() as db, db.transaction():
            await store(db, "variant", [doc(one, sequence, by=sequence) for one in mine])

    await asyncio.gather(*(writer(sequence) for sequence in order.sample(range(1, 9), 8)))
    assert {(row[2], row[3]["by"]) for row in await stored(pool)} == {(8, 8)}
