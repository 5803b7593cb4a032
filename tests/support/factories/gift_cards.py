"""Products that are gift cards, for tests that sell one."""

from typing import Any

from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.factories.shops import Shop


async def sell_voucher(api: Client, shop: Shop, **more: Any) -> str:
    """The variant of a product that is a gift card of 50.00."""
    variant = {"title": "50", "manage_inventory": False, "options": [{"value": "50"}]}
    body = {
        "title": "Voucher",
        "handle": new_id("voucher").lower(),
        "status": "published",
        "is_giftcard": True,
        "options": [{"title": "Amount"}],
        "sales_channels": [{"id": shop.channel}],
        "variants": [variant | {"prices": [{"currency_code": "eur", "amount": 5000}]}],
    } | more
    variant_id: str = (await api.ok("POST", "/admin/products", body))["product"]["variants"][0]["id"]
    return variant_id
