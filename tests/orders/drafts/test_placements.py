"""Paying a draft order: the order, its money and its stock, also when something fails or the process dies half-way."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from services.chassis import saga_rows
from services.chassis.errors import NotAllowed, Unavailable
from services.chassis.keys import SETTINGS
from services.orders import remote
from services.orders.drafts import placements
from services.orders.drafts.parts import load_draft
from services.orders.pricing import quotes
from tests.support.client import Client
from tests.support.factories.drafts import ID, Draft, make, shown
from tests.support.factories.shops import Shop, set_up
from tests.support.locks import waits
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]


async def pay(api: Client, draft: Draft, **headers: str) -> tuple[int, Any]:
    return await api.post(ID.format(draft["id"]) + "/pay", headers=headers)


async def orders_of(stack: Stack, draft: Draft) -> list[str]:
    rows = await stack.pool("orders").fetch("select id from orders where draft_order_id = $1", draft["id"])
    return [row["id"] for row in rows]


async def payments_of(stack: Stack, draft: Draft) -> list[Any]:
    """As the payments service has them."""
    rows = await stack.pool("payments").fetch(
        "select amount, captured_at is not null as captured, canceled_at is not null as canceled "
        "from payments where cart_id = $1",
        draft["cart_id"],
    )
    return [tuple(row) for row in rows]


async def expire(stack: Stack, kind: str, subject: str) -> None:
    """As if the process that runs the saga had died some time ago."""
    await stack.pool("orders").execute(
        "update sagas set leased_by = 'dead', leased_until = now() - interval '1 second' "
        "where kind = $1 and subject = $2 and status in ('running', 'compensating')",
        kind,
        subject,
    )


async def test_pay(api: Client, stack: Stack, shop: Shop, heard: list[dict[str, Any]]) -> None:
    items = [{"variant_id": shop.small, "quantity": 2, "metadata": {"x": 1}}, {"title": "Wrap", "quantity": 1}]
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 20})
    draft = await make(api, shop, items=items, no_notification_order=True, metadata={"channel": "phone"})
    status, answer = await pay(api, draft)
    order = answer["order"]
    assert status == 200
    assert (order["status"], order["fulfillment_status"], order["payment_status"]) == (
        "pending",
        "not_fulfilled",
        "captured",
    )
    assert (order["cart_id"], order["draft_order_id"]) == (draft["cart_id"], draft["id"])
    assert (order["no_notification"], order["metadata"]) == (True, {"channel": "phone"})
    assert (order["subtotal"], order["tax_total"], order["shipping_total"]) == (2000, 500, 500)
    assert order["total"] == order["paid_total"] == order["refundable_amount"] == 3000
    assert [(p["amount"], p["provider_id"], p["captured_at"] is None) for p in order["payments"]] == [
        (3000, "system", False)
    ]
    shirt, wrap = order["items"]
    assert (shirt["order_id"], shirt["metadata"], shirt["refundable"]) == (order["id"], {"x": 1}, 2400)
    assert [line["rate"] for line in shirt["tax_lines"]] == [20]
    assert shirt["tax_lines"][0]["id"].startswith("litl_")
    assert wrap["tax_lines"] == []
    assert await payments_of(stack, draft) == [(3000, True, False)]

    closed = await shown(api, draft)
    assert (closed["status"], closed["order_id"], closed["order"]["id"]) == ("completed", order["id"], order["id"])
    assert closed["cart"]["payment"]["id"] == order["payments"][0]["id"]
    assert [s["status"] for s in closed["cart"]["payment_sessions"]] == ["authorized"]

    async def emitted() -> Any:
        return [e for e in heard if e["type"] == "order.placed" and e["subject"] == order["id"]]

    (placed,) = await until(emitted)
    assert placed["data"] == placed["data"] | {
        "id": order["id"],
        "display_id": order["display_id"],
        "email": order["email"],
        "total": 3000,
        "currency_code": "eur",
        "no_notification": True,
    }
    assert [(i["id"], i["quantity"], i["is_giftcard"]) for i in placed["data"]["items"]] == [
        (shirt["id"], 2, False),
        (wrap["id"], 1, False),
    ]


async def test_taxes_are_frozen(api: Client, shop: Shop) -> None:
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 20})
    draft = await make(api, shop)
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 10})
    order = (await pay(api, draft))[1]["order"]
    assert (order["tax_total"], order["items"][0]["tax_lines"][0]["rate"]) == (250, 10)
    await api.ok("POST", f"/admin/regions/{shop.region}", {"tax_rate": 50})
    again = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
    assert (again["tax_total"], again["total"], again["items"]) == (250, 2750, order["items"])


async def test_what_costs_nothing_needs_no_payment(api: Client, stack: Stack, shop: Shop) -> None:
    methods = [{"option_id": shop.shipping_option, "price": 0}]
    draft = await make(api, shop, items=[{"title": "Sample", "quantity": 1}], shipping_methods=methods)
    order = (await pay(api, draft))[1]["order"]
    assert (order["total"], order["payments"], order["payment_status"]) == (0, [], "captured")
    assert await payments_of(stack, draft) == []


async def test_an_empty_draft_cannot_be_paid(api: Client, stack: Stack, shop: Shop) -> None:
    draft = await make(api, shop, items=[])
    status, answer = await pay(api, draft)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await orders_of(stack, draft) == []
    assert (await shown(api, draft))["status"] == "open"


async def test_paid_once(api: Client, stack: Stack, shop: Shop) -> None:
    draft = await make(api, shop)
    answers = await asyncio.gather(*(pay(api, draft) for _ in range(6)))
    statuses = sorted(status for status, _ in answers)
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {409, 422}
    assert {a["code"] for status, a in answers if status != 200} <= {"invalid_state_error", "invalid_request_error"}
    assert len(await orders_of(stack, draft)) == 1
    assert await payments_of(stack, draft) == [(2500, True, False)]
    status, refusal = await pay(api, draft)
    assert (status, refusal["type"], refusal["code"]) == (422, "duplicate_error", "invalid_request_error")


async def test_an_idempotency_key_is_answered_again(api: Client, stack: Stack, shop: Shop, uid: str) -> None:
    draft = await make(api, shop)
    key = {"Idempotency-Key": f"pay-{uid}"}
    first = await pay(api, draft, **key)
    assert first[0] == 200
    assert await pay(api, draft, **key) == first
    assert len(await orders_of(stack, draft)) == 1


async def test_paying_and_changing_at_once(api: Client, stack: Stack, shop: Shop) -> None:
    """Whatever comes first, the order is what was paid for."""
    for _ in range(4):
        draft = await make(api, shop)
        path = ID.format(draft["id"]) + "/line-items"
        (paid, answer), (added, refusal) = await asyncio.gather(
            pay(api, draft), api.post(path, {"title": "Late", "unit_price": 100, "quantity": 1})
        )
        assert paid == 200, answer
        order = (await api.ok("GET", f"/admin/orders/{answer['order']['id']}"))["order"]
        late = [i for i in order["items"] if i["title"] == "Late"]
        assert added in (200, 400, 409), refusal
        assert bool(late) == (added == 200)
        assert order["total"] == 2500 + 100 * len(late)
        assert await payments_of(stack, draft) == [(order["total"], True, False)]


async def test_a_change_that_comes_while_the_order_is_written(
    api: Client, stack: Stack, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the draft are locked in one order by all: neither breaks the other off."""
    written, go_on = asyncio.Event(), asyncio.Event()
    store_quote = quotes.store_quote

    async def store_and_wait(db: Any, cart_id: str, quote: Any, **how: Any) -> None:
        await store_quote(db, cart_id, quote, **how)
        if how.get("frozen"):
            written.set()
            await go_on.wait()

    draft = await make(api, shop)
    monkeypatch.setattr(quotes, "store_quote", store_and_wait)
    paying = asyncio.create_task(pay(api, draft))
    await written.wait()
    path = ID.format(draft["id"]) + "/line-items"
    changing = asyncio.create_task(api.post(path, {"title": "Late", "unit_price": 100, "quantity": 1}))
    await until(partial(waits, stack, "orders"))
    go_on.set()
    (status, answer), (refused, refusal) = await paying, await changing
    assert (status, refused, refusal["type"]) == (200, 400, "not_allowed"), (answer, refusal)
    assert await payments_of(stack, draft) == [(answer["order"]["total"], True, False)]


