"""What is heard from the catalog, and what is said about availability."""

from typing import Any

import pytest

from services.chassis.consumers import Event
from services.chassis.errors import ApiError
from services.inventory import listeners
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shop
from tests.support.stack import Stack
from tests.support.waiting import until


def event(name: str, data: dict[str, Any], sequence: int = 1) -> Event:
    return Event(id="x", name=name, aggregate=data["id"], sequence=sequence, time="", data=data)


async def test_a_lost_ensure_items_is_made_good(stack: Stack, inventory: Client, ask: Ask, uid: str) -> None:
    """The event alone makes the item, once, and brings what lists show."""
    variant_id, product_id = f"variant_{uid}", f"prod_{uid}"
    body = {"id": variant_id, "product_id": product_id, "sku": f"L-{uid}", "manage_inventory": True}
    facts = body | {"allow_backorder": False, "title": "x", "product_title": "y"}
    data = {
        "id": product_id,
        "variants": [facts],
        "copies": {
            "variant": [{"id": variant_id, "body": body | {"deleted_at": None}, "related": {}}],
            "product": [{"id": product_id, "body": {"id": product_id, "title": "y"}, "related": {}}],
        },
    }
    for _ in range(2):
        async with stack.pool("inventory").acquire() as db, db.transaction():
            await listeners.LISTENERS["product.created"](db, event("product.created", data))
    listed = await inventory.ok("GET", "/admin/inventory-items", query={"sku": f"L-{uid}"})
    [item] = listed["inventory_items"]
    shown = body | {"deleted_at": None, "product": {"id": product_id, "title": "y"}}
    assert item["variants"] == [shown]


async def test_variants_that_have_not_been_heard_of_are_fetched(stack: Stack, shop: Shop, inventory: Client) -> None:
    variant_id, product_id = await shop.variant()
    item_id = await shop.item(variant_id)

    async def heard() -> Any:
        kept = "select count(*) from copies where id = any($1)"
        return await stack.pool("inventory").fetchval(kept, [variant_id, product_id]) == 2

    await until(heard)
    await stack.pool("inventory").execute("delete from copies where id = any($1)", [variant_id, product_id])
    listed = await inventory.ok("GET", "/admin/inventory-items", query={"id": item_id})
    [variant] = listed["inventory_items"][0]["variants"]
    assert (variant["id"], variant["product"]["id"]) == (variant_id, product_id)


async def test_deleted_variants_are_not_shown(catalog: Client, inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(3)
    await catalog.ok("DELETE", f"/admin/products/{shelf.product}")

    async def gone() -> bool:
        listed = await inventory.ok("GET", "/admin/inventory-items", query={"id": shelf.item})
        return bool(listed["inventory_items"][0]["variants"] == [])

    await until(gone)
    assert (await inventory.get(f"/admin/variants/{shelf.variant}/inventory"))[0] == 404
    assert (await inventory.get(f"/admin/inventory-items/{shelf.item}"))[0] == 200


async def test_variant_inventory(inventory: Client, shop: Shop) -> None:
    shelf, elsewhere = await shop.shelf(3, 4), await shop.channel()
    unstocked = await shop.channel()
    await shop.link(unstocked, await shop.location())
    item = (await inventory.ok("GET", f"/admin/inventory-items/{shelf.item}"))["inventory_item"]
    shown = (await inventory.ok("GET", f"/admin/variants/{shelf.variant}/inventory"))["variant"]
    assert (shown["id"], shown["inventory"]) == (shelf.variant, [item | {"deleted_at": None}])
    by_channel = {row["channel_id"]: row["available_quantity"] for row in shown["sales_channel_availability"]}
    wanted = {shelf.channel: 7, unstocked: None, elsewhere: 0}
    assert {channel: by_channel[channel] for channel in wanted} == wanted
    unmanaged, _ = await shop.variant(manage_inventory=False)
    assert await inventory.ok("GET", f"/admin/variants/{unmanaged}/inventory") == {
        "variant": {"id": unmanaged, "inventory": [], "sales_channel_availability": []}
    }
    assert (await inventory.get("/admin/variants/variant_missing/inventory"))[0] == 404


async def test_newer_availability_has_the_higher_number(stack: Stack, shop: Shop, ask: Ask) -> None:
    """Events can overtake each other; their numbers tell which of two is to be believed."""
    shelf = await shop.shelf(3)
    before = await stack.pool("inventory").fetchval("select last_value from availability_sequence")
    await ask("reserve", shelf.order(1))
    row = await stack.pool("catalog").fetchrow(
        "select available, sequence from variant_availability where variant_id = $1", shelf.variant
    )

    async def told() -> Any:
        row = await stack.pool("catalog").fetchrow(
            "select available, sequence from variant_availability where variant_id = $1", shelf.variant
        )
        return row["sequence"] > before and row["available"] == 2

    await until(told)
    assert row["sequence"] >= 1


async def test_unknown_command(ask: Ask) -> None:
    with pytest.raises(ApiError) as refused:
        await ask("colour", {})
    assert refused.value.status == 400


async def test_what_the_catalog_changed_is_shown_at_once(catalog: Client, inventory: Client, shop: Shop) -> None:
    """It was told before the catalog answered; the event says the same later."""
    variant_id, product_id = await shop.variant()
    item_id, path = await shop.item(variant_id), f"/admin/products/{product_id}"

    async def shown() -> list[tuple[str, str]]:
        rows = (await inventory.ok("GET", "/admin/inventory-items", query={"id": item_id}))["inventory_items"]
        return [(variant["title"], variant["product"]["title"]) for variant in rows[0]["variants"]]

    for n in range(5):
        await catalog.ok("POST", path, {"title": f"Product {n}"})
        await catalog.ok("POST", f"{path}/variants/{variant_id}", {"title": f"Variant {n}"})
        assert await shown() == [(f"Variant {n}", f"Product {n}")]
    await catalog.ok("DELETE", f"{path}/variants/{variant_id}")
    assert await shown() == []
