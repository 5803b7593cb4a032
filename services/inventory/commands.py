"""What other services may ask of this one. Each runs in one transaction, once for its key."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from services.chassis import copies
from services.chassis.commands import CommandBody, CommandHandler, checked
from services.chassis.db import Db
from services.chassis.documents import Docs
from services.chassis.embed import Page, order_by, page_json, selection
from services.inventory import channels, items, line_moves, line_versions, moves, stock
from services.inventory.resources import RESERVATION

Reply = dict[str, Any]
Id = Annotated[str, Field(min_length=1, max_length=255)]
Quantity = Annotated[int, Field(ge=1, lt=2**31)]


class Line(CommandBody):
    line_item_id: Id
    variant_id: Id | None = None
    quantity: Quantity


class EnsureItems(CommandBody):
    """New variants, and documents of the catalog's rows, which its event will bring, too."""

    variants: list[dict[str, Any]]
    copies: dict[str, Docs] = Field(default_factory=dict)


class SalesChannel(CommandBody):
    """The document of a channel that was changed or deleted, as its event will bring it."""

    id: Id
    copies: dict[str, Docs]


class Reserve(CommandBody):
    order_id: str | None = None
    sales_channel_id: str | None = None
    created_by: str | None = None
    items: list[Line]
    mode: Literal["placement", "claim"] = "placement"


class LineVersion(CommandBody):
    line_item_id: Id


class ReserveLine(CommandBody):
    """`version` is the line's, read before its order was asked how much is unfulfilled (line_versions.py)."""

    line_item_id: Id
    variant_id: Id
    location_id: str
    quantity: Quantity
    unfulfilled_quantity: int
    version: str | None = None
    created_by: str | None = None


class Release(CommandBody):
    line_item_ids: list[Id]
    compensates: str | None = None


class LineMove(CommandBody):
    """At most `quantity` goes to the other line; without one, nothing does."""

    from_line_item_id: Id
    to_line_item_id: Id | None = None
    quantity: Annotated[int, Field(ge=0, lt=2**31)]


class LineMoves(CommandBody):
    order_id: Id
    moves: list[LineMove]


class Fulfill(CommandBody):
    fulfillment_id: Id
    location_id: str
    items: list[Line]


class Fulfillment(CommandBody):
    fulfillment_id: Id
    compensates: str | None = None


class CancelFulfillment(CommandBody):
    """With `reserve`, the lines of the order that are to have what comes back."""

    fulfillment_id: Id
    order_id: Id | None = None
    reserve: list[Line] = Field(default_factory=list)


class Restock(CommandBody):
    return_id: Id
    location_id: str | None = None
    items: list[Line]


class Return(CommandBody):
    return_id: Id
    compensates: str | None = None


class Reservations(CommandBody):
    line_item_ids: list[str]
    limit: Annotated[int, Field(ge=0)] = 20
    offset: Annotated[int, Field(ge=0)] = 0
    order: str | None = None
    fields: str | None = None


def rows(lines: list[Line]) -> list[dict[str, Any]]:
    return [line.model_dump() for line in lines]


async def ensure_items(db: Db, body: dict[str, Any]) -> Reply:
    """{variants}: what to know of the items that were made, as `inventory.availability` says it, too."""
    changes = checked(EnsureItems, body)
    for kind in sorted(changes.copies):
        await copies.store(db, kind, changes.copies[kind])
    return {"variants": await items.ensure_items(db, changes.variants)}


async def sales_channel(db: Db, body: dict[str, Any]) -> Reply:
    """{"variants"}: what is available of those of which that has changed."""
    changes = checked(SalesChannel, body)
    docs = changes.copies["sales_channel"]
    await copies.store(db, "sales_channel", docs)
    gone = any(doc["body"]["deleted_at"] for doc in docs)
    return {"variants": await channels.forget_channel(db, changes.id) if gone else []}


async def reserve(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Reserve, body)
    return await stock.reserve(
        db,
        command.order_id,
        command.sales_channel_id,
        command.created_by,
        rows(command.items),
        claim=command.mode == "claim",
    )


async def line_version(db: Db, body: dict[str, Any]) -> Reply:
    """{"version"}, to be given to `reserve_line`."""
    return {"version": await line_versions.version_of(db, checked(LineVersion, body).line_item_id)}


async def reserve_line(db: Db, body: dict[str, Any]) -> Reply:
    line = checked(ReserveLine, body)
    room = line_versions.Room(line.line_item_id, line.unfulfilled_quantity, line.version)
    return await stock.reserve_line(db, room, line.variant_id, line.location_id, line.quantity, line.created_by)


async def release(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Release, body)
    return await stock.release(db, command.line_item_ids, command.compensates)


async def move_reservations(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(LineMoves, body)
    return await line_moves.move_reservations(db, command.order_id, [move.model_dump() for move in command.moves])


async def fulfill(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Fulfill, body)
    return await moves.fulfill(db, command.fulfillment_id, command.location_id, rows(command.items))


async def compensate_fulfill(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Fulfillment, body)
    return await moves.compensate(db, command.fulfillment_id, command.compensates)


async def cancel_fulfillment(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(CancelFulfillment, body)
    if command.order_id and command.reserve:
        return await moves.cancel_fulfillment(db, command.fulfillment_id, command.order_id, rows(command.reserve))
    return await moves.reverse(db, command.fulfillment_id, "fulfillment_canceled")


async def restock(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Restock, body)
    return await moves.restock(db, command.return_id, command.location_id, rows(command.items))


async def compensate_restock(db: Db, body: dict[str, Any]) -> Reply:
    command = checked(Return, body)
    return await moves.compensate(db, command.return_id, command.compensates)


async def reservations(db: Db, body: dict[str, Any]) -> Reply:
    """The reservations of these lines, a page of them."""
    command = checked(Reservations, body)
    order = order_by(RESERVATION, {"order": command.order} if command.order else {}, "{t}.created_at desc, {t}.id desc")
    where, args = "{t}.line_item_id = any($1)", (command.line_item_ids,)
    chosen = selection(RESERVATION, {} if command.fields is None else {"fields": command.fields}, listed=True)
    page = Page(RESERVATION, chosen, where, order, args, command.limit, command.offset)
    answer: Reply = orjson.loads(await page_json(db, "reservations", page))
    return answer


COMMANDS: Mapping[str, CommandHandler] = {
    "ensure_items": ensure_items,
    "sales_channel": sales_channel,
    "reserve": reserve,
    "line_version": line_version,
    "reserve_line": reserve_line,
    "release": release,
    "move_reservations": move_reservations,
    "fulfill": fulfill,
    "compensate_fulfill": compensate_fulfill,
    "cancel_fulfillment": cancel_fulfillment,
    "restock": restock,
    "compensate_restock": compensate_restock,
    "reservations": reservations,
}
