"""Which locations serve which sales channel, and what that makes available."""

from tests.conftest import Client, until
from tests.inventory.conftest import Shop


async def test_link_and_unlink(catalog: Client, inventory: Client, shop: Shop) -> None:
    channel_id, location_id = await shop.channel(), await shop.location()
    path, body = f"/admin/sales-channels/{channel_id}/stock-locations", {"location_id": location_id}
    channel = await catalog.ok("GET", f"/admin/sales-channels/{channel_id}")
    for _ in range(2):
        assert await inventory.ok("POST", path, body) == channel
    shown = await inventory.ok("GET", f"/admin/stock-locations/{location_id}", query={"expand": "sales_channels"})
    assert shown["stock_location"]["sales_channels"] == [channel["sales_channel"]]
    query = [("sales_channel_id[]", channel_id), ("expand", "sales_channels")]
    listed = await inventory.ok("GET", "/admin/stock-locations", query=query)
    assert [row["sales_channels"] for row in listed["stock_locations"]] == [[channel["sales_channel"]]]
    gone = {"id": channel_id, "object": "stock-location", "deleted": True}
    for _ in range(2):
        assert await inventory.ok("DELETE", path, body) == gone
    assert await inventory.ok("DELETE", "/admin/sales-channels/sc_missing/stock-locations", body) == gone | {
        "id": "sc_missing"
    }
    listed = await inventory.ok("GET", "/admin/stock-locations", query={"sales_channel_id": channel_id})
    assert (listed["count"], listed["stock_locations"]) == (0, [])


async def test_refusals(inventory: Client, shop: Shop) -> None:
    channel_id, location_id = await shop.channel(), await shop.location()
    path = f"/admin/sales-channels/{channel_id}/stock-locations"
    for body in ({}, {"location_id": 5}, {"location_id": location_id, "colour": "red"}):
        assert (await inventory.post(path, body))[0] == 400
        assert (await inventory.delete(path, body))[0] == 400
    assert (await inventory.post(path, {"location_id": "sloc_missing"}))[0] == 404
    unknown = "/admin/sales-channels/sc_missing/stock-locations"
    assert (await inventory.post(unknown, {"location_id": location_id}))[0] == 404
    assert (await inventory.get("/admin/stock-locations", {"sales_channel_id": "sc_missing"}))[0] == 404
    assert (await inventory.get("/admin/stock-locations", {"sales_channel_id[gt]": "x"}))[0] == 400
    listed = await inventory.ok("GET", "/admin/stock-locations", query={"sales_channel_id": channel_id})
    assert listed["count"] == 0


async def test_stock_is_available_once_a_channel_sells_it(inventory: Client, shop: Shop) -> None:
    shelf, unlisted = await shop.shelf(6), await shop.location()
    await shop.stock(shelf.item, unlisted, 50)
    assert await shop.available(shelf) == 6
    second = await shop.channel()
    await shop.link(second, shelf.locations[0])
    assert await shop.available(shelf) == 6
    body = {"location_id": shelf.locations[0]}
    await inventory.ok("DELETE", f"/admin/sales-channels/{shelf.channel}/stock-locations", body)
    assert await shop.available(shelf) == 6
    await inventory.ok("DELETE", f"/admin/sales-channels/{second}/stock-locations", body)
    assert await shop.available(shelf) == 0
    await shop.link(second, unlisted)
    assert await shop.available(shelf) == 50


async def test_a_deleted_channel_sells_nothing(catalog: Client, inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(6)
    assert await shop.available(shelf) == 6
    await catalog.ok("DELETE", f"/admin/sales-channels/{shelf.channel}")

    async def unavailable() -> bool:
        return bool(await shop.available(shelf) == 0)

    await until(unavailable)
    assert (await inventory.get("/admin/stock-locations", {"sales_channel_id": shelf.channel}))[0] == 404
    path = f"/admin/stock-locations/{shelf.locations[0]}"
    shown = await inventory.ok("GET", path, query={"expand": "sales_channels"})
    assert shown["stock_location"]["sales_channels"] == []
