"""Records that the tests of the catalog's settings start from."""

import secrets
from typing import Any

from tests.support.client import Client
from tests.support.factories.shops import free_countries

REGION = {
    "currency_code": "eur",
    "tax_rate": 19,
    "countries": ["de"],
    "payment_providers": ["manual"],
    "fulfillment_providers": ["manual"],
}
OPTION = {
    "name": "Standard",
    "provider_id": "manual",
    "price_type": "flat_rate",
    "amount": 500,
    "data": {"id": "manual-fulfillment"},
}


async def make_region(catalog: Client, **more: Any) -> dict[str, Any]:
    """A region, by default in EUR with Germany and 19 % tax. Those of other tests, which hold countries, go away."""
    await free_countries(catalog)
    return await another_region(catalog, **more)


async def another_region(catalog: Client, **more: Any) -> dict[str, Any]:
    """Makes a region like that of `make_region`, without taking any away."""
    await catalog.ok("POST", "/admin/store", {"currencies": ["usd", "eur", "dkk"]})
    body = {"name": f"Region {secrets.token_hex(4)}", **REGION, **more}
    region: dict[str, Any] = (await catalog.ok("POST", "/admin/regions", body))["region"]
    return region


async def make_option(catalog: Client, region: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A shipping option of 5.00 in the region."""
    body = {**OPTION, "region_id": region["id"], **more}
    option: dict[str, Any] = (await catalog.ok("POST", "/admin/shipping-options", body))["shipping_option"]
    return option


async def make_product(catalog: Client, prices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A product with one variant of these prices."""
    body = {
        "title": f"Mug {secrets.token_hex(4)}",
        "options": [{"title": "Colour"}],
        "variants": [{"title": "White", "manage_inventory": False, "prices": prices, "options": [{"value": "w"}]}],
        **more,
    }
    product: dict[str, Any] = (await catalog.ok("POST", "/admin/products", body))["product"]
    return product
