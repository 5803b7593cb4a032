"""The lines of an order edit over HTTP: what they cost, which changes they leave, and what is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.service import make_app
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
    resized,
    shown,
    totals,
)
from tests.support.factories.shops import Shop, place, set_up
from tests.support.stack import Stack, serve

Row = dict[str, Any]
Ordered = Callable[..., Awaitable[Row]]


@pytest.fixture
async def order(ordered: Ordered) -> Row:
    """2 at 10.00, 1 at 15.00, shipping 5.00."""
    return await ordered()


def adjusted(edit: Row) -> list[list[float]]:
    return [[adjustment["amount"] for adjustment in item["adjustments"]] for item in edit["items"]]


async def discount(api: Client, shop: Shop, uid: str, **rule: Any) -> Row:
    body = {
        "code": f"D{uid}",
        "is_dynamic": False,
        "regions": [shop.region],
        "rule": {"type": "percentage", "value": 10, "allocation": "item"} | rule,
    }
    row: Row = (await api.ok("POST", "/admin/discounts", body))["discount"]
    return row


async def fulfilled(api: Client, order: Row, price: int, quantity: int) -> Row:
    body = {"items": [{"item_id": line(order, price), "quantity": quantity}]}
    after: Row = (await api.ok("POST", f"/admin/orders/{order['id']}/fulfillment", body))["order"]
    return after


async def test_a_line_is_added(api: Client, shop: Shop, order: Row) -> None:
    before = await order_now(api, order)
    edit = await begun(api, order)
    after = await added(api, edit, shop.large, 3, metadata={"gift": True})
    assert lines(after) == [(1000, 2), (1500, 1), (1500, 3)]
    assert totals(after) == (8000, 0, 500, 0, 8500, 4500)
    new = after["items"][-1]
    assert {name: new[name] for name in ("order_edit_id", "original_item_id", "order_id", "cart_id")} == {
        "order_edit_id": edit["id"], "original_item_id": None, "order_id": None, "cart_id": None,
    }  # fmt: skip
    assert (new["title"], new["description"], new["metadata"]) == (order["items"][1]["title"], "Large", {"gift": True})
    assert (new["fulfilled_quantity"], new["has_shipping"], new["should_merge"]) == (None, None, True)
    assert [(tax["rate"], tax["code"]) for tax in new["tax_lines"]] == [(0, "default")]
    [change] = after["changes"]
    assert change == {
        "id": change["id"],
        "type": "item_add",
        "order_edit_id": edit["id"],
        "line_item_id": new["id"],
        "line_item": change["line_item"],
        "original_line_item_id": None,
        "original_line_item": None,
        "created_at": change["created_at"],
        "updated_at": change["created_at"],
        "deleted_at": None,
    }
    assert (change["line_item"]["quantity"], change["line_item"]["variant"]["id"]) == (3, shop.large)
    # It can be given another quantity, which is no further change.
    path = path_of(edit, "items", new["id"])
    smaller = (await api.ok("POST", path, {"quantity": 2}))["order_edit"]
    assert (changes(smaller), totals(smaller)) == (changes(after), (6500, 0, 500, 0, 7000, 3000))
    status, answer = await api.delete(path)
    assert (status, answer["type"]) == (400, "invalid_data")
    taken_back = {"id": change["id"], "object": "item_change", "deleted": True}
    assert await api.ok("DELETE", path_of(edit, "changes", change["id"])) == taken_back
    assert await shown(api, edit) == edit
    assert (await api.delete(path_of(edit, "changes", change["id"])))[0] == 404
    assert await order_now(api, order) == before


async def test_a_line_gets_another_quantity(api: Client, order: Row) -> None:
    edit = await begun(api, order)
    after = await resized(api, edit, 1000, 5)
    small, original = line(edit, 1000), line(order, 1000)
    assert changes(after) == [("item_update", small, original)]
    assert totals(after) == (6500, 0, 500, 0, 7000, 3000)
    assert after["changes"][0]["line_item"]["quantity"] == 5
    assert after["changes"][0]["original_line_item"]["quantity"] == 2
    again = await resized(api, edit, 1000, 1)
    assert [change["id"] for change in again["changes"]] == [change["id"] for change in after["changes"]]
    assert totals(again) == (2500, 0, 500, 0, 3000, -1000)
    await api.ok("DELETE", path_of(edit, "changes", again["changes"][0]["id"]))
    back = await shown(api, edit)
    assert (lines(back), changes(back), totals(back)) == (lines(edit), [], totals(edit))
    assert lines(await order_now(api, order)) == [(1000, 2), (1500, 1)]


async def test_a_line_is_taken_out_and_comes_back(api: Client, order: Row) -> None:
    edit = await begun(api, order)
    small, original = line(edit, 1000), line(order, 1000)
    await resized(api, edit, 1000, 5)
    after = await removed(api, edit, 1000)
    assert changes(after) == [("item_remove", None, original)]
    assert (lines(after), totals(after)) == ([(1500, 1)], (1500, 0, 500, 0, 2000, -2000))
    assert after["changes"][0]["original_line_item"]["order_id"] == order["id"]
    # Again, and what never was.
    for item in (small, "item_missing"):
        assert (await api.ok("DELETE", path_of(edit, "items", item)))["order_edit"] == after
    assert (await api.post(path_of(edit, "items", small), {"quantity": 2}))[0] == 404
    await api.ok("DELETE", path_of(edit, "changes", after["changes"][0]["id"]))
    back = await shown(api, edit)
    assert (sorted(lines(back)), changes(back), totals(back)) == (lines(edit), [], totals(edit))
    assert {item["original_item_id"] for item in back["items"]} == {item["id"] for item in order["items"]}
    assert [tax["rate"] for item in back["items"] for tax in item["tax_lines"]] == [0, 0]


@pytest.mark.parametrize(
    ("path", "body", "status", "type_"),
    [
        ("items", {"variant_id": "variant_missing", "quantity": 1}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL"}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": 1.5}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": 0}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": 2**31}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": "2"}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": 1, "metadata": "x"}, 400, "invalid_data"),
        ("items", {"variant_id": "SMALL", "quantity": 1, "unit_price": 1}, 400, "invalid_data"),
        ("items/item_missing", {"quantity": 1}, 404, "not_found"),
        ("items/ORDERED", {"quantity": 1}, 400, "invalid_data"),
        ("items/OTHER", {"quantity": 1}, 400, "invalid_data"),
        ("items/MINE", {"quantity": "some"}, 400, "invalid_data"),
        ("items/MINE", {"quantity": 0}, 400, "invalid_data"),
        ("items/MINE", {"quantity": -1}, 400, "invalid_data"),
        ("items/MINE", {"quantity": 1.5}, 400, "invalid_data"),
        ("items/MINE", {"quantity": 2**31}, 400, "invalid_data"),
        ("items/MINE", {}, 400, "invalid_data"),
        ("items/ORDERED", None, 400, "invalid_data"),
        ("items/OTHER", None, 400, "invalid_data"),
        ("changes/oic_missing", None, 404, "not_found"),
        ("changes/OTHER", None, 400, "invalid_data"),
    ],
)
async def test_a_change_that_is_refused_changes_nothing(
    api: Client, shop: Shop, ordered: Ordered, order: Row, path: str, body: Row | None, status: int, type_: str
) -> None:
    edit = await begun(api, order)
    other = await added(api, await begun(api, await ordered()), shop.large)
    names = {
        "ORDERED": line(order, 1000),
        "MINE": line(edit, 1000),
        "OTHER": other["changes"][0]["id"] if path.startswith("changes") else line(other, 1000),
    }
    folder, _, name = path.partition("/")
    if body and body.get("variant_id") == "SMALL":
        body = body | {"variant_id": shop.small}
    full = path_of(edit, folder, *([names.get(name, name)] if name else []))
    refused_with, answer = await api.delete(full) if body is None else await api.post(full, body)
    assert (refused_with, answer["type"]) == (status, type_)
    assert await shown(api, edit) == edit
    assert await shown(api, other) == other


async def test_an_edit_that_is_not_there(api: Client, shop: Shop) -> None:
    missing = {"id": "oe_missing"}
    for method, path, body in (
        ("POST", path_of(missing, "items"), {"variant_id": shop.small, "quantity": 1}),
        ("POST", path_of(missing, "items", "item_x"), {"quantity": 1}),
        ("DELETE", path_of(missing, "items", "item_x"), None),
        ("DELETE", path_of(missing, "changes", "oic_x"), None),
    ):
        assert (await api.request(method, path, body))[0] == 404, path


async def test_what_was_fulfilled_stays(api: Client, order: Row) -> None:
    edit = await begun(api, order)
    # Also what was fulfilled after the edit was begun.
    await fulfilled(api, order, 1000, 1)
    before = await shown(api, edit)
    path = path_of(edit, "items", line(edit, 1000))
    status, answer = await api.delete(path)
    assert (status, answer["type"]) == (400, "not_allowed")
    await fulfilled(api, order, 1000, 1)
    status, answer = await api.post(path, {"quantity": 1})
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shown(api, edit) == before
    assert totals(await resized(api, edit, 1000, 2))[-1] == 0
    assert totals(await removed(api, edit, 1500))[-1] == -1500


async def test_a_percentage_is_taken_off_every_line(api: Client, shop: Shop, uid: str) -> None:
    offer = await discount(api, shop, uid)
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    order = await place(api, shop, items=items, discounts=[{"code": offer["code"]}])
    edit = await begun(api, order)
    assert (adjusted(edit), totals(edit)) == ([[200], [150]], (3500, 350, 500, 0, 3650, 0))
    # The order has it, whatever has become of it, also under another code.
    await api.ok("POST", f"/admin/discounts/{offer['id']}", {"is_disabled": True, "code": f"E{uid}"})
    after = await resized(api, edit, 1000, 4)
    assert (adjusted(after), totals(after)) == ([[400], [150]], (5500, 550, 500, 0, 5450, 1800))
    assert [a["discount_id"] for item in after["items"] for a in item["adjustments"]] == [offer["id"]] * 2
    after = await added(api, edit, shop.large)
    assert (adjusted(after), totals(after)) == ([[400], [150], [150]], (7000, 700, 500, 0, 6800, 3150))
    await done(api, edit, "confirm")
    now = await order_now(api, order)
    assert (now["discount_total"], now["total"], adjusted(now)) == (700, 6800, [[400], [150], [150]])


async def test_an_amount_is_spread_over_the_lines(api: Client, shop: Shop, uid: str) -> None:
    offer = await discount(api, shop, uid, type="fixed", value=1000, allocation="total")
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    edit = await begun(api, await place(api, shop, items=items, discounts=[{"code": offer["code"]}]))
    assert adjusted(edit) == [[571.4285714285714], [428.57142857142856]]
    after = await added(api, edit, shop.small, 3)
    assert adjusted(after) == [[307.69230769230774], [230.76923076923077], [461.53846153846155]]
    assert totals(after) == (6500, 1000, 500, 0, 6000, 3000)
    after = await removed(api, edit, 1500)
    assert (adjusted(after), totals(after)) == ([[400], [600]], (5000, 1000, 500, 0, 4500, 1500))
    await api.ok("DELETE", path_of(edit, "changes", after["changes"][1]["id"]))
    back = await shown(api, edit)
    assert sorted(adjusted(back)) == [[230.76923076923077], [307.69230769230774], [461.53846153846155]]
    assert totals(back) == (6500, 1000, 500, 0, 6000, 3000)


async def test_a_customer_pays_the_price_of_their_group(api: Client, shop: Shop, uid: str) -> None:
    person = {"email": f"{uid}@example.com", "first_name": "A", "last_name": "B", "password": "supersecret"}
    status, answer = await api.post("/admin/customers", person)
    assert status == 201
    group = (await api.ok("POST", "/admin/customer-groups", {"name": uid}))["customer_group"]["id"]
    members = {"customer_ids": [{"id": answer["customer"]["id"]}]}
    await api.ok("POST", f"/admin/customer-groups/{group}/customers/batch", members)
    for_group = {"customer_groups": [{"id": group}], "prices": [price(shop.small, 700)]}
    for_many = {"prices": [price(shop.large, 1100) | {"min_quantity": 5}]}
    for prices in (for_group, for_many):
        body = {"name": uid, "description": uid, "type": "sale", "status": "active"} | prices
        await api.ok("POST", "/admin/price-lists", body)
    order = await place(api, shop, customer_id=answer["customer"]["id"], email=person["email"])
    assert lines(order) == [(1000, 2)]
    edit = await added(api, await begun(api, order), shop.small)
    assert lines(edit) == [(1000, 2), (700, 1)]
    edit = await added(api, edit, shop.large, 6)
    assert lines(edit) == [(1000, 2), (700, 1), (1100, 6)]
    # Settled when it is added.
    assert lines(await resized(api, edit, 1100, 2)) == [(1000, 2), (700, 1), (1100, 2)]
    other = await added(api, await begun(api, await place(api, shop)), shop.small)
    assert lines(other) == [(1000, 2), (1000, 1)]


def price(variant: str, amount: int) -> Row:
    return {"variant_id": variant, "currency_code": "eur", "amount": amount}


async def test_what_was_sold_keeps_its_tax(api: Client, uid: str) -> None:
    shop = await set_up(api, tax_rate=20)
    await api.ok("POST", "/admin/currencies/eur", {"includes_tax": True})
    try:
        offer = await discount(api, shop, uid)
        order = await place(api, shop, discounts=[{"code": offer["code"]}])
        await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 50})
        edit = await begun(api, order)
        # 2 x 10.00 gross at 20 %: 16.66 net, less 10 %.
        assert (adjusted(edit), edit["items"][0]["tax_total"]) == ([[167]], 300)
        edit = await resized(api, edit, 1000, 4)
        assert (adjusted(edit), edit["items"][0]["tax_total"]) == ([[333]], 600)
        edit = await added(api, edit, shop.large)
        assert (adjusted(edit)[1], [tax["rate"] for tax in edit["items"][1]["tax_lines"]]) == ([100], [50])
        assert [tax["rate"] for tax in edit["items"][0]["tax_lines"]] == [20]
        await done(api, edit, "confirm")
        now = await order_now(api, order)
        assert (now["total"], now["item_tax_total"]) == (edit["total"], 600 + edit["items"][1]["tax_total"])
    finally:
        await api.ok("POST", "/admin/currencies/eur", {"includes_tax": False})


async def test_a_product_that_is_gone_does_not_stop_an_edit(api: Client, shop: Shop, uid: str) -> None:
    """Its lines keep the discount that they were sold with."""
    offer = await discount(api, shop, uid)
    items = [{"variant_id": shop.small, "quantity": 2}, {"variant_id": shop.large, "quantity": 1}]
    edit = await begun(api, await place(api, shop, items=items, discounts=[{"code": offer["code"]}]))
    await api.ok("DELETE", f"/admin/products/{shop.product}")
    after = await resized(api, edit, 1000, 3)
    assert (adjusted(after), totals(after)) == ([[300], [150]], (4500, 450, 500, 0, 4550, 900))
    assert adjusted(await removed(api, edit, 1500)) == [[300]]
    before = await shown(api, edit)
    status, answer = await api.post(path_of(edit, "items"), {"variant_id": shop.small, "quantity": 1})
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await shown(api, edit) == before


async def test_lines_of_no_product(api: Client, shop: Shop) -> None:
    items = [{"title": "Engraving", "unit_price": 300, "quantity": 2}, {"variant_id": shop.small, "quantity": 1}]
    edit = await begun(api, await place(api, shop, items=items))
    edit = await resized(api, edit, 300, 3)
    assert (lines(edit), totals(edit)) == ([(300, 3), (1000, 1)], (1900, 0, 500, 0, 2400, 300))
    assert lines(await added(api, edit, shop.large)) == [(300, 3), (1000, 1), (1500, 1)]
    assert totals(await removed(api, edit, 300))[-1] == 900


async def test_many_changes_at_once_are_all_made(api: Client, shop: Shop, order: Row) -> None:
    edit = await begun(api, order)
    body = {"variant_id": shop.small, "quantity": 1}
    answers = await asyncio.gather(*(api.post(path_of(edit, "items"), body) for _ in range(4)))
    succeeded = [status for status, _ in answers].count(200)
    assert succeeded >= 1
    assert {status for status, _ in answers} <= {200, 409}
    after = await shown(api, edit)
    assert lines(after) == [(1000, 2), (1500, 1)] + [(1000, 1)] * succeeded
    assert (len(after["changes"]), totals(after)) == (
        succeeded,
        (3500 + 1000 * succeeded, 0, 500, 0, 4000 + 1000 * succeeded, 1000 * succeeded),
    )


async def test_a_line_that_is_taken_out_twice_at_once(api: Client, order: Row) -> None:
    edit = await begun(api, order)
    path = path_of(edit, "items", line(edit, 1000))
    answers = await asyncio.gather(
        *(api.delete(path) for _ in range(3)), *(api.post(path, {"quantity": 7}) for _ in range(3))
    )
    assert {status for status, _ in answers} <= {200, 404, 409}
    after = await shown(api, edit)
    assert changes(after) == [("item_remove", None, line(order, 1000))]
    assert (lines(after), totals(after)) == ([(1500, 1)], (1500, 0, 500, 0, 2000, -2000))


async def test_an_idempotency_key_adds_one_line(api: Client, shop: Shop, order: Row, uid: str) -> None:
    edit, body = await begun(api, order), {"variant_id": shop.small, "quantity": 1}
    answers = [await api.post(path_of(edit, "items"), body, headers={"Idempotency-Key": uid}) for _ in range(2)]
    assert answers[0] == answers[1]
    assert lines(await shown(api, edit)) == [(1000, 2), (1500, 1), (1000, 1)]


async def test_without_the_broker(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    from services.orders.service import SERVICE

    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        edit = await begun(cut_off, order)
        status, answer = await cut_off.post(path_of(edit, "items"), {"variant_id": shop.small, "quantity": 1})
        assert (status, answer["type"]) == (503, "unavailable")
        assert await shown(cut_off, edit) == edit
        # Without a discount there is nothing to ask the catalog about.
        assert lines(await removed(cut_off, await resized(cut_off, edit, 1000, 6), 1500)) == [(1000, 6)]
        status, answer = await cut_off.post(path_of(edit, "request"), {})
        assert (status, answer["type"]) == (503, "unavailable")
        assert (await shown(cut_off, edit))["status"] == "created"
    finally:
        await runner.cleanup()
