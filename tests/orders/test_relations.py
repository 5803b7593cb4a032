"""The ways back from what an order shows, and what is shown of relations that `expand` only passes on its way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.embed import cols
from services.orders.resources import CART_COLUMNS, LINE_COLUMNS, METHOD_COLUMNS, ORDER_COLUMNS, SWAP_COLUMNS
from tests.support.client import Client
from tests.support.factories.claims import claim, replacement, shipped
from tests.support.factories.shops import ADDRESS, Shop
from tests.support.factories.swaps import swap_of
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
Ordered = Callable[..., Awaitable[Row]]
ORDER, CART = {*cols(ORDER_COLUMNS), "object"}, {*cols(CART_COLUMNS), "object"}
LINE, METHOD, SWAP = set(cols(LINE_COLUMNS)), set(cols(METHOD_COLUMNS)), set(cols(SWAP_COLUMNS))


async def one(api: Client, order: Row, expand: str, **query: str) -> Row:
    query = {"fields": "id", **query, "expand": expand}
    found: Row = (await api.ok("GET", f"/admin/orders/{order['id']}", query=query))["order"]
    return found


async def test_from_lines(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    ways = (
        "cart",
        "claim_order",
        "order",
        "order_edit",
        "swap",
        "order.customer",
        "order.items",
        "cart.shipping_methods",
    )
    got = await one(api, order, ",".join(["items", *(f"items.{way}" for way in ways)]))
    for line in got["items"]:
        assert (line["claim_order"], line["order_edit"], line["swap"]) == (None, None, None)
        assert line["cart"].keys() == CART | {"shipping_methods"}
        assert [method.keys() for method in line["cart"]["shipping_methods"]] == [METHOD]
        assert line["cart"]["id"] == order["cart_id"]
        assert line["order"].keys() == ORDER | {"customer", "items"}
        assert line["order"]["id"] == order["id"]
        assert line["order"]["customer"]["email"] == order["email"]
        # Inside something else lines have no totals, and only those relations that were asked for.
        assert [inner.keys() for inner in line["order"]["items"]] == [LINE, LINE]


async def test_from_shipping_methods_and_addresses(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    ways = ("cart", "claim_order", "order", "return_order", "swap")
    methods = ",".join(["shipping_methods", *(f"shipping_methods.{way}" for way in ways)])
    (method,) = (await one(api, order, methods))["shipping_methods"]
    assert (method["claim_order"], method["return_order"], method["swap"]) == (None, None, None)
    assert (method["cart"].keys(), method["order"].keys()) == (CART, ORDER)
    got = await one(api, order, "shipping_address,shipping_address.customer,billing_address,billing_address.country")
    assert got["shipping_address"]["customer"] is None
    assert got["billing_address"]["country"]["iso_2"] == ADDRESS["country_code"]


async def test_from_adjustments(api: Client, shop: Shop, ordered: Ordered) -> None:
    rule = {"type": "percentage", "value": 10, "allocation": "total"}
    body = {"code": "BACK10", "rule": rule, "regions": [shop.region], "is_dynamic": False, "is_disabled": False}
    discount = (await api.ok("POST", "/admin/discounts", body))["discount"]
    order = await ordered(discounts=[{"code": "BACK10"}])
    expand = "items,items.adjustments,items.adjustments.item,items.adjustments.discount,items.adjustments.discount.rule"
    for line in (await one(api, order, expand))["items"]:
        (adjustment,) = line["adjustments"]
        assert (adjustment["item"].keys(), adjustment["item"]["id"]) == (LINE, line["id"])
        assert adjustment["discount"]["id"] == adjustment["discount_id"] == discount["id"]
        assert (adjustment["discount"]["rule"]["value"], "regions" in adjustment["discount"]) == (10, False)


async def test_from_swaps_claims_and_what_was_sent(api: Client, stack: Stack, shop: Shop) -> None:
    order = await shipped(api, shop)
    made = await claim(api, order, replacement(shop, order, (1500, 1)))
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    inside = "additional_items,additional_items.swap,additional_items.claim_order,order,order.swaps,shipping_methods"
    expand = ",".join(f"{name},{name}.{path}" for name in ("claims", "swaps") for path in inside.split(","))
    got = await one(
        api, order, f"{expand},claims.shipping_methods.claim_order,fulfillments.order,fulfillments.provider"
    )
    ((of_claim,), (of_swap,)) = got["claims"], got["swaps"]
    assert of_claim["additional_items"][0]["claim_order"]["id"] == made["id"]
    assert of_claim["additional_items"][0]["swap"] is None
    assert of_claim["shipping_methods"][0]["claim_order"]["id"] == made["id"]
    assert of_swap["additional_items"][0]["swap"].keys() == SWAP
    assert of_swap["additional_items"][0]["swap"]["id"] == swap.id
    # Here swaps come without their lines, unlike those of the order itself.
    assert [inner.keys() for inner in of_swap["order"]["swaps"]] == [SWAP]
    (fulfillment,) = got["fulfillments"]
    assert (fulfillment["order"]["id"], fulfillment["provider"]) == (
        order["id"],
        {"id": "manual", "is_installed": True},
    )


async def test_swaps_and_claims_are_there_with_the_default_fields(api: Client, stack: Stack, shop: Shop) -> None:
    order = await shipped(api, shop)
    made = await claim(api, order, replacement(shop, order, (1500, 1)))
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    path = f"/admin/orders/{order['id']}"
    got = (await api.ok("GET", path, query={"expand": "customer"}))["order"]
    (listed,) = (await api.ok("GET", "/admin/orders", query={"id": order["id"], "expand": "customer"}))["orders"]
    for shown in (got, listed):
        assert [each["id"] for each in shown["claims"]] == [made["id"]]
        assert [each["id"] for each in shown["swaps"]] == [swap.id]
        (line,) = shown["swaps"][0]["additional_items"]
        assert line.keys() == LINE | {"adjustments", "tax_lines", "refundable"}
        assert line["refundable"] == 1500
        assert {frozenset(own) for own in shown["items"]} == {frozenset({"refundable"})}
    assert not {"claims", "swaps", "items"} & (await one(api, order, "customer")).keys()
    totals = {"fields": "id,total", "id": order["id"], "expand": "swaps"}
    (narrowed,) = (await api.ok("GET", "/admin/orders", query=totals))["orders"]
    assert narrowed["swaps"][0]["additional_items"][0].keys() == LINE | {"adjustments", "tax_lines"}


async def test_what_is_only_passed_on_the_way(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    # Single rows are shown when they are named themselves, lists always.
    got = await one(api, order, "customer.orders,region.countries,payments.order,items.variant.product")
    assert not {"customer", "region"} & got.keys()
    assert got["payments"][0]["order"]["id"] == order["id"]
    assert {line["variant"]["product"]["id"] for line in got["items"]} == {got["items"][0]["variant"]["product_id"]}
    got = (await api.ok("GET", f"/admin/orders/{order['id']}", query={"expand": "customer,customer.orders.items"}))[
        "order"
    ]
    assert [len(each["items"]) for each in got["customer"]["orders"]] == [2]
    # With the default fields, of lines that were not named only what was.
    got = (await api.ok("GET", f"/admin/orders/{order['id']}", query={"expand": "items.variant.product"}))["order"]
    assert {frozenset(line) for line in got["items"]} == {frozenset({"refundable"})}
    got = (await api.ok("GET", f"/admin/orders/{order['id']}", query={"expand": "items.order"}))["order"]
    assert {frozenset(line) for line in got["items"]} == {frozenset({"refundable", "order"})}
    written = await api.ok("POST", f"/admin/orders/{order['id']}/complete", query={"expand": "customer.orders"})
    assert [each["id"] for each in written["order"]["customer"]["orders"]] == [order["id"]]


async def test_the_default_relations_have_no_product_without_the_default_fields(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path = f"/admin/orders/{order['id']}"
    for fields, has_product in (("id", False), ("id,total", True), ("+external_id", True)):
        got = (await api.ok("GET", path, query={"fields": fields}))["order"]
        assert [("product" in line["variant"]) for line in got["items"]] == [has_product] * 2


@pytest.mark.parametrize("back", ["items.order.items.order.items", "customer.orders.customer.orders.customer.orders"])
async def test_round_in_circles(api: Client, ordered: Ordered, back: str) -> None:
    order = await ordered()
    status, refusal = await api.get(f"/admin/orders/{order['id']}", {"expand": back})
    assert (status, refusal["type"]) == (400, "invalid_data")


async def test_customers_and_their_groups(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    group = (await api.ok("POST", "/admin/customer-groups", {"name": f"Of {order['id']}"}))["customer_group"]
    member = {"customer_ids": [{"id": order["customer_id"]}]}
    await api.ok("POST", f"/admin/customer-groups/{group['id']}/customers/batch", member)
    query = {"expand": "groups,groups.customers,orders.items.order"}
    got = (await api.ok("GET", f"/admin/customers/{order['customer_id']}", query=query))["customer"]
    assert [inner["id"] for inner in got["groups"][0]["customers"]] == [order["customer_id"]]
    assert {line["order"]["id"] for line in got["orders"][0]["items"]} == {order["id"]}
    changed = await api.ok("POST", f"/admin/customer-groups/{group['id']}", {}, query={"expand": "customers.orders"})
    (customer,) = changed["customer_group"]["customers"]
    assert [each["id"] for each in customer["orders"]] == [order["id"]]


async def test_drafts(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    query = {"q": order["email"], "expand": "cart.items.order,cart.items.tax_lines,cart.payment_sessions,order.items"}
    (draft,) = (await api.ok("GET", "/admin/draft-orders", query=query))["draft_orders"]
    assert {line["order"]["id"] for line in draft["cart"]["items"]} == {order["id"]}
    assert [session["is_selected"] for session in draft["cart"]["payment_sessions"]] == [True]
    assert draft["cart"]["payment_session"] == draft["cart"]["payment_sessions"][0]
    assert [line.keys() for line in draft["order"]["items"]] == [LINE, LINE]


async def test_a_deleted_shipping_option_is_not_shown(api: Client, shop: Shop, ordered: Ordered) -> None:
    order = await ordered()
    await api.ok("DELETE", f"/admin/shipping-options/{shop.shipping_option}")

    async def is_gone() -> bool:
        (method,) = (await one(api, order, "shipping_methods,shipping_methods.shipping_option"))["shipping_methods"]
        assert method["shipping_option_id"] == shop.shipping_option
        return method["shipping_option"] is None

    await until(is_gone)


async def test_cards_that_nothing_can_redeem(api: Client, ordered: Ordered) -> None:
    got = await one(api, await ordered(), "gift_cards.order,gift_card_transactions.gift_card.region,cart.gift_cards")
    assert (got["gift_cards"], got["gift_card_transactions"]) == ([], [])
