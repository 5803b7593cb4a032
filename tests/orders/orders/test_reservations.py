"""Reservations as seen from an order, over HTTP; and what happens to the line while one is made."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.keys import BUS, SETTINGS
from services.inventory.line_versions import Room, ask_room
from services.orders import remote
from tests.support.client import Client
from tests.support.factories.order_edits import begun, done, order_now, resized
from tests.support.factories.shops import Shop, place, set_up
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.invariants import check_stock
from tests.support.stack import Stack

Order = dict[str, Any]


@pytest.fixture
async def counted(api: Client) -> Shop:
    return await set_up(api, manage_inventory=True)


@pytest.fixture
async def location(api: Client, counted: Shop, uid: str) -> str:
    """10 pieces of the small variant."""
    created = (await api.ok("POST", "/admin/stock-locations", {"name": f"W {uid}"}))["stock_location"]["id"]
    small = (await api.ok("GET", f"/admin/variants/{counted.small}/inventory"))["variant"]["inventory"][0]["id"]
    body = {"location_id": created, "stocked_quantity": 10}
    await api.ok("POST", f"/admin/inventory-items/{small}/location-levels", body)
    return str(created)


@pytest.fixture
async def order(api: Client, counted: Shop) -> Order:
    items = [{"variant_id": counted.small, "quantity": 4}, {"title": "Wrap", "unit_price": 300, "quantity": 1}]
    return await place(api, counted, items=items)


def line(order: Order, price: int) -> str:
    return str(next(item["id"] for item in order["items"] if item["unit_price"] == price))


async def reserved(api: Client, order: Order) -> list[int]:
    page = await api.ok("GET", f"/admin/orders/{order['id']}/reservations")
    assert (page["count"], page["limit"], page["offset"]) == (len(page["reservations"]), 20, 0)
    return [reservation["quantity"] for reservation in page["reservations"]]


async def test_reserve_and_list(api: Client, order: Order, location: str) -> None:
    path = f"/admin/orders/{order['id']}/line-items/{line(order, 1000)}/reserve"
    assert await reserved(api, order) == []
    row = (await api.ok("POST", path, {"location_id": location, "quantity": 1}))["reservation"]
    assert (row["quantity"], row["location_id"], row["line_item_id"]) == (1, location, line(order, 1000))
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


async def test_fields(api: Client, order: Order, location: str) -> None:
    path = f"/admin/orders/{order['id']}"
    await api.ok("POST", f"{path}/line-items/{line(order, 1000)}/reserve", {"location_id": location, "quantity": 2})
    [row] = (await api.ok("GET", f"{path}/reservations", query={"fields": "quantity"}))["reservations"]
    assert (row.keys(), row["quantity"]) == ({"id", "created_at", "quantity"}, 2)
    assert (await api.get(f"{path}/reservations", {"fields": "shoe_size"}))[0] == 400


async def test_a_line_of_a_draft(api: Client, counted: Shop, location: str) -> None:
    """It is reserved by hand before it is paid, and then it is a line of the order."""
    body = counted.draft(items=[{"variant_id": counted.small, "quantity": 3}])
    draft = (await api.ok("POST", "/admin/draft-orders", body))["draft_order"]
    item = (await api.ok("GET", f"/admin/variants/{counted.small}/inventory"))["variant"]["inventory"][0]["id"]
    reservation = {"location_id": location, "inventory_item_id": item, "line_item_id": draft["cart"]["items"][0]["id"]}
    status, answer = await api.post("/admin/reservations", reservation | {"quantity": 4})
    assert (status, answer["type"]) == (400, "invalid_data")
    await api.ok("POST", "/admin/reservations", reservation | {"quantity": 2})
    query = [("line_item_id[]", reservation["line_item_id"]), ("expand", "line_item")]
    [shown] = (await api.ok("GET", "/admin/reservations", query=query))["reservations"]
    assert (shown["line_item"]["quantity"], shown["line_item"]["order"]) == (3, None)
    paid = (await api.ok("POST", f"/admin/draft-orders/{draft['id']}/pay"))["order"]
    assert await reserved(api, paid) == [2]
    assert (await api.post("/admin/reservations", reservation | {"quantity": 2}))[0] == 400
    await api.ok("POST", f"/admin/orders/{paid['id']}/cancel")
    assert await reserved(api, paid) == []


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
    rows = (await call(bus, "orders", "line_items", {"ids": [small, "item_missing"]}))["line_items"]
    assert [(row["id"], row["quantity"], row["order"]["id"]) for row in rows] == [(small, 4, order["id"])]
    ids = {"kinds": {"order": [order["id"], "order_missing"], "customer": [order["customer_id"]]}}
    copies = (await call(bus, "orders", "documents", ids))["copies"]
    assert [(doc["id"], doc["body"]["display_id"]) for doc in copies["order"]] == [(order["id"], order["display_id"])]
    assert copies["order"][0]["sequence"] > 0
    assert "password_hash" not in copies["customer"][0]["body"]


# While a reservation is made, the line changes

Meanwhile = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def house(api: Client) -> Warehouse:
    """10 pieces of each variant."""
    return await make_warehouse(api)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """`meanwhile(act)`: it is done when an order has said how much of a line is left, before that is reserved."""
    send = remote.reserve_line

    def arrange(act: Callable[[], Awaitable[Any]]) -> None:
        async def room_then_act(app: Any, line_item_id: str) -> Room:
            room = await ask_room(app, line_item_id)
            await act()
            return room

        async def act_then_send(app: Any, key: str, reservation: dict[str, Any]) -> Any:
            await act()
            return await send(app, key, reservation)

        monkeypatch.setattr("services.inventory.reservations.ask_room", room_then_act)
        monkeypatch.setattr(remote, "reserve_line", act_then_send)

    return arrange


@pytest.mark.parametrize("on_placement", [True, False])
@pytest.mark.parametrize("door", ["line", "hand", "more"])
@pytest.mark.parametrize("act", ["fulfill", "cancel", "edit"])
async def test_the_line_changes_while_it_is_reserved(
    api: Client,
    stack: Stack,
    house: Warehouse,
    meanwhile: Meanwhile,
    monkeypatch: pytest.MonkeyPatch,
    on_placement: bool,
    door: str,
    act: str,
) -> None:
    """What the order said is out of date: nothing is reserved on the strength of it."""
    if on_placement:
        monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")
    order = await place(api, house.shop, items=[{"variant_id": house.shop.small, "quantity": 4}])
    small, path = line(order, 1000), f"/admin/orders/{order['id']}"
    held = (await api.ok("GET", f"{path}/reservations"))["reservations"]
    by_hand = {"location_id": house.location, "inventory_item_id": house.items[house.shop.small], "line_item_id": small}
    if not held:
        held = [(await api.ok("POST", "/admin/reservations", by_hand | {"quantity": 4}))["reservation"]]
    await api.ok("POST", f"/admin/reservations/{held[0]['id']}", {"quantity": 1})
    edit = await resized(api, await begun(api, order), 1000, 3)
    after = {"fulfill": (7, 0), "cancel": (10, 0), "edit": (10, 1 if on_placement else 0)}[act]

    async def change() -> None:
        if act == "edit":
            await done(api, edit, "confirm")
        elif act == "cancel":
            await api.ok("POST", f"{path}/cancel")
        else:
            body = {"items": [{"item_id": small, "quantity": 3}], "location_id": house.location}
            await api.ok("POST", f"{path}/fulfillment", body)

    meanwhile(change)
    status, answer = await {
        "line": lambda: api.post(f"{path}/line-items/{small}/reserve", {"location_id": house.location, "quantity": 3}),
        "hand": lambda: api.post("/admin/reservations", by_hand | {"quantity": 3}),
        "more": lambda: api.post(f"/admin/reservations/{held[0]['id']}", {"quantity": 4}),
    }[door]()
    gone = door == "more" and not after[1]
    assert (status, answer["type"]) == ((404, "not_found") if gone else (409, "conflict"))
    assert (await house.stock(stack))[house.shop.small] == after
    await check_stock(stack)
    now = await order_now(api, order)
    held_now = (await api.ok("GET", f"{path}/reservations"))["reservations"]
    assert sum(reservation["quantity"] for reservation in held_now) == after[1]
    assert {reservation["line_item_id"] for reservation in held_now} <= {item["id"] for item in now["items"]}
