"""The ledger of an item as people read it, and that it adds up: to the level, whatever was done, rolled up or not."""

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from services.inventory.ledger_rolls import roll
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shelf, Shop
from tests.support.stack import Stack

Line = dict[str, Any]
FUTURE = datetime.now(UTC) + timedelta(days=1)


async def lines(inventory: Client, item_id: str, **query: Any) -> list[Line]:
    """All lines, newest first, page by page."""
    path, found = f"/admin/inventory-items/{item_id}/ledger", list[Line]()
    while True:
        page = await inventory.ok("GET", path, query={"limit": "3", "offset": str(len(found)), **query})
        found += page["ledger"]
        if len(found) >= page["count"]:
            return found


def shown(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("cause", "reference", "stocked", "reserved", "incoming"))


async def test_every_change_has_its_cause(shop: Shop, ask: Ask, inventory: Client) -> None:
    shelf = await shop.shelf(10)
    (place,) = shelf.locations
    order, fulfillment, returned = shelf.order(4), new_id("ful"), new_id("ret")
    line = {"line_item_id": order["items"][0]["line_item_id"], "variant_id": shelf.variant}
    level = f"/admin/inventory-items/{shelf.item}/location-levels/{place}"
    await inventory.ok("POST", level, {"stocked_quantity": 12, "incoming_quantity": 7})
    by_hand = {"inventory_item_id": shelf.item, "location_id": place, "quantity": 2}
    reservation = (await inventory.ok("POST", "/admin/reservations", by_hand))["reservation"]["id"]
    await inventory.ok("POST", f"/admin/reservations/{reservation}", {"quantity": 3})
    await inventory.ok("DELETE", f"/admin/reservations/{reservation}")
    await ask("reserve", order, key=new_id("key"))
    moved = {"fulfillment_id": fulfillment, "location_id": place, "items": [line | {"quantity": 1}]}
    await ask("fulfill", moved, key=new_id("key"))
    await ask("cancel_fulfillment", {"fulfillment_id": fulfillment}, key=new_id("key"))
    back = {"return_id": returned, "location_id": place, "items": [line | {"quantity": 2}]}
    await ask("restock", back, key=new_id("key"))
    await ask("release", {"line_item_ids": [line["line_item_id"]]}, key=new_id("key"))
    found = await lines(inventory, shelf.item)
    assert [shown(each) for each in reversed(found)] == [
        ("adjustment", None, 10, 0, 0),
        ("adjustment", None, 2, 0, 7),
        ("reservation", reservation, 0, 2, 0),
        ("reservation", reservation, 0, 1, 0),
        ("reservation", reservation, 0, -3, 0),
        ("order", order["order_id"], 0, 4, 0),
        ("fulfillment", fulfillment, -1, -1, 0),
        ("fulfillment_canceled", fulfillment, 1, 0, 0),
        ("return", returned, 2, 0, 0),
        ("order", order["order_id"], 0, -3, 0),
    ]
    assert {line["location_id"] for line in found} == {place}
    assert {line["inventory_item_id"] for line in found} == {shelf.item}
    user = found[-1]["actor"]
    assert user and {line["actor"] for line in found[-5:]} == {user}
    assert found[4]["actor"] == "usr_test"
    assert await shop.levels(shelf) == [(14, 0)]


async def test_filters(shop: Shop, ask: Ask, inventory: Client) -> None:
    shelf = await shop.shelf(5, 6)
    order = shelf.order(6)
    await ask("reserve", order, key=new_id("key"))
    path = f"/admin/inventory-items/{shelf.item}/ledger"

    async def found(**query: str) -> list[tuple[Any, ...]]:
        return [(line["location_id"], *shown(line)) for line in (await lines(inventory, shelf.item, **query))]

    one, two = shelf.locations
    reserved = (two, "order", order["order_id"], 0, 6, 0)
    assert await found(location_id=one) == [(one, "adjustment", None, 5, 0, 0)]
    assert await found(cause="order") == [reserved]
    assert await found(**{"cause[]": "order", "location_id[]": one}) == []
    assert await found(reference=order["order_id"]) == [reserved]
    assert await found(**{"created_at[gt]": FUTURE.date().isoformat()}) == []
    page = await inventory.ok("GET", path, query={"limit": "1", "offset": "1"})
    assert (page["count"], page["limit"], page["offset"], len(page["ledger"])) == (3, 1, 1, 1)
    for query in ({"cause": "theft"}, {"colour": "red"}, {"limit": "-1"}, {"order": "id"}, {"created_at[gt]": "soon"}):
        assert (await inventory.get(path, query))[0] == 400
    assert (await inventory.get("/admin/inventory-items/iitem_missing/ledger"))[0] == 404


