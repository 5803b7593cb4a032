"""An order's fulfillment as Shoplazza shows it. Money is decimal strings in the currency's own places, weights are
kilograms, times are UTC to the second. Pure."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from babel.numbers import get_currency_precision

from services.chassis.schemas import Either, Json

Row = Mapping[str, Any]


def money(minor: int | Decimal, currency: str) -> str:
    """`81.00` for 8100 cents, `8100` for as many yen."""
    places = get_currency_precision(currency.upper())
    return str((Decimal(minor).scaleb(-places)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def time_of(stamp: str) -> str:
    """`2024-04-22T08:37:12Z`, of a time with milliseconds."""
    return stamp.split(".", 1)[0].rstrip("Z") + "Z"


def kilograms(grams: float | None) -> str:
    """`1.10` for 1100 grams: two places, a third where it says something."""
    text = f"{Decimal(str(grams or 0)) / 1000:.3f}"
    return text.removesuffix("0")


def text_of(metadata: Any, name: str) -> str:
    """A text in some row's metadata, else nothing."""
    value = (metadata or {}).get(name)
    return value if isinstance(value, str) else ""


def status_of(fulfillment: Row) -> str:
    if fulfillment["canceled_at"]:
        return "cancelled"
    return "shipped" if fulfillment["shipped_at"] else "pending"


def fulfillment_of(order: Row, fulfillment: Row) -> dict[str, Any]:
    """`order` has its items with variants, products and tax lines; `fulfillment` its items and tracking links."""
    link: Row = next(iter(fulfillment["tracking_links"]), {})
    lines = {line["id"]: line for line in order["items"]}
    status = status_of(fulfillment)
    return {
        "id": fulfillment["id"],
        "order_id": order["id"],
        "status": status,
        "tracking_company": text_of(link.get("metadata"), "tracking_company"),
        "tracking_number": link.get("tracking_number") or "",
        "tracking_company_code": text_of(link.get("metadata"), "tracking_company_code"),
        "tracking_url": link.get("url") or "",
        "created_at": time_of(fulfillment["created_at"]),
        "updated_at": time_of(fulfillment["updated_at"]),
        "line_items": [
            line_of(lines[item["item_id"]], item["quantity"], status, order["currency_code"])
            for item in fulfillment["items"]
            if item["item_id"] in lines
        ],
    }


def line_of(line: Row, quantity: int, status: str, currency: str) -> dict[str, Any]:
    """A line as far as it is in the fulfillment."""
    variant = line["variant"] or {}
    product = variant.get("product") or {}
    metadata, returned = line["metadata"] or {}, line["returned_quantity"] or 0
    handle = product.get("handle") or ""
    return {
        "id": line["id"],
        "product_id": product.get("id") or "",
        "variant_id": line["variant_id"] or "",
        "variant_title": variant.get("title") or line["description"] or "",
        "product_title": product.get("title") or line["title"],
        "product_handle": handle,
        "quantity": quantity,
        "note": text_of(metadata, "note"),
        "fulfillment_status": status,
        "sku": variant.get("sku") or "",
        "weight_unit": "kg",
        "weight": kilograms(variant.get("weight") or product.get("weight")),
        "vendor": text_of(product.get("metadata"), "vendor"),
        "product_url": f"/products/{handle}" if handle else "",
        "image": line["thumbnail"] or product.get("thumbnail") or "",
        "price": money(line["unit_price"], currency),
        "total": money(line["unit_price"] * quantity, currency),
        "compare_at_price": text_of(variant.get("metadata"), "compare_at_price") or money(0, currency),
        "properties": [
            {"name": name, "value": value}
            for name, value in metadata.items()
            if name != "note" and isinstance(value, str | int | float | bool)
        ],
        "refund_quantity": returned,
        "refund_total": money(Decimal(line["total"]) * returned / line["quantity"], currency),
        "taxable": bool(line["tax_lines"]),
        "requires_shipping": not line["is_giftcard"],
        "shipping_quantity": 0 if status == "cancelled" else quantity,
    }


# What the functions above make, for the documentation.
STATUS = Either(("cancelled", "shipped", "pending"))
MONEY = Json({"type": "string", "description": "In the currency's own places: `81.00`."})
TIME = Json({"type": "string", "format": "date-time"})
LINE = {
    **dict.fromkeys(("id", "product_id", "variant_id", "variant_title", "product_title", "product_handle"), str),
    "quantity": int,
    "note": str,
    "fulfillment_status": STATUS,
    "sku": Either((str, None)),
    "weight_unit": "kg",
    "weight": str,
    **dict.fromkeys(("vendor", "product_url", "image"), str),
    **dict.fromkeys(("price", "total", "compare_at_price"), MONEY),
    "properties": [{"name": str, "value": Either((str, float, bool))}],
    "refund_quantity": int,
    "refund_total": MONEY,
    "taxable": bool,
    "requires_shipping": bool,
    "shipping_quantity": int,
}
FULFILLMENT = {
    "id": str,
    "order_id": str,
    "status": STATUS,
    **dict.fromkeys(("tracking_company", "tracking_number", "tracking_company_code", "tracking_url"), str),
    "created_at": TIME,
    "updated_at": TIME,
    "line_items": [LINE],
}
