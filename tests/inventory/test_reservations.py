"""Reservations by hand."""

import asyncio
from typing import Any

import pytest

from services.chassis.ids import new_id
from services.inventory.line_versions import forget_versions
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shelf, Shop
from tests.support.stack import Stack


@pytest.fixture
async def line(catalog: Client, orders: Client, shop: Shop, uid: str) -> dict[str, Any]:
    """A line of five pieces of a paid order, by id, and the shelf that it is of."""
    shelf = await shop.shelf(10, 4)
    await catalog.ok("POST", "/admin/store", {"currencies": ["usd", "eur", "dkk"]})
    prices = {"prices": [{"currency_code": "eur", "amount": 1000}]}
    await catalog.ok("POST", f"/admin/products/{shelf.product}/variants/{shelf.variant}", prices)
    body: dict[str, Any] = {"name": uid, "currency_code": "eur", "tax_rate": 0, "countries": []}
    body |= {"payment_providers": ["manual"], "fulfillment_providers": ["manual"]}
    region = (await catalog.ok("POST", "/admin/regions", body))["region"]["id"]
    profiles = (await catalog.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    profile = next(row["id"] for row in profiles if row["type"] == "default")
    body = {"name": uid, "region_id": region, "profile_id": profile, "provider_id": "manual", "price_type": "flat_rate"}
    body |= {"amount": 500, "data": {"id": "manual-fulfillment"}}
    option = (await catalog.ok("POST", "/admin/shipping-options", body))["shipping_option"]["id"]
    body = {"email": f"{uid}@example.com", "region_id": region, "shipping_methods": [{"option_id": option}]}
    body |= {"items": [{"variant_id": shelf.variant, "quantity": 5}]}
    draft = (await orders.ok("POST", "/admin/draft-orders", body))["draft_order"]["id"]
    order = (await orders.ok("POST", f"/admin/draft-orders/{draft}/pay"))["order"]
    return {"id": order["items"][0]["id"], "order": order["id"], "shelf": shelf}


def wanted(shelf: Shelf, quantity: Any, at: int = 0, **more: Any) -> dict[str, Any]:
    return {"location_id": shelf.locations[at], "inventory_item_id": shelf.item, "quantity": quantity} | more


async def test_create_update_delete(inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(10, 4)
    body = wanted(shelf, 3, description="Trade fair", metadata={"event": "fair"})
    made = await inventory.ok("POST", "/admin/reservations", body)
    reservation = made["reservation"]
    assert reservation == {
        "id": reservation["id"],
        "created_at": reservation["created_at"],
        "updated_at": reservation["created_at"],
        "deleted_at": None,
        "line_item_id": None,
        "inventory_item_id": shelf.item,
        "location_id": shelf.locations[0],
        "quantity": 3,
        "external_id": None,
        "description": "Trade fair",
        "created_by": "usr_test",
        "metadata": {"event": "fair"},
    }
    path = f"/admin/reservations/{reservation['id']}"
    assert await inventory.ok("GET", path) == made
    assert await shop.levels(shelf) == [(10, 3), (4, 0)]
    changes = {"quantity": 2, "description": "Smaller fair", "metadata": {"event": "", "hall": 3}}
    changed = (await inventory.ok("POST", path, changes))["reservation"]
    assert changed == reservation | changes | {"updated_at": changed["updated_at"]}
    assert await shop.levels(shelf) == [(10, 2), (4, 0)]
    await inventory.ok("POST", path, {"location_id": shelf.locations[1]})
    assert await shop.levels(shelf) == [(10, 0), (4, 2)]
    await inventory.ok("POST", path, {"location_id": shelf.locations[0], "quantity": 50, "metadata": None})
    assert await shop.levels(shelf) == [(10, 50), (4, 0)]
    last = (await inventory.ok("GET", path))["reservation"]
    assert (last["metadata"], last["description"]) == (None, "Smaller fair")
    for _ in range(2):
        deleted = {"id": reservation["id"], "object": "reservation", "deleted": True}
        assert await inventory.ok("DELETE", path) == deleted
    assert (await inventory.get(path))[0] == 404
    assert await shop.levels(shelf) == [(10, 0), (4, 0)]
    assert await shop.available(shelf) == 14


async def test_refusals(stack: Stack, inventory: Client, shop: Shop, line: dict[str, Any]) -> None:
    shelf = await shop.shelf(10)
    made = (await inventory.ok("POST", "/admin/reservations", wanted(shelf, 3)))["reservation"]
    for body, status in (
        (wanted(shelf, 1, location_id="sloc_missing"), 404),
        (wanted(shelf, 1, inventory_item_id="iitem_missing"), 404),
        (wanted(shelf, 1, line_item_id="item_missing"), 404),
        (wanted(shelf, 1, colour="red"), 400),
        (wanted(shelf, 1, metadata=[]), 400),
        *((wanted(shelf, quantity), 400) for quantity in (None, "two", 0, -1, 1.5, 2**31, True)),
        ({"location_id": shelf.locations[0], "inventory_item_id": shelf.item}, 400),
    ):
        assert (await inventory.post("/admin/reservations", body))[0] == status, body
    path = f"/admin/reservations/{made['id']}"
    for body, status in (
        ({"location_id": "sloc_missing"}, 404),
        ({"location_id": None}, 400),
        ({"quantity": None}, 400),
        ({"quantity": 0}, 400),
        ({"line_item_id": "x"}, 400),
        ({"inventory_item_id": "x"}, 400),
    ):
        assert (await inventory.post(path, body))[0] == status, body
    assert (await inventory.post("/admin/reservations/resitem_missing", {"quantity": 1}))[0] == 404
    assert (await inventory.get("/admin/reservations/resitem_missing"))[0] == 404
    assert (await inventory.ok("GET", path))["reservation"] == made
    assert await shop.levels(shelf) == [(10, 3)]


async def test_list(inventory: Client, shop: Shop, uid: str) -> None:
    shelf = await shop.shelf(10, 4)
    bodies = (
        wanted(shelf, 1, description=f"Shop window {uid}"),
        wanted(shelf, 2, at=1, description=f"Photo shoot {uid}"),
        wanted(shelf, 4),
    )
    ids = [(await inventory.ok("POST", "/admin/reservations", body))["reservation"]["id"] for body in bodies]

    async def found(*query: tuple[str, str]) -> list[int]:
        pairs = [("inventory_item_id[]", shelf.item), *query]
        rows = (await inventory.ok("GET", "/admin/reservations", query=pairs))["reservations"]
        return [ids.index(row["id"]) for row in rows]

    assert await found() == [2, 1, 0]
    assert await found(("order", "quantity"), ("limit", "2"), ("offset", "1")) == [1, 2]
    assert await found(("location_id[]", shelf.locations[0]), ("order", "-quantity")) == [2, 0]
    assert await found(("location_id", shelf.locations[1])) == [1]
    assert await found(("quantity[gt]", "1"), ("quantity[lt]", "4")) == [1]
    assert await found(("description", f"Shop window {uid}")) == [0]
    assert await found(("description[contains]", f"SHOOT {uid}")) == [1]
    assert await found(("description[contains]", "_")) == []
    assert await found(("description[starts_with]", "shop")) == [0]
    assert await found(("description[ends_with]", uid)) == [1, 0]
    assert await found(("created_by[]", "usr_test"), ("created_at[gt]", "2020-01-01")) == [2, 1, 0]
    assert await found(("created_at[lt]", "2020-01-01")) == []
    assert await found(("line_item_id[]", "item_missing")) == []
    query = [("inventory_item_id[]", shelf.item), ("limit", "1"), ("expand", "inventory_item")]
    page = await inventory.ok("GET", "/admin/reservations", query=query)
    assert (page["count"], page["limit"], page["offset"]) == (3, 1, 0)
    [row] = page["reservations"]
    assert set(row) == {
        "id", "created_at", "updated_at", "line_item_id", "inventory_item_id", "location_id", "quantity", "description",
        "metadata", "inventory_item",
    }  # fmt: skip
    assert (row["inventory_item"]["id"], row["inventory_item"]["deleted_at"]) == (shelf.item, None)
    page = await inventory.ok("GET", "/admin/reservations", query=[*query, ("fields", "quantity")])
    assert set(page["reservations"][0]) == {"id", "created_at", "quantity"}
    for refused in (
        {"colour": "red"}, {"created_by": "x"}, {"inventory_item_id": "x"}, {"line_item_id": "x"}, {"quantity": "2"},
        {"description[near]": "x"}, {"description[]": "x"}, {"expand": "order"}, {"fields": "colour"},
        {"order": "colour"}, {"limit": "x"},
    ):  # fmt: skip
        assert (await inventory.get("/admin/reservations", refused))[0] == 400, refused


async def test_no_more_than_the_line_needs(inventory: Client, shop: Shop, line: dict[str, Any]) -> None:
    shelf = line["shelf"]
    first = await inventory.ok("POST", "/admin/reservations", wanted(shelf, 3, line_item_id=line["id"]))
    status, answer = await inventory.post("/admin/reservations", wanted(shelf, 3, at=1, line_item_id=line["id"]))
    assert (status, answer["type"]) == (400, "invalid_data")
    await inventory.ok("POST", "/admin/reservations", wanted(shelf, 2, at=1, line_item_id=line["id"]))
    path = f"/admin/reservations/{first['reservation']['id']}"
    assert (await inventory.post(path, {"quantity": 4}))[0] == 400
    assert await shop.levels(shelf) == [(10, 3), (4, 2)]
    await inventory.ok("POST", path, {"quantity": 2})
    await inventory.ok("POST", path, {"quantity": 3})
    assert await shop.levels(shelf) == [(10, 3), (4, 2)]


async def test_no_more_than_the_line_needs_at_once(inventory: Client, shop: Shop, line: dict[str, Any]) -> None:
    shelf = line["shelf"]
    bodies = [wanted(shelf, 2, at=n % 2, line_item_id=line["id"]) for n in range(12)]
    answers = await asyncio.gather(*(inventory.post("/admin/reservations", body) for body in bodies))
    assert sorted(status for status, _ in answers) == [200] * 2 + [400] * 10
    assert sum(reserved for _, reserved in await shop.levels(shelf)) == 4


async def test_lines_are_shown_with_their_order(inventory: Client, line: dict[str, Any]) -> None:
    await inventory.ok("POST", "/admin/reservations", wanted(line["shelf"], 2, line_item_id=line["id"]))
    query = [("line_item_id[]", line["id"]), ("expand", "line_item,inventory_item")]
    [row] = (await inventory.ok("GET", "/admin/reservations", query=query))["reservations"]
    assert (row["line_item"]["id"], row["line_item"]["quantity"]) == (line["id"], 5)
    assert row["line_item"]["order"]["id"] == line["order"]
    # One that is for no line says nothing of it.
    await inventory.ok("POST", "/admin/reservations", wanted(line["shelf"], 1))
    query = [("inventory_item_id[]", line["shelf"].item), ("expand", "line_item")]
    rows = (await inventory.ok("GET", "/admin/reservations", query=query))["reservations"]
    assert [(row["quantity"], "line_item" in row) for row in rows] == [(1, False), (2, True)]


async def test_nothing_for_a_canceled_order(
    inventory: Client, orders: Client, shop: Shop, line: dict[str, Any]
) -> None:
    body = wanted(line["shelf"], 2, line_item_id=line["id"])
    await inventory.ok("POST", "/admin/reservations", body)
    await orders.ok("POST", f"/admin/orders/{line['order']}/cancel")
    status, answer = await inventory.post("/admin/reservations", body)
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shop.levels(line["shelf"]) == [(10, 0), (4, 0)]


async def test_versions_are_forgotten(stack: Stack, ask: Ask) -> None:
    """After a day. Nobody remembers what they asked before."""
    old, new = new_id("item"), new_id("item")
    await ask("release", {"line_item_ids": [old, new]})
    pool = stack.pool("inventory")
    await pool.execute("update line_versions set changed_at = now() - interval '25 hours' where line_item_id = $1", old)
    await forget_versions(pool)
    found = {id_: (await ask("line_version", {"line_item_id": id_}))["version"] for id_ in (old, new)}
    assert found[old] is None
    assert found[new]


async def test_sent_twice_is_done_once(inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(10)
    headers = {"Idempotency-Key": new_id("key")}
    answers = await asyncio.gather(
        *(inventory.post("/admin/reservations", wanted(shelf, 2), headers=headers) for _ in range(6))
    )
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 200
    assert (await inventory.post("/admin/reservations", wanted(shelf, 3), headers=headers))[0] == 409
    assert await shop.levels(shelf) == [(10, 2)]


async def test_changes_at_once_balance(inventory: Client, shop: Shop, ask: Ask) -> None:
    """Moving and resizing the same reservations, and closing one of their locations meanwhile."""
    shelf = await shop.shelf(10, 10)
    bodies = [wanted(shelf, 1 + n, at=n % 2) for n in range(4)]
    ids = [(await inventory.ok("POST", "/admin/reservations", body))["reservation"]["id"] for body in bodies]
    changes = [{"location_id": shelf.locations[n % 2], "quantity": 1 + n % 5} for n in range(24)]
    answers = await asyncio.gather(
        *(inventory.post(f"/admin/reservations/{ids[n % 4]}", body) for n, body in enumerate(changes)),
        inventory.delete(f"/admin/stock-locations/{shelf.locations[1]}"),
        *(inventory.delete(f"/admin/reservations/{ids[0]}") for _ in range(2)),
    )
    assert {status for status, _ in answers} <= {200, 404}
