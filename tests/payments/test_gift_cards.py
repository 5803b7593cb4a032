"""Gift cards: by hand, and sold in orders."""

import asyncio
import re
import secrets
from typing import Any

import asyncpg
import pytest

from services.chassis.ids import new_id
from services.orders import remote
from services.payments import gift_card_issue
from services.payments.gift_cards import card_tax_rate, new_code
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.gift_cards import sell_voucher
from tests.support.factories.shops import Shop, place, set_up
from tests.support.stack import Stack
from tests.support.waiting import until

CARDS = "/admin/gift-cards"


@pytest.fixture
async def shop(api: Client) -> Shop:
    return await set_up(api, tax_rate=10)


async def make(api: Client, shop: Shop, **more: Any) -> dict[str, Any]:
    """A card of 50.00, without its times."""
    card: dict[str, Any] = (await api.ok("POST", CARDS, {"region_id": shop.region, "value": 5000} | more))["gift_card"]
    return card


async def found(api: Client, q: str, **query: str) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = (await api.ok("GET", CARDS, query={"q": q} | query))["gift_cards"]
    return cards


async def cards_of(stack: Stack, order_id: str) -> list[dict[str, Any]]:
    """What is stored of the cards that an order sold."""
    connection = await asyncpg.connect(stack.databases["payments"])
    try:
        rows = await connection.fetch("select * from gift_cards where order_id = $1 order by unit", order_id)
    finally:
        await connection.close()
    return [dict(row) for row in rows]


def order_of(**more: Any) -> dict[str, Any]:
    """What orders tells of an order of two vouchers and a shirt, 50.00 each, and 20 % tax."""
    line = {"quantity": 2, "subtotal": 10000, "is_giftcard": True, "tax_rate": 20, "metadata": {"to": "Bob"}}
    return {
        "id": new_id("order"),
        "display_id": 77_000_001,
        "region_id": new_id("reg"),
        "total": 18000,
        "gift_cards_taxable": True,
        "region_tax_rate": 10,
        "items": [
            line | {"id": new_id("item")},
            line | {"id": new_id("item"), "is_giftcard": False, "quantity": 1, "subtotal": 5000},
        ],
    } | more


async def pay(ask: Ask, order: dict[str, Any]) -> str:
    """A payment of the order's total, authorized."""
    payment_id = new_id("pay")
    body = {"payment_id": payment_id, "order_id": order["id"], "amount": order["total"], "currency_code": "eur"}
    await ask("authorize", body | {"provider_id": "manual"}, key=payment_id)
    return payment_id


# By hand


async def test_create(api: Client, shop: Shop, heard: list[dict[str, Any]]) -> None:
    card = await make(api, shop, ends_at="2099-01-01T00:00:00.000Z", metadata={"to": "ada", "note": ""})
    region = (await api.ok("GET", f"/admin/regions/{shop.region}", query={"expand": ""}))["region"]
    assert re.fullmatch(r"gift_[0-9A-Z]{26}", card["id"])
    assert re.fullmatch(r"[A-Z0-9]{4}(-[A-Z0-9]{4}){3}", card["code"])
    assert card == {
        "id": card["id"],
        "code": card["code"],
        "value": 5000,
        "balance": 5000,
        "region_id": shop.region,
        "region": region,
        "order": None,
        "is_disabled": False,
        "ends_at": "2099-01-01T00:00:00.000Z",
        "tax_rate": 10,
        "metadata": {"to": "ada", "note": ""},
        "created_at": card["created_at"],
        "updated_at": card["created_at"],
        "deleted_at": None,
    }
    assert (await api.ok("GET", f"{CARDS}/{card['id']}"))["gift_card"] == card

    async def told() -> Any:
        return [e for e in heard if e["subject"] == card["id"]]

    (event,) = await until(told)
    assert (event["type"], event["data"]) == ("gift_card.created", {"id": card["id"], "order_id": None})


async def test_create_once_for_a_key(api: Client, shop: Shop) -> None:
    body, headers = {"region_id": shop.region, "value": 700}, {"Idempotency-Key": new_code()}
    answers = await asyncio.gather(*(api.post(CARDS, body, headers=headers) for _ in range(4)))
    assert [status for status, _ in answers] == [200] * 4
    assert all(answer == answers[0] for answer in answers)


