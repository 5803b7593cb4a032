"""What claims send, over HTTP: fulfilled, shipped, canceled; and canceling a claim, which gives its stock back."""

import asyncio
from typing import Any

import pytest

from services.chassis.keys import POOL
from services.chassis.sagas import begin
from services.orders.claims.cancellations import plan_cancel
from services.orders.claims.fulfillments import ClaimFulfillmentBody, plan_claim_fulfillment
from services.orders.fulfillments.creations import begin_fulfillments
from tests.support.client import Client
from tests.support.factories.claims import (
    Row,
    again,
    books,
    claim,
    path_of,
    refund_of,
    replacement,
    shipped,
    shown,
    sold,
)
from tests.support.factories.shops import Shop
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.stack import Stack, listening
from tests.support.waiting import until


@pytest.fixture
async def order(api: Client, shop: Shop) -> Row:
    return await shipped(api, shop)


@pytest.fixture
async def stock(api: Client) -> Warehouse:
    """5 pieces of the small variant."""
    return await make_warehouse(api, 5)


def of(order: Row, created: Row) -> str:
    return f"{path_of(order)}/claims/{created['id']}"


def counters(created: Row) -> list[tuple[int | None, int | None]]:
    """(fulfilled, shipped) of what it sends."""
    return [(line["fulfilled_quantity"], line["shipped_quantity"]) for line in created["additional_items"]]


