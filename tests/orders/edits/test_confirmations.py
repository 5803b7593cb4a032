"""Confirming an order edit over HTTP: the order's lines, money, fulfillments and stock afterwards; and who wins."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.keys import SETTINGS
from tests.support.client import Client
from tests.support.factories.order_edits import (
    added,
    begun,
    changes,
    done,
    line,
    lines,
    order_now,
    path_of,
    removed,
    resized,
    shown,
)
from tests.support.factories.shops import Shop, place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.invariants import check_books, check_stock
from tests.support.stack import Stack

Row = dict[str, Any]
Ordered = Callable[..., Awaitable[Row]]


@pytest.fixture
async def order(ordered: Ordered) -> Row:
    """2 at 10.00, 1 at 15.00, shipping 5.00."""
    return await ordered()


@pytest.fixture
def reserving(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that reserves stock when an order is placed."""
    monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")


@pytest.fixture
async def house(api: Client) -> Warehouse:
    """10 pieces of each variant."""
    return await make_warehouse(api)


async def placed(api: Client, house: Warehouse, small: int = 2, large: int = 1) -> Row:
    shop = house.shop
    items = [{"variant_id": shop.small, "quantity": small}, {"variant_id": shop.large, "quantity": large}]
    return await place(api, shop, items=items)


async def stock(stack: Stack, house: Warehouse) -> tuple[tuple[int, int], tuple[int, int]]:
    """(stocked, reserved) of the small and the large variant; every level is the sum of its ledger."""
    await check_stock(stack)
    by_variant = await house.stock(stack)
    return by_variant[house.shop.small], by_variant[house.shop.large]


async def reserved(api: Client, order: Row) -> dict[str, int]:
    """What is reserved for the lines that the order has, by their ids."""
    quantities: dict[str, int] = {}
    page = await api.ok("GET", f"/admin/orders/{order['id']}/reservations")
    for reservation in page["reservations"]:
        line_id = reservation["line_item_id"]
        quantities[line_id] = quantities.get(line_id, 0) + reservation["quantity"]
    return quantities


async def fulfill(api: Client, order: Row, price: int, quantity: int, **more: Any) -> Row:
    body = {"items": [{"item_id": line(order, price), "quantity": quantity}]} | more
    after: Row = (await api.ok("POST", f"/admin/orders/{order['id']}/fulfillment", body))["order"]
    return after


async def test_the_lines_of_an_order_are_replaced(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large, 2, metadata={"gift": True})
    edit = await removed(api, await resized(api, edit, 1000, 3), 1500)
    assert lines(edit) == [(1000, 3), (1500, 2)]
    before = await order_now(api, order)
    confirmed = await done(api, edit, "confirm")
    assert (confirmed["status"], confirmed["confirmed_by"], confirmed["difference_due"]) == (
        "confirmed",
        edit["created_by"],
        0,
    )
    assert changes(confirmed) == changes(edit)
    assert {item["order_id"] for item in confirmed["items"]} == {order["id"]}
    originals = [change["original_line_item"]["order_id"] for change in confirmed["changes"][1:]]
    assert originals == [None, None]
    after = await order_now(api, order)
    assert [(item["id"], item["quantity"], item["order_edit_id"]) for item in after["items"]] == [
        (item["id"], item["quantity"], edit["id"]) for item in edit["items"]
    ]
    assert (after["subtotal"], after["total"], after["items"][1]["metadata"]) == (6000, 6500, {"gift": True})
    # Money and statuses stay, and so does all the rest.
    moved = {"items", "subtotal", "total", "updated_at"}
    assert {name: after[name] for name in after.keys() - moved} == {
        name: before[name] for name in before.keys() - moved
    }
    assert (after["paid_total"], after["refundable_amount"]) == (4000, 4000)
    # Once.
    assert await done(api, edit, "confirm") == confirmed
    assert (await order_now(api, order))["updated_at"] == after["updated_at"]
    status, answer = await api.post(path_of(edit, "cancel"))
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await api.post("/admin/order-edits/oe_missing/confirm"))[0] == 404
    # The draft still shows what was bought.
    draft = (await api.ok("GET", f"/admin/draft-orders/{order['draft_order_id']}"))["draft_order"]
    assert lines(draft["cart"]) == [(1000, 2), (1500, 1)]
    await check_books(stack, order["id"])


