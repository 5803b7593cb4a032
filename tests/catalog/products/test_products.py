"""Products: created whole or not at all, changed, found, deleted."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import ids, make, one, shirt, variant
from tests.support.stack import Stack
from tests.support.waiting import until


async def test_a_product_is_created_with_everything(catalog: Client, uid: str) -> None:
    collection = (await catalog.ok("POST", "/admin/collections", {"title": f"Summer {uid}"}))["collection"]
    category = (await catalog.ok("POST", "/admin/product-categories", {"name": f"Tops {uid}"}))["product_category"]
    channel = (await catalog.ok("POST", "/admin/sales-channels", {"name": f"Web {uid}"}))["sales_channel"]
    product = await make(
        catalog,
        shirt(
            uid,
            collection_id=collection["id"],
            categories=[{"id": category["id"]}],
            sales_channels=[{"id": channel["id"]}],
            type={"value": f"Apparel {uid}"},
            tags=[{"value": f"linen {uid}"}, {"value": f"blue {uid}"}],
            images=["https://img.example.com/b.png", "https://img.example.com/a.png"],
            metadata={"season": "summer", "empty": ""},
            weight=400,
        ),
    )
    assert product["collection"] == {key: collection[key] for key in product["collection"]}
    assert [c["id"] for c in product["categories"]] == [category["id"]]
    assert product["sales_channels"] == [channel]
    assert product["type"]["value"] == f"Apparel {uid}"
    assert [tag["value"] for tag in product["tags"]] == [f"linen {uid}", f"blue {uid}"]
    assert [i["url"] for i in product["images"]] == ["https://img.example.com/b.png", "https://img.example.com/a.png"]
    assert product["thumbnail"] == "https://img.example.com/b.png"
    assert (product["metadata"], product["weight"]) == ({"season": "summer", "empty": ""}, 400)
    assert (product["status"], product["is_giftcard"], product["discountable"]) == ("draft", False, True)
    assert product["profile"]["type"] == "default"
    assert product["profiles"] == [product["profile"]]
    assert product["profile_id"] == product["profile"]["id"]
    small, large = product["variants"]
    assert (small["title"], small["variant_rank"], large["title"], large["variant_rank"]) == ("Small", 0, "Large", 1)
    assert [value["value"] for value in product["options"][0]["values"]] == ["S", "L"]
    assert small["options"] == product["options"][0]["values"][:1]
    assert [(p["currency_code"], p["amount"], p["variant_id"]) for p in small["prices"]] == [("eur", 1000, small["id"])]
    assert "purchasable" not in small
    shown = await one(catalog, product["id"])
    assert [v.pop("purchasable") for v in shown["variants"]] == [True, True]
    assert shown == product


async def test_defaults(catalog: Client, uid: str) -> None:
    store = (await catalog.ok("GET", "/admin/store"))["store"]
    product = await make(catalog, {"title": f"Crème 2XL {uid}", "sales_channels": []})
    assert product["handle"].startswith("creme-2-xl-")
    assert [c["id"] for c in product["sales_channels"]] == [store["default_sales_channel_id"]]
    empty = {key: product[key] for key in ("variants", "options", "tags", "images", "categories")}
    assert empty == {"variants": [], "options": [], "tags": [], "images": [], "categories": []}
    gift = await make(catalog, {"title": f"Gift {uid}", "is_giftcard": True, "discountable": True})
    assert (gift["discountable"], gift["profile"]["type"]) == (False, "gift_card")
    nameless = await make(catalog, {"title": "!!!"})
    assert nameless["handle"] == nameless["id"]


async def test_types_tags_and_images_are_found_again(catalog: Client, uid: str) -> None:
    body = {"type": {"value": f"Mug {uid}"}, "tags": [{"value": f"tea {uid}"}], "images": [f"https://x.test/{uid}"]}
    first = await make(catalog, {"title": f"A {uid}", **body})
    body["type"] = {"id": "anything", "value": f"Mug {uid}"}
    body["tags"] = [{"value": f"tea {uid}"}, {"value": f"tea {uid}"}]
    second = await make(catalog, {"title": f"B {uid}", **body})
    assert (second["type"], second["tags"], second["images"]) == (first["type"], first["tags"], first["images"])


BAD_PRICE = {"options": [{"title": "Size"}]}


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({"title": None}, 400, "invalid_data"),
        ({"title": ""}, 400, "invalid_data"),
        ({"status": "shipped"}, 400, "invalid_data"),
        ({"colour": "red"}, 400, "invalid_data"),
        ({"weight": "900"}, 400, "invalid_data"),
        ({"weight": 1.5}, 400, "invalid_data"),
        ({"weight": 2**31}, 400, "invalid_data"),
        ({"title": "a\0b"}, 400, "invalid_data"),
        ({"images": ["é" * 1001]}, 400, "invalid_data"),
        ({"collection_id": "pcol_missing"}, 404, "not_found"),
        ({"categories": [{"id": "pcat_missing"}]}, 404, "not_found"),
        ({"sales_channels": [{"id": "sc_missing"}]}, 400, None),
        ({"variants": [variant("S", "s", price=2**53)], **BAD_PRICE}, 400, "invalid_data"),
        ({"variants": [variant("S", "s", price=5.5)], **BAD_PRICE}, 400, "invalid_data"),  # type: ignore[arg-type]
        ({"variants": [variant("S", "s", prices=[{"amount": 5}])], **BAD_PRICE}, 400, "invalid_data"),
        (
            {"variants": [variant("S", "s", prices=[{"amount": 5, "currency_code": "eur", "region_id": "r"}])]}
            | BAD_PRICE,
            400,
            "invalid_data",
        ),
        (
            {"variants": [variant("S", "s", prices=[{"amount": 5, "currency_code": "xyz"}])], **BAD_PRICE},
            400,
            "invalid_data",
        ),
        (
            {"variants": [variant("S", "s", prices=[{"amount": 5, "region_id": "reg_missing"}])], **BAD_PRICE},
            400,
            "invalid_data",
        ),
        ({"variants": [variant("S")], **BAD_PRICE}, 400, "invalid_data"),
        ({"variants": [variant("S", "s", "t")], **BAD_PRICE}, 400, "invalid_data"),
        (
            {"variants": [variant("S", "s", sku="same"), variant("T", "t", sku="same")], **BAD_PRICE},
            400,
            "invalid_data",
        ),
    ],
)
async def test_refused_and_nothing_kept(
    stack: Stack, catalog: Client, uid: str, body: dict[str, Any], status: int, type_: str | None
) -> None:
    sent = {"title": f"A {uid}", "handle": f"a-{uid}", "type": {"value": f"Kind {uid}"}, **body}
    answer = await catalog.post("/admin/products", sent)
    assert (answer[0], answer[1].get("type")) == (status, type_)
    assert answer[1]["message"]
    assert await ids(catalog, handle=f"a-{uid}") == []
    assert not await stack.pool("catalog").fetchval("select true from product_types where value = $1", f"Kind {uid}")


async def test_unknown_channels_are_named(catalog: Client, uid: str) -> None:
    _, answer = await catalog.post("/admin/products", {"title": uid, "sales_channels": [{"id": "sc_missing"}]})
    assert answer.keys() == {"errors", "message"}
    assert answer["errors"] == ["Sales channels sc_missing do not exist"]


async def test_a_handle_is_taken_once(catalog: Client, uid: str) -> None:
    answers = await asyncio.gather(*(catalog.post("/admin/products", shirt(uid, variants=[])) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [422] * 7
    refused = next(body for status, body in answers if status == 422)
    assert (refused["type"], refused["code"]) == ("duplicate_error", "invalid_request_error")
    assert len(await ids(catalog, handle=f"shirt-{uid}")) == 1


async def test_writing_and_reading_take_a_handful_of_statements(stack: Stack, catalog: Client, uid: str) -> None:
    prices = [{"currency_code": code, "amount": 100} for code in ("eur", "usd", "dkk")]
    variants = [variant(f"V{n}", str(n), sku=f"{n}-{uid}", prices=prices) for n in range(100)]
    with statements(stack) as written:
        product = await make(catalog, shirt(uid, variants=variants, tags=[{"value": f"t{n}"} for n in range(50)]))
    assert len(written) <= 12
    assert [v["title"] for v in product["variants"]] == [f"V{n}" for n in range(100)]
    for path in (
        f"/admin/products/{product['id']}",
        "/admin/products",
        f"/admin/variants/{product['variants'][0]['id']}",
    ):
        with statements(stack) as read:
            await catalog.ok("GET", path)
        assert len(read) == 1, path


async def test_an_update_changes_what_it_names(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid, tags=[{"value": "a"}, {"value": "b"}], metadata={"a": 1, "b": {"c": 2}}))
    path = f"/admin/products/{product['id']}"
    body = {
        "title": f"Tee {uid}",
        "type": {"value": f"Tees {uid}"},
        "tags": [{"value": "b"}, {"value": "c"}],
        "images": ["https://x.test/1"],
        "metadata": {"a": "", "d": True},
        "weight": 180,
    }
    changed = (await catalog.ok("POST", path, body))["product"]
    assert (changed["title"], changed["handle"], changed["weight"]) == (f"Tee {uid}", product["handle"], 180)
    assert [tag["value"] for tag in changed["tags"]] == ["b", "c"]
    assert changed["metadata"] == {"b": {"c": 2}, "d": True}
    assert changed["thumbnail"] == "https://x.test/1"
    assert changed["updated_at"] > product["updated_at"] and changed["created_at"] == product["created_at"]
    assert changed["variants"] == product["variants"]
    again = (await catalog.ok("POST", path, {"images": ["https://x.test/2"], "metadata": None, "tags": None}))[
        "product"
    ]
    assert (again["thumbnail"], again["metadata"]) == ("https://x.test/1", changed["metadata"])
    assert [tag["value"] for tag in again["tags"]] == ["b", "c"]
    bare: dict[str, Any] = {"type": None, "tags": [], "images": [], "sales_channels": [], "weight": None}
    cleared = (await catalog.ok("POST", path, bare))["product"]
    assert {key: cleared[key] for key in bare} == bare


async def test_what_empties_a_product(catalog: Client, uid: str) -> None:
    tag, image = {"value": f"tag {uid}"}, f"https://img.example.com/{uid}.png"
    product = await make(catalog, shirt(uid, tags=[tag], images=[image], thumbnail=""))
    assert (product["thumbnail"], len(product["sales_channels"])) == (image, 1)
    bare = await make(catalog, {"title": f"Bare {uid}", "thumbnail": ""})
    assert bare["thumbnail"] == ""
    path = f"/admin/products/{product['id']}"
    body = {"sales_channels": None, "tags": None, "images": None, "categories": None, "variants": None}
    changed = (await catalog.ok("POST", path, body))["product"]
    assert changed["sales_channels"] == []
    kept = ("tags", "images", "categories", "variants", "thumbnail")
    assert {name: changed[name] for name in kept} == {name: product[name] for name in kept}


async def test_updates_that_are_refused(catalog: Client, uid: str) -> None:
    rival = await make(catalog, {"title": f"Rival {uid}", "handle": f"rival-{uid}"})
    product = await make(catalog, shirt(uid))
    path = f"/admin/products/{product['id']}"
    before = await one(catalog, product["id"])
    for body, status in (
        ({"status": None}, 400),
        ({"title": None}, 400),
        ({"handle": ""}, 400),
        ({"options": [{"title": "Fit"}]}, 400),
        ({"is_giftcard": True}, 400),
        ({"title": "x", "handle": rival["handle"]}, 422),
        ({"title": "x", "collection_id": "pcol_missing"}, 404),
        ({"title": "x", "categories": [{"id": "pcat_missing"}]}, 404),
        ({"title": "x", "sales_channels": [{"id": "sc_missing"}]}, 400),
        ({"title": "x", "variants": [{"id": "variant_missing"}]}, 404),
        ({"title": "x", "variants": [{"options": []}]}, 400),
    ):
        assert (await catalog.post(path, body))[0] == status, body
    assert await one(catalog, product["id"]) == before
    assert (await catalog.post("/admin/products/prod_missing", {"title": "x"}))[0] == 404


async def test_metadata_key_by_key(catalog: Client, uid: str) -> None:
    product = await make(catalog, {"title": uid, "metadata": {"a": 1}})
    path = f"/admin/products/{product['id']}/metadata"
    set_ = (await catalog.ok("POST", path, {"key": "care", "value": "wash"}))["product"]
    assert set_["metadata"] == {"a": 1, "care": "wash"}
    assert (await catalog.ok("POST", path, {"key": "a", "value": ""}))["product"]["metadata"] == {"care": "wash"}
    assert (await catalog.post(path, {"key": "care"}))[0] == 400
    assert (await catalog.post("/admin/products/prod_missing/metadata", {"key": "a", "value": "b"}))[0] == 404


async def test_replacing_the_variants(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    small, large = product["variants"]
    size = product["options"][0]["id"]
    path = f"/admin/products/{product['id']}"
    entries = [
        {
            "title": "Medium",
            "options": [{"option_id": size, "value": "M"}],
            "prices": [{"currency_code": "usd", "amount": 7}],
        },
        {"id": large["id"], "title": "XL", "sku": f"S-{uid}", "options": [{"option_id": size, "value": "XL"}]},
    ]
    changed = (await catalog.ok("POST", path, {"variants": entries}))["product"]
    medium, xl = changed["variants"]
    assert [(v["title"], v["variant_rank"], v["options"][0]["value"]) for v in (medium, xl)] == [
        ("Medium", 0, "M"),
        ("XL", 1, "XL"),
    ]
    assert (xl["id"], xl["sku"], xl["prices"]) == (large["id"], f"S-{uid}", large["prices"])
    assert [p["amount"] for p in medium["prices"]] == [7]
    assert (await catalog.get(f"/admin/variants/{small['id']}"))[0] == 404
    same = [{"id": xl["id"]}, {"title": "Again", "options": [{"option_id": size, "value": "XL"}]}]
    status, answer = await catalog.post(path, {"variants": same})
    assert (status, answer["type"]) == (400, "invalid_data")
    assert [v["id"] for v in (await one(catalog, product["id"]))["variants"]] == [medium["id"], xl["id"]]
    assert (await catalog.ok("POST", path, {"variants": []}))["product"]["variants"] == []


async def test_deleting_frees_handle_and_sku(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    gone = {"id": product["id"], "object": "product", "deleted": True}
    assert await catalog.ok("DELETE", f"/admin/products/{product['id']}") == gone
    assert (await catalog.get(f"/admin/products/{product['id']}"))[0] == 404
    assert (await catalog.get(f"/admin/variants/{product['variants'][0]['id']}"))[0] == 404
    assert await ids(catalog, id=product["id"]) == []
    assert await ids(catalog, **{"id": product["id"], "deleted_at[gt]": "2020-01-01"}) == [product["id"]]
    assert await catalog.ok("DELETE", f"/admin/products/{product['id']}") == gone
    await make(catalog, shirt(uid))


async def test_other_services_hear_of_products(stack: Stack, catalog: Client, uid: str) -> None:
    """The inventory keeps copies of products and variants; what it stores last is what the product is now."""
    product = await make(catalog, shirt(uid))
    small, large = product["variants"]
    path = f"/admin/products/{product['id']}"
    await catalog.ok("POST", path, {"title": f"Tee {uid}", "variants": [{"id": large["id"], "title": "XL"}]})

    async def copied() -> bool:
        rows = await stack.pool("inventory").fetch(
            "select id, body ->> 'title' as title, body ->> 'deleted_at' as deleted_at, related from copies"
            " where id = any($1)",
            [product["id"], small["id"], large["id"]],
        )
        by_id = {row["id"]: (row["title"], row["deleted_at"] is not None) for row in rows}
        return by_id == {
            product["id"]: (f"Tee {uid}", False),
            small["id"]: ("Small", True),
            large["id"]: ("XL", False),
        }

    await until(copied)


async def test_the_inventory_counts_new_managed_variants(catalog: Client, inventory: Client, uid: str) -> None:
    """However a variant is added: with its product, by an update of the product, or on its own."""
    skus = [f"{n}-{uid}" for n in "ABC"]
    product = await make(catalog, shirt(uid, variants=[variant("A", "a", sku=skus[0], manage_inventory=True)]))
    size = product["options"][0]["id"]
    new = {"title": "B", "sku": skus[1], "options": [{"option_id": size, "value": "b"}]}
    path = f"/admin/products/{product['id']}"
    await catalog.ok("POST", path, {"variants": [{"id": product["variants"][0]["id"]}, new]})
    new = {"title": "C", "sku": skus[2], "prices": [], "options": [{"option_id": size, "value": "c"}]}
    await catalog.ok("POST", f"{path}/variants", new)

    async def counted() -> bool:
        answer = await inventory.ok("GET", "/admin/inventory-items", query={"sku[]": skus})
        return sorted(item["sku"] for item in answer["inventory_items"]) == skus

    await until(counted)
    shown = await one(catalog, product["id"])
    assert [(v["inventory_quantity"], v["purchasable"]) for v in shown["variants"]] == [(0, False)] * 3
