"""Pure rules of claims: what can be claimed, what it is worth, which statuses follow, which step may follow which.

No I/O (docs/behaviour/after-sales.md, "Claims"). Amounts are integers in minor units.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.chassis.errors import InvalidData, NotAllowed, NotFound
from services.orders.totals import Line, checked, refundable

REASONS = ("missing_item", "wrong_item", "production_failure", "other")


@dataclass(frozen=True)
class Claimable:
    """A line of an order, of its swaps or its claims. `canceled` is said of the order, swap or claim."""

    id: str
    variant_id: str | None
    amounts: Line
    fulfilled: int
    shipped: int
    canceled: bool


def check_claimable(lines: Mapping[str, Claimable], items: Iterable[tuple[str, int]]) -> None:
    """Raises NotFound for a line of another order, InvalidData for one that was canceled, NotAllowed for a custom line
    and for more than was fulfilled. A line named twice counts both times; what other claims say of it does not count.
    """
    claimed: Counter[str] = Counter()
    for item_id, quantity in items:
        line = lines.get(item_id)
        if line is None:
            raise NotFound(f"This order has no line {item_id}.")
        if line.canceled:
            raise InvalidData(f"Line {item_id} was canceled; it cannot be claimed.")
        if line.variant_id is None:
            raise NotAllowed(f"Line {item_id} is a custom one; it cannot be claimed.")
        claimed[item_id] += quantity
        if claimed[item_id] > line.fulfilled:
            raise NotAllowed(
                f"Of line {item_id} {line.fulfilled} were fulfilled; not {claimed[item_id]} can be claimed."
            )


def worth(lines: Mapping[str, Claimable], items: Iterable[tuple[str, int]]) -> int:
    """What customers get back for these quantities when nobody names an amount: only what was shipped counts."""
    return checked(
        sum(
            refundable(lines[item_id].amounts, quantity)
            for item_id, quantity in items
            if lines[item_id].shipped >= quantity
        )
    )


def check_refundable(amount: int, left: int, payments: int) -> None:
    """Raises NotAllowed for more than the order's captured `payments` can still give back."""
    if amount > left:
        raise NotAllowed(f"Only {left} of this order can be refunded, not {amount}.")
    if amount and not payments:
        raise NotAllowed("No payment of this order was captured; there is nothing to refund.")


def payment_status(type_: str, *, paid_back: bool) -> str:
    """The payment status of a claim: `na` where goods are replaced. A refund of nothing is a refund, too."""
    if type_ == "replace":
        return "na"
    return "refunded" if paid_back else "not_refunded"


def check_fulfillable(type_: str) -> None:
    """Raises NotAllowed for a claim that sends nothing."""
    if type_ != "replace":
        raise NotAllowed(f"A claim of type {type_} sends nothing; only one of type replace can be fulfilled.")


def check_cancelable(*, refunded: int, fulfillments: int, returns: int) -> None:
    """Raises NotAllowed while anything of the claim stands that its cancellation would leave behind.

    `refunded` is its refund amount, `fulfillments` and `returns` are the numbers of those that were not canceled.
    """
    if refunded:
        raise NotAllowed("A claim that gave money back cannot be canceled.")
    if fulfillments:
        raise NotAllowed("This claim has fulfillments; cancel them first.")
    if returns:
        raise NotAllowed("This claim has a return; cancel it first.")


def tag_value(text: str) -> str:
    """What a tag is stored as: it is shared by all claims that say the same."""
    return text.strip().lower()
