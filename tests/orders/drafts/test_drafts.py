"""Draft orders over HTTP, except their lines (test_items.py) and paying them (test_placements.py)."""

import asyncio
from typing import Any

import pytest

from services.chassis.keys import BUS
from tests.support.client import Client
from tests.support.factories.drafts import ID, Draft, make, shown
from tests.support.factories.shops import ADDRESS, Shop, free_countries
from tests.support.stack import Stack


async def drafts_of(stack: Stack, email: str) -> int:
    count: int = await stack.pool("orders").fetchval("select count(*) from carts where email = $1", email)
    return count


async def test_create(api: Client, shop: Shop, uid: str) -> None:
    draft = await make(
        api,
        shop,
        email=f"Ada-{uid}@Example.com",
        items=[
            {"variant_id": shop.small, "quantity": 2, "metadata": {"engraving": "AB"}},
            {"variant_id": shop.large, "quantity": 1, "unit_price": 1234},
            {"title": "Gift wrap", "unit_price": 300, "quantity": 1},
            {"quantity": 1, "unit_price": -5},
        ],
        shipping_methods=[{"option_id": shop.shipping_option, "price": 250, "data": {"door": "left"}}],
        no_notification_order=True,
        metadata={"channel": "phone"},
    )
    cart = draft["cart"]
    assert (draft["status"], draft["no_notification_order"], draft["metadata"], draft["order"]) == (
        "open",
        True,
        None,
        None,
    )
    assert (cart["email"], cart["type"], cart["metadata"]) == (
        f"ada-{uid}@example.com",
        "draft_order",
        {"channel": "phone"},
    )
    assert cart["customer"]["email"] == f"ada-{uid}@example.com"
    assert cart["customer"]["has_account"] is False
    lines = [
        (i["title"], i["description"], i["unit_price"], i["quantity"], i["should_merge"], i["allow_discounts"])
        for i in cart["items"]
    ]
    assert [line[1:] for line in lines[:2]] == [
        ("Small", 1000, 2, True, True),
        ("Large", 1234, 1, False, True),
    ]
    assert lines[2:] == [("Gift wrap", None, 300, 1, True, False), ("Custom item", None, 0, 1, True, False)]
    assert [i["tax_lines"] == [] for i in cart["items"]] == [False, False, True, True]
    assert [(m["price"], m["data"], m["total"]) for m in cart["shipping_methods"]] == [(250, {"door": "left"}, 250)]
    assert (cart["subtotal"], cart["shipping_total"], cart["tax_total"], cart["total"]) == (3534, 250, 0, 3784)
    assert cart["shipping_address"]["country"]["iso_2"] == "de"
    assert cart["sales_channel_id"] == shop.channel
    assert await shown(api, draft) == draft


async def test_guests_are_found_again(api: Client, shop: Shop, uid: str) -> None:
    email = f"again-{uid}@example.com"
    first, second = await asyncio.gather(make(api, shop, email=email), make(api, shop, email=email.upper()))
    assert first["cart"]["customer_id"] == second["cart"]["customer_id"]
    assert first["display_id"] != second["display_id"]


async def test_a_customer_brings_the_email(api: Client, shop: Shop, uid: str) -> None:
    body = {"email": f"owner-{uid}@example.com", "first_name": "O", "last_name": "W", "password": "secret-pass"}
    status, answer = await api.post("/admin/customers", body)
    assert status == 201
    draft = await make(api, shop, customer_id=answer["customer"]["id"])
    assert draft["cart"]["email"] == f"owner-{uid}@example.com"
    assert draft["cart"]["customer_id"] == answer["customer"]["id"]


async def test_a_region_of_one_country_sets_it(api: Client, shop: Shop) -> None:
    await api.ok("POST", f"/admin/regions/{shop.region}", {"countries": ["de"]})
    draft = await make(api, shop, shipping_address=None, billing_address=None)
    assert draft["cart"]["shipping_address"]["country_code"] == "de"
    assert draft["cart"]["billing_address"] is None


