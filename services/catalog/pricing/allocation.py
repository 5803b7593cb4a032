"""What a discount takes off which line. Pure arithmetic, no I/O.

A percentage and an amount per item are worked out line by line. An amount off the total is spread over all lines that
can be discounted, in proportion to their net subtotals and unrounded, so the shares are doubles; a line that the
conditions exclude keeps its share for itself, nobody else gets it (docs/behaviour/pricing.md, "Discounts").
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.catalog.prices import half_up


@dataclass(frozen=True)
class DiscountedLine:
    """A line that may be discounted: its net subtotal before any discount."""

    id: str
    product_id: str
    subtotal: int
    quantity: int


def allocate(
    type_: str, value: int, allocation: str | None, lines: Sequence[DiscountedLine], products: Collection[str]
) -> dict[str, float]:
    """The amount off each line by id, for those whose product is among `products`; lines that keep all are left out.

    `lines` are all that can be discounted at all, whether or not they meet the conditions.
    """
    total = sum(line.subtotal for line in lines)
    amounts = {
        line.id: min(share(type_, value, allocation, line, total), line.subtotal)
        for line in lines
        if line.product_id in products and line.subtotal > 0
    }
    return {id_: amount for id_, amount in amounts.items() if amount > 0}


def share(type_: str, value: int, allocation: str | None, line: DiscountedLine, total: int) -> float:
    """What the rule says of one line. The order of the operations is that of the recorded answers."""
    if type_ == "free_shipping":
        return 0
    if type_ == "percentage":
        return half_up(line.subtotal / 100 * value)
    if allocation == "item":
        return value * line.quantity
    return min(value, total) * (line.subtotal / total)
