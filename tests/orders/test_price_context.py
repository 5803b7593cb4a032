"""The command `price_context`: what the catalog asks of carts and customers before it tells prices."""

import pytest

from services.chassis.errors import NotFound
from services.orders.commands import price_context
from tests.support.client import Client
from tests.support.factories.customers import customer, make
from tests.support.factories.shops import Shop
from tests.support.stack import Stack


async def test_regions_of_carts_and_groups_of_customers(
    stack: Stack, api: Client, orders: Client, shop: Shop, uid: str
) -> None:
    cart = (await api.ok("POST", "/admin/draft-orders", shop.draft()))["draft_order"]["cart_id"]
    groups = sorted([(await make(orders, f"{name} {uid}"))["id"] for name in ("A", "B")])
    await make(orders, f"C {uid}")
    member = await customer(orders, f"{uid}@example.com")
    for group in groups:
        await orders.ok("POST", f"/admin/customer-groups/{group}/customers/batch", {"customer_ids": [{"id": member}]})
    async with stack.pool("orders").acquire() as db:
        assert await price_context(db, {"cart_id": cart, "customer_id": member}) == {
            "region_id": shop.region,
            "customer_group_ids": groups,
        }
        assert await price_context(db, {"cart_id": None, "customer_id": "cus_missing"}) == {
            "region_id": None,
            "customer_group_ids": [],
        }
        with pytest.raises(NotFound):
            await price_context(db, {"cart_id": "cart_missing", "customer_id": member})
