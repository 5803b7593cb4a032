"""Price lists in what variants cost: GET /admin/variants with a price context, and the command `price_cart`."""

from typing import Any

import pytest

from services.catalog.pricing.carts import price_cart
from services.chassis.errors import Unavailable
from tests.support.client import Client
from tests.support.database import reads
from tests.support.factories.price_lists import Json, connected, euros, make_customer, make_group, make_list
from tests.support.factories.regions import another_region, make_product, make_region
from tests.support.stack import Stack

FIELDS = ("original", "calculated")
NOTHING = {
    f"{name}_{field}": None for name in FIELDS for field in ("price", "price_includes_tax", "price_incl_tax", "tax")
} | {"tax_rates": None}


@pytest.fixture
async def mug(catalog: Client) -> Json:
    """Of 9.99 EUR and 10.99 USD."""
    return await make_product(
        catalog, [{"currency_code": "eur", "amount": 999}, {"currency_code": "usd", "amount": 1099}]
    )


def variant_of(product: Json) -> str:
    return str(product["variants"][0]["id"])


async def shown(catalog: Client, variant_id: str, **query: Any) -> Json:
    answer = await catalog.ok("GET", "/admin/variants", query={"id": variant_id} | query)
    assert answer.keys() == {"variants", "count"}
    (row,) = answer["variants"]
    price: Json = row
    return price


def pricing(row: Json) -> tuple[Any, ...]:
    """(original, calculated, type, amounts of the prices shown)."""
    shown = sorted(price["amount"] for price in row["prices"])
    return row["original_price"], row["calculated_price"], row.get("calculated_price_type"), shown


async def unit_price(stack: Stack, region: Json, variant_id: str, quantity: int = 1, **more: Any) -> tuple[int, bool]:
    item = {"id": "item_0", "variant_id": variant_id, "quantity": quantity}
    async with stack.pool("catalog").acquire() as db:
        (line,) = (await price_cart(db, {"region_id": region["id"], "items": [item], **more}))["items"]
    return line["unit_price"], line["includes_tax"]


async def test_lists_that_hold_now(stack: Stack, catalog: Client, mug: Json) -> None:
    region, white = await make_region(catalog), variant_of(mug)
    here = {"region_id": region["id"]}
    assert pricing(await shown(catalog, white, **here)) == (999, 999, "default", [999])
    sale = await make_list(catalog, euros(white, 850), euros(white, 940, currency_code="usd"), starts_at="2020-01-01")
    await make_list(catalog, euros(white, 100), status="draft")
    await make_list(catalog, euros(white, 200), starts_at="2099-01-01")
    past = await make_list(catalog, euros(white, 300), ends_at="2020-01-01", type="override")
    with stack.statements("catalog") as statements:
        row = await shown(catalog, white, **here)
    assert len(reads(statements)) == 1
    assert pricing(row) == (999, 850, "sale", [850, 999])
    price = next(price for price in row["prices"] if price["amount"] == 850)
    assert price == {k: v for k, v in sale["prices"][0].items() if k not in ("variant", "variants")} | {
        "price_list": {k: v for k, v in sale.items() if k not in ("prices", "customer_groups")}
    }
    assert pricing(await shown(catalog, white, currency_code="USD")) == (1099, 940, "sale", [940, 1099])
    assert pricing(await shown(catalog, white, currency_code="usd", **here)) == (999, 850, "sale", [850, 999])
    assert await unit_price(stack, region, white) == (850, False)
    await catalog.ok("POST", f"/admin/price-lists/{past['id']}", {"ends_at": None})
    assert pricing(await shown(catalog, white, **here))[:3] == (999, 300, "override")
    assert await unit_price(stack, region, white) == (300, False)
    await catalog.ok("DELETE", f"/admin/price-lists/{past['id']}")
    await catalog.ok("POST", f"/admin/price-lists/{sale['id']}", {"status": "draft"})
    assert pricing(await shown(catalog, white, **here)) == (999, 999, "default", [999])
    assert await unit_price(stack, region, white) == (999, False)


async def test_without_a_context_all_prices_that_hold_are_shown(stack: Stack, catalog: Client, mug: Json) -> None:
    white = variant_of(mug)
    await make_list(catalog, euros(white, 850))
    await make_list(catalog, euros(white, 100), status="draft")
    with stack.statements("catalog") as statements:
        row = await shown(catalog, white)
    assert len(reads(statements)) == 1
    assert pricing(row) == (None, None, None, [850, 999, 1099])
    assert row.items() >= NOTHING.items()
    assert all("price_list" in price and "includes_tax" not in price for price in row["prices"])


async def test_a_variant_without_a_price_there_shows_all_it_has(catalog: Client, mug: Json) -> None:
    white = variant_of(mug)
    await make_list(catalog, euros(white, 100), status="draft")
    region = await make_region(catalog, currency_code="dkk")
    for context in ({"region_id": region["id"]}, {"currency_code": "dkk"}):
        row = await shown(catalog, white, **context)
        assert not (NOTHING.keys() | {"calculated_price_type"}) & row.keys()
        assert sorted(price["amount"] for price in row["prices"]) == [100, 999, 1099]
        assert not {"price_list", "variant_id", "includes_tax"} & row["prices"][0].keys()
    bare = variant_of(await make_product(catalog, []))
    row = await shown(catalog, bare, region_id=region["id"])
    assert (row["prices"], row["purchasable"]) == ([], True)
    assert not NOTHING.keys() & row.keys()


