"""Customers and groups of them, as tests of the orders service make them."""

from typing import Any

from tests.support.client import Client


async def make(orders: Client, name: str, **more: Any) -> dict[str, Any]:
    group: dict[str, Any] = (await orders.ok("POST", "/admin/customer-groups", {"name": name} | more))["customer_group"]
    return group


async def customer(orders: Client, email: str) -> str:
    body = {"email": email, "first_name": "A", "last_name": "B", "password": "x"}
    status, answer = await orders.post("/admin/customers", body)
    assert status == 201
    return str(answer["customer"]["id"])
