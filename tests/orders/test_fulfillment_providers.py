"""A carrier of one's own: found as an installed package, asked over HTTP, once, whatever dies in between."""

import asyncio
from typing import Any

import pytest

from services.orders import fulfillment_providers
from tests.support.client import Client
from tests.support.factories.carriers import option, served
from tests.support.factories.shops import Shop, place
from tests.support.fake_carrier import URL, FakeCarrier
from tests.support.locks import stalled, waits
from tests.support.processes import another
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]


@pytest.fixture
async def shop(api: Client, carrier: FakeCarrier) -> Shop:
    """A shop that sends everything by the carrier, and counts its stock."""
    return await served(api)


@pytest.fixture
async def order(api: Client, shop: Shop) -> Order:
    """3 pieces, to be carried to the nearest pick-up point."""
    methods = [{"option_id": await option(api, shop)}]
    return await place(api, shop, items=[{"variant_id": shop.small, "quantity": 3}], shipping_methods=methods)


def path_of(order: Order) -> str:
    return f"/admin/orders/{order['id']}"


def fulfillment_body(order: Order, quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"items": [{"item_id": order["items"][0]["id"], "quantity": quantity}]} | more


async def shown(api: Client, order: Order) -> Order:
    current: Order = (await api.ok("GET", path_of(order)))["order"]
    return current


async def stocked(api: Client, shop: Shop, uid: str) -> tuple[str, str]:
    """A location with 10 pieces; and the id of what is counted."""
    location = (await api.ok("POST", "/admin/stock-locations", {"name": f"W {uid}"}))["stock_location"]["id"]
    await api.ok("POST", f"/admin/sales-channels/{shop.channel}/stock-locations", {"location_id": location})
    item = (await api.ok("GET", f"/admin/variants/{shop.small}/inventory"))["variant"]["inventory"][0]["id"]
    body = {"location_id": location, "stocked_quantity": 10}
    await api.ok("POST", f"/admin/inventory-items/{item}/location-levels", body)
    return location, item


async def in_stock(api: Client, item: str) -> int:
    answer = await api.ok("GET", f"/admin/inventory-items/{item}/location-levels")
    return int(answer["inventory_item"]["location_levels"][0]["stocked_quantity"])


async def idle(stack: Stack, kind: str, ended: str) -> None:
    """Wait until the last saga of a kind has ended so; its process may be dead: nobody renews its lease."""

    async def over() -> bool:
        pool = stack.pool("orders")
        await pool.execute("update sagas set leased_until = now() where kind = $1 and leased_until > now()", kind)
        query = "select status from sagas where kind = $1 order by created_at desc limit 1"
        return bool(await pool.fetchval(query, kind) == ended)

    await until(over)


# What it offers


async def test_regions_offer_it(api: Client, shop: Shop) -> None:
    offered = (await api.ok("GET", f"/admin/regions/{shop.region}/fulfillment-options"))["fulfillment_options"]
    assert sorted(offered, key=lambda one: str(one["provider_id"])) == [
        {"provider_id": "courier", "options": [{"id": "express"}, {"id": "express-return", "is_return": True}]},
        {
            "provider_id": "manual",
            "options": [{"id": "manual-fulfillment"}, {"id": "manual-fulfillment-return", "is_return": True}],
        },
    ]


async def test_the_data_of_a_method_is_the_providers(api: Client, shop: Shop, carrier: FakeCarrier) -> None:
    chosen = await option(api, shop)
    draft = shop.draft(shipping_methods=[{"option_id": chosen, "data": {"point": "B7"}}])
    draft_order = (await api.ok("POST", "/admin/draft-orders", draft))["draft_order"]
    assert draft_order["cart"]["shipping_methods"][0]["data"] == {"point": "B7", "service": "express"}
    assert carrier.bodies[-1]["cart"] == {
        "region_id": shop.region,
        "customer_id": None,
        "items": [{"variant_id": shop.small, "title": draft_order["cart"]["items"][0]["title"], "quantity": 2}],
    }
    order = (await api.ok("POST", f"/admin/draft-orders/{draft_order['id']}/pay"))["order"]
    assert order["shipping_methods"][0]["data"] == {"point": "B7", "service": "express"}
    body = {"option_id": chosen, "price": 100, "data": {"point": "A1"}}
    written = (await api.ok("POST", f"{path_of(order)}/shipping-methods", body))["order"]
    assert [m["data"] for m in written["shipping_methods"]] == [{"point": "A1", "service": "express"}]


