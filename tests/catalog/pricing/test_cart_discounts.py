"""What codes do to a cart: whether it can have them, and what they take off."""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.carts import cart, euros, methods, priced, refused
from tests.support.factories.discounts import make_discount
from tests.support.factories.regions import another_region, make_option, make_product, make_region
from tests.support.stack import Stack

FIXED = {"type": "fixed"}
FREE = {"type": "free_shipping", "value": 0}


def taken(answer: dict[str, Any]) -> list[float]:
    """What each line has less, by the order of the lines."""
    return [sum(each["amount"] for each in item["adjustments"]) for item in answer["items"]]


async def lines_of(catalog: Client, *amounts: int, **more: Any) -> list[dict[str, Any]]:
    """A line for a new product of each price."""
    products = [await make_product(catalog, [euros(amount)], **more) for amount in amounts]
    return [{"variant_id": product["variants"][0]["id"]} for product in products]


async def product_of(stack: Stack, line: dict[str, Any]) -> str:
    sql = "select product_id from product_variants where id = $1"
    product_id: str = await stack.pool("catalog").fetchval(sql, line["variant_id"])
    return product_id


async def test_a_code_in_any_case(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, rule={"value": 12})
    mug, poster = await lines_of(catalog, 999, 2500)
    custom = {"unit_price": 350}
    body = cart(region, mug | {"quantity": 3}, poster, custom, discount_codes=[f" {discount['code'].lower()} "])
    answer = await priced(stack, body)
    assert answer["discounts"] == [{"id": discount["id"], "code": discount["code"]}]
    assert [item["adjustments"] for item in answer["items"]] == [
        [{"discount_id": discount["id"], "amount": 360, "description": "discount"}],
        [{"discount_id": discount["id"], "amount": 300, "description": "discount"}],
        [],
    ]
    doc = answer["copies"]["discount"][0]
    assert (doc["id"], doc["body"]["code"], doc["related"]["rule"]["value"]) == (discount["id"], discount["code"], 12)


@pytest.mark.parametrize(
    ("rule", "amounts"),
    [
        (FIXED | {"value": 1000}, [1000 * (2000 / 3500), 1000 * (1500 / 3500)]),
        (FIXED | {"value": 9999}, [2000, 1500]),
        (FIXED | {"value": 300, "allocation": "item"}, [600, 300]),
        (FIXED | {"value": 1200, "allocation": "item"}, [2000, 1200]),
        ({"value": 100, "allocation": "item"}, [2000, 1500]),
        (FREE, [0, 0]),
    ],
)
async def test_amounts(stack: Stack, catalog: Client, rule: dict[str, Any], amounts: list[float]) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, rule=rule)
    first, second = await lines_of(catalog, 1000, 1500)
    body = cart(region, first | {"quantity": 2}, second, discount_codes=[discount["code"]])
    assert taken(await priced(stack, body)) == amounts


async def test_gross_lines_count_with_their_net_subtotal(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=20)
    await catalog.ok("POST", f"/admin/regions/{region['id']}", {"includes_tax": True})
    percent = await make_discount(catalog, region)
    fixed = await make_discount(catalog, region, rule=FIXED | {"value": 5000})
    product = await make_product(catalog, [{"region_id": region["id"], "amount": 1200}])
    line = {"variant_id": product["variants"][0]["id"], "quantity": 3}
    for discount, amount in ((percent, 300), (fixed, 3000)):
        body = cart(region, line, discount_codes=[discount["code"]])
        assert taken(await priced(stack, body)) == [amount]


async def test_what_cannot_be_discounted_takes_no_part(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, rule=FIXED | {"value": 500})
    mug, voucher = *await lines_of(catalog, 1000), *await lines_of(catalog, 1000, discountable=False)
    body = cart(region, mug, voucher, discount_codes=[discount["code"]])
    assert taken(await priced(stack, body)) == [500, 0]


async def test_free_shipping_makes_every_method_cost_nothing(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, rule=FREE)
    option = await make_option(catalog, region)
    (mug,) = await lines_of(catalog, 1000)
    body = cart(region, mug, shipping_methods=methods(option) + methods(option, price=700))
    assert [method["price"] for method in (await priced(stack, body))["shipping_methods"]] == [500, 700]
    answer = await priced(stack, body | {"discount_codes": [discount["code"]]})
    assert [method["price"] for method in answer["shipping_methods"]] == [0, 0]
    assert taken(answer) == [0]