async def test_the_region_decides_the_tax_rate_now(api: Client, shop: Shop) -> None:
    assert (await make(api, shop))["tax_rate"] == 10
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 0})
    assert (await make(api, shop))["tax_rate"] is None
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 12.5})
    assert (await make(api, shop))["tax_rate"] == 12.5
    await api.ok("POST", f"/admin/regions/{shop.region}", {"gift_cards_taxable": False})
    card = await make(api, shop)
    assert (card["tax_rate"], card["region"]["gift_cards_taxable"]) == (None, False)


@pytest.mark.parametrize(
    ("taxable", "rate", "region_rate", "expected"),
    [
        (True, 20, 10, 20),
        (True, 0, 10, 10),
        (True, None, 10, 10),
        (True, None, 0, None),
        (True, 0, None, None),
        (False, 20, 10, None),
    ],
)
def test_card_tax_rate(taxable: bool, rate: float | None, region_rate: float | None, expected: float | None) -> None:
    assert card_tax_rate(region_rate, taxable=taxable, rate=rate) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"value": "10"},
        {"value": 10.5},
        {"value": -1},
        {"value": 2**63},
        {"region_id": None},
        {"is_disabled": None},
        {"is_disabled": "yes"},
        {"ends_at": "soon"},
        {"metadata": []},
        {"colour": "red"},
        {"balance": 10},
    ],
)
async def test_create_refused(api: Client, shop: Shop, change: dict[str, Any]) -> None:
    before = (await api.ok("GET", CARDS, query={"limit": "1"}))["count"]
    status, answer = await api.post(CARDS, {"region_id": shop.region, "value": 10} | change)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await api.ok("GET", CARDS, query={"limit": "1"}))["count"] == before


async def test_unknown_region(api: Client, shop: Shop) -> None:
    status, answer = await api.post(CARDS, {"region_id": "reg_missing", "value": 10})
    assert (status, answer["type"]) == (404, "not_found")
    card = await make(api, shop)
    status, answer = await api.post(f"{CARDS}/{card['id']}", {"region_id": "reg_missing", "balance": 1})
    assert (status, answer["type"]) == (404, "not_found")
    await api.ok("DELETE", f"/admin/regions/{shop.region}")
    assert (await api.post(CARDS, {"region_id": shop.region, "value": 10}))[0] == 404

    async def gone() -> Any:
        return (await api.ok("GET", f"{CARDS}/{card['id']}"))["gift_card"] == card | {"region": None}

    await until(gone)


async def test_a_region_that_was_never_heard_of(api: Client, stack: Stack, shop: Shop) -> None:
    card = await make(api, shop)
    connection = await asyncpg.connect(stack.databases["payments"])
    try:
        await connection.execute("delete from copies where kind = 'region' and id = $1", shop.region)
    finally:
        await connection.close()
    assert await found(api, card["code"]) == [card]


async def test_update(api: Client, shop: Shop) -> None:
    card = await make(api, shop, ends_at="2099-01-01T00:00:00Z", metadata={"a": 1, "b": 2, "c": ""})
    path = f"{CARDS}/{card['id']}"
    us = (
        await api.ok(
            "POST",
            "/admin/regions",
            {
                "name": "US",
                "currency_code": "usd",
                "tax_rate": 3,
                "countries": ["us"],
                "payment_providers": ["manual"],
                "fulfillment_providers": ["manual"],
            },
        )
    )["region"]["id"]
    body = {"balance": 1200, "is_disabled": True, "ends_at": None, "region_id": us, "metadata": {"b": "", "d": None}}
    changed = (await api.ok("POST", path, body))["gift_card"]
    assert changed["region"]["id"] == us
    assert changed == card | {
        "balance": 1200,
        "is_disabled": True,
        "ends_at": None,
        "region_id": us,
        "region": changed["region"],
        "metadata": {"a": 1, "c": "", "d": None},
        "updated_at": changed["updated_at"],
    }
    changed = (await api.ok("POST", path, {"balance": 0, "metadata": None, "region_id": None}))["gift_card"]
    assert (changed["balance"], changed["metadata"]["a"], changed["region_id"]) == (0, 1, us)
    assert (await api.ok("POST", path, {"balance": 5000}))["gift_card"]["balance"] == 5000


