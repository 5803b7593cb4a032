"""What happens to a region is emitted of its discounts, too; what happens to a profile shows with every product."""

from typing import Any

import orjson

from tests.support.client import Client
from tests.support.factories.discounts import make_discount
from tests.support.factories.shops import place, set_up
from tests.support.stack import Stack
from tests.support.waiting import until


async def test_copies_of_a_discount_show_its_region_as_it_is(stack: Stack, api: Client, uid: str) -> None:
    shop = await set_up(api)
    mine, other = [await make_discount(api, {"id": shop.region}) for _ in range(2)]
    await api.ok("DELETE", f"/admin/discounts/{other['id']}")

    async def regions(discount: dict[str, Any]) -> Any:
        sql = "select related::text from copies where kind = 'discount' and id = $1"
        related = await stack.pool("orders").fetchval(sql, discount["id"])
        return [region["name"] for region in orjson.loads(related)["regions"]] if related else None

    await api.ok("POST", f"/admin/regions/{shop.region}", {"name": f"Renamed {uid}"})

    async def renamed() -> bool:
        return bool(await regions(mine) == [f"Renamed {uid}"])

    await until(renamed)
    await api.ok("DELETE", f"/admin/regions/{shop.region}")

    async def gone() -> bool:
        return bool(await regions(mine) == [])

    await until(gone)
    shown = (await api.ok("GET", f"/admin/discounts/{mine['id']}"))["discount"]
    assert shown["regions"] == []


async def test_an_order_shows_the_profile_of_a_product_as_it_is_called(api: Client, uid: str) -> None:
    shop = await set_up(api)
    profile = {"name": f"Bulky {uid}", "type": "custom"}
    profile_id = (await api.ok("POST", "/admin/shipping-profiles", profile))["shipping_profile"]["id"]
    path = f"/admin/shipping-profiles/{profile_id}"
    await api.ok("POST", path, {"products": [shop.product], "shipping_options": [shop.shipping_option]})
    order = await place(api, shop)
    name = order["items"][0]["variant"]["product"]["profile"]["name"]
    assert name == f"Bulky {uid}"
    await api.ok("POST", path, {"name": f"Heavy {uid}"})

    async def renamed() -> bool:
        product = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]["items"][0]["variant"]["product"]
        assert [product["profile"]] == product["profiles"]
        assert product["profile_id"] == profile_id
        return bool(product["profile"]["name"] == f"Heavy {uid}")

    await until(renamed)
