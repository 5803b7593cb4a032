"""Orders in states that no operation leads to."""

from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]


async def uncapture(stack: Stack, order: Order) -> None:
    """Make of a paid order one whose payment was authorised only; drafts are captured at once."""

    async def heard_of_all_payments() -> bool:
        # What was captured is also told by event: one that comes late would undo what follows.
        sent = await stack.pool("payments").fetchval(
            "select sum(sequence)::int from event_sequences where aggregate like 'pay\\_%'"
        )
        taken = await stack.pool("orders").fetchval("select count(*)::int from inbox where name like 'payment.%'")
        return bool(sent == taken)

    await until(heard_of_all_payments)
    for service in ("payments", "orders"):
        await stack.pool(service).execute("update payments set captured_at = null where order_id = $1", order["id"])
    await stack.pool("orders").execute("update orders set payment_status = 'awaiting' where id = $1", order["id"])
