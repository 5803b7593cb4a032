"""kill -9 between the steps of asking for an order edit and of confirming it: each is finished or compensated, and the
books of all services agree. Asked again under its Idempotency-Key it is answered, and done once.
"""

from typing import Any

import aiohttp
import pytest

from services.chassis.keys import SETTINGS
from services.orders.edits.confirmations import CONFIRM_EDIT, SETTLE_EDIT
from services.orders.edits.requests import REQUEST_EDIT
from tests.support.client import Client
from tests.support.factories.order_edits import added, begun, done, line, lines, order_now, path_of, resized, shown
from tests.support.factories.shops import place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.fault_injection import Kill, compensated, points
from tests.support.invariants import check_books, check_stock
from tests.support.stack import Stack

Row = dict[str, Any]


@pytest.fixture
async def house(api: Client) -> Warehouse:
    """10 pieces of each variant."""
    return await make_warehouse(api)


@pytest.fixture
def reserving(stack: Stack, kill: Kill, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that reserves stock when an order is placed."""
    monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")
    kill.environment["MERCER_RESERVE_STOCK"] = "on_placement"


async def placed(api: Client, house: Warehouse) -> Row:
    """2 at 10.00, 3 at 15.00, shipping 5.00."""
    shop = house.shop
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 3}]
    return await place(api, shop, items=items)


async def enlarged(api: Client, house: Warehouse, order: Row) -> Row:
    """An edit with 5 of the small variant instead of 2, 1 of the large one instead of 3, and 1 more of it apart."""
    edit = await resized(api, await begun(api, order), 1000, 5)
    return await added(api, await resized(api, edit, 1500, 1), house.shop.large, 1)


async def stock(stack: Stack, house: Warehouse) -> list[tuple[int, int]]:
    """(stocked, reserved) of both variants."""
    await check_stock(stack)
    return list((await house.stock(stack)).values())


async def again(orders: Client, key: str, path: str, body: Any = None) -> Row:
    """The answer to the same request, sent once more."""
    status, answer = await orders.post(path, body, headers={"Idempotency-Key": key})
    assert status == 200, answer
    found: Row = answer["order_edit"]
    return found


async def collections(stack: Stack, edit: Row) -> list[str]:
    """The living payment collections of the edit, as payments has them."""
    found = "select id from payment_collections where order_edit_id = $1 and deleted_at is null order by id"
    return [row["id"] for row in await stack.pool("payments").fetch(found, edit["id"])]


@pytest.mark.parametrize("point", points(REQUEST_EDIT))
async def test_request(api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str) -> None:
    edit = await added(api, await begun(api, await placed(api, house)), house.shop.large)
    path, body = path_of(edit, "request"), {"payment_collection_description": "One more"}
    key = await kill("orders", "request_edit", point, path, body)
    if compensated(point):
        assert await collections(stack, edit) == []
        assert await shown(api, edit) == edit
    for _ in range(2):
        answer = await again(orders, key, path, body)
        assert (answer["status"], answer["payment_collection"]["amount"]) == ("requested", 1500)
        assert await collections(stack, edit) == [answer["payment_collection_id"]]


@pytest.mark.usefixtures("reserving")
@pytest.mark.parametrize("point", points(CONFIRM_EDIT))
async def test_confirm(api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str) -> None:
    order = await placed(api, house)
    edit = await enlarged(api, house, order)
    assert await stock(stack, house) == [(10, 2), (10, 3)]
    path = path_of(edit, "confirm")
    key = await kill("orders", "confirm_edit", point, path)
    if compensated(point):
        assert await stock(stack, house) == [(10, 2), (10, 3)]
        assert lines(await order_now(api, order)) == [(1000, 2), (1500, 3)]
        assert await shown(api, edit) == edit
    for _ in range(2):
        assert (await again(orders, key, path))["status"] == "confirmed"
        assert lines(await order_now(api, order)) == [(1000, 5), (1500, 1), (1500, 1)]
        assert await stock(stack, house) == [(10, 5), (10, 2)]
    await check_books(stack, order["id"])


@pytest.mark.usefixtures("reserving")
@pytest.mark.parametrize("point", points(SETTLE_EDIT))
async def test_stock_follows(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str
) -> None:
    order = await placed(api, house)
    edit = await enlarged(api, house, order)
    path = path_of(edit, "confirm")
    key = await kill("orders", "settle_edit", point, path)
    assert await stock(stack, house) == [(10, 5), (10, 2)]
    assert (await again(orders, key, path))["status"] == "confirmed"
    found = await api.ok("GET", f"/admin/orders/{order['id']}/reservations")
    assert sorted((r["line_item_id"], r["quantity"]) for r in split_up(found["reservations"])) == sorted(
        (item["id"], item["quantity"]) for item in edit["items"]
    )
    assert await stock(stack, house) == [(10, 5), (10, 2)]
    await check_books(stack, order["id"])


def split_up(reservations: list[Row]) -> list[Row]:
    """One for each line: what was reserved for it at two times, added up."""
    sums: dict[str, int] = {}
    for reservation in reservations:
        sums[reservation["line_item_id"]] = sums.get(reservation["line_item_id"], 0) + reservation["quantity"]
    return [{"line_item_id": line_id, "quantity": quantity} for line_id, quantity in sums.items()]


@pytest.mark.parametrize("point", points(SETTLE_EDIT))
async def test_what_was_reserved_by_hand_goes(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str
) -> None:
    order = await placed(api, house)
    reserve = f"/admin/orders/{order['id']}/line-items/{line(order, 1000)}/reserve"
    await api.ok("POST", reserve, {"location_id": house.location})
    edit = await enlarged(api, house, order)
    assert await stock(stack, house) == [(10, 2), (10, 0)]
    path = path_of(edit, "confirm")
    key = await kill("orders", "clear_edit", point, path)
    assert await stock(stack, house) == [(10, 0), (10, 0)]
    assert (await again(orders, key, path))["status"] == "confirmed"


@pytest.mark.usefixtures("reserving")
async def test_nothing_is_done_to_an_order_until_its_stock_has_followed(
    api: Client, stack: Stack, kill: Kill, house: Warehouse
) -> None:
    order = await placed(api, house)
    edit = await enlarged(api, house, order)
    async with kill.process("orders", "settle_edit", "stock:before") as (doomed, _):
        with pytest.raises(aiohttp.ClientError):
            await doomed.post(path_of(edit, "confirm"))
    path = f"/admin/orders/{order['id']}"
    body = {"items": [{"item_id": line(edit, 1000), "quantity": 5}], "location_id": house.location}
    for other, sent in (("fulfillment", body), ("cancel", None)):
        status, answer = await api.post(f"{path}/{other}", sent)
        assert (status, answer["type"]) == (409, "conflict"), other
    assert (await api.post("/admin/order-edits", {"order_id": order["id"]}))[0] == 409
    assert await stock(stack, house) == [(10, 5), (10, 4)]
    # Of the 5 only 3 are reserved under the new line's id as yet; the others follow.
    item = (await api.ok("GET", f"/admin/variants/{house.shop.small}/inventory"))["variant"]["inventory"][0]["id"]
    by_hand = {"location_id": house.location, "inventory_item_id": item, "line_item_id": line(edit, 1000)}
    held = (await api.ok("GET", f"{path}/reservations"))["reservations"][0]
    more: tuple[tuple[str, Row], ...] = (
        (f"{path}/line-items/{line(edit, 1000)}/reserve", {"location_id": house.location, "quantity": 2}),
        ("/admin/reservations", by_hand | {"quantity": 2}),
        (f"/admin/reservations/{held['id']}", {"quantity": held["quantity"] + 1}),
    )
    for other, wanted in more:
        status, answer = await api.post(other, wanted)
        assert (status, answer["type"]) == (409, "conflict"), other
    assert await stock(stack, house) == [(10, 5), (10, 4)]
    await kill.restart("orders")
    assert await stock(stack, house) == [(10, 5), (10, 2)]
    status, answer = await api.post("/admin/reservations", by_hand | {"quantity": 1})
    assert (status, answer["type"]) == (400, "invalid_data")
    await api.ok("POST", f"{path}/fulfillment", body)
    assert await stock(stack, house) == [(5, 0), (10, 2)]
    await done(api, await begun(api, order), "cancel")
