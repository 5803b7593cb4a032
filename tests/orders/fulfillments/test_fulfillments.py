"""Fulfillments over HTTP: what may be fulfilled, what stock does, and what is left after a crash."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.keys import POOL
from services.chassis.sagas import Saga, begin
from services.chassis.service import make_app
from services.orders import remote
from services.orders.fulfillments.cancellations import return_stock
from services.orders.fulfillments.creations import begin_fulfillments, split_by_method, take_stock
from services.orders.fulfillments.fulfillments import FulfillmentBody, plan_fulfillment
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


def counted(order: Order) -> dict[int, tuple[int, int | None, int | None]]:
    """(quantity, fulfilled, shipped) by price."""
    names = ("quantity", "fulfilled_quantity", "shipped_quantity")
    return {line["unit_price"]: tuple(line[name] for name in names) for line in order["items"]}


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


async def shown(api: Client, order: Order) -> Order:
    current: Order = (await api.ok("GET", path_of(order)))["order"]
    return current


async def fulfill(api: Client, order: Order, *items: tuple[str, int], **more: Any) -> Order:
    body = {"items": [{"item_id": id_, "quantity": quantity} for id_, quantity in items]} | more
    fulfilled: Order = (await api.ok("POST", f"{path_of(order)}/fulfillment", body))["order"]
    return fulfilled


# Without a location


async def test_fulfilling_counts(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    small, large = item(order, 1000), item(order, 1500)
    first = await fulfill(api, order, (small, 1), metadata={"box": 1}, no_notification=True)
    fulfillment = first["fulfillments"][0]
    assert first["fulfillment_status"] == "partially_fulfilled"
    assert counted(first) == {1000: (2, 1, None), 1500: (1, None, None)}
    assert fulfillment == {
        "id": fulfillment["id"],
        "order_id": order["id"],
        "claim_order_id": None,
        "swap_id": None,
        "provider_id": "manual",
        "location_id": None,
        "no_notification": None,  # it was for the event, see below
        "tracking_numbers": [],
        "tracking_links": [],
        "data": {},
        "metadata": {"box": 1},
        "shipped_at": None,
        "canceled_at": None,
        "idempotency_key": None,
        "items": [{"fulfillment_id": fulfillment["id"], "item_id": small, "quantity": 1}],
        "created_at": fulfillment["created_at"],
        "updated_at": fulfillment["created_at"],
    }
    second = await fulfill(api, order, (small, 1), (large, 1))
    assert second["fulfillment_status"] == "fulfilled"
    assert counted(second) == {1000: (2, 2, None), 1500: (1, 1, None)}
    assert [f["metadata"] for f in second["fulfillments"]] == [{"box": 1}, {}]

    async def emitted() -> bool:
        return len([e for e in heard if (e["type"], e["subject"]) == ("order.fulfillment_created", order["id"])]) == 2

    await until(emitted)
    event = next(e for e in heard if e["type"] == "order.fulfillment_created" and e["subject"] == order["id"])
    assert event["data"] == {
        "id": order["id"],
        "fulfillment_id": fulfillment["id"],
        "location_id": None,
        "items": [{"item_id": small, "quantity": 1}],
        "no_notification": True,
    }


async def test_a_line_that_is_named_twice_counts_twice(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    small = item(order, 1000)
    fulfilled = await fulfill(api, order, (small, 1), (small, 1))
    assert counted(fulfilled)[1000] == (2, 2, None)
    assert [i["quantity"] for i in fulfilled["fulfillments"][0]["items"]] == [2]


async def test_refusals_change_nothing(api: Client, ordered: Ordered) -> None:
    order, other = await ordered(), await ordered()
    path, small = path_of(order), item(order, 1000)
    before = await shown(api, order)
    for items, status, type_ in (
        ([{"item_id": small, "quantity": 3}], 400, "not_allowed"),
        ([{"item_id": small, "quantity": 2}, {"item_id": small, "quantity": 1}], 400, "not_allowed"),
        ([{"item_id": small, "quantity": 1}, {"item_id": item(other, 1500), "quantity": 1}], 404, "not_found"),
        ([{"item_id": small, "quantity": 0}], 400, "invalid_data"),
        ([{"item_id": small, "quantity": -1}], 400, "invalid_data"),
        ([{"item_id": small, "quantity": 1.5}], 400, "invalid_data"),
        ([{"item_id": small, "quantity": "1"}], 400, "invalid_data"),
        ([{"item_id": small, "quantity": 2**40}], 400, "invalid_data"),
        ([{"item_id": small}], 400, "invalid_data"),
        ([{"item_id": small, "quantity": 1, "colour": "red"}], 400, "invalid_data"),
        ([], 400, "invalid_data"),
        ("nope", 400, "invalid_data"),
        (None, 400, "invalid_data"),
    ):
        got, answer = await api.post(f"{path}/fulfillment", {"items": items})
        assert (got, answer["type"]) == (status, type_), items
    for more in ({"location_id": 5}, {"no_notification": "yes"}, {"metadata": [1]}, {"surprise": 1}):
        got, answer = await api.post(f"{path}/fulfillment", {"items": [{"item_id": small, "quantity": 1}]} | more)
        assert (got, answer["type"]) == (400, "invalid_data"), more
    assert (await api.post(f"{path}/fulfillment", {}))[0] == 400
    assert await shown(api, order) == before


async def test_never_more_than_bought(api: Client, ordered: Ordered) -> None:
    order = await ordered(quantity=5)
    body = {"items": [{"item_id": item(order, 1000), "quantity": 2}]}
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/fulfillment", body) for _ in range(12)))
    assert sorted(status for status, _ in answers) == [200] * 2 + [400] * 10
    after = await shown(api, order)
    assert counted(after)[1000] == (5, 4, None)
    assert len(after["fulfillments"]) == 2


async def test_an_order_without_shipping_cannot_be_fulfilled(api: Client, shop: Shop) -> None:
    draft = shop.draft(items=[{"title": "Rug", "unit_price": 100, "quantity": 1}])
    draft_id = (await api.ok("POST", "/admin/draft-orders", draft))["draft_order"]["id"]
    line = {"variant_id": shop.small, "quantity": 1}
    await api.ok("POST", f"/admin/draft-orders/{draft_id}/line-items", line)
    order = (await api.ok("POST", f"/admin/draft-orders/{draft_id}/pay"))["order"]
    assert order["shipping_methods"] == []
    body = {"items": [{"item_id": item(order, 1000), "quantity": 1}]}
    status, answer = await api.post(f"{path_of(order)}/fulfillment", body)
    assert (status, answer["type"]) == (400, "not_allowed")
    await api.ok("POST", f"{path_of(order)}/shipping-methods", {"option_id": shop.shipping_option, "price": 650})
    await api.ok("POST", f"{path_of(order)}/fulfillment", body)


def test_a_fulfillment_for_each_shipping_profile() -> None:
    profiles = {"a": "sp_1", "b": "sp_2", "c": None}
    lines = [{"id": id_, "profile_id": profile} for id_, profile in profiles.items()]
    one = [{"profile_id": "sp_2", "provider_id": "x"}]
    two = [*one, {"profile_id": "sp_1", "provider_id": "y"}]
    quantities = {"a": 1, "b": 2, "c": 3}
    assert [(p.provider_id, p.items) for p in split_by_method(quantities, lines, one)] == [("x", quantities)]
    assert [(p.provider_id, p.items) for p in split_by_method(quantities, lines, two)] == [
        ("x", {"b": 2, "c": 3}),
        ("y", {"a": 1}),
    ]
    assert [(p.provider_id, p.items) for p in split_by_method({"a": 1}, lines, two)] == [("y", {"a": 1})]


async def test_cancel(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    small, large = item(order, 1000), item(order, 1500)
    fulfillment = (await fulfill(api, order, (small, 2), (large, 1)))["fulfillments"][0]["id"]
    path = f"{path_of(order)}/fulfillments/{fulfillment}/cancel"
    answer = (await api.ok("POST", path))["order"]
    assert answer["fulfillment_status"] == "canceled"
    assert counted(answer) == {1000: (2, 0, None), 1500: (1, 0, None)}
    assert [f["canceled_at"] is not None for f in answer["fulfillments"]] == [True]
    before = await shown(api, order)
    for again in (path, f"{path_of(order)}/shipment"):
        status, refusal = await api.post(again, {"fulfillment_id": fulfillment} if again != path else None)
        assert (status, refusal["type"]) == (400, "not_allowed")
    assert await shown(api, order) == before
    fulfilled_again = await fulfill(api, order, (small, 2))
    assert (fulfilled_again["fulfillment_status"], counted(fulfilled_again)[1000]) == (
        "partially_fulfilled",
        (2, 2, None),
    )

    async def emitted() -> bool:
        return any(e["type"] == "order.fulfillment_canceled" and e["subject"] == order["id"] for e in heard)

    await until(emitted)


async def test_what_cannot_be_canceled(api: Client, ordered: Ordered) -> None:
    order, other = await ordered(), await ordered()
    fulfillment = (await fulfill(api, order, (item(order, 1000), 1)))["fulfillments"][0]["id"]
    for path in (
        f"{path_of(order)}/fulfillments/ful_missing/cancel",
        f"{path_of(other)}/fulfillments/{fulfillment}/cancel",
        f"/admin/orders/order_missing/fulfillments/{fulfillment}/cancel",
    ):
        status, answer = await api.post(path)
        assert (status, answer["type"]) == (404, "not_found")
    await api.ok("POST", f"{path_of(order)}/shipment", {"fulfillment_id": fulfillment})
    before = await shown(api, order)
    status, answer = await api.post(f"{path_of(order)}/fulfillments/{fulfillment}/cancel")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shown(api, order) == before


async def test_canceling_twice_at_once_counts_once(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    small = item(order, 1000)
    first = (await fulfill(api, order, (small, 1)))["fulfillments"][0]["id"]
    await fulfill(api, order, (small, 1))
    path = f"{path_of(order)}/fulfillments/{first}/cancel"
    answers = await asyncio.gather(*(api.post(path) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 5
    assert counted(await shown(api, order))[1000] == (2, 1, None)


async def test_shipping_and_canceling_at_once(api: Client, ordered: Ordered) -> None:
    for _ in range(4):
        order = await ordered()
        fulfillment = (await fulfill(api, order, (item(order, 1000), 1)))["fulfillments"][0]["id"]
        shipped, canceled = await asyncio.gather(
            api.post(f"{path_of(order)}/shipment", {"fulfillment_id": fulfillment}),
            api.post(f"{path_of(order)}/fulfillments/{fulfillment}/cancel"),
        )
        assert sorted((shipped[0], canceled[0])) == [200, 400]
        after = await shown(api, order)
        assert counted(after)[1000] == ((2, 1, 1) if shipped[0] == 200 else (2, 0, None))
        assert [(f["shipped_at"] is None, f["canceled_at"] is None) for f in after["fulfillments"]] == [
            (shipped[0] != 200, canceled[0] != 200)
        ]


# With a location


@pytest.fixture
async def warehouse(api: Client) -> Warehouse:
    """10 pieces of the small variant."""
    return await make_warehouse(api)


async def sold(warehouse: Warehouse, quantity: int = 4) -> Order:
    """Some of the small variant, which is counted, and a gift wrap, which is not."""
    small = {"variant_id": warehouse.shop.small, "quantity": quantity}
    return await place(
        warehouse.api, warehouse.shop, items=[small, {"title": "Gift wrap", "unit_price": 300, "quantity": 1}]
    )


async def reserve(warehouse: Warehouse, order: Order, quantity: int) -> None:
    body = {
        "line_item_id": item(order, 1000),
        "location_id": warehouse.location,
        "inventory_item_id": warehouse.items[warehouse.shop.small],
        "quantity": quantity,
    }
    await warehouse.api.ok("POST", "/admin/reservations", body)


async def test_stock_goes_down_and_up_again(api: Client, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    await reserve(warehouse, order, 3)
    assert await warehouse.level() == (10, 3)
    fulfilled = await fulfill(api, order, (item(order, 1000), 2), (item(order, 300), 1), location_id=warehouse.location)
    assert fulfilled["fulfillment_status"] == "partially_fulfilled"
    assert [(f["location_id"], len(f["items"])) for f in fulfilled["fulfillments"]] == [(warehouse.location, 2)]
    assert await warehouse.level() == (8, 1)
    path = f"{path_of(order)}/fulfillments/{fulfilled['fulfillments'][0]['id']}/cancel"
    assert (await api.ok("POST", path))["order"]["fulfillment_status"] == "canceled"
    assert await warehouse.level() == (10, 1)
    assert (await api.post(path))[0] == 400
    assert await warehouse.level() == (10, 1)
    await api.ok("POST", f"{path_of(order)}/cancel")
    assert await warehouse.level() == (10, 0)


async def test_what_the_warehouse_does_not_hold(api: Client, warehouse: Warehouse) -> None:
    order = await sold(warehouse, quantity=11)
    before = await shown(api, order)
    for quantity, location in ((11, warehouse.location), (1, "sloc_missing")):
        body = {"items": [{"item_id": item(order, 1000), "quantity": quantity}], "location_id": location}
        status, answer = await api.post(f"{path_of(order)}/fulfillment", body)
        assert (status, answer["type"]) == (400, "not_allowed")
    assert await shown(api, order) == before
    assert await warehouse.level() == (10, 0)


async def test_what_is_not_counted_needs_no_stock(api: Client, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    fulfilled = await fulfill(api, order, (item(order, 300), 1), location_id=warehouse.location)
    assert fulfilled["fulfillments"][0]["location_id"] == warehouse.location
    assert await warehouse.level() == (10, 0)


async def test_stock_and_quantities_hold_under_load(api: Client, warehouse: Warehouse) -> None:
    order = await sold(warehouse, quantity=5)
    body = {"items": [{"item_id": item(order, 1000), "quantity": 1}], "location_id": warehouse.location}
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/fulfillment", body) for _ in range(12)))
    statuses = [status for status, _ in answers]
    assert (statuses.count(200), set(statuses)) in ((5, {200, 400}), (5, {200, 409}), (5, {200, 400, 409}))
    after = await shown(api, order)
    assert (counted(after)[1000], len(after["fulfillments"])) == ((5, 5, None), 5)
    assert await warehouse.level() == (5, 0)


@pytest.mark.parametrize("located", [True, False])
async def test_the_same_is_fulfilled_meanwhile(
    api: Client, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, located: bool
) -> None:
    """When the stock of a line is taken and nothing is written yet: what is not being fulfilled can be."""
    order = await sold(warehouse)
    await reserve(warehouse, order, 4)
    take_from_stock, answers = remote.fulfill, list[Any]()

    def body(quantity: int) -> dict[str, Any]:
        here = {"location_id": warehouse.location} if located else {}
        return {"items": [{"item_id": item(order, 1000), "quantity": quantity}]} | here

    async def taken(*args: Any) -> Any:
        reply = await take_from_stock(*args)
        monkeypatch.setattr(remote, "fulfill", take_from_stock)
        answers.extend([await api.post(f"{path_of(order)}/fulfillment", body(n)) for n in (2, 1)])
        return reply

    monkeypatch.setattr(remote, "fulfill", taken)
    await fulfill(api, order, (item(order, 1000), 3), location_id=warehouse.location)
    assert [(status, answer.get("type")) for status, answer in answers] == [(409, "conflict"), (200, None)]
    assert counted(await shown(api, order))[1000] == (4, 4, None)
    assert await warehouse.level() == ((6, 0) if located else (7, 1))


async def test_an_idempotency_key_takes_stock_once(api: Client, warehouse: Warehouse, uid: str) -> None:
    order, key = await sold(warehouse), {"Idempotency-Key": uid}
    body = {"items": [{"item_id": item(order, 1000), "quantity": 1}], "location_id": warehouse.location}
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/fulfillment", body, headers=key) for _ in range(3)))
    again = await api.post(f"{path_of(order)}/fulfillment", body, headers=key)
    assert again[0] == 200
    assert all(answer in (again, (answer[0], answer[1])) and answer[0] in (200, 409, 503) for answer in answers)
    assert len((await shown(api, order))["fulfillments"]) == 1
    assert await warehouse.level() == (9, 0)


async def begun(stack: Stack, order: Order, warehouse: Warehouse, quantity: int) -> Saga:
    """The saga of a request whose process dies."""
    body = FulfillmentBody.model_validate(
        {"items": [{"item_id": item(order, 1000), "quantity": quantity}], "location_id": warehouse.location}
    )
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        return await begin_fulfillments(db, await plan_fulfillment(db, order["id"], body))


async def die(stack: Stack, saga: Saga) -> None:
    """Nobody renews the lease of a dead process."""
    await stack.pool("orders").execute("update sagas set leased_until = now() where id = $1", saga.id)


@pytest.mark.parametrize("stock_taken", [False, True])
async def test_fulfilling_that_was_cut_off_is_finished(
    api: Client, stack: Stack, warehouse: Warehouse, stock_taken: bool
) -> None:
    order = await sold(warehouse)
    saga = await begun(stack, order, warehouse, 3)
    if stock_taken:
        await take_stock(stack.apps["orders"], saga)
        assert await warehouse.level() == (7, 0)
    await die(stack, saga)

    async def done() -> bool:
        return bool((await shown(api, order))["fulfillments"])

    await until(done)
    assert counted(await shown(api, order))[1000] == (4, 3, None)
    assert await warehouse.level() == (7, 0)


async def test_fulfilling_that_was_overtaken_is_undone(api: Client, stack: Stack, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    await reserve(warehouse, order, 3)
    saga = await begun(stack, order, warehouse, 3)
    await take_stock(stack.apps["orders"], saga)
    assert await warehouse.level() == (7, 0)
    body = {"items": [{"item_id": item(order, 1000), "quantity": 2}]}
    assert (await api.post(f"{path_of(order)}/fulfillment", body))[0] == 409
    # Nobody gets there by the API, and all the same it has to hold.
    overtake = "update line_items set fulfilled_quantity = 2 where id = $1"
    await stack.pool("orders").execute(overtake, item(order, 1000))
    await die(stack, saga)

    async def compensated() -> bool:
        return await warehouse.level() == (10, 3)

    await until(compensated)
    assert counted(await shown(api, order))[1000] == (4, 2, None)


async def test_canceling_that_was_cut_off_is_finished(api: Client, stack: Stack, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    fulfilled = await fulfill(api, order, (item(order, 1000), 2), location_id=warehouse.location)
    fulfillment = fulfilled["fulfillments"][0]["id"]
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        state = {"owner": "order", "owner_id": order["id"], "order_id": order["id"], "fulfillment_id": fulfillment}
        saga = await begin(db, "cancel_fulfillment", fulfillment, state)
    await return_stock(stack.apps["orders"], saga)
    status, answer = await api.post(f"{path_of(order)}/shipment", {"fulfillment_id": fulfillment})
    assert (status, answer["type"]) == (409, "conflict"), "what is being canceled is not shipped"
    await die(stack, saga)

    async def done() -> bool:
        return bool((await shown(api, order))["fulfillment_status"] == "canceled")

    await until(done)
    assert await warehouse.level() == (10, 0)
    assert counted(await shown(api, order))[1000] == (4, 0, None)


async def test_without_the_broker(api: Client, stack: Stack, warehouse: Warehouse) -> None:
    order = await sold(warehouse)
    from services.orders.service import SERVICE

    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        body = {"items": [{"item_id": item(order, 1000), "quantity": 1}]}
        before = await shown(api, order)
        status, answer = await cut_off.post(f"{path_of(order)}/fulfillment", body | {"location_id": warehouse.location})
        assert (status, answer["type"]) == (503, "unavailable")
        assert await shown(api, order) == before
        assert (await cut_off.post(f"{path_of(order)}/cancel"))[0] == 503
        assert await shown(api, order) == before
        await cut_off.ok("POST", f"{path_of(order)}/fulfillment", body)
    finally:
        await runner.cleanup()
    assert counted(await shown(api, order))[1000] == (4, 1, None)
    assert await warehouse.level() == (10, 0)
