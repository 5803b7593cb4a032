"""Inventory items."""

import asyncio
from typing import Any

from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shop
from tests.support.stack import Stack
from tests.support.waiting import until

FACTS = {
    "hs_code": "5701",
    "weight": 4,
    "length": 5,
    "height": 6,
    "width": 7,
    "origin_country": "fr",
    "mid_code": "M2",
    "material": "wool",
}


async def test_a_managed_variant_gets_an_item(inventory: Client, shop: Shop, uid: str) -> None:
    variant_id, _ = await shop.variant(sku=f"VASE-{uid}", inventory_quantity=7, **FACTS)
    item_id = await shop.item(variant_id)
    item = (await inventory.ok("GET", f"/admin/inventory-items/{item_id}"))["inventory_item"]
    assert (
        item
        == {
            "id": item_id,
            "created_at": item["created_at"],
            "updated_at": item["created_at"],
            "sku": f"VASE-{uid}",
            "requires_shipping": True,
            "title": None,
            "description": None,
            "thumbnail": None,
            "metadata": None,
            "location_levels": [],
            "stocked_quantity": 0,
            "reserved_quantity": 0,
        }
        | FACTS
    )


async def test_ensure_items_makes_each_once(stack: Stack, shop: Shop, ask: Ask, uid: str) -> None:
    variants = [
        {"id": f"variant_{uid}_{n}", "product_id": "prod_x", "manage_inventory": n != 2, "allow_backorder": False}
        | {"sku": f"E-{uid}-{min(n, 3)}", "title": "x", "product_title": "x"}
        for n in range(5)
    ]
    await asyncio.gather(*(ask("ensure_items", {"variants": variants[::step]}) for step in (1, -1, 1, -1)))
    rows = await stack.pool("inventory").fetch(
        "select v.variant_id, i.sku from variant_items v join inventory_items i on i.id = v.inventory_item_id "
        "where v.variant_id like $1 order by 1",
        f"variant_{uid}_%",
    )
    skus = {row["variant_id"][-1]: row["sku"] for row in rows}
    # Of two with one sku, one has it: the variants are there already, so neither can be refused.
    assert sorted(skus) == ["0", "1", "3", "4"]
    assert sorted(str(sku) for sku in skus.values()) == [f"E-{uid}-0", f"E-{uid}-1", f"E-{uid}-3", "None"]


async def test_create(inventory: Client, shop: Shop, uid: str) -> None:
    variant_id, _ = await shop.variant(manage_inventory=False)
    said = {"title": "Rug", "description": "Woven", "thumbnail": "https://example.com/r.png", "metadata": {"aisle": 4}}
    body = {"variant_id": variant_id, "sku": f"RUG-{uid}"} | FACTS | said
    query = {"fields": "title,nothing", "expand": "location_levels"}  # neither matters
    item = (await inventory.request("POST", "/admin/inventory-items", body, query=query))[1]["inventory_item"]
    assert (
        item
        == {
            "id": item["id"],
            "created_at": item["created_at"],
            "updated_at": item["created_at"],
            "deleted_at": None,
            "sku": f"RUG-{uid}",
            "requires_shipping": True,
            "title": None,
            "description": None,
            "thumbnail": None,
            "metadata": None,
        }
        | FACTS
    )
    assert await shop.item(variant_id) == item["id"]


async def test_create_refused(stack: Stack, inventory: Client, shop: Shop, uid: str) -> None:
    taken, free = (await shop.variant(sku=f"A-{uid}"))[0], (await shop.variant(manage_inventory=False))[0]
    await shop.item(taken)
    before = await stack.pool("inventory").fetchval("select count(*) from inventory_items")
    for body, status, kind in (
        ({"sku": f"B-{uid}"}, 400, "not_allowed"),
        ({"variant_id": "", "sku": f"B-{uid}"}, 400, "not_allowed"),
        ({"variant_id": taken, "sku": f"B-{uid}"}, 400, "not_allowed"),
        ({"variant_id": free, "sku": f"A-{uid}"}, 422, "duplicate_error"),
        ({"variant_id": "variant_missing", "sku": f"B-{uid}"}, 404, "not_found"),
        ({"variant_id": free, "weight": "heavy"}, 400, "invalid_data"),
        ({"variant_id": free, "weight": 2**31}, 400, "invalid_data"),
        ({"variant_id": free, "weight": 1.5}, 400, "invalid_data"),
        ({"variant_id": free, "requires_shipping": False}, 400, "invalid_data"),
        ({"variant_id": free, "colour": "red"}, 400, "invalid_data"),
    ):
        answer = await inventory.post("/admin/inventory-items", body)
        assert (answer[0], answer[1]["type"]) == (status, kind), body
    assert await stack.pool("inventory").fetchval("select count(*) from inventory_items") == before


