"""Every state that an order can be in, and what each action does to it, for tests/orders/orders/test_transitions.py.

python -m tests.support.order_transitions --base http://127.0.0.1:9100      prints what that server answers
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.support.client import Client
from tests.support.factories.shops import Shop, place, set_up

Order = dict[str, Any]
Outcome = str  # "status fulfillment_status payment_status" afterwards, or "400 not_allowed"

# State: how a paid order of two pieces gets there.
STATES: dict[str, list[str]] = {
    "new": [],
    "completed": ["complete"],
    "archived": ["complete", "archive"],
    "canceled": ["cancel"],
    "partly fulfilled": ["fulfill one"],
    "fulfilled": ["fulfill all"],
    "partly shipped": ["fulfill one", "ship"],
    "shipped": ["fulfill all", "ship"],
    "fulfillment canceled": ["fulfill all", "cancel fulfillment"],
    "partly refunded": ["refund 100"],
    "refunded": ["refund all"],
    "return wanted": ["return one"],
    "returned": ["fulfill all", "ship", "return all", "receive"],
    "partly returned": ["fulfill all", "ship", "return one", "receive"],
}


async def act(api: Client, order_id: str, action: str) -> tuple[int, Any]:
    """Do something to an order, as it is."""
    path = f"/admin/orders/{order_id}"
    order = (await api.ok("GET", path))["order"]
    item, alive = order["items"][0]["id"], [f for f in order["fulfillments"] if f["canceled_at"] is None]
    fulfillment = (alive or order["fulfillments"] or [{"id": "ful_missing"}])[0]["id"]
    back = (order["returns"] or [{"id": "ret_missing"}])[0]["id"]

    def lines(quantity: int) -> dict[str, Any]:
        return {"items": [{"item_id": item, "quantity": quantity}]}

    actions: dict[str, Callable[[], Awaitable[tuple[int, Any]]]] = {
        "complete": lambda: api.post(f"{path}/complete"),
        "archive": lambda: api.post(f"{path}/archive"),
        "cancel": lambda: api.post(f"{path}/cancel"),
        "capture": lambda: api.post(f"{path}/capture"),
        "update": lambda: api.post(path, {"no_notification": True}),
        "fulfill one": lambda: api.post(f"{path}/fulfillment", lines(1)),
        "fulfill all": lambda: api.post(f"{path}/fulfillment", lines(2)),
        "ship": lambda: api.post(f"{path}/shipment", {"fulfillment_id": fulfillment}),
        "cancel fulfillment": lambda: api.post(f"{path}/fulfillments/{fulfillment}/cancel"),
        "refund 100": lambda: api.post(f"{path}/refund", {"amount": 100, "reason": "other"}),
        "refund all": lambda: api.post(f"{path}/refund", {"amount": order["paid_total"], "reason": "other"}),
        "return one": lambda: api.post(f"{path}/return", lines(1)),
        "return all": lambda: api.post(f"{path}/return", lines(2)),
        "receive": lambda: api.post(
            f"/admin/returns/{back}/receive",
            {"items": [{"item_id": i["item_id"], "quantity": i["quantity"]} for i in order["returns"][0]["items"]]}
            if order["returns"]
            else lines(1),
        ),
    }
    return await actions[action]()


ACTIONS = (
    "complete", "archive", "cancel", "capture", "update", "fulfill one", "fulfill all", "ship", "cancel fulfillment",
    "refund 100", "refund all", "return one", "receive",
)  # fmt: skip


async def shown(api: Client, order_id: str) -> Outcome:
    order = (await api.ok("GET", f"/admin/orders/{order_id}"))["order"]
    return f"{order['status']} {order['fulfillment_status']} {order['payment_status']}"


async def make(api: Client, shop: Shop, state: str) -> str:
    """The id of an order in this state."""
    order: Order = await place(api, shop)
    for action in STATES[state]:
        status, answer = await act(api, order["id"], action)
        assert status == 200, (state, action, answer)
    order_id: str = order["id"]
    return order_id


async def outcomes(api: Client, shop: Shop, state: str, *, strict: bool = True) -> dict[str, Outcome]:
    """What each action does in this state. A refusal changes nothing, which is checked where `strict`, so that the next
    action meets the same order."""
    order_id, results = await make(api, shop, state), {}
    before = await api.ok("GET", f"/admin/orders/{order_id}")
    for action in ACTIONS:
        status, answer = await act(api, order_id, action)
        results[action] = await shown(api, order_id) if status == 200 else f"{status} {answer['type']}"
        if await api.ok("GET", f"/admin/orders/{order_id}") != before:
            assert status == 200 or not strict, (state, action)
            order_id = await make(api, shop, state)
            before = await api.ok("GET", f"/admin/orders/{order_id}")
    return results


async def record(base: str) -> None:
    """Print what the server at `base` answers, as rows of the table."""
    async with aiohttp.ClientSession() as session:
        visitor = Client(session, base, dict)
        login = {"email": "admin@example.com", "password": "supersecret"}
        token = (await visitor.ok("POST", "/admin/auth/token", login))["access_token"]
        api = Client(session, base, lambda: {"Authorization": f"Bearer {token}"})
        shop = await set_up(api)
        for state in STATES:
            for action, outcome in (await outcomes(api, shop, state, strict=False)).items():
                print(f"{state:21}| {action:19}| {outcome}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    asyncio.run(record(parser.parse_args().base))
