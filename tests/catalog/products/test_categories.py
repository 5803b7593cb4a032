"""Product categories: a ranked tree."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import listed_ids, make, one
from tests.support.stack import Stack

PATH = "/admin/product-categories"


async def category(catalog: Client, name: str, **more: Any) -> dict[str, Any]:
    product_category: dict[str, Any] = (await catalog.ok("POST", PATH, {"name": name, **more}))["product_category"]
    return product_category


async def test_create(catalog: Client, uid: str) -> None:
    root = await category(catalog, f"Ärmel & Co {uid}", handle="", metadata={"a": ""})
    assert root["handle"].startswith("armel-co-")
    assert (root["description"], root["is_active"], root["is_internal"], root["metadata"]) == (
        "", False, False, {"a": ""}
    )  # fmt: skip
    assert (root["parent_category"], root["parent_category_id"], root["category_children"]) == (None, None, [])
    kids = await category(catalog, f"Kids {uid}", parent_category_id=root["id"], is_active=True)
    assert (kids["rank"], kids["parent_category"]["id"], kids["is_active"]) == (0, root["id"], True)
    assert "category_children" not in kids["parent_category"]
    assert (await category(catalog, f"Men {uid}", parent_category_id=root["id"]))["rank"] == 1


async def test_the_tree_in_answers(stack: Stack, catalog: Client, uid: str) -> None:
    root = await category(catalog, f"Root {uid}")
    men = await category(catalog, f"Men {uid}", parent_category_id=root["id"])
    shoes = await category(catalog, f"Shoes {uid}", parent_category_id=men["id"])
    with statements(stack) as read:
        got = (await catalog.ok("GET", f"{PATH}/{root['id']}", query={"fields": "name"}))["product_category"]
    assert len(read) == 1
    below = got["category_children"][0]
    assert (below["id"], below["category_children"][0]["id"]) == (men["id"], shoes["id"])
    assert below["category_children"][0]["category_children"] == []
    assert (below["created_at"], got["handle"]) == (men["created_at"], root["handle"])
    query = {"handle": root["handle"], "fields": "name"}
    (row,) = (await catalog.ok("GET", PATH, query=query))["product_categories"]
    short = {key: men[key] for key in ("id", "created_at", "name")}
    assert row == {key: root[key] for key in ("id", "created_at", "name")} | {
        "parent_category": None,
        "category_children": [short],
    }
    query |= {"include_descendants_tree": "true", "expand": ""}
    (row,) = (await catalog.ok("GET", PATH, query=query))["product_categories"]
    assert row["category_children"][0]["category_children"][0]["handle"] == shoes["handle"]
    assert "parent_category" not in row
    answer = await catalog.post(f"{PATH}/{men['id']}", {"description": "x"}, query={"fields": "name", "expand": ""})
    assert answer[1]["product_category"].keys() == {"id", "name", "category_children"}


async def test_lists(catalog: Client, uid: str) -> None:
    root = await category(catalog, f"Root {uid}", is_active=True, is_internal=True)
    b = await category(catalog, f"B {uid}", parent_category_id=root["id"], handle=f"b-{uid}", is_active=True)
    a = await category(catalog, f"A {uid}", parent_category_id=root["id"], is_internal=True)

    async def ids(**query: str) -> list[str]:
        return await listed_ids(catalog, "product_categories", PATH, query)

    assert await ids(parent_category_id=root["id"]) == [b["id"], a["id"]]
    assert await ids(parent_category_id=root["id"], is_active="true") == [b["id"]]
    assert await ids(parent_category_id=root["id"], is_internal="true") == [a["id"]]
    assert await ids(parent_category_id="null", handle=root["handle"]) == [root["id"]]
    assert await ids(parent_category_id="null", handle=f"b-{uid}") == []
    assert await ids(q=f"B-{uid}") == [b["id"]]
    assert set(await ids(q=uid)) == {root["id"], a["id"], b["id"]}


async def test_change(catalog: Client, uid: str) -> None:
    before = await category(catalog, f"A {uid}", metadata={"a": 1})
    body = {"name": f"Bee {uid}", "description": "Buzz", "handle": f"bee-{uid}", "is_active": True, "is_internal": True}
    changed = (await catalog.ok("POST", f"{PATH}/{before['id']}", {**body, "metadata": {"b": ""}}))["product_category"]
    assert {key: changed[key] for key in body} == body
    assert (changed["metadata"], changed["rank"]) == ({"b": ""}, before["rank"])


async def test_an_empty_parent_is_none(catalog: Client, uid: str) -> None:
    root = await category(catalog, f"Root {uid}", parent_category_id="")
    below = await category(catalog, f"Below {uid}", parent_category_id=root["id"])
    assert (root["parent_category_id"], below["parent_category_id"]) == (None, root["id"])
    await catalog.ok("POST", f"{PATH}/{below['id']}", {"parent_category_id": ""})
    moved = (await catalog.ok("GET", f"{PATH}/{below['id']}", query={"fields": "nonsense"}))["product_category"]
    assert (moved["parent_category_id"], moved["parent_category"]) == (None, None)
    assert (await catalog.get(f"{PATH}/{below['id']}?expand=nonsense"))[0] == 400


async def test_refusals(catalog: Client, uid: str) -> None:
    root = await category(catalog, f"Root {uid}")
    below = await category(catalog, f"Below {uid}", parent_category_id=root["id"])
    before = (await catalog.ok("GET", f"{PATH}/{root['id']}"))["product_category"]
    path = f"{PATH}/{root['id']}"
    for where, body, status in (
        (PATH, {"name": ""}, 400),
        (PATH, {"name": "x", "rank": 0}, 400),
        (PATH, {"name": "x", "description": None}, 400),
        (PATH, {"name": "x", "handle": below["handle"]}, 422),
        (PATH, {"name": "x", "parent_category_id": "pcat_missing"}, 404),
        (path, {"rank": -1}, 400),
        (path, {"rank": 1.5}, 400),
        (path, {"rank": None}, 400),
        (path, {"handle": ""}, 400),
        (path, {"name": "x", "handle": below["handle"]}, 422),
        (path, {"parent_category_id": "pcat_missing"}, 404),
        (path, {"parent_category_id": below["id"]}, 400),
        (path, {"parent_category_id": root["id"]}, 400),
        (f"{PATH}/pcat_missing", {"name": "x"}, 404),
    ):
        assert (await catalog.post(where, body))[0] == status, (where, body)
    status, answer = await catalog.delete(path)
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await catalog.ok("GET", path))["product_category"] == before
    gone = {"id": "pcat_missing", "object": "product-category", "deleted": True}
    assert await catalog.ok("DELETE", f"{PATH}/pcat_missing") == gone
    for query in ("expand=products", "colour=red", "fields=nonsense", "is_active=perhaps", "limit=x"):
        assert (await catalog.get(f"{PATH}?{query}"))[0] == 400, query


async def test_products_go_in_and_out(catalog: Client, uid: str) -> None:
    sale = await category(catalog, f"Sale {uid}")
    product = await make(catalog, {"title": f"A {uid}"})
    path, body = f"{PATH}/{sale['id']}/products/batch", {"product_ids": [{"id": product["id"]}]}
    for _ in range(2):
        assert (await catalog.ok("POST", path, body))["product_category"] == sale
    assert [c["id"] for c in (await one(catalog, product["id"]))["categories"]] == [sale["id"]]
    unknown = {"product_ids": [{"id": product["id"]}, {"id": "prod_missing"}]}
    for method in ("POST", "DELETE"):
        status, answer = await catalog.request(method, path, unknown)
        assert (status, answer["errors"], "type" in answer) == (400, ["Products prod_missing do not exist"], False)
        assert (await catalog.request(method, path, {"product_ids": ["prod_missing"]}))[0] == 400
        assert (await catalog.request(method, path, {}))[0] == 400
        assert (await catalog.request(method, f"{PATH}/pcat_missing/products/batch", body))[0] == 404
    assert [c["id"] for c in (await one(catalog, product["id"]))["categories"]] == [sale["id"]]
    answer = await catalog.request("DELETE", path, body, query={"fields": "name", "expand": ""})
    assert answer[1]["product_category"].keys() == {"id", "name", "category_children"}
    assert (await one(catalog, product["id"]))["categories"] == []
    await catalog.ok("POST", path, body)
    await catalog.ok("DELETE", f"{PATH}/{sale['id']}")
    assert (await one(catalog, product["id"]))["categories"] == []


async def test_ranks_survive_concurrency(catalog: Client, uid: str) -> None:
    root = (await category(catalog, f"Root {uid}"))["id"]
    siblings = await asyncio.gather(*(category(catalog, f"{n} {uid}", parent_category_id=root) for n in range(8)))
    assert sorted(c["rank"] for c in siblings) == list(range(8))
    await asyncio.gather(*(catalog.ok("POST", f"{PATH}/{c['id']}", {"rank": n % 3}) for n, c in enumerate(siblings)))
    rows = (await catalog.ok("GET", PATH, query={"parent_category_id": root}))["product_categories"]
    assert [row["rank"] for row in rows] == list(range(8))


PLACE = st.integers(0, 9)
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["add", "rank", "move", "both", "delete"]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
@pytest.mark.usefixtures("stack")
async def test_ranks_are_places_in_lists(catalog: Client, moves: list[tuple[str, int, int, int]]) -> None:
    """Whatever is done, the ranks are those of lists of children to which the same was done."""
    mark = new_id("mark")
    top = (await category(catalog, mark))["id"]
    children: dict[str, list[str]] = {top: []}
    parents: dict[str, str] = {}

    def above(id_: str) -> list[str]:
        return [id_, *(above(parents[id_]) if id_ in parents else [])]

    for kind, which, where, rank in moves:
        ids = list(children)
        target = ids[where % len(ids)]
        if kind == "add":
            id_ = (await category(catalog, f"c {new_id('x')}", parent_category_id=target))["id"]
            children[target].append(id_)
            children[id_], parents[id_] = [], target
            continue
        if len(ids) == 1:
            continue
        id_ = ids[1 + which % (len(ids) - 1)]
        parent = parents[id_]
        if kind == "delete":
            status, _ = await catalog.delete(f"{PATH}/{id_}")
            assert status == (400 if children[id_] else 200)
            if status == 200:
                children[parent].remove(id_)
                del children[id_], parents[id_]
            continue
        body = {"rank": rank} if kind == "rank" else {"parent_category_id": target}
        status, answer = await catalog.post(f"{PATH}/{id_}", body | ({"rank": rank} if kind == "both" else {}))
        if kind != "rank" and id_ in above(target):
            assert (status, answer["type"]) == (400, "not_allowed")
            continue
        assert status == 200
        into = parent if kind == "rank" else target
        if kind != "move" or into != parent:
            children[parent].remove(id_)
            children[into].insert(len(children[into]) if kind == "move" else rank, id_)
            parents[id_] = into
        assert answer["product_category"]["rank"] == children[into].index(id_)

    def shape(row: dict[str, Any]) -> Any:
        assert [child["rank"] for child in row["category_children"]] == list(range(len(row["category_children"])))
        return [row["id"], [shape(child) for child in row["category_children"]]]

    def expected(id_: str) -> Any:
        return [id_, [expected(child) for child in children[id_]]]

    assert shape((await catalog.ok("GET", f"{PATH}/{top}"))["product_category"]) == expected(top)