async def test_data_that_it_refuses(api: Client, shop: Shop, order: Order, stack: Stack) -> None:
    before, pool = await shown(api, order), stack.pool("orders")
    drafts = await pool.fetchval("select count(*) from draft_orders")
    chosen = order["shipping_methods"][0]["shipping_option_id"]
    draft = shop.draft(shipping_methods=[{"option_id": chosen, "data": {"point": "closed"}}])
    method = {"option_id": chosen, "price": 100, "data": {"point": "closed"}}
    for path, body in (("/admin/draft-orders", draft), (f"{path_of(order)}/shipping-methods", method)):
        status, answer = await api.post(path, body)
        assert (status, answer["type"], answer["message"]) == (400, "invalid_data", "This pick-up point is closed.")
    assert await shown(api, order) == before
    assert await pool.fetchval("select count(*) from draft_orders") == drafts


# Fulfillments


async def test_a_fulfillment(api: Client, order: Order, carrier: FakeCarrier) -> None:
    fulfilled = (await api.ok("POST", f"{path_of(order)}/fulfillment", fulfillment_body(order, 2)))["order"]
    (fulfillment,) = fulfilled["fulfillments"]
    label = {"name": "label", "url": f"https://carrier.example/{fulfillment['id']}.pdf"}
    assert (fulfillment["provider_id"], fulfillment["data"]) == ("courier", {"number": "C-1", "documents": [label]})
    assert fulfilled["fulfillment_status"] == "partially_fulfilled"
    assert carrier.fulfillments == {fulfillment["id"]: "waiting"}
    request, line = carrier.bodies[-1], order["items"][0]
    assert request["order"].pop("shipping_address").items() >= {"city": "Berlin", "first_name": "Ada"}.items()
    assert request == {
        "id": fulfillment["id"],
        "order": {name: order[name] for name in ("id", "display_id", "email", "currency_code")},
        "location_id": None,
        "method": {
            "provider_id": "courier",
            "shipping_option_id": order["shipping_methods"][0]["shipping_option_id"],
            "data": {"point": "nearest", "service": "express"},
        },
        "items": [
            {
                "item_id": line["id"],
                "quantity": 2,
                "title": line["title"],
                "description": "Small",
                "variant_id": line["variant_id"],
                "unit_price": 1000,
                "metadata": {},
            }
        ],
    }
    await api.ok("POST", f"{path_of(order)}/fulfillments/{fulfillment['id']}/cancel")
    assert carrier.fulfillments == {fulfillment["id"]: "canceled"}
    assert carrier.bodies[-1] == {"id": fulfillment["id"], "data": fulfillment["data"]}
    after = await shown(api, order)
    assert (after["fulfillment_status"], after["items"][0]["fulfilled_quantity"]) == ("canceled", 0)


async def test_what_it_refuses_changes_nothing(
    api: Client, shop: Shop, order: Order, carrier: FakeCarrier, uid: str
) -> None:
    location, item = await stocked(api, shop, uid)
    before = await shown(api, order)
    carrier.refused.add("fulfillments")
    for place_ in (None, location):
        status, answer = await api.post(f"{path_of(order)}/fulfillment", fulfillment_body(order, location_id=place_))
        assert (status, answer["type"], answer["message"]) == (400, "not_allowed", "Not on Sundays.")
    assert await shown(api, order) == before
    assert (await in_stock(api, item), carrier.fulfillments) == (10, {})
    carrier.refused = {"fulfillments/cancel"}
    fulfilled = (await api.ok("POST", f"{path_of(order)}/fulfillment", fulfillment_body(order, location_id=location)))[
        "order"
    ]
    before = await shown(api, order)
    path = f"{path_of(order)}/fulfillments/{fulfilled['fulfillments'][0]['id']}/cancel"
    assert (await api.post(path))[0] == 400
    assert await shown(api, order) == before
    assert (await in_stock(api, item), list(carrier.fulfillments.values())) == (9, ["waiting"])
    carrier.refused = set()
    await api.ok("POST", path)
    assert (await in_stock(api, item), list(carrier.fulfillments.values())) == (10, ["canceled"])


