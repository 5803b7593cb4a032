"""Fulfillments and returns: stock goes down and up once, and comes back exactly as it was."""

import asyncio
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from tests.support.commands import Ask, outcome
from tests.support.factories.stock import Shelf, Shop
from tests.support.stack import Stack


def fulfillment(shelf: Shelf, line_item_id: str, quantity: int, at: int = 0) -> dict[str, Any]:
    line = {"line_item_id": line_item_id, "variant_id": shelf.variant, "quantity": quantity}
    return {"fulfillment_id": new_id("ful"), "location_id": shelf.locations[at], "items": [line]}


async def reserve_by_hand(shop: Shop, ask: Ask, shelf: Shelf, line: str, quantity: int, at: int) -> str:
    body = {
        "line_item_id": line,
        "variant_id": shelf.variant,
        "location_id": shelf.locations[at],
        "quantity": quantity,
        "unfulfilled_quantity": 100,
    }
    reservation_id: str = (await ask("reserve_line", body, key=new_id("key")))["reservation"]["id"]
    return reservation_id


async def reservations(ask: Ask, line: str) -> list[tuple[str, int]]:
    rows = (await ask("reservations", {"line_item_ids": [line]}))["reservations"]
    return sorted((row["id"], row["quantity"]) for row in rows)


async def test_fulfill_and_cancel(shop: Shop, ask: Ask) -> None:
    """Cancelling puts the stock back, not the reservation."""
    shelf = await shop.shelf(10)
    order = shelf.order(5)
    line = order["items"][0]["line_item_id"]
    await ask("reserve", order, key=new_id("key"))
    body = fulfillment(shelf, line, 2)
    assert await ask("fulfill", body, key=new_id("key")) == {}
    assert await shop.levels(shelf) == [(8, 3)]
    assert await ask("fulfill", body, key=new_id("key")) == {}
    assert await shop.levels(shelf) == [(8, 3)]
    cancel = {"fulfillment_id": body["fulfillment_id"]}
    for _ in range(2):
        assert await ask("cancel_fulfillment", cancel, key=new_id("key")) == {}
        assert await shop.levels(shelf) == [(10, 3)]
    assert await outcome(ask("fulfill", body, key=new_id("key"))) == "invalid_state_error"
    assert await ask("cancel_fulfillment", {"fulfillment_id": "ful_missing"}, key=new_id("key")) == {}


async def test_canceled_for_the_same_lines(shop: Shop, ask: Ask) -> None:
    """What comes back is reserved for them where it comes back, whichever reservations it was taken of."""
    shelf = await shop.shelf(10, 4)
    order = shelf.order(5)
    line = order["items"][0]["line_item_id"]
    await ask("reserve", order, key=new_id("key"))
    body = fulfillment(shelf, line, 3, at=1)
    await ask("fulfill", body, key=new_id("key"))
    assert await shop.levels(shelf) == [(10, 2), (1, 0)]
    cancel = {"fulfillment_id": body["fulfillment_id"], "order_id": order["order_id"], "reserve": body["items"]}
    for _ in range(2):
        assert await ask("cancel_fulfillment", cancel, key=new_id("key")) == {}
        assert await shop.levels(shelf) == [(10, 2), (4, 3)]
    assert [quantity for _, quantity in await reservations(ask, line)] in ([2, 3], [3, 2])
    await ask("release", {"line_item_ids": [line]}, key=new_id("key"))
    assert await shop.levels(shelf) == [(10, 0), (4, 0)]


