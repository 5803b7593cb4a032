"""Stored totals: read what they are made of, add it up (totals.py), write it back.

Every action that changes a price, a quantity, a tax line or a discount of an order calls this before it answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from services.chassis.db import Db
from services.chassis.jsons import json_text
from services.orders.pricing.lines import LINES, METHODS, change_rows
from services.orders.totals import Line, LineTotals, Method, MethodTotals, Totals, line_totals, method_totals, totals

PARTS_OF_TOTALS = """
select
    (select coalesce(json_agg(json_build_object(
        'id', l.id, 'unit_price', l.unit_price, 'quantity', l.quantity, 'includes_tax', l.includes_tax,
        'returned', coalesce(l.returned_quantity, 0),
        'rates', array(select x.rate from line_item_tax_lines x where x.item_id = l.id order by x.position),
        'adjustments', array(select x.amount from line_item_adjustments x where x.item_id = l.id order by x.position)
    ) order by l.position), '[]') from line_items l where l.order_id = $1)::text as lines,
    (select coalesce(json_agg(json_build_object(
        'id', m.id, 'price', m.price, 'includes_tax', m.includes_tax,
        'rates', array(
            select x.rate from shipping_method_tax_lines x where x.shipping_method_id = m.id order by x.position)
    ) order by m.position), '[]') from shipping_methods m where m.order_id = $1)::text as methods
"""
STORE_TOTALS = """
update orders o set
    (subtotal, discount_total, raw_discount_total, shipping_total, item_tax_total, shipping_tax_total, tax_total,
     gift_card_total, gift_card_tax_total, total)
    = (x.subtotal, x.discount_total, x.raw_discount_total, x.shipping_total, x.item_tax_total, x.shipping_tax_total,
       x.tax_total, x.gift_card_total, x.gift_card_tax_total, x.total),
    updated_at = now()
from jsonb_to_record($2::text::jsonb) as x(
    subtotal bigint, discount_total bigint, raw_discount_total float8, shipping_total bigint, item_tax_total bigint,
    shipping_tax_total bigint, tax_total bigint, gift_card_total bigint, gift_card_tax_total bigint, total bigint)
where o.id = $1
"""
Row = Mapping[str, Any]


def added_up(
    lines: Iterable[Row], methods: Iterable[Row]
) -> tuple[dict[str, LineTotals], dict[str, MethodTotals], Totals]:
    """Totals of lines and methods by id, and of all together."""
    by_line = {
        row["id"]: line_totals(
            Line(
                row["unit_price"],
                row["quantity"],
                row["includes_tax"],
                row["rates"],
                row["adjustments"],
                row.get("returned", 0),
            )
        )
        for row in lines
    }
    by_method = {row["id"]: method_totals(Method(row["price"], row["includes_tax"], row["rates"])) for row in methods}
    return by_line, by_method, totals(by_line.values(), by_method.values())


async def recompute_order(db: Db, order_id: str) -> Totals:
    """Bring the stored totals of an order up to date with its rows. The caller holds the order's lock."""
    parts = await db.fetchrow(PARTS_OF_TOTALS, order_id)
    lines = orjson.loads(parts["lines"])
    by_line, by_method, total = added_up(lines, orjson.loads(parts["methods"]))
    taxed = {"has_tax_lines": any(row["rates"] for row in lines)}
    await change_rows(db, LINES, [{"id": key} | asdict(value) | taxed for key, value in by_line.items()])
    await change_rows(db, METHODS, [{"id": key} | asdict(value) for key, value in by_method.items()])
    await db.execute(STORE_TOTALS, order_id, json_text(asdict(total)))
    return total