async def test_one_ordinary_discount_and_one_for_shipping(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    discounts = {}
    for name, rule in {"b": {}, "a": FIXED, "d": FREE, "c": FREE}.items():
        discounts[name] = await make_discount(catalog, region, code=f"{name}-{uid}", rule=rule)
    (mug,) = await lines_of(catalog, 1000)

    async def kept(*names: str) -> list[str]:
        answer = await priced(stack, cart(region, mug, discount_codes=[f"{name}-{uid}" for name in names]))
        return [discount["code"][0].lower() for discount in answer["discounts"]]

    assert await kept("d", "c", "a", "b", "b") == ["b", "d"], "those that were made first"
    assert (await kept("b"), await kept("d"), await kept()) == (["b"], ["d"], [])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"usage_limit": 1}, (400, "not_allowed")),
        ({"starts_at": "2099-01-01T00:00:00.000Z"}, (400, "not_allowed")),
        ({"starts_at": "2019-01-01", "ends_at": "2020-01-01"}, (400, "not_allowed")),
        ({"is_disabled": True}, (400, "not_allowed")),
        ({"region": "usd"}, (400, "invalid_data")),
        ({"deleted": True}, (404, "not_found")),
    ],
)
async def test_codes_that_a_cart_cannot_have(
    stack: Stack, catalog: Client, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    region = await make_region(catalog)
    where = region
    if "region" in change:
        where = await another_region(catalog, currency_code="usd", countries=["us"])
    sent = {name: value for name, value in change.items() if name not in ("region", "deleted")}
    discount = await make_discount(catalog, where, **sent)
    await stack.pool("catalog").execute("update discounts set usage_count = 1 where id = $1", discount["id"])
    if "deleted" in change:
        await catalog.ok("DELETE", f"/admin/discounts/{discount['id']}")
    (mug,) = await lines_of(catalog, 1000)
    body = cart(region, mug, discount_codes=[discount["code"]])
    assert await refused(stack, body) == refusal
    # A cart that has it keeps it: it was promised then. Only one that was deleted goes.
    kept = await priced(stack, body | {"discounts_kept": True})
    assert taken(kept) == ([0] if "deleted" in change else [100])


async def test_conditions_choose_products(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    winter = await catalog.ok("POST", "/admin/collections", {"title": f"Winter {uid}"})
    collection = winter["collection"]["id"]
    more = {"type": {"value": f"Cup {uid}"}, "tags": [{"value": f"gift-{uid}"}], "collection_id": collection}
    (cup,), (plain,) = await lines_of(catalog, 1000, **more), await lines_of(catalog, 3000)
    cup_id, plain_id = await product_of(stack, cup), await product_of(stack, plain)
    product = (await catalog.ok("GET", f"/admin/products/{cup_id}"))["product"]
    named = {
        "products": [cup_id],
        "product_types": [product["type_id"]],
        "product_collections": [collection],
        "product_tags": [product["tags"][0]["id"]],
    }

    async def less(*conditions: dict[str, Any], **rule: Any) -> list[float]:
        discount = await make_discount(catalog, region, *conditions, rule=rule)
        return taken(await priced(stack, cart(region, cup, plain, discount_codes=[discount["code"]])))

    for type_, ids in named.items():
        assert await less({"operator": "in", type_: ids}) == [100, 0], type_
        assert await less({"operator": "not_in", type_: ids}) == [0, 300], type_
    both = {"operator": "in", "products": [cup_id, plain_id]}
    assert await less(both) == [100, 300]
    assert await less(both, {"operator": "not_in", "product_types": named["product_types"]}) == [0, 300]
    assert await less({"operator": "in", "products": [cup_id]}, {"operator": "not_in", "products": [cup_id]}) == [0, 0]
    # The other line's share of an amount off the total is lost.
    assert await less({"operator": "in", "products": [cup_id]}, type="fixed", value=400) == [100, 0]


async def test_conditions_choose_customers(stack: Stack, catalog: Client, orders: Client, uid: str) -> None:
    region = await make_region(catalog)
    vip = await orders.ok("POST", "/admin/customer-groups", {"name": f"VIP {uid}"})
    group = vip["customer_group"]["id"]
    inside = await make_discount(catalog, region, {"operator": "in", "customer_groups": [group]})
    outside = await make_discount(catalog, region, {"operator": "not_in", "customer_groups": [group]})
    (mug,) = await lines_of(catalog, 1000)

    def body(discount: dict[str, Any], *groups: str) -> dict[str, Any]:
        return cart(region, mug, discount_codes=[discount["code"]], customer_group_ids=list(groups))

    assert taken(await priced(stack, body(inside, "cgrp_other", group))) == [100]
    assert taken(await priced(stack, body(outside, "cgrp_other"))) == [100]
    assert await refused(stack, body(inside)) == (400, "not_allowed")
    assert await refused(stack, body(inside, "cgrp_other")) == (400, "not_allowed")
    assert await refused(stack, body(outside, group)) == (400, "not_allowed")


async def test_a_dynamic_code_has_the_regions_of_its_discount(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    usd = await another_region(catalog, currency_code="usd", countries=["us"])
    parent = await make_discount(catalog, region, is_dynamic=True, rule={"value": 30})
    path = f"/admin/discounts/{parent['id']}"
    await catalog.ok("POST", path + "/dynamic-codes", {"code": uid})
    (mug,) = await lines_of(catalog, 1000)
    assert taken(await priced(stack, cart(region, mug, discount_codes=[uid]))) == [300]
    line = mug | {"unit_price": 1000}
    assert await refused(stack, cart(usd, line, discount_codes=[uid])) == (400, "invalid_data")
    await catalog.ok("DELETE", path)
    assert await refused(stack, cart(region, mug, discount_codes=[uid])) == (404, "not_found")


async def test_codes_cost_no_further_statement(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    lines = await lines_of(catalog, 1000, 2000, 3000)
    ids = [await product_of(stack, line) for line in lines]
    discounts = [
        await make_discount(catalog, region, {"operator": "in", "products": ids}, rule=rule) for rule in ({}, FREE)
    ]
    body = cart(region, *lines, discount_codes=[discount["code"] for discount in discounts])
    with stack.statements("catalog") as statements:
        assert taken(await priced(stack, body)) == [100, 200, 300]
    assert len([sql for sql in statements if "product_variants" in sql]) == 1
    assert len([sql for sql in statements if "discount" in sql]) == 1
