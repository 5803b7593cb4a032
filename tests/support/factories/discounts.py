"""Discounts that the tests start from."""

import secrets
from typing import Any

from tests.support.client import Client

TEN_PERCENT = {"type": "percentage", "value": 10, "allocation": "total"}


def discount_body(region: dict[str, Any], *conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The body of a discount of ten percent; `rule` is merged into its rule."""
    rule = TEN_PERCENT | ({"conditions": list(conditions)} if conditions else {}) | more.pop("rule", {})
    return {"code": f"code-{secrets.token_hex(4)}", "rule": rule, "regions": [region["id"]]} | more


async def make_discount(
    catalog: Client, region: dict[str, Any], *conditions: dict[str, Any], **more: Any
) -> dict[str, Any]:
    body = discount_body(region, *conditions, **more)
    discount: dict[str, Any] = (await catalog.ok("POST", "/admin/discounts", body))["discount"]
    return discount


async def one(catalog: Client, discount: dict[str, Any], **query: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await catalog.ok("GET", f"/admin/discounts/{discount['id']}", query=query))["discount"]
    return shown


async def make_group(orders: Client) -> str:
    """A customer group of the orders service."""
    body = {"name": f"Group {secrets.token_hex(4)}"}
    group: str = (await orders.ok("POST", "/admin/customer-groups", body))["customer_group"]["id"]
    return group