async def test_an_edit_without_changes(api: Client, order: Row) -> None:
    edit = await done(api, await begun(api, order), "confirm")
    assert (edit["status"], edit["changes"]) == ("confirmed", [])
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]
    # Of the order as it is now, also once more.
    second = await begun(api, order)
    assert [item["original_item_id"] for item in second["items"]] == [item["id"] for item in edit["items"]]
    await done(api, await resized(api, second, 1000, 1), "confirm")
    assert lines(await order_now(api, order)) == [(1000, 1), (1500, 1)]
    assert [item["order_id"] for item in (await shown(api, edit))["items"]] == [None, None]


async def test_fulfillments_and_returns_follow_the_lines(api: Client, order: Row) -> None:
    """What was fulfilled before the edit can leave, and come back, after it."""
    edit = await begun(api, order)
    fulfillment = (await fulfill(api, order, 1000, 2))["fulfillments"][0]
    to_return = {"items": [{"item_id": line(order, 1000), "quantity": 1}]}
    announced = (await api.ok("POST", f"/admin/orders/{order['id']}/return", to_return))["order"]["returns"][0]
    edit = await resized(api, edit, 1000, 3)
    small = line(edit, 1000)
    await done(api, edit, "confirm")
    after = await order_now(api, order)
    assert [(i["id"], i["fulfilled_quantity"], i["shipped_quantity"]) for i in after["items"]] == [
        (small, 2, None),
        (line(edit, 1500), None, None),
    ]
    assert after["fulfillments"][0]["items"] == [{"fulfillment_id": fulfillment["id"], "item_id": small, "quantity": 2}]
    path = f"/admin/orders/{order['id']}"
    after = (await api.ok("POST", f"{path}/shipment", {"fulfillment_id": fulfillment["id"]}))["order"]
    assert (after["fulfillment_status"], after["items"][0]["shipped_quantity"]) == ("partially_shipped", 2)
    returned = (await api.ok("POST", f"/admin/returns/{announced['id']}/receive", {
        "items": [{"item_id": small, "quantity": 1}],
    }))["return"]  # fmt: skip
    assert (returned["refund_amount"], returned["items"][0]["item_id"]) == (1000, small)
    after = await order_now(api, order)
    assert (after["items"][0]["returned_quantity"], after["refunded_total"]) == (1, 1000)
    # And only what the order has is fulfilled.
    body = {"items": [{"item_id": line(order, 1500), "quantity": 1}]}
    assert (await api.post(f"{path}/fulfillment", body))[0] == 404
    assert (await fulfill(api, after, 1500, 1))["fulfillment_status"] == "partially_fulfilled"


async def test_a_fulfillment_that_is_canceled_after_the_edit(api: Client, order: Row) -> None:
    fulfillment = (await fulfill(api, order, 1000, 2))["fulfillments"][0]
    edit = await begun(api, order)
    assert [item["fulfilled_quantity"] for item in edit["items"]] == [2, None]
    await done(api, edit, "confirm")
    await api.ok("POST", f"/admin/orders/{order['id']}/fulfillments/{fulfillment['id']}/cancel")
    after = await order_now(api, order)
    assert after["items"][0]["fulfilled_quantity"] == 0
    assert (await fulfill(api, after, 1000, 2))["items"][0]["fulfilled_quantity"] == 2


async def test_what_was_fulfilled_meanwhile_cannot_be_taken_away(api: Client, shop: Shop, order: Row) -> None:
    edit = await removed(api, await resized(api, await begun(api, order), 1000, 1), 1500)
    await fulfill(api, order, 1000, 2)
    before = await shown(api, edit)
    status, answer = await api.post(path_of(edit, "confirm"))
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shown(api, edit) == before
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]
    await resized(api, edit, 1000, 2)
    assert (await done(api, edit, "confirm"))["status"] == "confirmed"


# Stock


