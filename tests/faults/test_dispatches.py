"""A dispatch whose service is killed between any two steps: fulfilled, shipped and taken from stock, or none of it."""

from typing import Any

import pytest

from services.orders.fulfillments.creations import FULFILL
from tests.support.client import Client
from tests.support.factories.shops import place, set_up
from tests.support.fault_injection import Kill, compensated, points
from tests.support.waiting import until


@pytest.mark.parametrize("point", points(FULFILL))
async def test_whole_or_not_at_all(api: Client, orders: Client, kill: Kill, point: str) -> None:
    shop = await set_up(api, manage_inventory=True)
    item = (await api.ok("GET", f"/admin/variants/{shop.small}/inventory"))["variant"]["inventory"][0]["id"]
    location = (await api.ok("POST", "/admin/stock-locations", {"name": "Depot"}))["stock_location"]["id"]
    level = {"location_id": location, "stocked_quantity": 10}
    await api.ok("POST", f"/admin/inventory-items/{item}/location-levels", level)
    placed = await place(api, shop)
    path, body = (
        f"/admin/orders/{placed['id']}/dispatches",
        {
            "items": [{"item_id": placed["items"][0]["id"]}],
            "location_id": location,
            "tracking_links": [{"tracking_number": "T-1", "url": "https://tracking.example.com/T-1"}],
        },
    )

    async def books() -> tuple[Any, ...]:
        order = (await api.ok("GET", f"/admin/orders/{placed['id']}"))["order"]
        levels = (await api.ok("GET", f"/admin/inventory-items/{item}/location-levels"))["inventory_item"]
        shipped = [(f["shipped_at"] is not None, f["tracking_links"][0]["url"]) for f in order["fulfillments"]]
        line = order["items"][0]
        counts = (line["fulfilled_quantity"], line["shipped_quantity"])
        return order["fulfillment_status"], shipped, counts, levels["location_levels"][0]["stocked_quantity"]

    gone = ("shipped", [(True, "https://tracking.example.com/T-1")], (2, 2), 8)
    key = await kill("orders", "fulfill", point, path, body)
    if compensated(point):
        assert await books() == ("not_fulfilled", [], (None, None), 10)
    else:
        assert await until(lambda: equal(books, gone))
    status, _ = await orders.post(path, body, headers={"Idempotency-Key": key})
    assert (status, await books()) == (200, gone)


async def equal(read: Any, expected: Any) -> bool:
    return bool(await read() == expected)
