"""Stock locations and their addresses."""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shop
from tests.support.stack import Stack

ADDRESS = {"address_1": "2 Dock Rd", "address_2": "Gate 4", "city": "Copenhagen", "country_code": "dk"}


async def test_create(inventory: Client, uid: str) -> None:
    body = {"name": f"  Depot {uid} ", "address": ADDRESS, "metadata": {"zone": "east"}}
    location = (await inventory.ok("POST", "/admin/stock-locations", body))["stock_location"]
    assert location == {
        "id": location["id"],
        "created_at": location["created_at"],
        "updated_at": location["created_at"],
        "name": f"Depot {uid}",
        "address_id": location["address_id"],
        "metadata": {"zone": "east"},
    }
    assert (location["id"][:5], location["address_id"][:6]) == ("sloc_", "laddr_")
    path = f"/admin/stock-locations/{location['id']}"
    assert await inventory.ok("GET", path) == {"stock_location": location}
    shown = (await inventory.ok("GET", path, query={"expand": "address,sales_channels"}))["stock_location"]
    assert shown == location | {
        "address": {
            "id": location["address_id"],
            "created_at": location["created_at"],
            "updated_at": location["created_at"],
            "deleted_at": None,
            "company": None,
            "phone": None,
            "postal_code": None,
            "province": None,
            "metadata": None,
        }
        | ADDRESS,
        "sales_channels": [],
    }
    assert await inventory.ok("GET", path, query={"fields": "name"}) == {
        "stock_location": {"id": location["id"], "name": location["name"]}
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": 5},
        {"name": None},
        {"name": "x", "colour": "red"},
        {"name": "x", "metadata": []},
        {"name": "x", "address": {"city": "Kiel"}},
        {"name": "x", "address": {"address_1": "1 Road"}},
        {"name": "x", "address": {"address_1": "1 Road", "country_code": "dk", "colour": "red"}},
        {"name": "x", "address": {"address_1": 5, "country_code": "dk"}},
        {"name": "a\0b"},
        [],
    ],
    ids=str,
)
async def test_create_refused(stack: Stack, inventory: Client, body: Any) -> None:
    before = await stack.pool("inventory").fetchval("select count(*) from stock_locations")
    status, answer = await inventory.post("/admin/stock-locations", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await stack.pool("inventory").fetchval("select count(*) from stock_locations") == before


async def test_update(inventory: Client, shop: Shop, uid: str) -> None:
    location_id = await shop.location(address=ADDRESS, metadata={"zone": "east", "floor": 1})
    path = f"/admin/stock-locations/{location_id}"
    body = {
        "name": f" North {uid} ",
        "address": {"address_1": "9 Quay St", "country_code": "de"},
        "metadata": {"zone": "", "floor": 2, "dock": None},
    }
    changed = (await inventory.request("POST", path, body, query={"expand": "address"}))[1]["stock_location"]
    # As it was sent: unlike that of a new location it is not trimmed.
    assert (changed["name"], changed["metadata"]) == (f" North {uid} ", {"floor": 2, "dock": None})
    address = changed["address"]
    assert {name: address[name] for name in ADDRESS} == ADDRESS | {"address_1": "9 Quay St", "country_code": "de"}
    assert changed["updated_at"] > changed["created_at"]
    other = await shop.location()
    added = await inventory.ok("POST", f"/admin/stock-locations/{other}", {"address": ADDRESS})
    assert added["stock_location"]["address_id"] not in (None, changed["address_id"])
    unlinked = await inventory.ok("POST", f"/admin/stock-locations/{other}", {"address_id": None})
    assert unlinked["stock_location"]["address_id"] is None
    for refused in ({"name": None}, {"name": ""}, {"name": " "}, {"address": {"city": "Kiel"}}, {"colour": "red"}):
        assert (await inventory.post(path, refused))[0] == 400, refused
    assert (await inventory.post("/admin/stock-locations/sloc_missing", {"name": "Nowhere"}))[0] == 404
    shown = (await inventory.ok("GET", path, query={"expand": "address"}))["stock_location"]
    assert shown == changed
    kept = await inventory.ok("POST", path, {"metadata": None})
    assert kept["stock_location"]["metadata"] == {"floor": 2, "dock": None}
    bare = await inventory.ok("GET", path, query={"fields": "deleted_at"})
    assert bare == {"stock_location": {"id": location_id, "deleted_at": None}}


async def test_unknown_names_are_refused(inventory: Client, shop: Shop) -> None:
    location_id = await shop.location()
    path = f"/admin/stock-locations/{location_id}"
    for query in ({"expand": "colour"}, {"fields": "colour"}, {"colour": "red"}, {"expand": "address.city"}):
        assert (await inventory.get(path, query))[0] == 400, query
    assert (await inventory.request("POST", path, {}, query={"expand": "sales_channels"}))[0] == 400
    for asked in ("order=colour", "limit=many", "limit=-1", "q=a&q=b", "created_at=x", "updated_at[near]=2020-01-01"):
        assert (await inventory.get(f"/admin/stock-locations?{asked}"))[0] == 400, asked


async def test_list(inventory: Client, shop: Shop, uid: str) -> None:
    ids = [await shop.location(address=ADDRESS), await shop.location(), await shop.location()]

    async def found(query: Any) -> list[str]:
        answer = await inventory.ok("GET", "/admin/stock-locations", query=query)
        return [row["id"] for row in answer["stock_locations"]]

    assert await found({"q": uid.upper()}) == ids[::-1]
    assert await found({"q": uid, "order": "name"}) == ids
    assert await found({"q": uid, "order": "-name", "limit": "2", "offset": "2"}) == ids[:1]
    assert await found({"id": ids[0]}) == ids[:1]
    assert await found([("id[]", ids[0]), ("id[]", ids[1])]) == [ids[1], ids[0]]
    assert await found({"name": f"Depot 2 {uid}"}) == [ids[1]]
    assert await found({"q": uid, "created_at[lt]": "2020-01-01"}) == []
    assert await found({"q": uid, "updated_at[gt]": "2020-01-01"}) == ids[::-1]
    assert await found({"q": uid, "deleted_at[gt]": "2020-01-01"}) == []
    assert await found({"q": f"%{uid}"}) == []
    page = await inventory.ok("GET", "/admin/stock-locations", query={"q": uid, "fields": "name", "limit": "1"})
    assert (page["count"], page["offset"], page["limit"]) == (3, 0, 1)
    assert list(page["stock_locations"][0]) == ["id", "created_at", "name"]


async def test_list_is_one_statement(stack: Stack, inventory: Client, ask: Ask, uid: str) -> None:
    query = {"q": uid, "expand": "address,sales_channels"}
    with stack.statements("inventory") as seen:
        await inventory.ok("GET", "/admin/stock-locations", query=query)
    assert len([text for text in seen if "stock_locations" in text]) == 1


async def test_delete_takes_levels_and_reservations_along(stack: Stack, shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(3, 4)
    await ask("reserve", shelf.order(7), key=None)
    path = f"/admin/stock-locations/{shelf.locations[0]}"
    for _ in range(2):
        assert await shop.inventory.ok("DELETE", path) == {
            "id": shelf.locations[0],
            "object": "stock_location",
            "deleted": True,
        }
    assert (await shop.inventory.get(path))[0] == 404
    item = (await shop.inventory.ok("GET", f"/admin/inventory-items/{shelf.item}"))["inventory_item"]
    assert (item["stocked_quantity"], item["reserved_quantity"]) == (4, 4)
    assert [level["location_id"] for level in item["location_levels"]] == [shelf.locations[1]]
    listed = await shop.inventory.ok("GET", "/admin/stock-locations", query={"sales_channel_id": shelf.channel})
    assert [row["id"] for row in listed["stock_locations"]] == [shelf.locations[1]]
    left = "select count(*) from reservations where location_id = $1"
    assert await stack.pool("inventory").fetchval(left, shelf.locations[0]) == 0
    assert await shop.available(shelf) == 0
