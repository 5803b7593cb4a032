"""The label of what comes back for a swap or a claim: a carrier that is asked over the network makes it, as it does for
the return of an order (test_fulfillment_providers.py). When somebody dies of it: tests/faults/test_return_labels.py.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.orders import fulfillment_providers
from tests.support.client import Client
from tests.support.factories.carriers import option, served
from tests.support.factories.shops import Shop
from tests.support.factories.swaps import line_of, sent_order, swap_body
from tests.support.fake_carrier import FakeCarrier
from tests.support.invariants import check_books
from tests.support.stack import Stack
from tests.support.waiting import until

Row = dict[str, Any]
Asking = Callable[..., tuple[str, Row]]


@pytest.fixture
async def shop(api: Client, carrier: FakeCarrier) -> Shop:
    return await served(api)


@pytest.fixture
async def order(api: Client, shop: Shop) -> Row:
    """2 of the small variant and 1 of the large, sent by hand."""
    return await sent_order(api, shop)


@pytest.fixture
async def label(api: Client, shop: Shop) -> Row:
    """A label of the carrier's: 7.00."""
    return {"return_shipping": {"option_id": await option(api, shop, "express-return", returns=True)}}


@pytest.fixture(params=["swaps", "claims"])
def asking(request: pytest.FixtureRequest, shop: Shop, order: Row, label: Row) -> Asking:
    """Path and body of a swap, or a claim, of 1 of the small variant, which comes back with the label."""

    def make(**more: Any) -> tuple[str, Row]:
        body = swap_body(shop, order, back={shop.small: 1}, new={shop.large: 1})
        if request.param == "claims":
            item = {"item_id": line_of(order, shop.small), "quantity": 1, "reason": "wrong_item"}
            body = {"type": "refund", "claim_items": [item], "refund_amount": 900}
        return f"/admin/orders/{order['id']}/{request.param}", body | label | more

    return make


async def shown(api: Client, order: Row) -> Row:
    current: Row = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
    return current


def returned(order: Row) -> list[Row]:
    """The returns of all swaps and claims of the order."""
    return [owner["return_order"] for owner in order["swaps"] + order["claims"]]


async def test_the_carrier_makes_it(
    api: Client, stack: Stack, shop: Shop, order: Row, label: Row, carrier: FakeCarrier, asking: Asking
) -> None:
    path, body = asking(no_notification=True)
    status, answer = await api.post(path, body, headers={"Idempotency-Key": f"label {order['id']}"})
    assert status == 200, answer
    (return_,) = returned(await shown(api, order))
    assert carrier.labels == {return_["id"]: "waiting"}
    document = {"name": "label", "url": f"https://carrier.example/{return_['id']}.pdf"}
    assert return_["shipping_data"] == {"number": "C-1", "documents": [document]}
    assert (return_["status"], return_["no_notification"]) == ("requested", True)
    assert return_["shipping_method"]["price"] == 700
    requested = carrier.bodies[-1]
    assert (
        requested.pop("method").items()
        >= {
            "provider_id": "courier",
            "option_id": label["return_shipping"]["option_id"],
            "price": 700,
        }.items()
    )
    item = {"item_id": line_of(order, shop.small), "quantity": 1}
    assert requested == {"id": return_["id"], "order": {"id": order["id"]}, "items": [item]}
    assert await api.post(path, body, headers={"Idempotency-Key": f"label {order['id']}"}) == (200, answer)
    assert (len(returned(await shown(api, order))), carrier.times("labels")) == (1, 1)
    await check_books(stack, order["id"])


async def test_what_it_refuses_changes_nothing(
    api: Client, stack: Stack, order: Row, carrier: FakeCarrier, asking: Asking
) -> None:
    before = await shown(api, order)
    carrier.refused.add("labels")
    status, answer = await api.post(*asking())
    assert (status, answer["type"], answer["message"]) == (400, "not_allowed", "Not on Sundays.")
    assert (await shown(api, order), carrier.labels) == (before, {})
    # Broken after it had written the label down: it is told that there is none.
    carrier.refused, carrier.broken = set(), {"labels"}
    status, answer = await api.post(*asking())
    assert (status, answer["type"]) == (503, "unavailable")
    assert (await shown(api, order), list(carrier.labels.values())) == (before, ["canceled"])
    assert (await check_books(stack, order["id"]))["refunded_total"] == 0


async def test_a_carrier_that_was_removed(api: Client, order: Row, carrier: FakeCarrier, asking: Asking) -> None:
    before = await shown(api, order)
    courier = fulfillment_providers.providers().pop("courier")
    status, answer = await api.post(*asking())
    fulfillment_providers.providers()["courier"] = courier
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await shown(api, order), carrier.requests) == (before, [])


async def test_what_cannot_be_is_not_asked_for(api: Client, order: Row, carrier: FakeCarrier, asking: Asking) -> None:
    path, body = asking()
    (items,) = [body[name] for name in ("return_items", "claim_items") if name in body]
    items[0]["quantity"] = 3
    assert (await api.post(path, body))[0] == 400
    assert (returned(await shown(api, order)), carrier.requests) == ([], [])


async def test_nothing_comes_back_meanwhile(
    api: Client, stack: Stack, shop: Shop, order: Row, carrier: FakeCarrier, asking: Asking
) -> None:
    carrier.hold = asyncio.Event()
    request = asyncio.create_task(api.post(*asking()))

    async def arrived() -> bool:
        return carrier.times("labels") == 1

    await until(arrived)
    back = {"items": [{"item_id": line_of(order, shop.small), "quantity": 1}]}
    for path, body in (asking(), (f"/admin/orders/{order['id']}/return", back)):
        assert (await api.post(path, body))[0] == 409
    carrier.hold.set()
    carrier.hold = None
    assert (await request)[0] == 200
    (return_,) = returned(after := await shown(api, order))
    assert [one["id"] for one in after["returns"]] in ([], [return_["id"]])  # those of claims are shown twice
    assert carrier.labels == {return_["id"]: "waiting"}


async def test_a_swap_of_an_order_that_was_refunded_meanwhile(
    api: Client, shop: Shop, order: Row, label: Row, carrier: FakeCarrier
) -> None:
    """All of its money went back while the carrier made the label: there is no swap, and the label is canceled."""
    carrier.hold = asyncio.Event()
    body = swap_body(shop, order, back={shop.small: 1}, new={shop.large: 1}) | label
    request = asyncio.create_task(api.post(f"/admin/orders/{order['id']}/swaps", body))

    async def arrived() -> bool:
        return carrier.times("labels") == 1

    await until(arrived)
    refund = {"amount": order["total"], "reason": "other"}
    await api.ok("POST", f"/admin/orders/{order['id']}/refund", refund)
    carrier.hold.set()
    carrier.hold = None
    status, answer = await request
    assert (status, answer["type"]) == (400, "not_allowed")
    assert ((await shown(api, order))["swaps"], list(carrier.labels.values())) == ([], ["canceled"])
