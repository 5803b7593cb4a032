"""What the tests of claims start from: a shipped order, claims of it, and the books that have to agree afterwards."""

from typing import Any

from tests.support.client import Client
from tests.support.factories.shops import Shop, place
from tests.support.factories.warehouses import Warehouse

Row = dict[str, Any]

# Everything of an order's claims, and what else they touch.
VIEW = {
    "expand": "items,refunds,payments,returns.items,returns.shipping_method,shipping_methods,fulfillments,"
    "claims.claim_items.tags,claims.claim_items.images,claims.additional_items.tax_lines,claims.shipping_methods,"
    "claims.return_order.items,claims.return_order.shipping_method,claims.fulfillments.tracking_links,"
    "claims.shipping_address"
}


def path_of(order: Row) -> str:
    return f"/admin/orders/{order['id']}"


def item(order: Row, price: int) -> str:
    """Id of the line with this price."""
    return str(next(line["id"] for line in order["items"] if line["unit_price"] == price))


def claimed(order: Row, *items: tuple[int, int], **more: Any) -> list[Row]:
    """The claim items of (price, quantity)."""
    return [{"item_id": item(order, price), "quantity": n, "reason": "other"} | more for price, n in items]


def refund_of(order: Row, *items: tuple[int, int], **more: Any) -> Row:
    """The body of a claim that gives money back."""
    return {"type": "refund", "claim_items": claimed(order, *items)} | more


def replacement(shop: Shop, order: Row, *items: tuple[int, int], quantity: int = 1, **more: Any) -> Row:
    """The body of a claim that sends the small variant instead, free of charge."""
    return {
        "type": "replace",
        "claim_items": claimed(order, *items),
        "additional_items": [{"variant_id": shop.small, "quantity": quantity}],
        "shipping_methods": [{"option_id": shop.shipping_option, "price": 0}],
    } | more


async def ship(api: Client, order: Row) -> Row:
    """The order with all of its lines shipped."""
    lines = [{"item_id": line["id"], "quantity": line["quantity"]} for line in order["items"]]
    fulfilled = (await api.ok("POST", f"{path_of(order)}/fulfillment", {"items": lines}))["order"]
    shipment = {"fulfillment_id": fulfilled["fulfillments"][0]["id"]}
    current: Row = (await api.ok("POST", f"{path_of(order)}/shipment", shipment))["order"]
    return current


async def shipped(api: Client, shop: Shop, **more: Any) -> Row:
    """A shipped order of 2 of the small variant and 1 of the large; it costs 40.00."""
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    return await ship(api, await place(api, shop, **{"items": items} | more))


async def shown(api: Client, order: Row) -> Row:
    current: Row = (await api.ok("GET", path_of(order), query=VIEW))["order"]
    return current


async def claim(api: Client, order: Row, body: Row) -> Row:
    """The claim that was made of this body."""
    known = {each["id"] for each in (await shown(api, order))["claims"]}
    await api.ok("POST", f"{path_of(order)}/claims", body)
    (created,) = [each for each in (await shown(api, order))["claims"] if each["id"] not in known]
    current: Row = created
    return current


async def again(api: Client, order: Row, created: Row) -> Row:
    """The claim as it is now."""
    current: Row = next(each for each in (await shown(api, order))["claims"] if each["id"] == created["id"])
    return current


async def books(api: Client, order: Row) -> tuple[int, list[tuple[int, str]]]:
    """(refunded in all, the refunds with their reasons); orders and payments agree about them."""
    current = await shown(api, order)
    payment = (await api.ok("GET", f"/admin/payments/{current['payments'][0]['id']}"))["payment"]
    refunds = [(refund["amount"], refund["reason"]) for refund in current["refunds"]]
    assert payment["amount_refunded"] == current["refunded_total"] == sum(amount for amount, _ in refunds)
    assert current["refundable_amount"] == current["paid_total"] - current["refunded_total"]
    assert [each["amount_refunded"] for each in current["payments"]] == [payment["amount_refunded"]]
    return current["refunded_total"], refunds


async def sold(house: Warehouse, quantity: int = 2) -> Row:
    """An order of the small variant, shipped without stock having moved: from elsewhere."""
    small = {"variant_id": house.shop.small, "quantity": quantity}
    return await ship(house.api, await place(house.api, house.shop, items=[small]))