async def test_quantities(stack: Stack, catalog: Client, mug: Json) -> None:
    region, white = await make_region(catalog), variant_of(mug)
    await make_list(
        catalog,
        euros(white, 980, max_quantity=3),
        euros(white, 900, min_quantity=4, max_quantity=10),
        euros(white, 800, min_quantity=11),
    )
    row = await shown(catalog, white, region_id=region["id"])
    assert pricing(row) == (999, 980, "sale", [800, 900, 980, 999])
    amounts = [(await unit_price(stack, region, white, quantity))[0] for quantity in (1, 3, 4, 10, 11)]
    assert amounts == [980, 980, 900, 900, 800]
    only_many = variant_of(await make_product(catalog, []))
    await make_list(catalog, euros(only_many, 5, min_quantity=2))
    row = await shown(catalog, only_many, region_id=region["id"])
    assert pricing(row) == (None, None, None, [5])
    assert row["tax_rates"] == [{"rate": 19, "name": "default", "code": "default"}]


async def test_a_region_s_price_is_the_original_and_no_list_raises_it(catalog: Client) -> None:
    region = await make_region(catalog)
    here = {"region_id": region["id"]}
    poster = variant_of(
        await make_product(catalog, [{"currency_code": "eur", "amount": 2475}, here | {"amount": 2600}])
    )
    assert pricing(await shown(catalog, poster, **here))[:3] == (2600, 2475, "default")
    dear = await make_list(catalog, {"variant_id": poster, "amount": 2900} | here, type="override")
    assert pricing(await shown(catalog, poster, **here)) == (2600, 2475, "default", [2475, 2600, 2900])
    body = {"override": True, "prices": [{"variant_id": poster, "amount": 2400} | here]}
    await catalog.ok("POST", f"/admin/price-lists/{dear['id']}/prices/batch", body)
    assert pricing(await shown(catalog, poster, **here)) == (2600, 2400, "override", [2400, 2475, 2600])
    other = await another_region(catalog, countries=["fr"])
    assert pricing(await shown(catalog, poster, region_id=other["id"]))[:3] == (2475, 2400, "override")


async def test_lists_for_customer_groups(stack: Stack, catalog: Client, orders: Client, mug: Json) -> None:
    region, white = await make_region(catalog), variant_of(mug)
    vip = await make_group(stack, orders)
    member, other = await make_customer(orders, vip), await make_customer(orders, await make_group(stack, orders))
    here = {"region_id": region["id"]}
    sale = await make_list(catalog, euros(white, 500), customer_groups=[{"id": vip["id"]}])
    for query in (here, here | {"customer_id": other}, here | {"customer_id": "cus_missing"}):
        assert pricing(await shown(catalog, white, **query)) == (999, 999, "default", [999])
    assert pricing(await shown(catalog, white, customer_id=member, **here)) == (999, 500, "sale", [500, 999])
    assert pricing(await shown(catalog, white, customer_id=member)) == (None, None, None, [500, 999, 1099])
    assert pricing(await shown(catalog, white)) == (None, None, None, [999, 1099])
    buyer: Json = {"customer_id": member, "customer_group_ids": [vip["id"]]}
    assert await unit_price(stack, region, white, **buyer) == (999, False)
    await catalog.ok("POST", f"/admin/price-lists/{sale['id']}", {"customer_groups": []})
    assert await unit_price(stack, region, white) == (500, False)
    assert pricing(await shown(catalog, white, **here))[:3] == (999, 500, "sale")


async def test_a_list_for_a_group_that_was_deleted_is_for_nobody(
    stack: Stack, catalog: Client, orders: Client, mug: Json
) -> None:
    region, white = await make_region(catalog), variant_of(mug)
    vip = await make_group(stack, orders)
    await make_list(catalog, euros(white, 1), customer_groups=[{"id": vip["id"]}])
    await orders.ok("DELETE", f"/admin/customer-groups/{vip['id']}")
    assert pricing(await shown(catalog, white, region_id=region["id"]))[:2] == (999, 999)
    assert await unit_price(stack, region, white) == (999, False)


async def test_the_region_of_a_cart(stack: Stack, catalog: Client, api: Client, mug: Json) -> None:
    await connected(stack)
    region, white = await make_region(catalog), variant_of(mug)
    option = await catalog.ok(
        "POST",
        "/admin/shipping-options",
        {
            "name": "Standard",
            "region_id": region["id"],
            "provider_id": "manual",
            "price_type": "flat_rate",
            "amount": 500,
            "data": {},
        },
    )
    body = {
        "email": "a@example.com",
        "region_id": region["id"],
        "items": [{"variant_id": white, "quantity": 1}],
        "shipping_methods": [{"option_id": option["shipping_option"]["id"]}],
    }
    cart = (await api.ok("POST", "/admin/draft-orders", body))["draft_order"]["cart_id"]
    row = await shown(catalog, white, cart_id=cart, region_id="reg_missing", currency_code="usd")
    assert pricing(row) == (999, 999, "default", [999])


