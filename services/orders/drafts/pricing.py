"""Drafts and their prices: the catalog quotes a change before it is stored, and a draft anew before it is shown."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import ApiError
from services.chassis.keys import BUS, POOL, SETTINGS
from services.chassis.outbox import emit
from services.orders.drafts.parts import (
    Draft,
    check_open,
    check_unchanged,
    load_draft,
)
from services.orders.pricing import quotes
from services.orders.pricing.quotes import Basket, Quote, priced
from services.orders.pricing.rounds import StaleError, change_priced
from services.orders.reads import draft_json

log = structlog.get_logger()
REFRESH_SECONDS = 1.0  # a read does not wait for the catalog any longer


def basket_as_it_is(draft: Draft) -> Basket:
    """What the draft's cart holds, to be priced."""
    return Basket(
        region_id=draft.region_id,
        lines=draft.lines,
        methods=draft.methods,
        codes=[],
        customer_id=draft.customer_id,
        group_ids=draft.group_ids,
        discount_ids=draft.discount_ids,
    )


Plan = Callable[[Db, Draft], Awaitable[Basket | None]]
Change = Callable[[Db, Draft, Quote], Awaitable[str]]


async def change_draft(request: web.Request, draft_id: str, plan: Plan, change: Change) -> web.Response:
    """Quote what `plan` makes of the draft, and let `change` store it and answer. Without a plan nothing changes."""

    async def planned(db: Db) -> tuple[Draft, Basket] | str:
        draft = await load_draft(db, draft_id)
        check_open(draft.status)
        basket = await plan(db, draft)
        return (draft, basket) if basket is not None else await draft_json(db, draft_id)

    async def quoted(planned: tuple[Draft, Basket]) -> Quote:
        return await quotes.ask(request.app, planned[1])

    async def store(db: Db, planned: tuple[Draft, Basket], quote: Quote) -> str:
        await check_unchanged(db, planned[0])
        return await change(db, planned[0], quote)

    busy = "This draft order is being changed by others all the time; try again later."
    return await change_priced(request, plan=planned, quote=quoted, store=store, busy=busy)


async def emit_updated(db: Db, draft: Draft) -> None:
    """Emit that the draft has changed."""
    await emit(db, "draft_order.updated", draft.id, {"id": draft.id, "cart_id": draft.cart_id})


async def refresh(request: web.Request, draft: Draft) -> None:
    """Bring the taxes and discounts of an open draft up to date, if the catalog has anything new to say about them.

    Best effort: without the catalog a draft shows what it would have cost when it was last asked.
    """
    bus, settings = request.app[BUS], request.app[SETTINGS]
    if draft.status != "open" or not bus.connected:
        return
    try:
        async with asyncio.timeout(min(REFRESH_SECONDS, settings.command_deadline)):
            quote = await quotes.ask(request.app, basket_as_it_is(draft))
    except (ApiError, TimeoutError) as error:
        log.info("draft shown as it was", draft=draft.id, reason=repr(error))
        return
    if (priced(quote.lines), priced(quote.methods)) == (priced(draft.lines), priced(draft.methods)):
        return
    with suppress(StaleError, ApiError):
        async with request.app[POOL].acquire() as db, db.transaction():
            await check_unchanged(db, draft)
            await quotes.store_quote(db, draft.cart_id, quote, touch=False)
