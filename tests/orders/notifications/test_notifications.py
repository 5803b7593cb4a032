"""Customers are told what happened: which mail comes to whom, once, whatever the mail server does in between."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis import deliveries
from services.orders.notifications.notifications import run_notifications
from tests.support.client import Client
from tests.support.factories.shops import Shop, place
from tests.support.fake_smtp import Mailbox, text_of
from tests.support.notifications import notifications_of, received, sent
from tests.support.processes import another
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]
Ordered = Callable[..., Awaitable[Order]]


async def test_a_new_order(api: Client, ordered: Ordered, mailbox: Mailbox) -> None:
    order = await ordered()
    mail = await mailbox.comes(order["email"], "Order #")
    assert mail["Subject"] == f"Order #{order['display_id']}"
    assert mail["From"] == "shop@example.com"
    text = text_of(mail)
    titles = {line["title"] for line in order["items"]}
    shirt = titles.pop()
    assert not titles
    assert text == (
        f"Hello Ada,\n\nThank you for your order #{order['display_id']}.\n\n"
        f"  2 x {shirt} (Small)  €20.00\n  1 x {shirt} (Large)  €15.00\n  Total  €40.00\n"
    )
    html = text_of(mail, "html")
    assert f"<tr><td>2 x {shirt} (Small)</td><td>€20.00</td></tr>" in html
    assert "<p>Thank you for your order" in html
    row = await sent(api, order["id"], "order.placed")
    assert mail["Message-ID"] == f"<{row['id']}@example.com>"
    lines = [{"title": shirt, "description": name} for name in ("Small", "Large")]
    assert row | {"created_at": None} == {
        "id": row["id"],
        "event_name": "order.placed",
        "resource_type": "order",
        "resource_id": order["id"],
        "customer_id": order["customer_id"],
        "to": order["email"],
        "parent_id": None,
        "provider_id": "smtp",
        "created_at": None,
        "resends": [],
        "data": {
            "status": "sent",
            "subject": mail["Subject"],
            "order_id": order["id"],
            "display_id": order["display_id"],
            "currency_code": "eur",
            "total": 4000,
            "first_name": "Ada",
            "items": [lines[0] | {"quantity": 2, "total": 2000}, lines[1] | {"quantity": 1, "total": 1500}],
        },
    }
    listed = (await api.ok("GET", "/admin/notifications", query={"resource_id": order["id"]}))["notifications"][0]
    assert listed.keys() == {
        "id", "resource_type", "resource_id", "event_name", "to", "provider_id", "created_at", "updated_at", "resends",
    }  # fmt: skip


async def test_names_are_not_markup(api: Client, shop: Shop, mailbox: Mailbox) -> None:
    items = [{"title": "<b>Rug</b> & {amount}", "unit_price": 100, "quantity": 1}]
    order = await place(api, shop, items=items)
    mail = await mailbox.comes(order["email"], "Order #")
    assert "&lt;b&gt;Rug&lt;/b&gt; &amp; {amount}" in text_of(mail, "html")
    assert "1 x <b>Rug</b> & {amount}  €1.00" in text_of(mail)


async def test_what_happens_to_an_order(api: Client, ordered: Ordered, mailbox: Mailbox) -> None:
    order = await ordered()
    path, number = f"/admin/orders/{order['id']}", f"#{order['display_id']}"
    small = next(line for line in order["items"] if line["unit_price"] == 1000)
    item = {"item_id": small["id"], "quantity": 1}
    fulfilled = (await api.ok("POST", f"{path}/fulfillment", {"items": [item]}))["order"]["fulfillments"][0]
    shipping = {"fulfillment_id": fulfilled["id"], "tracking_numbers": ["DHL-1", "DHL-2"]}
    await api.ok("POST", f"{path}/shipment", shipping)
    mail = await mailbox.comes(order["email"], f"Order {number} is on its way")
    assert f"  1 x {small['title']} (Small)\n\nTracking number: DHL-1\n\nTracking number: DHL-2\n" in text_of(mail)
    await api.ok("POST", f"{path}/refund", {"amount": 150, "reason": "other"})
    mail = await mailbox.comes(order["email"], f"A refund for order {number}")
    assert f"€1.50 of your order {number} are on their way back to you." in text_of(mail)
    await api.ok("POST", f"{path}/return", {"items": [item]})
    mail = await mailbox.comes(order["email"], f"Your return for order {number}")
    assert f"We expect these items of order {number} back.\n\n  1 x {small['title']} (Small)\n" in text_of(mail)
    back = (await api.ok("GET", path))["order"]["returns"][0]
    await api.ok("POST", f"/admin/returns/{back['id']}/receive", {"items": [item]})
    await mailbox.comes(order["email"], f"Your return for order {number} has arrived")
    other = await ordered()
    await api.ok("POST", f"/admin/orders/{other['id']}/cancel")
    mail = await mailbox.comes(other["email"], f"Order #{other['display_id']} was canceled")
    names = [row["event_name"] for row in await notifications_of(api, other["id"])]
    assert sorted(names) == ["order.canceled", "order.placed"]


async def test_a_gift_card_comes_to_its_buyer(
    api: Client, stack: Stack, shop: Shop, mailbox: Mailbox, uid: str
) -> None:
    body = {
        "title": f"Card {uid}",
        "handle": f"card-{uid}",
        "is_giftcard": True,
        "discountable": False,
        "status": "published",
        "options": [{"title": "Worth"}],
        "variants": [
            {"title": "25", "prices": [{"currency_code": "eur", "amount": 2500}], "options": [{"value": "25"}]}
        ],
    }
    card = (await api.ok("POST", "/admin/products", body))["product"]["variants"][0]["id"]
    order = await place(api, shop, items=[{"variant_id": card, "quantity": 2}])
    codes = []
    for found in (await api.ok("GET", "/admin/gift-cards", query={"q": str(order["display_id"])}))["gift_cards"]:
        row = await sent(api, found["id"], "gift_card.created")
        assert row["data"]["gift_card_id"] == found["id"]
        assert found["code"] not in str(row)
        codes.append(found["code"])
    assert len(codes) == 2
    texts = [text_of(mail) for mail in mailbox.to(order["email"]) if mail["Subject"] == "Your gift card"]
    said = f"Hello Ada,\n\nYour gift card of order #{order['display_id']} is worth €25.00. Its code: "
    assert sorted(texts) == sorted(f"{said}{code}\n" for code in codes)
    kept = await stack.pool("orders").fetch('select data::text from notifications where "to" = $1', order["email"])
    assert not any(code in row["data"] for row in kept for code in codes)


async def test_who_is_not_to_be_told_is_not(
    api: Client, ordered: Ordered, mailbox: Mailbox, heard: list[dict[str, Any]], stack: Stack
) -> None:
    silent = await ordered(no_notification_order=True)
    path = f"/admin/orders/{silent['id']}"
    item = {"item_id": silent["items"][0]["id"], "quantity": 1}
    fulfilled = (await api.ok("POST", f"{path}/fulfillment", {"items": [item]}))["order"]["fulfillments"][0]["id"]
    await api.ok("POST", f"{path}/shipment", {"fulfillment_id": fulfilled})
    await api.ok("POST", f"{path}/refund", {"amount": 100, "reason": "other"})
    await api.ok("POST", f"{path}/return", {"items": [item]})
    spoken = await ordered()
    body = {"amount": 100, "reason": "other", "no_notification": True}
    await api.ok("POST", f"/admin/orders/{spoken['id']}/refund", body)
    for name in ("order.placed", "order.shipment_created", "order.refund_created", "order.return_requested"):
        await received(stack, heard, name, silent["id"])
    await received(stack, heard, "order.refund_created", spoken["id"])
    await sent(api, spoken["id"], "order.placed")
    assert await notifications_of(api, silent["id"]) == []
    assert [row["event_name"] for row in await notifications_of(api, spoken["id"])] == ["order.placed"]
    # What is said about one thing counts, whatever the order says.
    await api.ok("POST", f"{path}/refund", {"amount": 100, "reason": "other", "no_notification": False})
    await sent(api, silent["id"], "order.refund_created")
    assert [mail["Subject"] for mail in mailbox.to(silent["email"])] == [f"A refund for order #{silent['display_id']}"]


async def test_without_a_mail_server_nobody_is_told(
    api: Client, ordered: Ordered, heard: list[dict[str, Any]], stack: Stack
) -> None:
    order = await ordered()
    await received(stack, heard, "order.placed", order["id"])
    assert await notifications_of(api, order["id"]) == []


async def test_a_server_that_cannot_now_is_asked_again(
    api: Client, ordered: Ordered, mailbox: Mailbox, uid: str
) -> None:
    address = f"{uid}@example.com"
    mailbox.answers[address] = ["451 come back later", "421 too busy"]
    order = await ordered(email=address)
    await sent(api, order["id"], "order.placed")
    assert (len(mailbox.to(address)), mailbox.tried[address]) == (1, 3)


async def test_a_server_that_never_will_is_not(
    api: Client, ordered: Ordered, mailbox: Mailbox, stack: Stack, uid: str
) -> None:
    address = f"nobody-{uid}@example.com"
    mailbox.refused.add(address)
    order = await ordered(email=address)

    async def given_up() -> bool:
        rows = await notifications_of(api, order["id"])
        waiting = "select true from deliveries where id = $1"
        return bool(
            rows
            and rows[0]["data"]["status"] == "failed"
            and not await stack.pool("orders").fetchval(waiting, rows[0]["id"])
        )

    await until(given_up)
    assert mailbox.tried[address] == 1
    error = await stack.pool("orders").fetchval("select error from notifications where resource_id = $1", order["id"])
    assert error == f"The server refuses {address}."


async def test_a_death_after_the_mail_was_taken(
    api: Client, ordered: Ordered, mailbox: Mailbox, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has it, we died before we knew: it comes again, as the same mail, and there is one notification."""
    monkeypatch.setattr(deliveries, "AT_ONCE", 0)  # this process sends nothing; the other one does
    mailbox.hold = asyncio.Event()
    order = await ordered()
    async with another(stack, "orders") as (_, process):
        first = await mailbox.comes(order["email"], "Order #")
        process.kill()
        await process.wait()
    mailbox.hold.set()
    mailbox.hold = None
    assert [row["data"]["status"] for row in await notifications_of(api, order["id"])] == ["pending"]
    query = "update deliveries set due_at = now() where id = (select id from notifications where resource_id = $1)"
    await stack.pool("orders").execute(query, order["id"])
    monkeypatch.setattr(deliveries, "AT_ONCE", 8)
    await sent(api, order["id"], "order.placed")
    assert [mail["Message-ID"] for mail in mailbox.to(order["email"])] == [first["Message-ID"]] * 2


