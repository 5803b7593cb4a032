"""Keys that only some rows have, and keys that come together."""

import json

import asyncpg

from services.chassis.embed import Many, One, Resource, Value, cols, one_json, one_query, page_json, page_query, tree

MAKER = Resource("shape_makers", cols("id"))
PART = Resource(
    "shape_parts",
    cols("id price"),
    shape="{row} || case when {t}.price > 5 then '{{\"dear\": true}}'::jsonb else '{{}}'::jsonb end",
)
TOY = Resource(
    "shape_toys",
    cols("id created_at"),
    {
        "parts": Many(
            PART,
            "{t}.toy_id = {p}.id",
            order="{t}.id",
            also={"maker": One(MAKER, "{t}.id = {p}.maker_id"), "maker_id": Value("to_json({p}.maker_id)")},
        )
    },
    shape="{row} - case when {t}.maker_id is null then 'created_at' else '' end",
)
SCHEMA = """
create temp table shape_makers (id text);
create temp table shape_toys (id text, maker_id text, created_at int);
create temp table shape_parts (id text, toy_id text, price int);
insert into shape_makers values ('m1');
insert into shape_toys values ('t1', 'm1', 1), ('t2', null, 2);
insert into shape_parts values ('p1', 't1', 5), ('p2', 't1', 6);
"""


async def test_shapes_and_companions(postgres_url: str) -> None:
    db = await asyncpg.connect(postgres_url)
    try:
        await db.execute(SCHEMA)
        chosen = one_query(TOY, {}, expand=tree(("parts",)))
        first = await one_json(db, TOY, chosen, "{t}.id = $1", "t1")
        assert first is not None and json.loads(first) == {
            "id": "t1",
            "created_at": 1,
            "parts": [{"id": "p1", "price": 5}, {"id": "p2", "price": 6, "dear": True}],
            "maker": {"id": "m1"},
            "maker_id": "m1",
        }
        page = page_query(TOY, {"fields": "id"}, {}, limit=10, order="{t}.id desc")
        rows = json.loads(await page_json(db, "toys", page))["toys"]
        assert rows == [{"id": "t2"}, {"id": "t1", "created_at": 1}]
    finally:
        await db.close()
