"""Carts as the catalog is asked to price them."""

from typing import Any

import pytest

from services.catalog.pricing.carts import price_cart
from services.chassis.errors import ApiError
from tests.support.stack import Stack


def cart(region: dict[str, Any], *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The body of the command, with the given lines numbered."""
    numbered = [
        {"id": f"item_{n}", "variant_id": None, "quantity": 1, "unit_price": None, "includes_tax": None} | item
        for n, item in enumerate(items)
    ]
    preset: dict[str, Any] = {
        "customer_id": None,
        "customer_group_ids": [],
        "discount_codes": [],
        "shipping_methods": [],
    }
    return {"region_id": region["id"], "items": numbered, **preset, **more}


def methods(*options: dict[str, Any], price: int | None = None) -> list[dict[str, Any]]:
    return [{"id": f"sm_{n}", "option_id": option["id"], "price": price} for n, option in enumerate(options)]


async def priced(stack: Stack, body: dict[str, Any]) -> dict[str, Any]:
    async with stack.pool("catalog").acquire() as db:
        return await price_cart(db, body)


async def refused(stack: Stack, body: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(ApiError) as refusal:
        await priced(stack, body)
    return refusal.value.status, refusal.value.type


def euros(amount: int, **more: Any) -> dict[str, Any]:
    return {"currency_code": "eur", "amount": amount, **more}