async def test_taxes(stack: Stack, catalog: Client, mug: Json) -> None:
    region, white = await make_region(catalog, tax_rate=19), variant_of(mug)
    here = {"region_id": region["id"]}
    row = await shown(catalog, white, **here)
    assert row["tax_rates"] == [{"rate": 19, "name": "default", "code": "default"}]
    assert (row["original_tax"], row["original_price_incl_tax"], row["original_price_includes_tax"]) == (
        190,
        1189,
        False,
    )
    gross = await make_list(catalog, euros(white, 1190), includes_tax=True)
    row = await shown(catalog, white, **here)  # 11.90 gross is 10.00 net
    assert pricing(row)[:3] == (999, 999, "default")
    body = {"override": True, "prices": [euros(white, 1180)]}
    await catalog.ok("POST", f"/admin/price-lists/{gross['id']}/prices/batch", body)
    row = await shown(catalog, white, **here)
    assert (row["calculated_price"], row["calculated_price_includes_tax"]) == (1180, True)
    assert (row["calculated_tax"], row["calculated_price_incl_tax"]) == (188, 1180)
    assert await unit_price(stack, region, white) == (1180, True)
    body = {"code": "r", "name": "Reduced", "region_id": region["id"], "rate": 7, "products": [mug["id"]]}
    rate = (await catalog.ok("POST", "/admin/tax-rates", body))["tax_rate"]
    row = await shown(catalog, white, **here)
    assert row["tax_rates"] == [rate | {"metadata": None}]
    assert (row["original_tax"], row["calculated_price"]) == (70, 999)
    row = await shown(catalog, white, currency_code="eur")  # no rate: what was there first
    assert (row["calculated_price"], row["calculated_price_incl_tax"], row["tax_rates"]) == (999, None, None)
    await catalog.ok("POST", f"/admin/regions/{region['id']}", {"automatic_taxes": False})
    row = await shown(catalog, white, **here)
    assert (row["original_price"], row["original_tax"], row["tax_rates"]) == (999, None, None)


async def test_whether_a_price_includes_tax(catalog: Client, mug: Json) -> None:
    region, white = await make_region(catalog, tax_rate=25, includes_tax=True), variant_of(mug)
    here = {"region_id": region["id"]}
    await make_list(catalog, {"variant_id": white, "amount": 800} | here)
    row = await shown(catalog, white, **here)
    assert (row["calculated_price_includes_tax"], row["calculated_tax"], row["calculated_price_incl_tax"]) == (
        True,
        160,
        800,
    )
    assert (row["original_price_includes_tax"], row["original_price_incl_tax"]) == (False, 1249)
    await catalog.ok("POST", "/admin/currencies/eur", {"includes_tax": True})
    try:
        assert (await shown(catalog, white, **here))["original_price_includes_tax"] is True
    finally:
        await catalog.ok("POST", "/admin/currencies/eur", {"includes_tax": False})


async def test_many_variants_are_one_statement_and_come_in_order(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    for n in range(4):
        product = await make_product(catalog, [{"currency_code": "eur", "amount": n}], title=f"{n} {uid}")
        await make_list(catalog, euros(variant_of(product), n + 1))
    query = {"q": uid, "region_id": region["id"], "limit": 2, "offset": 1, "order": "created_at", "fields": "title"}
    with stack.statements("catalog") as statements:
        answer = await catalog.ok("GET", "/admin/variants", query=query)
    assert len(reads(statements)) == 1
    assert answer["count"] == 4
    assert [row["calculated_price"] for row in answer["variants"]] == [1, 2]
    assert all("sku" not in row for row in answer["variants"])


@pytest.mark.parametrize(
    ("query", "status"),
    [("region_id=reg_missing", 404), ("cart_id=cart_missing", 404), ("region_id[]=x", 400), ("customer_id[gt]=x", 400)],
)
async def test_contexts_that_are_refused(stack: Stack, catalog: Client, query: str, status: int) -> None:
    await connected(stack)
    refused, answer = await catalog.get(f"/admin/variants?{query}")
    assert (refused, answer["type"]) == (status, "not_found" if status == 404 else "invalid_data")


async def test_when_orders_cannot_be_asked(catalog: Client, mug: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: Any, **__: Any) -> Any:
        raise Unavailable("no broker")

    monkeypatch.setattr("services.catalog.remote.price_context", unreachable)
    white = variant_of(mug)
    assert (await catalog.get("/admin/variants", {"id": white, "customer_id": "cus_x"}))[0] == 503
    assert (await catalog.get("/admin/variants", {"id": white, "cart_id": "c", "colour": "red"}))[0] == 400
    assert (await shown(catalog, white, currency_code="eur"))["calculated_price"] == 999
