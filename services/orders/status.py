"""Pure rules of an order's three statuses: what follows from quantities and amounts, and which step may follow which.

No I/O: rows go in, a status or a refusal comes out (docs/behaviour/orders.md, "State machine").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.chassis.errors import InvalidData, NotAllowed, NotFound

ORDER_STATUSES = ("pending", "completed", "archived", "canceled", "requires_action")
FULFILLMENT_STATUSES = (
    "not_fulfilled",
    "partially_fulfilled",
    "fulfilled",
    "partially_shipped",
    "shipped",
    "partially_returned",
    "returned",
    "canceled",
    "requires_action",
)
PAYMENT_STATUSES = (
    "not_paid",
    "awaiting",
    "captured",
    "partially_refunded",
    "refunded",
    "canceled",
    "requires_action",
)


@dataclass(frozen=True)
class Line:
    """The counters of one line of an order; null in the database is 0 here."""

    id: str
    quantity: int
    fulfilled: int = 0
    shipped: int = 0


def lines_of(rows: Iterable[Mapping[str, Any]]) -> list[Line]:
    """The counters of rows of `line_items`, where null is 0."""
    return [Line(r["id"], r["quantity"], r["fulfilled_quantity"] or 0, r["shipped_quantity"] or 0) for r in rows]


# Quantities


def quantities_by_line(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Quantity per line, a line named twice counting both times."""
    quantities: dict[str, int] = {}
    for item_id, quantity in items:
        quantities[item_id] = quantities.get(item_id, 0) + quantity
    return quantities


def check_fulfillable(lines: Iterable[Line], quantities: Mapping[str, int]) -> None:
    """Raises when a fulfillment is of nothing, of another order's line, or of more than is left of one."""
    if not quantities:
        raise InvalidData("items: name at least one line to fulfill.")
    by_id = {line.id: line for line in lines}
    for item_id, quantity in quantities.items():
        line = by_id.get(item_id)
        if line is None:
            raise NotFound(f"This order has no line {item_id}.")
        left = line.quantity - line.fulfilled
        if quantity > left:
            raise NotAllowed(f"Of line {item_id} only {max(left, 0)} are left to fulfill, not {quantity}.")


def fulfilled(lines: Iterable[Line], items: Mapping[str, int]) -> list[Line]:
    """The lines once these quantities were fulfilled."""
    return [replace(line, fulfilled=line.fulfilled + items.get(line.id, 0)) for line in lines]


def shipped(lines: Iterable[Line], items: Mapping[str, int]) -> list[Line]:
    """The lines once these quantities were shipped."""
    return [replace(line, shipped=line.shipped + items.get(line.id, 0)) for line in lines]


def after_fulfillment(lines: Iterable[Line]) -> str:
    """Fulfillment status once something was fulfilled."""
    return "fulfilled" if all(line.fulfilled >= line.quantity for line in lines) else "partially_fulfilled"


def after_shipment(lines: Iterable[Line]) -> str:
    """Fulfillment status once something was shipped."""
    return "shipped" if all(line.shipped >= line.quantity for line in lines) else "partially_shipped"


def payment_status(current: str, payments: Iterable[Mapping[str, Any]], refunded: int) -> str:
    """Payment status that follows from the payments; the current one where nothing follows.

    An order without payments (it cost nothing), and one whose payments were given up, stay as they are. What was
    captured counts also when it was given up with a swap: it can still be refunded.
    """
    alive = [p for p in payments if p["captured"] or not p["canceled"]]
    if current == "canceled" or not alive:
        return current
    if refunded > 0:
        return "refunded" if refunded >= sum(p["amount"] for p in alive) else "partially_refunded"
    return "captured" if all(p["captured"] for p in alive) else current


# Transitions


def check_alive(status: str, action: str) -> None:
    """Raises for a canceled order. `action` completes "cannot be ..."."""
    if status == "canceled":
        raise NotAllowed(f"A canceled order cannot be {action}.")


def check_archivable(status: str) -> None:
    """Only a completed order can be put away."""
    if status != "completed":
        raise NotAllowed(f"Only a completed order can be archived; this one is {status}.")


def check_shippable(*, shipped: bool, canceled: bool) -> None:
    """Raises NotAllowed for a fulfillment that was canceled or shipped."""
    if canceled:
        raise NotAllowed("A canceled fulfillment cannot be shipped.")
    if shipped:
        raise NotAllowed("This fulfillment was shipped already.")


def check_fulfillment_cancelable(*, shipped: bool, canceled: bool) -> None:
    """Raises NotAllowed for a fulfillment that was shipped or canceled."""
    if shipped:
        raise NotAllowed("A shipped fulfillment cannot be canceled.")
    if canceled:
        raise NotAllowed("This fulfillment was canceled already.")


def check_cancelable(*, refunds: int, fulfillments: int, returns: int, swaps: int, claims: int) -> None:
    """Raises while anything of the order is alive that its cancellation would leave behind."""
    alive = {
        "refunds": refunds,
        "fulfillments": fulfillments,
        "returns": returns,
        "swaps": swaps,
        "claims": claims,
    }
    held = [name for name, count in alive.items() if count]
    if held:
        raise NotAllowed(f"This order cannot be canceled: it has {', '.join(held)} that stand.")
