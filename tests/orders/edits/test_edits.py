"""Order edits over HTTP: begun, listed, noted, canceled and deleted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import orjson
import pytest

from tests.support.client import Client
from tests.support.factories.order_edits import (
    added,
    begun,
    changes,
    done,
    line,
    lines,
    order_now,
    path_of,
    removed,
    shown,
    totals,
)
from tests.support.factories.shops import Shop
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
Ordered = Callable[..., Awaitable[Row]]


@pytest.fixture
async def order(ordered: Ordered) -> Row:
    """2 at 10.00, 1 at 15.00, shipping 5.00."""
    return await ordered()


@pytest.fixture
async def edit_events(stack: Stack) -> AsyncIterator[list[tuple[str, Row]]]:
    """(name, data) of events about order edits, as they come."""
    events: list[tuple[str, Row]] = []
    connection = await aio_pika.connect(stack.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(f"{stack.namespace}.events", "order-edit.#")
        await queue.bind(f"{stack.namespace}.events", "order-edit-item-change.#")

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = orjson.loads(message.body)
            events.append((event["type"], event["data"]))

        await queue.consume(note, no_ack=True)
        yield events


async def edits_of(stack: Stack, order: Row) -> int:
    count: int = await stack.pool("orders").fetchval(
        "select count(*) from order_edits where order_id = $1", order["id"]
    )
    return count


async def test_an_edit_begins_with_the_lines_of_its_order(api: Client, order: Row) -> None:
    before = await order_now(api, order)
    edit = await begun(api, order, internal_note="Wants more", created_by="usr_someone")
    me = (await api.ok("GET", "/admin/auth"))["user"]["id"]
    small, large = order["items"]
    assert edit == {
        "id": edit["id"],
        "order_id": order["id"],
        "status": "created",
        "internal_note": "Wants more",
        "created_by": me,
        "created_at": edit["created_at"],
        **dict.fromkeys(
            ("requested_by", "requested_at", "confirmed_by", "confirmed_at", "declined_by", "declined_at"), None
        ),
        **dict.fromkeys(
            ("declined_reason", "canceled_by", "canceled_at", "payment_collection_id", "payment_collection"), None
        ),
        "changes": [],
        "items": edit["items"],
        "subtotal": 3500,
        "discount_total": 0,
        "shipping_total": 500,
        "gift_card_total": 0,
        "gift_card_tax_total": 0,
        "tax_total": 0,
        "total": 4000,
        "difference_due": 0,
    }
    assert edit["id"].startswith("oe_")
    for copy, original in zip(edit["items"], (small, large), strict=True):
        other = {
            "id": copy["id"],
            "cart_id": None,
            "order_id": None,
            "order_edit_id": edit["id"],
            "original_item_id": original["id"],
            "raw_discount_total": 0,
            "updated_at": copy["updated_at"],
            "tax_lines": copy["tax_lines"],
            "variant": copy["variant"],
        }
        assert copy == original | other
        assert [(tax["rate"], tax["code"], tax["item_id"]) for tax in copy["tax_lines"]] == [(0, "default", copy["id"])]
        assert copy["tax_lines"][0]["id"] != original["tax_lines"][0]["id"]
        assert {**original["variant"], "product": None} == {**copy["variant"], "product": None}
    assert await shown(api, edit) == edit
    # The order does not know of it.
    assert await order_now(api, order) == before


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({}, 400, "invalid_data"),
        ({"order_id": 5}, 400, "invalid_data"),
        ({"order_id": "order_missing"}, 404, "not_found"),
        ({"order_id": "ORDER", "internal_note": 5}, 400, "invalid_data"),
        ({"order_id": "ORDER", "reason": "none"}, 400, "invalid_data"),
    ],
)
async def test_an_edit_that_cannot_be_begun(
    api: Client, stack: Stack, order: Row, body: Row, status: int, type_: str
) -> None:
    if body.get("order_id") == "ORDER":
        body = body | {"order_id": order["id"]}
    refused_with, answer = await api.post("/admin/order-edits", body)
    assert (refused_with, answer["type"]) == (status, type_)
    assert await edits_of(stack, order) == 0


async def test_a_canceled_order_is_not_edited(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.small)
    await api.ok("POST", f"/admin/orders/{order['id']}/cancel")
    before = await shown(api, edit)
    item = line(edit, 1500)
    for method, path, body in (
        ("POST", path_of(edit, "items"), {"variant_id": shop.small, "quantity": 1}),
        ("POST", path_of(edit, "items", item), {"quantity": 3}),
        ("DELETE", path_of(edit, "items", item), None),
        ("DELETE", path_of(edit, "changes", edit["changes"][0]["id"]), None),
        ("POST", path_of(edit, "request"), {}),
        ("POST", path_of(edit, "confirm"), None),
    ):
        status, answer = await api.request(method, path, body)
        assert (status, answer["type"]) == (400, "not_allowed"), path
    assert await shown(api, edit) == before
    assert lines(await order_now(api, order)) == lines(order)
    await done(api, edit, "cancel")
    status, answer = await api.post("/admin/order-edits", {"order_id": order["id"]})
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await edits_of(stack, order) == 1


async def test_one_edit_of_an_order_at_a_time(api: Client, stack: Stack, order: Row) -> None:
    answers = await asyncio.gather(*(api.post("/admin/order-edits", {"order_id": order["id"]}) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400, 400]
    assert {body["type"] for status, body in answers if status == 400} == {"invalid_data"}
    assert await edits_of(stack, order) == 1
    copies = "select count(*) from line_items l join order_edits e on e.id = l.order_edit_id where e.order_id = $1"
    assert await stack.pool("orders").fetchval(copies, order["id"]) == 2
    [first] = [body["order_edit"] for status, body in answers if status == 200]
    await done(api, first, "cancel")
    second = await begun(api, order)
    await done(api, second, "confirm")
    assert (await begun(api, order))["status"] == "created"
    assert await edits_of(stack, order) == 3


async def test_a_note_is_changed_whatever_the_status(api: Client, order: Row) -> None:
    edit = await begun(api, order, internal_note="One")
    assert await done(api, edit, "confirm") != edit
    after = (await api.ok("POST", path_of(edit), {"internal_note": "Two"}))["order_edit"]
    assert (after["internal_note"], after["status"]) == ("Two", "confirmed")
    assert (await api.ok("POST", path_of(edit), {}))["order_edit"]["internal_note"] == "Two"
    for body in ({"internal_note": 12}, {"status": "created"}):
        assert (await api.post(path_of(edit), body))[0] == 400
    assert (await shown(api, edit))["internal_note"] == "Two"
    assert (await api.ok("POST", path_of(edit), {"internal_note": None}))["order_edit"]["internal_note"] is None
    assert (await api.post("/admin/order-edits/oe_missing", {"internal_note": "x"}))[0] == 404


async def test_edits_are_found(api: Client, order: Row, uid: str) -> None:
    first = await begun(api, order, internal_note=f"Needle {uid}")
    first = await done(api, first, "cancel")
    second = await begun(api, order, internal_note=f"50% {uid}")
    listed = await api.ok("GET", "/admin/order-edits", query={"order_id": order["id"]})
    assert listed == {"order_edits": [second, first], "count": 2, "limit": 20, "offset": 0}
    for query, expected in (
        ({"q": f"NEEDLE {uid}"}, [first]),
        ({"q": f"% {uid}"}, [second]),
        ({"q": uid, "order_id": "order_missing"}, []),
    ):
        answer = await api.ok("GET", "/admin/order-edits", query=query)
        assert (answer["order_edits"], answer["count"]) == (expected, len(expected)), query
    page = await api.ok("GET", "/admin/order-edits", query={"order_id": order["id"], "limit": "1", "offset": "2"})
    assert page == {"order_edits": [], "count": 2, "limit": 1, "offset": 2}
    query = {"order_id": order["id"], "limit": "1", "fields": "id,internal_note", "expand": "order"}
    [row] = (await api.ok("GET", "/admin/order-edits", query=query))["order_edits"]
    assert row.keys() == {
        "id", "internal_note", "created_at", "status", "items", "order", "subtotal", "discount_total", "shipping_total",
        "gift_card_total", "gift_card_tax_total", "tax_total", "total", "difference_due",
    }  # fmt: skip
    assert (row["order"]["id"], row["order"]["object"], row["order"]["email"]) == (order["id"], "order", order["email"])
    for query in ({"colour": "red"}, {"limit": "x"}, {"order_id[]": "x"}, {"fields": "colour"}, {"expand": "colour"}):
        assert (await api.get("/admin/order-edits", query=query))[0] == 400, query
    assert (await api.get("/admin/order-edits", anonymous=True))[0] == 401


async def test_what_is_shown_is_chosen(api: Client, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    for query, keys in (
        ({"fields": "id", "expand": ""}, {"id", "status", "items"}),
        ({"fields": "updated_at", "expand": "changes"}, {"id", "updated_at", "status", "items", "changes"}),
    ):
        answer = (await api.ok("GET", path_of(edit), query=query))["order_edit"]
        sums = ("gift_card_total", "gift_card_tax_total")
        assert answer.keys() == {*keys, *sums, *(n for n in answer if n.endswith("total")), "difference_due"}
        assert answer["items"] == edit["items"]
    [change] = answer["changes"]
    assert change.keys() == {
        "id", "type", "order_edit_id", "line_item_id", "original_line_item_id",
        "created_at", "updated_at", "deleted_at",
    }  # fmt: skip
    deep = {"fields": "id", "expand": "order.customer,changes.line_item.variant.product,items.variant.product"}
    answer = (await api.ok("GET", path_of(edit), query=deep))["order_edit"]
    assert answer["order"]["customer"]["email"] == order["email"]
    assert answer["changes"][0]["line_item"]["variant"]["product"]["id"] == shop.product
    assert answer["items"] == edit["items"]  # these always look the same
    plain = (await api.ok("GET", path_of(edit), query={"fields": "id", "expand": "order.items"}))["order_edit"]["order"]
    assert {line["id"] for line in plain["items"]} == {line["id"] for line in order["items"]}
    assert not {"total", "subtotal", "tax_lines"} & plain["items"][0].keys()
    for query in ({"colour": "red"}, {"fields": "colour"}, {"expand": "colour"}):
        assert (await api.get(path_of(edit), query=query))[0] == 400
    assert (await api.get("/admin/order-edits/oe_missing"))[0] == 404
    shown_with_order = await api.ok("GET", f"/admin/orders/{order['id']}", query={"expand": "edits"})
    assert [(e["id"], e["status"]) for e in shown_with_order["order"]["edits"]] == [(edit["id"], "created")]


async def test_a_read_is_one_statement(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    with stack.statements("orders") as seen:
        await shown(api, edit)
    assert len([text for text in seen if "order_edits" in text]) == 1


async def test_the_difference_follows_the_order(api: Client, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    assert totals(edit) == (5000, 0, 500, 0, 5500, 1500)
    # Shipping is the order's own: it changes both.
    body = {"option_id": shop.shipping_option, "price": 800}
    await api.ok("POST", f"/admin/orders/{order['id']}/shipping-methods", body)
    assert totals(await shown(api, edit)) == (5000, 0, 800, 0, 5800, 1500)
    assert totals(await done(api, edit, "confirm")) == (5000, 0, 800, 0, 5800, 0)
    assert totals(await done(api, await added(api, await begun(api, order), shop.small), "confirm"))[-1] == 0
    assert totals(await shown(api, edit)) == (5000, 0, 800, 0, 5800, -1000)


async def test_an_edit_is_canceled_once(api: Client, shop: Shop, order: Row) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    canceled = await done(api, edit, "cancel")
    assert (canceled["status"], canceled["canceled_by"]) == ("canceled", edit["created_by"])
    assert canceled["canceled_at"] is not None
    assert await done(api, edit, "cancel") == canceled
    item, change = line(edit, 1000), edit["changes"][0]["id"]
    for method, path, body in (
        ("POST", path_of(edit, "confirm"), None),
        ("POST", path_of(edit, "request"), {}),
        ("POST", path_of(edit, "items"), {"variant_id": shop.small, "quantity": 1}),
        ("POST", path_of(edit, "items", item), {"quantity": 4}),
        ("DELETE", path_of(edit, "items", item), None),
        ("DELETE", path_of(edit, "changes", change), None),
        ("DELETE", path_of(edit), None),
    ):
        status, answer = await api.request(method, path, body)
        assert (status, answer["type"]) == (400, "not_allowed"), path
    assert await shown(api, edit) == canceled
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]
    assert (await api.post("/admin/order-edits/oe_missing/cancel"))[0] == 404


async def test_an_edit_is_deleted_before_it_is_asked_for(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    edit = await removed(api, await added(api, await begun(api, order), shop.large), 1000)
    gone = {"id": edit["id"], "object": "order_edit", "deleted": True}
    assert await api.ok("DELETE", path_of(edit)) == gone
    assert (await api.get(path_of(edit)))[0] == 404
    assert await api.ok("DELETE", path_of(edit)) == gone
    for table in ("line_items", "order_item_changes"):
        left = f"select count(*) from {table} where order_edit_id = $1"
        assert await stack.pool("orders").fetchval(left, edit["id"]) == 0
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]
    second = await added(api, await begun(api, order), shop.large)
    await done(api, second, "request", {})
    status, answer = await api.delete(path_of(second))
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, second))["status"] == "requested"


async def test_events_say_what_happened(
    api: Client, shop: Shop, order: Row, edit_events: list[tuple[str, Row]]
) -> None:
    edit = await added(api, await begun(api, order), shop.large)
    await api.ok("DELETE", path_of(edit, "changes", edit["changes"][0]["id"]))
    after = await removed(api, edit, 1000)
    await api.ok("POST", path_of(edit), {"internal_note": "x"})
    requested = await done(api, edit, "request", {})
    await done(api, edit, "request", {})
    await done(api, edit, "confirm")
    await done(api, edit, "confirm")
    other = await begun(api, order)
    await done(api, other, "cancel")
    await done(api, other, "cancel")

    async def all_heard() -> bool:
        return len(edit_events) >= 9

    await until(all_heard)
    of = {"order_edit_id": edit["id"], "order_id": order["id"]}
    added_id, removed_id = edit["changes"][0]["id"], after["changes"][0]["id"]
    plain = {"id": edit["id"], "order_id": order["id"]}
    assert edit_events == [
        ("order-edit.created", plain),
        ("order-edit-item-change.CREATED", {"id": added_id, "type": "item_add", **of}),
        ("order-edit-item-change.DELETED", {"ids": [added_id], **of}),
        ("order-edit-item-change.CREATED", {"id": removed_id, "type": "item_remove", **of}),
        ("order-edit.updated", plain),
        ("order-edit.requested", plain | {"payment_collection_id": None}),
        ("order-edit.confirmed", plain),
        ("order-edit.created", plain | {"id": other["id"]}),
        ("order-edit.canceled", plain | {"id": other["id"]}),
    ]
    assert changes(requested) == [("item_remove", None, line(order, 1000))]