async def test_an_answer_that_says_nothing_is_undone(
    api: Client, shop: Shop, order: Order, carrier: FakeCarrier, uid: str
) -> None:
    """The carrier broke down after it had written the fulfillment down: it is canceled there."""
    location, item = await stocked(api, shop, uid)
    before = await shown(api, order)
    carrier.broken.add("fulfillments")
    status, answer = await api.post(f"{path_of(order)}/fulfillment", fulfillment_body(order, location_id=location))
    assert (status, answer["type"]) == (503, "unavailable")
    assert await shown(api, order) == before
    assert (await in_stock(api, item), list(carrier.fulfillments.values())) == (10, ["canceled"])


async def test_a_carrier_that_is_away(api: Client, order: Order, carrier: FakeCarrier, monkeypatch: pytest.MonkeyPatch,
                                      stack: Stack) -> None:  # fmt: skip
    before = await shown(api, order)
    with monkeypatch.context() as patch:
        patch.setenv(URL, "http://127.0.0.1:9")
        status, answer = await api.post(f"{path_of(order)}/fulfillment", fulfillment_body(order))
        assert (status, answer["type"]) == (503, "unavailable")
    assert await shown(api, order) == before
    await idle(stack, "fulfill", "compensated")
    assert set(carrier.fulfillments.values()) == {"unknown"}
    await api.ok("POST", f"{path_of(order)}/fulfillment", fulfillment_body(order))
    assert sorted(carrier.fulfillments.values()) == ["unknown", "waiting"]


async def test_the_later_of_two_is_canceled(api: Client, order: Order, carrier: FakeCarrier) -> None:
    """Both were fine when they began; the one that comes second finds nothing left, and is canceled there."""
    carrier.hold = asyncio.Event()
    both = [
        asyncio.create_task(api.post(f"{path_of(order)}/fulfillment", fulfillment_body(order, 2))) for _ in range(2)
    ]

    async def arrived() -> bool:
        return carrier.times("fulfillments") == 2

    await until(arrived)
    carrier.hold.set()
    carrier.hold = None
    assert sorted([(await one)[0] for one in both]) == [200, 400]
    after = await shown(api, order)
    (fulfillment,) = after["fulfillments"]
    assert after["items"][0]["fulfilled_quantity"] == 2
    assert carrier.fulfillments.pop(fulfillment["id"]) == "waiting"
    assert list(carrier.fulfillments.values()) == ["canceled"]


async def test_a_carrier_that_was_removed(api: Client, order: Order, carrier: FakeCarrier, stack: Stack) -> None:
    before = await shown(api, order)
    courier = fulfillment_providers.providers().pop("courier")
    status, answer = await api.post(f"{path_of(order)}/fulfillment", fulfillment_body(order))
    assert (status, answer["type"]) == (400, "not_allowed")
    fulfillment_providers.providers()["courier"] = courier
    assert await shown(api, order) == before
    assert carrier.fulfillments == {}


# Returns