async def test_fulfilled_and_shipped(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    created = await claim(api, order, replacement(shop, order, (1000, 1), quantity=2, no_notification=True))
    async with listening(stack, "claim.#") as heard:
        await api.ok("POST", f"{of(order, created)}/fulfillments", {"no_notification": False})
        now = await again(api, order, created)
        (fulfillment,) = now["fulfillments"]
        assert (now["fulfillment_status"], counters(now)) == ("fulfilled", [(2, None)])
        line = created["additional_items"][0]["id"]
        assert {**fulfillment, "created_at": 0, "updated_at": 0} == {
            "id": fulfillment["id"],
            "claim_order_id": created["id"],
            "order_id": None,
            "swap_id": None,
            "provider_id": "manual",
            "location_id": None,
            "no_notification": None,
            "tracking_numbers": [],
            "tracking_links": [],
            "data": {},
            "metadata": None,
            "idempotency_key": None,
            "shipped_at": None,
            "canceled_at": None,
            "items": [{"fulfillment_id": fulfillment["id"], "item_id": line, "quantity": 2}],
            "created_at": 0,
            "updated_at": 0,
        }
        shipment = {"fulfillment_id": fulfillment["id"], "tracking_numbers": ["GLS-77", "GLS-78"]}
        await api.ok("POST", f"{of(order, created)}/shipments", shipment)

        async def emitted() -> Any:
            data = {event["type"]: event["data"] for event in heard if event["type"] != "claim.created"}
            return data if len(data) == 2 else None

        base = {"id": created["id"], "order_id": order["id"], "fulfillment_id": fulfillment["id"]}
        assert await until(emitted) == {
            "claim.fulfillment_created": base
            | {"location_id": None, "items": [{"item_id": line, "quantity": 2}], "no_notification": False},
            "claim.shipment_created": base | {"tracking_numbers": ["GLS-77", "GLS-78"], "no_notification": True},
        }
    now = await again(api, order, created)
    (fulfillment,) = now["fulfillments"]
    assert (now["fulfillment_status"], counters(now)) == ("shipped", [(2, 2)])
    assert [link["tracking_number"] for link in fulfillment["tracking_links"]] == ["GLS-77", "GLS-78"]
    assert (fulfillment["no_notification"], fulfillment["shipped_at"] is not None, fulfillment["metadata"]) == (
        True,
        True,
        {},
    )
    # The order's own status is not about it.
    after = await shown(api, order)
    assert (after["fulfillment_status"], len(after["fulfillments"])) == ("shipped", 1)


async def test_canceled_and_fulfilled_again(api: Client, shop: Shop, order: Row) -> None:
    created = await claim(api, order, replacement(shop, order, (1000, 1)))
    await api.ok("POST", f"{of(order, created)}/fulfillments", {"metadata": {"box": 3}})
    fulfillment = (await again(api, order, created))["fulfillments"][0]["id"]
    await api.ok("POST", f"{of(order, created)}/fulfillments/{fulfillment}/cancel")
    now = await again(api, order, created)
    assert (now["fulfillment_status"], counters(now)) == ("canceled", [(0, None)])
    assert [f["canceled_at"] is not None for f in now["fulfillments"]] == [True]
    await api.ok("POST", f"{of(order, created)}/fulfillments", {})
    now = await again(api, order, created)
    assert (now["fulfillment_status"], counters(now)) == ("fulfilled", [(1, None)])
    assert [(f["metadata"], f["canceled_at"] is None) for f in now["fulfillments"]] == [
        ({"box": 3}, False),
        (None, True),
    ]


async def test_refusals_change_nothing(api: Client, shop: Shop, order: Row) -> None:
    other = await shipped(api, shop)
    refund = await claim(api, order, refund_of(order, (1000, 1), refund_amount=0))
    bare = await claim(api, order, replacement(shop, order, (1000, 1), shipping_methods=None))
    fulfilled, sent, gone = [await claim(api, order, replacement(shop, order, (1000, 1))) for _ in range(3)]
    for each in (fulfilled, sent):
        await api.ok("POST", f"{of(order, each)}/fulfillments", {})
    box, away = [(await again(api, order, each))["fulfillments"][0]["id"] for each in (fulfilled, sent)]
    await api.ok("POST", f"{of(order, sent)}/shipments", {"fulfillment_id": away})
    await api.ok("POST", f"{of(order, gone)}/cancel")
    own = order["fulfillments"][0]["id"]
    before = await shown(api, order), await shown(api, other)
    for path, body, expected, type_ in (
        (f"{of(order, refund)}/fulfillments", {}, 400, "not_allowed"),
        (f"{of(order, bare)}/fulfillments", {}, 400, "not_allowed"),
        (f"{of(order, fulfilled)}/fulfillments", {}, 400, "not_allowed"),
        (f"{of(order, sent)}/fulfillments", {}, 400, "not_allowed"),
        (f"{of(order, gone)}/fulfillments", {}, 400, "not_allowed"),
        (f"{of(order, fulfilled)}/fulfillments", {"items": []}, 400, "invalid_data"),
        (f"{of(order, fulfilled)}/shipments", {}, 400, "invalid_data"),
        (f"{of(order, fulfilled)}/shipments", {"fulfillment_id": away}, 404, "not_found"),
        (f"{of(order, fulfilled)}/shipments", {"fulfillment_id": own}, 404, "not_found"),
        (f"{of(order, fulfilled)}/shipments", {"fulfillment_id": "ful_x"}, 404, "not_found"),
        (f"{of(order, sent)}/shipments", {"fulfillment_id": away}, 400, "not_allowed"),
        (f"{of(order, gone)}/shipments", {"fulfillment_id": box}, 400, "not_allowed"),
        (f"{of(order, sent)}/fulfillments/{away}/cancel", None, 400, "not_allowed"),
        (f"{of(order, fulfilled)}/fulfillments/{away}/cancel", None, 404, "not_found"),
        (f"{of(order, fulfilled)}/fulfillments/{own}/cancel", None, 404, "not_found"),
        (f"{path_of(order)}/fulfillments/{box}/cancel", None, 404, "not_found"),
        (f"{of(order, fulfilled)}/cancel", None, 400, "not_allowed"),
        (f"{of(order, sent)}/cancel", None, 400, "not_allowed"),
        (f"{path_of(order)}/cancel", None, 400, "not_allowed"),
        (f"{of(other, fulfilled)}/fulfillments", {}, 404, "not_found"),
        (f"{of(other, fulfilled)}/shipments", {"fulfillment_id": box}, 404, "not_found"),
        (f"{of(other, fulfilled)}/fulfillments/{box}/cancel", None, 404, "not_found"),
        (f"{of(other, bare)}/cancel", None, 404, "not_found"),
        (f"{path_of(order)}/claims/claim_x/cancel", None, 404, "not_found"),
        (f"{path_of(order)}/claims/claim_x/fulfillments", {}, 404, "not_found"),
        (f"{path_of(order)}/claims/claim_x/shipments", {"fulfillment_id": box}, 404, "not_found"),
        (f"{path_of(order)}/claims/claim_x/fulfillments/{box}/cancel", None, 404, "not_found"),
    ):
        status, answer = await api.post(path, body)
        assert (status, answer["type"]) == (expected, type_), (path, body)
    assert (await shown(api, order), await shown(api, other)) == before


# Canceling


async def test_a_canceled_claim(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    label = {"option_id": shop.shipping_option, "price": 80}
    created = await claim(api, order, replacement(shop, order, (1000, 1), return_shipping=label))
    status, answer = await api.post(f"{of(order, created)}/cancel")
    assert (status, answer["type"]) == (400, "not_allowed")  # its return stands
    await api.ok("POST", f"/admin/returns/{created['return_order']['id']}/cancel")
    async with listening(stack, "claim.canceled") as heard:
        await api.ok("POST", f"{of(order, created)}/cancel")
        now = await again(api, order, created)
        assert (now["fulfillment_status"], now["payment_status"]) == ("canceled", "na")
        assert now["canceled_at"] is not None
        await api.ok("POST", f"{of(order, created)}/cancel")  # again: as it is
        assert await again(api, order, created) == now

        async def emitted() -> bool:
            return bool(heard)

        await until(emitted)
        assert [event["data"] for event in heard] == [
            {"id": created["id"], "order_id": order["id"], "no_notification": None}
        ]


async def test_a_claim_that_gave_money_back_stands(api: Client, order: Row) -> None:
    created = await claim(api, order, refund_of(order, (1000, 1), refund_amount=1))
    before = await shown(api, order)
    status, answer = await api.post(f"{of(order, created)}/cancel")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, order), (await books(api, order))[0]) == (before, 1)
    nothing = await claim(api, order, refund_of(order, (1000, 1), refund_amount=0))
    await api.ok("POST", f"{of(order, nothing)}/cancel")
    now = await again(api, order, nothing)
    assert (now["payment_status"], now["fulfillment_status"]) == ("refunded", "canceled")


