"""Making claims over HTTP: what they give back, send and reserve, and what a refusal leaves: nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.errors import ApiError
from services.chassis.keys import POOL, SETTINGS
from services.chassis.sagas import Saga, begin
from services.chassis.service import make_app
from services.orders.claims.claims import ClaimBody, plan_claim, release, reserve
from tests.support.client import Client
from tests.support.factories.claims import (
    Row,
    again,
    books,
    claim,
    claimed,
    item,
    path_of,
    refund_of,
    replacement,
    shipped,
    shown,
    sold,
)
from tests.support.factories.orders import uncapture
from tests.support.factories.shops import Shop
from tests.support.factories.warehouses import Warehouse, make_warehouse
from tests.support.stack import Stack, listening, serve
from tests.support.waiting import until

Ordered = Callable[..., Awaitable[Row]]


@pytest.fixture
async def order(api: Client, shop: Shop) -> Row:
    return await shipped(api, shop)


@pytest.fixture
async def stock(api: Client) -> Warehouse:
    """5 pieces of the small variant."""
    return await make_warehouse(api, 5)


@pytest.fixture
def reserving(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that reserves stock when an order is placed."""
    monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")


# Replacing


async def test_a_replacement_with_every_field(api: Client, stack: Stack, shop: Shop, order: Row, uid: str) -> None:
    body = {
        "type": "replace",
        "claim_items": [
            {
                "item_id": item(order, 1000),
                "quantity": 2,
                "reason": "production_failure",
                "note": "Torn",
                "tags": [f"Seam {uid}", f" seam {uid}", f"torn {uid}"],
                "images": ["https://img.example/1", "https://img.example/1"],
            },
            {"item_id": item(order, 1500), "quantity": 1, "reason": "wrong_item", "tags": [f"SEAM {uid}"]},
        ],
        "additional_items": [{"variant_id": shop.large, "quantity": 2}],
        "shipping_methods": [
            {"option_id": shop.shipping_option, "price": 120, "data": {"locker": 12}},
            {"option_id": shop.shipping_option},
        ],
        "return_shipping": {"option_id": shop.shipping_option, "price": 300},
        "return_location_id": "sloc_somewhere",
        "shipping_address": {"first_name": "Arno", "country_code": "US", "metadata": {"car": "white"}},
        "no_notification": True,
        "metadata": {"ticket": 4711},
    }
    async with listening(stack, "claim.#", "claim_item.#", "order.return_requested") as heard:
        created = await claim(api, order, body)

        async def emitted() -> list[Row]:
            return [event for event in heard if event["type"].startswith("claim")]

        await until(emitted)
        names = ("id", "order_id", "type", "no_notification")
        assert [
            {name: event["data"][name] for name in names} for event in heard if event["type"] == "claim.created"
        ] == [{"id": created["id"], "order_id": order["id"], "type": "replace", "no_notification": True}]
        assert not [event for event in heard if event["type"] in ("order.return_requested", "claim.refund_processed")]
    first, second = created["claim_items"]
    assert first == {
        "id": first["id"],
        "claim_order_id": created["id"],
        "item_id": item(order, 1000),
        "variant_id": shop.small,
        "reason": "production_failure",
        "note": "Torn",
        "quantity": 2,
        "metadata": None,
        "created_at": created["created_at"],
        "updated_at": created["created_at"],
        "deleted_at": None,
        "images": first["images"],
        "tags": first["tags"],
    }
    assert [image["url"] for image in first["images"]] == ["https://img.example/1"] * 2
    assert sorted(tag["value"] for tag in first["tags"]) == [f"seam {uid}", f"torn {uid}"]
    assert [tag["id"] for tag in second["tags"]] == [t["id"] for t in first["tags"] if t["value"] == f"seam {uid}"]
    assert (second["variant_id"], second["quantity"], second["note"], second["images"]) == (shop.large, 1, None, [])
    (line,) = created["additional_items"]
    assert {name: line[name] for name in ("variant_id", "quantity", "unit_price", "refundable", "order_id")} == {
        "variant_id": shop.large,
        "quantity": 2,
        "unit_price": 1500,
        "refundable": 3000,
        "order_id": None,
    }
    assert [(tax["name"], tax["rate"]) for tax in line["tax_lines"]] == [("default", 0)]
    assert [(m["price"], m["data"], m["order_id"]) for m in created["shipping_methods"]] == [
        (120, {"locker": 12}, None),
        (500, {}, None),
    ]
    back = created["return_order"]
    assert (back["order_id"], back["location_id"], back["refund_amount"]) == (order["id"], "sloc_somewhere", 3200)
    assert (back["status"], back["no_notification"], back["shipping_method"]["price"]) == ("requested", True, 300)
    assert [(each["item_id"], each["quantity"]) for each in back["items"]] == [
        (item(order, 1000), 2),
        (item(order, 1500), 1),
    ]
    query = {"fields": "id", "expand": "returns.claim_order.claim_items,returns.items.return_order"}
    [whole] = (await api.ok("GET", f"/admin/orders/{order['id']}", query=query))["order"]["returns"]
    assert (whole["claim_order"]["id"], len(whole["claim_order"]["claim_items"])) == (created["id"], 2)
    assert {each["return_order"]["id"] for each in whole["items"]} == {back["id"]}
    address = created["shipping_address"]
    assert (address["first_name"], address["country_code"], address["metadata"]) == ("Arno", "us", {"car": "white"})
    left = (
        "type",
        "payment_status",
        "fulfillment_status",
        "refund_amount",
        "no_notification",
        "metadata",
        "canceled_at",
    )
    assert [created[name] for name in left] == ["replace", "na", "not_fulfilled", None, True, {"ticket": 4711}, None]
    assert await books(api, order) == (0, [])
    # What is sent instead costs nothing: the order is what it was.
    after = await shown(api, order)
    assert (after["total"], after["fulfillment_status"], after["payment_status"]) == (4000, "shipped", "captured")


