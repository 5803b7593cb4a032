"""Shoplazza's fulfillments: exact answers, every refusal that the dialect lists, and nothing half done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.dialects.shoplazza_answers import kilograms, money, time_of
from tests.support.client import Client
from tests.support.factories.shops import Shop, place, set_up
from tests.support.waiting import until

Ask = Callable[..., Awaitable[tuple[int, Any]]]
TRACKING = {
    "tracking_number": "DHL1231232113",
    "tracking_company": "DHL",
    "tracking_company_code": "dhl",
    "tracking_url": "https://tracking.dhl.com",
}


@pytest.fixture
async def shop(api: Client) -> Shop:
    return await set_up(api, tax_rate=19)


@pytest.fixture
async def ask(api: Client, uid: str) -> Ask:
    """A request with an access token of the scopes given."""
    tokens: dict[str, str] = {}

    async def send(
        method: str, path: str, body: Any = None, scope: str = "write_order", key: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        if scope not in tokens:
            made = await api.ok("POST", "/admin/access-tokens", {"name": f"{scope} {uid}", "scopes": [scope]})
            tokens[scope] = made["access_token"]["token"]
        headers = {"access-token": tokens[scope]} | ({"Idempotency-Key": key} if key else {})
        return await api.request(
            method, f"/openapi/2022-01/orders/{path}", body, headers=headers, anonymous=True, **more
        )

    return send


async def order_of(api: Client, order: dict[str, Any]) -> Any:
    return (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]


async def test_the_whole_answer(api: Client, shop: Shop, ask: Ask) -> None:
    await api.ok(
        "POST",
        f"/admin/products/{shop.product}",
        {"weight": 1100, "thumbnail": "https://cdn.example.com/shirt.jpg", "metadata": {"vendor": "Loom & Co"}},
    )
    placed = await place(
        api, shop, items=[{"variant_id": shop.small, "quantity": 3, "metadata": {"size": "L", "note": "Gift wrap"}}]
    )
    (line,) = placed["items"]
    product = (await api.ok("GET", f"/admin/products/{shop.product}"))["product"]
    await until(lambda: seen_vendor(api, placed))

    status, body = await ask(
        "POST",
        f"{placed['id']}/fulfillments",
        {"line_items": [{"id": line["id"], "ship_quantity": 2}], **TRACKING},
    )

    assert status == 200, body
    order = await order_of(api, placed)
    (made,) = order["fulfillments"]
    variant = next(v for v in product["variants"] if v["id"] == shop.small)
    expected = {
        "id": made["id"],
        "order_id": placed["id"],
        "status": "shipped",
        **TRACKING,
        "created_at": made["created_at"][:19] + "Z",
        "updated_at": made["updated_at"][:19] + "Z",
        "line_items": [
            {
                "id": line["id"],
                "product_id": shop.product,
                "variant_id": shop.small,
                "variant_title": "Small",
                "product_title": product["title"],
                "product_handle": product["handle"],
                "quantity": 2,
                "note": "Gift wrap",
                "fulfillment_status": "shipped",
                "sku": variant["sku"],
                "weight_unit": "kg",
                "weight": "1.10",
                "vendor": "Loom & Co",
                "product_url": f"/products/{product['handle']}",
                "image": "https://cdn.example.com/shirt.jpg",
                "price": "10.00",
                "total": "20.00",
                "compare_at_price": "0.00",
                "properties": [{"name": "size", "value": "L"}],
                "refund_quantity": 0,
                "refund_total": "0.00",
                "taxable": True,
                "requires_shipping": True,
                "shipping_quantity": 2,
            }
        ],
    }
    assert body == {"fulfillment": expected}
    assert await ask("GET", f"{placed['id']}/fulfillments") == (200, {"fulfillments": [expected]})
    assert await ask("GET", f"{placed['id']}/fulfillments/{made['id']}", scope="read_order") == (
        200,
        {"fulfillment": expected},
    )
    # As /admin sees it.
    assert order["fulfillment_status"] == "partially_shipped"
    assert made["shipped_at"] is not None
    (link,) = made["tracking_links"]
    assert (link["tracking_number"], link["url"]) == ("DHL1231232113", "https://tracking.dhl.com")
    assert link["metadata"] == {"tracking_company": "DHL", "tracking_company_code": "dhl"}
    (line,) = order["items"]
    assert (line["fulfilled_quantity"], line["shipped_quantity"]) == (2, 2)


async def seen_vendor(api: Client, placed: dict[str, Any]) -> bool:
    query = {"expand": "items,items.variant,items.variant.product"}
    order = (await api.ok("GET", f"/admin/orders/{placed['id']}", query=query))["order"]
    return bool((order["items"][0]["variant"]["product"]["metadata"] or {}).get("vendor"))


async def test_zero_and_line_item_ids_mean_all_that_is_left(api: Client, shop: Shop, ask: Ask) -> None:
    items = [{"variant_id": shop.small, "quantity": 3}, {"variant_id": shop.large, "quantity": 2}]
    placed = await place(api, shop, items=items)
    small, large = (next(i for i in placed["items"] if i["variant_id"] == v)["id"] for v in (shop.small, shop.large))
    path = f"{placed['id']}/fulfillments"
    one = {"line_items": [{"id": small, "ship_quantity": 1}]}
    status, body = await ask("POST", path, one)
    assert (status, [line["quantity"] for line in body["fulfillment"]["line_items"]]) == (200, [1])
    # A line of both lists goes with its quantity.
    rest = {"line_item_ids": [small, large], "line_items": [{"id": large, "ship_quantity": 1}]}
    status, body = await ask("POST", path, rest)
    assert status == 200
    assert {line["id"]: line["quantity"] for line in body["fulfillment"]["line_items"]} == {small: 2, large: 1}
    assert body["fulfillment"]["tracking_number"] == ""
    status, body = await ask("POST", path, {"line_items": [{"id": large, "ship_quantity": 0}]})
    assert {line["id"]: line["quantity"] for line in body["fulfillment"]["line_items"]} == {large: 1}
    assert (await order_of(api, placed))["fulfillment_status"] == "shipped"
    status, body = await ask("GET", path)
    assert (status, len(body["fulfillments"])) == (200, 3)


async def test_refusals_change_nothing(api: Client, shop: Shop, ask: Ask) -> None:
    placed = await place(api, shop)
    other = await place(api, shop)
    line, others = placed["items"][0]["id"], other["items"][0]["id"]
    before = await order_of(api, placed)
    path = f"{placed['id']}/fulfillments"
    for body, status, errors in [
        ({}, 422, "invalid line_item id"),
        ({"line_items": []}, 422, "invalid line_item id"),
        ({"line_item_ids": [others]}, 422, "invalid line_item id"),
        ({"line_item_ids": ["item_none"]}, 422, "invalid line_item id"),
        ({"line_item_ids": [""]}, 422, "invalid line_item id"),
        ({"line_items": [{"ship_quantity": 1}]}, 422, "invalid line_item id"),
        ({"line_items": [{"id": line, "ship_quantity": 1}] * 2}, 422, "invalid line_item id"),
        ({"line_items": [{"id": line}]}, 422, "ShipQuantity is required"),
        ({"line_items": [{"id": line, "ship_quantity": 3}]}, 422, "fulfillment quantity is insufficient"),
        ({"line_items": [{"id": line, "ship_quantity": -1}]}, 400, "Bad Request: line_items.0.ship_quantity: "),
        ({"line_items": [{"id": line, "ship_quantity": 2**31}]}, 400, "Bad Request: line_items.0.ship_quantity: "),
        ({"line_items": [{"id": line, "ship_quantity": "1"}]}, 400, "Bad Request: line_items.0.ship_quantity: "),
        ({"line_items": {"id": line}}, 400, "Bad Request: line_items: "),
        ({"line_item_ids": [line], "tracking_number": 7}, 400, "Bad Request: tracking_number: "),
        ({"line_item_ids": [line], "tracking_url": "javascript:alert(1)"}, 400, "Bad Request: tracking_url: "),
        ([], 400, "Bad Request: body: "),
    ]:
        answered, answer = await ask("POST", path, body)
        assert answered == status, (body, answer)
        assert answer["errors"][0].startswith(errors), (body, answer)
        assert list(answer) == ["errors"]
    assert await ask("POST", path, raw=b"{") == (400, {"errors": ["Bad Request: the body is not JSON"]})
    assert await ask("POST", "order_none/fulfillments", {"line_item_ids": [line]}) == (
        404,
        {"errors": ["There is no order order_none."]},
    )
    assert (await ask("GET", "order_none/fulfillments"))[0] == 404
    assert (await ask("GET", f"{path}/ful_none"))[0] == 404
    assert await order_of(api, placed) == before

    await api.ok("POST", f"/admin/orders/{placed['id']}/cancel")
    assert await ask("POST", path, {"line_item_ids": [line]}) == (422, {"errors": ["invalid status of the order"]})
    await api.ok("POST", f"/admin/orders/{other['id']}/complete")
    await api.ok("POST", f"/admin/orders/{other['id']}/archive")
    answer = await ask("POST", f"{other['id']}/fulfillments", {"line_item_ids": [others]})
    assert answer == (422, {"errors": ["invalid status of the order"]})


async def test_who_may(api: Client, shop: Shop, ask: Ask, uid: str) -> None:
    placed = await place(api, shop)
    before = await order_of(api, placed)
    url, body = f"/openapi/2022-01/orders/{placed['id']}/fulfillments", {"line_item_ids": [placed["items"][0]["id"]]}
    wrong = (401, {"error": "Unauthorized"})
    assert await api.post(url, body, anonymous=True) == wrong
    assert await api.post(url, body, anonymous=True, headers={"access-token": "x"}) == wrong
    assert await api.post(url, body) == wrong  # what opens /admin opens nothing here
    answer = await ask("POST", f"{placed['id']}/fulfillments", body, scope="read_order")
    assert answer == (403, {"error": "The access token needs the scope write_order."})

    made = (await api.ok("POST", "/admin/access-tokens", {"name": uid, "scopes": ["write_order"]}))["access_token"]
    with_token = {"headers": {"access-token": made["token"]}, "anonymous": True}
    assert (await api.get(url, **with_token))[0] == 200
    # It opens nothing under /admin, however it is sent.
    for headers in (
        {"access-token": made["token"]},
        {"Authorization": f"Bearer {made['token']}"},
        {"x-medusa-access-token": made["token"]},
    ):
        assert await api.get("/admin/orders", headers=headers, anonymous=True) == (401, "Unauthorized")
    listed = (await api.ok("GET", "/admin/access-tokens", query={"q": uid}))["access_tokens"]
    shown = made | {"token": f"****{made['token'][-4:]}"}
    assert shown in listed
    deleted = {"id": made["id"], "object": "access_token", "deleted": True}
    assert await api.delete(f"/admin/access-tokens/{made['id']}") == (200, deleted)
    assert await api.get(url, **with_token) == wrong
    assert await order_of(api, placed) == before


async def test_a_token_is_asked_for_properly(api: Client, uid: str) -> None:
    for body in (
        {"name": uid},
        {"name": uid, "scopes": []},
        {"name": uid, "scopes": ["write_everything"]},
        {"name": uid, "scopes": ["read_order", "read_order"]},
        {"name": "", "scopes": ["read_order"]},
    ):
        status, answer = await api.post("/admin/access-tokens", body)
        assert (status, answer["type"]) == (400, "invalid_data"), body
    assert (await api.ok("GET", "/admin/access-tokens", query={"q": uid}))["access_tokens"] == []


async def test_asked_twice_at_once_it_ships_once(api: Client, shop: Shop, ask: Ask, uid: str) -> None:
    placed = await place(api, shop)
    path, body = f"{placed['id']}/fulfillments", {"line_item_ids": [placed["items"][0]["id"]]}
    answers = await asyncio.gather(*(ask("POST", path, body) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 422, 422, 422]
    assert len((await order_of(api, placed))["fulfillments"]) == 1


async def test_a_key_makes_it_safe_to_ask_again(api: Client, shop: Shop, ask: Ask, uid: str) -> None:
    placed = await place(api, shop)
    path, body = f"{placed['id']}/fulfillments", {"line_item_ids": [placed["items"][0]["id"]], **TRACKING}
    first = await ask("POST", path, body, key=uid)
    assert first[0] == 200
    assert await ask("POST", path, body, key=uid) == first
    assert len((await order_of(api, placed))["fulfillments"]) == 1


async def test_stock_leaves_where_it_is_reserved(api: Client, ask: Ask) -> None:
    shop = await set_up(api, manage_inventory=True)
    item = (await api.ok("GET", f"/admin/variants/{shop.small}/inventory"))["variant"]["inventory"][0]["id"]
    places = [(await api.ok("POST", "/admin/stock-locations", {"name": name}))["stock_location"]["id"] for name in "ab"]
    for place_id in places:
        level = {"location_id": place_id, "stocked_quantity": 10}
        await api.ok("POST", f"/admin/inventory-items/{item}/location-levels", level)
    placed = await place(api, shop, items=[{"variant_id": shop.small, "quantity": 4}])
    (line,) = placed["items"]
    held = (await api.ok("GET", "/admin/reservations", query={"line_item_id[]": line["id"]}))["reservations"]
    for reservation in held:
        await api.ok("DELETE", f"/admin/reservations/{reservation['id']}")
    made = [
        (await api.ok("POST", f"/admin/orders/{placed['id']}/line-items/{line['id']}/reserve", wanted))["reservation"]
        for wanted in ({"location_id": places[0], "quantity": 2}, {"location_id": places[1], "quantity": 1})
    ]
    path, body = f"{placed['id']}/fulfillments", {"line_items": [{"id": line["id"], "ship_quantity": 2}]}
    status, answer = await ask("POST", path, body)
    assert (status, list(answer)) == (422, ["errors"])
    assert "several locations" in answer["errors"][0]
    await api.ok("DELETE", f"/admin/reservations/{made[1]['id']}")

    status, answer = await ask("POST", path, body)
    assert status == 200, answer
    levels = (await api.ok("GET", f"/admin/inventory-items/{item}/location-levels"))["inventory_item"]
    counted = {level["location_id"]: level["stocked_quantity"] for level in levels["location_levels"]}
    assert counted == {places[0]: 8, places[1]: 10}
    assert (await order_of(api, placed))["fulfillments"][0]["location_id"] == places[0]


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [(8100, "eur", "81.00"), (8100, "jpy", "8100"), (8100, "kwd", "8.100"), (0, "usd", "0.00")],
)
def test_money(minor: int, currency: str, shown: str) -> None:
    assert money(minor, currency) == shown


def test_weights_and_times() -> None:
    assert [kilograms(grams) for grams in (None, 0, 5, 1100, 1101)] == ["0.00", "0.00", "0.005", "1.10", "1.101"]
    assert time_of("2024-04-22T08:37:12.345Z") == time_of("2024-04-22T08:37:12Z") == "2024-04-22T08:37:12Z"
