"""What the lines of an order edit cost: the edit as it stands, asking the catalog, and storing lines with their totals.

A line that was sold keeps its price and its tax rates; a line that is added gets those of now, as its customer would.
The order's discounts are spread over all lines anew, so the catalog is asked whenever there are any. That is done
without a transaction, about the edit as it was at that moment, and stored only while its version is still the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import orjson
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import NotFound
from services.chassis.jsons import json_text
from services.orders import remote
from services.orders.edits.access import STATUS, access_edit, check_active
from services.orders.pricing.amounts import added_up
from services.orders.pricing.lines import (
    LINE_TOTALS,
    LINES,
    change_rows,
    copy_lines,
    store_adjustments,
    store_rows,
    store_taxes,
)
from services.orders.pricing.quotes import Row, store_copies
from services.orders.pricing.rounds import StaleError

# A line {l} as it is planned with; {k} is the id of the order's line whose counters hold for it. `kept` of it cannot be
# taken away any more: it was fulfilled, shipped or returned. `discounts` are those of one unit.
LINE_FACTS = """json_build_object(
    'id', {l}.id, 'original_item_id', {l}.original_item_id, 'variant_id', {l}.variant_id,
    'unit_price', {l}.unit_price, 'quantity', {l}.quantity, 'includes_tax', {l}.includes_tax,
    'returned', (select coalesce(k.returned_quantity, 0) from line_items k where k.id = {k}),
    'kept', (
        select coalesce(greatest(k.fulfilled_quantity, k.shipped_quantity, k.returned_quantity), 0)
        from line_items k where k.id = {k}
    ),
    'tax_lines', (
        select coalesce(json_agg(json_build_object('rate', x.rate, 'name', x.name, 'code', x.code)
            order by x.position), '[]') from line_item_tax_lines x where x.item_id = {l}.id
    ),
    'adjustments', array(select x.amount from line_item_adjustments x where x.item_id = {l}.id order by x.position),
    'discounts', (
        select coalesce(json_agg(json_build_object('discount_id', x.discount_id, 'description', x.description,
            'amount', x.amount / {l}.quantity) order by x.position), '[]')
        from line_item_adjustments x where x.item_id = {l}.id
    )
)"""
OWN_LINE = LINE_FACTS.format(l="l", k="coalesce(l.original_item_id, l.id)")
ORIGINAL_LINE = LINE_FACTS.format(l="f", k="f.id")
LOAD_EDIT = f"""
select json_build_object(
    'id', e.id, 'order_id', e.order_id, 'status', {STATUS}, 'version', e.version, 'order_status', o.status,
    'region_id', o.region_id, 'customer_id', o.customer_id,
    'group_ids', array(
        select customer_group_id from customer_group_customers where customer_id = o.customer_id order by 1
    ),
    'discount_ids', array(select discount_id from order_discounts where order_id = o.id order by position),
    'lines', (
        select coalesce(json_agg({OWN_LINE} order by l.created_at, l.position), '[]')
        from line_items l where l.order_edit_id = e.id
    ),
    'changes', (
        select coalesce(json_agg(json_build_object(
            'id', h.id, 'type', h.type, 'line_item_id', h.line_item_id, 'original', (
                select {ORIGINAL_LINE} from line_items f where f.id = h.original_line_item_id
            )
        ) order by h.position), '[]') from order_item_changes h where h.order_edit_id = e.id
    )
)::text
from order_edits e join orders o on o.id = e.order_id where e.id = $1
"""  # noqa: S608 - the text is ours


@dataclass(frozen=True)
class Edit:
    """An order edit with its lines and changes, as it stood when it was read."""

    id: str
    order_id: str
    status: str
    version: int
    order_status: str
    region_id: str
    customer_id: str
    group_ids: list[str]
    discount_ids: list[str]
    lines: list[Row]
    changes: list[Row]

    def line(self, line_id: str) -> Row | None:
        """The line of the edit with this id; None where it has none."""
        return next((line for line in self.lines if line["id"] == line_id), None)

    def change_of(self, line_id: str) -> Row | None:
        """The change that its line came with, or was updated by."""
        return next((change for change in self.changes if change["line_item_id"] == line_id), None)


@dataclass(frozen=True)
class Plan:
    """What an edit becomes: all its lines, and the changes that come and go. A line without `unit_price` is new; one
    with `copy_of` is that line of the order once more."""

    lines: list[Row]
    add: list[Row] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)


async def load_edit(db: Db, edit_id: str) -> Edit:
    """The edit as it stands. Raises NotFound."""
    text = await db.fetchval(LOAD_EDIT, edit_id)
    if text is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    return Edit(**orjson.loads(text))


async def check_unchanged(db: Db, edit: Edit) -> None:
    """Lock the edit. Raises StaleError when it is no longer as it was read, and what `access_edit` raises."""
    row, order = await access_edit(db, edit.id, "change_edit")
    check_active(row["status"], order["status"], "changed")
    if row["version"] != edit.version:
        raise StaleError


def question(edit: Edit, plan: Plan) -> Row:
    """The body of the catalog's command `price_cart`: what was sold keeps its price and its tax rates."""
    return {
        "region_id": edit.region_id,
        "customer_id": edit.customer_id,
        "customer_group_ids": edit.group_ids,
        "group_prices": True,
        "discount_ids": edit.discount_ids,
        "discounts_kept": True,
        "items": [
            {name: line[name] for name in ("id", "variant_id", "quantity", "unit_price", "includes_tax")}
            | {"tax_rates": None if line["unit_price"] is None else line["tax_lines"]}
            for line in plan.lines
        ],
        "shipping_methods": [],
    }


