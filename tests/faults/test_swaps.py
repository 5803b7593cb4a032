"""kill -9 between the steps of every flow of a swap that moves money or stock elsewhere: after the restart it is
finished or compensated, in all services, and the same request again is answered.
"""

from typing import Any

import pytest

from services.orders.carts.completions import COMPLETE_SWAP
from services.orders.fulfillments.cancellations import CANCEL_FULFILLMENT
from services.orders.fulfillments.creations import FULFILL
from services.orders.swaps.cancellations import CANCEL_SWAP
from services.orders.swaps.payments import PROCESS_SWAP_PAYMENT
from tests.support.client import Client
from tests.support.factories.swaps import Swapping, SwapShop, depot_of
from tests.support.fault_injection import Kill, compensated, points
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
STOCK = 10


@pytest.fixture
async def depot(api: Client, stack: Stack) -> SwapShop:
    return await depot_of(api, stack, STOCK)


async def books(depot: SwapShop, swap: Swapping) -> list[tuple[int, int, bool, bool]]:
    """(amount, refunded, captured, canceled) of the order's payments that payments has, by their ids; what orders shows
    of them is the same, but for those that it has never heard of."""
    sql = (
        "select id, amount, amount_refunded, captured_at is not null, canceled_at is not null from payments "
        "where order_id = $1 order by id"
    )

    async def agree() -> Any:
        theirs, ours = [
            [tuple(row) for row in await depot.stack.pool(name).fetch(sql, swap.order["id"])]
            for name in ("payments", "orders")
        ]
        return [row[1:] for row in theirs] if theirs == ours else None

    return list(await until(agree))


async def again(depot: SwapShop, path: str, key: str, body: Any = None) -> int:
    """The status of the same request, sent again."""
    headers = {"Idempotency-Key": key}
    return (await depot.stack.service("orders").post(path, body, headers=headers))[0]


@pytest.mark.parametrize("point", points(COMPLETE_SWAP))
async def test_completing(depot: SwapShop, kill: Kill, point: str) -> None:
    swap = await depot.swap()
    path = f"/store/carts/{swap.cart}/complete"
    key = await kill("orders", "complete_swap", point, path)
    shown, order = await swap.shown(), await swap.order_now()
    if compensated(point):
        assert (shown["payment_status"], shown["difference_due"], shown["payment"]) == ("not_paid", None, None)
        assert (order["paid_total"], await depot.level()) == (4500, (STOCK, 0))
        assert all(canceled for amount, _, _, canceled in await books(depot, swap) if amount == 2000)
        assert await again(depot, path, key) == 200
        shown, order = await swap.shown(), await swap.order_now()
    else:
        assert await again(depot, path, key) == 200
    assert (shown["payment_status"], shown["difference_due"]) == ("awaiting", 2000)
    assert (order["paid_total"], order["refundable_amount"]) == (6500, 6500)
    assert (shown["payment"]["amount"], await depot.level()) == (2000, (STOCK, 2))
    alive = [(amount, captured) for amount, _, captured, canceled in await books(depot, swap) if not canceled]
    assert alive == [(4500, True), (2000, False)]


@pytest.mark.parametrize("point", points(PROCESS_SWAP_PAYMENT))
@pytest.mark.parametrize("back", [1, 4])
async def test_settling(depot: SwapShop, kill: Kill, point: str, back: int) -> None:
    """Of 1 for 2 the customer owes 20.00; of 4 for 2 they get 10.00."""
    swap = await depot.swap(back=back)
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    key = await kill("orders", "process_swap_payment", point, f"{swap.path}/process-payment")
    owed = [(4500, 0, True, False), (2000, 0, True, False)]
    assert await books(depot, swap) == (owed if back == 1 else [(4500, 1000, True, False)])
    order = await swap.order_now()
    assert (order["refunded_total"], [r["amount"] for r in order["refunds"]]) == (
        (0, []) if back == 1 else (1000, [1000])
    )
    assert (await swap.shown())["payment_status"] == ("captured" if back == 1 else "difference_refunded")
    assert await again(depot, f"{swap.path}/process-payment", key) == 200
    assert await books(depot, swap) == (owed if back == 1 else [(4500, 1000, True, False)])


