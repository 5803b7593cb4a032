"""What follows when the lines of an order are replaced by those of an edit: what forbids it, which stock is needed, and
where reservations go. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import NotAllowed


@dataclass(frozen=True)
class Counters:
    """A line of the order. `kept` of it cannot be taken away: it was fulfilled, shipped or returned."""

    id: str
    variant_id: str | None
    quantity: int
    fulfilled: int
    kept: int


@dataclass(frozen=True)
class Successor:
    """A line of the edit; `original` is the order's that it takes the place of, null for an added one."""

    id: str
    variant_id: str | None
    quantity: int
    original: str | None


def check_replaceable(lines: Iterable[Counters], successors: Iterable[Successor]) -> None:
    """Raises NotAllowed when less would be left of a line than has left the house, or come back."""
    left = {line.original: line.quantity for line in successors}
    for line in lines:
        if left.get(line.id, 0) < line.kept:
            raise NotAllowed(
                f"{line.kept} of line {line.id} were fulfilled or returned; no fewer of it can be left by an edit."
            )


def needed(lines: Iterable[Counters], successors: Iterable[Successor]) -> list[dict[str, Any]]:
    """What stock is to be reserved for: added lines, and what others grow by."""
    had = {line.id: line.quantity for line in lines}
    return [
        {"line_item_id": line.id, "variant_id": line.variant_id, "quantity": more}
        for line in successors
        if line.variant_id is not None and (more := line.quantity - had.get(line.original or "", 0)) > 0
    ]


def moves(lines: Iterable[Counters], successors: Sequence[Successor], *, keep: bool) -> list[dict[str, Any]]:
    """Where the reservations of the order's lines go, and how much of them at most; the rest is released, as is all
    without `keep`."""
    by_original: Mapping[str | None, Successor] = {line.original: line for line in successors}
    planned = []
    for line in lines:
        if line.variant_id is None:
            continue
        successor = by_original.get(line.id) if keep else None
        at_most = 0 if successor is None else max(min(line.quantity, successor.quantity) - line.fulfilled, 0)
        planned.append(
            {"from_line_item_id": line.id, "to_line_item_id": successor.id if successor else None, "quantity": at_most}
        )
    return planned
