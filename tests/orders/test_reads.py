"""What an order shows: relations and fields, in GET one, in lists and in the answers to writes."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.orders.reads import DEFAULT_FIELDS, TOTALS
from tests.support.client import Client
from tests.support.stack import Stack

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]
ORDER = "/admin/orders/{}"
OWN, SUMS = set(DEFAULT_FIELDS), set(TOTALS)
RELATIONS = {
    "billing_address",
    "claims",
    "customer",
    "discounts",
    "fulfillments",
    "gift_card_transactions",
    "gift_cards",
    "items",
    "payments",
    "refunds",
    "region",
    "returns",
    "sales_channel",
    "shipping_address",
    "shipping_methods",
    "swaps",
}
WRITTEN = {
    "claims",
    "discounts",
    "gift_card_transactions",
    "gift_cards",
    "items",
    "payments",
    "refunds",
    "region",
    "shipping_methods",
    "swaps",
}


async def one(api: Client, order: Order, **query: str) -> Order:
    found: Order = (await api.ok("GET", ORDER.format(order["id"]), query=query))["order"]
    return found


async def listed(api: Client, order: Order, **query: str) -> Order:
    (found,) = (await api.ok("GET", "/admin/orders", query={"id": order["id"], **query}))["orders"]
    return dict(found)


async def test_one(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    got = await one(api, order)
    assert got.keys() == OWN | SUMS | RELATIONS
    line = got["items"][0]
    assert {"refundable", "total", "tax_lines", "adjustments"} <= line.keys()
    assert "raw_discount_total" not in line
    assert line["variant"]["product"]["profile"]["id"] == line["variant"]["product"]["profile_id"]
    assert got["shipping_methods"][0]["shipping_option"]["id"] == got["shipping_methods"][0]["shipping_option_id"]
    assert "country" not in got["shipping_address"]
    shown = await one(api, order, expand="shipping_methods.shipping_option.provider")
    assert shown["shipping_methods"][0]["shipping_option"]["provider"] == {"id": "manual", "is_installed": True}


async def test_one_without_relations(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    got = await one(api, order, expand="")
    # The default fields have one of the lines: refundable.
    assert got.keys() == OWN | SUMS | {"items", "claims", "swaps"}
    assert sorted(line["refundable"] for line in got["items"]) == [1500, 2000]
    assert {frozenset(line) for line in got["items"]} == {frozenset({"refundable"})}


async def test_one_with_fields(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    assert (await one(api, order, fields="email", expand="")).keys() == {"id", "email"} | SUMS
    got = await one(api, order, fields="id,status", expand="items")
    assert got.keys() == {"id", "status", "items"} | SUMS
    assert got["items"][0]["raw_discount_total"] == 0
    assert "product" not in got["items"][0]["variant"]
    got = await one(api, order, fields="id", expand="items.variant.product")
    assert "profiles" not in got["items"][0]["variant"]["product"]
    got = await one(api, order, fields="id", expand="items.variant.product.profiles")
    product = got["items"][0]["variant"]["product"]
    assert product["profiles"] == [product["profile"]] and product["profile"]["id"] == product["profile_id"]
    # What only changes the default fields leaves those of the lines.
    lines = {"items", "claims", "swaps"}
    assert (await one(api, order, fields="-metadata", expand="")).keys() == (OWN - {"metadata"}) | SUMS | lines
    got = await one(api, order, fields="+external_id", expand="")
    assert got.keys() == OWN | {"external_id"} | SUMS | lines
    assert {frozenset(line) for line in got["items"]} == {frozenset({"refundable"})}


async def test_one_expanded(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    got = await one(api, order, fields="id", expand="currency,cart,draft_order,edits,sales_channel")
    assert got.keys() == {"id", "currency", "cart", "draft_order", "edits", "sales_channel"} | SUMS
    assert got["currency"]["code"] == "eur"
    assert (got["cart"]["id"], got["cart"]["object"]) == (order["cart_id"], "cart")
    assert "subtotal" not in got["cart"]
    assert got["draft_order"]["order_id"] == order["id"]


async def test_returnable_items(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path = ORDER.format(order["id"])
    small = next(i for i in order["items"] if i["unit_price"] == 1000)
    assert (await one(api, order, expand="returnable_items"))["returnable_items"] == []
    fulfilled = await api.ok("POST", path + "/fulfillment", {"items": [{"item_id": small["id"], "quantity": 1}]})
    await api.ok("POST", path + "/shipment", {"fulfillment_id": fulfilled["order"]["fulfillments"][0]["id"]})
    got = await one(api, order, expand="items,returnable_items", fields="id")
    assert [i["id"] for i in got["returnable_items"]] == [small["id"]]
    assert got["returnable_items"] == [i for i in got["items"] if i["id"] == small["id"]]
    for refused in (
        await api.get("/admin/orders", {"expand": "returnable_items"}),
        await api.request("POST", path + "/complete", query={"expand": "returnable_items"}),
    ):
        assert (refused[0], refused[1]["type"]) == (400, "invalid_data")


async def test_listed(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    got = await listed(api, order)
    assert got.keys() == OWN | RELATIONS
    assert "refundable" in got["items"][0]
    assert not {"total", "raw_discount_total"} & got["items"][0].keys()
    assert "total" not in got["shipping_methods"][0]
    assert (await listed(api, order, expand="")).keys() == OWN | {"items", "claims", "swaps"}
    assert (await listed(api, order, fields="email", expand="")).keys() == {"id", "created_at", "email"} | SUMS
    assert (await listed(api, order, fields="total", expand="")).keys() == {"id", "created_at", "total"}
    got = await listed(api, order, fields="id", expand="items,shipping_methods")
    assert {"total", "refundable", "raw_discount_total"} <= got["items"][0].keys()
    assert "total" in got["shipping_methods"][0]


async def test_written(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path = ORDER.format(order["id"])
    got = (await api.ok("POST", path, {"no_notification": True}))["order"]
    assert got.keys() == OWN | SUMS | RELATIONS | {"object"}
    assert got["object"] == "order"
    got = (await api.ok("POST", path, {}, query={"fields": "id,email", "expand": ""}))["order"]
    assert got.keys() == {"id", "email", "object"} | SUMS | WRITTEN
    assert "product" not in got["items"][0]["variant"]
    got = (await api.ok("POST", path, {}, query={"fields": "id,total", "expand": "customer"}))["order"]
    assert got.keys() == {"id", "tax_rate", "object", "customer"} | SUMS | WRITTEN
    assert "product" in got["items"][0]["variant"]


@pytest.mark.parametrize(
    "query",
    [
        {"expand": "nothing"},
        {"expand": "items.nothing"},
        {"expand": "region.nothing"},
        {"fields": "nothing"},
        {"fields[]": "id"},
        {"limit": "1"},
    ],
)
async def test_bad_queries(api: Client, ordered: Ordered, query: dict[str, str]) -> None:
    order = await ordered()
    before = await one(api, order)
    status, refusal = await api.get(ORDER.format(order["id"]), query)
    assert (status, refusal["type"]) == (400, "invalid_data")
    status, refusal = await api.request("POST", ORDER.format(order["id"]), {"email": "new@example.com"}, query)
    assert (status, refusal["type"]) == (400, "invalid_data")
    assert await one(api, order) == before


async def test_one_statement(api: Client, stack: Stack, ordered: Ordered) -> None:
    order = await ordered()
    for path, query in ((ORDER.format(order["id"]), {}), ("/admin/orders", {"limit": "20"})):
        with stack.statements("orders") as seen:
            await api.ok("GET", path, query=query)
        assert len([sql for sql in seen if " from orders" in sql]) == 1


async def test_unknown(api: Client) -> None:
    status, refusal = await api.get(ORDER.format("order_missing"))
    assert (status, refusal["type"]) == (404, "not_found")
