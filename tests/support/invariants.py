"""Whether the books of all services agree: money of an order in orders and payments, stock and its ledger."""

from functools import partial
from typing import Any

from aio_pika.abc import AbstractChannel

from services.chassis.keys import BUS
from tests.support.broker import queue_counts
from tests.support.stack import SERVICES, Stack
from tests.support.waiting import until

SENT = """
select coalesce(sum(sequence), 0)::int
from event_sequences where aggregate like 'pay\\_%'
"""
HEARD = "select count(*)::int from inbox where name like 'payment.%'"
ORDER = """
select status, payment_status, paid_total, refunded_total, refundable_amount from orders where id = $1
"""
PAYMENTS = """
select id, amount, amount_refunded, captured_at is not null as captured, canceled_at is not null as canceled
from payments where order_id = $1 order by id
"""
REFUNDS = "select id, payment_id, amount, reason from refunds where order_id = $1 order by id"
PARTS = """
select p.id, coalesce(sum(r.amount), 0)::bigint as given from payments p left join refund_parts r on r.payment_id = p.id
where p.order_id = $1 group by p.id order by p.id
"""
LEVELS = """
select l.inventory_item_id, l.location_id, l.stocked_quantity, l.reserved_quantity,
    (select coalesce(sum(x.stocked), 0) from stock_ledger x
        where (x.inventory_item_id, x.location_id) = (l.inventory_item_id, l.location_id)) as stocked,
    (select coalesce(sum(x.reserved), 0) from stock_ledger x
        where (x.inventory_item_id, x.location_id) = (l.inventory_item_id, l.location_id)) as reserved,
    (select coalesce(sum(r.quantity), 0) from reservations r
        where (r.inventory_item_id, r.location_id) = (l.inventory_item_id, l.location_id)) as spoken_for
from inventory_levels l
"""
SAGAS = "select count(*) from sagas where status in ('running', 'compensating')"


async def payments_heard(stack: Stack) -> None:
    """Wait until orders has heard all events of payments."""

    async def heard() -> bool:
        sent = await stack.pool("payments").fetchval(SENT)
        return bool(sent == await stack.pool("orders").fetchval(HEARD))

    await until(heard)


async def over(stack: Stack) -> bool:
    """Whether no saga and no work with a provider is under way."""
    orders, payments = stack.pool("orders"), stack.pool("payments")
    work = await payments.fetchval("select count(*) from provider_work")
    return not (await orders.fetchval(SAGAS) or await payments.fetchval(SAGAS) or work)


async def quiet(stack: Stack, broker: AbstractChannel) -> bool:
    """Whether nothing is on its way between the services: no event waits to leave or to be heard, and none is being
    heard, as little as a command; and no saga is under way."""
    for name in SERVICES:
        subscriptions = stack.apps[name][BUS]._subscriptions
        if await stack.pool(name).fetchval(f"select exists (select from outbox) or ({SAGAS}) > 0"):
            return False
        for kind in ("events", "commands"):
            waiting = await queue_counts(broker, f"{stack.namespace}.{name}.{kind}")
            if waiting and waiting[0]:
                return False
        if any(subscription._running for subscription in subscriptions):
            return False
    return True


async def check_books(stack: Stack, order_id: str, *, at_rest: bool = True) -> dict[str, Any]:
    """The order's money, which is the same in both services: captured - refunded = paid. `at_rest`: all events are
    heard, and nothing is under way. Returns the order's row."""
    orders, payments = stack.pool("orders"), stack.pool("payments")
    if at_rest:
        await payments_heard(stack)
        await until(partial(over, stack))
    order = dict(await orders.fetchrow(ORDER, order_id))
    rows = [dict(row) for row in await payments.fetch(PAYMENTS, order_id)]
    refunds = [dict(row) for row in await payments.fetch(REFUNDS, order_id)]
    assert [dict(row) for row in await orders.fetch(PAYMENTS, order_id)] == rows, "payments differ"
    assert [dict(row) for row in await orders.fetch(REFUNDS, order_id)] == refunds, "refunds differ"
    assert [tuple(part) for part in await payments.fetch(PARTS, order_id)] == [
        (row["id"], row["amount_refunded"]) for row in rows
    ], "refunds are not what their payments gave"
    captured = sum(row["amount"] for row in rows if row["captured"])
    refunded = sum(refund["amount"] for refund in refunds)
    for row in rows:
        assert 0 <= row["amount_refunded"] <= (row["amount"] if row["captured"] else 0), row
    # What is paid of the order: all of it once it is captured.
    paid = order["paid_total"] if all(row["captured"] for row in rows) else captured
    assert captured - refunded == paid - order["refunded_total"], (order, rows)
    assert order["refundable_amount"] == order["paid_total"] - order["refunded_total"], order
    check_status(order, rows, refunded)
    return order


def check_status(order: dict[str, Any], payments: list[dict[str, Any]], refunded: int) -> None:
    """No status of an order contradicts its amounts."""
    alive = [row for row in payments if not row["canceled"]]
    status = order["payment_status"]
    assert (status == "canceled") == (order["status"] == "canceled"), order
    if status == "canceled":
        assert not alive, payments
    elif status == "awaiting":
        assert not all(row["captured"] for row in alive)
        assert alive
    else:
        assert all(row["captured"] for row in alive), (order, payments)
    # Returns give back without changing this status (docs/behaviour/after-sales.md), so `captured` allows any amount.
    if status == "refunded":
        assert refunded == sum(row["amount"] for row in alive)
    if status == "partially_refunded":
        assert refunded > 0


async def check_stock(stack: Stack) -> None:
    """Every level is the sum of its ledger, and what is reserved the sum of its reservations."""
    for row in await stack.pool("inventory").fetch(LEVELS):
        assert (row["stocked_quantity"], row["reserved_quantity"]) == (row["stocked"], row["reserved"]), dict(row)
        assert row["reserved_quantity"] == row["spoken_for"], dict(row)
