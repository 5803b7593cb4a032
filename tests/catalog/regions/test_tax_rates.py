"""Tax rates: what they are for, what answers show, and refusals."""

import asyncio
from typing import Any

import pytest

from services.catalog.regions import tax_rates
from services.catalog.regions.tax_rates import TaxRateBody, TaxRateUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import another_region, make_option, make_product, make_region
from tests.support.stack import Stack

Everything = [("expand[]", name) for name in ("products", "product_types", "shipping_options", "region")]
COUNTS = [("fields[]", name) for name in ("product_count", "product_type_count", "shipping_option_count")]


async def make_rate(catalog: Client, region: dict[str, Any], query: Any = None, **more: Any) -> dict[str, Any]:
    body = {"code": "food", "name": "Food", "region_id": region["id"], "rate": 7, **more}
    rate: dict[str, Any] = (await catalog.ok("POST", "/admin/tax-rates", body, query))["tax_rate"]
    return rate


async def counts(catalog: Client, rate: dict[str, Any]) -> list[int]:
    shown = (await catalog.ok("GET", f"/admin/tax-rates/{rate['id']}", query=COUNTS))["tax_rate"]
    return [shown[name] for _, name in COUNTS]


async def test_a_rate_as_created(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    rate = await make_rate(catalog, region)
    assert rate == {
        "id": rate["id"],
        "created_at": rate["created_at"],
        "updated_at": rate["created_at"],
        "code": "food",
        "name": "Food",
        "rate": 7,
        "region_id": region["id"],
    }
    assert rate["id"].startswith("txr_")
    with stack.statements("catalog") as statements:
        answer = await catalog.get(f"/admin/tax-rates/{rate['id']}")
    assert (answer, len(reads(statements))) == ((200, {"tax_rate": rate}), 1)


async def test_what_a_rate_is_for_is_shown_on_demand(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region)
    product = await make_product(catalog, [], type={"value": f"Kitchen {uid}"})
    rate = await make_rate(
        catalog,
        region,
        Everything,
        products=[product["id"]],
        product_types=[product["type_id"]],
        shipping_options=[option["id"]],
    )
    assert [p["id"] for p in rate["products"]] == [product["id"]]
    assert "variants" not in rate["products"][0] and "profiles" not in rate["products"][0]
    assert [t["value"] for t in rate["product_types"]] == [f"Kitchen {uid}"]
    assert rate["shipping_options"] == [
        {k: v for k, v in option.items() if k not in ("region", "profile", "requirements")}
    ]
    assert (rate["region"]["id"], "countries" in rate["region"]) == (region["id"], False)
    with stack.statements("catalog") as statements:
        assert await catalog.ok("GET", f"/admin/tax-rates/{rate['id']}", query=Everything) == {"tax_rate": rate}
    assert len(reads(statements)) == 1
    query = [("fields[]", "rate"), *COUNTS]
    assert await catalog.ok("GET", f"/admin/tax-rates/{rate['id']}", query=query) == {
        "tax_rate": {
            "id": rate["id"],
            "rate": 7,
            "product_count": 1,
            "product_type_count": 1,
            "shipping_option_count": 1,
        }
    }


async def test_what_is_gone_is_not_counted(catalog: Client) -> None:
    region = await make_region(catalog)
    option, product = await make_option(catalog, region), await make_product(catalog, [])
    rate = await make_rate(catalog, region, products=[product["id"]], shipping_options=[option["id"]])
    assert await counts(catalog, rate) == [1, 0, 1]
    await catalog.ok("DELETE", f"/admin/products/{product['id']}")
    await catalog.ok("DELETE", f"/admin/shipping-options/{option['id']}")
    await catalog.ok("DELETE", f"/admin/regions/{region['id']}")
    assert await counts(catalog, rate) == [0, 0, 0]
    shown = (await catalog.ok("GET", f"/admin/tax-rates/{rate['id']}", query=Everything))["tax_rate"]
    assert (shown["products"], shown["shipping_options"], shown["region"]) == ([], [], None)


async def test_an_update_replaces_the_lists_it_names(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    a, b = [await make_product(catalog, [], type={"value": f"Kitchen {uid}"}) for _ in range(2)]
    rate = await make_rate(catalog, region, products=[a["id"]], product_types=[a["type_id"]])
    path = f"/admin/tax-rates/{rate['id']}"
    body = {"code": "books", "name": "Books", "rate": 5.5, "products": [b["id"]]}
    answer = (await catalog.ok("POST", path, body, [("expand[]", "products")]))["tax_rate"]
    assert (answer["code"], answer["name"], answer["rate"]) == ("books", "Books", 5.5)
    assert [p["id"] for p in answer["products"]] == [b["id"]]
    assert await counts(catalog, rate) == [1, 1, 0]
    answer = (await catalog.ok("POST", path, {"rate": None, "products": [], "product_types": []}))["tax_rate"]
    assert (answer["rate"], answer["name"], await counts(catalog, rate)) == (None, "Books", [0, 0, 0])


async def test_batches_add_and_remove(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region)
    product = await make_product(catalog, [], type={"value": f"Kitchen {uid}"})
    rate = await make_rate(catalog, region)
    path = f"/admin/tax-rates/{rate['id']}"
    batches = {
        "products": {"products": [product["id"], product["id"]]},
        "product-types": {"product_types": [product["type_id"]]},
        "shipping-options": {"shipping_options": [option["id"]]},
    }
    for _ in range(2):
        for name, body in batches.items():
            assert await catalog.post(f"{path}/{name}/batch", body) == (200, {"tax_rate": rate})
        assert await counts(catalog, rate) == [1, 1, 1]
    for name, body in batches.items():
        key = next(iter(body))
        answer = await catalog.request("DELETE", f"{path}/{name}/batch", {key: [*body[key], "missing"]})
        assert answer == (200, {"tax_rate": rate})
    assert await counts(catalog, rate) == [0, 0, 0]


@pytest.mark.parametrize("name", ["products", "product-types", "shipping-options"])
async def test_wrong_batches_change_nothing(catalog: Client, name: str) -> None:
    rate = await make_rate(catalog, await make_region(catalog))
    path, key = f"/admin/tax-rates/{rate['id']}/{name}/batch", name.replace("-", "_")
    for body in ({}, {key: "x"}, {key: [1]}, {key: [], "more": 1}):
        assert (await catalog.post(path, body))[0] == (await catalog.delete(path, body))[0] == 400
    assert (await catalog.post(path, {key: ["missing"]}))[0] == 404
    missing = f"/admin/tax-rates/txr_missing/{name}/batch"
    assert (await catalog.post(missing, {key: []}))[0] == (await catalog.delete(missing, {key: []}))[0] == 404
    assert await counts(catalog, rate) == [0, 0, 0]


async def test_options_of_another_region_are_refused(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    other = await another_region(catalog, countries=["fr"])
    option = await make_option(catalog, other)
    body = {"code": "x", "name": uid, "region_id": region["id"], "shipping_options": [option["id"]]}
    status, refusal = await catalog.post("/admin/tax-rates", body)
    assert (status, refusal["type"]) == (400, "not_allowed")
    assert (await catalog.ok("GET", "/admin/tax-rates", query={"q": uid}))["count"] == 0
    rate = await make_rate(catalog, other, shipping_options=[option["id"]])
    path = f"/admin/tax-rates/{rate['id']}"
    assert (await catalog.post(path, {"region_id": region["id"]}))[0] == 400
    assert await catalog.ok("GET", path) == {"tax_rate": rate}
    moved = await catalog.ok("POST", path, {"region_id": region["id"], "shipping_options": []})
    assert moved["tax_rate"]["region_id"] == region["id"]
    assert (await catalog.post(f"{path}/shipping-options/batch", {"shipping_options": [option["id"]]}))[0] == 400
    assert await counts(catalog, rate) == [0, 0, 0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": None}, 400),
        ({"name": None}, 400),
        ({"rate": "7"}, 400),
        ({"rate": -1}, 400),
        ({"rate": 1e400}, 400),
        ({"products": "x"}, 400),
        ({"colour": "red"}, 400),
        ({"region_id": "reg_missing"}, 404),
        ({"products": ["prod_missing"]}, 404),
        ({"product_types": ["ptyp_missing"]}, 404),
        ({"shipping_options": ["so_missing"]}, 404),
    ],
)
async def test_a_refused_rate_leaves_nothing(catalog: Client, uid: str, body: dict[str, Any], status: int) -> None:
    region = await make_region(catalog)
    body = {"code": uid, "name": uid, "region_id": region["id"], **body}
    assert (await catalog.post("/admin/tax-rates", body))[0] == status
    query = {"region_id": region["id"]}
    assert (await catalog.ok("GET", "/admin/tax-rates", query=query))["count"] == 0


async def test_missing_rates(catalog: Client) -> None:
    path = "/admin/tax-rates/txr_missing"
    assert (await catalog.get(path))[0] == (await catalog.post(path, {"name": "x"}))[0] == 404
    assert await catalog.delete(path) == (200, {"id": "txr_missing", "object": "tax-rate", "deleted": True})


async def test_a_deleted_rate_is_gone(catalog: Client) -> None:
    region = await make_region(catalog)
    rate = await make_rate(catalog, region, shipping_options=[(await make_option(catalog, region))["id"]])
    path = f"/admin/tax-rates/{rate['id']}"
    for _ in range(2):
        assert await catalog.delete(path) == (200, {"id": rate["id"], "object": "tax-rate", "deleted": True})
    assert (await catalog.get(path))[0] == 404


async def test_lists_are_filtered_and_ordered(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    other = await another_region(catalog, countries=["fr"])
    a = await make_rate(catalog, region, code=f"a-{uid}", name=f"Aaa {uid}", rate=5)
    b = await make_rate(catalog, region, code=f"b-{uid}", name=f"Bbb {uid}", rate=10)
    c = await make_rate(catalog, other, code=f"c-{uid}", name=f"Ccc {uid}", rate=None)
    both = [("region_id[]", region["id"]), ("region_id[]", other["id"])]
    for query, rates in [
        ([("region_id", region["id"])], [b, a]),
        ([*both, ("order", "name")], [a, b, c]),
        ([("region_id", region["id"]), ("order", "-rate")], [b, a]),
        ([*both, ("order", "rate")], [a, b, c]),
        ([("code", f"b-{uid}")], [b]),
        ([("name", f"Ccc {uid}")], [c]),
        ([("q", f"BBB {uid}")], [b]),
        ([("region_id", region["id"]), ("rate", "5")], [a]),
        ([("region_id", region["id"]), ("rate[gt]", "5")], [b]),
        ([("region_id", region["id"]), ("rate[gte]", "5"), ("rate[lt]", "10")], [a]),
        ([("q", uid), ("created_at[lt]", "2020-01-01")], []),
        ([("q", uid), ("deleted_at[gt]", "2020-01-01")], []),
    ]:
        with stack.statements("catalog") as statements:
            answer = await catalog.ok("GET", "/admin/tax-rates", query=query)
        assert answer == {"tax_rates": rates, "count": len(rates), "offset": 0, "limit": 50}, query
        assert len(reads(statements)) == 1
    answer = await catalog.ok("GET", "/admin/tax-rates", query=[("q", f"aaa {uid}"), ("fields[]", "product_count")])
    assert answer["tax_rates"] == [{"id": a["id"], "created_at": a["created_at"], "product_count": 0}]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "few"},
        {"expand": "products"},
        {"fields": "id"},
        {"fields[]": "bogus"},
        {"expand[]": "bogus"},
        {"rate": "x"},
        {"order": "product_count"},
        {"colour": "red"},
    ],
)
async def test_a_wrong_query_is_refused(catalog: Client, query: dict[str, str]) -> None:
    status, refusal = await catalog.get("/admin/tax-rates", query)
    assert (status, refusal["type"]) == (400, "invalid_data")


