"""The commands `price_cart` and `documents`, as the orders call them."""

from typing import Any

import pytest

from services.catalog.pricing.carts import price_cart
from services.chassis.bus import Bus
from services.chassis.commands import call
from services.chassis.errors import ApiError
from services.chassis.keys import BUS
from tests.support.client import Client
from tests.support.database import reads, rolled_back
from tests.support.factories.carts import cart, euros, methods, priced, refused
from tests.support.factories.regions import another_region, make_option, make_product, make_region
from tests.support.stack import Stack
from tests.support.waiting import until


async def make_variant(catalog: Client, *prices: dict[str, Any], **more: Any) -> str:
    variant: str = (await make_product(catalog, list(prices), **more))["variants"][0]["id"]
    return variant


async def unit_prices(stack: Stack, region: dict[str, Any], variant: str, *quantities: int) -> list[tuple[int, bool]]:
    items = [{"variant_id": variant, "quantity": quantity} for quantity in quantities]
    answer = await priced(stack, cart(region, *items))
    return [(item["unit_price"], item["includes_tax"]) for item in answer["items"]]


async def test_a_cart_is_priced_by_one_statement(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=19)
    option = await make_option(catalog, region)
    product = await make_product(catalog, [euros(999)], thumbnail="http://img.test/1.png")
    variant = product["variants"][0]
    body = cart(
        region,
        {"variant_id": variant["id"], "quantity": 2},
        {"unit_price": 199},
        {"variant_id": variant["id"], "unit_price": 5},
        shipping_methods=methods(option),
    )
    with stack.statements("catalog") as statements:
        answer = await priced(stack, body)
    assert len(reads(statements)) == 1
    copies = answer.pop("copies")
    rates = [{"rate": 19, "name": "default", "code": "default"}]
    line = {
        "id": "item_0",
        "variant_id": variant["id"],
        "product_id": product["id"],
        "title": product["title"],
        "description": "White",
        "thumbnail": "http://img.test/1.png",
        "unit_price": 999,
        "includes_tax": False,
        "is_giftcard": False,
        "has_shipping": True,
        "allow_discounts": True,
        "tax_rates": rates,
        "adjustments": [],
    }
    custom: dict[str, Any] = {
        "id": "item_1",
        "variant_id": None,
        "product_id": None,
        "title": None,
        "description": None,
        "thumbnail": None,
        "unit_price": 199,
        "includes_tax": False,
        "is_giftcard": False,
        "has_shipping": True,
        "allow_discounts": False,
        "tax_rates": [],
        "adjustments": [],
    }
    assert answer == {
        "currency_code": "eur",
        "automatic_taxes": True,
        "sales_channel_id": copies["sales_channel"][0]["id"],
        "items": [line, custom, line | {"id": "item_2", "unit_price": 5}],
        "shipping_methods": [
            {
                "id": "sm_0",
                "option_id": option["id"],
                "price": 500,
                "includes_tax": False,
                "profile_id": option["profile_id"],
                "provider_id": "manual",
                "data": {"id": "manual-fulfillment"},
                "tax_rates": rates,
            }
        ],
        "discounts": [],
    }
    assert {kind: [doc["id"] for doc in docs] for kind, docs in copies.items()} == {
        "region": [region["id"]],
        "country": ["de"],
        "sales_channel": [answer["sales_channel_id"]],
        "shipping_option": [option["id"]],
        "shipping_profile": [option["profile_id"]],
        "product": [product["id"]],
        "variant": [variant["id"]],
        "discount": [],
    }
    shown = copies["region"][0]
    assert {**shown["body"], **{k: v for k, v in shown["related"].items() if k != "tax_rates"}} == region
    shown = copies["shipping_option"][0]
    assert {**shown["body"], "profile": shown["related"]["profile"]}.items() <= option.items()
    assert copies["variant"][0]["body"]["product_id"] == product["id"]
    assert copies["product"][0]["related"]["profile_id"] == option["profile_id"]