@pytest.mark.parametrize(
    ("more", "status", "kind"),
    [
        ({"email": "nobody"}, 400, "invalid_data"),
        ({"email": None}, 400, "invalid_data"),
        ({"region_id": "reg_missing"}, 404, "not_found"),
        ({"customer_id": "cus_missing"}, 404, "not_found"),
        ({"items": [{"variant_id": "variant_missing", "quantity": 1}]}, 400, "invalid_data"),
        ({"items": [{"title": "x", "quantity": 0}]}, 400, "invalid_data"),
        ({"items": [{"title": "x", "quantity": 2**31}]}, 400, "invalid_data"),
        ({"items": [{"title": "x", "quantity": 2, "unit_price": 2**53 - 1}]}, 400, "invalid_data"),
        ({"items": [{"title": "x", "quantity": 1.5}]}, 400, "invalid_data"),
        ({"items": [{"title": "x"}]}, 400, "invalid_data"),
        ({"items": "none"}, 400, "invalid_data"),
        ({"shipping_methods": [{"option_id": "so_missing"}]}, 404, "not_found"),
        ({"shipping_methods": None}, 400, "invalid_data"),
        ({"discounts": [{"code": "MISSING"}]}, 404, "not_found"),
        ({"shipping_address": {"country_code": "us"}}, 400, "not_allowed"),
        ({"shipping_address": {"country_code": "DE"}}, 400, "not_allowed"),
        ({"billing_address": {"city": "Berlin"}}, 400, "not_allowed"),
        ({"shipping_address": "addr_missing"}, 400, "invalid_data"),
        ({"status": "paid"}, 400, "invalid_data"),
        ({"surprise": 1}, 400, "invalid_data"),
        ({"metadata": {"x": "\0"}}, 400, "invalid_data"),
    ],
)
async def test_refusals_make_nothing(
    api: Client, stack: Stack, shop: Shop, uid: str, more: dict[str, Any], status: int, kind: str
) -> None:
    email = f"refused-{uid}@example.com"
    got, answer = await api.post("/admin/draft-orders", shop.draft(**{"email": email} | more))
    assert (got, answer["type"]) == (status, kind), answer
    assert await drafts_of(stack, email) == 0
    assert await stack.pool("orders").fetchval("select count(*) from customers where email = $1", email) == 0


async def test_update(api: Client, shop: Shop, uid: str) -> None:
    draft = await make(api, shop, no_notification_order=True)
    path = ID.format(draft["id"])
    answer = (await api.ok("POST", path, {"email": f"NEW-{uid}@example.com", "no_notification_order": False}))[
        "draft_order"
    ]
    # As Medusa's clients know it: the draft's own flag is shown as it was before.
    assert answer["no_notification_order"] is True
    assert "order" not in answer
    assert {"completed_at", "idempotency_key"} <= answer.keys()
    assert answer["cart"]["email"] == f"new-{uid}@example.com"
    assert answer["cart"]["customer_id"] != draft["cart"]["customer_id"]
    assert len(answer["cart"]["shipping_methods"]) == 1
    now = await shown(api, draft)
    assert now["no_notification_order"] is False
    assert now["cart"]["total"] == draft["cart"]["total"] == 2500


async def test_addresses_are_merged(api: Client, shop: Shop) -> None:
    draft = await make(api, shop, billing_address=None)
    path = ID.format(draft["id"])
    before = draft["cart"]["shipping_address"]
    answer = await api.ok("POST", path, {"shipping_address": {"city": "Hamburg"}, "billing_address": {"city": "Kiel"}})
    cart = answer["draft_order"]["cart"]
    assert cart["shipping_address"] == before | {
        "city": "Hamburg",
        "updated_at": cart["shipping_address"]["updated_at"],
    }
    assert (cart["billing_address"]["city"], cart["billing_address"]["country_code"]) == ("Kiel", None)
    answer = await api.ok("POST", path, {"billing_address": before["id"]})
    assert answer["draft_order"]["cart"]["billing_address_id"] == before["id"]


async def test_the_address_of_an_order_is_not_changed_through_a_draft(api: Client, shop: Shop) -> None:
    paid = await make(api, shop)
    order = (await api.ok("POST", ID.format(paid["id"]) + "/pay"))["order"]
    draft = await make(api, shop, shipping_address=order["shipping_address"]["id"])
    assert draft["cart"]["shipping_address_id"] == order["shipping_address"]["id"]
    answer = await api.ok("POST", ID.format(draft["id"]), {"shipping_address": {"city": "Elsewhere"}})
    cart = answer["draft_order"]["cart"]
    assert cart["shipping_address"]["city"] == "Elsewhere"
    assert cart["shipping_address"]["last_name"] == ADDRESS["last_name"]
    again = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
    assert again["shipping_address"] == order["shipping_address"]


