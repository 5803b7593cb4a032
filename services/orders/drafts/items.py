"""Lines of a draft order. Whatever changes what is shipped drops the shipping methods: they have to be chosen anew."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.chassis.db import Db
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body
from services.chassis.operations import delete, post
from services.orders.drafts.drafts import ItemBody, Price, new_line
from services.orders.drafts.parts import Draft, merged_metadata
from services.orders.drafts.pricing import change_draft, emit_updated
from services.orders.pricing import quotes
from services.orders.pricing.quotes import Basket, Quote, Row
from services.orders.reads import DRAFT_ANSWER, draft_json
from services.orders.totals import MAX_QUANTITY


class DraftItemUpdate(Body):
    """What is not sent stays."""

    unit_price: Price | None = None
    """In minor units; less than 0 counts as 0."""
    title: str | None = None
    quantity: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] | None = None
    """0 takes the line out."""
    metadata: dict[str, Any] | None = None
    """Merged into what is there; a key sent as an empty text goes away."""


def basket_of(draft: Draft, lines: list[Row], *, methods: bool = False) -> Basket:
    """The draft's cart with these lines, with its shipping methods or without."""
    return Basket(
        region_id=draft.region_id,
        lines=lines,
        methods=draft.methods if methods else [],
        codes=[],
        customer_id=draft.customer_id,
        group_ids=draft.group_ids,
        discount_ids=draft.discount_ids,
    )


def unshipped(lines: list[Row]) -> list[Row]:
    """The lines, none of which has a shipping method any more."""
    return [line | {"has_shipping": False} for line in lines]


def with_item(draft: Draft, item: ItemBody) -> Basket:
    """The draft's cart with the item: in a line of the same variant and metadata, if neither has a price of its own,
    or in a new one.

    A custom item needs no shipping method that the cart does not have.
    """
    added = new_line(item)
    if item.variant_id is None:
        return basket_of(draft, [*draft.lines, added], methods=True)
    for at, line in enumerate(draft.lines):
        same = line["variant_id"] == item.variant_id and (line["metadata"] or {}) == added["metadata"]
        if same and line["should_merge"] and added["should_merge"]:
            more = line | {"quantity": line["quantity"] + item.quantity}
            if more["quantity"] > MAX_QUANTITY:
                raise InvalidData("quantity: the line would hold more than can be handled.")
            return basket_of(draft, unshipped([*draft.lines[:at], more, *draft.lines[at + 1 :]]))
    return basket_of(draft, unshipped([*draft.lines, added]))


def with_changed_item(draft: Draft, line_id: str, body: DraftItemUpdate) -> Basket:
    """The draft's cart with the line changed, or without it at quantity 0. Raises InvalidData when it is not there."""
    if all(line["id"] != line_id for line in draft.lines):
        raise InvalidData(f"This draft order has no line {line_id}.")
    if body.quantity == 0:
        return without_item(draft, line_id)
    return basket_of(draft, [changed(line, body) if line["id"] == line_id else line for line in draft.lines])


def changed(line: Row, body: DraftItemUpdate) -> Row:
    """The line with what was sent."""
    row = dict(line)
    if body.unit_price is not None:
        row["unit_price"] = max(body.unit_price, 0)
    if body.quantity is not None:
        row["quantity"] = body.quantity
    if body.title is not None:
        row["title"] = body.title
    if body.metadata is not None:
        row["metadata"] = merged_metadata(line["metadata"], body.metadata)
    return row


def without_item(draft: Draft, line_id: str) -> Basket:
    """The draft's cart without the line."""
    return basket_of(draft, unshipped([line for line in draft.lines if line["id"] != line_id]))


async def store_lines(db: Db, draft: Draft, quote: Quote) -> str:
    """Store what was quoted, and answer with the draft."""
    await quotes.store_quote(db, draft.cart_id, quote)
    await emit_updated(db, draft)
    return await draft_json(db, draft.id)


# Handlers


async def post_line_items(request: web.Request, draft_id: str, body: ItemBody) -> web.Response:
    async def plan(db: Db, draft: Draft) -> Basket:
        return with_item(draft, body)

    return await change_draft(request, draft_id, plan, store_lines)


async def post_line_item(request: web.Request, draft_id: str, line_id: str, body: DraftItemUpdate) -> web.Response:
    async def plan(db: Db, draft: Draft) -> Basket:
        return with_changed_item(draft, line_id, body)

    return await change_draft(request, draft_id, plan, store_lines)


async def delete_line_item(request: web.Request, draft_id: str, line_id: str) -> web.Response:
    async def plan(db: Db, draft: Draft) -> Basket | None:
        return without_item(draft, line_id) if any(line["id"] == line_id for line in draft.lines) else None

    return await change_draft(request, draft_id, plan, store_lines)


ERRORS = (NotFound, NotAllowed, Conflict, Unavailable)
OPERATIONS = [
    post(
        "/admin/draft-orders/{id}/line-items",
        post_line_items,
        "Add a line to a draft order",
        description="A variant with the same metadata as a line that has no price of its own raises that line's "
        "quantity. Adding a variant drops the shipping methods; adding a custom line does not. Refused once the draft "
        "is paid.",
        body=ItemBody,
        example={"variant_id": "variant_01HBZ4R8V3A5", "quantity": 2},
        answer=DRAFT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
    post(
        "/admin/draft-orders/{id}/line-items/{line_id}",
        post_line_item,
        "Update a line of a draft order",
        description="Drops the shipping methods of the draft. Refused with 400 for a line that the draft does not "
        "have, and once it is paid.",
        body=DraftItemUpdate,
        example={"quantity": 3},
        answer=DRAFT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
    delete(
        "/admin/draft-orders/{id}/line-items/{line_id}",
        delete_line_item,
        "Delete a line of a draft order",
        description="Drops the shipping methods of the draft. A line that is not there is no error; the draft is "
        "answered as it is. Refused once it is paid.",
        answer=DRAFT_ANSWER,
        errors=ERRORS,
        asks_others=True,
    ),
]
