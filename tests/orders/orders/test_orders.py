"""Orders over HTTP: finding, reading, editing, completing, archiving and canceling them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.keys import POOL
from services.chassis.sagas import begin
from services.orders.orders.cancellations import plan_cancel, void_payments
from tests.support.client import Client
from tests.support.factories.shops import Shop, place
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


async def shown(api: Client, order: Order) -> Order:
    answer: Order = (await api.ok("GET", path_of(order)))["order"]
    return answer


async def refused(api: Client, path: str, body: Any = None, *, status: int = 400, type_: str = "not_allowed") -> None:
    """The request is refused as expected."""
    answer_status, answer = await api.post(path, body)
    assert (answer_status, answer["type"]) == (status, type_), answer


async def canceled(api: Client, order: Order) -> Order:
    answer: Order = (await api.ok("POST", f"{path_of(order)}/cancel"))["order"]
    return answer


# Lists


async def test_filters(api: Client, shop: Shop, uid: str) -> None:
    first = await place(api, shop, email=f"first-{uid}@example.com")
    second = await place(
        api, shop, email=f"second-{uid}@example.com", shipping_address={"first_name": f"Zoe{uid}", "country_code": "fr"}
    )
    await canceled(api, second)
    ids = (first["id"], second["id"])

    async def listed(**query: str) -> list[str]:
        page = await api.ok("GET", "/admin/orders", query={"region_id": shop.region, "expand": ""} | query)
        assert page.keys() == {"orders", "count", "offset", "limit"}
        return [order["id"] for order in page["orders"] if order["id"] in ids]

    assert await listed() == [second["id"], first["id"]]
    assert await listed(order="created_at") == [first["id"], second["id"]]
    assert await listed(order="-display_id") == [second["id"], first["id"]]
    for order in (first, second):
        for name in ("id", "cart_id", "customer_id", "email"):
            assert await listed(**{name: order[name]}) == [order["id"]]
        assert await listed(display_id=str(order["display_id"])) == [order["id"]]
    assert await listed(**{"status[]": "canceled"}) == [second["id"]]
    assert await listed(**{"payment_status[]": "captured"}) == [first["id"]]
    assert await listed(**{"fulfillment_status[]": "canceled"}) == [second["id"]]
    assert await listed(**{"canceled_at[gt]": "2000-01-01"}) == [second["id"]]
    assert await listed(**{"created_at[lt]": second["created_at"]}) == [first["id"]]
    assert await listed(**{"created_at[gte]": second["created_at"], "updated_at[lte]": "2100-01-01"}) == [second["id"]]
    assert await listed(currency_code="eur") == [second["id"], first["id"]]
    assert await listed(currency_code="usd") == []
    assert await listed(tax_rate="20") == []
    assert await listed(**{"sales_channel_id[]": shop.channel}) == [second["id"], first["id"]]
    assert await listed(**{"sales_channel_id[]": "sc_missing"}) == []
    assert await listed(q=f"SECOND-{uid}") == [second["id"]]
    assert await listed(q=f"zoe{uid}") == [second["id"]]
    assert first["id"] in await listed(q=str(first["display_id"]))
    assert await listed(q=f"nothing-{uid}") == []
    query = {"region_id[]": shop.region, "q": uid, "limit": "1", "offset": "1", "fields": "id,email", "expand": ""}
    page = await api.ok("GET", "/admin/orders", query=query)
    assert page["orders"][0].keys() >= {"id", "email", "created_at", "total"}
    assert (page["count"], page["limit"], page["offset"]) == (2, 1, 1)


async def test_the_customer_is_searched_too_but_not_without_an_address(api: Client, shop: Shop, uid: str) -> None:
    body = {"email": f"c-{uid}@example.com", "first_name": f"Cleo{uid}", "last_name": "X", "password": "x"}
    customer = (await api.post("/admin/customers", body | {"phone": f"555{uid}"}))[1]["customer"]
    order = await place(api, shop)
    await api.ok("POST", path_of(order), {"customer_id": customer["id"]})
    homeless = shop.draft(email=f"homeless-{uid}@example.com")
    del homeless["shipping_address"]
    draft = (await api.ok("POST", "/admin/draft-orders", homeless))["draft_order"]
    await api.ok("POST", f"/admin/draft-orders/{draft['id']}/pay")
    for text, expected in ((f"cleo{uid}", [order["id"]]), (f"555{uid}", [order["id"]]), (f"homeless-{uid}", [])):
        page = await api.ok("GET", "/admin/orders", query={"q": text, "fields": "id", "expand": ""})
        assert [o["id"] for o in page["orders"]] == expected


@pytest.mark.parametrize(
    "query",
    [
        {"status[]": "lost"},
        {"status": "pending"},
        {"fulfillment_status[]": "gone"},
        {"payment_status[]": "late"},
        {"sales_channel_id": "sc_1"},
        {"display_id": "abc"},
        {"tax_rate": "abc"},
        {"email[]": "x"},
        {"created_at": "2020-01-01"},
        {"created_at[before]": "2020-01-01"},
        {"limit": "ten"},
        {"limit": "-1"},
        {"offset": "x"},
        {"order": "shoe_size"},
        {"expand": "shoes"},
        {"expand": "returnable_items"},
        {"fields": "shoes"},
        {"color": "red"},
    ],
)
async def test_bad_lists_are_refused(api: Client, query: dict[str, str]) -> None:
    status, answer = await api.get("/admin/orders", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_huge_numbers_find_nothing(api: Client) -> None:
    assert (await api.ok("GET", "/admin/orders", query={"display_id": "9" * 18}))["orders"] == []


async def test_unknown_orders(api: Client) -> None:
    assert (await api.get("/admin/orders/order_missing"))[0] == 404
    for action, body in (
        ("", {"email": "a@example.com"}),
        ("/complete", None),
        ("/archive", None),
        ("/cancel", None),
        ("/capture", None),
        ("/refund", {"amount": 1, "reason": "other"}),
        ("/fulfillment", {"items": [{"item_id": "x", "quantity": 1}]}),
        ("/shipment", {"fulfillment_id": "ful_missing"}),
        ("/fulfillments/ful_missing/cancel", None),
        ("/shipping-methods", {"option_id": "so_missing", "price": 1}),
    ):
        await refused(api, f"/admin/orders/order_missing{action}", body, status=404, type_="not_found")
        status, answer = await api.post(f"/admin/orders/order_missing{action}", body, query={"color": "red"})
        assert (status, answer["type"]) == (400, "invalid_data")


# Edits


async def test_edit(api: Client, ordered: Ordered, uid: str) -> None:
    order = await ordered()
    path = path_of(order)
    written = (await api.ok("POST", path, {"email": f"New-{uid}@example.com", "no_notification": True}))["order"]
    assert (written["email"], written["no_notification"]) == (f"New-{uid}@example.com", True)
    assert written["customer"]["email"] == order["email"]
    updated = (await api.ok("POST", path, {"no_notification": False}))["order"]
    assert updated["no_notification"] is True
    ignored = {
        "payment_method": {"provider_id": "manual", "data": {}},
        "shipping_method": {"price": 5},
        "discounts": [],
    }
    assert (await api.ok("POST", path, ignored))["order"]["total"] == order["total"]


async def test_addresses_are_merged(api: Client, shop: Shop) -> None:
    order = await place(api, shop, billing_address={"first_name": "Ada", "country_code": "de", "metadata": {"a": 1}})
    path, before = path_of(order), order["billing_address"]
    changes = {"country_code": "FR", "city": "Paris", "metadata": {"a": "", "vat": "FR1"}}
    after = (await api.ok("POST", path, {"billing_address": changes}))["order"]["billing_address"]
    assert after == before | {
        "country_code": "fr",
        "city": "Paris",
        "metadata": {"vat": "FR1"},
        "updated_at": after["updated_at"],
    }
    emptied = {"country_code": "fr", "city": None}
    assert (await api.ok("POST", path, {"billing_address": emptied}))["order"]["billing_address"]["city"] is None


async def test_an_address_is_made_where_there_is_none(api: Client, shop: Shop) -> None:
    draft = shop.draft()
    del draft["billing_address"]
    created = (await api.ok("POST", "/admin/draft-orders", draft))["draft_order"]
    order = (await api.ok("POST", f"/admin/draft-orders/{created['id']}/pay"))["order"]
    assert order["billing_address"] is None
    body = {"billing_address": {"country_code": "dk", "city": "Aarhus"}}
    address = (await api.ok("POST", path_of(order), body))["order"]["billing_address"]
    assert (address["country_code"], address["city"], address["first_name"]) == ("dk", "Aarhus", None)


async def test_metadata_of_addresses(api: Client, ordered: Ordered) -> None:
    order = await ordered()

    async def changed(name: str, metadata: Any) -> Any:
        body = {name: {"country_code": "de", "metadata": metadata}}
        return (await api.ok("POST", path_of(order), body))["order"][name]["metadata"]

    # As the reference has it: that of the billing address is merged, that of the shipping address replaced.
    assert await changed("billing_address", {"vat": 1, "floor": 2}) == {"vat": 1, "floor": 2}
    assert await changed("billing_address", {"floor": "", "bell": 3}) == {"vat": 1, "bell": 3}
    assert await changed("shipping_address", {"vat": 1, "floor": 2}) == {"vat": 1, "floor": 2}
    assert await changed("shipping_address", {"floor": "", "bell": 3}) == {"floor": "", "bell": 3}
    for name in ("billing_address", "shipping_address"):
        kept = (await api.ok("POST", path_of(order), {name: {"country_code": "de"}}))["order"][name]["metadata"]
        assert kept["bell"] == 3
        assert await changed(name, None) is None


async def test_being_notified_is_only_switched_off(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    answers = []
    for body in ({"no_notification": False}, {"no_notification": True}, {"no_notification": False}):
        answers.append((await api.ok("POST", path_of(order), body))["order"]["no_notification"])
    assert answers == [None, True, True]


async def test_a_new_customer_gets_the_order(api: Client, ordered: Ordered, uid: str) -> None:
    order = await ordered()
    body = {"email": f"owner-{uid}@example.com", "first_name": "O", "last_name": "W", "password": "x"}
    owner = (await api.post("/admin/customers", body))[1]["customer"]["id"]
    assert (await api.ok("POST", path_of(order), {"customer_id": owner}))["order"]["customer_id"] == owner
    customer = (await api.ok("GET", f"/admin/customers/{owner}"))["customer"]
    assert [o["id"] for o in customer["orders"]] == [order["id"]]
    query = {"expand": "orders.items,orders.shipping_address"}
    customer = (await api.ok("GET", f"/admin/customers/{owner}", query=query))["customer"]
    inside = customer["orders"][0]
    assert sorted(line["unit_price"] for line in inside["items"]) == [1000, 1500]
    assert "subtotal" not in inside | inside["items"][0]
    assert inside["shipping_address"]["city"] == "Berlin"


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({"shipping_address": {"country_code": "us"}}, 400, "invalid_data"),
        ({"billing_address": {"country_code": "se"}}, 400, "invalid_data"),
        ({"billing_address": {"city": "Berlin"}}, 400, "invalid_data"),
        ({"billing_address": {"country_code": "de", "planet": "x"}}, 400, "invalid_data"),
        ({"billing_address": "addr_1"}, 400, "invalid_data"),
        ({"customer_id": "cus_missing"}, 404, "not_found"),
        ({"customer_id": None}, 400, "invalid_data"),
        ({"email": "nobody"}, 400, "invalid_data"),
        ({"email": None}, 400, "invalid_data"),
        ({"region": "reg_1"}, 400, "invalid_data"),
        ({"discounts": [{"code": "X"}]}, 400, "invalid_data"),
        ({"items": []}, 400, "not_allowed"),
        ({"items": [{"title": "Extra", "unit_price": 1, "quantity": 1}]}, 400, "not_allowed"),
        ({"status": "completed"}, 400, "invalid_data"),
        ({"metadata": {"a": 1}}, 400, "invalid_data"),
        ({"no_notification": "yes"}, 400, "invalid_data"),
        ({"payment_method": {"provider_id": 3}}, 400, "invalid_data"),
        ({"shipping_method": {"price": 1.5}}, 400, "invalid_data"),
    ],
)
async def test_bad_edits_change_nothing(
    api: Client, ordered: Ordered, body: dict[str, Any], status: int, type_: str
) -> None:
    order = await ordered()
    before = await shown(api, order)
    await refused(api, path_of(order), {"no_notification": True} | body, status=status, type_=type_)
    assert await shown(api, order) == before


# The state machine


async def test_complete_and_archive(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path = path_of(order)
    await refused(api, f"{path}/archive")
    for _ in range(2):
        assert (await api.ok("POST", f"{path}/complete"))["order"]["status"] == "completed"
    assert (await api.ok("POST", f"{path}/archive"))["order"]["status"] == "archived"
    await refused(api, f"{path}/archive")
    assert (await api.ok("POST", f"{path}/complete"))["order"]["status"] == "completed"


async def test_cancel(api: Client, ordered: Ordered, heard: list[dict[str, Any]], stack: Stack) -> None:
    order = await ordered()
    path, item = path_of(order), order["items"][0]["id"]
    answer = await canceled(api, order)
    assert (answer["status"], answer["fulfillment_status"], answer["payment_status"]) == ("canceled",) * 3
    assert answer["canceled_at"] is not None
    assert [payment["canceled_at"] is not None for payment in answer["payments"]] == [True]
    assert (answer["total"], answer["paid_total"]) == (order["total"], order["paid_total"])
    assert await canceled(api, order) == answer, "canceling again changes nothing"
    payment = (await api.ok("GET", f"/admin/payments/{order['payments'][0]['id']}"))["payment"]
    assert payment["canceled_at"] == answer["payments"][0]["canceled_at"]
    before = await shown(api, order)
    for action, body in (
        ("", {"email": "late@example.com"}),
        ("/capture", None),
        ("/complete", None),
        ("/archive", None),
        ("/refund", {"amount": 100, "reason": "other"}),
        ("/fulfillment", {"items": [{"item_id": item, "quantity": 1}]}),
        ("/shipping-methods", {"option_id": "so_1", "price": 100}),
    ):
        await refused(api, path + action, body)
    assert await shown(api, order) == before

    async def emitted() -> bool:
        return any(e["type"] == "order.canceled" and e["subject"] == order["id"] for e in heard)

    await until(emitted)
    assert sum(e["type"] == "order.canceled" and e["subject"] == order["id"] for e in heard) == 1


async def test_what_stands_keeps_an_order_from_being_canceled(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path, item = path_of(order), order["items"][0]["id"]
    fulfilled = (await api.ok("POST", f"{path}/fulfillment", {"items": [{"item_id": item, "quantity": 1}]}))["order"]
    before = await shown(api, order)
    await refused(api, f"{path}/cancel")
    assert await shown(api, order) == before
    await api.ok("POST", f"{path}/fulfillments/{fulfilled['fulfillments'][0]['id']}/cancel")
    await api.ok("POST", f"{path}/refund", {"amount": 1, "reason": "other"})
    await refused(api, f"{path}/cancel")
    assert (await shown(api, order))["status"] == "pending"


async def test_two_cancel_at_once(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    answers = await asyncio.gather(*(api.post(f"{path_of(order)}/cancel") for _ in range(6)))
    assert {status for status, _ in answers} <= {200, 409}
    assert (await shown(api, order))["status"] == "canceled"

    async def emitted() -> bool:
        return any(e["type"] == "order.canceled" and e["subject"] == order["id"] for e in heard)

    await until(emitted)
    assert sum(e["type"] == "order.canceled" and e["subject"] == order["id"] for e in heard) == 1


async def test_a_cancellation_that_was_cut_off_is_finished(api: Client, ordered: Ordered, stack: Stack) -> None:
    order, app = await ordered(), stack.apps["orders"]
    async with app[POOL].acquire() as db, db.transaction():
        state = await plan_cancel(db, order["id"])
        assert state is not None
        saga = await begin(db, "cancel_order", order["id"], state)
    await void_payments(app, saga)
    # The process has died: nobody renews its lease. Meanwhile nothing else is done with the order.
    item = {"item_id": order["items"][0]["id"], "quantity": 1}
    await refused(api, f"{path_of(order)}/fulfillment", {"items": [item]}, status=409, type_="conflict")
    await app[POOL].execute("update sagas set leased_until = now() where id = $1", saga.id)

    async def done() -> bool:
        return bool((await shown(api, order))["status"] == "canceled")

    await until(done)
    assert [p["canceled_at"] is not None for p in (await shown(api, order))["payments"]] == [True]


async def test_an_idempotency_key_answers_again(api: Client, ordered: Ordered, uid: str) -> None:
    order = await ordered()
    path, key = path_of(order), {"Idempotency-Key": uid}
    body = {"items": [{"item_id": order["items"][0]["id"], "quantity": 1}]}
    first = await api.post(f"{path}/fulfillment", body, headers=key)
    assert first[0] == 200
    assert await api.post(f"{path}/fulfillment", body, headers=key) == first
    assert len((await shown(api, order))["fulfillments"]) == 1
    status, answer = await api.post(f"{path}/fulfillment", body | {"metadata": {"a": 1}}, headers=key)
    assert (status, answer["type"]) == (409, "conflict")
