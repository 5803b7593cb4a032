"""Reads as one statement: shapes, order, what is refused, and that texts repeat."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.chassis.embed import (
    Many,
    Nested,
    One,
    Resource,
    Value,
    cols,
    merge,
    one_json,
    one_query,
    one_sql,
    page_json,
    page_query,
    tree,
)
from services.chassis.errors import InvalidData
from services.chassis.params import dates, text

COLOUR = Resource("copies", document=True, relations={"shades": Nested(also=("shade_count",))})
PART = Resource(
    "parts", cols("id name toy_id colour_id"), {"colour": One(COLOUR, "{t}.kind = 'colour' and {t}.id = {p}.colour_id")}
)
MAKER = Resource("makers", cols("id name"))
TOY = Resource(
    "toys",
    cols("id name maker_id created_at@", price_text="{t}.price || ' cents'"),
    {
        "parts": Many(PART, "{t}.toy_id = {p}.id", order="{t}.name desc, {t}.id"),
        "maker": One(MAKER, "{t}.id = {p}.maker_id"),
        "initial": Value("to_json(left({p}.name, 1))"),
    },
)
FILTERS = {"name": text("{t}.name"), "created_at": dates("{t}.created_at")}

SCHEMA = """
create temp table makers (id text, name text);
create temp table toys (id text, name text, maker_id text, price bigint, created_at timestamptz);
create temp table parts (id text, name text, toy_id text, colour_id text);
create temp table copies (kind text, id text, body jsonb, related jsonb);
insert into makers values ('m1', 'Ada');
insert into toys values ('t1', 'Car', 'm1', 500, '2026-11-22T09:00:00.1239Z'), ('t2', 'Ball', null, 70, '2026-11-23Z');
insert into parts values ('p1', 'door', 't1', 'red'), ('p2', 'wheel', 't1', null);
insert into copies
  values ('colour', 'red', '{"id": "red", "rgb": [255, 0, 0]}', '{"shades": ["pink"], "shade_count": 1}');
"""


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url, server_settings={"timezone": "UTC"})
    await connection.execute(SCHEMA)
    yield connection
    await connection.close()


async def read(db: asyncpg.Connection, **query: str) -> object:
    found = await one_json(db, TOY, one_query(TOY, dict(query), expand=tree(["maker"])), "{t}.id = $1", "t1")
    assert found is not None
    return json.loads(found)


async def test_columns_and_default_relations(db: asyncpg.Connection) -> None:
    assert await read(db) == {
        "id": "t1",
        "name": "Car",
        "maker_id": "m1",
        "created_at": "2026-11-22T09:00:00.123Z",
        "price_text": "500 cents",
        "maker": {"id": "m1", "name": "Ada"},
    }


async def test_expand_replaces_and_nests(db: asyncpg.Connection) -> None:
    assert await read(db, expand="parts.colour.shades,initial", fields="name") == {
        "id": "t1",
        "name": "Car",
        "initial": "C",
        "parts": [
            {"id": "p2", "name": "wheel", "toy_id": "t1", "colour_id": None, "colour": None},
            {"id": "p1", "name": "door", "toy_id": "t1", "colour_id": "red",
             "colour": {"id": "red", "rgb": [255, 0, 0], "shades": ["pink"], "shade_count": 1}},
        ],
    }  # fmt: skip
    assert await read(db, expand="", fields="") == {"id": "t1"}
    assert await read(db, expand="", fields="-created_at,-price_text") == {"id": "t1", "name": "Car", "maker_id": "m1"}


@pytest.mark.parametrize(
    "query",
    [
        {"expand": "wings"},
        {"expand": "parts.wings"},
        {"expand": "initial.x"},
        {"expand": "parts." * 5000},
        {"fields": "wings"},
        {"x": "1"},
    ],
)
def test_unknown_names_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidData):
        one_query(TOY, dict(query))


async def test_a_missing_row_is_none(db: asyncpg.Connection) -> None:
    assert await one_json(db, TOY, one_query(TOY, {}), "{t}.id = $1", "nothing") is None


async def test_a_page_is_one_statement_with_the_count_of_all(db: asyncpg.Connection) -> None:
    seen: list[str] = []
    db.add_query_logger(lambda record: seen.append(record.query))
    page = page_query(TOY, {"limit": "1", "fields": "name"}, FILTERS, limit=10)
    assert json.loads(await page_json(db, "toys", page)) == {
        "toys": [{"id": "t2", "name": "Ball", "created_at": "2026-11-23T00:00:00.000Z"}],
        "count": 2,
        "offset": 0,
        "limit": 1,
    }
    await asyncio.sleep(0)  # query loggers are called a turn of the loop later
    assert len(seen) == 1
    page = page_query(TOY, {"offset": "5", "name": "Car"}, FILTERS, limit=10)
    assert json.loads(await page_json(db, "toys", page)) == {"toys": [], "count": 1, "offset": 5, "limit": 10}


async def test_order(db: asyncpg.Connection) -> None:
    async def names(order: str) -> list[str]:
        page = page_query(TOY, {"order": order, "expand": ""}, FILTERS, limit=10)
        return [toy["name"] for toy in json.loads(await page_json(db, "toys", page))["toys"]]

    assert await names("name") == ["Ball", "Car"]
    assert await names("-name") == ["Car", "Ball"]
    for bad in ("price_text", "wings", "name;drop"):
        with pytest.raises(InvalidData):
            page_query(TOY, {"order": bad}, FILTERS, limit=10)


def test_texts_depend_on_the_shape_alone() -> None:
    first = page_query(TOY, {"name": "a"}, FILTERS, limit=10)
    second = page_query(TOY, {"name": "b", "limit": "3"}, FILTERS, limit=10)
    assert (first.where, first.chosen, first.order) == (second.where, second.chosen, second.order)
    assert first.args != second.args
    chosen = one_query(TOY, {})
    assert one_sql(TOY, chosen, "{t}.id = $1") is one_sql(TOY, one_query(TOY, {}), "{t}.id = $1")


def test_trees() -> None:
    assert tree(["b.c", "a", "b"]) == (("a", ()), ("b", (("c", ()),)))
    assert merge(tree(["a.x"]), tree(["a.y", "b"])) == tree(["a.x", "a.y", "b"])


async def test_relations_may_lead_back(db: asyncpg.Connection) -> None:
    toy, part = Resource("toys", cols("id")), Resource("parts", cols("id"))
    toy.relations["parts"] = Many(part, "{t}.toy_id = {p}.id", order="{t}.id")
    part.relations["toy"] = One(toy, "{t}.id = {p}.toy_id")
    part.relations["twins"] = Many(part, "{t}.toy_id = {p}.toy_id", order="{t}.id")
    toy.relations["rivals"] = Many(MAKER, "false")
    query = {"expand": "parts.toy.parts,rivals"}
    found = json.loads(str(await one_json(db, toy, one_query(toy, query), "{t}.id = $1", "t1")))
    parts = [{"id": "p1"}, {"id": "p2"}]
    assert found == {
        "id": "t1",
        "parts": [each | {"toy": {"id": "t1", "parts": parts}} for each in parts],
        "rivals": [],
    }
    # Each turn would multiply the rows; rows of one kind below each other are no turn.
    with pytest.raises(InvalidData):
        one_query(toy, {"expand": "parts.toy.parts.toy.parts"})
    assert one_query(toy, {"expand": "parts.twins.twins.twins"}).tree
