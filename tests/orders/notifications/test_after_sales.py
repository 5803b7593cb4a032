"""The mails about swaps, claims and returns: who hears of what, and who is not to hear of it does not. There are none
about order edits.
"""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.claims import claim, refund_of, replacement, shipped
from tests.support.factories.shops import Shop
from tests.support.factories.swaps import Swapping, line_of, swap_of
from tests.support.fake_smtp import Mailbox, text_of
from tests.support.notifications import notifications_of, received, sent
from tests.support.stack import Stack

Row = dict[str, Any]
Events = list[dict[str, Any]]


async def names(api: Client, *resource_ids: str) -> list[str]:
    """The events that the customer was told of, but for the order itself."""
    rows = [row for id_ in resource_ids for row in await notifications_of(api, id_)]
    return sorted(
        row["event_name"] for row in rows if row["event_name"] not in ("order.placed", "order.shipment_created")
    )


async def exchange(api: Client, stack: Stack, shop: Shop, order: Row, **more: Any) -> Swapping:
    """2 of the small variant for 1 of the large: the customer gets 5.00."""
    return await swap_of(api, stack, shop, order, back={shop.small: 2}, new={shop.large: 1}, shipping=0, **more)


async def sent_off(swap: Swapping, **shipment: Any) -> None:
    """Confirmed, settled, fulfilled and shipped."""
    await swap.confirm()
    await swap.ok("process-payment")
    fulfillment = (await swap.ok("fulfillments"))["fulfillments"][0]["id"]
    await swap.ok("shipments", {"fulfillment_id": fulfillment} | shipment)


async def test_a_swap(api: Client, stack: Stack, shop: Shop, mailbox: Mailbox) -> None:
    order = await shipped(api, shop)
    number, title = f"#{order['display_id']}", order["items"][0]["title"]
    swap = await exchange(api, stack, shop, order)
    mail = await mailbox.comes(order["email"], f"An exchange for order {number}")
    assert text_of(mail) == (
        f"Hello Ada,\n\nAn exchange for your order {number} was arranged.\n\n  1 x {title} (Large)\n"
    )
    assert f"<td>1 x {title} (Large)</td>" in text_of(mail, "html")
    row = await sent(api, swap.id, "swap.created")
    assert (row["resource_type"], row["to"], row["customer_id"]) == ("swap", order["email"], order["customer_id"])
    assert row["data"] == {
        "status": "sent",
        "subject": f"An exchange for order {number}",
        "order_id": order["id"],
        "display_id": order["display_id"],
        "currency_code": "eur",
        "total": 4000,
        "first_name": "Ada",
        "items": [{"title": title, "description": "Large", "quantity": 1, "total": None}],
    }
    await sent_off(swap, tracking_numbers=["DHL-3"])
    mail = await mailbox.comes(order["email"], f"A refund for order {number}")
    assert f"€5.00 of your order {number} are on their way back to you." in text_of(mail)
    mail = await mailbox.comes(order["email"], f"The exchange for order {number} is on its way")
    assert text_of(mail) == (
        f"Hello Ada,\n\nWhat you get in exchange for order {number} has left.\n\n"
        f"  1 x {title} (Large)\n\nTracking number: DHL-3\n"
    )
    await sent(api, swap.id, "swap.shipment_created")
    await sent(api, order["id"], "order.refund_created")
    assert await names(api, swap.id, order["id"]) == ["order.refund_created", "swap.created", "swap.shipment_created"]


async def test_the_goods_of_a_swap_come_back(
    api: Client, stack: Stack, shop: Shop, mailbox: Mailbox, heard: Events
) -> None:
    """That they are expected stands in the mail about the swap, and that they came is no news: no mail of their own."""
    order = await shipped(api, shop)
    swap = await exchange(api, stack, shop, order)
    back = (await swap.shown())["return_order"]["id"]
    items = [{"item_id": line_of(order, shop.small), "quantity": 2}]
    await api.ok("POST", f"/admin/returns/{back}/receive", {"items": items})
    await received(stack, heard, "swap.created", swap.id)
    await sent(api, swap.id, "swap.created")
    assert [event["type"] for event in heard if event["type"].startswith("order.return")] == []
    assert await names(api, swap.id, order["id"]) == ["swap.created"]


async def test_a_claim_that_pays_back(api: Client, shop: Shop, mailbox: Mailbox) -> None:
    order = await shipped(api, shop)
    number = f"#{order['display_id']}"
    made = await claim(api, order, refund_of(order, (1000, 1)))
    mail = await mailbox.comes(order["email"], f"A claim for order {number}")
    assert text_of(mail) == f"Hello Ada,\n\nWe are looking after your order {number}.\n"
    mail = await mailbox.comes(order["email"], f"A refund for order {number}")
    assert f"€10.00 of your order {number} are on their way back to you." in text_of(mail)
    row = await sent(api, made["id"], "claim.created")
    assert (row["resource_type"], row["to"]) == ("claim", order["email"])
    await sent(api, order["id"], "order.refund_created")
    assert await names(api, made["id"], order["id"]) == ["claim.created", "order.refund_created"]