async def test_two_workers_send_each_mail_once(api: Client, ordered: Ordered, mailbox: Mailbox, stack: Stack) -> None:
    order = await ordered()
    row = await sent(api, order["id"], "order.placed")
    path = f"/admin/notifications/{row['id']}/resend"
    second = asyncio.create_task(run_notifications(stack.apps["orders"]))
    try:
        await asyncio.gather(*(api.ok("POST", path, {"to": f"copy{n}@example.com"}) for n in range(30)))

        async def all_sent() -> bool:
            page = await notifications_of(api, order["id"], include_resends="true")
            return [row["data"]["status"] for row in page] == ["sent"] * 31

        await until(all_sent)
    finally:
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    assert [len(mailbox.to(f"copy{n}@example.com")) for n in range(30)] == [1] * 30


async def test_resend(api: Client, ordered: Ordered, mailbox: Mailbox, uid: str) -> None:
    order = await ordered()
    first = await sent(api, order["id"], "order.placed")
    path, key = f"/admin/notifications/{first['id']}/resend", {"Idempotency-Key": uid}
    status, answer = await api.post(path, {"to": f"other-{uid}@example.com"}, headers=key)
    assert status == 200
    assert (await api.post(path, {"to": f"other-{uid}@example.com"}, headers=key)) == (status, answer)
    notification = answer["notification"]
    assert (notification["id"], notification["to"]) == (first["id"], order["email"])
    assert [resend["to"] for resend in notification["resends"]] == [f"other-{uid}@example.com"]
    mail = await mailbox.comes(f"other-{uid}@example.com", "Order #")
    assert text_of(mail) == text_of(mailbox.to(order["email"])[0])
    await api.ok("POST", path)

    async def twice() -> bool:
        return len(mailbox.to(order["email"])) == 2

    await until(twice)
    assert [row["id"] for row in await notifications_of(api, order["id"])] == [first["id"]]
    both = await notifications_of(api, order["id"], include_resends="true")
    assert [row["parent_id"] for row in both] == [None, first["id"], first["id"]]
    assert len(mailbox.to(f"other-{uid}@example.com")) == 1


