"""What other services may ask of this one. The provider may be far away, so what asks it opens its own transactions."""

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.commands import CommandBody, CommandHandler, Outside, checked
from services.chassis.errors import InvalidData
from services.payments import gift_card_issue, payment_collections, payments, refunds
from services.payments.operations import Reply
from services.payments.refunds import Amount, Reason
from services.payments.resources import MAX_AMOUNT

Id = Annotated[str, Field(min_length=1, max_length=255)]


class Authorize(CommandBody):
    payment_id: Id
    order_id: str | None = None
    cart_id: str | None = None
    swap_id: str | None = None
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
    currency_code: str
    provider_id: str
    data: dict[str, Any] | None = None


class Capture(CommandBody):
    payment_id: Id


class Cancel(CommandBody):
    payment_id: Id
    compensates: str | None = None


class Refund(CommandBody):
    payment_id: Id | None = None
    payment_ids: list[Id] | None = None
    order_id: str | None = None
    amount: Amount
    reason: Reason
    note: str | None = None


async def authorize(app: web.Application, body: dict[str, Any], key: str | None) -> Reply:
    command = checked(Authorize, body)
    row = command.model_dump(exclude={"payment_id"}) | {"id": command.payment_id, "data": command.data or {}}
    return await payments.authorize(app, row)


async def capture(app: web.Application, body: dict[str, Any], key: str | None) -> Reply:
    return await payments.capture(app, checked(Capture, body).payment_id)


async def cancel(app: web.Application, body: dict[str, Any], key: str | None) -> Reply:
    command = checked(Cancel, body)
    return await payments.cancel(app, command.payment_id, compensate=command.compensates is not None)


async def refund(app: web.Application, body: dict[str, Any], key: str | None) -> Reply:
    command = checked(Refund, body)
    payment_ids = command.payment_ids or ([command.payment_id] if command.payment_id else [])
    if not payment_ids:
        raise InvalidData("payment_ids: name at least one payment.")
    return await refunds.refund(
        app,
        payment_ids,
        payment_id=command.payment_id,
        order_id=command.order_id,
        amount=command.amount,
        reason=command.reason,
        note=command.note,
        request_key=key and f"command:{key}",
    )


COMMANDS: Mapping[str, CommandHandler] = {
    "authorize": Outside(authorize),
    "capture": Outside(capture),
    "cancel": Outside(cancel),
    "refund": Outside(refund),
    "sell_gift_cards": gift_card_issue.sell_gift_cards,
    "gift_card": gift_card_issue.gift_card,
    **payment_collections.COMMANDS,
}