async def test_a_claim_that_sends_again(api: Client, shop: Shop, mailbox: Mailbox) -> None:
    order = await shipped(api, shop)
    number, title = f"#{order['display_id']}", order["items"][0]["title"]
    made = await claim(api, order, replacement(shop, order, (1500, 1), quantity=2))
    path = f"/admin/orders/{order['id']}/claims/{made['id']}"
    fulfilled = (await api.ok("POST", f"{path}/fulfillments"))["order"]["claims"][0]["fulfillments"][0]["id"]
    body = {"fulfillment_id": fulfilled, "tracking_numbers": ["DHL-4", "DHL-5"]}
    await api.ok("POST", f"{path}/shipments", body)
    mail = await mailbox.comes(order["email"], f"The replacement for order {number} is on its way")
    assert text_of(mail) == (
        f"Hello Ada,\n\nThe replacement for order {number} has left.\n\n"
        f"  2 x {title} (Small)\n\nTracking number: DHL-4\n\nTracking number: DHL-5\n"
    )
    await sent(api, made["id"], "claim.shipment_created")
    assert await names(api, made["id"], order["id"]) == ["claim.created", "claim.shipment_created"]


async def test_a_return(api: Client, shop: Shop, mailbox: Mailbox) -> None:
    order = await shipped(api, shop)
    number, title = f"#{order['display_id']}", order["items"][0]["title"]
    path, item = f"/admin/orders/{order['id']}/return", {"item_id": line_of(order, shop.small), "quantity": 2}
    back = (await api.ok("POST", path, {"items": [item]}))["order"]["returns"][0]["id"]
    mail = await mailbox.comes(order["email"], f"Your return for order {number}")
    assert text_of(mail) == (f"Hello Ada,\n\nWe expect these items of order {number} back.\n\n  2 x {title} (Small)\n")
    came = {"items": [item | {"quantity": 1}]}
    await api.ok("POST", f"/admin/returns/{back}/receive", came)
    mail = await mailbox.comes(order["email"], f"Your return for order {number} has arrived")
    assert text_of(mail) == (
        f"Hello Ada,\n\nWe have received these items of order {number}.\n\n  1 x {title} (Small)\n"
    )
    mail = await mailbox.comes(order["email"], f"A refund for order {number}")
    assert f"€20.00 of your order {number}" in text_of(mail)
    for name in ("order.return_requested", "order.items_returned", "order.refund_created"):
        await sent(api, order["id"], name)
    assert await names(api, order["id"]) == ["order.items_returned", "order.refund_created", "order.return_requested"]


@pytest.mark.parametrize("by_order", [False, True], ids=["said", "said of the order"])
async def test_who_is_not_to_be_told_is_not(
    api: Client, stack: Stack, shop: Shop, mailbox: Mailbox, heard: Events, by_order: bool
) -> None:
    """Whether it is said each time, or once for the order."""
    order = await shipped(api, shop, **({"no_notification_order": True} if by_order else {}))
    quiet: Row = {} if by_order else {"no_notification": True}
    swap = await exchange(api, stack, shop, order, **quiet)
    await sent_off(swap)
    sends = await claim(api, order, replacement(shop, order, (1500, 1)) | quiet)
    path = f"/admin/orders/{order['id']}"
    fulfilled = (await api.ok("POST", f"{path}/claims/{sends['id']}/fulfillments"))["order"]["claims"][0][
        "fulfillments"
    ]
    await api.ok("POST", f"{path}/claims/{sends['id']}/shipments", {"fulfillment_id": fulfilled[0]["id"]})
    pays = await claim(api, order, refund_of(order, (1500, 1)) | quiet)
    items = [{"item_id": line_of(order, shop.small), "quantity": 1}]
    back = (await api.ok("POST", f"{path}/return", {"items": items} | quiet))["order"]["returns"][0]["id"]
    await api.ok("POST", f"/admin/returns/{back}/receive", {"items": items})
    for name, subject in (
        ("swap.created", swap.id),
        ("swap.shipment_created", swap.id),
        ("claim.created", sends["id"]),
        ("claim.shipment_created", sends["id"]),
        ("claim.created", pays["id"]),
        ("order.return_requested", order["id"]),
        ("order.items_returned", order["id"]),
        ("order.refund_created", order["id"]),
    ):
        await received(stack, heard, name, subject)
    assert await names(api, order["id"], swap.id, sends["id"], pays["id"]) == []
    assert {mail["Subject"].partition("#")[0] for mail in mailbox.to(order["email"])} <= {"Order "}


async def test_what_is_said_last_counts(api: Client, stack: Stack, shop: Shop, mailbox: Mailbox) -> None:
    """Nobody heard of the swap, but what it sends is told, when that is said."""
    order = await shipped(api, shop)
    swap = await exchange(api, stack, shop, order, no_notification=True)
    await sent_off(swap, no_notification=False)
    await sent(api, swap.id, "swap.shipment_created")
    assert await names(api, swap.id, order["id"]) == ["swap.shipment_created"]