async def test_nothing_changes_while_it_is_paid(api: Client, stack: Stack, shop: Shop) -> None:
    draft = await make(api, shop)
    before = await shown(api, draft)
    async with stack.pool("orders").acquire() as db, db.transaction():
        state = placements.intended(await load_draft(db, draft["id"]), "usr_test", reserve=False)
        await saga_rows.begin(db, "place_order", draft["id"], state)
    path = ID.format(draft["id"])
    answers = [
        await api.post(path, {"email": "late@example.com"}),
        await api.post(path + "/line-items", {"title": "x", "quantity": 1}),
        await api.delete(path),
        await pay(api, draft),
    ]
    assert [(status, answer["type"]) for status, answer in answers] == [(409, "conflict")] * 4
    assert await shown(api, draft) == before
    # The process that began it has died: another one finishes it.
    await expire(stack, "place_order", draft["id"])

    async def placed() -> list[str]:
        return await orders_of(stack, draft)

    order_id = (await until(placed))[0]
    await expire(stack, "capture_placed", order_id)

    async def captured() -> bool:
        return (await payments_of(stack, draft)) == [(2500, True, False)]

    await until(captured)
    assert (await shown(api, draft))["status"] == "completed"


@pytest.mark.parametrize("done", [1, 2, 3])
async def test_finished_after_a_crash(api: Client, stack: Stack, shop: Shop, done: int) -> None:
    """The process dies after `done` steps, the last of them taken but not recorded."""
    draft, app = await make(api, shop), stack.apps["orders"]
    async with stack.pool("orders").acquire() as db, db.transaction():
        state = placements.intended(await load_draft(db, draft["id"]), "usr_test", reserve=False)
        saga = await saga_rows.begin(db, "place_order", draft["id"], state)
    for at, step in enumerate(placements.PLACE_ORDER[:done], 1):
        assert step.do is not None
        result = await step.do(app, saga)
        if at < done:
            await saga_rows.record(stack.pool("orders"), saga, step.name, result)
    await expire(stack, "place_order", draft["id"])

    async def placed() -> bool:
        return bool(await orders_of(stack, draft))

    await until(placed, every=0.2)
    (order_id,) = await orders_of(stack, draft)
    assert order_id == saga.state["order_id"]
    assert len(await payments_of(stack, draft)) == 1