async def test_what_is_not_said_is_the_order_s(api: Client, shop: Shop, order: Row) -> None:
    created = await claim(api, order, replacement(shop, order, (1000, 1), shipping_methods=None))
    updated = await api.ok("POST", path_of(order), {"no_notification": True})
    assert created["shipping_address_id"] == updated["order"]["shipping_address"]["id"]
    assert (created["no_notification"], created["metadata"], created["return_order"]) == (None, None, None)
    assert created["shipping_methods"] == []
    assert (await claim(api, order, refund_of(order, (1000, 1), refund_amount=0)))["no_notification"] is True
    loud = await claim(api, order, refund_of(order, (1000, 1), refund_amount=0, no_notification=False))
    assert loud["no_notification"] is False


async def test_a_method_of_the_order_is_shared(api: Client, shop: Shop, order: Row) -> None:
    method = order["shipping_methods"][0]["id"]
    created = await claim(api, order, replacement(shop, order, (1000, 1), shipping_methods=[{"id": method}]))
    assert [(m["id"], m["order_id"]) for m in created["shipping_methods"]] == [(method, order["id"])]
    assert [m["id"] for m in (await shown(api, order))["shipping_methods"]] == [method]
    # It stays the claim's when the order is to be sent another way.
    await api.ok("POST", f"{path_of(order)}/shipping-methods", {"option_id": shop.shipping_option, "price": 1})
    assert [m["id"] for m in (await again(api, order, created))["shipping_methods"]] == [method]
    assert [m["price"] for m in (await shown(api, order))["shipping_methods"]] == [1]


# Giving back


@pytest.mark.parametrize(
    ("body", "amount"),
    [({}, 2500), ({"refund_amount": 450}, 450), ({"refund_amount": 0}, 0), ({"refund_amount": 4000}, 4000)],
)
async def test_money_is_given_back(api: Client, stack: Stack, order: Row, body: Row, amount: int) -> None:
    async with listening(stack, "claim.#", "order.refund_created") as heard:
        created = await claim(api, order, refund_of(order, (1000, 1), (1500, 1), no_notification=True, **body))

        async def emitted() -> list[Row]:
            return [e["data"] for e in heard if e["type"] == "claim.refund_processed"]

        data = {"id": created["id"], "order_id": order["id"], "amount": amount, "no_notification": True}
        assert await until(emitted) == [data]
        if amount:

            async def refunded() -> list[Any]:
                return [e["data"]["no_notification"] for e in heard if e["type"] == "order.refund_created"]

            assert await until(refunded) == [True]
    assert (created["payment_status"], created["refund_amount"], created["return_order"]) == ("refunded", amount, None)
    assert await books(api, order) == (amount, [(amount, "claim")] if amount else [])
    after = await shown(api, order)
    assert (after["payment_status"], after["fulfillment_status"]) == ("captured", "shipped")
    assert [(r["payment_id"], r["note"]) for r in after["refunds"]] == ([(None, None)] if amount else [])