async def test_it_answers_over_the_broker(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    bus: Bus = stack.apps["catalog"][BUS]

    async def connected() -> bool:
        return bus.connected

    await until(connected)
    answer = await call(bus, "catalog", "price_cart", cart(region, {"unit_price": 100}))
    assert answer["items"][0]["unit_price"] == 100
    with pytest.raises(ApiError) as refusal:
        await call(bus, "catalog", "price_cart", cart({"id": "reg_missing"}))
    assert (refusal.value.status, refusal.value.type) == (404, "not_found")


async def test_prices_of_the_region_and_its_currency(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    other = await another_region(catalog, currency_code="dkk", countries=["dk"])
    variant = await make_variant(
        catalog, euros(2475), {"region_id": region["id"], "amount": 2600}, {"region_id": other["id"], "amount": 1}
    )
    assert await unit_prices(stack, region, variant, 1) == [(2475, False)]
    assert await unit_prices(stack, other, variant, 1) == [(1, False)]
    await catalog.ok("DELETE", f"/admin/regions/{other['id']}")


async def test_quantities_choose_the_price(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    variant = await make_variant(
        catalog, euros(1000), euros(900, min_quantity=2, max_quantity=4), euros(800, min_quantity=5)
    )
    prices = await unit_prices(stack, region, variant, 1, 2, 4, 5, 1_000_000)
    assert [amount for amount, _ in prices] == [1000, 900, 900, 800, 800]


async def test_whether_a_price_includes_tax(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=19, includes_tax=True)
    cheap_here = await make_variant(catalog, euros(2475), {"region_id": region["id"], "amount": 2500})
    cheap_anywhere = await make_variant(catalog, euros(999), {"region_id": region["id"], "amount": 1190})
    assert await unit_prices(stack, region, cheap_here, 1) == [(2500, True)]
    assert await unit_prices(stack, region, cheap_anywhere, 1) == [(999, False)]
    await catalog.ok("POST", "/admin/currencies/eur", {"includes_tax": True})
    try:
        assert await unit_prices(stack, region, cheap_here, 1) == [(2475, True)]
    finally:
        await catalog.ok("POST", "/admin/currencies/eur", {"includes_tax": False})
    answer = await priced(stack, cart(region, {"variant_id": cheap_here, "unit_price": 5, "includes_tax": True}))
    assert (answer["items"][0]["unit_price"], answer["items"][0]["includes_tax"]) == (5, True)
    answer = await priced(stack, cart(region, {"variant_id": cheap_here, "unit_price": 5}))
    assert answer["items"][0]["includes_tax"] is False


async def test_rates_of_the_product_and_its_type_replace_that_of_the_region(
    stack: Stack, catalog: Client, uid: str
) -> None:
    region = await make_region(catalog, tax_rate=19)
    other = await another_region(catalog, countries=["fr"])
    product = await make_product(catalog, [euros(1000)], type={"value": uid})
    option = await make_option(catalog, region)
    for code, rate, where, more in [
        ("p", 7, region, {"products": [product["id"]]}),
        ("t", None, region, {"product_types": [product["type_id"]]}),
        ("s", 12, region, {"shipping_options": [option["id"]]}),
        ("x", 50, other, {"products": [product["id"]]}),
    ]:
        body = {"code": code, "name": code.upper(), "region_id": where["id"], "rate": rate, **more}
        await catalog.ok("POST", "/admin/tax-rates", body)
    item = {"variant_id": product["variants"][0]["id"]}
    answer = await priced(stack, cart(region, item, shipping_methods=methods(option)))
    assert answer["items"][0]["tax_rates"] == [
        {"rate": 7, "name": "P", "code": "p"},
        {"rate": 0, "name": "T", "code": "t"},
    ]
    assert answer["shipping_methods"][0]["tax_rates"] == [{"rate": 12, "name": "S", "code": "s"}]
    assert [rate["code"] for rate in answer["copies"]["region"][0]["related"]["tax_rates"]] == ["p", "t", "s"]


async def test_a_price_given_for_shipping_is_kept(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region, includes_tax=True)
    for price in (0, 333):
        answer = await priced(stack, cart(region, shipping_methods=methods(option, price=price)))
        method = answer["shipping_methods"][0]
        assert (method["price"], method["includes_tax"]) == (price, True)


async def test_lines_ship_with_a_method_of_their_profile(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    body = {"name": "Bulky", "type": "custom"}
    bulky = (await catalog.ok("POST", "/admin/shipping-profiles", body))["shipping_profile"]
    sofa, shirt = await make_product(catalog, [euros(1)]), await make_product(catalog, [euros(1)])
    await catalog.ok("POST", f"/admin/shipping-profiles/{bulky['id']}", {"products": [sofa["id"]]})
    freight = await make_option(catalog, region, profile_id=bulky["id"])
    items = [{"variant_id": product["variants"][0]["id"]} for product in (sofa, shirt)]
    answer = await priced(stack, cart(region, *items, shipping_methods=methods(freight)))
    assert [item["has_shipping"] for item in answer["items"]] == [True, False]


async def test_gift_cards_and_what_takes_no_discounts(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    card = await make_variant(catalog, euros(5000), is_giftcard=True, discountable=False)
    item = (await priced(stack, cart(region, {"variant_id": card})))["items"][0]
    assert (item["is_giftcard"], item["allow_discounts"]) == (True, False)


async def test_what_is_not_there_is_refused(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    variant = await make_variant(catalog, {"currency_code": "usd", "amount": 1})
    option = await make_option(catalog, region)
    await catalog.ok("DELETE", f"/admin/shipping-options/{option['id']}")
    assert await refused(stack, cart({"id": "reg_missing"})) == (404, "not_found")
    assert await refused(stack, cart(region, {"variant_id": "variant_missing"})) == (400, "invalid_data")
    assert await refused(stack, cart(region, {"variant_id": variant})) == (400, "invalid_data")
    assert await refused(stack, cart(region, shipping_methods=methods({"id": "so_missing"}))) == (404, "not_found")
    assert await refused(stack, cart(region, shipping_methods=methods(option))) == (404, "not_found")
    assert await refused(stack, cart(region, discount_codes=["nope"])) == (404, "not_found")
    kept = await priced(stack, cart(region, {"variant_id": variant, "unit_price": 8000}))
    assert kept["items"][0]["unit_price"] == 8000


async def test_a_deleted_product_or_region_is_not_there(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    product = await make_product(catalog, [euros(1)])
    await catalog.ok("DELETE", f"/admin/products/{product['id']}")
    body = cart(region, {"variant_id": product["variants"][0]["id"]})
    assert await refused(stack, body) == (400, "invalid_data")
    await catalog.ok("DELETE", f"/admin/regions/{region['id']}")
    assert await refused(stack, cart(region)) == (404, "not_found")


async def test_an_option_of_another_region_is_refused(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, await another_region(catalog, countries=["fr"]))
    assert await refused(stack, cart(region, shipping_methods=methods(option))) == (400, "invalid_data")


@pytest.mark.parametrize(
    ("quantity", "requirement", "allowed"),
    [
        (1, ("min_subtotal", 1998), False),
        (2, ("min_subtotal", 1998), True),
        (2, ("max_subtotal", 1999), True),
        (2, ("max_subtotal", 1998), False),
    ],
)
async def test_requirements(
    stack: Stack, catalog: Client, quantity: int, requirement: tuple[str, int], allowed: bool
) -> None:
    region = await make_region(catalog)
    variant = await make_variant(catalog, euros(999))
    option = await make_option(catalog, region, requirements=[dict(zip(("type", "amount"), requirement, strict=True))])
    body = cart(region, {"variant_id": variant, "quantity": quantity}, shipping_methods=methods(option))
    if allowed:
        assert (await priced(stack, body))["shipping_methods"][0]["price"] == 500
    else:
        assert await refused(stack, body) == (400, "not_allowed")


async def test_requirements_of_a_gross_option_look_at_the_gross_subtotal(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=19)
    at_least = [{"type": "min_subtotal", "amount": 1190}]
    net = await make_option(catalog, region, requirements=at_least)
    gross = await make_option(catalog, region, requirements=at_least, includes_tax=True)
    line = {"variant_id": await make_variant(catalog, euros(1000))}
    assert await refused(stack, cart(region, line, shipping_methods=methods(net))) == (400, "not_allowed")
    await priced(stack, cart(region, line, shipping_methods=methods(gross)))
    await catalog.ok("POST", f"/admin/regions/{region['id']}", {"automatic_taxes": False})
    assert await refused(stack, cart(region, line, shipping_methods=methods(gross))) == (400, "not_allowed")
    assert await refused(stack, cart(region, {"unit_price": 1189}, shipping_methods=methods(net))) == (
        400,
        "not_allowed",
    )
    await priced(stack, cart(region, {"unit_price": 1190}, shipping_methods=methods(net)))


async def test_a_hundred_lines_are_one_statement(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    variants = [await make_variant(catalog, euros(n)) for n in range(1, 4)]
    body = cart(region, *({"variant_id": variants[n % 3]} for n in range(100)))
    with stack.statements("catalog") as statements:
        answer = await priced(stack, body)
    assert len(reads(statements)) == 1
    assert [item["unit_price"] for item in answer["items"]] == [n % 3 + 1 for n in range(100)]
    assert len(answer["copies"]["variant"]) == 3


async def test_pricing_changes_nothing(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        before = await db.fetchval("select pg_current_xact_id_if_assigned()")
        await price_cart(db, cart(region, {"unit_price": 1}))
        assert await db.fetchval("select pg_current_xact_id_if_assigned()") is before is None


async def test_documents_of_what_exists(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region)
    await catalog.ok("DELETE", f"/admin/shipping-options/{option['id']}")
    documents = stack_command(stack, "documents")
    kinds = {
        "region": [region["id"], "reg_missing"],
        "country": ["de"],
        "shipping_option": [option["id"]],
        "product": [],
    }
    async with stack.pool("catalog").acquire() as db:
        copies = (await documents(db, {"kinds": kinds}))["copies"]
    assert {kind: [doc["id"] for doc in docs] for kind, docs in copies.items()} == {
        "region": [region["id"]],
        "country": ["de"],
        "shipping_option": [option["id"]],
    }
    assert copies["region"][0]["sequence"] == 1
    assert (copies["shipping_option"][0]["sequence"], copies["shipping_option"][0]["body"]["deleted_at"] is None) == (
        2,
        False,
    )
    assert copies["country"][0]["body"] == region["countries"][0]
    assert copies["country"][0]["sequence"] >= 1


async def test_documents_of_unknown_kinds_are_refused(stack: Stack) -> None:
    documents = stack_command(stack, "documents")
    async with stack.pool("catalog").acquire() as db:
        with pytest.raises(ApiError) as refusal:
            await documents(db, {"kinds": {"customer": ["cus_1"]}})
    assert refusal.value.status == 400


def stack_command(stack: Stack, name: str) -> Any:
    """A command's handler, as the service declares it."""
    from services.catalog.service import SERVICE

    assert stack.apps["catalog"]
    return SERVICE.commands[name]
