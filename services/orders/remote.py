"""Every command that this service sends to others. None is sent inside a transaction (docs/adr/0004-sagas-as-data.md).

Those that change something take a key that was made before the call, so that asking again changes nothing twice, and
those that compensate name the key of what they compensate: it may never have run. All raise Unavailable, whose
`outcome_unknown` says whether the command may have run all the same, and what the other service refuses with.
"""

from typing import Any

from aiohttp import web

from services.chassis import commands
from services.chassis.keys import BUS, SETTINGS
from services.chassis.sagas import Saga

Reply = dict[str, Any]


async def send(app: web.Application, service: str, name: str, body: dict[str, Any], key: str | None = None) -> Reply:
    """Sends one command, within the deadline of the settings."""
    return await commands.call(app[BUS], service, name, body, key=key, deadline=app[SETTINGS].command_deadline)


# catalog


async def price_cart(app: web.Application, cart: dict[str, Any]) -> Reply:
    """Prices, tax rates and discounts of lines and shipping methods, as they are now. Changes nothing."""
    return await send(app, "catalog", "price_cart", cart)


async def documents(app: web.Application, kinds: dict[str, list[str]]) -> Reply:
    """Copies of these rows of the catalog: {"copies": {kind: [document]}}. Unknown ids are left out."""
    return await send(app, "catalog", "documents", {"kinds": kinds})


async def use_discounts(app: web.Application, key: str, order_id: str, discount_ids: list[str]) -> Reply:
    """The order uses these discounts. NotAllowed when one was used as often as it can be; then none is."""
    return await send(app, "catalog", "use_discounts", {"order_id": order_id, "discount_ids": discount_ids}, key)


async def unuse_discounts(
    app: web.Application, key: str, order_id: str, discount_ids: list[str], compensates: str | None = None
) -> Reply:
    """The order does not use them after all."""
    body = {"order_id": order_id, "discount_ids": discount_ids, "compensates": compensates}
    return await send(app, "catalog", "unuse_discounts", body, key)


async def notify_fulfillment_providers(app: web.Application, providers: dict[str, list[dict[str, Any]]]) -> None:
    """These carriers are here, with what each offers: so that regions can have them from the first start on. Ends when
    it was heard."""
    await commands.notify_until_heard(app, "catalog", "fulfillment_providers", {"providers": providers})


# payments


async def authorize(app: web.Application, key: str, payment: dict[str, Any]) -> Reply:
    """A payment is made under the id that the caller gives it: {"payment"}."""
    return await send(app, "payments", "authorize", payment, key)


async def capture(app: web.Application, key: str, payment_id: str) -> Reply:
    """{"payment"}. Of a payment that is captured already, too; NotAllowed for a canceled one."""
    return await send(app, "payments", "capture", {"payment_id": payment_id}, key)


async def cancel_payment(app: web.Application, key: str, payment_id: str, compensates: str | None = None) -> Reply:
    """{"payment"}: null when it never came to be."""
    return await send(app, "payments", "cancel", {"payment_id": payment_id, "compensates": compensates}, key)


async def refund(app: web.Application, key: str, body: dict[str, Any]) -> Reply:
    """Money of payments is given back: {"refund", "payments"}."""
    return await send(app, "payments", "refund", body, key)


async def create_collection(app: web.Application, key: str, body: dict[str, Any]) -> Reply:
    """A payment collection is made under the id that the caller gives it: {"copies"}, its document."""
    return await send(app, "payments", "create_collection", body, key)


async def drop_collection(app: web.Application, key: str, collection_id: str, compensates: str) -> Reply:
    """The collection is as if it had never been made, also if the command to make it has yet to come."""
    return await send(app, "payments", "drop_collection", {"id": collection_id, "compensates": compensates}, key)


async def notify_gift_cards_sold(app: web.Application, order: dict[str, Any]) -> None:
    """An order that sold gift cards was placed, as order.placed says too: so that they are there at once."""
    await commands.notify(app, "payments", "sell_gift_cards", order)


