"""The main job over the gateway, four services, Postgres and RabbitMQ, and what it promises on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import orjson
import pytest
from pydantic import SecretStr

from services.chassis.service import make_app
from tests.support.client import Client
from tests.support.factories.shops import Shop, place, set_up
from tests.support.locks import in_transaction, stalled, waits
from tests.support.stack import SECRET, Stack, serve
from tests.support.waiting import until


@pytest.fixture(scope="module")
async def shop(api: Client) -> Shop:
    return await set_up(api)


@asynccontextmanager
async def subscriber(stack: Stack) -> AsyncIterator[list[dict[str, Any]]]:
    """All events of the product, as another system would get them: an own queue on the events exchange."""
    seen: list[dict[str, Any]] = []
    connection = await aio_pika.connect(stack.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(f"{stack.namespace}.events", "order.#")

        async def receive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = orjson.loads(message.body)
            assert (message.routing_key, message.message_id) == (event["type"], event["id"])
            assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
            seen.append(event)

        await queue.consume(receive, no_ack=True)
        yield seen


async def test_from_draft_to_completed_order(api: Client, stack: Stack, shop: Shop) -> None:
    async with subscriber(stack) as events:
        draft = (await api.ok("POST", "/admin/draft-orders", shop.draft()))["draft_order"]
        assert (draft["status"], draft["cart"]["total"]) == ("open", 2500)
        order = (await api.ok("POST", f"/admin/draft-orders/{draft['id']}/pay"))["order"]
        path, item = f"/admin/orders/{order['id']}", order["items"][0]["id"]
        assert (order["status"], order["payment_status"], order["fulfillment_status"], order["total"]) == (
            "pending",
            "captured",
            "not_fulfilled",
            2500,
        )
        assert [(p["provider_id"], p["amount"], p["captured_at"] is not None) for p in order["payments"]] == [
            ("system", 2500, True)
        ]
        order = (await api.ok("POST", f"{path}/fulfillment", {"items": [{"item_id": item, "quantity": 1}]}))["order"]
        assert (order["fulfillment_status"], order["items"][0]["fulfilled_quantity"]) == ("partially_fulfilled", 1)
        first = order["fulfillments"][0]["id"]
        order = (await api.ok("POST", f"{path}/fulfillment", {"items": [{"item_id": item, "quantity": 1}]}))["order"]
        assert (order["fulfillment_status"], order["items"][0]["fulfilled_quantity"]) == ("fulfilled", 2)
        shipment = {"fulfillment_id": first, "tracking_numbers": ["DHL1231232113"]}
        order = (await api.ok("POST", f"{path}/shipment", shipment))["order"]
        assert order["fulfillment_status"] == "partially_shipped"
        shipped = next(f for f in order["fulfillments"] if f["id"] == first)
        assert [link["tracking_number"] for link in shipped["tracking_links"]] == ["DHL1231232113"]
        await api.ok("POST", f"{path}/capture")
        order = (await api.ok("POST", f"{path}/complete"))["order"]
        assert order["status"] == "completed"

        async def heard() -> bool:
            return any(e["type"] == "order.completed" for e in events if e["subject"] == order["id"])

        await until(heard)
        mine = sorted((e for e in events if e["subject"] == order["id"]), key=lambda e: int(e["sequence"]))
        assert [e["type"] for e in mine] == [
            "order.placed",
            "order.payment_captured",
            "order.fulfillment_created",
            "order.fulfillment_created",
            "order.shipment_created",
            "order.completed",
        ]
        assert [int(e["sequence"]) for e in mine] == [1, 2, 3, 4, 5, 6]
        assert {e["specversion"] for e in mine} == {"1.0"}
        assert {e["source"] for e in mine} == {"/mercer/orders"}
        assert {e["data"]["id"] for e in mine} == {order["id"]}


async def test_reads_are_one_statement(api: Client, stack: Stack, shop: Shop) -> None:
    order = await place(api, shop)
    paths = {
        "orders": [f"/admin/orders/{order['id']}", "/admin/orders", "/admin/draft-orders", "/admin/customers"],
        "catalog": [f"/admin/products/{shop.product}", "/admin/products", "/admin/regions", "/admin/store"],
        "payments": [f"/admin/payments/{order['payments'][0]['id']}"],
        "inventory": ["/admin/inventory-items", "/admin/stock-locations", "/admin/reservations"],
    }
    for service, reads in paths.items():
        for path in reads:
            await api.ok("GET", path)  # the first time, a connection also prepares the statement
            with stack.statements(service) as seen:
                await api.ok("GET", path)
            asked = [
                text for text in seen if not any(word in text for word in ("outbox", "sagas", "advisory", "UNLISTEN"))
            ]
            assert len(asked) == 1, (path, asked)


async def test_a_write_holds_nothing_while_it_waits_for_another_service(api: Client, stack: Stack, shop: Shop) -> None:
    draft = (await api.ok("POST", "/admin/draft-orders", shop.draft()))["draft_order"]
    for service, table, path, body in (
        ("catalog", "product_variants", "/admin/draft-orders", shop.draft()),
        ("payments", "payments", f"/admin/draft-orders/{draft['id']}/pay", None),
    ):
        async with stalled(stack, service, table):
            asked = asyncio.create_task(api.post(path, body))

            await until(partial(waits, stack, service))
            assert await in_transaction(stack, "orders") == 0
            assert not asked.done()
        status, answer = await asked
        assert status == 200, answer


async def test_without_the_broker_reads_and_local_writes_work(api: Client, stack: Stack, shop: Shop, uid: str) -> None:
    order = await place(api, shop)
    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    from services.orders.service import SERVICE

    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        assert (await cut_off.get(f"/admin/orders/{order['id']}"))[0] == 200
        before = await api.ok("GET", "/admin/draft-orders", query={"limit": "1"})
        status, answer = await cut_off.post("/admin/draft-orders", shop.draft(email=f"{uid}@example.com"))
        assert (status, answer["type"]) == (503, "unavailable")
        assert (await api.ok("GET", "/admin/draft-orders", query={"limit": "1"}))["count"] == before["count"]
        assert (await api.ok("GET", "/admin/customers", query={"q": uid}))["count"] == 0
        async with subscriber(stack) as events:
            status, answer = await cut_off.post(f"/admin/orders/{order['id']}/complete")
            assert (status, answer["order"]["status"]) == (200, "completed")

            async def left() -> bool:
                return any(e["subject"] == order["id"] and e["type"] == "order.completed" for e in events)

            await until(left)
    finally:
        await runner.cleanup()


async def test_services_answer_the_gateway_only(stack: Stack) -> None:
    for service in ("orders", "catalog", "payments", "inventory"):
        visitor = Client(stack.session, stack.urls[service], dict)
        assert (await visitor.get("/admin/anything"))[0] == 401
        assert (await visitor.get("/health"))[0] == 200
        forged = {"X-Mercer-Actor": "e30.e30.e30", "Authorization": f"Bearer {SECRET}"}
        assert (await visitor.get("/admin/anything", headers=forged))[0] == 401
