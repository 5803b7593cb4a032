"""Finding products, and what the lists show of variants."""

from typing import Any

import pytest

from services.catalog.products.stock import store_availability
from tests.support.client import Client
from tests.support.factories.products import ids, make, one, shirt, variant
from tests.support.stack import Stack


async def test_filters(catalog: Client, uid: str) -> None:
    parent = (await catalog.ok("POST", "/admin/product-categories", {"name": f"Out {uid}"}))["product_category"]
    child = (
        await catalog.ok("POST", "/admin/product-categories", {"name": f"In {uid}", "parent_category_id": parent["id"]})
    )["product_category"]
    collection = (await catalog.ok("POST", "/admin/collections", {"title": f"Porcelain {uid}"}))["collection"]
    spade = await make(
        catalog,
        shirt(
            uid,
            title=f"Spade {uid}",
            description=f"100% steel {uid}",
            status="published",
            type={"value": f"Tool {uid}"},
            tags=[{"value": f"steel {uid}"}],
            categories=[{"id": child["id"]}],
        ),
    )
    rake = await make(
        catalog,
        {
            "title": f"Rake {uid}",
            "tags": [{"value": f"steel {uid}"}, {"value": f"long {uid}"}],
            "categories": [{"id": parent["id"]}],
            "collection_id": collection["id"],
            "is_giftcard": True,
        },
    )
    s, r = spade["id"], rake["id"]
    tag = spade["tags"][0]["id"]
    assert await ids(catalog, **{"tags[]": tag}) == [r, s]
    assert await ids(catalog, **{"id[]": [s, r], "status[]": "published"}) == [s]
    assert await ids(catalog, **{"id[]": [s, r], "status": "draft"}) == [r]
    assert await ids(catalog, **{"type_id[]": spade["type_id"]}) == [s]
    assert await ids(catalog, **{"collection_id[]": collection["id"]}) == [r]
    assert await ids(catalog, **{"category_id[]": parent["id"]}) == [r]
    assert await ids(catalog, **{"category_id[]": parent["id"], "include_category_children": "true"}) == [r, s]
    assert await ids(catalog, **{"id[]": [s, r], "is_giftcard": "true"}) == [r]
    assert await ids(catalog, title=f"Rake {uid}") == [r]
    assert await ids(catalog, description=f"100% steel {uid}") == [s]
    assert await ids(catalog, **{"id[]": [s, r], "order": "title"}) == [r, s]
    assert await ids(catalog, **{"id[]": [s, r], "created_at[lt]": rake["created_at"]}) == [s]
    assert await ids(catalog, q=f"00% STEEL {uid}") == [s]
    assert await ids(catalog, q=f"l-{uid}") == [s]
    assert await ids(catalog, q=f"porcelain {uid}") == [r]
    assert await ids(catalog, **{"q": uid, "status[]": "draft"}) == [r]
    assert await ids(catalog, q=f"shirt-{uid}") == []
    assert await ids(catalog, **{"price_list_id[]": "pl_missing"}) == []


@pytest.mark.parametrize(
    "query",
    [
        "status=sold",
        "colour=red",
        "created_at=yesterday",
        "created_at[near]=2020-01-01",
        "limit=many",
        "limit=-1",
        "order=nonsense",
        "expand=nonsense",
        "fields=nonsense",
        "tags=ptag",
        "is_giftcard=perhaps",
        "id[gt]=x",
    ],
)
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"/admin/products?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_prices_are_complete_next_to_variants(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid, variants=[variant("A", "a"), variant("B", "b", prices=[])]))
    query = {"id": product["id"], "fields": "title", "expand": "variants,variants.prices"}
    (product,) = (await catalog.ok("GET", "/admin/products", query=query))["products"]
    assert product.keys() == {"id", "created_at", "title", "variants"}
    a, b = product["variants"]
    assert (a["calculated_price"], a["tax_rates"], a["prices"][0]["price_list"]) == (None, None, None)
    assert "calculated_price" not in b
    query["expand"] = "variants.prices"
    (product,) = (await catalog.ok("GET", "/admin/products", query=query))["products"]
    assert "calculated_price" not in product["variants"][0]
    assert not {"variant_id", "price_list"} & product["variants"][0]["prices"][0].keys()


async def test_availability_is_what_the_inventory_says(stack: Stack, catalog: Client, uid: str) -> None:
    counted = variant("Brass", "b", manage_inventory=True, inventory_quantity=9)
    product = await make(catalog, shirt(uid, variants=[counted]))
    (brass,) = product["variants"]
    assert brass["inventory_quantity"] == 9

    async def shown() -> tuple[Any, Any]:
        (v,) = (await one(catalog, product["id"]))["variants"]
        listed = await catalog.ok("GET", "/admin/variants", query={"id": brass["id"]})
        assert {key: listed["variants"][0].get(key) for key in ("inventory_quantity", "purchasable")} == {
            "inventory_quantity": v.get("inventory_quantity"),
            "purchasable": v["purchasable"],
        }
        return v.get("inventory_quantity"), v["purchasable"]

    async def set_available(available: int, has_item: bool, sequence: int) -> None:
        fact = {"id": brass["id"], "available": available, "has_item": has_item, "sequence": sequence}
        async with stack.pool("catalog").acquire() as db, db.transaction():
            await store_availability(db, {"variants": [fact]})

    assert await shown() == (0, False)
    far = 10**9
    await set_available(14, True, far + 1)
    assert await shown() == (14, True)
    await set_available(3, True, far)
    assert await shown() == (14, True)
    await set_available(0, True, far + 2)
    await catalog.ok("POST", f"/admin/products/{product['id']}/variants/{brass['id']}", {"allow_backorder": True})
    assert await shown() == (0, True)
    await set_available(0, False, far + 3)
    assert await shown() == (None, True)
    assert (await catalog.ok("GET", f"/admin/variants/{brass['id']}"))["variant"]["inventory_quantity"] == 9
