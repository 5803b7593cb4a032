"""Orders in states that no operation leads to."""

from typing import Any

from tests.support.invariants import payments_heard
from tests.support.stack import Stack

Order = dict[str, Any]


async def uncapture(stack: Stack, order: Order) -> None:
    """Make of a paid order one whose payment was authorized only; drafts are captured at once."""
    # What was captured is also emitted: one that comes late would compensate what follows.
    await payments_heard(stack)
    for service in ("payments", "orders"):
        await stack.pool(service).execute("update payments set captured_at = null where order_id = $1", order["id"])
    await stack.pool("orders").execute("update orders set payment_status = 'awaiting' where id = $1", order["id"])
