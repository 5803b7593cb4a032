"""Reads of order edits: the edit with its own lines, how they differ from the order's, and what it would cost.

Shipping is the order's as it is now, and so is the total that `difference_due` compares with: it is 0 once an edit is
confirmed. Items and totals are always shown, whatever is chosen (docs/behaviour/after-sales.md, "Order edits").
"""

from dataclasses import replace

from services.chassis.db import Db
from services.chassis.embed import (
    Many,
    Page,
    Resource,
    Selection,
    cols,
    one_json,
    tree,
    without,
)
from services.chassis.errors import NotFound
from services.chassis.params import Filter, Query, described, search, text
from services.chassis.queries import one, page
from services.orders.reads import FULL
from services.orders.resources import ORDER_EDIT, PLAIN_EDIT, line

EDITS = """(
    select e.*, o.shipping_total, o.gift_card_total, o.gift_card_tax_total,
        e.item_tax_total + o.shipping_tax_total as tax_total, t.total, t.total - o.total as difference_due
    from order_edits e join orders o on o.id = e.order_id,
    lateral (select e.subtotal - e.discount_total + e.item_tax_total + o.shipping_total + o.shipping_tax_total
        - o.gift_card_total as total) t
)"""
TOTALS = (
    "subtotal",
    "discount_total",
    "shipping_total",
    "gift_card_total",
    "gift_card_tax_total",
    "tax_total",
    "total",
    "difference_due",
)
ITEM = line(f"{FULL} raw_discount_total")
EDIT = Resource(
    EDITS,
    {**PLAIN_EDIT.columns, **cols(" ".join(TOTALS))},
    {
        "changes": ORDER_EDIT.relations["changes"],
        "items": Many(
            Resource("line_items", ITEM.columns, ITEM.relations, always=tree(["adjustments", "tax_lines", "variant"])),
            "{t}.order_edit_id = {p}.id",
            "{t}.created_at, {t}.position",
        ),
        "order": ORDER_EDIT.relations["order"],
        "payment_collection": ORDER_EDIT.relations["payment_collection"],
    },
    always=tree(["items"]),
)
DEFAULT_FIELDS = tuple(name for name in PLAIN_EDIT.columns if name != "updated_at")
DEFAULT_EXPAND = tree(["changes.line_item.variant", "changes.original_line_item.variant", "payment_collection"])


def with_totals(chosen: Selection) -> Selection:
    """The selection, with what is shown whatever was asked for; columns in the order of their declaration. Items always
    come with the same relations."""
    shown = {*chosen.fields, "status", *TOTALS}
    fields = tuple(name for name in EDIT.columns if name in shown)
    return replace(chosen, fields=fields, tree=without(chosen.tree, "items"))


FILTERS: dict[str, Filter] = {
    "q": described(search("lower({t}.internal_note) like {q}"), "A part of the internal note."),
    "order_id": text("{t}.order_id"),
}
WHOLE = with_totals(Selection(DEFAULT_FIELDS, DEFAULT_EXPAND))


LISTED = page(EDIT, FILTERS, limit=20, fields=DEFAULT_FIELDS, expand=DEFAULT_EXPAND)
CHOSEN = one(EDIT, fields=DEFAULT_FIELDS, expand=DEFAULT_EXPAND)


def edits_page(query: Query, *_path: str) -> Page:
    """A checked list request. Raises InvalidData."""
    listed = LISTED.read(query)
    return replace(listed, chosen=with_totals(listed.chosen))


def shown_edit(query: Query, *_path: str) -> Selection:
    """What GET one shows. Raises InvalidData."""
    return with_totals(CHOSEN.read(query))


EDITS_LISTED = replace(LISTED, read=edits_page)
EDIT_SHOWN = replace(CHOSEN, read=shown_edit)
EDIT_ANSWER = {"order_edit": CHOSEN.rows}


async def edit_json(db: Db, edit_id: str, chosen: Selection = WHOLE) -> str:
    """`{"order_edit": ...}`. Raises NotFound."""
    row = await one_json(db, EDIT, chosen, "{t}.id = $1", edit_id)
    if row is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    return f'{{"order_edit":{row}}}'