@pytest.mark.usefixtures("reserving")
async def test_reservations_follow_the_lines(api: Client, stack: Stack, house: Warehouse) -> None:
    order = await placed(api, house, small=4, large=3)
    assert await stock(stack, house) == ((10, 4), (10, 3))
    edit = await resized(api, await begun(api, order), 1000, 6)
    edit = await added(api, await resized(api, edit, 1500, 1), house.shop.large, 5)
    assert await stock(stack, house) == ((10, 4), (10, 3))
    await done(api, edit, "confirm")
    assert await stock(stack, house) == ((10, 6), (10, 6))
    now = await order_now(api, order)
    assert await reserved(api, now) == {item["id"]: item["quantity"] for item in now["items"]}
    edit = await removed(api, await begun(api, order), 1000)
    await done(api, edit, "confirm")
    assert await stock(stack, house) == ((10, 0), (10, 6))
    # What is fulfilled is taken out of the reservations of the lines that there are.
    now = await order_now(api, order)
    await fulfill(api, now, 1500, 1, location_id=house.location)
    assert await stock(stack, house) == ((10, 0), (9, 5))
    await api.ok("POST", f"/admin/order-edits/{(await begun(api, order))['id']}/confirm")
    assert await stock(stack, house) == ((10, 0), (9, 5))
    now = await order_now(api, order)
    assert await reserved(api, now) == {line(now, 1500, 1): 5}


@pytest.mark.usefixtures("reserving")
async def test_what_was_fulfilled_needs_no_reservation(api: Client, stack: Stack, house: Warehouse) -> None:
    order = await placed(api, house, small=3)
    await fulfill(api, order, 1000, 2, location_id=house.location)
    assert await stock(stack, house) == ((8, 1), (10, 1))
    await done(api, await resized(api, await begun(api, order), 1000, 5), "confirm")
    assert await stock(stack, house) == ((8, 3), (10, 1))
    await done(api, await resized(api, await begun(api, order), 1000, 2), "confirm")
    assert await stock(stack, house) == ((8, 0), (10, 1))


@pytest.mark.usefixtures("reserving")
async def test_not_enough_in_stock(api: Client, stack: Stack, house: Warehouse) -> None:
    order = await placed(api, house)
    edit = await added(api, await resized(api, await begun(api, order), 1000, 5), house.shop.large, 10)
    before = await shown(api, edit)
    status, answer = await api.post(path_of(edit, "confirm"))
    assert (status, answer["type"], answer["code"]) == (400, "not_allowed", "insufficient_inventory")
    assert await shown(api, edit) == before
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]
    assert await stock(stack, house) == ((10, 2), (10, 1))
    await api.ok("POST", path_of(edit, "items", line(edit, 1500, 1)), {"quantity": 9})
    await done(api, edit, "confirm")
    assert await stock(stack, house) == ((10, 5), (10, 10))


@pytest.mark.usefixtures("reserving")
async def test_a_reservation_in_several_pieces(api: Client, stack: Stack, house: Warehouse) -> None:
    """What the lines do not need goes, whichever reservation it is part of."""
    order = await placed(api, house, small=1)
    edit = await resized(api, await begun(api, order), 1000, 3)
    await done(api, edit, "confirm")
    now = await order_now(api, order)
    assert await reserved(api, now) == {line(now, 1000): 3, line(now, 1500): 1}
    await done(api, await resized(api, await begun(api, order), 1000, 2), "confirm")
    now = await order_now(api, order)
    assert await reserved(api, now) == {line(now, 1000): 2, line(now, 1500): 1}
    assert await stock(stack, house) == ((10, 2), (10, 1))
    await api.ok("POST", f"/admin/orders/{order['id']}/cancel")
    assert await stock(stack, house) == ((10, 0), (10, 0))


async def test_reserved_by_hand(api: Client, stack: Stack, house: Warehouse) -> None:
    """Nothing is reserved for the new lines, and nothing stays reserved for the old ones."""
    order = await placed(api, house)
    path = f"/admin/orders/{order['id']}/line-items/{line(order, 1000)}/reserve"
    await api.ok("POST", path, {"location_id": house.location})
    assert await stock(stack, house) == ((10, 2), (10, 0))
    edit = await added(api, await begun(api, order), house.shop.large, 500)
    await done(api, edit, "confirm")
    assert await stock(stack, house) == ((10, 0), (10, 0))


# At the same moment


@pytest.mark.usefixtures("reserving")
async def test_confirmed_many_times_at_once(api: Client, stack: Stack, house: Warehouse) -> None:
    order = await placed(api, house)
    edit = await added(api, await resized(api, await begun(api, order), 1000, 4), house.shop.large)
    answers = await asyncio.gather(*(api.post(path_of(edit, "confirm")) for _ in range(6)))
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    assert lines(await order_now(api, order)) == [(1000, 4), (1500, 1), (1500, 1)]
    assert await stock(stack, house) == ((10, 4), (10, 2))
    await check_books(stack, order["id"])


