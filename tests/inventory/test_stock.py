"""Reserving for orders: never more than there is, all or nothing, and never twice."""

import asyncio
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.chassis.ids import new_id
from tests.support.client import Client
from tests.support.commands import Ask, outcome
from tests.support.factories.stock import Shop
from tests.support.stack import Stack
from tests.support.waiting import until


async def test_reserve(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10)
    order = shelf.order(2, 3)
    key = new_id("key")
    reply = await ask("reserve", order, key=key)
    first = next(row for row in reply["reservations"] if row["quantity"] == 2)
    assert first == {
        "id": first["id"],
        "line_item_id": order["items"][0]["line_item_id"],
        "inventory_item_id": shelf.item,
        "location_id": shelf.locations[0],
        "quantity": 2,
        "external_id": None,
        "description": None,
        "created_by": "usr_test",
        "metadata": None,
        "created_at": first["created_at"],
        "updated_at": first["created_at"],
        "deleted_at": None,
    }
    assert first["id"].startswith("resitem_")
    assert len(first["id"]) == len(new_id("resitem"))
    assert sorted(row["quantity"] for row in reply["reservations"]) == [2, 3]
    assert await shop.levels(shelf) == [(10, 5)]
    assert await ask("reserve", order, key=key) == reply
    assert await shop.levels(shelf) == [(10, 5)]

    async def shown() -> bool:
        return bool(await shop.available(shelf) == 5)

    await until(shown)


