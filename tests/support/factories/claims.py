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
    shipped_order: Row = (await api.ok("POST", f"{path_of(order)}/shipment", shipment))["order"]
    return shipped_order


async def shipped(api: Client, shop: Shop, **more: Any) -> Row:
    """A shipped order of 2 of the small variant and 1 of the large; it costs 40.00."""
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    return await ship(api, await place(api, shop, **{"items": items} | more))


async def shown(api: Client, order: Row) -> Row:
    whole: Row = (await api.ok("GET", path_of(order), query=VIEW))["order"]
    return whole


async def claim(api: Client, order: Row, body: Row) -> Row:
    """The claim that was made of this body."""
    known = {each["id"] for each in (await shown(api, order))["claims"]}
    await api.ok("POST", f"{path_of(order)}/claims", body)
    (row,) = [each for each in (await shown(api, order))["claims"] if each["id"] not in known]
    claim_row: Row = row
    return claim_row


async def again(api: Client, order: Row, before: Row) -> Row:
    """The claim as it is now."""
    now: Row = next(each for each in (await shown(api, order))["claims"] if each["id"] == before["id"])
    return now


async def books(api: Client, order: Row) -> tuple[int, list[tuple[int, str]]]:
    """(refunded in all, the refunds with their reasons); orders and payments agree about them."""
    whole = await shown(api, order)
    payment = (await api.ok("GET", f"/admin/payments/{whole['payments'][0]['id']}"))["payment"]
    refunds = [(refund["amount"], refund["reason"]) for refund in whole["refunds"]]
    assert payment["amount_refunded"] == whole["refunded_total"] == sum(amount for amount, _ in refunds)
    assert whole["refundable_amount"] == whole["paid_total"] - whole["refunded_total"]
    assert [each["amount_refunded"] for each in whole["payments"]] == [payment["amount_refunded"]]
    return whole["refunded_total"], refunds


async def sold(house: Warehouse, quantity: int = 2) -> Row:
    """An order of the small variant, shipped without stock having moved: from elsewhere."""
    small = {"variant_id": house.shop.small, "quantity": quantity}
    return await ship(house.api, await place(house.api, house.shop, items=[small]))
