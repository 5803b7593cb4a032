"""Variants with stock at locations, made through the services' own doors."""

from dataclasses import dataclass
from typing import Any

from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.waiting import until


@dataclass
class Shelf:
    """A variant, the item that counts it, and the locations that stock it, all serving one sales channel."""

    variant: str
    product: str
    item: str
    channel: str
    locations: list[str]

    def order(self, *quantities: int, **more: Any) -> dict[str, Any]:
        """The body of a `reserve` of new lines of these quantities."""
        lines = [{"line_item_id": new_id("item"), "variant_id": self.variant, "quantity": q} for q in quantities]
        return {
            "order_id": new_id("order"),
            "sales_channel_id": self.channel,
            "created_by": "usr_test",
            "items": lines,
        } | more


@dataclass
class Shop:
    """Makes what a test needs, through the services' own doors."""

    catalog: Client
    inventory: Client
    uid: str
    count: int = 0

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what} {self.count} {self.uid}"

    async def variant(self, **more: Any) -> tuple[str, str]:
        """(variant, product) of a new product with one variant."""
        title = self.name("Lamp")
        variant = {"title": "Black", "sku": title, "prices": [], "options": [{"value": "Black"}]} | more
        body = {"title": title, "options": [{"title": "Colour"}], "variants": [variant]}
        product = (await self.catalog.ok("POST", "/admin/products", body))["product"]
        return product["variants"][0]["id"], product["id"]

    async def item(self, variant_id: str) -> str:
        """The inventory item of a managed variant."""

        async def items() -> Any:
            shown = await self.inventory.ok("GET", f"/admin/variants/{variant_id}/inventory")
            return shown["variant"]["inventory"]

        item_id: str = (await until(items))[0]["id"]
        return item_id

    async def channel(self) -> str:
        answer = await self.catalog.ok("POST", "/admin/sales-channels", {"name": self.name("Outlet")})
        channel_id: str = answer["sales_channel"]["id"]
        return channel_id

    async def location(self, **more: Any) -> str:
        answer = await self.inventory.ok("POST", "/admin/stock-locations", {"name": self.name("Depot")} | more)
        location_id: str = answer["stock_location"]["id"]
        return location_id

    async def link(self, channel_id: str, location_id: str) -> None:
        path = f"/admin/sales-channels/{channel_id}/stock-locations"
        await self.inventory.ok("POST", path, {"location_id": location_id})

    async def stock(self, item_id: str, location_id: str, quantity: int) -> None:
        path = f"/admin/inventory-items/{item_id}/location-levels"
        await self.inventory.ok("POST", path, {"location_id": location_id, "stocked_quantity": quantity})

    async def shelf(self, *quantities: int, channel: str | None = None, **more: Any) -> Shelf:
        """A new product with these quantities at as many new locations."""
        variant_id, product_id = await self.variant(**more)
        item_id = await self.item(variant_id)
        channel_id = channel or await self.channel()
        locations = []
        for quantity in quantities:
            location_id = await self.location()
            await self.link(channel_id, location_id)
            await self.stock(item_id, location_id, quantity)
            locations.append(location_id)
        return Shelf(variant_id, product_id, item_id, channel_id, locations)

    async def levels(self, shelf: Shelf) -> list[tuple[int, int]]:
        """(stocked, reserved) at each of the shelf's locations."""
        path = f"/admin/inventory-items/{shelf.item}/location-levels"
        rows = (await self.inventory.ok("GET", path))["inventory_item"]["location_levels"]
        by_location = {row["location_id"]: (row["stocked_quantity"], row["reserved_quantity"]) for row in rows}
        return [by_location[location_id] for location_id in shelf.locations]

    async def available(self, shelf: Shelf) -> Any:
        """What the catalog shows to be available."""
        product = (await self.catalog.ok("GET", f"/admin/products/{shelf.product}"))["product"]
        return product["variants"][0].get("inventory_quantity")