async def test_a_label_for_a_return(api: Client, shop: Shop, order: Order, carrier: FakeCarrier, uid: str) -> None:
    location, item = await stocked(api, shop, uid)
    label = {"option_id": await option(api, shop, "express-return", returns=True)}
    body = {"items": fulfillment_body(order)["items"], "return_shipping": label}
    before = await shown(api, order)
    carrier.refused.add("labels")
    status, answer = await api.post(f"{path_of(order)}/return", body)
    assert (status, answer["message"]) == (400, "Not on Sundays.")
    assert await shown(api, order) == before
    carrier.refused.clear()
    for more in ({}, {"receive_now": True, "location_id": location}):
        await api.ok("POST", f"{path_of(order)}/return", body | more)
    assert await in_stock(api, item) == 11
    requested, received = (await shown(api, order))["returns"]
    assert (requested["status"], received["status"]) == ("requested", "received")
    assert requested["shipping_data"]["number"] == "C-1"
    assert received["shipping_data"]["number"] == "C-2"
    assert carrier.labels == {requested["id"]: "waiting", received["id"]: "waiting"}
    carrier.broken.add("labels")
    assert (await api.post(f"{path_of(order)}/return", body))[0] == 503
    assert sorted(carrier.labels.values()) == ["canceled", "waiting", "waiting"]
    assert len((await shown(api, order))["returns"]) == 2


# kill -9


async def test_a_death_while_the_carrier_answers(api: Client, order: Order, carrier: FakeCarrier, stack: Stack) -> None:
    carrier.hold = asyncio.Event()
    async with another(stack, "orders") as (orders, process):
        request = asyncio.create_task(orders.post(f"{path_of(order)}/fulfillment", fulfillment_body(order, 2)))

        async def arrived() -> bool:
            return carrier.times("fulfillments") == 1

        await until(arrived)
        process.kill()
        await process.wait()
        await asyncio.gather(request, return_exceptions=True)
    carrier.hold.set()
    carrier.hold = None
    await idle(stack, "fulfill", "done")
    after = await shown(api, order)
    (fulfillment,) = after["fulfillments"]
    assert carrier.fulfillments == {fulfillment["id"]: "waiting"}
    assert (fulfillment["data"]["number"], after["items"][0]["fulfilled_quantity"]) == ("C-1", 2)
    keys = {key for what, _, key in carrier.requests if what == "fulfillments"}
    assert (carrier.times("fulfillments"), len(keys)) == (2, 1)


async def test_a_death_before_the_rows_are_written(
    api: Client, order: Order, carrier: FakeCarrier, stack: Stack
) -> None:
    async with another(stack, "orders") as (orders, process), stalled(stack, "orders", "fulfillments"):
        request = asyncio.create_task(orders.post(f"{path_of(order)}/fulfillment", fulfillment_body(order, 2)))
        await until(lambda: waits(stack, "orders"))
        assert carrier.times("fulfillments") == 1
        process.kill()
        await process.wait()
        await asyncio.gather(request, return_exceptions=True)
    await idle(stack, "fulfill", "done")
    (fulfillment,) = (await shown(api, order))["fulfillments"]
    assert (fulfillment["data"]["number"], carrier.requests[0][1], carrier.times("fulfillments")) == (
        "C-1",
        fulfillment["id"],
        1,
    )


async def test_a_death_while_a_fulfillment_is_canceled(
    api: Client, shop: Shop, order: Order, carrier: FakeCarrier, stack: Stack, uid: str
) -> None:
    location, item = await stocked(api, shop, uid)
    fulfilled = (await api.ok("POST", f"{path_of(order)}/fulfillment", fulfillment_body(order, location_id=location)))[
        "order"
    ]
    fulfillment = fulfilled["fulfillments"][0]["id"]
    carrier.hold = asyncio.Event()
    async with another(stack, "orders") as (orders, process):
        request = asyncio.create_task(orders.post(f"{path_of(order)}/fulfillments/{fulfillment}/cancel"))

        async def arrived() -> bool:
            return carrier.times("fulfillments/cancel") == 1

        await until(arrived)
        process.kill()
        await process.wait()
        await asyncio.gather(request, return_exceptions=True)
    # Meanwhile nothing else is done with the fulfillment.
    assert (await api.post(f"{path_of(order)}/shipment", {"fulfillment_id": fulfillment}))[0] == 409
    carrier.hold.set()
    carrier.hold = None
    await idle(stack, "cancel_fulfillment", "done")
    after = await shown(api, order)
    assert (after["fulfillments"][0]["canceled_at"] is not None, after["fulfillment_status"]) == (True, "canceled")
    assert (await in_stock(api, item), carrier.fulfillments) == (10, {fulfillment: "canceled"})
