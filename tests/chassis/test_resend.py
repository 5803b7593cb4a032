"""Documents that are sent again: all of them, each newer than what was sent before, none older than it says."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from services.chassis import documents
from services.chassis.documents import Kind, resend
from services.chassis.embed import Resource, cols
from services.chassis.outbox import emit
from tests.support.waiting import until

BOX = Kind(Resource("boxes", cols("id label")))
LID = Kind(Resource("lids", cols("id box_id")), aggregate="{t}.box_id")
SEAL = Kind(Resource("boxes", cols("label")), id="{t}.label", aggregate="'seals'")


@pytest.fixture
async def boxes(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Five boxes, the first with two lids, the third with one; two boxes go at once."""
    monkeypatch.setattr(documents, "AT_ONCE", 2)
    await pool.execute("create table boxes (id text primary key, label text not null)")
    await pool.execute("create table lids (id text primary key, box_id text not null)")
    await pool.execute("insert into boxes select 'box_' || n, 'label ' || n from generate_series(1, 5) n")
    await pool.execute("insert into lids values ('lid_1', 'box_1'), ('lid_2', 'box_3'), ('lid_3', 'box_1')")
    yield
    await pool.execute("drop table boxes, lids")


async def waiting(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """(name, aggregate, number, ids of the documents) of the events that have not left."""
    rows = await pool.fetch("select name, aggregate, sequence, data::text from outbox order by position")
    return [
        (
            r["name"],
            r["aggregate"],
            r["sequence"],
            [d["id"] for of in orjson.loads(r["data"])["copies"].values() for d in of],
        )
        for r in rows
    ]


@pytest.mark.usefixtures("boxes")
async def test_each_aggregate_says_it_once_under_a_new_number(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as db, db.transaction():
        await emit(db, "box.updated", "box_3", {"copies": {}})
        await emit(db, "box.updated", "box_3", {"copies": {}})
    await pool.execute("truncate outbox")
    assert await resend(pool, "box", BOX) == 5
    assert await waiting(pool) == [("copies.box", f"box_{n}", 3 if n == 3 else 1, [f"box_{n}"]) for n in range(1, 6)]
    event = orjson.loads(await pool.fetchval("select data::text from outbox where aggregate = 'box_5'"))
    assert event["copies"]["box"][0]["body"] == {"id": "box_5", "label": "label 5"}


@pytest.mark.usefixtures("boxes")
async def test_rows_of_one_aggregate_go_together(pool: asyncpg.Pool) -> None:
    assert await resend(pool, "lid", LID) == 3
    assert [(name, of, number, sorted(ids)) for name, of, number, ids in await waiting(pool)] == [
        ("copies.lid", "box_1", 1, ["lid_1", "lid_3"]),
        ("copies.lid", "box_3", 1, ["lid_2"]),
    ]
    await pool.execute("truncate outbox")
    assert await resend(pool, "seal", SEAL) == 5
    assert [(of, number, len(ids)) for _, of, number, ids in await waiting(pool)] == [("seals", 1, 5)]


@pytest.mark.usefixtures("boxes")
async def test_a_change_that_is_told_is_waited_for(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as db:
        async with db.transaction():
            await db.execute("update boxes set label = 'new' where id = 'box_1'")
            await emit(db, "box.updated", "box_1", {"copies": {}})
            work = asyncio.create_task(resend(pool, "box", BOX))

            async def blocked() -> bool:
                return bool(
                    await pool.fetchval("select true from pg_stat_activity where wait_event_type = 'Lock' limit 1")
                )

            await until(blocked)
        assert await work == 5
    last = await pool.fetchrow(
        "select sequence, data::text from outbox where aggregate = 'box_1' order by position desc"
    )
    assert last["sequence"] == 2
    assert orjson.loads(last["data"])["copies"]["box"][0]["body"]["label"] == "new"


@pytest.mark.usefixtures("boxes")
async def test_a_change_that_is_not_told_yet_comes_after(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as db, db.transaction():
        await db.execute("update boxes set label = 'new' where id = 'box_1'")
        assert await resend(pool, "box", BOX) == 5
        await emit(db, "box.updated", "box_1", {"copies": {}})
    sent = await pool.fetch("select name, sequence from outbox where aggregate = 'box_1' order by sequence")
    assert [tuple(row) for row in sent] == [("copies.box", 1), ("box.updated", 2)]