async def test_what_cannot_be_sent_again(api: Client, stack: Stack, uid: str, mailbox: Mailbox) -> None:
    for body, status, type_ in (({"to": "a@example.com"}, 404, "not_found"), ({"to": 5}, 400, "invalid_data")):
        got, answer = await api.post("/admin/notifications/noti_missing/resend", body)
        assert (got, answer["type"]) == (status, type_)
    add = """
    insert into notifications (id, event_name, resource_type, resource_id, "to", provider_id)
    values ($1, 'order.placed', 'order', $1, 'a@example.com', $2)
    """
    await stack.pool("orders").execute(add, f"noti_{uid}", "pigeon")
    for body, type_ in (
        ({}, "not_allowed"),
        ({"to": "nobody"}, "invalid_data"),
        ({"to": "a@example.com\nBcc: b@example.com"}, "invalid_data"),
        ({"subject": "x"}, "invalid_data"),
    ):
        got, answer = await api.post(f"/admin/notifications/noti_{uid}/resend", body)
        assert (got, answer["type"]) == (400, type_), body
    assert len(await notifications_of(api, f"noti_{uid}", include_resends="true")) == 1
    assert await stack.pool("orders").fetchval("select count(*) from deliveries where id like $1", f"%{uid}%") == 0


async def test_lists(orders: Client, stack: Stack, uid: str) -> None:
    add = """
    insert into notifications (id, event_name, resource_type, resource_id, "to", parent_id, provider_id)
    values ($1, $2, 'order', $3, $4, $5, 'smtp')
    """
    first, again = f"noti_{uid}1", f"noti_{uid}2"
    await stack.pool("orders").execute(add, first, "order.placed", uid, f"a-{uid}@example.com", None)
    await stack.pool("orders").execute(add, again, "order.placed", uid, f"b-{uid}@example.com", first)

    async def found(**query: str) -> list[str]:
        page = await orders.ok("GET", "/admin/notifications", query={"resource_id": uid} | query)
        assert (page["limit"], page["offset"], page["count"]) == (50, 0, len(page["notifications"]))
        return sorted(notification["id"] for notification in page["notifications"])

    assert await found() == [first]
    assert await found(include_resends="true") == [first, again]
    assert await found(include_resends="true", to=f"x@example.com,b-{uid}@example.com") == [again]
    assert await found(event_name="order.canceled,order.placed", resource_type="order,claim") == [first]
    assert await found(event_name="order.canceled") == []
    page = await orders.ok("GET", "/admin/notifications", query={"resource_id": uid})
    assert [resend["id"] for resend in page["notifications"][0]["resends"]] == [again]
    query = {"resource_id": uid, "fields": "id,to", "expand": ""}
    page = await orders.ok("GET", "/admin/notifications", query=query)
    assert page["notifications"][0].keys() == {"id", "to", "created_at"}


@pytest.mark.parametrize("query", [{"limit": "ten"}, {"include_resends": "maybe"}, {"order": "to"}, {"to[]": "x"}])
async def test_bad_lists_are_refused(orders: Client, query: dict[str, str]) -> None:
    status, answer = await orders.get("/admin/notifications", query)
    assert (status, answer["type"]) == (400, "invalid_data")