async def test_goods_that_were_not_shipped_are_worth_nothing(api: Client, shop: Shop, ordered: Ordered) -> None:
    order = await ordered()
    small = {"items": [{"item_id": item(order, 1000), "quantity": 2}]}
    fulfilled = (await api.ok("POST", f"{path_of(order)}/fulfillment", small))["order"]
    created = await claim(api, order, refund_of(order, (1000, 2)))
    assert (created["refund_amount"], created["payment_status"]) == (0, "refunded")
    await api.ok("POST", f"{path_of(order)}/shipment", {"fulfillment_id": fulfilled["fulfillments"][0]["id"]})
    assert (await claim(api, order, refund_of(order, (1000, 2))))["refund_amount"] == 2000


async def test_a_refund_that_waits_for_the_goods(api: Client, shop: Shop, order: Row) -> None:
    """The return is worth what the claim gave back, its label included; it is not paid for twice."""
    label = {"option_id": shop.shipping_option, "price": 120}
    created = await claim(api, order, refund_of(order, (1500, 1), refund_amount=1000, return_shipping=label))
    assert created["return_order"]["refund_amount"] == 1000
    receipt = {"items": [{"item_id": item(order, 1500), "quantity": 1}], "refund": 0}
    await api.ok("POST", f"/admin/returns/{created['return_order']['id']}/receive", receipt)
    assert await books(api, order) == (1000, [(1000, "claim")])
    # What came back cannot come back again, but can still be complained about.
    again_ = refund_of(order, (1500, 1), refund_amount=1, return_shipping={})
    status, answer = await api.post(f"{path_of(order)}/claims", again_)
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await claim(api, order, refund_of(order, (1500, 1), refund_amount=1)))["refund_amount"] == 1


async def test_what_a_claim_sent_can_be_claimed_and_returned(api: Client, shop: Shop, order: Row) -> None:
    first = await claim(api, order, replacement(shop, order, (1000, 1), quantity=2))
    line = first["additional_items"][0]["id"]
    complaint = {"type": "refund", "claim_items": [{"item_id": line, "quantity": 2, "reason": "other"}]}
    path = f"{path_of(order)}/claims"
    status, answer = await api.post(path, complaint)
    assert (status, answer["type"]) == (400, "not_allowed")  # not fulfilled yet
    await api.ok("POST", f"{path}/{first['id']}/fulfillments", {})
    fulfillment = (await again(api, order, first))["fulfillments"][0]["id"]
    await api.ok("POST", f"{path}/{first['id']}/shipments", {"fulfillment_id": fulfillment})
    assert (await claim(api, order, complaint))["refund_amount"] == 2000
    view = {"expand": "returnable_items", "fields": "id"}
    returnable = (await api.ok("GET", path_of(order), query=view))["order"]["returnable_items"]
    assert sorted(each["id"] for each in returnable) == sorted([*(each["id"] for each in order["items"]), line])
    sent_back = {"items": [{"item_id": line, "quantity": 2}], "refund": 1, "receive_now": True}
    await api.ok("POST", f"{path_of(order)}/return", sent_back)
    returnable = (await api.ok("GET", path_of(order), query=view))["order"]["returnable_items"]
    assert sorted(each["id"] for each in returnable) == sorted(each["id"] for each in order["items"])


# Refusals