async def test_another_region_starts_over(api: Client, shop: Shop, uid: str) -> None:
    nordic = {
        "name": f"Nordic {uid}",
        "currency_code": "eur",
        "tax_rate": 25,
        "countries": ["se"],
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
    }
    region = (await api.ok("POST", "/admin/regions", nordic))["region"]["id"]
    items = [
        {"variant_id": shop.small, "quantity": 1, "unit_price": 1},
        {"title": "Vase", "unit_price": 999, "quantity": 3},
    ]
    draft = await make(api, shop, items=items)
    cart = (await api.ok("POST", ID.format(draft["id"]), {"region_id": region}))["draft_order"]["cart"]
    assert cart["shipping_methods"] == []
    assert [i["unit_price"] for i in cart["items"]] == [1000, 999]
    assert (cart["shipping_address"]["country_code"], cart["shipping_address"]["city"]) == ("se", "Berlin")
    assert cart["billing_address"]["country_code"] == "de"
    assert (cart["tax_total"], cart["total"]) == (250, 4247)
    assert (await shown(api, draft))["cart"] == cart


async def test_a_draft_shows_the_taxes_of_the_day(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 10})
    now = (await shown(api, draft))["cart"]
    assert (now["tax_total"], now["total"]) == (250, 2750)
    assert now["updated_at"] == draft["cart"]["updated_at"]
    await api.ok("POST", f"/admin/regions/{shop.region}", {"automatic_taxes": False})
    now = (await shown(api, draft))["cart"]
    assert (now["tax_total"], now["items"][0]["tax_lines"]) == (0, [])


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"email": "nope"}, 400, "invalid_data"),
        ({"customer_id": "cus_missing"}, 404, "not_found"),
        ({"region_id": "reg_missing"}, 404, "not_found"),
        ({"shipping_address": {"country_code": "us"}}, 400, "invalid_data"),
        ({"billing_address": "addr_missing"}, 400, "invalid_data"),
        ({"discounts": [{"code": "MISSING"}]}, 404, "not_found"),
        ({"items": []}, 400, "invalid_data"),
        ({"metadata": {}}, 400, "invalid_data"),
    ],
)
async def test_refused_updates_change_nothing(
    api: Client, shop: Shop, body: dict[str, Any], status: int, kind: str
) -> None:
    draft = await make(api, shop)
    before = await shown(api, draft)
    got, answer = await api.post(ID.format(draft["id"]), body)
    assert (got, answer["type"]) == (status, kind), answer
    assert await shown(api, draft) == before


async def test_unknown_drafts(api: Client) -> None:
    path = ID.format("dorder_missing")
    assert (await api.get(path))[0] == 404
    assert (await api.post(path, {"email": "a@example.com"}))[0] == 404
    assert (await api.post(path + "/pay"))[0] == 404
    assert await api.delete(path) == (200, {"id": "dorder_missing", "object": "draft-order", "deleted": True})


async def test_delete(api: Client, stack: Stack, shop: Shop) -> None:
    draft = await make(api, shop)
    for _ in range(2):
        answer = await api.ok("DELETE", ID.format(draft["id"]))
        assert answer == {"id": draft["id"], "object": "draft-order", "deleted": True}
    assert (await api.get(ID.format(draft["id"])))[0] == 404
    assert await drafts_of(stack, draft["cart"]["email"]) == 0
    paid = await make(api, shop)
    await api.ok("POST", ID.format(paid["id"]) + "/pay")
    status, refusal = await api.delete(ID.format(paid["id"]))
    assert (status, refusal["type"]) == (400, "not_allowed")
    assert (await shown(api, paid))["status"] == "completed"