async def test_two_items_for_one_variant_at_once(inventory: Client, shop: Shop, uid: str) -> None:
    variant_id, _ = await shop.variant(manage_inventory=False)
    bodies = [{"variant_id": variant_id, "sku": f"P-{uid}-{n}"} for n in range(8)]
    answers = await asyncio.gather(*(inventory.post("/admin/inventory-items", body) for body in bodies))
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    listed = await inventory.ok("GET", "/admin/inventory-items", query={"q": f"P-{uid}"})
    assert listed["count"] == 1


async def test_update(inventory: Client, shop: Shop, uid: str) -> None:
    item_id = await shop.item((await shop.variant(sku=f"C-{uid}"))[0])
    other = await shop.item((await shop.variant(sku=f"D-{uid}"))[0])
    path = f"/admin/inventory-items/{item_id}"
    said = {"title": "Carpet", "description": "Knotted", "thumbnail": "https://example.com/c.png", "sku": f"E-{uid}"}
    changes = FACTS | said | {"requires_shipping": False}
    item = (await inventory.ok("POST", path, changes))["inventory_item"]
    assert (
        item
        == {
            "id": item_id,
            "created_at": item["created_at"],
            "updated_at": item["updated_at"],
            "metadata": None,
        }
        | changes
    )
    status, short = await inventory.request("POST", path, {"title": "Kilim"}, query={"fields": "title", "expand": ""})
    assert (status, short) == (200, {"inventory_item": {"id": item_id, "title": "Kilim"}})
    cleared = (await inventory.ok("POST", path, {"title": None, "weight": None}))["inventory_item"]
    assert (cleared["title"], cleared["weight"], cleared["length"]) == (None, None, 5)
    status, answer = await inventory.post(f"/admin/inventory-items/{other}", {"sku": f"E-{uid}"})
    assert (status, answer["type"], answer["code"]) == (422, "duplicate_error", "invalid_request_error")
    refused: list[dict[str, Any]] = [{"colour": 1}, {"requires_shipping": "no"}, {"requires_shipping": None}]
    for body in [*refused, {"metadata": {}}, {"weight": "heavy"}]:
        assert (await inventory.post(path, body))[0] == 400, body
    assert (await inventory.post("/admin/inventory-items/iitem_missing", {"title": "Gone"}))[0] == 404
    assert (await inventory.ok("GET", path, query={"fields": "sku"}))["inventory_item"] == {
        "id": item_id,
        "sku": f"E-{uid}",
        "location_levels": [],
        "stocked_quantity": 0,
        "reserved_quantity": 0,
    }


async def test_unknown_names_are_refused(inventory: Client, shop: Shop) -> None:
    path = f"/admin/inventory-items/{await shop.item((await shop.variant())[0])}"
    for query in ({"expand": "location_levels"}, {"fields": "colour"}, {"colour": "red"}):
        assert (await inventory.get(path, query))[0] == 400, query
    for query in (
        {"expand": "variants,nothing"}, {"fields": "colour"}, {"colour": "red"}, {"offset": "far"}, {"weight": "heavy"},
        {"weight[gt]": "heavy"}, {"weight[near]": "1"}, {"hs_code[near]": "1"}, {"sku[contains]": "1"},
        {"location_id[gt]": "1"}, {"order": "stocked_quantity"},
    ):  # fmt: skip
        assert (await inventory.get("/admin/inventory-items", query))[0] == 400, query


