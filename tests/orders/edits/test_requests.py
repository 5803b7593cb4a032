"""Asking for an order edit over HTTP: what it costs more is collected, and nothing is left of what was refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.errors import NotAllowed
from services.chassis.keys import POOL
from services.chassis.sagas import begin, run
from services.orders.edits.requests import REQUEST_EDIT, plan_request
from tests.support.client import Client
from tests.support.factories.order_edits import added, begun, done, line, path_of, removed, resized, shown
from tests.support.factories.shops import Shop, place
from tests.support.stack import Stack

Row = dict[str, Any]
Ordered = Callable[..., Awaitable[Row]]


@pytest.fixture
async def order(ordered: Ordered) -> Row:
    """2 at 10.00, 1 at 15.00, shipping 5.00."""
    return await ordered()


async def collections(stack: Stack, edit: Row) -> list[tuple[str, int]]:
    """(id, amount) of the living payment collections of the edit, as payments has them."""
    sql = "select id, amount from payment_collections where order_edit_id = $1 and deleted_at is null order by id"
    return [tuple(row) for row in await stack.pool("payments").fetch(sql, edit["id"])]


async def test_what_an_edit_costs_more_is_collected(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large, 2)
    body = {"payment_collection_description": "Two more"}
    requested = await done(api, edit, "request", body)
    me = edit["created_by"]
    assert (requested["status"], requested["requested_by"], requested["difference_due"]) == ("requested", me, 3000)
    assert requested["requested_at"] is not None
    collection = requested["payment_collection"]
    assert collection == {
        "id": requested["payment_collection_id"],
        "type": "order_edit",
        "status": "not_paid",
        "description": "Two more",
        "amount": 3000,
        "authorized_amount": None,
        "region_id": shop.region,
        "currency_code": "eur",
        "metadata": None,
        "created_by": me,
        "created_at": collection["created_at"],
        "updated_at": collection["created_at"],
        "deleted_at": None,
    }
    assert await shown(api, edit) == requested
    assert await collections(stack, edit) == [(collection["id"], 3000)]
    deep = {"expand": ",".join(f"payment_collection.{name}" for name in ("region.currency", "payments"))}
    collection = (await api.ok("GET", path_of(edit), query=deep))["order_edit"]["payment_collection"]
    region = collection["region"]
    assert (region["id"], region["currency"]["code"], collection["payments"]) == (shop.region, "eur", [])
    # It can be changed, and requested again: by then it costs something else.
    await resized(api, edit, 1000, 1)
    again = await done(api, edit, "request", {})
    assert again["requested_at"] == requested["requested_at"]
    assert (again["payment_collection"]["amount"], again["payment_collection"]["description"]) == (2000, None)
    assert [amount for _, amount in await collections(stack, edit)] == [3000, 2000]
    # Then it costs less: nothing is collected, and the edit points at what it was last requested with.
    await api.ok("DELETE", path_of(edit, "changes", edit["changes"][0]["id"]))
    last = await done(api, edit, "request", {})
    assert (last["difference_due"], last["payment_collection_id"]) == (-1000, again["payment_collection_id"])
    assert len(await collections(stack, edit)) == 2


async def test_an_edit_that_costs_no_more(api: Client, stack: Stack, order: Row) -> None:
    edit = await removed(api, await begun(api, order), 1500)
    requested = await done(api, edit, "request")
    assert (requested["status"], requested["difference_due"]) == ("requested", -1500)
    assert (requested["payment_collection_id"], requested["payment_collection"]) == (None, None)
    assert await done(api, edit, "request", {}) == requested
    assert await collections(stack, edit) == []


async def test_nothing_is_asked_for(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await begun(api, order)
    for body in ({}, {"payment_collection_description": 5}, {"colour": "red"}):
        status, answer = await api.post(path_of(edit, "request"), body)
        assert (status, answer["type"]) == (400, "invalid_data")
    assert (await api.post("/admin/order-edits/oe_missing/request", {}))[0] == 404
    assert await shown(api, edit) == edit
    # What was confirmed was agreed to.
    confirmed = await done(api, await added(api, edit, shop.small), "confirm")
    assert await done(api, edit, "request", {}) == confirmed
    assert await collections(stack, edit) == []


async def test_asked_for_at_the_same_moment(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    answers = await asyncio.gather(*(api.post(path_of(edit, "request"), {}) for _ in range(5)))
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    collection_ids = [body["order_edit"]["payment_collection_id"] for status, body in answers if status == 200]
    assert {id_ for id_, _ in await collections(stack, edit)} == set(collection_ids)
    assert (await shown(api, edit))["payment_collection_id"] in collection_ids


async def test_asked_for_and_changed_at_the_same_moment(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    item = {"variant_id": shop.small, "quantity": 1}
    answers = await asyncio.gather(
        api.post(path_of(edit, "request"), {}),
        api.post(path_of(edit, "items"), item),
        api.post(path_of(edit, "request"), {}),
        api.post(path_of(edit, "cancel")),
    )
    assert {status for status, _ in answers} <= {200, 400, 409}
    after = await shown(api, edit)
    held = dict(await collections(stack, edit))
    if after["payment_collection_id"] is None:
        assert held == {}
    else:
        assert held[after["payment_collection_id"]] == after["payment_collection"]["amount"]
        assert after["payment_collection"]["amount"] in (1500, 2500)


async def test_an_idempotency_key_asks_once(api: Client, stack: Stack, shop: Shop, order: Row, uid: str) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    answers = [await api.post(path_of(edit, "request"), {}, headers={"Idempotency-Key": uid}) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(await collections(stack, edit)) == 1


async def test_an_order_that_is_canceled_meanwhile(api: Client, stack: Stack, shop: Shop) -> None:
    order = await place(api, shop)
    edit = await added(api, await begun(api, order), shop.large)
    app = stack.apps["orders"]
    async with app[POOL].acquire() as db, db.transaction():
        state = await plan_request(db, edit["id"], None, "usr_test")
        assert state is not None
        saga = await begin(db, "request_edit", edit["id"], state)
    # Nothing changes the edit while it is requested.
    for method, path, body in (
        ("POST", path_of(edit, "items"), {"variant_id": shop.small, "quantity": 1}),
        ("POST", path_of(edit, "items", line(edit, 1500)), {"quantity": 3}),
        ("POST", path_of(edit, "confirm"), None),
        ("POST", path_of(edit, "cancel"), None),
        ("DELETE", path_of(edit), None),
    ):
        status, answer = await api.request(method, path, body)
        assert (status, answer["type"]) == (409, "conflict"), path
    await api.ok("POST", f"/admin/orders/{order['id']}/cancel")
    with pytest.raises(NotAllowed, match="canceled order cannot be edited"):
        await run(app, REQUEST_EDIT, saga)
    assert await collections(stack, edit) == []
    after = await shown(api, edit)
    assert (after["status"], after["payment_collection_id"]) == ("created", None)
