"""What staff do with a confirmed swap: settle the difference, fulfill and ship the new goods, cancel it."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.shops import Shop, set_up
from tests.support.factories.swaps import Swapping, line_of, sent_order, swap_of
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]


@pytest.fixture
async def owed(api: Client, stack: Stack, shop: Shop) -> Swapping:
    """Confirmed: the customer owes 22.50 for 2 of the large variant."""
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 2}, shipping=250)
    await swap.confirm()
    return swap


@pytest.fixture
async def owing(api: Client, stack: Stack, shop: Shop) -> Swapping:
    """Confirmed: the customer gets 5.00 back besides 1 of the small variant."""
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.large: 1}, new={shop.small: 1}, shipping=0)
    await swap.confirm()
    return swap


async def books(stack: Stack, swap: Swapping) -> list[tuple[int, int, bool, bool]]:
    """(amount, refunded, captured, canceled) of the order's payments, largest first; orders and payments agree on them,
    and what the order says that it was refunded is what payments gave back."""
    sql = (
        "select amount, amount_refunded, captured_at is not null, canceled_at is not null from payments "
        "where order_id = $1 order by amount desc"
    )

    async def agree() -> Any:
        rows = [
            [tuple(row) for row in await stack.pool(name).fetch(sql, swap.order["id"])]
            for name in ("payments", "orders")
        ]
        return rows[0] if rows[0] == rows[1] else None

    rows: list[tuple[int, int, bool, bool]] = await until(agree)
    order = await swap.order_now()
    refunded = sum(row[1] for row in rows)
    assert (order["refunded_total"], sum(r["amount"] for r in order["refunds"])) == (refunded, refunded)
    assert order["refundable_amount"] == order["paid_total"] - refunded
    return rows


def emitted(heard: list[Row], name: str) -> list[Row]:
    return [event["data"] for event in heard if event["type"] == name]


# The difference


async def test_what_the_customer_owes_is_captured(stack: Stack, owed: Swapping, heard: list[Row]) -> None:
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, False, False)]
    after = await owed.ok("process-payment")
    assert (after["payment_status"], after["payment"]["captured_at"] is not None) == ("captured", True)
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, True, False)]
    order = await owed.order_now()
    assert (order["paid_total"], order["payment_status"], order["total"]) == (6250, "captured", 4000)
    assert (await owed.ok("process-payment"))["payment_status"] == "captured"

    async def heard_of_it() -> Any:
        return emitted(heard, "swap.payment_captured")

    assert await until(heard_of_it) == [{"id": owed.id, "order_id": owed.order["id"], "no_notification": None}]
    assert emitted(heard, "order.payment_captured") == []


async def test_what_they_are_owed_is_given_back(stack: Stack, owing: Swapping, heard: list[Row]) -> None:
    after = await owing.ok("process-payment")
    assert after["payment_status"] == "difference_refunded"
    order = await owing.order_now()
    assert [(r["amount"], r["reason"], r["payment_id"]) for r in order["refunds"]] == [(500, "swap", None)]
    assert (order["refunded_total"], order["refundable_amount"], order["payment_status"]) == (500, 3500, "captured")
    assert await books(stack, owing) == [(4000, 500, True, False)]
    await owing.ok("process-payment")
    assert await books(stack, owing) == [(4000, 500, True, False)]
    await owing.cancel_return()
    status, answer = await owing.post("cancel")
    assert (status, answer["type"]) == (400, "not_allowed")

    async def heard_of_it() -> Any:
        return emitted(heard, "swap.refund_processed")

    assert await until(heard_of_it) == [{"id": owing.id, "order_id": owing.order["id"], "no_notification": None}]


async def test_nothing_is_due(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.large: 1}, new={shop.large: 1}, shipping=0)
    await swap.confirm()
    assert (await swap.ok("process-payment"))["payment_status"] == "difference_refunded"
    assert await books(stack, swap) == [(4000, 0, True, False)]


async def test_the_newest_payment_gives_back_first(api: Client, stack: Stack, owed: Swapping) -> None:
    await owed.ok("process-payment")
    path = f"/admin/orders/{owed.order['id']}/refund"
    await api.ok("POST", path, {"amount": 2000, "reason": "other"})
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 2000, True, False)]
    await api.ok("POST", path, {"amount": 1000, "reason": "other"})
    assert await books(stack, owed) == [(4000, 750, True, False), (2250, 2250, True, False)]


async def test_there_is_not_enough_left_to_give_back(
    api: Client, stack: Stack, owing: Swapping, heard: list[Row]
) -> None:
    path = f"/admin/orders/{owing.order['id']}"
    await api.ok("POST", f"{path}/refund", {"amount": 3800, "reason": "other"})
    assert (await owing.ok("process-payment"))["payment_status"] == "requires_action"
    assert await books(stack, owing) == [(4000, 3800, True, False)]
    await api.ok("POST", f"{path}/refund", {"amount": 200, "reason": "other"})
    assert (await owing.ok("process-payment"))["payment_status"] == "requires_action"

    async def heard_of_it() -> Any:
        return len(emitted(heard, "swap.process_refund_failed")) == 2

    await until(heard_of_it)
    assert await books(stack, owing) == [(4000, 4000, True, False)]


async def test_the_provider_will_not(stack: Stack, owed: Swapping, heard: list[Row]) -> None:
    payment = (await owed.shown())["payment"]["id"]
    await stack.pool("payments").execute("update payments set canceled_at = now() where id = $1", payment)
    assert (await owed.ok("process-payment"))["payment_status"] == "requires_action"
    await stack.pool("payments").execute("update payments set canceled_at = null where id = $1", payment)
    assert (await owed.ok("process-payment"))["payment_status"] == "captured"

    async def heard_of_it() -> Any:
        return emitted(heard, "swap.payment_capture_failed")

    assert len(await until(heard_of_it)) == 1


async def test_what_the_payment_is_of(api: Client, owed: Swapping) -> None:
    """Told by either service."""
    payment = (await owed.shown())["payment"]["id"]
    query = {"fields": "id", "expand": "cart,swap"}
    shown = (await api.ok("GET", f"/admin/payments/{payment}", query=query))["payment"]
    assert (shown["cart"]["id"], shown["cart"]["type"]) == (owed.cart, "swap")
    assert (shown["swap"]["id"], shown["swap"]["payment_status"]) == (owed.id, "awaiting")
    await owed.ok("process-payment")
    shown = (await api.ok("GET", f"/admin/payments/{payment}", query=query))["payment"]
    assert shown["swap"]["payment_status"] == "captured"
    query = {"fields": "id", "expand": "swaps.cart,swaps.payment.cart,swaps.payment.swap,swaps.return_order.swap"}
    [swap] = (await api.ok("GET", f"/admin/orders/{owed.order['id']}", query=query))["order"]["swaps"]
    assert (swap["payment"]["cart"], swap["payment"]["swap"], swap["cart"]) == (
        shown["cart"],
        shown["swap"],
        shown["cart"],
    )
    assert swap["return_order"]["swap"] == shown["swap"]


async def process_at_once(swap: Swapping) -> None:
    """One does it; the others are told that it is done, or that it is being done."""
    answers = await asyncio.gather(*(swap.post("process-payment") for _ in range(6)))
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}


async def test_capturing_at_once(stack: Stack, owed: Swapping) -> None:
    await process_at_once(owed)
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, True, False)]


async def test_giving_back_at_once(stack: Stack, owing: Swapping) -> None:
    await process_at_once(owing)
    assert await books(stack, owing) == [(4000, 500, True, False)]


async def test_giving_back_and_refunding_at_once(api: Client, stack: Stack, owing: Swapping) -> None:
    """5.00 for the swap and 38.00 of the order are more than the 40.00 that were paid."""
    body = {"amount": 3800, "reason": "other"}
    (refunded, _), (processed, _) = await asyncio.gather(
        api.post(f"/admin/orders/{owing.order['id']}/refund", body), owing.post("process-payment")
    )
    status = (await owing.shown())["payment_status"]
    assert processed == 200
    assert (refunded, status) in ((200, "requires_action"), (400, "difference_refunded"))
    assert await books(stack, owing) == [(4000, 3800 if refunded == 200 else 500, True, False)]


async def test_what_cannot_be_processed(api: Client, stack: Stack, shop: Shop, owed: Swapping) -> None:
    other = await sent_order(api, shop)
    open_ = await swap_of(api, stack, shop, await owed.order_now(), back={shop.small: 1}, new={shop.large: 1})
    before = await owed.shown(), await open_.shown()
    for path, body, status in (
        (f"{open_.path}/process-payment", None, 400),
        (f"{owed.path}/process-payment", {"amount": 5}, 400),
        (f"/admin/orders/{owed.order['id']}/swaps/swap_missing/process-payment", None, 404),
        (f"/admin/orders/{other['id']}/swaps/{owed.id}/process-payment", None, 404),
        (f"/admin/orders/order_missing/swaps/{owed.id}/process-payment", None, 404),
    ):
        assert (await api.post(path, body))[0] == status, path
    assert (await owed.shown(), await open_.shown()) == before
    await owed.cancel_return()
    await owed.ok("cancel")
    before_cancel = await owed.shown()
    status, answer = await owed.post("process-payment")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await owed.shown() == before_cancel


# The new goods


async def test_fulfilled_and_shipped(api: Client, stack: Stack, owed: Swapping, heard: list[Row]) -> None:
    after = await owed.ok("fulfillments", {"metadata": {"box": 7}, "no_notification": True})
    fulfillment = after["fulfillments"][0]
    assert (after["fulfillment_status"], fulfillment["metadata"], fulfillment["no_notification"]) == (
        "fulfilled",
        {"box": 7},
        None,
    )
    assert (fulfillment["swap_id"], fulfillment["order_id"], [i["quantity"] for i in fulfillment["items"]]) == (
        owed.id,
        None,
        [2],
    )
    assert [line["fulfilled_quantity"] for line in after["additional_items"]] == [2]
    status, answer = await owed.post("fulfillments", {})
    assert (status, answer["type"]) == (400, "not_allowed")
    body = {"fulfillment_id": fulfillment["id"], "tracking_numbers": ["UPS-1", "UPS-2"]}
    shipped = await owed.ok("shipments", body)
    sent = shipped["fulfillments"][0]
    assert (shipped["fulfillment_status"], [t["tracking_number"] for t in sent["tracking_links"]]) == (
        "shipped",
        ["UPS-1", "UPS-2"],
    )
    assert ([line["shipped_quantity"] for line in shipped["additional_items"]], sent["tracking_numbers"]) == ([2], [])
    assert (await owed.order_now())["fulfillment_status"] == "fulfilled"
    for action, sent in (("shipments", body), (f"fulfillments/{fulfillment['id']}/cancel", None)):
        status, answer = await owed.post(action, sent)
        assert (status, answer["type"]) == (400, "not_allowed"), action

    async def heard_of_it() -> Any:
        return emitted(heard, "swap.shipment_created")

    about = {"id": owed.id, "order_id": owed.order["id"], "fulfillment_id": fulfillment["id"]}
    shipment = about | {"tracking_numbers": ["UPS-1", "UPS-2"], "no_notification": None}
    assert await until(heard_of_it) == [shipment]
    line = after["additional_items"][0]["id"]
    assert emitted(heard, "swap.fulfillment_created") == [
        about | {"location_id": None, "items": [{"item_id": line, "quantity": 2}], "no_notification": True}
    ]
    # What it has sent can come back.
    query = {"fields": "id", "expand": "returnable_items"}
    answer = await api.ok("GET", f"/admin/orders/{owed.order['id']}", query=query)
    assert [item["id"] for item in answer["order"]["returnable_items"]] == [line]


async def test_the_swap_says_who_is_not_notified(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    options = {"back": {shop.small: 1}, "new": {shop.large: 1}, "shipping": 0, "no_notification": True}
    swap = await swap_of(api, stack, shop, order, **options)
    await swap.confirm()
    fulfillment = (await swap.ok("fulfillments", {}))["fulfillments"][0]
    shipped = (await swap.ok("shipments", {"fulfillment_id": fulfillment["id"]}))["fulfillments"][0]
    assert (fulfillment["no_notification"], fulfillment["metadata"]) == (None, None)
    assert (shipped["no_notification"], shipped["metadata"]) == (True, {})


async def test_canceled_and_fulfilled_again(owed: Swapping) -> None:
    first = (await owed.ok("fulfillments", {}))["fulfillments"][0]["id"]
    after = await owed.ok(f"fulfillments/{first}/cancel")
    assert (after["fulfillment_status"], [f["canceled_at"] is None for f in after["fulfillments"]]) == (
        "canceled",
        [False],
    )
    assert [line["fulfilled_quantity"] for line in after["additional_items"]] == [0]
    for action, body in ((f"fulfillments/{first}/cancel", None), ("shipments", {"fulfillment_id": first})):
        assert (await owed.post(action, body))[0] == 400
    again = await owed.ok("fulfillments", {})
    assert (again["fulfillment_status"], len(again["fulfillments"])) == ("fulfilled", 1)
    assert again["fulfillments"][0]["id"] != first


async def test_what_cannot_be_fulfilled_or_shipped(api: Client, stack: Stack, shop: Shop, owed: Swapping) -> None:
    order = await owed.order_now()
    open_ = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    empty = await swap_of(api, stack, shop, await open_.order_now(), back={shop.small: 1}, new={}, shipping=0)
    await empty.confirm()
    of_order = order["fulfillments"][0]["id"]
    other = await sent_order(api, shop)
    before = await owed.shown(), await open_.shown(), await empty.shown()
    for path, body, status in (
        (f"{open_.path}/fulfillments", {}, 400),
        (f"{empty.path}/fulfillments", {}, 400),
        (f"{owed.path}/fulfillments", {"items": []}, 400),
        (f"{owed.path}/fulfillments", {"location_id": "sloc_missing", "metadata": 5}, 400),
        (f"{owed.path}/shipments", {}, 400),
        (f"{owed.path}/shipments", {"fulfillment_id": "ful_missing"}, 404),
        (f"{owed.path}/shipments", {"fulfillment_id": of_order}, 404),
        (f"{owed.path}/fulfillments/{of_order}/cancel", None, 404),
        (f"{owed.path}/fulfillments/ful_missing/cancel", None, 404),
        (f"/admin/orders/{other['id']}/swaps/{owed.id}/fulfillments", {}, 404),
        (f"/admin/orders/{other['id']}/swaps/{owed.id}/shipments", {"fulfillment_id": of_order}, 404),
        (f"/admin/orders/{order['id']}/swaps/swap_missing/fulfillments", {}, 404),
    ):
        assert (await api.post(path, body))[0] == status, (path, body)
    assert (await owed.shown(), await open_.shown(), await empty.shown()) == before


async def test_fulfilling_at_once(owed: Swapping) -> None:
    answers = await asyncio.gather(*(owed.post("fulfillments", {}) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 4
    assert len((await owed.shown())["fulfillments"]) == 1


async def test_from_a_location(api: Client, stack: Stack, uid: str) -> None:
    shop = await set_up(api, manage_inventory=True)
    location = (await api.ok("POST", "/admin/stock-locations", {"name": f"W {uid}"}))["stock_location"]["id"]
    await api.ok("POST", f"/admin/sales-channels/{shop.channel}/stock-locations", {"location_id": location})
    item = (await api.ok("GET", f"/admin/variants/{shop.large}/inventory"))["variant"]["inventory"][0]["id"]
    level = {"location_id": location, "stocked_quantity": 5}
    await api.ok("POST", f"/admin/inventory-items/{item}/location-levels", level)

    async def stock() -> tuple[int, int]:
        answer = await api.ok("GET", f"/admin/inventory-items/{item}/location-levels")
        row = answer["inventory_item"]["location_levels"][0]
        return row["stocked_quantity"], row["reserved_quantity"]

    order = await sent_order(api, shop, items=[{"variant_id": shop.small, "quantity": 2}])
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 3}, shipping=0)
    await swap.confirm()
    assert await stock() == (5, 3)
    before = await swap.shown()
    status, answer = await swap.post("fulfillments", {"location_id": "sloc_missing"})
    assert (status, answer["type"], await stock(), await swap.shown()) == (400, "not_allowed", (5, 3), before)
    answers = await asyncio.gather(*(swap.post("fulfillments", {"location_id": location}) for _ in range(3)))
    assert sorted(status for status, _ in answers)[0] == 200
    assert {status for status, _ in answers} <= {200, 400, 409}
    assert await stock() == (2, 0)
    fulfillment = (await swap.shown())["fulfillments"][0]
    assert fulfillment["location_id"] == location
    await swap.ok(f"fulfillments/{fulfillment['id']}/cancel")
    assert await stock() == (5, 0)


# Canceling


async def test_canceled(stack: Stack, owed: Swapping, heard: list[Row]) -> None:
    before = await owed.shown()
    status, answer = await owed.post("cancel")
    assert (status, answer["type"], await owed.shown()) == (400, "not_allowed", before), "the return stands"
    await owed.cancel_return()
    fulfillment = (await owed.ok("fulfillments", {}))["fulfillments"][0]["id"]
    before = await owed.shown()
    status, answer = await owed.post("cancel")
    assert (status, answer["type"], await owed.shown()) == (400, "not_allowed", before), "the fulfillment stands"
    await owed.ok(f"fulfillments/{fulfillment}/cancel")
    after = await owed.ok("cancel")
    assert (after["payment_status"], after["fulfillment_status"]) == ("canceled", "canceled")
    assert (after["canceled_at"] is not None, after["payment"]["canceled_at"] is not None) == (True, True)
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, False, True)]
    assert (await owed.ok("cancel"))["canceled_at"] == after["canceled_at"]
    for action, body in (
        ("fulfillments", {}),
        ("process-payment", None),
        ("shipments", {"fulfillment_id": fulfillment}),
    ):
        assert (await owed.post(action, body))[0] == 400, action

    async def heard_of_it() -> Any:
        return emitted(heard, "swap.canceled")

    assert await until(heard_of_it) == [{"id": owed.id, "order_id": owed.order["id"], "no_notification": None}]


@pytest.mark.parametrize("way", ["order", "payment"])
async def test_what_was_captured_for_a_canceled_swap_is_refunded(
    api: Client, stack: Stack, owed: Swapping, way: str
) -> None:
    """Canceling gives nothing back by itself; the money counts as paid for the order and is within reach."""
    await owed.ok("process-payment")
    await owed.cancel_return()
    payment = (await owed.ok("cancel"))["payment"]
    assert (payment["captured_at"] is not None, payment["canceled_at"] is not None) == (True, True)
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, True, True)]
    order = await owed.order_now()
    assert (order["paid_total"], order["refundable_amount"], order["payment_status"]) == (6250, 6250, "captured")
    if way == "payment":
        path, rest, status = f"/admin/payments/{payment['id']}/refund", 2250, "captured"
    else:
        path, rest, status = f"/admin/orders/{owed.order['id']}/refund", 6250, "refunded"
    assert (await api.post(path, {"amount": rest + 1, "reason": "swap"}))[0] == 400
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 0, True, True)]
    await api.ok("POST", path, {"amount": rest, "reason": "swap"})
    assert await books(stack, owed) == [(4000, rest - 2250, True, False), (2250, 2250, True, True)]
    order = await owed.order_now()
    assert (order["refundable_amount"], order["payment_status"]) == (6250 - rest, status)


async def test_refunding_at_once_what_was_captured_for_a_canceled_swap(
    api: Client, stack: Stack, owed: Swapping
) -> None:
    await owed.ok("process-payment")
    await owed.cancel_return()
    payment = (await owed.ok("cancel"))["payment"]
    body = {"amount": 1000, "reason": "swap"}
    answers = await asyncio.gather(*(api.post(f"/admin/payments/{payment['id']}/refund", body) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 200, 400, 400, 400]
    assert await books(stack, owed) == [(4000, 0, True, False), (2250, 2000, True, True)]


async def test_an_open_swap_is_canceled(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    await swap.cancel_return()
    other = await sent_order(api, shop)
    for path, body in (
        (f"/admin/orders/{other['id']}/swaps/{swap.id}/cancel", None),
        (f"/admin/orders/order_missing/swaps/{swap.id}/cancel", None),
        (f"/admin/orders/{order['id']}/swaps/swap_missing/cancel", None),
    ):
        assert (await api.post(path, body))[0] == 404
    assert (await swap.ok("cancel"))["payment_status"] == "canceled"
    assert (await swap.order_now())["items"][0]["returned_quantity"] is None
    assert line_of(await swap.order_now(), shop.small)


async def test_canceling_and_fulfilling_at_once(stack: Stack, api: Client, shop: Shop) -> None:
    order = await sent_order(api, shop)
    for _ in range(3):
        now = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        swap = await swap_of(api, stack, shop, now, back={shop.small: 1}, new={shop.large: 1}, shipping=0)
        await swap.confirm()
        await swap.cancel_return()
        (fulfilled, _), (canceled, _) = await asyncio.gather(swap.post("fulfillments", {}), swap.post("cancel"))
        shown = await swap.shown()
        assert (fulfilled, canceled) in ((200, 400), (400, 200), (409, 200))
        assert (len(shown["fulfillments"]), shown["fulfillment_status"]) == (
            (1, "fulfilled") if fulfilled == 200 else (0, "canceled")
        )


async def test_canceling_and_processing_at_once(stack: Stack, owing: Swapping) -> None:
    await owing.cancel_return()
    (processed, _), (canceled, _) = await asyncio.gather(owing.post("process-payment"), owing.post("cancel"))
    assert (processed, canceled) in ((200, 400), (200, 409), (400, 200), (409, 200))
    refunded = 500 if processed == 200 else 0
    assert await books(stack, owing) == [(4000, refunded, True, False)]
