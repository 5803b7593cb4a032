"""The prices of a price list: batches, and removing them by product and by variant."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.price_lists import Json, amounts, euros, make_list, the_list
from tests.support.factories.regions import make_product, make_region


@pytest.fixture
async def mug(catalog: Client) -> Json:
    """A product with two variants, White of 10.00 and Black."""
    body = {
        "options": [{"title": "Colour"}],
        "variants": [
            {"title": title, "prices": [{"currency_code": "eur", "amount": 1000}], "options": [{"value": title}]}
            for title in ("White", "Black")
        ],
    }
    return await make_product(catalog, [], **body)


def variants(product: Json) -> list[str]:
    return [variant["id"] for variant in product["variants"]]


async def own_amounts(catalog: Client, variant_id: str) -> list[int]:
    return [p["amount"] for p in (await catalog.ok("GET", f"/admin/variants/{variant_id}"))["variant"]["prices"]]


async def test_batches_add_and_change(catalog: Client, mug: Json) -> None:
    white, black = variants(mug)
    price_list = await make_list(catalog, euros(white, 900), euros(white, 800, min_quantity=5))
    path = f"/admin/price-lists/{price_list['id']}/prices/batch"
    answer = (await catalog.ok("POST", path, {"prices": [euros(black, 700)]}))["price_list"]
    assert answer == await the_list(catalog, price_list["id"])
    assert amounts(answer) == [900, 800, 700]
    change = {"id": price_list["prices"][1]["id"], "variant_id": white, "amount": 801, "min_quantity": None}
    answer = (await catalog.ok("POST", path, {"prices": [change, euros(black, 600)]}))["price_list"]
    assert amounts(answer) == [900, 801, 700, 600]
    assert answer["prices"][1]["min_quantity"] is None
    body = {"prices": [change | {"amount": 802}, euros(black, 500)], "override": True}
    assert amounts((await catalog.ok("POST", path, body))["price_list"]) == [802, 500]
    assert (await catalog.ok("POST", path, {"prices": [], "override": True}))["price_list"]["prices"] == []
    assert await own_amounts(catalog, white) == [1000]


async def test_batches_that_are_refused_change_nothing(catalog: Client, mug: Json) -> None:
    white, _ = variants(mug)
    price_list, other = await make_list(catalog, euros(white, 900)), await make_list(catalog, euros(white, 1))
    path = f"/admin/price-lists/{price_list['id']}/prices/batch"
    foreign = {"id": other["prices"][0]["id"], "variant_id": white, "amount": 5}
    for prices, status in [
        (None, 400),
        ([euros(white, 5, region_id="reg_x")], 400),
        ([{"variant_id": white, "amount": 5}], 400),
        ([euros(white, 5), euros("variant_missing", 5)], 404),
        ([euros(white, 5), foreign], 404),
        ([euros(white, 5), foreign | {"id": "ma_missing"}], 404),
    ]:
        refused, answer = await catalog.post(path, {"prices": prices, "override": True})
        assert (refused, answer["type"]) == (status, "not_found" if status == 404 else "invalid_data")
    assert await the_list(catalog, price_list["id"]) == price_list
    assert await the_list(catalog, other["id"]) == other
    missing = await catalog.post("/admin/price-lists/pl_missing/prices/batch", {"prices": [euros(white, 1)]})
    assert (missing[0], missing[1]["type"]) == (404, "not_found")


async def test_a_price_moves_where_its_change_says(catalog: Client, mug: Json) -> None:
    region = await make_region(catalog, currency_code="usd")
    white, _ = variants(mug)
    price_list = await make_list(catalog, euros(white, 900))
    price = {"id": price_list["prices"][0]["id"], "variant_id": white}

    async def place(**change: Any) -> tuple[Any, ...]:
        body = {"prices": [price | {"amount": 5} | change]}
        (now,) = (await catalog.ok("POST", f"/admin/price-lists/{price_list['id']}", body))["price_list"]["prices"]
        return now["currency_code"], now["region_id"], now["amount"]

    assert await place() == ("eur", None, 5)
    assert await place(currency_code="DKK", region_id="") == ("dkk", None, 5)
    assert await place(region_id=region["id"], amount=6) == ("usd", region["id"], 6)
    assert await place(currency_code="eur", region_id=None) == ("usd", region["id"], 5), "stays in its region"
    changed = await the_list(catalog, price_list["id"])
    wrong: list[Json] = [{"currency_code": "zzz"}, {"region_id": "reg_missing"}]
    for place_ in wrong:
        body = {"name": "X", "prices": [price | {"amount": 7} | place_]}
        status, answer = await catalog.post(f"/admin/price-lists/{price_list['id']}", body)
        assert (status, answer["type"]) == (404, "not_found")
    assert await the_list(catalog, price_list["id"]) == changed


async def test_empty_places_of_a_new_price_say_nothing(catalog: Client, mug: Json) -> None:
    region = await make_region(catalog)
    white, _ = variants(mug)
    price_list = await make_list(
        catalog, {"variant_id": white, "amount": 5, "currency_code": "", "region_id": region["id"]}
    )
    assert [(p["currency_code"], p["region_id"]) for p in price_list["prices"]] == [("eur", region["id"])]
    path = f"/admin/price-lists/{price_list['id']}/prices/batch"
    wrong: list[Json] = [{"currency_code": ""}, {"region_id": ""}, {"currency_code": "", "region_id": ""}]
    for place in wrong:
        status, answer = await catalog.post(path, {"prices": [{"variant_id": white, "amount": 5} | place]})
        assert (status, answer["type"]) == (400, "invalid_data")
    assert await the_list(catalog, price_list["id"]) == price_list


async def test_prices_of_variants_that_are_gone_are_not_shown(catalog: Client, mug: Json) -> None:
    white, black = variants(mug)
    price_list = await make_list(catalog, euros(white, 1), euros(black, 2))
    await catalog.ok("DELETE", f"/admin/products/{mug['id']}/variants/{white}")
    assert amounts(await the_list(catalog, price_list["id"])) == [2]
    query = {"id": price_list["id"], "expand": "prices"}
    (row,) = (await catalog.ok("GET", "/admin/price-lists", query=query))["price_lists"]
    assert amounts(row) == [2]
    await catalog.ok("DELETE", f"/admin/products/{mug['id']}")
    assert amounts(await the_list(catalog, price_list["id"])) == []


async def test_removing_by_id(catalog: Client, mug: Json) -> None:
    white, black = variants(mug)
    price_list, other = (
        await make_list(catalog, euros(white, 900), euros(black, 800)),
        await make_list(catalog, euros(white, 1)),
    )
    path = f"/admin/price-lists/{price_list['id']}/prices/batch"
    ids = [price_list["prices"][0]["id"], other["prices"][0]["id"], mug["variants"][0]["prices"][0]["id"]]
    assert await catalog.delete(path, {"price_ids": ids}) == (
        200,
        {"ids": ids, "object": "money-amount", "deleted": True},
    )
    assert amounts(await the_list(catalog, price_list["id"])) == [800]
    assert amounts(await the_list(catalog, other["id"])) == [1]
    assert await own_amounts(catalog, white) == [1000]
    bodies: list[Json] = [{"price_ids": []}, {}, {"price_ids": [5]}]
    for body in bodies:
        status, answer = await catalog.delete(path, body)
        assert (status, answer["type"]) == (400, "invalid_data")
    status, answer = await catalog.delete("/admin/price-lists/pl_missing/prices/batch", {"price_ids": ids})
    assert (status, answer["type"]) == (404, "not_found")


async def test_removing_by_product_and_by_variant(catalog: Client, mug: Json) -> None:
    white, black = variants(mug)
    poster = await make_product(catalog, [])
    (paper,) = variants(poster)
    price_list = await make_list(catalog, *(euros(v, n) for n, v in enumerate((white, black, black, paper))))
    ids = [price["id"] for price in price_list["prices"]]
    path = f"/admin/price-lists/{price_list['id']}"

    async def removed(path: str, body: Any = None) -> list[str]:
        answer = await catalog.ok("DELETE", path, body)
        assert answer == {"ids": answer["ids"], "object": "money-amount", "deleted": True}
        return list(answer["ids"])

    assert await removed(f"{path}/variants/{black}/prices") == ids[1:3]
    assert await removed(f"{path}/products/{mug['id']}/prices") == ids[:1]
    assert await removed(f"{path}/products/{mug['id']}/prices") == []
    assert await removed(f"{path}/products/prices/batch", {"product_ids": [mug["id"], poster["id"]]}) == ids[3:]
    assert await removed(f"{path}/products/prod_missing/prices") == []
    assert await removed(f"{path}/variants/variant_missing/prices") == []
    assert await removed(f"/admin/price-lists/pl_missing/products/{mug['id']}/prices") == []
    assert (await the_list(catalog, price_list["id"]))["prices"] == []
    assert await own_amounts(catalog, black) == [1000]
    status, answer = await catalog.delete(f"{path}/products/prices/batch", {"product_ids": []})
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_a_price_is_removed_once(catalog: Client, mug: Json) -> None:
    white, black = variants(mug)
    price_list = await make_list(catalog, *(euros(v, n) for n in range(5) for v in (white, black)))
    path = f"/admin/price-lists/{price_list['id']}"
    answers = await asyncio.gather(
        *(catalog.delete(f"{path}/products/{mug['id']}/prices") for _ in range(3)),
        *(catalog.delete(f"{path}/variants/{white}/prices") for _ in range(3)),
    )
    removed = [id_ for _, answer in answers for id_ in answer["ids"]]
    assert sorted(removed) == sorted(price["id"] for price in price_list["prices"])


async def test_own_prices_of_a_variant_do_not_touch_those_of_lists(catalog: Client, mug: Json) -> None:
    white, _ = variants(mug)
    price_list = await make_list(catalog, euros(white, 900))
    await catalog.ok("POST", f"/admin/products/{mug['id']}/variants/{white}", {"prices": []})
    assert amounts(await the_list(catalog, price_list["id"])) == [900]
