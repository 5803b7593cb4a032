"""Product types."""

import pytest

from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import listed_ids, make
from tests.support.stack import Stack

PATH = "/admin/product-types"


async def test_lists(stack: Stack, catalog: Client, uid: str) -> None:
    vase = (await make(catalog, {"title": f"A {uid}", "type": {"value": f"Vase {uid}"}}))["type"]
    bowl = (await make(catalog, {"title": f"B {uid}", "type": {"value": f"Bowl {uid}"}}))["type"]
    with statements(stack) as read:
        rows = (await catalog.ok("GET", PATH, query={"q": uid, "order": "value"}))["product_types"]
    assert len(read) == 1
    assert rows == [{key: type_[key] for key in ("id", "created_at", "updated_at", "value")} for type_ in (bowl, vase)]

    async def ids(**query: object) -> list[str]:
        return await listed_ids(catalog, "product_types", PATH, query)

    v, b = vase["id"], bowl["id"]
    assert await ids(q=uid) == [b, v]
    assert await ids(q=f"VASE {uid}") == [v]
    assert await ids(**{"id[]": [v, b], "order": "-value"}) == [v, b]
    assert await ids(value=f"Bowl {uid}") == [b]
    assert await ids(**{"value[]": [f"Bowl {uid}", f"Vase {uid}"], "created_at[gt]": "2020-01-01"}) == [b, v]
    assert (await catalog.ok("GET", PATH))["limit"] == 20
    assert vase in (await catalog.ok("GET", "/admin/products/types"))["types"]


@pytest.mark.parametrize("query", ["colour=red", "limit=x", "expand=products", "fields=id"])
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"{PATH}?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