Bad = Callable[[Row, Shop], Row]
BAD: dict[str, tuple[int, str, Bad]] = {
    "nothing claimed": (400, "invalid_data", lambda o, s: {"type": "refund", "claim_items": []}),
    "neither items nor refund": (400, "invalid_data", lambda o, s: {"type": "refund"}),
    "no type": (400, "invalid_data", lambda o, s: {"claim_items": claimed(o, (1000, 1))}),
    "unknown type": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 1), type="exchange")),
    "nothing to send": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 1), type="replace")),
    "nothing in the list to send": (
        400,
        "invalid_data",
        lambda o, s: replacement(s, o, (1000, 1), additional_items=[]),
    ),
    "replaced and refunded": (400, "invalid_data", lambda o, s: replacement(s, o, (1000, 1), refund_amount=1)),
    "unknown property": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 1), shipping_address_id="addr_x")),
    "unknown reason": (
        400,
        "invalid_data",
        lambda o, s: {"type": "refund", "claim_items": claimed(o, (1000, 1), reason="bored")},
    ),
    "no reason": (
        400,
        "invalid_data",
        lambda o, s: {"type": "refund", "claim_items": [{"item_id": item(o, 1000), "quantity": 1}]},
    ),
    "no line": (
        400,
        "invalid_data",
        lambda o, s: {"type": "refund", "claim_items": [{"quantity": 1, "reason": "other"}]},
    ),
    "quantity of 0": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 0))),
    "negative quantity": (400, "invalid_data", lambda o, s: refund_of(o, (1000, -1))),
    "half a piece": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 1.5))),  # type: ignore[arg-type]
    "negative refund": (400, "invalid_data", lambda o, s: refund_of(o, (1000, 1), refund_amount=-5)),
    "negative price": (
        400,
        "invalid_data",
        lambda o, s: replacement(s, o, (1000, 1), shipping_methods=[{"option_id": s.shipping_option, "price": -1}]),
    ),
    "negative label": (
        400,
        "invalid_data",
        lambda o, s: refund_of(o, (1000, 1), return_shipping={"option_id": s.shipping_option, "price": -1}),
    ),
    "none of a variant": (400, "invalid_data", lambda o, s: replacement(s, o, (1000, 1), quantity=0)),
    "unknown variant": (
        400,
        "invalid_data",
        lambda o, s: replacement(s, o, (1000, 1), additional_items=[{"variant_id": "variant_x", "quantity": 1}]),
    ),
    "unknown line": (
        404,
        "not_found",
        lambda o, s: {"type": "refund", "claim_items": [{"item_id": "item_x", "quantity": 1, "reason": "other"}]},
    ),
    "more than was bought": (400, "not_allowed", lambda o, s: refund_of(o, (1000, 3))),
    "more than was bought, in parts": (400, "not_allowed", lambda o, s: refund_of(o, (1000, 2), (1000, 1))),
    "a line twice that is to come back": (
        422,
        "duplicate_error",
        lambda o, s: refund_of(o, (1000, 1), (1000, 1), return_shipping={}),
    ),
    "more than can be refunded": (400, "not_allowed", lambda o, s: refund_of(o, (1000, 1), refund_amount=4001)),
    "unknown option": (
        404,
        "not_found",
        lambda o, s: replacement(s, o, (1000, 1), shipping_methods=[{"option_id": "so_x"}]),
    ),
    "no option": (404, "not_found", lambda o, s: replacement(s, o, (1000, 1), shipping_methods=[{"price": 1}])),
    "unknown method": (
        404,
        "not_found",
        lambda o, s: replacement(s, o, (1000, 1), shipping_methods=[{"id": "sm_x"}]),
    ),
    "unknown label": (
        404,
        "not_found",
        lambda o, s: refund_of(o, (1000, 1), return_shipping={"option_id": "so_x"}),
    ),
    "unknown country": (
        404,
        "not_found",
        lambda o, s: replacement(s, o, (1000, 1), shipping_address={"country_code": "zz"}),
    ),
}


async def test_refused_claims_change_nothing(api: Client, shop: Shop, order: Row) -> None:
    before, money = await shown(api, order), await books(api, order)
    for name, (expected, type_, body) in BAD.items():
        status, answer = await api.post(f"{path_of(order)}/claims", body(order, shop))
        assert (status, answer["type"]) == (expected, type_), name
    for query, expected in (({"expand": "returnable_items"}, 400), ({"colour": "red"}, 400)):
        status, _ = await api.request("POST", f"{path_of(order)}/claims", refund_of(order, (1000, 1)), query)
        assert status == expected
    status, answer = await api.post("/admin/orders/order_x/claims", refund_of(order, (1000, 1)))
    assert (status, answer["type"]) == (404, "not_found")
    assert (await shown(api, order), await books(api, order)) == (before, money)