async def gift_card(app: web.Application, gift_card_id: str) -> Reply:
    """{"gift_card"}: what it is worth, and its code; null when it is gone. Changes nothing."""
    return await send(app, "payments", "gift_card", {"id": gift_card_id})


# inventory


async def reserve(app: web.Application, key: str, body: dict[str, Any]) -> Reply:
    """All of the items are reserved or, NotAllowed, none."""
    return await send(app, "inventory", "reserve", body, key)


async def release(app: web.Application, key: str, line_item_ids: list[str], compensates: str | None = None) -> Reply:
    """Reservations of these lines go away."""
    return await send(app, "inventory", "release", {"line_item_ids": line_item_ids, "compensates": compensates}, key)


async def compensate_reserve(app: web.Application, saga: Saga, items: list[dict[str, Any]]) -> None:
    """What a saga's step `reserve` asked for these items never was, also if it has yet to come."""
    if items:
        line_item_ids = [item["line_item_id"] for item in items]
        await release(app, saga.key("release"), line_item_ids, compensates=saga.key("reserve"))


async def move_reservations(app: web.Application, key: str, order_id: str, moves: list[dict[str, Any]]) -> Reply:
    """Reservations follow from lines to others, as far as these need them; the rest goes away. Refuses nothing."""
    return await send(app, "inventory", "move_reservations", {"order_id": order_id, "moves": moves}, key)


async def fulfill(
    app: web.Application, key: str, fulfillment_id: str, location_id: str, items: list[dict[str, Any]]
) -> Reply:
    """Stock and reservations at the location go down."""
    body = {"fulfillment_id": fulfillment_id, "location_id": location_id, "items": items}
    return await send(app, "inventory", "fulfill", body, key)


async def compensate_fulfill(app: web.Application, key: str, fulfillment_id: str, compensates: str) -> Reply:
    """It is as if `fulfill` had never been asked for: stock and reservations come back."""
    return await send(
        app, "inventory", "compensate_fulfill", {"fulfillment_id": fulfillment_id, "compensates": compensates}, key
    )


async def cancel_fulfillment(
    app: web.Application, key: str, fulfillment_id: str, order_id: str, items: list[dict[str, Any]]
) -> Reply:
    """Stock comes back, and is reserved for these lines of the order; reservations do not come back as they were."""
    body: dict[str, Any] = {"fulfillment_id": fulfillment_id}
    if items:
        body |= {"order_id": order_id, "reserve": items}
    return await send(app, "inventory", "cancel_fulfillment", body, key)


async def restock(
    app: web.Application, key: str, receipt_id: str, location_id: str | None, items: list[dict[str, Any]]
) -> Reply:
    """What came back goes into stock. NotFound where an item is counted but has no level at the location."""
    return await send(
        app, "inventory", "restock", {"return_id": receipt_id, "location_id": location_id, "items": items}, key
    )


async def compensate_restock(app: web.Application, key: str, receipt_id: str, compensates: str) -> Reply:
    """It is as if `restock` had never been asked for."""
    return await send(
        app, "inventory", "compensate_restock", {"return_id": receipt_id, "compensates": compensates}, key
    )


async def line_version(app: web.Application, line_item_id: str) -> Any:
    """The version of what is reserved for the line: to be read before the line is, and given to `reserve_line`."""
    return (await send(app, "inventory", "line_version", {"line_item_id": line_item_id}))["version"]


async def reserve_line(app: web.Application, key: str, body: dict[str, Any]) -> Reply:
    """{"reservation"} at a location that the merchant chose. NotFound where it is not stocked, Conflict when the line
    is no longer as it was read."""
    return await send(app, "inventory", "reserve_line", body, key)


async def reservations(app: web.Application, page: dict[str, Any]) -> Reply:
    """A page of the reservations of some lines, as the list of them is answered."""
    return await send(app, "inventory", "reservations", page)


# gateway


async def users(app: web.Application, user_ids: list[str]) -> Reply:
    """Copies of these users: {"copies": {"user": [document]}}. Unknown ids are left out."""
    return await send(app, "gateway", "documents", {"kinds": {"user": user_ids}})