# Stock


async def test_stock_is_taken_and_given_back(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=3))
    assert await stock.level() == (5, 3)
    await api.ok("POST", f"{of(order, created)}/fulfillments", {"location_id": stock.location})
    assert await stock.level() == (2, 0)
    now = await again(api, order, created)
    assert (now["fulfillment_status"], now["fulfillments"][0]["location_id"]) == ("fulfilled", stock.location)
    await api.ok("POST", f"{of(order, created)}/fulfillments/{now['fulfillments'][0]['id']}/cancel")
    assert await stock.level() == (5, 0)
    assert (await again(api, order, created))["fulfillment_status"] == "canceled"


async def test_too_little_stock_to_send(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=6))
    before = await shown(api, order)
    for location in (stock.location, "sloc_x"):
        status, answer = await api.post(f"{of(order, created)}/fulfillments", {"location_id": location})
        assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, order), await stock.level()) == (before, (5, 6))


async def test_canceling_gives_back_what_was_reserved(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    kept = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=1))
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=3))
    assert await stock.level() == (5, 4)
    await api.ok("POST", f"{of(order, created)}/cancel")
    assert await stock.level() == (5, 1)
    assert (await again(api, order, kept))["canceled_at"] is None


# At once


@pytest.mark.parametrize("located", [True, False])
async def test_canceled_and_fulfilled_at_once(api: Client, stock: Warehouse, located: bool) -> None:
    """One wins: what is canceled has no fulfillment and no stock, what is fulfilled is not canceled."""
    order = await sold(stock)
    for _ in range(3):
        (stocked, reserved) = await stock.level()
        created = await claim(api, order, replacement(stock.shop, order, (1000, 1)))
        body = {"location_id": stock.location} if located else {}
        answers = await asyncio.gather(
            *(
                api.post(f"{of(order, created)}/{what}", sent)
                for what, sent in (("cancel", None), ("fulfillments", body), ("fulfillments", body), ("cancel", None))
            )
        )
        assert {status for status, _ in answers} <= {200, 400, 409}
        canceled, fulfilled = 200 in (answers[0][0], answers[3][0]), 200 in (answers[1][0], answers[2][0])
        assert canceled + fulfilled == 1
        now = await again(api, order, created)
        assert (now["canceled_at"] is not None, len(now["fulfillments"])) == (canceled, int(fulfilled))
        assert (now["fulfillment_status"], counters(now)) == (
            ("canceled", [(None, None)]) if canceled else ("fulfilled", [(1, None)])
        )
        if canceled:
            assert await stock.level() == (stocked, reserved)
        else:
            assert await stock.level() == ((stocked - 1, reserved) if located else (stocked, reserved + 1))


