"""Shops whose stock is counted, for tests of what is reserved and what goes out."""

import secrets
from dataclasses import dataclass
from typing import Any

from tests.support.client import Client
from tests.support.factories.shops import Shop, set_up
from tests.support.stack import Stack


@dataclass
class Warehouse:
    """A shop whose stock is counted: both variants, at one location."""

    api: Client
    shop: Shop
    location: str
    items: dict[str, str]  # inventory item by variant

    async def stock(self, stack: Stack) -> dict[str, tuple[int, int]]:
        """How much is stocked, and how much of that is reserved, by variant."""
        rows = await stack.pool("inventory").fetch(
            "select inventory_item_id as item, stocked_quantity, reserved_quantity from inventory_levels "
            "where location_id = $1",
            self.location,
        )
        by_item = {row["item"]: (row["stocked_quantity"], row["reserved_quantity"]) for row in rows}
        return {variant: by_item[item] for variant, item in self.items.items()}

    async def level(self) -> tuple[int, int]:
        """(stocked, reserved) of the small variant, as the API shows it."""
        path = f"/admin/inventory-items/{self.items[self.shop.small]}/location-levels"
        (level,) = (await self.api.ok("GET", path))["inventory_item"]["location_levels"]
        return level["stocked_quantity"], level["reserved_quantity"]


async def make_warehouse(api: Client, pieces: int = 10, **more: Any) -> Warehouse:
    """Makes a shop and a location with so many pieces of each variant, through the API."""
    shop = await set_up(api, manage_inventory=True, **more)
    name = {"name": f"W {secrets.token_hex(4)}"}
    location = (await api.ok("POST", "/admin/stock-locations", name))["stock_location"]["id"]
    await api.ok("POST", f"/admin/sales-channels/{shop.channel}/stock-locations", {"location_id": location})
    items = {}
    for variant in (shop.small, shop.large):
        shown = await api.ok("GET", f"/admin/variants/{variant}/inventory")
        items[variant] = shown["variant"]["inventory"][0]["id"]
        body = {"location_id": location, "stocked_quantity": pieces}
        await api.ok("POST", f"/admin/inventory-items/{items[variant]}/location-levels", body)
    return Warehouse(api, shop, location, items)
