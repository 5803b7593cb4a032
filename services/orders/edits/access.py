"""Order edits as actions find them: under the lock of their order, with what may be done to them when. And the copies
of an order's lines that an edit begins with.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis.db import Db
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.ids import new_id
from services.orders import status
from services.orders.orders.orders import access_order
from services.orders.resources import PLAIN_EDIT

STATUS = PLAIN_EDIT.columns["status"].format(t="e")
ACTIVE = ("created", "requested")

ORDER_OF = "select order_id from order_edits where id = $1"
FIND = f"select e.*, {STATUS} as status from order_edits e where e.id = $1"  # noqa: S608 - the text is ours
PARTS = """
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
COPY = """
with lines as (
    select * from unnest($2::text[], $3::text[]) with ordinality as x(old, new, n)
), copied as (
    insert into line_items (
        id, order_edit_id, original_item_id, title, description, thumbnail, variant_id, product_id, unit_price,
        quantity, fulfilled_quantity, shipped_quantity, returned_quantity, is_return, is_giftcard, should_merge,
        allow_discounts, has_shipping, includes_tax, metadata, has_tax_lines, subtotal, discount_total,
        raw_discount_total, tax_total, total, original_tax_total, original_total, refundable, created_at
    )
    select lines.new, $1, l.id, l.title, l.description, l.thumbnail, l.variant_id, l.product_id, l.unit_price,
        l.quantity, l.fulfilled_quantity, l.shipped_quantity, l.returned_quantity, l.is_return, l.is_giftcard,
        l.should_merge, l.allow_discounts, l.has_shipping, l.includes_tax, l.metadata, l.has_tax_lines, l.subtotal,
        l.discount_total, l.raw_discount_total, l.tax_total, l.total, l.original_tax_total, l.original_total,
        l.refundable, l.created_at
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
"""


async def access_edit(
    db: Db, edit_id: str, operation: str, saga_id: str = ""
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The edit and its order, which is locked, and with it all that is done to its edits.

    Raises NotFound, and Conflict while a saga that the operation waits for is under way (orders.access_order).
    """
    order_id = await db.fetchval(ORDER_OF, edit_id)
    if order_id is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    order = await access_order(db, order_id, operation, saga_id)
    # A statement of its own after the lock: one that had to wait for the lock would still see what was before.
    edit = await db.fetchrow(FIND, edit_id)
    if edit is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    return edit, order


def check_active(edit_status: str, order_status: str, action: str) -> None:
    """Raises NotAllowed for an edit that has come to its end, and one of a canceled order. `action` completes "cannot
    be ..."."""
    if edit_status not in ACTIVE:
        raise NotAllowed(f"A {edit_status} order edit cannot be {action}.")
    status.check_alive(order_status, "edited")


async def copy_lines(db: Db, edit_id: str, order_id: str, lines: Mapping[str, str] | None = None) -> None:
    """Give the edit copies of the order's lines, which is locked: of all, or of those in `lines`, {id: id of the
    copy}."""
    parts = await db.fetchrow(PARTS, order_id, None if lines is None else list(lines))
    made = {id_: new_id("item") for id_ in parts["lines"]} if lines is None else lines
    await db.execute(
        COPY,
        edit_id,
        list(made),
        list(made.values()),
        parts["taxes"],
        [new_id("litl") for _ in parts["taxes"]],
        parts["adjustments"],
        [new_id("lia") for _ in parts["adjustments"]],
    )
