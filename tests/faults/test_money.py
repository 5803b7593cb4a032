"""kill -9 between the steps of every flow that moves money or stock elsewhere: it is finished or compensated, and the
books of all services agree. Asked again under its Idempotency-Key it is answered, and done once.
"""

from typing import Any

import pytest

from services.orders.drafts.placements import CAPTURE_PLACED, PLACE_ORDER
from services.orders.orders.cancellations import CANCEL_ORDER
from services.orders.orders.captures import CAPTURE
from services.orders.orders.refunds import REFUND
from services.orders.returns.receipts import RECEIVE_RETURN
from services.orders.returns.returns import RETURN_NOW
from services.orders.service import SERVICE as ORDERS
from services.payments.payments import CAPTURE_ALL
from services.payments.refunds import GIVE_BACK
from tests.support.client import Client
from tests.support.factories.orders import uncapture
from tests.support.factories.shops import place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.fake_stripe import FakeStripe, environment
from tests.support.fault_injection import Kill, compensated, points
from tests.support.invariants import check_books, check_stock, payments_heard
from tests.support.stack import Stack

Order = dict[str, Any]
FULFILL, CANCEL_FULFILLMENT = ORDERS.sagas["fulfill"], ORDERS.sagas["cancel_fulfillment"]


@pytest.fixture
async def house(api: Client) -> Warehouse:
    return await make_warehouse(api)


@pytest.fixture
async def order(api: Client, house: Warehouse) -> Order:
    """2 of the small variant, 10.00 each, and shipping of 5.00: paid."""
    return await place(api, house.shop)


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


def items(order: Order, quantity: int = 2) -> list[dict[str, Any]]:
    return [{"item_id": order["items"][0]["id"], "quantity": quantity}]


async def again(orders: Client, key: str, path: str, body: Any = None) -> Any:
    """The answer to the same request, sent once more."""
    status, answer = await orders.post(path, body, headers={"Idempotency-Key": key})
    assert status == 200, answer
    return answer


async def check_agreement(stack: Stack, order: Order) -> dict[str, Any]:
    await check_stock(stack)
    return await check_books(stack, order["id"])


@pytest.mark.parametrize("point", points(CAPTURE))
async def test_capture(stack: Stack, orders: Client, kill: Kill, order: Order, point: str) -> None:
    await uncapture(stack, order)
    path = f"{path_of(order)}/capture"
    key = await kill("orders", "capture", point, path)
    assert (await check_agreement(stack, order))["payment_status"] == "captured"
    assert (await again(orders, key, path))["order"]["payment_status"] == "captured"
    assert (await check_agreement(stack, order))["payment_status"] == "captured"


@pytest.mark.parametrize("point", points(REFUND))
async def test_refund(stack: Stack, orders: Client, kill: Kill, order: Order, point: str) -> None:
    path, body = f"{path_of(order)}/refund", {"amount": 700, "reason": "other"}
    key = await kill("orders", "refund", point, path, body)
    for _ in range(2):
        found = await check_agreement(stack, order)
        assert (found["payment_status"], found["refunded_total"]) == ("partially_refunded", 700)
        answer = (await again(orders, key, path, body))["order"]
        assert [refund["amount"] for refund in answer["refunds"]] == [700]


@pytest.mark.parametrize("point", points(CANCEL_ORDER))
async def test_cancel(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Order, point: str
) -> None:
    line = order["items"][0]["id"]
    await api.ok("POST", f"{path_of(order)}/line-items/{line}/reserve", {"location_id": house.location})
    assert (await house.stock(stack))[house.shop.small] == (10, 2)
    path = f"{path_of(order)}/cancel"
    key = await kill("orders", "cancel_order", point, path)
    for _ in range(2):
        assert (await check_agreement(stack, order))["status"] == "canceled"
        assert (await house.stock(stack))[house.shop.small] == (10, 0)
        assert (await again(orders, key, path))["order"]["status"] == "canceled"


@pytest.mark.parametrize("point", points(RECEIVE_RETURN))
async def test_receive_and_refund(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Order, point: str
) -> None:
    returned = (await api.ok("POST", f"{path_of(order)}/return", {"items": items(order)}))["order"]["returns"][0]
    path, body = f"/admin/returns/{returned['id']}/receive", {"items": items(order), "location_id": house.location}
    key = await kill("orders", "receive_return", point, path, body)
    if compensated(point):
        found = await check_agreement(stack, order)
        assert (found["refunded_total"], (await house.stock(stack))[house.shop.small]) == (0, (10, 0))
        assert (await api.ok("GET", path_of(order)))["order"]["returns"][0]["status"] == "requested"
    answer = (await again(orders, key, path, body))["return"]
    assert (answer["status"], answer["items"][0]["received_quantity"]) == ("received", 2)
    found = await check_agreement(stack, order)
    assert (found["refunded_total"], (await house.stock(stack))[house.shop.small]) == (2000, (12, 0))
    assert (await orders.post(path, body))[0] == 400


@pytest.mark.parametrize("point", points(RETURN_NOW))
async def test_return_now(
    stack: Stack, api: Client, orders: Client, kill: Kill, house: Warehouse, order: Order, point: str
) -> None:
    body = {"items": items(order), "receive_now": True, "location_id": house.location}
    path = f"{path_of(order)}/return"
    key = await kill("orders", "return_now", point, path, body)
    if compensated(point):
        assert (await house.stock(stack))[house.shop.small] == (10, 0)
        assert (await api.ok("GET", path_of(order)))["order"]["returns"] == []
    answer = (await again(orders, key, path, body))["order"]
    assert [made["status"] for made in answer["returns"]] == ["received"]
    assert answer["items"][0]["returned_quantity"] == 2
    assert (await house.stock(stack))[house.shop.small] == (12, 0)
    assert (await check_agreement(stack, order))["refunded_total"] == 0