async def test_find(api: Client, shop: Shop, uid: str) -> None:
    email = f"find-{uid}@example.com"
    first = await make(api, shop, email=email)
    second = await make(api, shop, email=email)
    await api.ok("POST", ID.format(first["id"]) + "/pay")

    async def listed(**query: str) -> list[str]:
        answer = await api.ok("GET", "/admin/draft-orders", query={"q": email.upper(), "expand": "", **query})
        assert answer["count"] >= len(answer["draft_orders"])
        return [draft["id"] for draft in answer["draft_orders"]]

    assert await listed() == [second["id"], first["id"]]
    assert await listed(order="created_at") == [first["id"], second["id"]]
    assert await listed(limit="1", offset="1") == [first["id"]]
    assert await listed(**{"status[]": "open"}) == [second["id"]]
    assert await listed(**{"created_at[lt]": second["created_at"]}) == [first["id"]]
    answer = await api.ok("GET", "/admin/draft-orders", query={"q": str(first["display_id"]), "expand": "order"})
    assert [d["order"]["draft_order_id"] for d in answer["draft_orders"] if d["id"] == first["id"]] == [first["id"]]
    whole = await api.ok("GET", "/admin/draft-orders", query={"q": email})
    assert (whole["count"], whole["limit"], whole["offset"]) == (2, 50, 0)
    assert whole["draft_orders"][0]["cart"]["items"][0]["adjustments"] == []
    assert "subtotal" not in whole["draft_orders"][0]["cart"]
    for query in ({"status[]": "lost"}, {"limit": "ten"}, {"expand": "nothing"}, {"order": "nothing"}, {"x": "1"}):
        status, refusal = await api.get("/admin/draft-orders", query)
        assert (status, refusal["type"]) == (400, "invalid_data")