async def price(app: web.Application, edit: Edit, plan: Plan) -> Row | None:
    """The catalog's reply; None when there is nothing to ask. Raises what it refuses with, and Unavailable."""
    if not edit.discount_ids and all(line["unit_price"] is not None for line in plan.lines):
        return None
    return await remote.price_cart(app, question(edit, plan))


def priced(lines: Sequence[Row], reply: Row | None) -> list[Row]:
    """The lines with the reply worked in: `discounts` where the catalog has spread them, and all totals."""
    items = {} if reply is None else {item["id"]: item for item in reply["items"]}
    rows = [quoted(line, items.get(line["id"])) for line in lines]
    by_line, _, _ = added_up(rows, [])
    return [row | asdict(by_line[row["id"]]) for row in rows]


def quoted(line: Row, item: Row | None) -> Row:
    """The line with its discounts, called, priced and taxed as the catalog says where it is new. What the catalog has
    no more keeps the discount that it was sold with."""
    row = line
    if item is not None:
        discounts = item["adjustments"]
        if item["product_id"] is None:
            discounts = [unit | {"amount": unit["amount"] * line["quantity"]} for unit in line["discounts"]]
        row = line | {"discounts": discounts, "adjustments": [discount["amount"] for discount in discounts]}
        if line["unit_price"] is None:
            names = ("title", "description", "thumbnail", "product_id", "unit_price", "includes_tax", "is_giftcard")
            row |= {name: item[name] for name in (*names, "allow_discounts")} | {"tax_lines": item["tax_rates"]}
    return row | {"rates": [rate["rate"] or 0 for rate in row["tax_lines"]]}


DROP_CHANGES = "delete from order_item_changes where order_edit_id = $1 and id = any($2::text[])"
DROP_LINES = "delete from line_items where order_edit_id = $1 and id <> all ($2::text[])"
ADD_CHANGES = """
insert into order_item_changes (id, order_edit_id, type, line_item_id, original_line_item_id)
select id, $1, type, line_item_id, original_line_item_id
from jsonb_to_recordset($2::text::jsonb) as x(
    id text, type text, line_item_id text, original_line_item_id text)
"""
STORE_EDIT = """
update order_edits set subtotal = $2, discount_total = $3, item_tax_total = $4, version = version + 1,
    updated_at = now()
where id = $1
"""


async def store_plan(db: Db, edit: Edit, plan: Plan, reply: Row | None) -> None:
    """Make the edit what was planned and priced. It is locked, and as it was read (check_unchanged)."""
    lines = priced(plan.lines, reply)
    ids = [line["id"] for line in lines]
    new = [line for line, planned in zip(lines, plan.lines, strict=True) if planned["unit_price"] is None]
    if reply is not None:
        await store_copies(db, reply["copies"])
    await db.execute(DROP_CHANGES, edit.id, plan.drop)
    await db.execute(DROP_LINES, edit.id, ids)
    if copied := {line["copy_of"]: line["id"] for line in lines if "copy_of" in line}:
        await copy_lines(db, edit.id, edit.order_id, copied)
    if new:
        await store_rows(db, LINES, new, order_edit_id=edit.id)
        await store_taxes(db, LINES, new, frozen=True)
    if reply is not None:
        await store_adjustments(db, lines)
    await change_rows(db, LINES, [{name: line[name] for name in ("id", "quantity", *LINE_TOTALS)} for line in lines])
    await db.execute(ADD_CHANGES, edit.id, json_text(plan.add))
    _, _, total = added_up(lines, [])
    await db.execute(STORE_EDIT, edit.id, total.subtotal, total.discount_total, total.item_tax_total)