async def test_list(inventory: Client, shop: Shop, uid: str) -> None:
    facts: dict[str, Any] = {"mid_code": f"MID-{uid}", "weight": 100, "length": 11, "material": "clay"}
    first = await shop.shelf(5, 7, sku=f"BOWL_A-{uid}", hs_code=f"H-{uid}-1", **facts)
    second = await shop.shelf(3, sku=f"BOWL-B-{uid}", hs_code=f"H-{uid}-2", **facts | {"weight": 300})
    changes = {"title": f"Basin {uid}", "requires_shipping": False}
    await inventory.ok("POST", f"/admin/inventory-items/{second.item}", changes)
    ours = ("mid_code", f"MID-{uid}")

    async def found(*query: tuple[str, str]) -> list[str]:
        rows = (await inventory.ok("GET", "/admin/inventory-items", query=[ours, *query]))["inventory_items"]
        return ["AB"[row["id"] == second.item] for row in rows]

    assert await found() == ["B", "A"]
    assert await found(("order", "sku")) == ["B", "A"]
    assert await found(("order", "-sku"), ("limit", "1")) == ["A"]
    assert await found(("q", "bowl_")) == ["A"]
    assert await found(("q", f"basin {uid}")) == ["B"]
    nameless = await shop.shelf(1, sku=None, mid_code=f"BARE-{uid}")
    query = {"mid_code": f"BARE-{uid}", "q": ""}
    bare = (await inventory.ok("GET", "/admin/inventory-items", query=query))["inventory_items"]
    assert [row["id"] for row in bare] == [nameless.item]
    assert await found(("id", first.item)) == ["A"]
    assert await found(("sku[]", f"BOWL_A-{uid}"), ("sku[]", "other")) == ["A"]
    assert await found(("hs_code", f"H-{uid}-1")) == ["A"]
    assert await found(("hs_code[contains]", f"{uid}-2")) == ["B"]
    assert await found(("hs_code[starts_with]", "H-"), ("hs_code[ends_with]", "-1")) == ["A"]
    assert await found(("hs_code[contains]", "%")) == []
    assert await found(("weight", "300")) == ["B"]
    assert await found(("weight[gt]", "99.5"), ("length[lte]", "11"), ("weight[lt]", "300")) == ["A"]
    assert await found(("requires_shipping", "true")) == ["A"]
    assert await found(("requires_shipping", "perhaps")) == ["B"]
    assert await found(("material[]", "clay"), ("material[]", "wood"), ("origin_country", "de")) == []
    assert await found(("location_id", second.locations[0])) == ["B"]
    there = [ours, ("location_id[]", first.locations[1]), ("fields", "sku")]
    [row] = (await inventory.ok("GET", "/admin/inventory-items", query=there))["inventory_items"]
    assert {name: row[name] for name in ("id", "sku", "stocked_quantity", "reserved_quantity")} == {
        "id": first.item,
        "sku": f"BOWL_A-{uid}",
        "stocked_quantity": 7,
        "reserved_quantity": 0,
    }
    assert [level["location_id"] for level in row["location_levels"]] == [first.locations[1]]
    assert set(row) == {
        "id", "created_at", "sku", "stocked_quantity", "reserved_quantity", "location_levels", "variants",
    }  # fmt: skip


async def test_list_shows_variants_as_the_catalog_has_them(catalog: Client, inventory: Client, shop: Shop) -> None:
    variant_id, product_id = await shop.variant(inventory_quantity=7)
    item_id = await shop.item(variant_id)

    async def shown() -> Any:
        rows = (await inventory.ok("GET", "/admin/inventory-items", query={"id": item_id}))["inventory_items"]
        return rows[0]["variants"]

    [variant] = await shown()
    assert (variant["id"], variant["inventory_quantity"]) == (variant_id, 7)
    assert variant["product"]["id"] == product_id
    assert "variants" not in variant["product"]
    await catalog.ok("POST", f"/admin/products/{product_id}", {"subtitle": "Standing"})

    async def changed() -> bool:
        return bool((await shown())[0]["product"]["subtitle"] == "Standing")

    await until(changed)


async def test_list_is_one_statement(stack: Stack, inventory: Client, shop: Shop) -> None:
    shelf = await shop.shelf(1)
    await inventory.ok("GET", "/admin/inventory-items", query={"id": shelf.item})
    with stack.statements("inventory") as seen:
        await inventory.ok("GET", "/admin/inventory-items", query={"id": shelf.item})
    assert len([text for text in seen if "from inventory_items t0" in text]) == 1


async def test_delete(inventory: Client, shop: Shop, ask: Ask) -> None:
    shelf = await shop.shelf(5)
    await ask("reserve", shelf.order(2))
    path = f"/admin/inventory-items/{shelf.item}"
    for _ in range(2):
        deleted = {"id": shelf.item, "object": "inventory_item", "deleted": True}
        assert await inventory.ok("DELETE", path) == deleted
    assert (await inventory.get(path))[0] == 404
    assert await inventory.ok("GET", f"/admin/variants/{shelf.variant}/inventory") == {
        "variant": {"id": shelf.variant, "inventory": [], "sales_channel_availability": []}
    }
    assert await shop.available(shelf) is None
    again = await inventory.ok("POST", "/admin/inventory-items", {"variant_id": shelf.variant})
    assert again["inventory_item"]["id"] != shelf.item
    assert await shop.available(shelf) == 0
