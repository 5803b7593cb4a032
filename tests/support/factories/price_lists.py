"""Price lists that the tests start from, and the customers that some are for."""

import secrets
from typing import Any

from services.chassis.bus import Bus
from services.chassis.keys import BUS
from tests.support.client import Client
from tests.support.stack import Stack
from tests.support.waiting import until

Json = dict[str, Any]


def euros(variant_id: str, amount: int, **more: Any) -> Json:
    return {"variant_id": variant_id, "currency_code": "eur", "amount": amount, **more}


async def make_list(catalog: Client, *prices: Json, **more: Any) -> Json:
    """An active sale of these prices."""
    body = {"name": f"Sale {secrets.token_hex(4)}", "description": "d", "type": "sale", "status": "active"}
    answer = await catalog.ok("POST", "/admin/price-lists", {**body, "prices": list(prices), **more})
    price_list: Json = answer["price_list"]
    return price_list


async def the_list(catalog: Client, list_id: str) -> Json:
    price_list: Json = (await catalog.ok("GET", f"/admin/price-lists/{list_id}"))["price_list"]
    return price_list


def amounts(price_list: Json) -> list[int]:
    return [price["amount"] for price in price_list["prices"]]


async def connected(stack: Stack) -> None:
    """Wait until the catalog can ask other services."""
    bus: Bus = stack.apps["catalog"][BUS]

    async def check() -> bool:
        return bus.connected

    await until(check)


async def make_group(stack: Stack, orders: Client) -> Json:
    """A group of customers without members."""
    await connected(stack)
    body = {"name": f"VIP {secrets.token_hex(4)}"}
    group: Json = (await orders.ok("POST", "/admin/customer-groups", body))["customer_group"]
    return group


async def make_customer(orders: Client, *groups: Json) -> str:
    """Makes a customer who is in these groups."""
    body = {"email": f"{secrets.token_hex(4)}@example.com", "first_name": "A", "last_name": "B", "password": "x"}
    status, answer = await orders.post("/admin/customers", body)
    assert status == 201
    for group in groups:
        path = f"/admin/customer-groups/{group['id']}/customers/batch"
        await orders.ok("POST", path, {"customer_ids": [{"id": answer["customer"]["id"]}]})
    return str(answer["customer"]["id"])