async def test_an_item_without_stock_and_one_that_is_gone(shop: Shop, inventory: Client) -> None:
    variant_id, _ = await shop.variant()
    item_id = await shop.item(variant_id)
    assert await lines(inventory, item_id) == []
    shelf = await shop.shelf(3)
    await inventory.ok("DELETE", f"/admin/inventory-items/{shelf.item}")
    found = await lines(inventory, shelf.item)
    assert [shown(line) for line in found] == [("closed", shelf.item, -3, 0, 0), ("adjustment", None, 3, 0, 0)]


async def test_old_lines_are_added_up(shop: Shop, ask: Ask, inventory: Client, stack: Stack) -> None:
    """But not those of a fulfillment, which can still be canceled; and then those, too."""
    shelf = await shop.shelf(10, 20)
    order, fulfillment = shelf.order(4), new_id("ful")
    await ask("reserve", order, key=new_id("key"))
    line = {"line_item_id": order["items"][0]["line_item_id"], "variant_id": shelf.variant, "quantity": 4}
    moved = {"fulfillment_id": fulfillment, "location_id": shelf.locations[1], "items": [line]}
    await ask("fulfill", moved, key=new_id("key"))
    gone = await shop.shelf(7)
    await inventory.ok("DELETE", f"/admin/inventory-items/{gone.item}")

    async def rolled(before: datetime, limit: int = 5000) -> list[tuple[Any, ...]]:
        async with stack.pool("inventory").acquire() as db, db.transaction():
            while await roll(db, before, limit) == limit:
                pass
        return [(line["location_id"], *shown(line)) for line in await lines(inventory, shelf.item)]

    one, two = shelf.locations
    before = [
        (two, "fulfillment", fulfillment, -4, -4, 0),
        (two, "order", order["order_id"], 0, 4, 0),
        (two, "adjustment", None, 20, 0, 0),
        (one, "adjustment", None, 10, 0, 0),
    ]
    assert await rolled(datetime.now(UTC) - timedelta(days=400)) == before
    after = [before[0], (two, "carried", None, 20, 4, 0), (one, "carried", None, 10, 0, 0)]
    assert await rolled(FUTURE, limit=1) == after
    assert (await inventory.get(f"/admin/inventory-items/{gone.item}/ledger"))[0] == 404
    await ask("cancel_fulfillment", {"fulfillment_id": fulfillment}, key=new_id("key"))
    assert await shop.levels(shelf) == [(10, 0), (20, 0)]
    assert await rolled(FUTURE) == [(two, "carried", None, 20, 0, 0), (one, "carried", None, 10, 0, 0)]
    assert await rolled(FUTURE) == [(two, "carried", None, 20, 0, 0), (one, "carried", None, 10, 0, 0)]


# What can happen to a shelf, in any order: (what, which location, how many).
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "count",
                "place",
                "fulfill",
                "cancel",
                "compensate",
                "release",
                "return",
                "by hand",
                "drop",
                "close",
                "roll",
            ]
        ),
        st.integers(0, 1),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=14,
)


