"""Returns over HTTP: what may come back, what it is worth, stock and money, and what is left after a crash."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.keys import POOL
from services.chassis.sagas import Saga, begin
from services.chassis.service import make_app
from services.orders.returns.receipts import ReceiveBody, plan_receipt, refund_payments, restock
from tests.support.client import Client
from tests.support.factories.shops import Shop, place
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.stack import Stack, serve
from tests.support.waiting import until

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]


def item(order: Order, price: int) -> str:
    """Id of the line with this price."""
    return str(next(line["id"] for line in order["items"] if line["unit_price"] == price))


def returned(order: Order) -> dict[int, tuple[int | None, int]]:
    """(returned, refundable) by price."""
    return {line["unit_price"]: (line["returned_quantity"], line["refundable"]) for line in order["items"]}


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


async def shown(api: Client, order: Order) -> Order:
    current: Order = (await api.ok("GET", path_of(order)))["order"]
    return current


def body_of(order: Order, *items: tuple[int, int], **more: Any) -> dict[str, Any]:
    """The body of a return or a receipt of (price, quantity)."""
    return {"items": [{"item_id": item(order, price), "quantity": quantity} for price, quantity in items]} | more


async def request_return(api: Client, order: Order, *items: tuple[int, int], **more: Any) -> dict[str, Any]:
    """The newest return."""
    after = (await api.ok("POST", f"{path_of(order)}/return", body_of(order, *items, **more)))["order"]
    return_: dict[str, Any] = after["returns"][-1]
    return return_


async def receive(api: Client, order: Order, return_: Any, *items: tuple[int, int], **more: Any) -> dict[str, Any]:
    body = body_of(order, *items, **more)
    received: dict[str, Any] = (await api.ok("POST", f"/admin/returns/{return_['id']}/receive", body))["return"]
    return received


async def money(api: Client, order: Order) -> tuple[str, str, int, list[tuple[int, str]]]:
    """Both statuses, what was refunded, and the refunds; orders and payments agree."""
    after = await shown(api, order)
    payment = (await api.ok("GET", f"/admin/payments/{order['payments'][0]['id']}"))["payment"]
    assert payment["amount_refunded"] == after["refunded_total"] == after["paid_total"] - after["refundable_amount"]
    assert [p["amount_refunded"] for p in after["payments"]] == [payment["amount_refunded"]]
    refunds = [(refund["amount"], refund["reason"]) for refund in after["refunds"]]
    return after["fulfillment_status"], after["payment_status"], after["refunded_total"], refunds


# Asking


async def test_a_return_is_asked_for(api: Client, ordered: Ordered, uid: str, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    reason = (await api.ok("POST", "/admin/return-reasons", {"value": uid, "label": "Mind"}))["return_reason"]
    small = item(order, 1000)
    body = {
        "items": [{"item_id": small, "quantity": 1, "reason_id": reason["id"], "note": "Loose"}],
        "note": "Called",
        "no_notification": True,
        "location_id": "sloc_somewhere",
    }
    after = (await api.ok("POST", f"{path_of(order)}/return", body))["order"]
    return_ = after["returns"][0]
    own = ("parent_return_reason", "return_reason_children")
    assert return_ == {
        "id": return_["id"],
        "status": "requested",
        "order_id": order["id"],
        "swap_id": None,
        "claim_order_id": None,
        "shipping_data": None,
        "shipping_method": None,
        "location_id": "sloc_somewhere",
        "refund_amount": 1000,
        "no_notification": True,
        "idempotency_key": return_["idempotency_key"],
        "metadata": None,
        "received_at": None,
        "created_at": return_["created_at"],
        "updated_at": return_["created_at"],
        "items": [
            {
                "return_id": return_["id"],
                "item_id": small,
                "quantity": 1,
                "is_requested": True,
                "requested_quantity": 1,
                "received_quantity": None,
                "reason_id": reason["id"],
                "reason": {k: v for k, v in reason.items() if k not in own} | {"metadata": None},
                "note": "Loose",
                "metadata": {},
            }
        ],
    }
    assert returned(after) == {1000: (None, 2000), 1500: (None, 1500)}
    assert (after["fulfillment_status"], after["refundable_amount"]) == ("not_fulfilled", 4000)
    listed = await api.ok("GET", "/admin/returns", query={"limit": "1"})
    assert (listed["limit"], listed["offset"], listed["count"] >= 1) == (1, 0, True)
    assert listed["returns"][0]["id"] == return_["id"]
    assert (listed["returns"][0]["order"]["id"], listed["returns"][0]["swap"]) == (order["id"], None)

    async def emitted() -> Any:
        return next((e["data"] for e in heard if e["type"] == "order.return_requested"), None)

    assert await until(emitted) == {"id": order["id"], "return_id": return_["id"], "no_notification": True}


async def test_a_label_is_taken_off(api: Client, shop: Shop, ordered: Ordered) -> None:
    order = await ordered()
    label = {"option_id": shop.shipping_option, "price": 150}
    return_ = await request_return(api, order, (1000, 1), return_shipping=label)
    assert (return_["refund_amount"], return_["shipping_data"]) == (850, {})
    assert (return_["shipping_method"]["price"], return_["shipping_method"]["return_id"]) == (150, return_["id"])
    return_ = await request_return(api, order, (1000, 2), return_shipping={"option_id": shop.shipping_option})
    assert (return_["refund_amount"], return_["shipping_method"]["price"]) == (1500, 500)
    return_ = await request_return(api, order, (1000, 1), return_shipping=label, refund=1234)
    assert return_["refund_amount"] == 1234
    return_ = await request_return(api, order, (1000, 1), return_shipping=label | {"price": 2000})
    assert return_["refund_amount"] == 0
    assert (await request_return(api, order, (1000, 1), refund=0))["refund_amount"] == 1000
    assert (await request_return(api, order, (1000, 1), refund=-5))["refund_amount"] == 0
    after = await shown(api, order)
    assert [method["price"] for method in after["shipping_methods"]] == [500], "a label is not the order's method"
    assert after["total"] == order["total"]


async def test_refusals_change_nothing(api: Client, shop: Shop, ordered: Ordered, uid: str) -> None:
    order, other = await ordered(), await ordered()
    group = (await api.ok("POST", "/admin/return-reasons", {"value": uid, "label": "G"}))["return_reason"]["id"]
    body = {"value": f"c{uid}", "label": "C", "parent_return_reason_id": group}
    await api.ok("POST", "/admin/return-reasons", body)
    small = {"item_id": item(order, 1000), "quantity": 1}
    before = await shown(api, order)
    for items, status, type_ in (
        ([small | {"quantity": 3}], 400, "not_allowed"),
        ([small, {"item_id": item(other, 1500), "quantity": 1}], 404, "not_found"),
        ([small, small], 422, "duplicate_error"),
        ([small | {"quantity": 0}], 400, "invalid_data"),
        ([small | {"quantity": -1}], 400, "invalid_data"),
        ([small | {"quantity": 1.5}], 400, "invalid_data"),
        ([small | {"quantity": "1"}], 400, "invalid_data"),
        ([small | {"quantity": 2**40}], 400, "invalid_data"),
        ([small | {"reason_id": group}], 400, "invalid_data"),
        ([small | {"reason_id": "rr_missing"}], 404, "not_found"),
        ([], 400, "invalid_data"),
        (None, 400, "invalid_data"),
    ):
        for more in ({}, {"receive_now": True}):
            got, answer = await api.post(f"{path_of(order)}/return", {"items": items} | more)
            assert (got, answer["type"]) == (status, type_), items
    bad: list[tuple[dict[str, Any], int]] = [
        ({"courier": "dhl"}, 400),
        ({"refund": 10.5}, 400),
        ({"refund": 2**60}, 400),
        ({"return_shipping": {"option_id": "so_missing"}}, 404),
        ({"return_shipping": {"option_id": shop.shipping_option, "price": -1}}, 400),
        ({"return_shipping": {"option_id": shop.shipping_option, "price": 2**60}}, 400),
    ]
    for sent, status in bad:
        assert (await api.post(f"{path_of(order)}/return", {"items": [small]} | sent))[0] == status, sent
    assert (await api.post("/admin/orders/order_missing/return", {"items": [small]}))[0] == 404
    assert await shown(api, order) == before
    assert (await api.get("/admin/returns", {"limit": "many"}))[0] == 400
    await api.ok("POST", f"{path_of(other)}/cancel")
    status, answer = await api.post(f"{path_of(other)}/return", body_of(other, (1000, 1)))
    assert (status, answer["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("own_key", [False, True])
async def test_a_repeated_request_makes_one_return(api: Client, ordered: Ordered, uid: str, own_key: bool) -> None:
    order = await ordered()
    path, body = f"{path_of(order)}/return", body_of(order, (1000, 1))
    first = await api.post(path, body, headers={"Idempotency-Key": uid} if own_key else None)
    key = first[1]["order"]["returns"][0]["idempotency_key"]
    assert not own_key or key == uid
    assert await api.post(path, body, headers={"Idempotency-Key": key}) == first
    assert len((await shown(api, order))["returns"]) == 1
    assert (await api.post(path, body))[0] == 200
    assert len((await shown(api, order))["returns"]) == 2


# Receiving


async def test_goods_and_money_come_back(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1000, 1), no_notification=True)
    got = await receive(api, order, return_, (1000, 1))
    assert got == {k: v for k, v in return_.items() if k != "shipping_method"} | {
        "status": "received",
        "received_at": got["received_at"],
        "updated_at": got["updated_at"],
        "swap": None,
        "items": [{k: v for k, v in i.items() if k != "reason"} | {"received_quantity": 1} for i in return_["items"]],
    }
    assert await money(api, order) == ("partially_returned", "captured", 1000, [(1000, "return")])
    assert returned(await shown(api, order)) == {1000: (1, 1000), 1500: (None, 1500)}
    for what in ("receive", "cancel"):
        status, answer = await api.post(f"/admin/returns/{return_['id']}/{what}", body_of(order, (1000, 1)))
        assert (status, answer["type"]) == (400, "not_allowed")
    rest = await request_return(api, order, (1000, 1), (1500, 1))
    await receive(api, order, rest, (1000, 1), (1500, 1))
    assert await money(api, order) == ("returned", "captured", 3500, [(1000, "return"), (2500, "return")])
    status, answer = await api.post(f"{path_of(order)}/return", body_of(order, (1000, 1)))
    assert (status, answer["type"]) == (400, "not_allowed")
    await api.ok("POST", f"{path_of(order)}/refund", {"amount": 500, "reason": "other"})
    assert (await money(api, order))[:3] == ("returned", "refunded", 4000)

    def about(name: str) -> list[dict[str, Any]]:
        return [e["data"] for e in heard if e["type"] == name]

    async def emitted() -> bool:
        return len(about("order.items_returned")) == 2 and len(about("order.refund_created")) == 3

    await until(emitted)
    assert about("order.items_returned")[0] == {"id": order["id"], "return_id": return_["id"], "no_notification": True}
    assert [event["no_notification"] for event in about("order.refund_created")] == [True, None, None]
    after = await shown(api, order)
    assert (after["total"], after["subtotal"]) == (order["total"], order["subtotal"])


async def test_something_else_is_received(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1000, 2))
    got = await receive(api, order, return_, (1000, 1), (1500, 1), refund=1700)
    names = ("quantity", "requested_quantity", "received_quantity", "is_requested", "metadata")
    assert [tuple(i[name] for name in names) for i in got["items"]] == [(1, 2, 1, False, {}), (1, None, 1, False, {})]
    assert got["refund_amount"] == 1700
    assert await money(api, order) == ("partially_returned", "captured", 1700, [(1700, "return")])
    assert returned(await shown(api, order)) == {1000: (1, 1000), 1500: (1, 0)}


@pytest.mark.parametrize("refund", [0, -7])
async def test_nothing_is_given_back(api: Client, ordered: Ordered, refund: int) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1500, 1))
    assert (await receive(api, order, return_, (1500, 1), refund=refund))["refund_amount"] == 0
    assert await money(api, order) == ("partially_returned", "captured", 0, [])


async def test_more_than_was_paid(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1500, 1))
    got = await receive(api, order, return_, (1500, 1), refund=4001)
    assert (got["status"], got["refund_amount"]) == ("received", 4001)
    assert await money(api, order) == ("requires_action", "captured", 0, [])
    assert returned(await shown(api, order))[1500] == (1, 0)

    async def emitted() -> bool:
        return any(e["type"] == "order.return_action_required" for e in heard)

    await until(emitted)
    assert not [e for e in heard if e["type"] == "order.items_returned"]


async def test_received_on_the_spot(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1000, 1), receive_now=True)
    assert (return_["status"], return_["refund_amount"], return_["items"][0]["received_quantity"]) == (
        "received",
        1000,
        1,
    )
    assert return_["received_at"]
    assert await money(api, order) == ("not_fulfilled", "captured", 0, [])
    assert returned(await shown(api, order)) == {1000: (1, 1000), 1500: (None, 1500)}
    assert (await api.post(f"/admin/returns/{return_['id']}/receive", body_of(order, (1000, 1))))[0] == 400


async def test_refused_receipts_change_nothing(api: Client, ordered: Ordered) -> None:
    order, other = await ordered(), await ordered()
    return_ = await request_return(api, order, (1000, 1))
    path, before = f"/admin/returns/{return_['id']}/receive", await shown(api, order)
    for body, status, type_ in (
        ({}, 400, "invalid_data"),
        (body_of(order, (1000, 5)), 400, "not_allowed"),
        (body_of(order, (1000, -1)), 400, "invalid_data"),
        (body_of(order, (1000, 2**40)), 400, "invalid_data"),
        (body_of(other, (1000, 1)), 400, "invalid_data"),
        (body_of(order, (1000, 1), (1000, 1)), 422, "duplicate_error"),
        (body_of(order, (1000, 1), refund=1.5), 400, "invalid_data"),
        (body_of(order, (1000, 1), note="x"), 400, "invalid_data"),
        ({"items": []}, 400, "invalid_data"),
    ):
        got, answer = await api.post(path, body)
        assert (got, answer["type"]) == (status, type_), body
    for what in ("receive", "cancel"):
        assert (await api.post(f"/admin/returns/ret_missing/{what}", {"items": []}))[0] == 404
    assert await shown(api, order) == before


async def test_a_canceled_return(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1000, 2))
    path = f"/admin/returns/{return_['id']}"
    assert (await api.post(f"{path_of(order)}/cancel"))[0] == 400
    for _ in range(2):
        answer = (await api.ok("POST", f"{path}/cancel"))["order"]
        assert (answer["id"], answer["returns"][0]["status"]) == (order["id"], "canceled")
        assert not {"total", "sales_channel", "paid_total"} & answer.keys()
    status, answer = await api.post(f"{path}/receive", body_of(order, (1000, 2)))
    assert (status, answer["type"]) == (400, "not_allowed")
    assert returned(await shown(api, order))[1000] == (None, 2000)
    await api.ok("POST", f"{path_of(order)}/cancel")

    async def emitted() -> bool:
        return any(e["type"] == "order.canceled" for e in heard)

    await until(emitted)
    assert len([e for e in heard if e["type"] == "order.return_canceled"]) == 1


async def test_what_comes_back_for_a_swap(
    api: Client, stack: Stack, ordered: Ordered, heard: list[dict[str, Any]], uid: str
) -> None:
    """The swap pays for it: nothing is refunded, and the order's status is not about it."""
    order, other = await ordered(), await ordered()
    return_ = await request_return(api, order, (1000, 2))
    pool = stack.pool("orders")
    await pool.execute("insert into swaps (id, order_id) values ($1, $2)", f"swap_{uid}", order["id"])
    await pool.execute("update returns set order_id = null, swap_id = $2 where id = $1", return_["id"], f"swap_{uid}")
    # A line that the swap has sent can come back as well.
    sent = item(other, 1500)
    await pool.execute("update line_items set order_id = null, swap_id = $2 where id = $1", sent, f"swap_{uid}")
    body = {"items": [{"item_id": item(order, 1000), "quantity": 2}, {"item_id": sent, "quantity": 1}]}
    got = (await api.ok("POST", f"/admin/returns/{return_['id']}/receive", body))["return"]
    assert (got["status"], got["refund_amount"], got["order_id"]) == ("received", 2000, None)
    assert (got["swap"]["id"], "additional_items" in got["swap"]) == (f"swap_{uid}", False)
    assert await money(api, order) == ("not_fulfilled", "captured", 0, [])
    assert returned(await shown(api, order))[1000] == (2, 0)
    line = await pool.fetchrow("select returned_quantity, refundable from line_items where id = $1", sent)
    assert tuple(line) == (1, 0)

    async def emitted() -> bool:
        return any(e["type"] == "order.placed" and e["subject"] == order["id"] for e in heard)

    await until(emitted)
    assert not [e for e in heard if e["type"] == "order.items_returned"]


