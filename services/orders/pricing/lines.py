"""The rows of lines and shipping methods, with their tax lines and adjustments: the only place that writes them.

A new column is named here once. A statement is made for the columns of which the rows say anything; those of which they
say nothing keep what they have, or get the default of the table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from services.chassis.db import Db
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.orders.totals import LineTotals, MethodTotals

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of what is priced, and that of its tax lines with the column that points at it. `owners` say what a row
    belongs to: they are written once, `columns` whenever they change. `dated` are those that make a row a newer one."""

    name: str
    taxes: str
    key: str
    prefix: str
    owners: tuple[str, ...]
    columns: tuple[str, ...]
    dated: tuple[str, ...] = ()

    def columns_of(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """The columns of which the rows say anything."""
        names = {name for row in rows for name in row}
        return tuple(name for name in ("id", *self.owners, *self.columns) if name in names)

    def changes(self, columns: Sequence[str], new: str) -> str:
        """What is set of a row `t`, as the row `new` has it."""
        assignments = [f"{name} = {new}.{name}" for name in self.columns if name in columns]
        dated = [name for name in self.dated if name in columns]
        if dated:
            old, now = ", ".join(f"t.{name}" for name in dated), ", ".join(f"{new}.{name}" for name in dated)
            assignments.append(
                f"updated_at = case when ({old}) is distinct from ({now}) then now() else t.updated_at end"
            )
        return ", ".join(assignments)


LINE_TOTALS = tuple(field.name for field in fields(LineTotals))
LINES = Table(
    name="line_items",
    taxes="line_item_tax_lines",
    key="item_id",
    prefix="litl",
    owners=("cart_id", "order_id", "swap_id", "claim_order_id", "order_edit_id", "original_item_id"),
    columns=(
        *("title", "description", "thumbnail", "variant_id", "product_id", "unit_price", "quantity"),
        *("is_return", "is_giftcard", "should_merge", "allow_discounts", "has_shipping", "includes_tax", "metadata"),
        *("has_tax_lines", *LINE_TOTALS),
    ),
    dated=("title", "unit_price", "quantity", "metadata", "has_shipping"),
)
METHODS = Table(
    name="shipping_methods",
    taxes="shipping_method_tax_lines",
    key="shipping_method_id",
    prefix="smtl",
    owners=("cart_id", "order_id", "swap_id", "claim_order_id", "return_id"),
    columns=(
        *("shipping_option_id", "profile_id", "provider_id", "price", "asked_price", "data", "includes_tax"),
        *(field.name for field in fields(MethodTotals)),
    ),
)

# $1 rows, $2 a cart that has no others. Rows that stay keep their owners, their created_at and position.
STORE_ROWS = """
with gone as (
    delete from {name} where cart_id = $2 and id not in (
        select id from jsonb_to_recordset($1::text::jsonb) as x(id text))
)
insert into {name} as t ({columns})
select {columns} from jsonb_populate_recordset(null::{name}, $1::text::jsonb) with ordinality order by ordinality
on conflict (id) do update set {changes}
"""
CHANGE_ROWS = (
    "update {name} t set {changes} from jsonb_populate_recordset(null::{name}, $1::text::jsonb) x where t.id = x.id"
)
DELETE_ROWS = "delete from {name} where cart_id = $1"
# $1 ids of rows, $2 their tax lines
STORE_TAXES = """
with gone as (
    delete from {taxes} where {key} = any($1::text[])
)
insert into {taxes} (id, {key}, rate, name, code, frozen)
select id, {key}, rate, name, code, frozen
from jsonb_populate_recordset(null::{taxes}, $2::text::jsonb) with ordinality order by ordinality
"""
# $1 ids of lines, $2 their adjustments
STORE_ADJUSTMENTS = """
with gone as (
    delete from line_item_adjustments where item_id = any($1::text[])
)
insert into line_item_adjustments (id, item_id, discount_id, description, amount)
select id, item_id, discount_id, description, amount
from jsonb_populate_recordset(null::line_item_adjustments, $2::text::jsonb) with ordinality order by ordinality
"""
LINES_TO_COPY = """
select
    array(select id from line_items where order_id = $1 and id = any(coalesce($2::text[], array[id]))
        order by created_at, position) as lines,
    array(select x.id from line_item_tax_lines x join line_items l on l.id = x.item_id
        where l.order_id = $1 and l.id = any(coalesce($2::text[], array[l.id])) order by x.position) as taxes,
    array(select x.id from line_item_adjustments x join line_items l on l.id = x.item_id
        where l.order_id = $1 and l.id = any(coalesce($2::text[], array[l.id])) order by x.position) as adjustments
"""
# $1 edit, $2 $3 lines and ids of their copies, $4 $5 the same of tax lines, $6 $7 of adjustments. A copy is as old as
# its line, so that it takes its place in every list.
COPY_LINES = f"""
with lines as (
    select * from unnest($2::text[], $3::text[]) with ordinality as x(old, new, n)
), copied as (
    insert into line_items (
        id, order_edit_id, original_item_id, fulfilled_quantity, shipped_quantity, returned_quantity, created_at,
        {", ".join(LINES.columns)}
    )
    select lines.new, $1, id, fulfilled_quantity, shipped_quantity, returned_quantity, created_at,
        {", ".join(LINES.columns)}
    from lines join line_items l on l.id = lines.old order by lines.n
), taxes as (
    insert into line_item_tax_lines (id, item_id, rate, name, code, frozen, metadata)
    select x.new, lines.new, t.rate, t.name, t.code, t.frozen, t.metadata
    from unnest($4::text[], $5::text[]) with ordinality as x(old, new, n)
    join line_item_tax_lines t on t.id = x.old join lines on lines.old = t.item_id order by x.n
)
insert into line_item_adjustments (id, item_id, discount_id, description, amount, metadata)
select x.new, lines.new, a.discount_id, a.description, a.amount, a.metadata
from unnest($6::text[], $7::text[]) with ordinality as x(old, new, n)
join line_item_adjustments a on a.id = x.old join lines on lines.old = a.item_id order by x.n
"""  # noqa: S608 - the text is ours


@cache
def statement(text: str, table: Table, columns: tuple[str, ...] = ()) -> str:
    """The statement for rows of the table that say something of these columns."""
    return text.format(
        name=table.name,
        taxes=table.taxes,
        key=table.key,
        columns=", ".join(columns),
        changes=table.changes(columns, "x" if text is CHANGE_ROWS else "excluded"),
    )


async def store_rows(db: Db, table: Table, rows: Sequence[Row], **owner: str) -> None:
    """Add the rows, or change those that there are. With a `cart_id` all others of that cart go."""
    if not rows:
        await db.execute(statement(DELETE_ROWS, table), owner.get("cart_id"))
        return
    owned = [row | owner for row in rows]
    columns = table.columns_of(owned)
    text = json_text([{name: row.get(name) for name in columns} for row in owned])
    await db.execute(statement(STORE_ROWS, table, columns), text, owner.get("cart_id"))


async def change_rows(db: Db, table: Table, rows: Sequence[Row]) -> None:
    """Change the rows, which there are, in what they say."""
    if rows:
        columns = table.columns_of(rows)
        text = json_text([{name: row.get(name) for name in columns} for row in rows])
        await db.execute(statement(CHANGE_ROWS, table, columns), text)


async def store_taxes(db: Db, table: Table, rows: Sequence[Row], *, frozen: bool) -> None:
    """Make the `tax_lines` of the rows those that they have. `frozen` ones never change again."""
    taxes = [
        {"id": new_id(table.prefix), table.key: row["id"], "frozen": frozen, "rate": rate["rate"] or 0}
        | {name: rate[name] for name in ("name", "code")}
        for row in rows
        for rate in row["tax_lines"]
    ]
    if rows:
        await db.execute(statement(STORE_TAXES, table), [row["id"] for row in rows], json_text(taxes))


async def store_adjustments(db: Db, lines: Sequence[Row]) -> None:
    """Make the `discounts` of the lines those that they have."""
    adjustments = [
        {"id": new_id("lia"), "item_id": line["id"]}
        | {name: discount[name] for name in ("discount_id", "description", "amount")}
        for line in lines
        for discount in line["discounts"]
    ]
    if lines:
        await db.execute(STORE_ADJUSTMENTS, [line["id"] for line in lines], json_text(adjustments))


def method_row(method: Row) -> Row:
    """A shipping method as the catalog quotes it, as a row with its `tax_lines`."""
    names = ("id", "profile_id", "provider_id", "price", "includes_tax")
    row = {name: method[name] for name in names}
    return row | {"shipping_option_id": method["option_id"], "tax_lines": method["tax_rates"]}


async def copy_lines(db: Db, edit_id: str, order_id: str, lines: Mapping[str, str] | None = None) -> None:
    """Give the edit copies of the order's lines, which is locked: of all, or of those in `lines`, {id: id of the
    copy}."""
    parts = await db.fetchrow(LINES_TO_COPY, order_id, None if lines is None else list(lines))
    copies = {id_: new_id("item") for id_ in parts["lines"]} if lines is None else lines
    await db.execute(
        COPY_LINES,
        edit_id,
        list(copies),
        list(copies.values()),
        parts["taxes"],
        [new_id("litl") for _ in parts["taxes"]],
        parts["adjustments"],
        [new_id("lia") for _ in parts["adjustments"]],
    )
