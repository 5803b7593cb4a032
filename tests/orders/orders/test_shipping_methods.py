"""Adding a way of shipping to an order, over HTTP."""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.shops import Shop, place, set_up

Order = dict[str, Any]


async def option(api: Client, shop: Shop, uid: str, *, own_profile: bool = True, **more: Any) -> str:
    """A shipping option, by default of a profile of its own."""
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    profile = next(p["id"] for p in profiles if p["type"] == "default")
    if own_profile:
        created = await api.ok("POST", "/admin/shipping-profiles", {"name": f"Second {uid}", "type": "custom"})
        profile = created["shipping_profile"]["id"]
    body = {
        "name": f"Courier {uid}",
        "region_id": shop.region,
        "profile_id": profile,
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": 900,
        "data": {"id": "manual-fulfillment"},
    }
    return str((await api.ok("POST", "/admin/shipping-options", body | more))["shipping_option"]["id"])


async def add(api: Client, order: Order, **body: Any) -> Order:
    answer: Order = (await api.ok("POST", f"/admin/orders/{order['id']}/shipping-methods", body))["order"]
    return answer


def methods(order: Order) -> list[tuple[Any, ...]]:
    return [(m["price"], m["subtotal"], m["tax_total"], m["total"], m["data"]) for m in order["shipping_methods"]]


async def test_one_of_another_profile_is_added(api: Client, shop: Shop, uid: str) -> None:
    order, courier = await place(api, shop), await option(api, shop, uid)
    answer = await add(api, order, option_id=courier, price=350, data={"slot": "morning"})
    assert methods(answer) == [(500, 500, 0, 500, {}), (350, 350, 0, 350, {"slot": "morning"})]
    added = answer["shipping_methods"][1]
    assert (added["order_id"], added["cart_id"], added["tax_lines"]) == (order["id"], None, [])
    assert added["shipping_option"]["id"] == courier
    assert (answer["shipping_total"], answer["total"]) == (850, 2850)
    assert (answer["paid_total"], answer["refundable_amount"]) == (2500, 2500)
    assert (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]["shipping_methods"] == answer[
        "shipping_methods"
    ]


async def test_one_of_the_same_profile_takes_its_place(api: Client, shop: Shop) -> None:
    order = await place(api, shop)
    answer = await add(api, order, option_id=shop.shipping_option, price=650)
    assert methods(answer) == [(650, 650, 0, 650, {})]
    assert (answer["shipping_total"], answer["total"]) == (650, 2650)
    assert methods(await add(api, order, option_id=shop.shipping_option, price=0)) == [(0, 0, 0, 0, {})]
    draft = (await api.ok("GET", f"/admin/draft-orders/{order['draft_order_id']}"))["draft_order"]
    assert [m["price"] for m in draft["cart"]["shipping_methods"]] == [500]


async def test_its_tax_is_that_of_the_moment_unless_others_have_theirs(api: Client, uid: str) -> None:
    shop = await set_up(api, tax_rate=20)
    order, courier = await place(api, shop), await option(api, shop, uid)
    beside = await add(api, order, option_id=courier, price=1000)
    assert [(m["price"], m["tax_total"], len(m["tax_lines"])) for m in beside["shipping_methods"]] == [
        (500, 100, 1),
        (1000, 0, 0),
    ]
    assert (beside["shipping_total"], beside["shipping_tax_total"]) == (1500, 100)
    lost = await api.ok(
        "POST", "/admin/draft-orders", shop.draft(items=[{"title": "Rug", "unit_price": 1, "quantity": 1}])
    )
    draft = f"/admin/draft-orders/{lost['draft_order']['id']}"
    await api.ok("POST", f"{draft}/line-items", {"variant_id": shop.small, "quantity": 1})
    bare = (await api.ok("POST", f"{draft}/pay"))["order"]
    alone = await add(api, bare, option_id=shop.shipping_option, price=1000)
    assert [(m["price"], m["tax_total"], m["total"]) for m in alone["shipping_methods"]] == [(1000, 200, 1200)]
    line = alone["shipping_methods"][0]["tax_lines"][0]
    assert line == {
        "rate": 20,
        "name": "default",
        "code": "default",
        "shipping_method_id": alone["shipping_methods"][0]["id"],
    }
    assert alone["total"] == bare["total"] + 1200


async def test_a_price_that_includes_tax(api: Client, uid: str) -> None:
    shop = await set_up(api, tax_rate=25)
    order = await place(api, shop)
    gross = await option(api, shop, uid, own_profile=False, includes_tax=True)
    answer = await add(api, order, option_id=gross, price=1000)
    assert methods(answer) == [(1000, 800, 200, 1000, {})]


@pytest.mark.parametrize(
    ("change", "status", "type_"),
    [
        ({"option_id": "so_missing"}, 404, "not_found"),
        ({"option_id": ""}, 400, "invalid_data"),
        ({"option_id": None}, 400, "invalid_data"),
        ({"price": None}, 400, "invalid_data"),
        ({"price": 10.5}, 400, "invalid_data"),
        ({"price": -1}, 400, "invalid_data"),
        ({"price": 2**60}, 400, "invalid_data"),
        ({"data": "x"}, 400, "invalid_data"),
        ({"colour": "red"}, 400, "invalid_data"),
    ],
)
async def test_bad_ones_change_nothing(
    api: Client, shop: Shop, change: dict[str, Any], status: int, type_: str
) -> None:
    order = await place(api, shop)
    path = f"/admin/orders/{order['id']}"
    before = await api.ok("GET", path)
    body = {"option_id": shop.shipping_option, "price": 100} | change
    got, answer = await api.post(f"{path}/shipping-methods", body)
    assert (got, answer["type"]) == (status, type_)
    assert await api.ok("GET", path) == before


async def test_an_option_of_another_region(api: Client, shop: Shop, uid: str) -> None:
    order = await place(api, shop)
    body = {
        "name": f"US {uid}",
        "currency_code": "usd",
        "tax_rate": 0,
        "countries": [],
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
    }
    region = (await api.ok("POST", "/admin/regions", body))["region"]["id"]
    abroad = await option(api, shop, uid, own_profile=False, region_id=region)
    before = await api.ok("GET", f"/admin/orders/{order['id']}")
    got, _ = await api.post(f"/admin/orders/{order['id']}/shipping-methods", {"option_id": abroad, "price": 1})
    assert got in (400, 404)
    assert await api.ok("GET", f"/admin/orders/{order['id']}") == before
