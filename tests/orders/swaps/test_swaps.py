"""Swaps over HTTP: what may be swapped, what the swap, its return and its cart look like, and what they cost."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.shops import Shop, free_countries, place, set_up
from tests.support.factories.swaps import Swapping, line_of, sent_order, swap_body, swap_of
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
TOTALS = ("subtotal", "discount_total", "shipping_total", "tax_total", "total")


def totals(cart: Row) -> tuple[int, ...]:
    return tuple(cart[name] for name in TOTALS)


def priced(cart: Row) -> list[tuple[int, int, bool]]:
    """(price, quantity, comes back) of the lines."""
    return [(line["unit_price"], line["quantity"], line["is_return"]) for line in cart["items"]]


async def state(api: Client, order: Row) -> tuple[Row, int]:
    """The order, and how many swaps there are."""
    current = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
    return current, (await api.ok("GET", "/admin/swaps", query={"limit": "1"}))["count"]


async def return_option(api: Client, shop: Shop, amount: int, **more: Any) -> str:
    """A shipping option for labels."""
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    body = {
        "name": f"Label {amount}",
        "region_id": shop.region,
        "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": amount,
        "is_return": True,
        "data": {"id": "manual-fulfillment-return"},
        **more,
    }
    return str((await api.ok("POST", "/admin/shipping-options", body))["shipping_option"]["id"])


# Making one


async def test_a_swap_is_made(api: Client, stack: Stack, shop: Shop, heard: list[Row]) -> None:
    order = await sent_order(api, shop)
    label = await return_option(api, shop, 400)
    body = swap_body(shop, order, back={shop.small: 1}, new={shop.large: 2}, shipping=250) | {
        "return_shipping": {"option_id": label, "price": 100},
        "return_location_id": "sloc_somewhere",
        "no_notification": True,
        "allow_backorder": False,
    }
    body["return_items"][0]["note"] = "Wrong fit"
    after = (await api.ok("POST", f"/admin/orders/{order['id']}/swaps", body))["order"]
    created = after["swaps"][0]
    assert {name: value for name, value in created.items() if not isinstance(value, dict | list)} == {
        "id": created["id"],
        "fulfillment_status": "not_fulfilled",
        "payment_status": "not_paid",
        "order_id": order["id"],
        "difference_due": None,
        "shipping_address_id": None,
        "shipping_address": None,
        "payment": None,
        "cart_id": created["cart_id"],
        "allow_backorder": False,
        "no_notification": True,
        "idempotency_key": created["idempotency_key"],
        "metadata": None,
        "confirmed_at": None,
        "canceled_at": None,
        "created_at": created["created_at"],
        "updated_at": created["created_at"],
        "deleted_at": None,
    }
    back = created["return_order"]
    # 10.00 less the label of 1.00
    assert (back["status"], back["refund_amount"], back["order_id"], back["swap_id"]) == (
        "requested",
        900,
        None,
        created["id"],
    )
    assert (back["location_id"], back["no_notification"], back["shipping_method"]["price"]) == (
        "sloc_somewhere",
        True,
        100,
    )
    assert [(i["item_id"], i["quantity"], i["note"]) for i in back["items"]] == [
        (line_of(order, shop.small), 1, "Wrong fit")
    ]
    assert [(i["unit_price"], i["quantity"], i["cart_id"]) for i in created["additional_items"]] == [
        (1500, 2, created["cart_id"])
    ]
    swap = (await api.ok("GET", f"/admin/swaps/{created['id']}"))["swap"]
    cart = swap["cart"]
    assert priced(cart) == [(1500, 2, False), (100, 1, True), (-1000, 1, True)]
    assert [line["title"] for line in cart["items"]][1:] == ["Return shipping", order["items"][0]["title"]]
    assert totals(cart) == (2100, 0, 0, 0, 2100)
    assert (cart["type"], cart["metadata"]) == ("swap", {"swap_id": created["id"], "parent_order_id": order["id"]})
    assert (swap["order"]["id"], swap["difference_due"], "confirmed_at" in swap) == (order["id"], None, False)
    listed = await api.ok("GET", "/admin/swaps", query={"limit": "1"})
    assert (listed["swaps"][0]["id"], listed["limit"], listed["offset"]) == (created["id"], 1, 0)
    assert set(listed["swaps"][0]) == {
        name for name, value in created.items() if not isinstance(value, dict | list)
    } - {
        "shipping_address",
        "payment",
    }
    # The order's own books stay as they are.
    same = ("total", "paid_total", "refundable_amount", "payment_status", "fulfillment_status", "returns")
    assert {name: after[name] for name in same} == {name: order[name] for name in same}

    async def emitted() -> Any:
        return next((e["data"] for e in heard if e["type"] == "swap.created"), None)

    assert await until(emitted) == {"id": created["id"], "order_id": order["id"], "no_notification": True}


async def test_repeated_with_its_key(api: Client, shop: Shop) -> None:
    order = await sent_order(api, shop)
    path, body = f"/admin/orders/{order['id']}/swaps", swap_body(shop, order, back={shop.large: 1}, new={shop.small: 1})
    first = await api.ok("POST", path, body)
    key = first["order"]["swaps"][0]["idempotency_key"]
    assert await api.post(path, body, headers={"Idempotency-Key": key}) == (200, first)
    other = body | {"no_notification": True}
    assert (await api.post(path, other, headers={"Idempotency-Key": key}))[0] == 409
    assert len((await state(api, order))[0]["swaps"]) == 1


async def test_returnable_items_come_along(api: Client, shop: Shop) -> None:
    order = await sent_order(api, shop)
    await api.ok("POST", f"/admin/orders/{order['id']}/shipment", {"fulfillment_id": order["fulfillments"][0]["id"]})
    body = swap_body(shop, order, back={shop.small: 1}, new={})
    after = await api.ok(
        "POST", f"/admin/orders/{order['id']}/swaps", body, {"fields": "id", "expand": "returnable_items,swaps"}
    )
    assert sorted(line["unit_price"] for line in after["order"]["returnable_items"]) == [1000, 1500]


async def test_what_cannot_be_swapped(api: Client, stack: Stack, shop: Shop) -> None:
    order, other = await sent_order(api, shop), await sent_order(api, shop)
    unsent = await place(api, shop)
    canceled = await place(api, shop)
    await api.ok("POST", f"/admin/orders/{canceled['id']}/cancel")
    small = line_of(order, shop.small)
    body = swap_body(shop, order, back={shop.small: 1}, new={shop.large: 1})
    before = await state(api, order)
    for change, status, type_ in (
        ({"return_items": []}, 400, "invalid_data"),
        ({"return_items": None}, 400, "invalid_data"),
        ({"return_items": [{"item_id": small, "quantity": 0}]}, 400, "invalid_data"),
        ({"return_items": [{"item_id": small, "quantity": 1.5}]}, 400, "invalid_data"),
        ({"return_items": [{"item_id": small, "quantity": 3}]}, 400, "not_allowed"),
        ({"return_items": [{"item_id": "item_missing", "quantity": 1}]}, 404, "not_found"),
        ({"return_items": [{"item_id": line_of(other, shop.small), "quantity": 1}]}, 404, "not_found"),
        ({"return_items": [{"item_id": small, "quantity": 1}] * 2}, 422, "duplicate_error"),
        ({"return_items": [{"item_id": small, "quantity": 1, "reason_id": "rr_missing"}]}, 404, "not_found"),
        ({"additional_items": [{"variant_id": "variant_missing", "quantity": 1}]}, 400, "invalid_data"),
        ({"additional_items": [{"variant_id": shop.large, "quantity": 0}]}, 400, "invalid_data"),
        ({"additional_items": [{"quantity": 1}]}, 400, "invalid_data"),
        ({"return_shipping": {"price": 5}}, 400, "invalid_data"),
        ({"return_shipping": {"option_id": "so_missing"}}, 404, "not_found"),
        ({"return_shipping": {"option_id": shop.shipping_option, "price": -1}}, 400, "invalid_data"),
        ({"custom_shipping_options": [{"option_id": shop.shipping_option}]}, 400, "invalid_data"),
        ({"custom_shipping_options": [{"option_id": shop.shipping_option, "price": -1}]}, 400, "invalid_data"),
        ({"custom_shipping_options": [{"option_id": "so_missing", "price": 1}]}, 404, "not_found"),
        ({"custom_shipping_options": [{"option_id": shop.shipping_option, "price": 1}] * 2}, 422, "duplicate_error"),
        ({"sales_channel_id": "sc_missing"}, 404, "not_found"),
        ({"sales_channel_id": ""}, 404, "not_found"),
        ({"allow_backorder": None}, 400, "invalid_data"),
        ({"no_notification": "yes"}, 400, "invalid_data"),
        ({"surprise": 1}, 400, "invalid_data"),
    ):
        got, answer = await api.post(f"/admin/orders/{order['id']}/swaps", body | change)
        assert (got, answer["type"]) == (status, type_), change
    for path, status in (
        ("/admin/orders/order_missing/swaps", 404),
        (f"/admin/orders/{unsent['id']}/swaps", 400),
        (f"/admin/orders/{canceled['id']}/swaps", 400),
    ):
        assert (await api.post(path, body))[0] == status
    assert await state(api, order) == before
    for query in ({"limit": "few"}, {"expand": "order"}, {"surprise": "1"}):
        assert (await api.get("/admin/swaps", query))[0] == 400
    assert (await api.get("/admin/swaps/swap_missing"))[0] == 404


async def test_a_channel_that_is_closed(api: Client, shop: Shop, uid: str) -> None:
    order = await sent_order(api, shop)
    channel = (await api.ok("POST", "/admin/sales-channels", {"name": uid, "is_disabled": True}))["sales_channel"]["id"]
    body = swap_body(shop, order, back={shop.small: 1}, new={}) | {"sales_channel_id": channel}
    status, answer = await api.post(f"/admin/orders/{order['id']}/swaps", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    await api.ok("POST", f"/admin/sales-channels/{channel}", {"is_disabled": False})
    created = (await api.ok("POST", f"/admin/orders/{order['id']}/swaps", body))["order"]["swaps"][0]
    cart = (await api.ok("GET", f"/admin/swaps/{created['id']}"))["swap"]["cart"]
    assert cart["sales_channel_id"] == channel


async def test_what_a_swap_has_sent_can_be_swapped(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    first = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1}, shipping=0)
    line = (await first.shown())["additional_items"][0]["id"]
    body = {"return_items": [{"item_id": line, "quantity": 1}]}
    created = (await api.ok("POST", f"/admin/orders/{order['id']}/swaps", body))["order"]["swaps"][-1]
    cart = (await api.ok("GET", f"/admin/swaps/{created['id']}"))["swap"]["cart"]
    assert (priced(cart), cart["total"]) == ([(-1500, 1, True)], -1500)
    await first.cancel_return()
    await first.ok("cancel")
    status, answer = await api.post(f"/admin/orders/{order['id']}/swaps", body)
    assert (status, answer["type"]) == (400, "not_allowed"), "nobody has what a canceled swap was to send"


# What it costs


async def test_taxes_discounts_and_the_label(api: Client, stack: Stack, uid: str) -> None:
    shop = await set_up(api, tax_rate=12.5)
    rule = {"type": "percentage", "value": 15, "allocation": "total"}
    discount = {"code": f"D{uid}", "regions": [shop.region], "is_dynamic": False, "is_disabled": False, "rule": rule}
    code = (await api.ok("POST", "/admin/discounts", discount))["discount"]["code"]
    order = await sent_order(api, shop, discounts=[{"code": code}])
    label = await return_option(api, shop, 333)
    swap = await swap_of(
        api,
        stack,
        shop,
        order,
        back={shop.small: 2},
        new={shop.large: 3},
        shipping=250,
        return_shipping={"option_id": label},
    )
    shown = await swap.shown()
    cart = shown["cart"]
    assert [[a["amount"] for a in line["adjustments"]] for line in cart["items"]] == [[675], [], [-300]]
    assert [[(t["rate"], "id" in t) for t in line["tax_lines"]] for line in cart["items"]] == [
        [],
        [(12.5, True)],
        [(12.5, True)],
    ]
    # (4500 - 675) + 333 - (2000 - 300), and 478 + 42 - 213 (212.5, half up of what is negative: -212) of tax
    assert totals(cart) == (2833, 375, 0, 478 + 42 - 212, 2833 - 375 + 308)
    assert shown["return_order"]["refund_amount"] == 1913 - (333 + 42)
    assert [line["refundable"] for line in (await swap.order_now())["swaps"][0]["additional_items"]] == [3825]
    done = await swap.confirm()
    # 2.50 of shipping and the 31 cents of tax on it
    assert done["difference_due"] == 2766 + 281
    after = await swap.shown()
    assert totals(after["cart"]) == (2833, 375, 250, 308 + 31, 3047)
    assert after["payment"]["amount"] == 3047
    assert [[(t["rate"], "id" in t) for t in line["tax_lines"]] for line in after["cart"]["items"]] == [
        [(12.5, True)]
    ] * 3
    assert [line["refundable"] for line in (await swap.order_now())["swaps"][0]["additional_items"]] == [4303]


async def test_a_part_takes_its_share_of_the_discount_along(api: Client, stack: Stack, uid: str) -> None:
    shop = await set_up(api)
    rule = {"type": "fixed", "value": 301, "allocation": "total"}
    discount = {"code": f"D{uid}", "regions": [shop.region], "is_dynamic": False, "is_disabled": False, "rule": rule}
    code = (await api.ok("POST", "/admin/discounts", discount))["discount"]["code"]
    order = await sent_order(api, shop, items=[{"variant_id": shop.small, "quantity": 2}], discounts=[{"code": code}])
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={})
    cart = (await swap.shown())["cart"]
    assert [[a["amount"] for a in line["adjustments"]] for line in cart["items"]] == [[-150.5]]
    assert (cart["discount_total"], cart["total"]) == (-150, -850)
    whole = await swap_of(api, stack, shop, await swap.order_now(), back={shop.small: 2}, new={})
    cart = (await whole.shown())["cart"]
    assert ([[a["amount"] for a in line["adjustments"]] for line in cart["items"]], cart["total"]) == ([[-301]], -1699)


async def test_free_shipping_is_not_taken_over(api: Client, stack: Stack, uid: str) -> None:
    shop = await set_up(api)
    rule = {"type": "free_shipping", "value": 0, "allocation": "total"}
    discount = {"code": f"F{uid}", "regions": [shop.region], "is_dynamic": False, "is_disabled": False, "rule": rule}
    code = (await api.ok("POST", "/admin/discounts", discount))["discount"]["code"]
    order = await sent_order(api, shop, discounts=[{"code": code}])
    assert order["shipping_total"] == 0
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    assert (await swap.shown())["cart"]["discounts"] == []
    assert (await swap.choose())["total"] == 500 + 500


async def test_prices_that_contain_their_tax(api: Client, stack: Stack, uid: str) -> None:
    await free_countries(api)
    shop = await gross_shop(api, uid)
    order = await sent_order(api, shop)
    label = await return_option(api, shop, 251, includes_tax=True)
    swap = await swap_of(
        api,
        stack,
        shop,
        order,
        back={shop.large: 1},
        new={shop.small: 3},
        return_shipping={"option_id": label},
    )
    shown = await swap.shown()
    # 3 x 1299 contain 780 (3 x 260), taxed 779 of 3117; 4501 contains 900; the label of 251 contains 50
    assert totals(shown["cart"]) == (3118 + 201 - 3601, 0, 0, 779 + 50 - 900, 3897 + 251 - 4501)
    assert shown["return_order"]["refund_amount"] == 4501 - 251
    equal = await swap_of(api, stack, shop, await swap.order_now(), back={shop.large: 1}, new={shop.large: 1})
    assert totals((await equal.shown())["cart"]) == (0, 0, 0, 0, 0)


async def gross_shop(api: Client, uid: str) -> Shop:
    """Prices of 12.99 and 45.01 that contain 25 % of tax."""
    region = {
        "name": f"Gross {uid}",
        "currency_code": "dkk",
        "tax_rate": 25,
        "includes_tax": True,
        "countries": ["de"],
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
    }
    region_id = (await api.ok("POST", "/admin/regions", region))["region"]["id"]
    channel = (await api.ok("GET", "/admin/store"))["store"]["default_sales_channel_id"]
    variants = [
        {
            "title": title,
            "manage_inventory": False,
            "prices": [{"region_id": region_id, "amount": amount}],
            "options": [{"value": title}],
        }
        for title, amount in (("Small", 1299), ("Large", 4501))
    ]
    product = {"title": f"Lamp {uid}", "status": "published", "options": [{"title": "Size"}], "variants": variants}
    created_product = (await api.ok("POST", "/admin/products", product | {"sales_channels": [{"id": channel}]}))[
        "product"
    ]
    shop = Shop(
        region_id, channel, "", created_product["id"], *(variant["id"] for variant in created_product["variants"])
    )
    shop.shipping_option = await return_option(api, shop, 499, includes_tax=True, is_return=False)
    return shop


# What belongs to the order only through its swap


async def test_its_return_is_received(api: Client, stack: Stack, shop: Shop, heard: list[Row]) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={shop.large: 1})
    back = (await swap.shown())["return_order"]["id"]
    body = {"items": [{"item_id": line_of(order, shop.small), "quantity": 1}]}
    received = (await api.ok("POST", f"/admin/returns/{back}/receive", body))["return"]
    assert (received["status"], received["swap"]["id"], received["order_id"]) == ("received", swap.id, None)
    after = await swap.order_now()
    assert [(line["unit_price"], line["returned_quantity"]) for line in after["items"]] == [(1000, 1), (1500, None)]
    assert (after["refunds"], after["fulfillment_status"]) == ([], order["fulfillment_status"])
    status, answer = await swap.post("cancel")
    assert (status, answer["type"]) == (400, "not_allowed")

    async def emitted() -> Any:
        return next((e["data"]["id"] for e in heard if e["type"] == "swap.received"), None)

    assert await until(emitted) == swap.id


async def test_an_order_with_a_swap_is_not_canceled(api: Client, stack: Stack, shop: Shop) -> None:
    order = await sent_order(api, shop)
    swap = await swap_of(api, stack, shop, order, back={shop.small: 1}, new={})
    fulfillment = order["fulfillments"][0]["id"]
    await api.ok("POST", f"/admin/orders/{order['id']}/fulfillments/{fulfillment}/cancel")
    assert (await api.post(f"/admin/orders/{order['id']}/cancel"))[0] == 400
    await swap.cancel_return()
    await swap.ok("cancel")
    assert (await api.post(f"/admin/orders/{order['id']}/cancel"))[0] == 200


@pytest.mark.parametrize("times", [4])
async def test_making_swaps_at_once(api: Client, stack: Stack, shop: Shop, times: int) -> None:
    """Each is a swap of its own; only what really came back can no longer come back."""
    order = await sent_order(api, shop)
    body = swap_body(shop, order, back={shop.small: 2}, new={shop.large: 1})
    answers = await asyncio.gather(*(api.post(f"/admin/orders/{order['id']}/swaps", body) for _ in range(times)))
    assert [status for status, _ in answers] == [200] * times
    swaps = (await state(api, order))[0]["swaps"]
    assert len({swap["cart_id"] for swap in swaps}) == times
    one = Swapping(api, api, shop, order, swaps[0]["id"], swaps[0]["cart_id"])
    assert (await one.shown())["cart"]["total"] == -500