@pytest.mark.parametrize("point", points(FULFILL))
async def test_fulfill(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Order, point: str
) -> None:
    line = order["items"][0]["id"]
    await api.ok("POST", f"{path_of(order)}/line-items/{line}/reserve", {"location_id": house.location})
    path, body = f"{path_of(order)}/fulfillment", {"items": items(order), "location_id": house.location}
    key = await kill("orders", "fulfill", point, path, body)
    if compensated(point):
        assert (await house.stock(stack))[house.shop.small] == (10, 2)
        found = (await api.ok("GET", path_of(order)))["order"]
        assert (found["fulfillments"], found["fulfillment_status"]) == ([], "not_fulfilled")
    answer = (await again(orders, key, path, body))["order"]
    assert (len(answer["fulfillments"]), answer["fulfillment_status"]) == (1, "fulfilled")
    assert (await house.stock(stack))[house.shop.small] == (8, 0)
    await check_agreement(stack, order)


@pytest.mark.parametrize("point", points(CANCEL_FULFILLMENT))
async def test_cancel_fulfillment(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Order, point: str
) -> None:
    body = {"items": items(order), "location_id": house.location}
    made = (await api.ok("POST", f"{path_of(order)}/fulfillment", body))["order"]["fulfillments"][0]
    assert (await house.stock(stack))[house.shop.small] == (8, 0)
    path = f"{path_of(order)}/fulfillments/{made['id']}/cancel"
    key = await kill("orders", "cancel_fulfillment", point, path)
    for _ in range(2):
        assert (await house.stock(stack))[house.shop.small] == (10, 0)
        await check_agreement(stack, order)
        answer = (await again(orders, key, path))["order"]
        assert answer["fulfillments"][0]["canceled_at"] is not None


@pytest.mark.parametrize("point", points(PLACE_ORDER, "reserve", "authorize", "order"))
async def test_place(api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str) -> None:
    draft = (await api.ok("POST", "/admin/draft-orders", house.shop.draft()))["draft_order"]
    path = f"/admin/draft-orders/{draft['id']}/pay"
    key = await kill("orders", "place_order", point, path)
    if compensated(point):
        held = await stack.pool("payments").fetch(
            "select canceled_at is not null as canceled from payments where cart_id = $1", draft["cart_id"]
        )
        assert all(row["canceled"] for row in held)
        assert (await api.ok("GET", f"/admin/draft-orders/{draft['id']}"))["draft_order"]["status"] == "open"
    made = (await again(orders, key, path))["order"]
    await kill.restart("orders")
    assert (await check_agreement(stack, made))["payment_status"] == "captured"
    count = "select count(*) from orders where draft_order_id = $1"
    assert await stack.pool("orders").fetchval(count, draft["id"]) == 1


@pytest.mark.parametrize("point", points(CAPTURE_PLACED))
async def test_capture_of_what_was_placed(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, point: str
) -> None:
    draft = (await api.ok("POST", "/admin/draft-orders", house.shop.draft()))["draft_order"]
    path = f"/admin/draft-orders/{draft['id']}/pay"
    key = await kill("orders", "capture_placed", point, path)
    made = (await again(orders, key, path))["order"]
    assert (await check_agreement(stack, made))["payment_status"] == "captured"


# In payments, with a provider that is far away: the same for what it is asked


@pytest.fixture
async def payment(stack: Stack, stripe: FakeStripe, order: Order) -> dict[str, Any]:
    """The payment of the order, made one of Stripe's that waits for its capture."""
    intent = stripe.confirmed(order["total"])
    await uncapture(stack, order)
    for service in ("payments", "orders"):
        await stack.pool(service).execute(
            "update payments set provider_id = 'stripe', data = jsonb_build_object('id', $2::text) where order_id = $1",
            order["id"],
            intent["id"],
        )
    return {"id": order["payments"][0]["id"], "intent": intent["id"]}


@pytest.fixture
def kill_payments(kill: Kill, stripe: FakeStripe) -> Kill:
    kill.environment = environment(stripe)
    return kill


@pytest.mark.parametrize("point", points(CAPTURE_ALL.steps))
async def test_capture_by_stripe(
    stack: Stack,
    payments: Client,
    kill_payments: Kill,
    stripe: FakeStripe,
    order: Order,
    payment: dict[str, Any],
    point: str,
) -> None:
    path = f"/admin/payments/{payment['id']}/capture"
    key = await kill_payments("payments", CAPTURE_ALL.kind, point, path)
    if compensated(point):
        assert stripe.held(payment["intent"]) == 0
        assert (await check_agreement(stack, order))["payment_status"] == "awaiting"
    assert (await again(payments, key, path))["payment"]["captured_at"] is not None
    await payments_heard(stack)
    assert (await check_agreement(stack, order))["payment_status"] == "captured"
    assert stripe.held(payment["intent"]) == order["total"]


@pytest.mark.parametrize("point", points(GIVE_BACK.steps))
async def test_refund_by_stripe(
    stack: Stack,
    payments: Client,
    kill_payments: Kill,
    stripe: FakeStripe,
    order: Order,
    payment: dict[str, Any],
    point: str,
) -> None:
    await payments.ok("POST", f"/admin/payments/{payment['id']}/capture")
    path, body = f"/admin/payments/{payment['id']}/refund", {"amount": 700, "reason": "other"}
    key = await kill_payments("payments", GIVE_BACK.kind, point, path, body)
    assert stripe.refunded(payment["intent"]) == (0 if compensated(point) else 700)
    assert (await again(payments, key, path, body))["refund"]["amount"] == 700
    assert (await check_agreement(stack, order))["refunded_total"] == 700
    assert stripe.refunded(payment["intent"]) == 700