async def test_reservations_shrink_in_order(shop: Shop, ask: Ask) -> None:
    """One of just that quantity there; then the others there, oldest first; then those elsewhere."""
    shelf, line = await shop.shelf(20, 20), new_id("item")
    three = await reserve_by_hand(shop, ask, shelf, line, 3, at=0)
    two = await reserve_by_hand(shop, ask, shelf, line, 2, at=0)
    elsewhere = await reserve_by_hand(shop, ask, shelf, line, 4, at=1)
    await ask("fulfill", fulfillment(shelf, line, 2), key=new_id("key"))
    assert await reservations(ask, line) == sorted([(three, 3), (elsewhere, 4)])
    assert await shop.levels(shelf) == [(18, 3), (20, 4)]
    await ask("fulfill", fulfillment(shelf, line, 1), key=new_id("key"))
    assert await reservations(ask, line) == sorted([(three, 2), (elsewhere, 4)])
    await ask("fulfill", fulfillment(shelf, line, 5), key=new_id("key"))
    assert await reservations(ask, line) == [(elsewhere, 1)]
    assert await shop.levels(shelf) == [(12, 0), (20, 1)]
    assert two not in dict(await reservations(ask, line))


async def test_compensate_fulfill_is_exact(stack: Stack, shop: Shop, ask: Ask) -> None:
    shelf, line = await shop.shelf(20, 20), new_id("item")
    await reserve_by_hand(shop, ask, shelf, line, 3, at=0)
    await reserve_by_hand(shop, ask, shelf, line, 4, at=1)
    columns = "id, line_item_id, location_id, quantity, created_by, created_at, metadata"
    all_of_line = f"select {columns} from reservations where line_item_id = $1 order by id"
    before = await stack.pool("inventory").fetch(all_of_line, line)
    body, key = fulfillment(shelf, line, 5), new_id("key")
    await ask("fulfill", body, key=key)
    assert await shop.levels(shelf) == [(15, 0), (20, 2)]
    compensate = {"fulfillment_id": body["fulfillment_id"], "compensates": key}
    for _ in range(2):
        assert await ask("compensate_fulfill", compensate, key=new_id("key")) == {}
        assert await shop.levels(shelf) == [(20, 3), (20, 4)]
        assert await stack.pool("inventory").fetch(all_of_line, line) == before


