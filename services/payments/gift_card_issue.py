"""Gift cards that an order sold: one per unit of a line, made once the order is paid.

Two things have to be known, in any order: what was sold (order.placed, or a command of orders) and that it is paid
(our own payments). Whoever learns of the second makes the cards; a lock on the order and a key of (line, unit) see to
it that they are made once. Many cards are made in batches, each followed by an event of our own that asks for the next.
"""

from typing import Any

from services.chassis.consumers import Event
from services.chassis.db import Db
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.outbox import emit, emit_all
from services.payments.gift_cards import card_tax_rate, new_code
from services.payments.provider_protocol import Row

BATCH = 500
CONTINUED = "gift_card.issue_continued"

LOCK_ORDER = "select pg_advisory_xact_lock(hashtextextended('gift cards of ' || $1, 0))"
RECORD_SALE = """
insert into gift_card_sales (
    line_item_id, order_id, display_id, region_id, total, quantity, value, tax_rate, metadata
)
select id, $1, $2, $3, $4, quantity, value, tax_rate, nullif(metadata, 'null')
from jsonb_to_recordset($5::text::jsonb) as x(
    id text, quantity bigint, value bigint, tax_rate double precision, metadata jsonb
)
on conflict (line_item_id) do nothing
"""
# The next $2 units to make for the order, if it is paid. What swaps of it pay for is another matter.
DUE_CARDS = """
select s.line_item_id, u.unit
from gift_card_sales s, generate_series(s.issued + 1, least(s.quantity, s.issued + $2::bigint)) u(unit)
where s.order_id = $1 and s.issued < s.quantity and s.total <= (
    select coalesce(sum(p.amount), 0) from payments p
    where p.order_id = $1 and p.swap_id is null and p.captured_at is not null and p.canceled_at is null
)
order by s.line_item_id, u.unit
limit $2::bigint
"""
# $1 ids, $2 codes, $3 lines, $4 units
ISSUE_CARDS = """
with due as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as d(id, code, line_item_id, unit)
), counted as (
    update gift_card_sales s set issued = d.last
    from (select line_item_id, max(unit) as last from due group by line_item_id) d
    where s.line_item_id = d.line_item_id
)
insert into gift_cards (
    id, code, value, balance, region_id, order_id, display_id, line_item_id, unit, tax_rate, metadata
)
select d.id, d.code, s.value, s.value, s.region_id, s.order_id, s.display_id, d.line_item_id, d.unit, s.tax_rate,
    s.metadata
from due d join gift_card_sales s on s.line_item_id = d.line_item_id
on conflict (line_item_id, unit) do nothing
returning id
"""


def sold(order: Row) -> list[Row]:
    """The lines that sell cards, out of the data of order.placed: each card is worth its unit's net price."""
    lines = [line for line in order["items"] if line["is_giftcard"] and line["quantity"] > 0]
    taxable, region_rate = order.get("gift_cards_taxable") is not False, order.get("region_tax_rate")
    return [
        {
            "id": line["id"],
            "quantity": line["quantity"],
            "value": (2 * line["subtotal"] + line["quantity"]) // (2 * line["quantity"]),
            "tax_rate": card_tax_rate(region_rate, taxable=taxable, rate=line["tax_rate"]),
            "metadata": line["metadata"] or {},
        }
        for line in lines
    ]


async def record_sale(db: Db, order: Row) -> None:
    """Keep which cards a placed order sold, and make them if it is paid."""
    lines = sold(order)
    if not lines:
        return
    await db.execute(LOCK_ORDER, order["id"])
    facts = order["id"], order["display_id"], order["region_id"], order["total"]
    await db.execute(RECORD_SALE, *facts, json_text(lines))
    await issue_cards(db, order["id"])


async def issue_cards(db: Db, order_id: str) -> None:
    """Make the cards that the order sold and that are not made yet, if it is paid: a batch of them."""
    # Who is paid and who has sold wait for each other here, so that the later one sees what the other has done.
    await db.execute(LOCK_ORDER, order_id)
    due = await db.fetch(DUE_CARDS, order_id, BATCH)
    if not due:
        return
    ids, codes = [new_id("gift") for _ in due], [new_code() for _ in due]
    rows = await db.fetch(ISSUE_CARDS, ids, codes, [row["line_item_id"] for row in due], [row["unit"] for row in due])
    if len(due) == BATCH:
        await emit(db, CONTINUED, order_id, {"id": order_id})
    await emit_all(db, "gift_card.created", {row["id"]: {"id": row["id"], "order_id": order_id} for row in rows})


# Commands and listeners

CARD_TO_MAIL = "select code, value, balance from gift_cards where id = $1 and deleted_at is null"


async def gift_card(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """Command: {"id"} -> {"gift_card": {code, value, balance} | null}. For who mails the card to its buyer: the code is
    in no event, which others hear, too."""
    card = await db.fetchrow(CARD_TO_MAIL, str(body.get("id")))
    return {"gift_card": dict(card) if card else None}


async def sell_gift_cards(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """Command: what order.placed says too, so that the cards are there at once. Twice is as good as once."""
    await record_sale(db, body)
    return {}


async def on_order_placed(db: Db, event: Event) -> None:
    await record_sale(db, event.data)


async def on_payment_captured(db: Db, event: Event) -> None:
    """This service's own event: an order may be paid now."""
    if event.data.get("order_id"):
        await issue_cards(db, event.data["order_id"])


async def on_continued(db: Db, event: Event) -> None:
    await issue_cards(db, event.data["id"])
