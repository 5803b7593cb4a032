"""What a merchant sets up before the first order: the steps that many tests start from."""

import secrets
from dataclasses import dataclass
from typing import Any

from tests.support.client import Client

ADDRESS = {
    "first_name": "Ada",
    "last_name": "Byron",
    "address_1": "1 Main St",
    "city": "Berlin",
    "country_code": "de",
    "postal_code": "10115",
}


@dataclass
class Shop:
    """Ids of a region (EUR, no tax), a shipping option of 5.00 and a product with two variants of 10.00 and 15.00."""

    region: str
    channel: str
    shipping_option: str
    product: str
    small: str
    large: str

    def draft(self, **more: Any) -> dict[str, Any]:
        """The body of a draft order: 2 of the small variant, shipped."""
        return {
            "email": f"buyer-{secrets.token_hex(4)}@example.com",
            "region_id": self.region,
            "items": [{"variant_id": self.small, "quantity": 2}],
            "shipping_methods": [{"option_id": self.shipping_option}],
            "billing_address": ADDRESS,
            "shipping_address": ADDRESS,
            **more,
        }


async def place(api: Client, shop: Shop, **more: Any) -> dict[str, Any]:
    """Makes a draft order of the shop, and pays it."""
    draft = (await api.ok("POST", "/admin/draft-orders", shop.draft(**more)))["draft_order"]
    order: dict[str, Any] = (await api.ok("POST", f"/admin/draft-orders/{draft['id']}/pay"))["order"]
    return order


async def free_countries(api: Client) -> None:
    """Countries belong to one region at a time: take away the regions of other tests."""
    for region in (await api.ok("GET", "/admin/regions", query={"limit": "200", "fields": "id", "expand": ""}))[
        "regions"
    ]:
        await api.ok("DELETE", f"/admin/regions/{region['id']}")


async def set_up(api: Client, *, tax_rate: float = 0, manage_inventory: bool = False) -> Shop:
    """Make a shop through the API."""
    uid = secrets.token_hex(4)
    await free_countries(api)
    await api.ok("POST", "/admin/store", {"currencies": ["usd", "eur", "dkk"]})
    channel = (await api.ok("GET", "/admin/store"))["store"]["default_sales_channel_id"]
    region = await api.ok(
        "POST",
        "/admin/regions",
        {
            "name": f"EU {uid}",
            "currency_code": "eur",
            "tax_rate": tax_rate,
            "countries": ["dk", "de", "fr"],
            "payment_providers": ["manual"],
            "fulfillment_providers": ["manual"],
        },
    )
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    option = await api.ok(
        "POST",
        "/admin/shipping-options",
        {
            "name": f"Standard {uid}",
            "region_id": region["region"]["id"],
            "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
            "provider_id": "manual",
            "price_type": "flat_rate",
            "amount": 500,
            "data": {"id": "manual-fulfillment"},
        },
    )
    product = await api.ok(
        "POST",
        "/admin/products",
        {
            "title": f"Shirt {uid}",
            "handle": f"shirt-{uid}",
            "status": "published",
            "options": [{"title": "Size"}],
            "sales_channels": [{"id": channel}],
            "variants": [
                {
                    "title": title,
                    "sku": f"{title[0]}-{uid}",
                    "manage_inventory": manage_inventory,
                    "prices": [{"currency_code": "eur", "amount": amount}],
                    "options": [{"value": title[0]}],
                }
                for title, amount in (("Small", 1000), ("Large", 1500))
            ],
        },
    )
    variants = {v["title"]: v["id"] for v in product["product"]["variants"]}
    return Shop(
        region=region["region"]["id"],
        channel=channel,
        shipping_option=option["shipping_option"]["id"],
        product=product["product"]["id"],
        small=variants["Small"],
        large=variants["Large"],
    )