@pytest.mark.usefixtures("reserving")
@pytest.mark.parametrize("first", ["confirm", "cancel"])
async def test_confirmed_and_canceled_at_once(api: Client, stack: Stack, house: Warehouse, first: str) -> None:
    order = await placed(api, house)
    edit = await resized(api, await begun(api, order), 1000, 4)
    second = "cancel" if first == "confirm" else "confirm"
    answers = await asyncio.gather(*(api.post(path_of(edit, what)) for what in (first, second)))
    assert sorted(status for status, _ in answers) in ([200, 400], [200, 409])
    [won] = [body["order_edit"]["status"] for status, body in answers if status == 200]
    after = await shown(api, edit)
    assert after["status"] == won
    assert (after["confirmed_at"] is None) == (won == "canceled") == (after["canceled_at"] is not None)
    quantity = 4 if won == "confirmed" else 2
    assert lines(await order_now(api, order)) == [(1000, quantity), (1500, 1)]
    assert await stock(stack, house) == ((10, quantity), (10, 1))


@pytest.mark.usefixtures("reserving")
@pytest.mark.parametrize("located", [True, False])
async def test_confirmed_and_fulfilled_at_once(api: Client, stack: Stack, house: Warehouse, located: bool) -> None:
    """What is fulfilled is gone from the order that was, or is refused, for the order has other lines by then."""
    order = await placed(api, house, small=3)
    edit = await resized(api, await begun(api, order), 1000, 1)
    body = {"items": [{"item_id": line(order, 1000), "quantity": 2}]} | (
        {"location_id": house.location} if located else {}
    )
    (fulfilled, _), (confirmed, _) = await asyncio.gather(
        api.post(f"/admin/orders/{order['id']}/fulfillment", body), api.post(path_of(edit, "confirm"))
    )
    assert (fulfilled == 200) != (confirmed == 200), (fulfilled, confirmed)
    assert {fulfilled, confirmed} <= {200, 400, 404, 409}
    after = await order_now(api, order)
    item = after["items"][0]
    if fulfilled == 200:
        assert (item["id"], item["quantity"], item["fulfilled_quantity"]) == (line(order, 1000), 3, 2)
        assert await stock(stack, house) == (((8, 1) if located else (10, 3)), (10, 1))
    else:
        assert (item["id"], item["quantity"], item["fulfilled_quantity"]) == (line(edit, 1000), 1, None)
        assert await stock(stack, house) == ((10, 1), (10, 1))
    await check_books(stack, order["id"])


@pytest.mark.usefixtures("reserving")
async def test_confirmed_while_the_order_is_canceled(api: Client, stack: Stack, house: Warehouse) -> None:
    order = await placed(api, house)
    edit = await resized(api, await begun(api, order), 1000, 4)
    answers = await asyncio.gather(api.post(path_of(edit, "confirm")), api.post(f"/admin/orders/{order['id']}/cancel"))
    assert {status for status, _ in answers} <= {200, 400, 409}
    assert 200 in {status for status, _ in answers}
    after = await order_now(api, order)
    if after["status"] == "canceled":
        assert await stock(stack, house) == ((10, 0), (10, 0))
    else:
        assert (lines(after), await stock(stack, house)) == ([(1000, 4), (1500, 1)], ((10, 4), (10, 1)))
    await check_books(stack, order["id"])


@pytest.mark.usefixtures("reserving")
async def test_two_orders_want_the_last_pieces(api: Client, stack: Stack, house: Warehouse) -> None:
    first, second = await placed(api, house), await placed(api, house)
    edits = [await resized(api, await begun(api, order), 1000, 7) for order in (first, second)]
    answers = await asyncio.gather(*(api.post(path_of(edit, "confirm")) for edit in edits))
    assert sorted(status for status, _ in answers) == [200, 400]
    assert [body["code"] for status, body in answers if status == 400] == ["insufficient_inventory"]
    resulting = [lines(await order_now(api, order))[0] for order in (first, second)]
    assert sorted(resulting) == [(1000, 2), (1000, 7)]
    assert await stock(stack, house) == ((10, 9), (10, 2))
