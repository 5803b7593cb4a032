"""Product tags."""

import pytest

from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import listed_ids, make
from tests.support.stack import Stack

PATH = "/admin/product-tags"


async def test_lists(stack: Stack, catalog: Client, uid: str) -> None:
    body = {"title": f"Vase {uid}", "tags": [{"value": f"clay-{uid}"}, {"value": f"round-{uid}"}]}
    clay, round_ = (await make(catalog, body))["tags"]
    with statements(stack) as read:
        rows = (await catalog.ok("GET", PATH, query={"q": uid, "order": "value"}))["product_tags"]
    assert len(read) == 1
    assert rows == [{key: tag[key] for key in ("id", "created_at", "updated_at", "value")} for tag in (clay, round_)]

    async def ids(**query: object) -> list[str]:
        return await listed_ids(catalog, "product_tags", PATH, query)

    c, r = clay["id"], round_["id"]
    assert await ids(q=f"CLAY-{uid}") == [c]
    assert await ids(id=r) == [r]
    assert await ids(**{"id[]": [c, r], "order": "-value"}) == [r, c]
    assert await ids(value=f"clay-{uid}") == [c]
    assert await ids(**{"value[]": [f"clay-{uid}", "none"], "updated_at[gt]": "2020-01-01"}) == [c]
    assert await ids(**{"id": c, "created_at[lt]": "2020-01-01"}) == []
    assert (await catalog.ok("GET", PATH))["limit"] == 10


async def test_usage_counts_live_products(catalog: Client, uid: str) -> None:
    products = [await make(catalog, {"title": f"{n} {uid}", "tags": [{"value": f"most-{uid}"}]}) for n in range(60)]

    async def usage() -> list[tuple[str, str]]:
        tags = (await catalog.ok("GET", "/admin/products/tag-usage"))["tags"]
        assert len(tags) <= 10
        counts = [int(tag["usage_count"]) for tag in tags]
        assert counts == sorted(counts, reverse=True)
        return [(tag["value"], tag["usage_count"]) for tag in tags]

    assert (f"most-{uid}", "60") in await usage()
    await catalog.ok("DELETE", f"/admin/products/{products[0]['id']}")
    assert (f"most-{uid}", "59") in await usage()


@pytest.mark.parametrize("query", ["colour=red", "limit=x", "expand=products", "fields=id", "order=metadatas"])
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"{PATH}?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