@pytest.mark.parametrize(
    "body",
    [
        {"balance": 5001},
        {"balance": -1},
        {"balance": 10.5},
        {"balance": None},
        {"is_disabled": None},
        {"value": 9000},
        {"code": "MINE"},
        {"ends_at": "soon"},
    ],
)
async def test_update_refused(api: Client, shop: Shop, body: dict[str, Any]) -> None:
    card = await make(api, shop)
    status, answer = await api.post(f"{CARDS}/{card['id']}", {"metadata": {"a": 1}} | body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await api.ok("GET", f"{CARDS}/{card['id']}"))["gift_card"] == card


async def test_delete(api: Client, shop: Shop, heard: list[dict[str, Any]]) -> None:
    card = await make(api, shop)
    path = f"{CARDS}/{card['id']}"
    for _ in range(2):
        assert await api.ok("DELETE", path) == {"id": card["id"], "object": "gift-card", "deleted": True}
    for method in ("GET", "POST"):
        status, answer = await api.request(method, path, None if method == "GET" else {"balance": 1})
        assert (status, answer["type"]) == (404, "not_found")
    assert await found(api, card["code"]) == []
    await make(api, shop)  # its event comes last

    async def told() -> Any:
        names = [e["type"] for e in heard if e["subject"] == card["id"]]
        return names if len(heard) > 2 else None

    assert await until(told) == ["gift_card.created", "gift_card.deleted"]


async def test_list(api: Client, shop: Shop) -> None:
    first, second = await make(api, shop), await make(api, shop, is_disabled=True)
    answer = await api.ok("GET", CARDS, query={"limit": "2"})
    assert answer == {"gift_cards": [second, first], "count": answer["count"], "offset": 0, "limit": 2}
    answer = await api.ok("GET", CARDS, query={"limit": "1", "offset": "1", "order": "-created_at"})
    assert answer["gift_cards"] == [first]
    assert await found(api, first["code"].lower()) == [first]
    assert first in await found(api, first["code"][3:12])
    assert await found(api, "%") == []
    answer = await api.ok("GET", CARDS, query={"order": "created_at", "limit": "1", "offset": str(answer["count"] - 1)})
    assert answer["gift_cards"] == [second]


@pytest.mark.parametrize(
    "query",
    [{"limit": "many"}, {"offset": "-1"}, {"order": "nope"}, {"expand": "region"}, {"fields": "id"}, {"code": "A"}],
)
async def test_list_refused(api: Client, query: dict[str, str]) -> None:
    status, answer = await api.get(CARDS, query)
    assert (status, answer["type"]) == (400, "invalid_data")


# Sold


async def test_sold_in_an_order(api: Client, shop: Shop) -> None:
    voucher = await sell_voucher(api, shop)
    items = [
        {"variant_id": voucher, "quantity": 2, "metadata": {"to": "Bob"}},
        {"variant_id": shop.small, "quantity": 1},
    ]
    order = await place(api, shop, items=items)
    cards = (await api.ok("GET", CARDS, query={"limit": "2"}))["gift_cards"]
    for card in cards:
        assert {name: card[name] for name in ("value", "balance", "tax_rate", "metadata", "region_id")} == {
            "value": 5000,
            "balance": 5000,
            "tax_rate": 10,
            "metadata": {"to": "Bob"},
            "region_id": shop.region,
        }
        assert (card["order"]["id"], card["order"]["payment_status"]) == (order["id"], "captured")
        assert card["region"]["id"] == shop.region
    by_number = await found(api, str(order["display_id"]))
    assert [card for card in by_number if card["order"] and card["order"]["id"] == order["id"]] == cards
    assert (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]["gift_cards"] == []
    # The order is shown as it is now.
    await api.ok("POST", f"/admin/orders/{order['id']}/cancel")
    assert (await api.ok("GET", f"{CARDS}/{cards[0]['id']}"))["gift_card"]["order"]["status"] == "canceled"


async def test_sold_where_cards_are_not_taxed(api: Client, shop: Shop) -> None:
    await api.ok("POST", f"/admin/regions/{shop.region}", {"gift_cards_taxable": False})
    await place(api, shop, items=[{"variant_id": await sell_voucher(api, shop), "quantity": 1}])
    (card,) = (await api.ok("GET", CARDS, query={"limit": "1"}))["gift_cards"]
    assert (card["value"], card["tax_rate"], card["metadata"]) == (5000, None, {})