@given(steps=STEPS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_adds_up_whatever_happens(
    shop: Shop, ask: Ask, inventory: Client, stack: Stack, steps: list[tuple[str, int, int]]
) -> None:
    shelf = await shop.shelf(10, 5)
    placed, fulfilled, reserved = list[str](), list[tuple[str, str]](), list[str]()
    for what, at, quantity in steps:
        with suppress(ApiError):  # a refusal changes nothing, as the sums show
            await happen(shop, ask, inventory, stack, shelf, (placed, fulfilled, reserved), what, at, quantity)
    levels = (await inventory.ok("GET", f"/admin/inventory-items/{shelf.item}/location-levels"))["inventory_item"]
    there = {
        row["location_id"]: [row[f"{kind}_quantity"] for kind in ("stocked", "reserved", "incoming")]
        for row in levels["location_levels"]
    }
    found = await lines(inventory, shelf.item)
    sums = {
        place: [sum(line[kind] for line in found if line["location_id"] == place) for kind in KINDS]
        for place in shelf.locations
    }
    assert sums == {place: there.get(place, [0, 0, 0]) for place in shelf.locations}
    held: Counter[str] = Counter()
    rows = await inventory.ok("GET", "/admin/reservations", query={"inventory_item_id[]": shelf.item, "limit": "99"})
    for row in rows["reservations"]:
        held[row["location_id"]] += row["quantity"]
    assert {place: held[place] for place in there} == {place: level[1] for place, level in there.items()}


KINDS = ("stocked", "reserved", "incoming")


async def happen(
    shop: Shop,
    ask: Ask,
    inventory: Client,
    stack: Stack,
    shelf: Shelf,
    known: tuple[list[str], list[tuple[str, str]], list[str]],
    what: str,
    at: int,
    quantity: int,
) -> None:
    """Do it, if there is something to do it to. Raises ApiError."""
    placed, fulfilled, reserved = known
    place, key = shelf.locations[at], new_id("key")
    level = f"/admin/inventory-items/{shelf.item}/location-levels/{place}"
    line = {"line_item_id": placed[-1] if placed else "item_none", "variant_id": shelf.variant, "quantity": quantity}
    match what:
        case "count":
            await inventory.post(level, {"stocked_quantity": quantity, "incoming_quantity": at})
        case "place":
            order = shelf.order(quantity)
            await ask("reserve", order, key=key)
            placed.append(order["items"][0]["line_item_id"])
        case "fulfill":
            move = new_id("ful")
            await ask("fulfill", {"fulfillment_id": move, "location_id": place, "items": [line]}, key=key)
            fulfilled.append((move, key))
        case "cancel" if fulfilled:
            await ask("cancel_fulfillment", {"fulfillment_id": fulfilled[quantity % len(fulfilled)][0]}, key=key)
        case "compensate" if fulfilled:
            move, made = fulfilled[quantity % len(fulfilled)]
            await ask("compensate_fulfill", {"fulfillment_id": move, "compensates": made}, key=key)
        case "release" if placed:
            await ask("release", {"line_item_ids": [placed.pop()]}, key=key)
        case "return":
            await ask("restock", {"return_id": new_id("ret"), "location_id": place, "items": [line]}, key=key)
        case "by hand":
            body = {"inventory_item_id": shelf.item, "location_id": place, "quantity": quantity}
            status, answer = await inventory.post("/admin/reservations", body)
            reserved += [answer["reservation"]["id"]] if status == 200 else []
        case "drop" if reserved:
            await inventory.delete(f"/admin/reservations/{reserved.pop()}")
        case "close":
            await inventory.delete(level)
        case "roll":
            async with stack.pool("inventory").acquire() as db, db.transaction():
                await roll(db, FUTURE, limit=quantity)


@pytest.mark.parametrize("limit", [1, 5000])
async def test_rolling_twice_at_once_adds_up_once(shop: Shop, inventory: Client, stack: Stack, limit: int) -> None:
    shelf = await shop.shelf(10)
    pool = stack.pool("inventory")
    async with pool.acquire() as first, pool.acquire() as second:
        async with first.transaction():
            assert await roll(first, FUTURE, limit)
            async with second.transaction():
                assert await roll(second, FUTURE, limit) == 0
        async with second.transaction():
            while await roll(second, FUTURE, limit):
                pass
    assert [shown(line) for line in await lines(inventory, shelf.item)] == [("carried", None, 10, 0, 0)]