async def test_changes_at_once(catalog: Client) -> None:
    region = await make_region(catalog)
    products = [(await make_product(catalog, []))["id"] for _ in range(2)]
    rate = await make_rate(catalog, region)
    path = f"/admin/tax-rates/{rate['id']}"
    answers = await asyncio.gather(
        *(catalog.post(path, {"products": products[:: 1 if n % 2 else -1]}) for n in range(6)),
        *(catalog.post(f"{path}/products/batch", {"products": products}) for _ in range(6)),
        *(catalog.post(f"/admin/regions/{region['id']}", {"tax_rate": n}) for n in range(4)),
    )
    assert {status for status, _ in answers} == {200}
    assert await counts(catalog, rate) == [2, 0, 0]


async def test_regions_show_their_rates_and_are_announced(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    other = await another_region(catalog, countries=["fr"])
    async with rolled_back(stack) as db:
        rate_id = await tax_rates.create_rate(db, TaxRateBody(code="x", name="X", region_id=region["id"], rate=7))
        await tax_rates.update_rate(db, rate_id, TaxRateUpdate(region_id=other["id"]))
        await tax_rates.remove_rate(db, rate_id)
        sent = await events(db)
    emitted = [(name, id_, len(data["copies"]["region"][0]["related"]["tax_rates"])) for name, id_, data in sent]
    assert emitted[0] == ("region.updated", region["id"], 1)
    assert sorted(emitted[1:3]) == sorted([("region.updated", region["id"], 0), ("region.updated", other["id"], 1)])
    assert emitted[3:] == [("region.updated", other["id"], 0)]
