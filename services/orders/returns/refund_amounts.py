"""What customers get back for returned goods, and what was received against what was requested. Pure.

Recorded figures: docs/behaviour/after-sales.md, "Refund arithmetic".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.chassis.errors import Duplicate, InvalidData, NotAllowed
from services.orders.totals import Line, Method, checked, included_tax, refundable, taxes


@dataclass(frozen=True)
class Received:
    """A line of a return that was received. `requested` is null for what nobody had requested."""

    item_id: str
    quantity: int
    requested: int | None

    @property
    def as_requested(self) -> bool:
        return self.quantity == self.requested


def label_cost(label: Method) -> int:
    """What a return label takes off the refund: its price with tax, each rate's tax rounded by itself."""
    net = label.price - (included_tax(label.price, label.rates) if label.includes_tax else 0)
    return checked(net + taxes(net, label.rates))


def return_refund(items: Iterable[tuple[Line, int]], label: Method | None = None) -> int:
    """What the quantities of the lines are worth, less the label. Nobody owes money for sending something back."""
    worth = checked(sum(refundable(line, quantity) for line, quantity in items))
    return max(worth - (label_cost(label) if label else 0), 0)


def once_each(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Quantity by line. Raises Duplicate for a line that is named twice: each has one reason and one note."""
    quantities: dict[str, int] = {}
    for item_id, quantity in items:
        if item_id in quantities:
            raise Duplicate(f"items: {item_id} is named twice.")
        quantities[item_id] = quantity
    return quantities


def check_left(item_id: str, line: Line, quantity: int) -> None:
    """Raises NotAllowed for more than has not come back yet."""
    left = max(line.quantity - line.returned, 0)
    if quantity > left:
        raise NotAllowed(f"Of line {item_id} only {left} can still come back, not {quantity}.")


def received_lines(
    lines: Mapping[str, Line], requested: Mapping[str, int], received: Mapping[str, int]
) -> list[Received]:
    """What was received, against what was requested. Raises InvalidData for a line of another order, NotAllowed."""
    for item_id, quantity in received.items():
        if item_id not in lines:
            raise InvalidData(f"items: {item_id} is not a line of the order that this return is about.")
        check_left(item_id, lines[item_id], quantity)
    return [Received(item_id, quantity, requested.get(item_id)) for item_id, quantity in received.items()]


def after_return(quantities: Iterable[tuple[int, int]]) -> str:
    """Fulfillment status of an order by (quantity, returned) of its lines, once something came back."""
    return "returned" if all(returned >= quantity for quantity, returned in quantities) else "partially_returned"
