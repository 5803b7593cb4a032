"""Variants: added, changed, priced, removed, found."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.products import listed_ids, make, one, shirt
from tests.support.factories.regions import make_region


def added(size: str, value: str, **more: Any) -> dict[str, Any]:
    """The body of a variant added to a product with one option."""
    return {"title": f"New {value}", "prices": [], "options": [{"option_id": size, "value": value}], **more}


async def test_adding_one(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path, size = f"/admin/products/{product['id']}/variants", product["options"][0]["id"]
    body = added(
        size,
        "M",
        sku=f"M-{uid}",
        inventory_quantity=-3,
        metadata={"a": 1},
        prices=[{"currency_code": "USD", "amount": 0}],
    )
    changed = (await catalog.ok("POST", path, body))["product"]
    new = changed["variants"][2]
    assert {key: new[key] for key in ("title", "sku", "variant_rank", "inventory_quantity", "manage_inventory")} == {
        "title": "New M",
        "sku": f"M-{uid}",
        "variant_rank": 2,
        "inventory_quantity": -3,
        "manage_inventory": True,
    }
    assert (new["metadata"], new["options"][0]["value"]) == ({"a": 1}, "M")
    assert [(p["currency_code"], p["amount"]) for p in new["prices"]] == [("usd", 0)]
    assert changed["variants"][:2] == product["variants"]


async def test_additions_that_are_refused(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path, size = f"/admin/products/{product['id']}/variants", product["options"][0]["id"]
    for body in (
        added(size, "S"),
        added(size, "Z", sku=f"S-{uid}"),
        added(size, "Z", options=[]),
        added("opt_missing", "Z"),
        added(size, "Z", prices=None),
        added(size, "Z", title=None),
        added(size, "Z", colour="red"),
        added(size, "Z", prices=[{"currency_code": "xyz", "amount": 1}]),
        added(size, "Z", prices=[{"region_id": "reg_missing", "amount": 1}]),
    ):
        status, answer = await catalog.post(path, body)
        assert (status, answer["type"]) == (400, "invalid_data"), body
    assert (await catalog.post("/admin/products/prod_missing/variants", added(size, "Z")))[0] == 400
    assert (await one(catalog, product["id"]))["variants"] == [v | {"purchasable": True} for v in product["variants"]]


async def test_one_combination_is_added_once(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path, size = f"/admin/products/{product['id']}/variants", product["options"][0]["id"]
    answers = await asyncio.gather(*(catalog.post(path, added(size, "M")) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400]
    assert [v["variant_rank"] for v in (await one(catalog, product["id"]))["variants"]] == [0, 1, 2]


async def test_changing_one(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    small, large = product["variants"]
    size = product["options"][0]["id"]
    path = f"/admin/products/{product['id']}/variants/{small['id']}"
    body = {
        "title": "Tiny",
        "sku": f"XS-{uid}",
        "manage_inventory": True,
        "metadata": {"a": 1, "b": 2},
        "weight": 90,
        "options": [{"option_id": size, "value": "XS"}],
    }
    changed = (await catalog.ok("POST", path, body))["product"]
    tiny = changed["variants"][0]
    assert {key: tiny[key] for key in body if key != "options"} == {k: v for k, v in body.items() if k != "options"}
    assert (tiny["options"][0]["value"], tiny["prices"]) == ("XS", small["prices"])
    assert changed["variants"][1] == large
    body = {"sku": None, "weight": None, "metadata": {"a": ""}}
    again = (await catalog.ok("POST", path, body))["product"]["variants"][0]
    assert (again["sku"], again["weight"], again["metadata"], again["title"]) == (None, None, {"b": 2}, "Tiny")
    # Managed from now on, but made without an item: nobody counts it.
    (shown, _) = (await one(catalog, product["id"]))["variants"]
    assert shown["purchasable"] is True and "inventory_quantity" not in shown


async def test_changes_that_are_refused(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    other = await make(catalog, {"title": f"Other {uid}"})
    small = product["variants"][0]
    path = f"/admin/products/{product['id']}/variants/{small['id']}"
    for body, status in (
        ({"title": "x", "sku": f"L-{uid}"}, 422),
        ({"title": "x", "options": [{"option_id": "opt_missing", "value": "Q"}]}, 404),
        ({"title": "x", "prices": [{"currency_code": "xyz", "amount": 1}]}, 404),
        ({"title": "x", "prices": [{"region_id": "reg_missing", "amount": 1}]}, 404),
        ({"title": None}, 400),
        ({"manage_inventory": None}, 400),
        ({"variant_rank": 3}, 400),
        ({"prices": [{"amount": 900}]}, 400),
        ({"prices": [{"currency_code": "eur", "amount": "900"}]}, 400),
        ({"inventory_quantity": 2**31}, 400),
    ):
        assert (await catalog.post(path, body))[0] == status, body
    assert (await one(catalog, product["id"]))["variants"][0] == small | {"purchasable": True}
    assert (await catalog.post(f"/admin/products/{product['id']}/variants/variant_missing", {}))[0] == 404
    assert (await catalog.post(f"/admin/products/{other['id']}/variants/{small['id']}", {"title": "x"}))[0] == 404


async def test_prices(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    product = await make(catalog, shirt(uid))
    small = product["variants"][0]
    path = f"/admin/products/{product['id']}/variants/{small['id']}"

    async def after(prices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        changed = (await catalog.ok("POST", path, {"prices": prices}))["product"]["variants"][0]["prices"]
        assert (await catalog.ok("GET", f"/admin/variants/{small['id']}"))["variant"]["prices"] == changed
        return sorted(changed, key=lambda price: int(price["amount"]))

    eur, of_region, usd = await after(
        [
            {"currency_code": "eur", "amount": 1100},
            {"currency_code": "usd", "amount": 1250, "min_quantity": 2, "max_quantity": 5},
            {"region_id": region["id"], "amount": 1150, "min_quantity": 2},
        ]
    )
    assert eur["id"] == small["prices"][0]["id"]
    assert (of_region["currency_code"], of_region["region_id"], of_region["min_quantity"]) == (
        "eur",
        region["id"],
        None,
    )
    assert (usd["min_quantity"], usd["max_quantity"]) == (2, 5)
    (dearer,) = await after([{"id": usd["id"], "currency_code": "usd", "amount": 1275}])
    assert (dearer["id"], dearer["amount"], dearer["min_quantity"]) == (usd["id"], 1275, None)
    tiers = [{"currency_code": "eur", "amount": amount, "min_quantity": amount} for amount in (1, 2, 3)]
    assert [price["min_quantity"] for price in await after(tiers)] == [1, 2, 3]
    await catalog.ok("POST", path, {"weight": 1})
    assert len((await catalog.ok("GET", f"/admin/variants/{small['id']}"))["variant"]["prices"]) == 3
    assert await after([]) == []


async def test_removing_one(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    small, large = product["variants"]
    path = f"/admin/products/{product['id']}/variants"
    answer = await catalog.ok("DELETE", f"{path}/{small['id']}")
    assert (answer["variant_id"], answer["object"], answer["deleted"]) == (small["id"], "product-variant", True)
    assert answer["product"]["variants"] == [large]
    assert [value["variant_id"] for value in answer["product"]["options"][0]["values"]] == [large["id"]]
    assert (await catalog.get(f"/admin/variants/{small['id']}"))[0] == 404
    assert (await catalog.ok("DELETE", f"{path}/variant_missing"))["product"]["variants"] == [large]
    assert (await catalog.delete(f"/admin/products/prod_missing/variants/{large['id']}"))[0] == 404
    body = added(product["options"][0]["id"], "S", sku=f"S-{uid}")
    assert (await catalog.ok("POST", path, body))["product"]["variants"][1]["sku"] == f"S-{uid}"


async def test_lists(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    s, l = (v["id"] for v in product["variants"])  # noqa: E741
    path = f"/admin/products/{product['id']}/variants"
    body = {"manage_inventory": True, "allow_backorder": True, "inventory_quantity": 40}
    await catalog.ok("POST", f"{path}/{l}", body)

    async def both(**query: Any) -> list[str]:
        own = await listed_ids(catalog, "variants", path, query)
        if not any(key.startswith(("created_at", "updated_at")) for key in query):
            assert await listed_ids(catalog, "variants", "/admin/variants", {"id[]": [s, l]} | query) == own
        return own

    assert await both(order="title") == [l, s]
    assert await both(order="-title") == [s, l]
    assert await both(q="LARG") == [l]
    assert await both(q=f"s-{uid}") == [s]
    assert await both(q=f"shirt {uid}", order="title") == [l, s]
    assert await both(**{"id[]": s}) == [s]
    assert await both(manage_inventory="true") == [l]
    assert await both(allow_backorder="false") == [s]
    assert await both(inventory_quantity="40") == [l]
    assert await both(**{"inventory_quantity[lte]": "10"}) == [s]
    assert await both(**{"created_at[lt]": "2020-01-01"}) == []
    assert await listed_ids(catalog, "variants", "/admin/variants", {"title": "Small", "id[]": [s, l]}) == [s]
    assert await listed_ids(catalog, "variants", "/admin/products/prod_missing/variants", {}) == []


async def test_what_lists_show(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    small = product["variants"][0]
    path = f"/admin/products/{product['id']}/variants"
    (row, _) = (await catalog.ok("GET", path, query={"order": "-title"}))["variants"]
    assert row["variant_rank"] == 0
    assert not {"calculated_price", "purchasable", "product"} & row.keys()
    assert not {"variant_id", "price_list"} & row["prices"][0].keys()
    query = {"q": f"S-{uid}", "fields": "sku", "expand": ""}
    (row,) = (await catalog.ok("GET", path, query=query))["variants"]
    assert row.keys() == {"id", "created_at", "sku", "product"}
    (row,) = (await catalog.ok("GET", "/admin/variants", query={"id": small["id"], "fields": "title", "expand": ""}))[
        "variants"
    ]
    assert (row["purchasable"], row["calculated_price"], row["prices"][0]["variant_id"]) == (True, None, small["id"])
    assert not {"sku", "options", "product", "inventory_quantity"} & row.keys()
    alone = (await catalog.ok("GET", f"/admin/variants/{small['id']}", query={"expand": "", "fields": "title"}))[
        "variant"
    ]
    assert {"id", "title", "prices", "calculated_price"} <= alone.keys()
    assert not {"purchasable", "created_at", "options", "product"} & alone.keys()


@pytest.mark.parametrize(
    "query", ["colour=red", "limit=x", "order=nonsense", "expand=nonsense", "inventory_quantity=x"]
)
@pytest.mark.parametrize("path", ["/admin/variants", "/admin/products/prod_x/variants"])
async def test_queries_that_are_refused(catalog: Client, path: str, query: str) -> None:
    status, answer = await catalog.get(f"{path}?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