# Twice at once


async def test_one_receipt_wins(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    return_ = await request_return(api, order, (1000, 1))
    path, body = f"/admin/returns/{return_['id']}/receive", body_of(order, (1000, 1))
    answers = await asyncio.gather(*(api.post(path, body) for _ in range(6)))
    assert [status for status, _ in answers if status == 200] == [200]
    assert {status for status, _ in answers} <= {200, 400, 409}
    assert await money(api, order) == ("partially_returned", "captured", 1000, [(1000, "return")])
    assert returned(await shown(api, order))[1000] == (1, 1000)


async def test_never_more_than_was_bought(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    returns = [await request_return(api, order, (1000, 1)) for _ in range(4)]
    calls = [
        api.post(f"/admin/returns/{return_['id']}/{what}", body_of(order, (1000, 1)))
        for return_ in returns
        for what in ("receive", "cancel")
    ]
    spot = [api.post(f"{path_of(order)}/return", body_of(order, (1000, 1), receive_now=True)) for _ in range(3)]
    answers = await asyncio.gather(*calls, *spot)
    assert {status for status, _ in answers} <= {200, 400, 409}
    after = await shown(api, order)
    received = [r for r in after["returns"] if r["status"] == "received"]
    assert (returned(after)[1000][0] or 0) == len(received) <= 2
    refunds = (await money(api, order))[3]
    assert len(refunds) <= len(received)


async def test_an_idempotency_key_receives_once(api: Client, ordered: Ordered, uid: str) -> None:
    order, key = await ordered(), {"Idempotency-Key": uid}
    return_ = await request_return(api, order, (1000, 1))
    path, body = f"/admin/returns/{return_['id']}/receive", body_of(order, (1000, 1))
    first = await api.post(path, body, headers=key)
    assert first[0] == 200
    assert await api.post(path, body, headers=key) == first
    assert (await money(api, order))[3] == [(1000, "return")]


async def test_another_refund_was_faster(api: Client, stack: Stack, ordered: Ordered) -> None:
    """The goods are there; that the money is not any more is for people to settle."""
    order = await ordered()
    return_ = await request_return(api, order, (1500, 1))
    saga = await begun(stack, return_, body_of(order, (1500, 1)))
    await api.ok("POST", f"{path_of(order)}/refund", {"amount": 3000, "reason": "other"})
    await die(stack, saga)

    async def done() -> bool:
        return bool((await shown(api, order))["fulfillment_status"] == "requires_action")

    await until(done)
    assert (await money(api, order))[1:3] == ("partially_refunded", 3000)
    assert returned(await shown(api, order))[1500] == (1, 0)


# Stock


@pytest.fixture
async def warehouse(api: Client) -> Warehouse:
    """10 pieces of the small variant."""
    return await make_warehouse(api)


async def sold(warehouse: Warehouse) -> Order:
    """3 of the small variant, and a custom line of 3.00."""
    small = {"variant_id": warehouse.shop.small, "quantity": 3}
    return await place(
        warehouse.api, warehouse.shop, items=[small, {"title": "Wrapping", "unit_price": 300, "quantity": 1}]
    )


async def stocked(warehouse: Warehouse) -> int:
    return (await warehouse.level())[0]


async def test_stock_grows_by_what_came(api: Client, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    return_ = await request_return(api, order, (1000, 2), (300, 1), location_id="sloc_elsewhere")
    got = await receive(api, order, return_, (1000, 1), (300, 1), location_id=warehouse.location)
    assert (got["location_id"], await stocked(warehouse)) == (warehouse.location, 11)
    await request_return(api, order, (1000, 1), location_id=warehouse.location, receive_now=True)
    assert await stocked(warehouse) == 12


@pytest.mark.parametrize("location", [None, "sloc_missing"])
async def test_counted_goods_need_a_place(api: Client, warehouse: Warehouse, location: str | None) -> None:
    order = await sold(warehouse)
    return_ = await request_return(api, order, (1000, 1))
    before = await shown(api, order)
    more = {} if location is None else {"location_id": location}
    for path, body in (
        (f"/admin/returns/{return_['id']}/receive", body_of(order, (1000, 1), **more)),
        (f"{path_of(order)}/return", body_of(order, (1000, 1), receive_now=True, **more)),
    ):
        status, answer = await api.post(path, body)
        assert (status, answer["type"]) == (404, "not_found")
    assert await shown(api, order) == before
    assert (await stocked(warehouse), (await money(api, order))[2]) == (10, 0)
    await receive(api, order, return_, (1000, 1), location_id=warehouse.location)
    assert (await stocked(warehouse), (await money(api, order))[2]) == (11, 1000)


# Crashes


async def begun(stack: Stack, return_: Any, body: dict[str, Any]) -> Saga:
    """The saga of a receipt whose process dies."""
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        state = await plan_receipt(db, return_["id"], ReceiveBody.model_validate(body))
        return await begin(db, "receive_return", return_["id"], state)


async def die(stack: Stack, saga: Saga) -> None:
    """Nobody renews the lease of a dead process."""
    await stack.pool("orders").execute("update sagas set leased_until = now() where id = $1", saga.id)


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_receipt_that_was_cut_off_is_finished_once(
    api: Client, stack: Stack, warehouse: Warehouse, steps: int
) -> None:
    order = await sold(warehouse)
    return_ = await request_return(api, order, (1000, 2), location_id=warehouse.location)
    saga = await begun(stack, return_, body_of(order, (1000, 2)))
    for step in (restock, refund_payments)[:steps]:
        await step(stack.apps["orders"], saga)
    for path, body in (
        (f"/admin/returns/{return_['id']}/receive", body_of(order, (1000, 2))),
        (f"/admin/returns/{return_['id']}/cancel", None),
        (f"{path_of(order)}/return", body_of(order, (1000, 1), receive_now=True)),
    ):
        status, answer = await api.post(path, body)
        assert (status, answer["type"]) == (409, "conflict"), path
    await die(stack, saga)

    async def done() -> bool:
        return bool((await shown(api, order))["returns"][0]["status"] == "received")

    await until(done)
    assert await money(api, order) == ("partially_returned", "captured", 2000, [(2000, "return")])
    assert (returned(await shown(api, order))[1000], await stocked(warehouse)) == ((2, 1000), 12)


async def test_without_the_broker(api: Client, stack: Stack, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    from services.orders.service import SERVICE

    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        return_ = await request_return(cut_off, order, (1000, 1), (300, 1), location_id=warehouse.location)
        before = await shown(api, order)
        body = body_of(order, (1000, 1))
        label = {"return_shipping": {"option_id": warehouse.shop.shipping_option}}
        for path, sent in (
            (f"/admin/returns/{return_['id']}/receive", body),
            (f"{path_of(order)}/return", body | {"receive_now": True, "location_id": warehouse.location}),
            (f"{path_of(order)}/return", body | label),
        ):
            status, answer = await cut_off.post(path, sent)
            assert (status, answer["type"]) == (503, "unavailable"), path
        assert await shown(api, order) == before
        await receive(cut_off, order, return_, (300, 1), refund=0)  # neither counted nor paid for
    finally:
        await runner.cleanup()
    assert (await money(api, order))[:3] == ("partially_returned", "captured", 0)
    assert await stocked(warehouse) == 10
