"""Shipments over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.waiting import until

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]


async def fulfilled(api: Client, order: Order, *quantities: int, **more: Any) -> tuple[str, str]:
    """(path of the order, id of a new fulfillment) of its lines in these quantities."""
    path = f"/admin/orders/{order['id']}"
    lines = sorted(order["items"], key=lambda line: int(line["unit_price"]))
    items = [{"item_id": line["id"], "quantity": q} for line, q in zip(lines, quantities, strict=False) if q]
    answer = (await api.ok("POST", f"{path}/fulfillment", {"items": items} | more))["order"]
    return path, str(max(f["id"] for f in answer["fulfillments"]))


def shipped(order: Order) -> list[int | None]:
    return [line["shipped_quantity"] for line in sorted(order["items"], key=lambda line: int(line["unit_price"]))]


async def test_in_two_fulfillments(api: Client, ordered: Ordered, heard: list[dict[str, Any]]) -> None:
    order = await ordered()
    path, first = await fulfilled(api, order, 1)
    body = {"fulfillment_id": first, "tracking_numbers": ["DHL-1", "DHL-2"], "no_notification": False}
    answer = (await api.ok("POST", f"{path}/shipment", body))["order"]
    fulfillment = answer["fulfillments"][0]
    assert (answer["fulfillment_status"], shipped(answer)) == ("partially_shipped", [1, None])
    assert (fulfillment["no_notification"], fulfillment["tracking_numbers"]) == (False, [])
    assert fulfillment["shipped_at"] is not None
    assert fulfillment["tracking_links"] == [
        {
            "id": link["id"],
            "tracking_number": number,
            "url": None,
            "fulfillment_id": first,
            "idempotency_key": None,
            "metadata": None,
            "created_at": fulfillment["shipped_at"],
            "updated_at": fulfillment["shipped_at"],
            "deleted_at": None,
        }
        for link, number in zip(fulfillment["tracking_links"], ("DHL-1", "DHL-2"), strict=True)
    ]
    _, second = await fulfilled(api, order, 1, 1)
    answer = (await api.ok("POST", f"{path}/shipment", {"fulfillment_id": second}))["order"]
    assert (answer["fulfillment_status"], shipped(answer)) == ("shipped", [2, 1])

    async def emitted() -> bool:
        return len([e for e in heard if (e["type"], e["subject"]) == ("order.shipment_created", order["id"])]) == 2

    await until(emitted)
    event = next(e for e in heard if e["type"] == "order.shipment_created" and e["subject"] == order["id"])
    assert event["data"] == {
        "id": order["id"],
        "fulfillment_id": first,
        "tracking_numbers": ["DHL-1", "DHL-2"],
        "no_notification": False,
    }


async def test_no_notification_is_what_is_said_when_it_ships(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path, first = await fulfilled(api, order, 1, no_notification=True)
    answer = (await api.ok("POST", f"{path}/shipment", {"fulfillment_id": first}))["order"]
    assert answer["fulfillments"][0]["no_notification"] is None
    _, second = await fulfilled(api, order, 1, no_notification=True)
    body = {"fulfillment_id": second, "no_notification": False}
    answer = (await api.ok("POST", f"{path}/shipment", body))["order"]
    assert [f["no_notification"] for f in answer["fulfillments"] if f["id"] == second] == [False]


async def test_what_was_shipped_can_come_back(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path, first = await fulfilled(api, order, 1)
    await api.ok("POST", f"{path}/shipment", {"fulfillment_id": first})
    query = {"expand": "returnable_items", "fields": "id"}
    answer = (await api.ok("GET", path, query=query))["order"]
    assert [(line["unit_price"], line["shipped_quantity"]) for line in answer["returnable_items"]] == [(1000, 1)]


async def test_a_fulfillment_is_shipped_once(api: Client, ordered: Ordered) -> None:
    order = await ordered()
    path, first = await fulfilled(api, order, 2)
    body = {"fulfillment_id": first, "tracking_numbers": ["A"]}
    answers = await asyncio.gather(*(api.post(f"{path}/shipment", body) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 4
    answer = (await api.ok("GET", path))["order"]
    assert shipped(answer) == [2, None]
    assert len(answer["fulfillments"][0]["tracking_links"]) == 1


async def test_unknown_fulfillments(api: Client, ordered: Ordered) -> None:
    order, other = await ordered(), await ordered()
    path, fulfillment = await fulfilled(api, order, 1)
    for where, which in (
        (path, "ful_missing"),
        (f"/admin/orders/{other['id']}", fulfillment),
        ("/admin/orders/order_missing", fulfillment),
    ):
        status, answer = await api.post(f"{where}/shipment", {"fulfillment_id": which})
        assert (status, answer["type"]) == (404, "not_found")
    assert shipped((await api.ok("GET", path))["order"]) == [None, None]


@pytest.mark.parametrize(
    "change",
    [
        {"fulfillment_id": ""},
        {"fulfillment_id": None},
        {"tracking_numbers": "X"},
        {"tracking_numbers": [1]},
        {"no_notification": "no"},
        {"items": []},
    ],
)
async def test_bad_shipments_are_refused(api: Client, change: dict[str, Any]) -> None:
    status, answer = await api.post("/admin/orders/order_missing/shipment", {"fulfillment_id": "ful_1"} | change)
    assert (status, answer["type"]) == (400, "invalid_data")