async def test_shipped_and_canceled_at_once(api: Client, shop: Shop, order: Row) -> None:
    created = await claim(api, order, replacement(shop, order, (1000, 1)))
    await api.ok("POST", f"{of(order, created)}/fulfillments", {})
    fulfillment = (await again(api, order, created))["fulfillments"][0]["id"]
    calls = [
        (f"{of(order, created)}/{what}", body)
        for what, body in (("shipments", {"fulfillment_id": fulfillment}), (f"fulfillments/{fulfillment}/cancel", None))
        for _ in range(3)
    ]
    answers = await asyncio.gather(*(api.post(*call) for call in calls))
    assert [status for status, _ in answers if status == 200] == [200]
    now = await again(api, order, created)
    assert (now["fulfillment_status"], counters(now)) in (("shipped", [(1, 1)]), ("canceled", [(0, None)]))


async def test_while_a_claim_is_fulfilled(api: Client, stack: Stack, stock: Warehouse) -> None:
    """It cannot be canceled: the stock that was reserved for it is being taken."""
    order = await sold(stock)
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=2))
    body = ClaimFulfillmentBody(location_id=stock.location)
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        saga = await begin_fulfillments(db, await plan_claim_fulfillment(db, order["id"], created["id"], body))
    status, answer = await api.post(f"{of(order, created)}/cancel")
    assert (status, answer["type"]) == (409, "conflict")
    await stack.pool("orders").execute("update sagas set leased_until = now() where id = $1", saga.id)

    async def fulfilled() -> bool:
        return bool((await again(api, order, created))["fulfillments"])

    await until(fulfilled)
    assert await stock.level() == (3, 0)


async def test_while_a_claim_is_canceled(api: Client, stack: Stack, stock: Warehouse) -> None:
    """It cannot be fulfilled or changed; afterwards it is canceled and its stock is back."""
    order = await sold(stock)
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=2))
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        state = await plan_cancel(db, order["id"], created["id"])
        assert state is not None
        saga = await begin(db, "cancel_claim", created["id"], state)
    for path, body in (
        ("cancel", None),
        ("fulfillments", {}),
        ("fulfillments", {"location_id": stock.location}),
    ):
        status, answer = await api.post(f"{of(order, created)}/{path}", body)
        assert (status, answer["type"]) == (409, "conflict"), path
    status, answer = await api.post(of(order, created), {"no_notification": True})
    assert (status, answer["type"]) == (409, "conflict")
    await stack.pool("orders").execute("update sagas set leased_until = now() where id = $1", saga.id)

    async def canceled() -> bool:
        return (await again(api, order, created))["canceled_at"] is not None

    await until(canceled)
    assert await stock.level() == (5, 0)
