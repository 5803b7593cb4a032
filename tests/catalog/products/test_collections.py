"""Collections, and products going in and out."""

import pytest

from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import listed_ids, make, one, shirt
from tests.support.stack import Stack
from tests.support.waiting import until

PATH = "/admin/collections"


async def test_create_change_delete(catalog: Client, uid: str) -> None:
    collection = (await catalog.ok("POST", PATH, {"title": f"Größe {uid} 4you", "metadata": {"a": 1, "b": 2}}))[
        "collection"
    ]
    assert collection["handle"].startswith("grosse-")
    assert collection.keys() == {
        "id", "created_at", "updated_at", "deleted_at", "title", "handle", "metadata", "products"
    }  # fmt: skip
    path = f"{PATH}/{collection['id']}"
    body = {"title": f"Easter {uid}", "handle": f"easter-{uid}", "metadata": {"a": "", "c": 3}}
    changed = (await catalog.ok("POST", path, body))["collection"]
    assert (changed["title"], changed["handle"], changed["metadata"]) == (
        f"Easter {uid}",
        f"easter-{uid}",
        {"b": 2, "c": 3},
    )
    assert (await catalog.ok("POST", path, {"metadata": None}))["collection"]["metadata"] == {"b": 2, "c": 3}
    assert await catalog.ok("DELETE", path) == {"id": collection["id"], "object": "product-collection", "deleted": True}
    assert (await catalog.get(path))[0] == 404
    await catalog.ok("POST", PATH, {"title": "Again", "handle": f"easter-{uid}"})


async def test_refusals(catalog: Client, uid: str) -> None:
    collection = (await catalog.ok("POST", PATH, {"title": f"A {uid}", "handle": f"a-{uid}"}))["collection"]
    await catalog.ok("POST", PATH, {"title": f"B {uid}", "handle": f"b-{uid}"})
    path = f"{PATH}/{collection['id']}"
    for where, body, status in (
        (PATH, {"title": "x", "handle": f"a-{uid}"}, 422),
        (PATH, {"title": ""}, 400),
        (PATH, {"handle": "x"}, 400),
        (PATH, {"title": "x", "colour": "red"}, 400),
        (path, {"title": "x", "handle": f"b-{uid}"}, 422),
        (path, {"title": None}, 400),
        (f"{path}/products/batch", {"product_ids": []}, 400),
        (f"{path}/products/batch", {"product_ids": [5]}, 400),
        (f"{path}/products/batch", {}, 400),
        (f"{PATH}/pcol_missing", {"title": "x"}, 404),
        (f"{PATH}/pcol_missing/products/batch", {"product_ids": ["prod_x"]}, 404),
    ):
        assert (await catalog.post(where, body))[0] == status, (where, body)
    assert (await catalog.ok("GET", path))["collection"] == collection
    assert (await catalog.delete(f"{PATH}/pcol_missing"))[0] == 404
    assert (await catalog.delete(f"{PATH}/pcol_missing/products/batch", {"product_ids": ["prod_x"]}))[0] == 404


async def test_products_move_between_collections(stack: Stack, catalog: Client, uid: str) -> None:
    first = (await catalog.ok("POST", PATH, {"title": f"First {uid}"}))["collection"]["id"]
    second = (await catalog.ok("POST", PATH, {"title": f"Second {uid}"}))["collection"]["id"]
    a = await make(catalog, shirt(uid, collection_id=first))
    b = await make(catalog, {"title": f"B {uid}"})
    sent = {"product_ids": [a["id"], b["id"], "prod_missing"]}
    with statements(stack) as written:
        moved = (await catalog.ok("POST", f"{PATH}/{second}/products/batch", sent))["collection"]
    assert len(written) <= 8
    assert [p["id"] for p in moved["products"]] == [a["id"], b["id"]]
    assert moved["products"][0]["profiles"] == [moved["products"][0]["profile"]]
    assert (await catalog.ok("GET", f"{PATH}/{first}"))["collection"]["products"] == []
    assert (await one(catalog, a["id"]))["collection"]["id"] == second

    async def emitted() -> bool:
        """Each product is announced, as one of its own changes."""
        return bool(
            await stack.pool("inventory").fetchval(
                "select count(*) = 2 from copies where id = any($1) and body ->> 'collection_id' = $2",
                [a["id"], b["id"]],
                second,
            )
        )

    await until(emitted)
    # Only those that are in it leave.
    assert await catalog.ok("DELETE", f"{PATH}/{first}/products/batch", sent) == {
        "id": first,
        "object": "product-collection",
        "removed_products": sent["product_ids"],
    }
    assert (await one(catalog, a["id"]))["collection_id"] == second
    await catalog.ok("DELETE", f"{PATH}/{second}/products/batch", {"product_ids": [a["id"]]})
    assert (await one(catalog, a["id"]))["collection_id"] is None
    await catalog.ok("DELETE", f"{PATH}/{second}")
    left = await one(catalog, b["id"])
    assert (left["collection_id"], left["collection"]) == (second, None)


async def test_lists(stack: Stack, catalog: Client, uid: str) -> None:
    oak = (await catalog.ok("POST", PATH, {"title": f"Oak {uid}"}))["collection"]
    ash = (await catalog.ok("POST", PATH, {"title": f"Ash {uid}"}))["collection"]
    with statements(stack) as read:
        (row, _) = (await catalog.ok("GET", PATH, query={"q": uid}))["collections"]
    assert len(read) == 1
    assert row == {key: ash[key] for key in ("id", "created_at", "updated_at", "title", "handle", "products")}

    async def ids(**query: str) -> list[str]:
        return await listed_ids(catalog, "collections", PATH, query)

    o, a = oak["id"], ash["id"]
    assert await ids(q=oak["handle"][1:].upper()) == [o]
    assert await ids(q=uid, order="-title") == [o, a]
    assert await ids(title=f"Ash {uid}") == [a]
    assert await ids(handle=oak["handle"]) == [o]
    assert await ids(**{"q": uid, "created_at[lt]": ash["created_at"]}) == [o]
    await catalog.ok("DELETE", f"{PATH}/{a}")
    assert await ids(q=uid) == [o]
    assert await ids(**{"q": uid, "deleted_at[gt]": "2020-01-01"}) == [a]


@pytest.mark.parametrize("query", ["limit=ten", "colour=red", "expand=products", "fields=title", "order=metadatas"])
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"{PATH}?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
