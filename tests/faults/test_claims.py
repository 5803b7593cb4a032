"""kill -9 between the steps of what claims do with money and stock elsewhere: each flow is finished or compensated, and
the books of all services agree. Asked again under its Idempotency-Key it is answered, and done once.
"""

from typing import Any

import pytest

from services.orders.claims.cancellations import CANCEL_CLAIM
from services.orders.claims.claims import CREATE_CLAIM
from services.orders.service import SERVICE as ORDERS
from tests.support.client import Client
from tests.support.factories.claims import Row, item, path_of, refund_of, replacement, ship, shown
from tests.support.factories.shops import place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.fault_injection import Kill, compensated, points
from tests.support.invariants import check_books, check_stock
from tests.support.stack import Stack

FULFILL, CANCEL_FULFILLMENT = ORDERS.sagas["fulfill"], ORDERS.sagas["cancel_fulfillment"]


@pytest.fixture
async def house(api: Client) -> Warehouse:
    """10 of the small variant."""
    return await make_warehouse(api)


@pytest.fixture
async def order(api: Client, house: Warehouse) -> Row:
    """2 of the small variant, 10.00 each, shipped from elsewhere."""
    return await ship(api, await place(api, house.shop))


@pytest.fixture
async def created(api: Client, house: Warehouse, order: Row) -> Row:
    """A claim that sends 3 of the small variant, for which they are reserved."""
    body = replacement(house.shop, order, (1000, 1), quantity=3)
    claim: Row = (await api.ok("POST", f"{path_of(order)}/claims", body))["order"]["claims"][0]
    return claim


async def again(orders: Client, key: str, path: str, body: Any = None) -> Row:
    """The claim in the answer to the same request, sent once more."""
    status, answer = await orders.post(path, body, headers={"Idempotency-Key": key})
    assert status == 200, answer
    (created,) = answer["order"]["claims"]
    claim: Row = created
    return claim


async def agreed(stack: Stack, house: Warehouse, order: Row) -> tuple[int, tuple[int, int]]:
    """(refunded, (stocked, reserved) of the small variant); all books agree."""
    await check_stock(stack)
    refunded: int = (await check_books(stack, order["id"]))["refunded_total"]
    return refunded, (await house.stock(stack))[house.shop.small]


@pytest.mark.parametrize("point", points(CREATE_CLAIM))
async def test_create(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Row, point: str
) -> None:
    """Money goes back, something else is sent, the goods are to be returned: all that a claim can do."""
    more = {"variant_id": house.shop.small, "quantity": 3}
    label = {"option_id": house.shop.shipping_option, "price": 0}
    body = refund_of(order, (1000, 2), refund_amount=700, return_shipping=label) | {"additional_items": [more]}
    path = f"{path_of(order)}/claims"
    key = await kill("orders", "create_claim", point, path, body)
    if compensated(point):
        assert await agreed(stack, house, order) == (0, (10, 0))
        after = await shown(api, order)
        assert (after["claims"], after["returns"]) == ([], [])
    for _ in range(2):
        claim = await again(orders, key, path, body)
        assert (claim["payment_status"], claim["refund_amount"]) == ("refunded", 700)
        assert [each["item_id"] for each in claim["claim_items"]] == [item(order, 1000)]
        assert [line["quantity"] for line in claim["additional_items"]] == [3]
        assert claim["return_order"]["refund_amount"] == 700
        assert await agreed(stack, house, order) == (700, (10, 3))
    assert len((await shown(api, order))["returns"]) == 1


@pytest.mark.parametrize("point", points(CANCEL_CLAIM))
async def test_cancel(
    stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Row, created: Row, point: str
) -> None:
    path = f"{path_of(order)}/claims/{created['id']}/cancel"
    key = await kill("orders", "cancel_claim", point, path)
    for _ in range(2):
        claim = await again(orders, key, path)
        assert (claim["fulfillment_status"], claim["canceled_at"] is None) == ("canceled", False)
        assert await agreed(stack, house, order) == (0, (10, 0))


@pytest.mark.parametrize("point", points(FULFILL))
async def test_fulfill(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Row, created: Row, point: str
) -> None:
    path, body = f"{path_of(order)}/claims/{created['id']}/fulfillments", {"location_id": house.location}
    key = await kill("orders", "fulfill", point, path, body)
    if compensated(point):
        assert await agreed(stack, house, order) == (0, (10, 3))
        (claim,) = (await shown(api, order))["claims"]
        assert (claim["fulfillment_status"], claim["fulfillments"]) == ("not_fulfilled", [])
    for _ in range(2):
        claim = await again(orders, key, path, body)
        assert (claim["fulfillment_status"], len(claim["fulfillments"])) == ("fulfilled", 1)
        assert [line["fulfilled_quantity"] for line in claim["additional_items"]] == [3]
        assert await agreed(stack, house, order) == (0, (7, 0))


@pytest.mark.parametrize("point", points(CANCEL_FULFILLMENT))
async def test_cancel_fulfillment(
    api: Client, stack: Stack, orders: Client, kill: Kill, house: Warehouse, order: Row, created: Row, point: str
) -> None:
    path = f"{path_of(order)}/claims/{created['id']}/fulfillments"
    fulfilled = (await api.ok("POST", path, {"location_id": house.location}))["order"]["claims"][0]["fulfillments"][0]
    path = f"{path}/{fulfilled['id']}/cancel"
    key = await kill("orders", "cancel_fulfillment", point, path)
    for _ in range(2):
        claim = await again(orders, key, path)
        assert claim["fulfillment_status"] == "canceled"
        assert [line["fulfilled_quantity"] for line in claim["additional_items"]] == [0]
        assert await agreed(stack, house, order) == (0, (10, 0))
