"""What products, variants, options and prices lead to when `expand` asks for it, there and back."""

from typing import Any

from tests.support.client import Client
from tests.support.factories.products import make, one, shirt, variant
from tests.support.factories.regions import make_region
from tests.support.stack import Stack
from tests.support.waiting import until


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row's own columns."""
    return {name: value for name, value in row.items() if not isinstance(value, list | dict) and name != "purchasable"}


async def expanded(catalog: Client, product_id: str, paths: str) -> dict[str, Any]:
    """The product, which the list shows as the operation for one does."""
    product = (await catalog.ok("GET", f"/admin/products/{product_id}", query={"expand": paths}))["product"]
    listed = await catalog.ok("GET", "/admin/products", query={"id": product_id, "expand": paths})
    assert listed["products"] == [product]
    return dict(product)


async def test_the_way_back_from_options_and_values(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    plain_product = plain(await expanded(catalog, product["id"], ""))
    related = await expanded(catalog, product["id"], "options.product.options,options.values.variant.product")
    options = await expanded(catalog, product["id"], "options,variants")
    for option, bare in zip(related["options"], options["options"], strict=True):
        assert option["product"] == plain_product | {"options": options["options"]}
        assert plain(option) == plain(bare)
        for value in option["values"]:
            (of,) = (v for v in options["variants"] if v["id"] == value["variant_id"])
            shown = {name: part for name, part in of.items() if name != "purchasable"}
            assert value["variant"] | {"inventory_quantity": 0} == shown | {
                "inventory_quantity": 0,
                "product": plain_product,
            }
    (first, *_) = (await expanded(catalog, product["id"], "variants.options.option.values"))["variants"]
    assert [value["option"]["title"] for value in first["options"]] == [o["title"] for o in options["options"]]
    assert all(value["id"] in {v["id"] for v in value["option"]["values"]} for value in first["options"])
    path = f"/admin/products/{product['id']}/variants"
    shown = (await catalog.ok("GET", path, query={"expand": "options.option,product.options"}))["variants"]
    assert {value["option"]["product_id"] for v in shown for value in v["options"]} == {product["id"]}
    assert all(v["product"] == plain_product | {"options": options["options"]} for v in shown)


async def test_where_prices_hold(catalog: Client, uid: str) -> None:
    region = await make_region(catalog, name=f"EU {uid}")
    usd, here = {"currency_code": "usd", "amount": 100}, {"region_id": region["id"], "amount": 200}
    product = await make(catalog, shirt(uid, variants=[variant("A", "a", prices=[usd, here])]))
    (a,) = product["variants"]
    paths = "variants.prices.currency,variants.prices.region.countries,variants.prices.price_list"
    prices = {p["amount"]: p for p in (await expanded(catalog, product["id"], paths))["variants"][0]["prices"]}
    assert prices[100]["currency"] == {
        "code": "usd",
        "symbol": "$",
        "symbol_native": "$",
        "name": "US Dollar",
        "includes_tax": False,
    }
    assert (prices[100]["region"], prices[100]["price_list"]) == (None, None)
    assert prices[200]["currency"]["code"] == region["currency_code"] == prices[200]["currency_code"]
    assert prices[200]["region"]["name"] == f"EU {uid}"
    assert {c["iso_2"] for c in prices[200]["region"]["countries"]} == {c["iso_2"] for c in region["countries"]}
    # Complete prices are what they are: what is asked for below them is accepted and not shown.
    for paths in ("variants,variants.prices", "variants,variants.prices,variants.prices.currency"):
        (shown,) = (await expanded(catalog, product["id"], paths))["variants"]
        assert (
            shown["prices"]
            == (await expanded(catalog, product["id"], "variants,variants.prices"))["variants"][0]["prices"]
        )
        assert not {"currency", "region"} & shown["prices"][0].keys()
    listed = {}
    for paths in ("prices", "prices.currency"):
        listed[paths] = await catalog.ok("GET", "/admin/variants", query={"id": a["id"], "expand": paths})
        one_ = await catalog.ok("GET", f"/admin/variants/{a['id']}", query={"expand": paths})
        assert one_["variant"]["prices"] == listed[paths]["variants"][0]["prices"]
    assert listed["prices"] == listed["prices.currency"]


async def test_prices_as_they_are_include_those_of_lists(catalog: Client, uid: str) -> None:
    product = await make(
        catalog, shirt(uid, variants=[variant("A", "a", prices=[{"currency_code": "usd", "amount": 100}])])
    )
    (a,) = product["variants"]
    price = {"currency_code": "usd", "amount": 50, "variant_id": a["id"]}
    body = {"name": f"Sale {uid}", "description": "All", "type": "sale", "prices": [price]}
    of = (await catalog.ok("POST", "/admin/price-lists", body))["price_list"]
    (shown,) = (await expanded(catalog, product["id"], "variants.prices.price_list"))["variants"]
    assert [(p["amount"], p["price_list"] and p["price_list"]["id"]) for p in shown["prices"]] == [
        (100, None),
        (50, of["id"]),
    ]
    for query in ({}, {"expand": "prices"}):
        (shown,) = (await catalog.ok("GET", f"/admin/products/{product['id']}/variants", query=query))["variants"]
        assert [p["amount"] for p in shown["prices"]] == [100, 50]
    # The complete ones are the variant's own.
    assert [p["amount"] for p in (await one(catalog, product["id"]))["variants"][0]["prices"]] == [100]


async def test_categories_and_channels(catalog: Client, uid: str) -> None:
    parent = (await catalog.ok("POST", "/admin/product-categories", {"name": f"Out {uid}"}))["product_category"]
    body = {"name": f"In {uid}", "parent_category_id": parent["id"]}
    child = (await catalog.ok("POST", "/admin/product-categories", body))["product_category"]
    product = await make(catalog, shirt(uid, categories=[{"id": parent["id"]}, {"id": child["id"]}]))
    paths = "categories.parent_category,categories.category_children,categories.products,sales_channels.locations"
    shown = await expanded(catalog, product["id"], paths)
    of = {category["id"]: category for category in shown["categories"]}
    assert (of[parent["id"]]["parent_category"], of[child["id"]]["category_children"]) == (None, [])
    assert of[child["id"]]["parent_category"] == {
        name: value for name, value in plain(of[parent["id"]]).items() if name != "parent_category"
    }
    assert of[parent["id"]]["category_children"] == [plain(of[child["id"]])]
    assert [p["id"] for p in of[child["id"]]["products"]] == [product["id"]]
    assert [channel["locations"] for channel in shown["sales_channels"]] == [[]]


async def test_the_item_that_counts_a_variant(stack: Stack, api: Client, catalog: Client, uid: str) -> None:
    counted, free = (
        variant("Counted", "c", sku=f"C-{uid}", manage_inventory=True),
        variant("Free", "f", manage_inventory=False),
    )
    product = await make(api, shirt(uid, variants=[counted, free]))
    c, f = product["variants"]

    async def links() -> list[Any]:
        shown = (await expanded(catalog, product["id"], "variants.inventory_items"))["variants"]
        for v in shown:
            listed = (await catalog.ok("GET", "/admin/variants", query={"id": v["id"], "expand": "inventory_items"}))[
                "variants"
            ]
            assert listed[0]["inventory_items"] == v["inventory_items"]
        return [v["inventory_items"] for v in shown]

    # The inventory has answered before the client has.
    (item,) = (await api.ok("GET", "/admin/inventory-items", query={"sku": c["sku"]}))["inventory_items"]
    link = {
        "id": item["id"].replace("iitem_", "pvitem_"),
        "inventory_item_id": item["id"],
        "variant_id": c["id"],
        "required_quantity": 1,
        "created_at": item["created_at"],
        "updated_at": item["created_at"],
        "deleted_at": None,
    }
    assert await links() == [[link], []]
    (shown,) = (await expanded(catalog, product["id"], "variants.inventory_items.variant"))["variants"][0][
        "inventory_items"
    ]
    assert shown["variant"]["id"] == c["id"]
    assert "inventory_items" not in (await one(catalog, product["id"]))["variants"][0]
    # An item that is made by hand, and one that is gone.
    other = await api.ok("POST", "/admin/inventory-items", {"variant_id": f["id"]})
    assert [row[0]["inventory_item_id"] for row in await links()] == [item["id"], other["inventory_item"]["id"]]
    await api.ok("DELETE", f"/admin/inventory-items/{item['id']}")
    assert [len(row) for row in await links()] == [0, 1]
    # What the event says again later changes nothing.
    async with stack.pool("inventory").acquire() as db:
        await until(lambda: db.fetchval("select not exists (select from outbox)"))
    assert [len(row) for row in await links()] == [0, 1]


async def test_variants_made_together_come_as_they_were_given(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    path = f"/admin/products/{product['id']}/variants"
    for n, title in enumerate(("Small", "Large")):
        (shown,) = (await catalog.ok("GET", path, query={"limit": "1", "offset": str(n)}))["variants"]
        assert shown["title"] == title


async def test_relations_that_are_not_there(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    for paths in (
        "options.variants",
        "variants.prices.currency.region",
        "tags.products",
        "variants.inventory_items.item",
    ):
        status, answer = await catalog.get(f"/admin/products/{product['id']}", {"expand": paths})
        assert (status, answer["type"]) == (400, "invalid_data")