async def test_lines_and_methods_of_others(api: Client, shop: Shop, order: Row) -> None:
    other = await shipped(api, shop)
    before = await shown(api, other), await shown(api, order)
    method = [{"id": other["shipping_methods"][0]["id"]}]
    for body in (refund_of(other, (1000, 1)), replacement(shop, order, (1000, 1), shipping_methods=method)):
        status, answer = await api.post(f"{path_of(order)}/claims", body)
        assert (status, answer["type"]) == (404, "not_found")
    assert (await shown(api, other), await shown(api, order)) == before


async def test_an_order_that_is_not_to_be_claimed(
    api: Client, stack: Stack, shop: Shop, ordered: Ordered, awaiting: Row
) -> None:
    """Canceled; not fulfilled; a custom line; not paid."""
    canceled, fulfilled = await ordered(), await ordered()
    await api.ok("POST", f"{path_of(canceled)}/cancel")
    custom = await shipped(api, shop, items=[{"title": "Wrapping", "unit_price": 300, "quantity": 1}])
    unpaid = await shipped(api, shop)
    await uncapture(stack, unpaid)
    for each, body, type_ in (
        (canceled, refund_of(canceled, (1000, 1)), "invalid_data"),
        (canceled, replacement(shop, canceled, (1000, 1)), "invalid_data"),
        (fulfilled, refund_of(fulfilled, (1000, 1), refund_amount=1), "not_allowed"),
        (custom, refund_of(custom, (300, 1)), "not_allowed"),
        (unpaid, refund_of(unpaid, (1000, 1)), "not_allowed"),
    ):
        before = await shown(api, each)
        status, answer = await api.post(f"{path_of(each)}/claims", body)
        assert (status, answer["type"]) == (400, type_)
        assert await shown(api, each) == before
        assert await books(api, each) == (0, [])
    assert (await claim(api, unpaid, refund_of(unpaid, (1000, 1), refund_amount=0)))["refund_amount"] == 0


async def test_no_more_than_is_left(api: Client, order: Row) -> None:
    """Worked out or not: what was given back before counts."""
    await api.ok("POST", f"{path_of(order)}/refund", {"amount": 3500, "reason": "other"})
    for more in ({}, {"refund_amount": 501}):
        status, answer = await api.post(f"{path_of(order)}/claims", refund_of(order, (1000, 1), **more))
        assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, order))["claims"] == []
    await claim(api, order, refund_of(order, (1000, 1), refund_amount=500))
    assert await books(api, order) == (4000, [(3500, "other"), (500, "claim")])


# The same again


@pytest.mark.parametrize("own_key", [True, False])
async def test_a_repeated_request_makes_one_claim(
    api: Client, stack: Stack, order: Row, uid: str, own_key: bool
) -> None:
    path, body = f"{path_of(order)}/claims", refund_of(order, (1000, 1), refund_amount=700)
    first = await api.post(path, body, headers={"Idempotency-Key": uid} if own_key else {})
    key = first[1]["order"]["claims"][0]["idempotency_key"]
    assert (key == uid) == own_key
    assert await api.post(path, body, headers={"Idempotency-Key": key}) == first
    status, answer = await api.post(path, body | {"refund_amount": 1}, headers={"Idempotency-Key": key})
    assert (status, answer["type"]) == (409, "conflict")
    assert await books(api, order) == (700, [(700, "claim")])
    assert len((await shown(api, order))["claims"]) == 1


async def test_claims_at_once_give_back_no_more_than_was_paid(api: Client, order: Row) -> None:
    """Together they would exceed it: one wins."""
    body = refund_of(order, (1000, 2), (1500, 1), refund_amount=3000)
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/claims", body) for _ in range(6)))
    assert sorted({status for status, _ in answers}) in ([200, 400], [200, 409], [200, 400, 409])
    assert [status for status, _ in answers if status == 200] == [200]
    assert await books(api, order) == (3000, [(3000, "claim")])
    assert [each["refund_amount"] for each in (await shown(api, order))["claims"]] == [3000]


