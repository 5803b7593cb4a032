"""Gift cards: made by hand or sold in an order (gift_card_issue.py), changed, deleted, found.

Their regions and orders are copies. Whether a region exists, and how it taxes cards, is asked for; an order that is
shown is asked for, too, because it changes without an event that is heard here.
"""

import secrets
import string
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import BeforeValidator, Field

from services.chassis import copies
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Page, Resource, Selection, cols, one_json, page_json, page_query, tree
from services.chassis.errors import InvalidData, NotFound, Unavailable
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.keys import POOL
from services.chassis.operations import deletion, get, post
from services.chassis.outbox import emit
from services.chassis.params import TEXT, Bind, Filter, Query, described, moment, word
from services.chassis.queries import Parameters, schemas_of_list
from services.chassis.schemas import Rows, page_of
from services.payments import remote
from services.payments.provider_protocol import Row
from services.payments.resources import GIFT_CARD, MAX_AMOUNT

CODE_LETTERS = string.ascii_uppercase + string.digits

Moment = Annotated[datetime, BeforeValidator(lambda value: moment("a date", value))]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]

WHOLE = Selection(tuple(GIFT_CARD.columns), tree(("order", "region")))
LIVE = "{t}.id = $1 and {t}.deleted_at is null"
# What else a page or a card needs: see `refresh`.
ABROAD = Resource("gift_cards", cols("order_id region_id"))
ALL_ABROAD = Selection(tuple(ABROAD.columns), ())


class GiftCardBody(Body):
    region_id: str
    value: Amount
    is_disabled: bool = ABSENT
    ends_at: Moment | None = None
    metadata: dict[str, Any] | None = None


class GiftCardUpdate(Body):
    balance: Amount = ABSENT
    is_disabled: bool = ABSENT
    ends_at: Moment | None = None
    region_id: str | None = None
    metadata: dict[str, Any] | None = None


def matching(name: str, value: Any, bind: Bind) -> str:
    """A part of the code, or the whole number of the order that a card was sold in."""
    part = word(name, value).strip()
    # No letter of a code means anything to `like`.
    within = f"position(upper({bind(part)}::text) in {{t}}.code) > 0"
    return f"({within} or {{t}}.display_id::text = {bind(part)})"


LIMIT = 50
FILTERS: dict[str, Filter] = {
    "q": described(Filter(matching, TEXT), "A part of the code, or the number of the order that sold it.")
}

INSERT_CARD = """
insert into gift_cards (id, code, value, balance, region_id, is_disabled, ends_at, tax_rate, metadata)
values ($1, $2, $3, $3, $4, $5, $6, $7, $8::text::jsonb)
"""
LOCK_CARD = "select value, order_id from gift_cards where id = $1 and deleted_at is null for update"
# $2: the body as JSON; what it does not name stays. Metadata is merged, a value of "" takes its key away.
UPDATE_CARD = """
update gift_cards t set
    (balance, is_disabled, ends_at) = (
        select n.balance, n.is_disabled, n.ends_at
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata' - 'region_id') n
    ),
    region_id = coalesce(nullif($2::text::jsonb ->> 'region_id', ''), region_id),
    metadata = case when jsonb_typeof($2::text::jsonb -> 'metadata') = 'object' then
        (coalesce(metadata, '{}') || ($2::text::jsonb -> 'metadata'))
            - array(select key from jsonb_each($2::text::jsonb -> 'metadata') where value = '""')
    else metadata end,
    updated_at = now()
where id = $1
"""
DELETE_CARD = """
update gift_cards set deleted_at = now(), updated_at = now() where id = $1 and deleted_at is null returning order_id
"""


def new_code() -> str:
    """XXXX-XXXX-XXXX-XXXX; 36 ** 16 of them, and nobody can guess the next."""
    return "-".join("".join(secrets.choice(CODE_LETTERS) for _ in range(4)) for _ in range(4))


def card_tax_rate(region_rate: float | None, *, taxable: bool, rate: float | None = None) -> float | None:
    """The rate of a card: that of the line that sold it, else the region's; none where cards are not taxed."""
    return (rate or region_rate or None) if taxable else None


async def refresh(app: web.Application, page: Page) -> None:
    """Bring copies of what the page's cards show up to date, best effort: their orders, and regions never seen."""
    pool = app[POOL]
    text = await page_json(pool, "cards", replace(page, resource=ABROAD, chosen=ALL_ABROAD))
    cards = orjson.loads(text)["cards"]
    order_ids = sorted({card["order_id"] for card in cards} - {None})
    region_ids = await copies.missing(pool, "region", sorted({card["region_id"] for card in cards})) if cards else []
    for service, kind, ids in (("orders", "order", order_ids), ("catalog", "region", region_ids)):
        await remote.fetch_documents(app, service, {kind: ids})


# Actions


async def gift_card_json(db: Db, card_id: str) -> str:
    """`{"gift_card": {...}}` as JSON text. Raises NotFound."""
    text = await one_json(db, GIFT_CARD, WHOLE, LIVE, card_id)
    if text is None:
        raise NotFound(f"There is no gift card {card_id}.")
    return f'{{"gift_card":{text}}}'