async def test_captured_after_a_crash(api: Client, stack: Stack, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = await make(api, shop)

    async def lost(*_: object) -> dict[str, Any]:
        raise Unavailable("No answer.", outcome_unknown=True)

    with monkeypatch.context() as without:
        without.setattr(remote, "capture", lost)
        status, answer = await pay(api, draft)
    order = answer["order"]
    assert (status, order["payment_status"], order["payments"][0]["captured_at"]) == (200, "awaiting", None)
    await expire(stack, "capture_placed", order["id"])

    async def captured() -> bool:
        now = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        return bool(now["payment_status"] == "captured" and now["payments"][0]["captured_at"])

    await until(captured, every=0.2)
    assert await payments_of(stack, draft) == [(2500, True, False)]


async def test_a_refused_capture_leaves_the_order_waiting(
    api: Client, stack: Stack, shop: Shop, heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await make(api, shop)

    async def refused(*_: object) -> dict[str, Any]:
        raise NotAllowed("The bank says no.")

    with monkeypatch.context() as without:
        without.setattr(remote, "capture", refused)
        status, answer = await pay(api, draft)
    order = answer["order"]
    assert (status, order["status"], order["payment_status"]) == (200, "pending", "awaiting")

    async def emitted() -> Any:
        return [e["data"] for e in heard if e["type"] == "order.payment_capture_failed" and e["subject"] == order["id"]]

    assert await until(emitted) == [{"id": order["id"], "reason": "The bank says no.", "no_notification": None}]
    captured = (await api.ok("POST", f"/admin/orders/{order['id']}/capture"))["order"]
    assert captured["payment_status"] == "captured"


@pytest.fixture
def reserving(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that reserves stock when an order is placed."""
    monkeypatch.setattr(stack.apps["orders"][SETTINGS], "reserve_stock", "on_placement")


@pytest.fixture
async def stocked(api: Client) -> tuple[Shop, Callable[[], Any]]:
    """A shop with 3 of the small variant, and what is reserved of them."""
    shop = await set_up(api, manage_inventory=True)
    location = (await api.ok("POST", "/admin/stock-locations", {"name": "Here"}))["stock_location"]["id"]
    await api.ok("POST", f"/admin/sales-channels/{shop.channel}/stock-locations", {"location_id": location})
    inventory = (await api.ok("GET", f"/admin/variants/{shop.small}/inventory"))["variant"]["inventory"]
    levels = f"/admin/inventory-items/{inventory[0]['id']}/location-levels"
    await api.ok("POST", levels, {"location_id": location, "stocked_quantity": 3})

    async def reserved() -> int:
        of_locations = (await api.ok("GET", levels))["inventory_item"]["location_levels"]
        quantity: int = of_locations[0]["reserved_quantity"]
        return quantity

    return shop, reserved


@pytest.mark.usefixtures("reserving")
async def test_stock_is_reserved(api: Client, stack: Stack, stocked: tuple[Shop, Callable[[], Any]]) -> None:
    shop, reserved = stocked
    first, second = await make(api, shop), await make(api, shop)
    answers = await asyncio.gather(pay(api, first), pay(api, second))
    assert sorted(status for status, _ in answers) == [200, 400]
    (refusal,) = [answer for status, answer in answers if status == 400]
    assert (refusal["type"], refusal["code"]) == ("not_allowed", "insufficient_inventory")
    assert await reserved() == 2
    orders = [await orders_of(stack, draft) for draft in (first, second)]
    assert sorted(map(len, orders)) == [0, 1]
    (loser,) = [draft for draft, order in zip((first, second), orders, strict=True) if not order]
    assert await payments_of(stack, loser) == []
    assert (await shown(api, loser))["status"] == "open"


@pytest.mark.usefixtures("reserving")
async def test_a_refused_payment_releases_the_stock(
    api: Client, stack: Stack, stocked: tuple[Shop, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, reserved = stocked
    draft = await make(api, shop)
    before = await shown(api, draft)

    async def refused(*_: object) -> dict[str, Any]:
        raise NotAllowed("The bank says no.")

    with monkeypatch.context() as without:
        without.setattr(remote, "authorize", refused)
        status, answer = await pay(api, draft)
    assert (status, answer["message"]) == (400, "The bank says no.")
    assert await reserved() == 0
    assert await orders_of(stack, draft) == []
    assert await shown(api, draft) == before
    assert (await pay(api, draft))[0] == 200
    assert await reserved() == 2


@pytest.mark.usefixtures("reserving")
async def test_an_unknown_outcome_is_undone(
    api: Client, stack: Stack, stocked: tuple[Shop, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payment was made, but the answer got lost: it is given up, and the draft can be paid again."""
    shop, reserved = stocked
    draft, authorize = await make(api, shop), remote.authorize

    async def lost(*args: Any) -> dict[str, Any]:
        await authorize(*args)
        raise Unavailable("No answer.", outcome_unknown=True)

    with monkeypatch.context() as without:
        without.setattr(remote, "authorize", lost)
        status, _ = await pay(api, draft)
    assert status == 503
    assert await reserved() == 0
    assert await payments_of(stack, draft) == [(2500, False, True)]
    assert await orders_of(stack, draft) == []
    assert (await pay(api, draft))[0] == 200
    assert sorted(await payments_of(stack, draft)) == [(2500, False, True), (2500, True, False)]
    assert await reserved() == 2