async def test_undo_before_the_fulfillment_came(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(5)
    body, key = fulfillment(shelf, new_id("item"), 5), new_id("key")
    await ask("compensate_fulfill", {"fulfillment_id": body["fulfillment_id"], "compensates": key}, key=new_id("key"))
    assert await outcome(ask("fulfill", body, key=key)) == "invalid_state_error"
    assert await shop.levels(shelf) == [(5, 0)]


async def test_fulfill_more_than_there_is(shop: Shop, ask: Ask) -> None:
    channel = await shop.channel()
    shelf, other = await shop.shelf(5, channel=channel), await shop.shelf(5, channel=channel)
    await shop.stock(other.item, shelf.locations[0], 1)
    body = fulfillment(shelf, new_id("item"), 2)
    body["items"].append({"line_item_id": new_id("item"), "variant_id": other.variant, "quantity": 2})
    with pytest.raises(ApiError) as refused:
        await ask("fulfill", body, key=new_id("key"))
    assert (refused.value.status, refused.value.type) == (400, "not_allowed")
    for location_id in (other.locations[0], "sloc_missing"):
        elsewhere = body | {"fulfillment_id": new_id("ful"), "location_id": location_id}
        assert await outcome(ask("fulfill", elsewhere, key=new_id("key"))) == "not_allowed"
    assert await shop.levels(shelf) == [(5, 0)]
    assert await shop.levels(other) == [(5, 0)]


async def test_reserved_stock_may_be_fulfilled(shop: Shop, ask: Ask) -> None:
    """What is reserved for somebody else does not stop a fulfillment: the merchant has it in hand."""
    shelf = await shop.shelf(3)
    await ask("reserve", shelf.order(3), key=new_id("key"))
    await ask("fulfill", fulfillment(shelf, new_id("item"), 3), key=new_id("key"))
    assert await shop.levels(shelf) == [(0, 3)]


async def test_what_is_not_counted_is_fulfilled(shop: Shop, ask: Ask) -> None:
    variant, _ = await shop.variant(manage_inventory=False)
    lines = [
        {"line_item_id": new_id("item"), "variant_id": variant, "quantity": 5},
        {"line_item_id": new_id("item"), "variant_id": None, "quantity": 5},
    ]
    body = {"fulfillment_id": new_id("ful"), "location_id": "sloc_missing", "items": lines}
    assert await ask("fulfill", body, key=new_id("key")) == {}


async def test_fulfillments_in_parallel_take_no_more_than_there_is(shop: Shop, ask: Ask) -> None:
    for _ in range(3):
        shelf = await shop.shelf(5)
        outcomes = await asyncio.gather(
            *(outcome(ask("fulfill", fulfillment(shelf, new_id("item"), 1), key=new_id("key"))) for _ in range(16))
        )
        assert (outcomes.count("ok"), outcomes.count("not_allowed")) == (5, 11)
        assert await shop.levels(shelf) == [(0, 0)]


async def test_everything_at_once_balances(shop: Shop, ask: Ask) -> None:
    """Reserving, fulfilling, taking back, releasing and counting, all over the same two locations."""
    shelf = await shop.shelf(30, 30)

    async def life(n: int) -> None:
        order, key, at = shelf.order(2), new_id("key"), n % 2
        line = order["items"][0]["line_item_id"]
        await outcome(ask("reserve", order, key=new_id("key")))
        body = fulfillment(shelf, line, 1 + n % 3, at)
        await outcome(ask("fulfill", body, key=key))
        if n % 4 == 0:
            await ask(
                "compensate_fulfill", {"fulfillment_id": body["fulfillment_id"], "compensates": key}, key=new_id("key")
            )
        if n % 4 == 1:
            await ask("cancel_fulfillment", {"fulfillment_id": body["fulfillment_id"]}, key=new_id("key"))
        if n % 4 == 2:
            path = f"/admin/inventory-items/{shelf.item}/location-levels/{shelf.locations[at]}"
            await shop.inventory.ok("POST", path, {"stocked_quantity": 10 + n})
        await ask("release", {"line_item_ids": [line], "compensates": None}, key=new_id("key"))

    await asyncio.gather(*(life(n) for n in range(24)))
    assert [reserved for _, reserved in await shop.levels(shelf)] == [0, 0]


async def test_restock(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(1, 1)
    line = {"line_item_id": new_id("item"), "variant_id": shelf.variant, "quantity": 2}
    body = {"return_id": new_id("ret"), "location_id": shelf.locations[1], "items": [line]}
    key = new_id("key")
    for _ in range(2):
        assert await ask("restock", body, key=key) == {}
        assert await shop.levels(shelf) == [(1, 0), (3, 0)]
    for location_id in (None, "sloc_missing"):
        elsewhere = body | {"return_id": new_id("ret"), "location_id": location_id}
        assert await outcome(ask("restock", elsewhere, key=new_id("key"))) == "not_found"
    assert (
        await ask("compensate_restock", {"return_id": body["return_id"], "compensates": key}, key=new_id("key")) == {}
    )
    assert await shop.levels(shelf) == [(1, 0), (1, 0)]
    variant, _ = await shop.variant(manage_inventory=False)
    uncounted = {"return_id": new_id("ret"), "location_id": None, "items": [line | {"variant_id": variant}]}
    assert await ask("restock", uncounted, key=new_id("key")) == {}


async def test_the_ledger_says_why(stack: Stack, shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(5)
    order = shelf.order(2)
    await ask("reserve", order, key=new_id("key"))
    body = fulfillment(shelf, order["items"][0]["line_item_id"], 2)
    await ask("fulfill", body, key=new_id("key"))
    rows = await stack.pool("inventory").fetch(
        "select cause, reference, actor, stocked, reserved, incoming from stock_ledger "
        "where inventory_item_id = $1 order by id",
        shelf.item,
    )
    assert [tuple(row) for row in rows] == [
        ("adjustment", None, "usr_test", 5, 0, 0),
        ("order", order["order_id"], "usr_test", 0, 2, 0),
        ("fulfillment", body["fulfillment_id"], None, -2, -2, 0),
    ]
