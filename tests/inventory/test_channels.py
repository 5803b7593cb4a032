"""Which locations serve which sales channel, and what that makes available."""

from services.inventory.channels import link_location
from tests.support.client import Client
from tests.support.factories.stock import Shop
from tests.support.stack import Stack
from tests.support.waiting import until


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


async def test_the_catalog_shows_the_links_at_once(catalog: Client, inventory: Client, shop: Shop) -> None:
    """Also that one was taken away, or went with its location; made again, it is another one."""
    channel_id, other = await shop.channel(), await shop.channel()
    one, two = await shop.location(), await shop.location()

    async def shown(channel: str) -> list[dict[str, str]]:
        query = {"id": channel, "expand": "locations"}
        found = (await catalog.ok("GET", "/admin/sales-channels", query=query))["sales_channels"][0]
        locations: list[dict[str, str]] = found["locations"]
        return locations

    for location_id in (one, two, one):
        await shop.link(channel_id, location_id)
    await shop.link(other, one)
    links = await shown(channel_id)
    assert [(link["sales_channel_id"], link["location_id"]) for link in links] == [(channel_id, one), (channel_id, two)]
    assert links[0].keys() == {"id", "created_at", "updated_at", "deleted_at", "sales_channel_id", "location_id"}
    assert links[0]["id"].startswith("scloc_") and links[0]["deleted_at"] is None
    path = f"/admin/sales-channels/{channel_id}/stock-locations"
    await inventory.ok("DELETE", path, {"location_id": one})
    assert await shown(channel_id) == links[1:]
    await shop.link(channel_id, one)
    assert len({link["id"] for link in [*links, *await shown(channel_id)]}) == 3
    await inventory.ok("DELETE", f"/admin/stock-locations/{one}")
    assert await shown(channel_id) == links[1:]
    assert await shown(other) == []


async def test_locations_show_at_once_what_became_of_their_channels(
    catalog: Client, inventory: Client, shop: Shop
) -> None:
    shelf = await shop.shelf(5)
    location, channel = f"/admin/stock-locations/{shelf.locations[0]}", f"/admin/sales-channels/{shelf.channel}"

    async def shown() -> list[tuple[str, bool]]:
        found = (await inventory.ok("GET", location, query={"expand": "sales_channels"}))["stock_location"]
        return [(row["name"], row["is_disabled"]) for row in found["sales_channels"]]

    name = shop.name("Renamed")
    await catalog.ok("POST", channel, {"name": name, "is_disabled": True})
    assert await shown() == [(name, True)]
    assert await shop.available(shelf) == 5
    await catalog.ok("DELETE", channel)
    assert await shown() == []
    assert await shop.available(shelf) == 0
    query = {"sales_channel_id": shelf.channel}
    assert (await inventory.get("/admin/stock-locations", query))[0] == 404
    await catalog.ok("DELETE", channel)


async def test_locations_of_channels_of_which_one_is_unknown(inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(5)
    query = [("sales_channel_id[]", shelf.channel), ("sales_channel_id[]", "sc_missing")]
    found = await inventory.ok("GET", "/admin/stock-locations", query=query)
    assert [row["id"] for row in found["stock_locations"]] == shelf.locations
    assert (await inventory.get("/admin/stock-locations", query[1:]))[0] == 404


async def test_the_event_alone_brings_the_link(stack: Stack, catalog: Client, shop: Shop) -> None:
    """A telling that got lost is made good."""
    channel_id, location_id = await shop.channel(), await shop.location()
    async with stack.pool("inventory").acquire() as db, db.transaction():
        _, links = await link_location(db, channel_id, location_id)

    async def shown() -> list[str]:
        query = {"id": channel_id, "expand": "locations"}
        found = (await catalog.ok("GET", "/admin/sales-channels", query=query))["sales_channels"][0]
        return [link["id"] for link in found["locations"]]

    await until(shown)
    assert await shown() == [link["id"] for link in links]


async def test_a_link_goes_with_its_channel(stack: Stack, catalog: Client, shop: Shop) -> None:
    channel_id, location_id = await shop.channel(), await shop.location()
    await shop.link(channel_id, location_id)
    kept = """
    select count(*) from copies where kind = 'sales_channel_location' and body ->> 'sales_channel_id' = $1
    """
    assert await stack.pool("catalog").fetchval(kept, channel_id) == 1
    await catalog.ok("DELETE", f"/admin/sales-channels/{channel_id}")

    async def gone() -> bool:
        return bool(await stack.pool("catalog").fetchval(kept, channel_id) == 0)

    await until(gone)


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