async def test_sold_by_event_alone(api: Client, stack: Stack, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> None:
        """The broker was lost, or the process died."""

    monkeypatch.setattr(remote, "notify_gift_cards_sold", silent)
    order = await place(api, shop, items=[{"variant_id": await sell_voucher(api, shop), "quantity": 3}])

    async def made() -> Any:
        return await cards_of(stack, order["id"])

    assert [(c["unit"], c["value"], c["tax_rate"]) for c in await until(made)] == [(n, 5000, 10) for n in (1, 2, 3)]


async def test_found_by_the_number_of_the_order(api: Client, ask: Ask) -> None:
    order = order_of(total=0, display_id=70_000_000 + secrets.randbelow(10_000_000))
    await ask("sell_gift_cards", order)
    cards = await found(api, str(order["display_id"]))
    assert [(card["value"], card["order"], card["region"]) for card in cards] == [(5000, None, None)] * 2
    assert await found(api, str(order["display_id"])[:7]) == []


async def test_what_is_told_often_is_sold_once(stack: Stack, ask: Ask) -> None:
    order = order_of()
    await ask("capture", {"payment_id": await pay(ask, order)})
    await asyncio.gather(*(ask("sell_gift_cards", order) for _ in range(8)))
    cards = await cards_of(stack, order["id"])
    assert [(c["line_item_id"], c["unit"], c["value"], c["tax_rate"]) for c in cards] == [
        (order["items"][0]["id"], 1, 5000, 20),
        (order["items"][0]["id"], 2, 5000, 20),
    ]


async def test_cards_wait_for_the_money(stack: Stack, ask: Ask) -> None:
    order = order_of()
    payment_id = await pay(ask, order)
    await ask("sell_gift_cards", order)
    assert await cards_of(stack, order["id"]) == []
    await ask("capture", {"payment_id": payment_id})

    async def made() -> Any:
        return await cards_of(stack, order["id"])

    assert len(await until(made)) == 2


async def test_paid_and_sold_at_once(stack: Stack, ask: Ask) -> None:
    orders = [order_of() for _ in range(8)]
    payments = [await pay(ask, order) for order in orders]
    await asyncio.gather(
        *(ask("sell_gift_cards", order) for order in orders),
        *(ask("capture", {"payment_id": payment_id}) for payment_id in payments),
    )

    async def made() -> Any:
        return [len(await cards_of(stack, order["id"])) for order in orders] == [2] * len(orders)

    await until(made)


async def test_canceled_payment_buys_nothing(stack: Stack, ask: Ask) -> None:
    order = order_of()
    payment_id = await pay(ask, order)
    await ask("capture", {"payment_id": payment_id})
    await ask("cancel", {"payment_id": payment_id})
    await ask("sell_gift_cards", order)
    assert await cards_of(stack, order["id"]) == []


async def test_what_costs_nothing_is_paid(stack: Stack, ask: Ask) -> None:
    order = order_of(total=0)
    order["items"][0] |= {"subtotal": 0, "tax_rate": None, "metadata": None}
    await ask("sell_gift_cards", order)
    cards = await cards_of(stack, order["id"])
    assert [(c["value"], c["tax_rate"], c["metadata"]) for c in cards] == [(0, 10, "{}")] * 2


async def test_many_cards_are_made_in_batches(stack: Stack, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gift_card_issue, "BATCH", 3)
    order = order_of(total=0)
    order["items"][0] |= {"quantity": 7, "subtotal": 100}
    order["items"][1] |= {"quantity": 2, "subtotal": 100, "is_giftcard": True}
    await ask("sell_gift_cards", order)

    async def made() -> Any:
        cards = await cards_of(stack, order["id"])
        return cards if len(cards) == 9 else None

    cards = await until(made)
    assert len({c["created_at"] for c in cards}) >= 3
    lines = [line["id"] for line in order["items"]]
    assert sorted((lines.index(c["line_item_id"]), c["unit"], c["value"]) for c in cards) == [
        *((0, unit, 14) for unit in range(1, 8)),
        *((1, unit, 50) for unit in range(1, 3)),
    ]
