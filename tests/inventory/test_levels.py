"""Levels of an item at locations."""

import asyncio
from typing import Any

from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shop
from tests.support.stack import Stack


async def test_create_and_list(inventory: Client, shop: Shop) -> None:
    item_id = await shop.item((await shop.variant())[0])
    one, two = await shop.location(), await shop.location()
    path = f"/admin/inventory-items/{item_id}/location-levels"
    item = (await inventory.ok("GET", f"/admin/inventory-items/{item_id}"))["inventory_item"]
    plain = {name: item[name] for name in item if not name.endswith(("_levels", "_quantity"))}
    body = {"location_id": one, "stocked_quantity": 8, "incoming_quantity": 3}
    assert await inventory.ok("POST", path, body) == {"inventory_item": plain}
    body = {"location_id": two, "stocked_quantity": -2}
    status, answer = await inventory.request("POST", path, body, query={"fields": "sku"})
    assert (status, answer) == (200, {"inventory_item": {"id": item_id, "sku": item["sku"]}})
    levels = (await inventory.ok("GET", path))["inventory_item"]["location_levels"]
    assert levels == [
        {
            "id": level["id"],
            "created_at": level["created_at"],
            "updated_at": level["created_at"],
            "inventory_item_id": item_id,
            "location_id": location_id,
            "stocked_quantity": stocked,
            "reserved_quantity": 0,
            "incoming_quantity": incoming,
            "metadata": None,
        }
        for level, location_id, stocked, incoming in zip(levels, (one, two), (8, -2), (3, 0), strict=True)
    ]
    shown = await inventory.ok("GET", path, query=[("location_id[]", two), ("fields", "stocked_quantity")])
    assert shown == {
        "inventory_item": {"id": item_id, "location_levels": [{"id": levels[1]["id"], "stocked_quantity": -2}]}
    }
    shown = await inventory.ok("GET", path, query=[("location_id[]", two), ("fields", "deleted_at")])
    assert shown["inventory_item"]["location_levels"] == [{"id": levels[1]["id"], "deleted_at": None}]
    refused = {"location_id": await shop.location(), "stocked_quantity": 1, "incoming_quantity": None}
    assert (await inventory.post(path, refused))[0] == 400
    whole = (await inventory.ok("GET", f"/admin/inventory-items/{item_id}"))["inventory_item"]
    assert (whole["stocked_quantity"], whole["reserved_quantity"]) == (6, 0)
    assert whole["location_levels"][0] == levels[0] | {"deleted_at": None, "available_quantity": 8}
    unknown = await inventory.ok("GET", "/admin/inventory-items/iitem_missing/location-levels")
    assert unknown == {"inventory_item": {"id": "iitem_missing", "location_levels": []}}
    for query in ({"expand": "item"}, {"fields": "colour"}, {"colour": "red"}, {"limit": "1"}):
        assert (await inventory.get(path, query))[0] == 400, query


async def test_update(inventory: Client, shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(8)
    await ask("reserve", shelf.order(3))
    path = f"/admin/inventory-items/{shelf.item}/location-levels/{shelf.locations[0]}"
    await inventory.ok("POST", path, {"stocked_quantity": 2, "incoming_quantity": 4})
    await inventory.ok("POST", path, {"incoming_quantity": 5})
    item = (await inventory.ok("POST", path, {}))["inventory_item"]
    assert "location_levels" not in item
    whole = (await inventory.ok("GET", f"/admin/inventory-items/{shelf.item}"))["inventory_item"]
    [level] = whole["location_levels"]
    names = ("stocked_quantity", "reserved_quantity", "incoming_quantity", "available_quantity")
    assert [level[name] for name in names] == [2, 3, 5, -1]
    assert await shop.available(shelf) == -1


async def test_refusals(inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(8)
    path, there = f"/admin/inventory-items/{shelf.item}/location-levels", shelf.locations[0]
    free = await shop.location()

    async def refused(to: str, body: Any) -> tuple[int, str]:
        status, answer = await inventory.post(to, body)
        return status, answer["type"]

    assert await refused(path, {"location_id": there, "stocked_quantity": 1}) == (422, "duplicate_error")
    assert await refused(path, {"location_id": "sloc_missing", "stocked_quantity": 1}) == (404, "not_found")
    unknown = "/admin/inventory-items/iitem_missing/location-levels"
    assert await refused(unknown, {"location_id": there, "stocked_quantity": 1}) == (404, "not_found")
    for body in (
        {"location_id": free}, {"stocked_quantity": 1}, {"location_id": free, "stocked_quantity": 2**31},
        {"location_id": free, "stocked_quantity": 1.5}, {"location_id": free, "stocked_quantity": "1"},
        {"location_id": free, "stocked_quantity": 1, "reserved_quantity": 1},
    ):  # fmt: skip
        assert await refused(path, body) == (400, "invalid_data"), body
    for changes in (
        {"stocked_quantity": -1}, {"incoming_quantity": -1}, {"stocked_quantity": None}, {"reserved_quantity": 2},
        {"stocked_quantity": 2**31},
    ):  # fmt: skip
        assert await refused(f"{path}/{there}", changes) == (400, "invalid_data"), changes
    assert await refused(f"{path}/{free}", {"stocked_quantity": 1}) == (404, "not_found")
    assert await refused(f"{unknown}/{there}", {"stocked_quantity": 1}) == (404, "not_found")
    assert await shop.levels(shelf) == [(8, 0)]
    assert len((await inventory.ok("GET", path))["inventory_item"]["location_levels"]) == 1


async def test_delete(inventory: Client, shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(8)
    order = shelf.order(3)
    await ask("reserve", order)
    path = f"/admin/inventory-items/{shelf.item}/location-levels"
    there = f"{path}/{shelf.locations[0]}"
    status, answer = await inventory.delete(there)
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shop.levels(shelf) == [(8, 3)]
    await ask("release", {"line_item_ids": [order["items"][0]["line_item_id"]]})
    for _ in range(2):
        item = (await inventory.ok("DELETE", there))["inventory_item"]
        assert (item["id"], item["deleted_at"], "location_levels" in item) == (shelf.item, None, False)
    assert (await inventory.ok("GET", path))["inventory_item"]["location_levels"] == []
    assert (await inventory.delete(f"/admin/inventory-items/iitem_missing/location-levels/{shelf.locations[0]}"))[
        0
    ] == 404
    assert await shop.available(shelf) == 0
    await shop.stock(shelf.item, shelf.locations[0], 5)
    assert await shop.levels(shelf) == [(5, 0)]


async def test_the_same_level_twice_at_once(stack: Stack, inventory: Client, shop: Shop) -> None:
    item_id, location_id = await shop.item((await shop.variant())[0]), await shop.location()
    body = {"location_id": location_id, "stocked_quantity": 1}
    path = f"/admin/inventory-items/{item_id}/location-levels"
    answers = await asyncio.gather(*(inventory.post(path, body) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [422] * 7


async def test_closing_a_location_while_it_is_stocked(inventory: Client, shop: Shop) -> None:
    """Whoever comes first: there is never a level at a location that is gone."""
    for _ in range(5):
        item_id, location_id = await shop.item((await shop.variant())[0]), await shop.location()
        path = f"/admin/inventory-items/{item_id}/location-levels"
        body = {"location_id": location_id, "stocked_quantity": 1}
        stocked, closed = await asyncio.gather(
            inventory.post(path, body), inventory.delete(f"/admin/stock-locations/{location_id}")
        )
        assert (stocked[0] in (200, 404), closed[0]) == (True, 200)
        assert (await inventory.ok("GET", path))["inventory_item"]["location_levels"] == []
