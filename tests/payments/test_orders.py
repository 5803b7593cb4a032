"""Payments of real orders: what each side shows of the other."""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.waiting import until


@pytest.fixture
async def order(catalog: Client, orders: Client, ask: Ask, uid: str) -> dict[str, Any]:
    """A paid order of 4000."""
    body: dict[str, Any] = {"name": uid, "currency_code": "eur", "tax_rate": 0, "countries": []}
    body |= {"payment_providers": ["manual"], "fulfillment_providers": ["manual"]}
    await catalog.ok("POST", "/admin/store", {"currencies": ["usd", "eur", "dkk"]})
    region = (await catalog.ok("POST", "/admin/regions", body))["region"]["id"]
    profiles = (await catalog.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    profile = next(row["id"] for row in profiles if row["type"] == "default")
    body = {"name": uid, "region_id": region, "profile_id": profile, "provider_id": "manual", "price_type": "flat_rate"}
    body |= {"amount": 500, "data": {"id": "manual-fulfillment"}}
    option = (await catalog.ok("POST", "/admin/shipping-options", body))["shipping_option"]["id"]
    body = {"email": f"{uid}@example.com", "region_id": region, "shipping_methods": [{"option_id": option}]}
    body |= {"items": [{"title": "Work", "unit_price": 3500, "quantity": 1}]}
    draft = (await orders.ok("POST", "/admin/draft-orders", body))["draft_order"]["id"]
    found: dict[str, Any] = (await orders.ok("POST", f"/admin/draft-orders/{draft}/pay"))["order"]
    return found


async def test_payment_of_an_order(payments: Client, order: dict[str, Any]) -> None:
    [payment] = order["payments"]
    path = f"/admin/payments/{payment['id']}"
    assert (await payments.ok("POST", f"{path}/capture"))["payment"] == payment
    shown = (await payments.ok("GET", path, query={"fields": "amount,captured_at", "expand": "order"}))["payment"]
    assert (shown["id"], shown["amount"], shown["captured_at"]) == (payment["id"], 4000, payment["captured_at"])
    assert {name: shown["order"][name] for name in ("id", "object", "status", "payment_status", "email")} == {
        "id": order["id"],
        "object": "order",
        "status": "pending",
        "payment_status": "captured",
        "email": order["email"],
    }


async def test_an_order_hears_of_a_refund(payments: Client, orders: Client, order: dict[str, Any]) -> None:
    [payment] = order["payments"]
    body = {"amount": 1500, "reason": "discount", "note": "Late delivery"}
    refund = (await payments.ok("POST", f"/admin/payments/{payment['id']}/refund", body))["refund"]

    async def heard() -> Any:
        shown = (await orders.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        return shown if shown["refunds"] else None

    shown = await until(heard)
    assert [row["id"] for row in shown["refunds"]] == [refund["id"]]
    assert (shown["refunded_total"], shown["refundable_amount"]) == (1500, 2500)
    assert shown["payments"][0]["amount_refunded"] == 1500


async def test_what_a_payment_is_of(payments: Client, orders: Client, order: dict[str, Any]) -> None:
    [payment] = order["payments"]
    await payments.ok("POST", f"/admin/payments/{payment['id']}/refund", {"amount": 700, "reason": "return"})
    query = {"fields": "id", "expand": "cart,currency,order,swap"}
    shown = (await payments.ok("GET", f"/admin/payments/{payment['id']}", query=query))["payment"]
    assert shown.keys() == {"id", "cart", "currency", "order", "swap"}
    query = {"fields": "id", "expand": "payments.cart,payments.currency,payments.order,payments.swap"}
    [inside] = (await orders.ok("GET", f"/admin/orders/{order['id']}", query=query))["order"]["payments"]
    assert {name: inside[name] for name in ("cart", "currency", "order", "swap")} == {
        name: shown[name] for name in ("cart", "currency", "order", "swap")
    }
    assert (shown["cart"]["id"], shown["cart"]["object"], shown["cart"]["type"]) == (
        order["cart_id"],
        "cart",
        "draft_order",
    )
    assert shown["currency"] == {
        "code": "eur",
        "symbol": "€",
        "symbol_native": "€",
        "name": "Euro",
        "includes_tax": False,
    }
    assert (shown["order"]["id"], shown["swap"]) == (order["id"], None)


async def test_what_a_refund_is_of(payments: Client, orders: Client, order: dict[str, Any]) -> None:
    [payment] = order["payments"]
    await payments.ok("POST", f"/admin/payments/{payment['id']}/refund", {"amount": 700, "reason": "return"})
    await orders.ok("POST", f"/admin/orders/{order['id']}/refund", {"amount": 300, "reason": "other"})
    query = {"fields": "id", "expand": "refunds.order,refunds.payment,payments"}
    found = (await orders.ok("GET", f"/admin/orders/{order['id']}", query=query))["order"]
    [one, other] = sorted(found["refunds"], key=lambda refund: refund["amount"])
    assert (one["payment"], one["order"]["id"]) == (None, order["id"])  # taken from whichever of the order's payments
    assert [other["payment"]] == found["payments"]
    assert (other["payment"]["amount_refunded"], other["order"]) == (1000, one["order"])