@pytest.mark.parametrize("point", points(CANCEL_SWAP))
async def test_canceling(depot: SwapShop, kill: Kill, point: str) -> None:
    swap = await depot.swap()
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    await swap.cancel_return()
    assert await depot.level() == (STOCK, 2)
    key = await kill("orders", "cancel_swap", point, f"{swap.path}/cancel")
    assert await books(depot, swap) == [(4500, 0, True, False), (2000, 0, False, True)]
    assert await depot.level() == (STOCK, 0)
    shown = await swap.shown()
    assert (shown["payment_status"], shown["fulfillment_status"]) == ("canceled", "canceled")
    assert await again(depot, f"{swap.path}/cancel", key) == 200


@pytest.mark.parametrize("point", points(CANCEL_SWAP))
async def test_canceling_what_was_paid(depot: SwapShop, kill: Kill, point: str) -> None:
    """What was captured is given up once, gives nothing back by itself, and can be refunded, once, after it."""
    swap = await depot.swap()
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    payment = (await swap.ok("process-payment"))["payment"]["id"]
    await swap.cancel_return()
    key = await kill("orders", "cancel_swap", point, f"{swap.path}/cancel")
    assert await books(depot, swap) == [(4500, 0, True, False), (2000, 0, True, True)]
    assert await depot.level() == (STOCK, 0)
    assert await again(depot, f"{swap.path}/cancel", key) == 200
    body = {"amount": 2000, "reason": "swap"}
    path = f"/admin/payments/{payment}/refund"
    assert [(await swap.api.post(path, body))[0] for _ in range(2)] == [200, 400]
    assert await books(depot, swap) == [(4500, 0, True, False), (2000, 2000, True, True)]
    order = await swap.order_now()
    assert (order["paid_total"], order["refunded_total"], order["refundable_amount"]) == (6500, 2000, 4500)


@pytest.mark.parametrize("point", points(FULFILL, "stock", "rows"))
async def test_fulfilling(depot: SwapShop, kill: Kill, point: str) -> None:
    swap = await depot.swap()
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    body = {"location_id": depot.house.location}
    key = await kill("orders", "fulfill", point, f"{swap.path}/fulfillments", body)
    if compensated(point):
        assert (await depot.level(), (await swap.shown())["fulfillments"]) == ((STOCK, 2), [])
    assert await again(depot, f"{swap.path}/fulfillments", key, body) == 200
    shown = await swap.shown()
    assert (await depot.level(), shown["fulfillment_status"]) == ((STOCK - 2, 0), "fulfilled")
    assert [[i["quantity"] for i in f["items"]] for f in shown["fulfillments"]] == [[2]]
    assert [line["fulfilled_quantity"] for line in shown["additional_items"]] == [2]


@pytest.mark.parametrize("point", points(CANCEL_FULFILLMENT, "stock", "rows"))
async def test_canceling_a_fulfillment(depot: SwapShop, kill: Kill, point: str) -> None:
    swap = await depot.swap()
    await swap.visitor.ok("POST", f"/store/carts/{swap.cart}/complete")
    fulfillment = (await swap.ok("fulfillments", {"location_id": depot.house.location}))["fulfillments"][0]["id"]
    assert await depot.level() == (STOCK - 2, 0)
    path = f"{swap.path}/fulfillments/{fulfillment}/cancel"
    key = await kill("orders", "cancel_fulfillment", point, path)
    shown = await swap.shown()
    assert (await depot.level(), shown["fulfillment_status"]) == ((STOCK, 0), "canceled")
    assert [line["fulfilled_quantity"] for line in shown["additional_items"]] == [0]
    assert await again(depot, path, key) == 200
    assert await depot.level() == (STOCK, 0)