async def access_gift_card(db: Db, card_id: str) -> Any:
    """Lock the card and return its row. Raises NotFound."""
    card = await db.fetchrow(LOCK_CARD, card_id)
    if card is None:
        raise NotFound(f"There is no gift card {card_id}.")
    return card


async def create_gift_card(db: Db, body: GiftCardBody, region: Row) -> str:
    """A card worth `value`, in the region whose document is given."""
    await copies.store(db, "region", [region])
    card_id = new_id("gift")
    await db.execute(
        INSERT_CARD,
        card_id,
        new_code(),
        body.value,
        body.region_id,
        bool(body.is_disabled),
        body.ends_at,
        card_tax_rate(region["body"]["tax_rate"], taxable=region["body"]["gift_cards_taxable"]),
        json_or_null(body.metadata),
    )
    await emit(db, "gift_card.created", card_id, {"id": card_id, "order_id": None})
    return card_id


async def update_gift_card(db: Db, card_id: str, body: GiftCardUpdate, region: Row | None) -> None:
    """Change what the body names. Raises InvalidData for a balance of more than the card was worth."""
    card = await access_gift_card(db, card_id)
    if body.balance is not None and body.balance > card["value"]:
        raise InvalidData(f"balance: must not be more than the value of the card, {card['value']}.")
    if region is not None:
        await copies.store(db, "region", [region])
    await db.execute(UPDATE_CARD, card_id, body.model_dump_json(exclude_unset=True))
    await emit(db, "gift_card.updated", card_id, {"id": card_id, "order_id": card["order_id"]})


async def remove_gift_card(db: Db, card_id: str) -> None:
    """The card is gone. Nothing happens when there is none."""
    row = await db.fetchrow(DELETE_CARD, card_id)
    if row is not None:
        await emit(db, "gift_card.deleted", card_id, {"id": card_id, "order_id": row["order_id"]})


# Handlers


def cards_page(query: Query) -> Page:
    """A list of cards, each shown whole. Raises InvalidData."""
    where, knows = "{t}.deleted_at is null", ("limit", "offset", "order")
    return replace(page_query(GIFT_CARD, query, FILTERS, limit=LIMIT, where=where, knows=knows), chosen=WHOLE)


def one_card(card_id: str) -> Page:
    """A page of nothing but this card."""
    return Page(GIFT_CARD, WHOLE, LIVE, "{t}.id", (card_id,), 1, 0)


async def get_gift_cards(request: web.Request, page: Page) -> web.Response:
    await refresh(request.app, page)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "gift_cards", page))


async def post_gift_cards(request: web.Request, body: GiftCardBody) -> web.Response:
    region = await remote.region(request.app, body.region_id)
    async with transaction(request) as db:
        card_id = await create_gift_card(db, body, region)
        return json_bytes(request, await gift_card_json(db, card_id))


async def get_gift_card(request: web.Request, card_id: str) -> web.Response:
    await refresh(request.app, one_card(card_id))
    async with reading(request) as db:
        return json_bytes(request, await gift_card_json(db, card_id))


async def post_gift_card(request: web.Request, card_id: str, body: GiftCardUpdate) -> web.Response:
    region = await remote.region(request.app, body.region_id) if body.region_id else None
    await refresh(request.app, one_card(card_id))
    async with transaction(request) as db:
        await update_gift_card(db, card_id, body, region)
        return json_bytes(request, await gift_card_json(db, card_id))


CARD_ROWS = Rows((GIFT_CARD,), WHOLE.tree)
CARDS = Parameters(
    cards_page,
    schemas_of_list(FILTERS, LIMIT, ("limit", "offset", "order")),
    CARD_ROWS,
)
CARD_ANSWER = {"gift_card": CARD_ROWS}
OPERATIONS = [
    get(
        "/admin/gift-cards",
        get_gift_cards,
        "List gift cards",
        query=CARDS,
        answer=page_of("gift_cards", CARD_ROWS),
        asks_others=True,
    ),
    post(
        "/admin/gift-cards",
        post_gift_cards,
        "Create a gift card",
        description="Worth `value`, in minor units of its region's currency; its code is made here. Cards sold in "
        "orders make themselves when the order is paid.",
        body=GiftCardBody,
        example={"region_id": "reg_01J0000000000000000000000", "value": 5000},
        answer=CARD_ANSWER,
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    get(
        "/admin/gift-cards/{id}",
        get_gift_card,
        "Get a gift card",
        answer=CARD_ANSWER,
        errors=(NotFound,),
        asks_others=True,
    ),
    post(
        "/admin/gift-cards/{id}",
        post_gift_card,
        "Update a gift card",
        description="What is not sent stays. Refused for a balance of more than the card was worth.",
        body=GiftCardUpdate,
        example={"balance": 2500, "is_disabled": False},
        answer=CARD_ANSWER,
        errors=(NotFound, InvalidData, Unavailable),
        asks_others=True,
    ),
    deletion(
        "/admin/gift-cards/{id}",
        remove_gift_card,
        "gift-card",
        "Delete a gift card",
        description="It can no longer be spent. A card that is not there is no error.",
    ),
]