async def test_a_claim_a_refund_and_a_return_at_once(api: Client, shop: Shop, order: Row) -> None:
    back = (await api.ok("POST", f"{path_of(order)}/return", {"items": [back_item(order)]}))["order"]["returns"][0]
    answers = await asyncio.gather(
        api.post(f"{path_of(order)}/claims", refund_of(order, (1000, 2), refund_amount=2500)),
        api.post(f"{path_of(order)}/refund", {"amount": 2500, "reason": "other"}),
        api.post(f"/admin/payments/{order['payments'][0]['id']}/refund", {"amount": 2500, "reason": "other"}),
        api.post(f"/admin/returns/{back['id']}/receive", {"items": [back_item(order)], "refund": 2500}),
    )
    assert {status for status, _ in answers} <= {200, 400, 409}

    async def agreed() -> bool:
        # A refund at the payment itself is told by an event.
        payment = (await api.ok("GET", f"/admin/payments/{order['payments'][0]['id']}"))["payment"]
        return bool(payment["amount_refunded"] == (await shown(api, order))["refunded_total"])

    await until(agreed)
    total, refunds = await books(api, order)
    assert total == 2500 == refunds[0][0]
    claims = (await shown(api, order))["claims"]
    assert [(each["refund_amount"], "claim") for each in claims] == [r for r in refunds if r[1] == "claim"]


def back_item(order: Row) -> Row:
    return {"item_id": item(order, 1500), "quantity": 1}


# Stock


async def test_what_will_be_sent_is_reserved(api: Client, stock: Warehouse) -> None:
    """Reserved by hand otherwise, claims reserve all the same, also what is not there."""
    order = await sold(stock)
    created = await claim(api, order, replacement(stock.shop, order, (1000, 1), quantity=7))
    assert await stock.level() == (5, 7)
    (row,) = (await api.ok("GET", "/admin/reservations", query={"location_id[]": stock.location}))["reservations"]
    assert (row["line_item_id"], row["quantity"]) == (created["additional_items"][0]["id"], 7)