async def test_without_the_broker(api: Client, stack: Stack, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = await make(api, shop)
    email = "without-" + draft["cart"]["email"]
    bus = stack.apps["orders"][BUS]
    with monkeypatch.context() as without:
        without.setattr(bus, "_channel", None)
        without.setattr(bus, "connected", False)
        answers = [
            await api.post("/admin/draft-orders", shop.draft(email=email)),
            await api.post(ID.format(draft["id"]), {"email": email}),
            await api.post(ID.format(draft["id"]) + "/line-items", {"title": "x", "quantity": 1}),
            await api.post(ID.format(draft["id"]) + "/pay"),
        ]
        assert [(status, answer["type"]) for status, answer in answers] == [(503, "unavailable")] * 4
        assert await shown(api, draft) == draft
    assert await drafts_of(stack, email) == 0
    # Nothing was left behind that would be in the way.
    assert (await api.post(ID.format(draft["id"]) + "/pay"))[0] == 200


async def test_reads_take_no_more_statements_than_they_need(api: Client, stack: Stack, shop: Shop) -> None:
    draft = await make(api, shop)
    with stack.statements("orders") as seen:
        await api.ok("GET", "/admin/draft-orders", query={"limit": "5"})
    assert len([sql for sql in seen if "draft_orders" in sql]) == 1
    with stack.statements("orders") as seen:
        await shown(api, draft)
    assert len([sql for sql in seen if "draft_orders" in sql]) == 2


async def test_an_idempotency_key_makes_one_draft(api: Client, stack: Stack, shop: Shop, uid: str) -> None:
    body = shop.draft(email=f"key-{uid}@example.com")
    key = {"Idempotency-Key": f"draft-{uid}"}
    first = await api.post("/admin/draft-orders", body, headers=key)
    assert await api.post("/admin/draft-orders", body, headers=key) == first
    assert (await api.post("/admin/draft-orders", body | {"no_notification_order": True}, headers=key))[0] == 409
    assert await drafts_of(stack, body["email"]) == 1


async def test_regions_can_go_while_drafts_stay(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    await free_countries(api)
    assert (await shown(api, draft))["cart"]["total"] == draft["cart"]["total"]


async def test_what_was_chosen_stays_whatever_becomes_of_it(api: Client, shop: Shop, uid: str) -> None:
    rule = {"type": "percentage", "value": 10, "allocation": "total"}
    await api.ok("POST", "/admin/discounts", {"code": uid, "rule": rule, "regions": [shop.region]})
    cart = (draft := await make(api, shop, discounts=[{"code": uid}]))["cart"]
    assert cart["discount_total"] > 0 and cart["shipping_total"] > 0
    for product_id in {line["variant"]["product_id"] for line in cart["items"] if line["variant"]}:
        await api.ok("POST", f"/admin/products/{product_id}", {"discountable": False})
    option = f"/admin/shipping-options/{shop.shipping_option}"
    dear = {"amount": 7777, "requirements": [{"type": "min_subtotal", "amount": 1_000_000}]}
    await api.ok("POST", option, dear)
    body = shop.draft()
    assert (await api.post("/admin/draft-orders", body))[0] == 400
    names = ("total", "discount_total", "shipping_total")
    changed = await api.ok("POST", ID.format(draft["id"]), {"email": f"new-{uid}@example.com"})
    assert {name: changed["draft_order"]["cart"][name] for name in names} == {name: cart[name] for name in names}
    await api.ok("DELETE", option)
    assert (await api.post("/admin/draft-orders", body))[0] == 404
    changed = await api.ok("POST", ID.format(draft["id"]), {"email": f"newer-{uid}@example.com"})
    assert {name: changed["draft_order"]["cart"][name] for name in names} == {name: cart[name] for name in names}
    order = (await api.ok("POST", ID.format(draft["id"]) + "/pay"))["order"]
    assert {name: order[name] for name in names} == {name: cart[name] for name in names}
    assert order["shipping_methods"][0]["shipping_option_id"] == shop.shipping_option


async def test_a_draft_is_open_whatever_is_said(api: Client, shop: Shop) -> None:
    draft = await make(api, shop, status="completed")
    assert draft["status"] == "open"
    await api.ok("POST", f"{ID.format(draft['id'])}/pay")


async def test_an_empty_variant_is_none(api: Client, shop: Shop) -> None:
    draft = await make(api, shop, items=[{"variant_id": "", "quantity": 1}])
    assert [(line["title"], line["variant_id"]) for line in draft["cart"]["items"]] == [("Custom item", None)]
    path = f"{ID.format(draft['id'])}/line-items"
    added = (await api.ok("POST", path, {"variant_id": "", "quantity": 2, "unit_price": 7}))["draft_order"]["cart"]
    assert sorted((line["variant_id"], line["unit_price"]) for line in added["items"]) == [(None, 0), (None, 7)]
    named = (await api.ok("POST", f"{path}/{added['items'][0]['id']}", {"title": ""}))["draft_order"]["cart"]
    assert sorted(line["title"] for line in named["items"]) == ["", "Custom item"]


async def test_the_region_that_it_is_in_keeps_the_shipping(api: Client, shop: Shop) -> None:
    address = {"country_code": "de", "metadata": {"gate": 7, "floor": 1}}
    items = [{"variant_id": shop.small, "quantity": 1, "unit_price": 5}]
    draft = await make(api, shop, items=items, shipping_address=address)
    path = ID.format(draft["id"])
    body: Draft = {"region_id": shop.region, "customer_id": ""}
    cart = (await api.ok("POST", path, body))["draft_order"]["cart"]
    assert ([m["total"] for m in cart["shipping_methods"]], cart["items"][0]["unit_price"]) == ([500], 1000)
    assert (cart["customer_id"], cart["shipping_address"]["city"]) == (draft["cart"]["customer_id"], None)
    # What is sent of an address's metadata takes the place of all of it.
    body = {"shipping_address": {"country_code": "de", "metadata": {"gate": "", "bell": 2}}}
    cart = (await api.ok("POST", path, body))["draft_order"]["cart"]
    assert cart["shipping_address"]["metadata"] == {"gate": "", "bell": 2}


@pytest.mark.parametrize("body", [{"email": None}, {"email": ""}])
async def test_an_email_is_never_nothing(api: Client, shop: Shop, body: Draft) -> None:
    draft = await make(api, shop)
    status, answer = await api.post(ID.format(draft["id"]), body | {"no_notification_order": True})
    assert (status, answer["type"]) == (400, "invalid_data")
    kept = await shown(api, draft)
    assert (kept["cart"]["email"], kept["no_notification_order"]) == (draft["cart"]["email"], None)


async def test_a_region_is_named(api: Client, shop: Shop, stack: Stack, uid: str) -> None:
    status, answer = await api.post("/admin/draft-orders", shop.draft(region_id="", email=f"r-{uid}@example.com"))
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await drafts_of(stack, f"r-{uid}@example.com") == 0