@pytest.mark.parametrize("left", [1, 5, 16])
async def test_the_last_units_are_reserved_once(shop: Shop, ask: Ask, left: int) -> None:
    """More orders than units, all at once, over two locations: exactly as many win as there are units."""
    for _ in range(4):
        shelf = await shop.shelf(left // 2, left - left // 2)
        outcomes = await asyncio.gather(
            *(outcome(ask("reserve", shelf.order(1), key=new_id("key"))) for _ in range(24))
        )
        assert outcomes.count("ok") == left
        assert outcomes.count("insufficient_inventory") == 24 - left
        assert sum(reserved for _, reserved in await shop.levels(shelf)) == left


async def test_orders_of_several_items_do_not_deadlock(stack: Stack, shop: Shop, ask: Ask) -> None:
    """Everybody wants the same items, in every order of lines; all or nothing holds for each."""
    channel = await shop.channel()
    shelves = [await shop.shelf(4, 4, channel=channel) for _ in range(3)]

    def order(n: int) -> dict[str, Any]:
        body = shelves[0].order()
        lines = [shelf.order(1)["items"][0] for shelf in shelves]
        return body | {"items": lines[n % 3 :] + lines[: n % 3]}

    before = await stack.pool("inventory").fetchval(
        "select deadlocks from pg_stat_database where datname = current_database()"
    )
    outcomes = await asyncio.gather(*(outcome(ask("reserve", order(n), key=new_id("key"))) for n in range(24)))
    assert outcomes.count("ok") == 8
    assert [sum(reserved for _, reserved in await shop.levels(shelf)) for shelf in shelves] == [8, 8, 8]
    after = await stack.pool("inventory").fetchval(
        "select deadlocks from pg_stat_database where datname = current_database()"
    )
    assert after == before


async def test_all_or_nothing(shop: Shop, ask: Ask) -> None:
    channel = await shop.channel()
    plenty, scarce = await shop.shelf(10, channel=channel), await shop.shelf(1, channel=channel)
    body = plenty.order(2) | {"items": plenty.order(2)["items"] + scarce.order(2)["items"]}
    with pytest.raises(ApiError, match=scarce.variant) as refused:
        await ask("reserve", body, key=new_id("key"))
    assert (refused.value.status, refused.value.type) == (400, "not_allowed")
    assert refused.value.code == "insufficient_inventory"
    assert await shop.levels(plenty) == [(10, 0)]
    assert await shop.levels(scarce) == [(1, 0)]


async def test_lines_of_one_item_share_its_stock(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(5)
    assert await outcome(ask("reserve", shelf.order(3, 3), key=new_id("key"))) == "insufficient_inventory"
    assert await shop.levels(shelf) == [(5, 0)]


async def test_the_fullest_location_serves_first(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(2, 6)
    await ask("reserve", shelf.order(4), key=new_id("key"))
    assert await shop.levels(shelf) == [(2, 0), (6, 4)]
    reply = await ask("reserve", shelf.order(3), key=new_id("key"))
    assert sorted(row["quantity"] for row in reply["reservations"]) == [1, 2]
    assert await shop.levels(shelf) == [(2, 2), (6, 5)]


async def test_only_locations_of_the_channel_count(shop: Shop, ask: Ask) -> None:
    shelf, other = await shop.shelf(1), await shop.location()
    await shop.stock(shelf.item, other, 100)
    assert await outcome(ask("reserve", shelf.order(2), key=new_id("key"))) == "insufficient_inventory"
    await shop.link(shelf.channel, other)
    assert await outcome(ask("reserve", shelf.order(2), key=new_id("key"))) == "ok"
    elsewhere = shelf.order(1, sales_channel_id=await shop.channel())
    assert await outcome(ask("reserve", elsewhere, key=new_id("key"))) == "insufficient_inventory"


async def test_back_orders(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(1, 3, allow_backorder=True)
    await ask("reserve", shelf.order(10), key=new_id("key"))
    assert await shop.levels(shelf) == [(1, 1), (3, 9)]


async def test_back_orders_allowed_later(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(1)
    path = f"/admin/products/{shelf.product}/variants/{shelf.variant}"
    await shop.catalog.ok("POST", path, {"allow_backorder": True})

    async def allowed() -> bool:
        return await outcome(ask("reserve", shelf.order(2), key=new_id("key"))) == "ok"

    await until(allowed)
    assert await shop.levels(shelf) == [(1, 2)]


async def test_a_variant_that_is_no_longer_managed_passes(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(1)
    path = f"/admin/products/{shelf.product}/variants/{shelf.variant}"
    await shop.catalog.ok("POST", path, {"manage_inventory": False})

    async def passes() -> bool:
        return await outcome(ask("reserve", shelf.order(5), key=new_id("key"))) == "ok"

    await until(passes)
    assert await shop.levels(shelf) == [(1, 0)]


async def test_what_is_not_counted_passes(shop: Shop, ask: Ask) -> None:
    """No level anywhere, not managed, no variant: nothing to reserve, and no reason to refuse."""
    without_level = await shop.shelf()
    variant, _ = await shop.variant(manage_inventory=False)
    lines = [
        without_level.order(5)["items"][0],
        {"line_item_id": new_id("item"), "variant_id": variant, "quantity": 5},
        {"line_item_id": new_id("item"), "variant_id": None, "quantity": 5},
    ]
    body = without_level.order() | {"items": lines}
    assert await ask("reserve", body, key=new_id("key")) == {"reservations": []}


async def test_replacements_are_reserved_without_regard_to_stock(shop: Shop, ask: Ask) -> None:
    shelf, bare = await shop.shelf(1), await shop.shelf()
    await ask("reserve", shelf.order(4, mode="claim"), key=new_id("key"))
    assert await shop.levels(shelf) == [(1, 4)]
    with pytest.raises(ApiError) as refused:
        await ask("reserve", bare.order(1, mode="claim"), key=new_id("key"))
    assert (refused.value.status, refused.value.type) == (400, "invalid_data")


@pytest.mark.parametrize("quantity", [0, -1, 2**31, 1.5, None, "1"])
async def test_reserve_refused(shop: Shop, ask: Ask, quantity: Any) -> None:
    shelf = await shop.shelf(3)
    assert await outcome(ask("reserve", shelf.order(quantity), key=new_id("key"))) == "invalid_data"
    assert await shop.levels(shelf) == [(3, 0)]


async def test_release(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10)
    order = shelf.order(2, 3)
    await ask("reserve", order, key=new_id("key"))
    ids = [line["line_item_id"] for line in order["items"]]
    key = new_id("key")
    assert await ask("release", {"line_item_ids": ids[:1], "compensates": None}, key=key) == {}
    assert await shop.levels(shelf) == [(10, 3)]
    assert await ask("release", {"line_item_ids": ids, "compensates": None}, key=new_id("key")) == {}
    assert await ask("release", {"line_item_ids": ids, "compensates": None}, key=new_id("key")) == {}
    assert await shop.levels(shelf) == [(10, 0)]


async def test_release_before_the_reserve_came(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10)
    order, key = shelf.order(2), new_id("key")
    ids = [line["line_item_id"] for line in order["items"]]
    await ask("release", {"line_item_ids": ids, "compensates": key}, key=new_id("key"))
    assert await outcome(ask("reserve", order, key=key)) == "invalid_state_error"
    assert await shop.levels(shelf) == [(10, 0)]


async def test_reserve_and_its_undoing_at_once(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10)
    for _ in range(8):
        order, key = shelf.order(2), new_id("key")
        ids = [line["line_item_id"] for line in order["items"]]
        await asyncio.gather(
            outcome(ask("reserve", order, key=key)),
            ask("release", {"line_item_ids": ids, "compensates": key}, key=new_id("key")),
        )
        assert await shop.levels(shelf) == [(10, 0)]


async def test_reserve_a_line_at_a_location(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10, 10)
    line = {
        "line_item_id": new_id("item"),
        "variant_id": shelf.variant,
        "location_id": shelf.locations[1],
        "quantity": 2,
        "unfulfilled_quantity": 3,
        "created_by": "usr_test",
    }
    reservation = (await ask("reserve_line", line, key=new_id("key")))["reservation"]
    assert (reservation["location_id"], reservation["quantity"]) == (shelf.locations[1], 2)
    assert await outcome(ask("reserve_line", line, key=new_id("key"))) == "invalid_data"
    nowhere = line | {"quantity": 1, "location_id": "sloc_missing"}
    assert await outcome(ask("reserve_line", nowhere, key=new_id("key"))) == "not_found"
    nothing = line | {"quantity": 1, "variant_id": "variant_missing"}
    assert await outcome(ask("reserve_line", nothing, key=new_id("key"))) == "not_found"
    assert await shop.levels(shelf) == [(10, 0), (10, 2)]


async def test_reservations_of_lines(shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(10)
    order = shelf.order(2, 3, 1)
    await ask("reserve", order, key=new_id("key"))
    ids = [line["line_item_id"] for line in order["items"]]
    page = await ask("reservations", {"line_item_ids": ids, "limit": 1, "offset": 1, "order": "quantity"})
    assert (page["count"], page["limit"], page["offset"]) == (3, 1, 1)
    assert [row["quantity"] for row in page["reservations"]] == [2]
    assert page["reservations"][0]["created_by"] == "usr_test"
    assert await ask("reservations", {"line_item_ids": []}) == {
        "reservations": [],
        "count": 0,
        "offset": 0,
        "limit": 20,
    }
    assert await outcome(ask("reservations", {"line_item_ids": ids, "order": "colour"})) == "invalid_data"


async def test_what_others_have_to_get_from_elsewhere(shop: Shop, ask: Ask, inventory: Client) -> None:
    """What was reserved for another order is fulfilled: nobody can order what is left for that one."""
    shelf = await shop.shelf(5, 5)
    first, second = shelf.order(5), shelf.order(5)
    await ask("reserve", first, key=new_id("key"))
    await ask("reserve", second, key=new_id("key"))
    fulfillment = {"fulfillment_id": new_id("ful"), "location_id": shelf.locations[0], "items": first["items"]}
    held = (await ask("reservations", {"line_item_ids": [first["items"][0]["line_item_id"]]}))["reservations"]
    elsewhere = shelf.locations[1 - shelf.locations.index(held[0]["location_id"])]
    await ask("fulfill", fulfillment | {"location_id": elsewhere}, key=new_id("key"))
    assert sorted(await shop.levels(shelf)) == [(0, 5), (5, 0)]
    assert await outcome(ask("reserve", shelf.order(1), key=new_id("key"))) == "insufficient_inventory"
    assert sorted(await shop.levels(shelf)) == [(0, 5), (5, 0)]
    path = f"/admin/inventory-items/{shelf.item}/location-levels/{elsewhere}"
    await inventory.ok("POST", path, {"stocked_quantity": 1})
    await ask("reserve", shelf.order(1), key=new_id("key"))
    assert sorted(await shop.levels(shelf)) == [(1, 5), (5, 1)]
    assert await outcome(ask("reserve", shelf.order(1), key=new_id("key"))) == "insufficient_inventory"


async def test_what_was_reserved_by_hand_counts(shop: Shop, ask: Ask) -> None:
    """For a line of a draft that is paid then; and it stays when that comes to nothing."""
    shelf = await shop.shelf(10)
    order, key = shelf.order(4), new_id("key")
    line = order["items"][0]["line_item_id"]
    by_hand = {"line_item_id": line, "variant_id": shelf.variant, "location_id": shelf.locations[0], "quantity": 3}
    await ask("reserve_line", by_hand | {"unfulfilled_quantity": 4}, key=new_id("key"))
    made = (await ask("reserve", order, key=key))["reservations"]
    assert [row["quantity"] for row in made] == [1]
    assert await shop.levels(shelf) == [(10, 4)]
    await ask("release", {"line_item_ids": [line], "compensates": key}, key=new_id("key"))
    assert await shop.levels(shelf) == [(10, 3)]
    await ask("release", {"line_item_ids": [line]}, key=new_id("key"))
    assert await shop.levels(shelf) == [(10, 0)]