async def test_what_no_location_stocks(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    large = f"/admin/inventory-items/{stock.items[stock.shop.large]}/location-levels/{stock.location}"
    await api.ok("DELETE", large)
    before = await shown(api, order)
    body = replacement(stock.shop, order, (1000, 1), additional_items=[{"variant_id": stock.shop.large, "quantity": 1}])
    status, answer = await api.post(f"{path_of(order)}/claims", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await shown(api, order), await stock.level()) == (before, (5, 0))


@pytest.mark.usefixtures("reserving")
async def test_too_little_in_stock(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    taken = (await stock.level())[1]
    before = await shown(api, order)
    path = f"{path_of(order)}/claims"
    status, answer = await api.post(path, replacement(stock.shop, order, (1000, 1), quantity=6 - taken))
    assert (status, answer["type"], answer["code"]) == (400, "not_allowed", "insufficient_inventory")
    assert (await shown(api, order), await stock.level()) == (before, (5, taken))
    answers = await asyncio.gather(
        *(api.post(path, replacement(stock.shop, order, (1000, 1), quantity=5 - taken)) for _ in range(4))
    )
    assert [status for status, _ in answers if status == 200] == [200]
    assert {status for status, _ in answers} <= {200, 400, 409}
    assert await stock.level() == (5, 5)
    assert len((await shown(api, order))["claims"]) == 1


async def test_a_refused_refund_gives_the_stock_back(api: Client, stack: Stack, stock: Warehouse) -> None:
    """Another refund was faster, when the stock was reserved already: there is no claim."""
    order = await sold(stock)
    new = [{"variant_id": stock.shop.small, "quantity": 3}]
    body = refund_of(order, (1000, 2), refund_amount=2000) | {"additional_items": new}
    saga = await begun(api, stack, order, body, reserved=new)
    await api.ok("POST", f"/admin/payments/{order['payments'][0]['id']}/refund", {"amount": 1000, "reason": "other"})
    await die(stack, saga)

    async def compensated() -> bool:
        status = await stack.pool("orders").fetchval("select status from sagas where id = $1", saga)
        return bool(status == "compensated")

    await until(compensated)
    assert (await shown(api, order))["claims"] == []
    assert await stock.level() == (5, 0)
    assert (await books(api, order))[1] == [(1000, "other")]


async def test_stock_is_not_reserved_for_what_was_given_up(api: Client, stack: Stack, stock: Warehouse) -> None:
    """The command comes late: after the claim was compensated."""
    line = {"line_item_id": f"item_{stock.location}", "variant_id": stock.shop.small, "quantity": 1}
    state = {"order_id": "order_x", "sales_channel_id": stock.shop.channel, "user_id": "usr_test", "reserve": [line]}
    saga = Saga(f"saga_{stock.location}", "create_claim", "claim_x", state | {"reserve_stock": "manual"}, "")
    await release(stack.apps["orders"], saga)
    with pytest.raises(ApiError, match="compensated before it came") as refused:
        await reserve(stack.apps["orders"], saga)
    assert refused.value.status == 409
    assert await stock.level() == (5, 0)


async def test_replaced_goods_come_back_into_stock(api: Client, stock: Warehouse) -> None:
    order = await sold(stock)
    label = {"option_id": stock.shop.shipping_option, "price": 0}
    body = replacement(stock.shop, order, (1000, 2), return_shipping=label, return_location_id=stock.location)
    created = await claim(api, order, body)
    receipt = {"items": [{"item_id": item(order, 1000), "quantity": 2}], "refund": 0}
    await api.ok("POST", f"/admin/returns/{created['return_order']['id']}/receive", receipt)
    assert await stock.level() == (7, 1)
    assert await books(api, order) == (0, [])
    assert (await shown(api, order))["fulfillment_status"] == "returned"


# While one is being made, and without the others


async def begun(api: Client, stack: Stack, order: Row, body: Row, reserved: list[Row] | None = None) -> str:
    """The id of the saga of a claim whose process dies before its first step."""
    lines = [{"line_item_id": f"item_{order['id']}", **line} for line in reserved or []]
    quoted: Row = {"lines": [], "methods": [], "label": None, "copies": {}, "counted": []}
    async with stack.apps["orders"][POOL].acquire() as db, db.transaction():
        plan = await plan_claim(db, order["id"], ClaimBody.model_validate(body), quoted, "key")
        more = {"user_id": "usr_test", "reserve_stock": "manual", "reserve": lines}
        return (await begin(db, "create_claim", plan["claim_id"], plan | more)).id


async def die(stack: Stack, saga_id: str) -> None:
    """Nobody renews the lease of a dead process."""
    await stack.pool("orders").execute("update sagas set leased_until = now() where id = $1", saga_id)


async def test_while_a_claim_is_made(api: Client, stack: Stack, order: Row) -> None:
    """Nothing comes back, nothing else is claimed, the order is not canceled. Afterwards the claim is there, once."""
    back = (await api.ok("POST", f"{path_of(order)}/return", {"items": [back_item(order)]}))["order"]["returns"][0]
    saga = await begun(api, stack, order, refund_of(order, (1000, 1), refund_amount=300))
    for path, body in (
        (f"{path_of(order)}/claims", refund_of(order, (1000, 1), refund_amount=1)),
        (f"{path_of(order)}/cancel", None),
        (f"{path_of(order)}/return", {"items": [back_item(order)], "receive_now": True}),
        (f"/admin/returns/{back['id']}/receive", {"items": [back_item(order)]}),
    ):
        status, answer = await api.post(path, body)
        assert (status, answer["type"]) == (409, "conflict"), path
    await die(stack, saga)

    async def done() -> list[Row]:
        claims: list[Row] = (await shown(api, order))["claims"]
        return claims

    assert [each["refund_amount"] for each in await until(done)] == [300]
    assert await books(api, order) == (300, [(300, "claim")])


async def test_without_the_broker(api: Client, stack: Stack, shop: Shop, order: Row) -> None:
    from services.orders.service import SERVICE

    before = await shown(api, order)
    unreachable = stack.settings["orders"].model_copy(
        update={"rabbitmq_url": SecretStr("amqp://guest:guest@127.0.0.1:9/"), "port": 0}
    )
    runner, base = await serve(make_app(SERVICE, unreachable))
    try:
        cut_off = Client(stack.session, base, stack.service("orders").headers)
        for body in (replacement(shop, order, (1000, 1)), refund_of(order, (1000, 1))):
            status, answer = await cut_off.post(f"{path_of(order)}/claims", body)
            assert (status, answer["type"]) == (503, "unavailable")
        assert await shown(api, order) == before
        # Neither money nor stock nor a price is asked for.
        nothing = refund_of(order, (1000, 1), refund_amount=0)
        assert (await cut_off.post(f"{path_of(order)}/claims", nothing))[0] == 200
    finally:
        await runner.cleanup()
    assert await books(api, order) == (0, [])
