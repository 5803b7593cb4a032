"""Reservations as seen from an order, over HTTP."""

from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.keys import BUS
from tests.conftest import Client, Stack
from tests.shop import Shop, place, set_up

Order = dict[str, Any]


@pytest.fixture
async def counted(api: Client) -> Shop:
    return await set_up(api, manage_inventory=True)


@pytest.fixture
async def location(api: Client, counted: Shop, uid: str) -> str:
    """10 pieces of the small variant."""
    made = (await api.ok("POST", "/admin/stock-locations", {"name": f"W {uid}"}))["stock_location"]["id"]
    small = (await api.ok("GET", f"/admin/variants/{counted.small}/inventory"))["variant"]["inventory"][0]["id"]
    body = {"location_id": made, "stocked_quantity": 10}
    await api.ok("POST", f"/admin/inventory-items/{small}/location-levels", body)
    return str(made)


@pytest.fixture
async def order(api: Client, counted: Shop) -> Order:
    items = [{"variant_id": counted.small, "quantity": 4}, {"title": "Wrap", "unit_price": 300, "quantity": 1}]
    return await place(api, counted, items=items)


def line(order: Order, price: int) -> str:
    return str(next(item["id"] for item in order["items"] if item["unit_price"] == price))


async def reserved(api: Client, order: Order) -> list[int]:
    found = await api.ok("GET", f"/admin/orders/{order['id']}/reservations")
    assert (found["count"], found["limit"], found["offset"]) == (len(found["reservations"]), 20, 0)
    return [reservation["quantity"] for reservation in found["reservations"]]


async def test_reserve_and_list(api: Client, order: Order, location: str) -> None:
    path = f"/admin/orders/{order['id']}/line-items/{line(order, 1000)}/reserve"
    assert await reserved(api, order) == []
    made = (await api.ok("POST", path, {"location_id": location, "quantity": 1}))["reservation"]
    assert (made["quantity"], made["location_id"], made["line_item_id"]) == (1, location, line(order, 1000))
    await api.ok("POST", path, {"location_id": location, "quantity": 2})
    assert await reserved(api, order) == [2, 1]
    page = await api.ok(
        "GET", f"/admin/orders/{order['id']}/reservations", query={"order": "quantity", "limit": "1", "offset": "1"}
    )
    assert ([r["quantity"] for r in page["reservations"]], page["count"]) == ([2], 2)
    status, answer = await api.post(path, {"location_id": location, "quantity": 2})
    assert (status, answer["type"]) == (400, "invalid_data"), "only 1 is left to reserve"
    await api.ok("POST", f"/admin/orders/{order['id']}/cancel")
    assert await reserved(api, order) == []
    assert (await api.post(path, {"location_id": location}))[0] == 400


async def test_without_a_quantity_the_whole_line(api: Client, order: Order, location: str, uid: str) -> None:
    path, key = f"/admin/orders/{order['id']}/line-items/{line(order, 1000)}/reserve", {"Idempotency-Key": uid}
    first = await api.post(path, {"location_id": location}, headers=key)
    assert (first[0], first[1]["reservation"]["quantity"]) == (200, 4)
    assert await api.post(path, {"location_id": location}, headers=key) == first
    assert await reserved(api, order) == [4]


async def test_refusals(api: Client, order: Order, location: str) -> None:
    path, small = f"/admin/orders/{order['id']}/line-items", line(order, 1000)
    for which, body, status, type_ in (
        (small, {"location_id": "sloc_missing"}, 404, "not_found"),
        ("item_missing", {"location_id": location}, 404, "not_found"),
        (line(order, 300), {"location_id": location}, 404, "not_found"),
        (small, {}, 400, "invalid_data"),
        (small, {"location_id": location, "quantity": 0}, 400, "invalid_data"),
        (small, {"location_id": location, "quantity": 1.5}, 400, "invalid_data"),
        (small, {"location_id": location, "quantity": 2**40}, 400, "invalid_data"),
        (small, {"location_id": location, "colour": "red"}, 400, "invalid_data"),
    ):
        got, answer = await api.post(f"{path}/{which}/reserve", body)
        assert (got, answer["type"]) == (status, type_), (which, body)
    assert await reserved(api, order) == []
    assert (await api.get("/admin/orders/order_missing/reservations"))[0] == 404
    for query in ({"limit": "ten"}, {"colour": "red"}, {"order": "shoe_size"}):
        assert (await api.get(f"/admin/orders/{order['id']}/reservations", query))[0] == 400


async def test_what_other_services_may_ask(api: Client, stack: Stack, order: Order) -> None:
    bus, small = stack.apps["inventory"][BUS], line(order, 1000)
    found = (await call(bus, "orders", "line_items", {"ids": [small, "item_missing"]}))["line_items"]
    assert [(row["id"], row["quantity"], row["order"]["id"]) for row in found] == [(small, 4, order["id"])]
    ids = {"kinds": {"order": [order["id"], "order_missing"], "customer": [order["customer_id"]]}}
    copies = (await call(bus, "orders", "documents", ids))["copies"]
    assert [(doc["id"], doc["body"]["display_id"]) for doc in copies["order"]] == [(order["id"], order["display_id"])]
    assert copies["order"][0]["sequence"] > 0
    assert "password_hash" not in copies["customer"][0]["body"]
