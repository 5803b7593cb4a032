"""GET /admin/price-lists/{id}/products."""

import pytest

from tests.support.client import Client
from tests.support.database import reads
from tests.support.factories.price_lists import Json, euros, make_list
from tests.support.factories.regions import make_product
from tests.support.stack import Stack


@pytest.fixture
async def products(catalog: Client, uid: str) -> list[Json]:
    """A mug with a tag and a type, a poster, and a card that is in no list."""
    price = {"currency_code": "eur", "amount": 1000}
    more = {"tags": [{"value": f"gift {uid}"}], "type": {"value": f"Kitchen {uid}"}, "status": "published"}
    return [
        await make_product(catalog, [price], title=f"Mug {uid}", description=f"For tea {uid}", **more),
        await make_product(catalog, [price], title=f"Poster {uid}"),
        await make_product(catalog, [price], title=f"Card {uid}"),
    ]


@pytest.fixture
async def sale(catalog: Client, products: list[Json]) -> Json:
    """A list with prices of the mug and the poster; there is another one."""
    mug, poster, _ = (product["variants"][0]["id"] for product in products)
    await make_list(catalog, euros(mug, 1))
    return await make_list(catalog, euros(mug, 900), euros(poster, 800))


async def test_what_is_shown(stack: Stack, catalog: Client, products: list[Json], sale: Json) -> None:
    mug, poster, _ = products
    path = f"/admin/price-lists/{sale['id']}/products"
    with stack.statements("catalog") as statements:
        answer = await catalog.ok("GET", path)
    assert len(reads(statements)) == 1
    assert [product["id"] for product in answer["products"]] == [poster["id"], mug["id"]]
    assert (answer["count"], answer["offset"], answer["limit"]) == (2, 0, 50)
    shown = answer["products"][1]
    assert shown.keys() == mug.keys() - {"sales_channels", "categories"}
    assert {key: value for key, value in shown.items() if key != "variants"}.items() <= mug.items()
    price_list = {k: v for k, v in sale.items() if k not in ("prices", "customer_groups")}
    (variant,) = shown["variants"]
    assert [(p["amount"], p["price_list_id"], p["price_list"]) for p in variant["prices"]] == [
        (1000, None, None),
        (900, sale["id"], price_list),
    ]
    assert "variant_id" not in variant["prices"][0]
    assert not {"calculated_price", "purchasable"} & variant.keys()
    assert "options" in variant
    (row,) = (await catalog.ok("GET", path, query={"id": mug["id"], "fields": "title", "expand": "variants"}))[
        "products"
    ]
    assert row.keys() == {"id", "created_at", "title", "variants"}
    assert [price["amount"] for price in row["variants"][0]["prices"]] == [1000, 900]
    assert "options" not in row["variants"][0]


async def test_finding(catalog: Client, products: list[Json], sale: Json, uid: str) -> None:
    mug, poster, _ = products

    async def titles_of(**query: str) -> list[str]:
        answer = await catalog.ok(
            "GET", f"/admin/price-lists/{sale['id']}/products", query={"fields": "title", "expand": ""} | query
        )
        return [product["title"].split()[0] for product in answer["products"]]

    assert await titles_of() == ["Poster", "Mug"]
    assert await titles_of(order="title") == ["Mug", "Poster"]
    assert await titles_of(order="title", limit="1", offset="1") == ["Poster"]
    assert await titles_of(q="MUG") == ["Mug"]
    assert await titles_of(**{"id[]": poster["id"]}) == ["Poster"]
    assert await titles_of(**{"tags[]": mug["tags"][0]["id"]}) == ["Mug"]
    assert await titles_of(**{"status[]": "published"}) == ["Mug"]
    assert await titles_of(type=mug["type_id"]) == ["Mug"]
    assert await titles_of(title=f"Poster {uid}") == ["Poster"]
    assert await titles_of(description=f"For tea {uid}") == ["Mug"]
    assert await titles_of(handle=mug["handle"]) == ["Mug"]
    assert await titles_of(is_giftcard="true") == []
    assert await titles_of(is_giftcard="false", order="title") == ["Mug", "Poster"]
    assert await titles_of(**{"created_at[lt]": "2020-01-01"}) == []
    assert await titles_of(**{"collection_id[]": "pcol_missing"}) == []
    assert (await titles_of(status="rejected"), await titles_of(status="draft")) == (
        [],
        await titles_of(**{"status[]": "draft"}),
    )
    await catalog.ok("DELETE", f"/admin/products/{mug['id']}")
    assert await titles_of() == ["Poster"]
    assert await titles_of(**{"deleted_at[gt]": "2020-01-01"}) == []
    assert await catalog.get("/admin/price-lists/pl_missing/products") == (
        200,
        {"products": [], "count": 0, "offset": 0, "limit": 50},
    )


@pytest.mark.parametrize(
    "query", ["colour=red", "status[]=bogus", "status=bogus", "limit=x", "price_list_id[]=pl_x", "expand=nonsense"]
)
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"/admin/price-lists/pl_x/products?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
