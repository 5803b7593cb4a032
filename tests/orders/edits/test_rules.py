"""What replacing the lines of an order forbids, needs and moves."""

from typing import Any

import pytest

from services.chassis.errors import NotAllowed
from services.orders.edits.rules import Counters, Successor, check_replaceable, moves, needed


def old(id_: str, quantity: int, fulfilled: int = 0, kept: int | None = None, variant: str | None = "v") -> Counters:
    return Counters(id_, variant, quantity, fulfilled, fulfilled if kept is None else kept)


def new(original: str | None, quantity: int, variant: str | None = "v") -> Successor:
    return Successor(f"new {original}", variant, quantity, original)


@pytest.mark.parametrize(
    ("line", "successors", "allowed"),
    [
        (old("a", 3, 2), [new("a", 2)], True),
        (old("a", 3, 2), [new("a", 1)], False),
        (old("a", 3, 2), [], False),
        (old("a", 3), [], True),
        (old("a", 3, 0, kept=1), [], False),  # returned, though it was never fulfilled
        (old("a", 3, 0, kept=1), [new("a", 1)], True),
        (old("a", 3, 2), [new("b", 5)], False),
    ],
)
def test_what_has_left_stays(line: Counters, successors: list[Successor], allowed: bool) -> None:
    if allowed:
        check_replaceable([line], successors)
    else:
        with pytest.raises(NotAllowed):
            check_replaceable([line], successors)


@pytest.mark.parametrize(
    ("line", "successor", "more", "kept"),
    [
        (old("a", 2), new("a", 2), 0, 2),
        (old("a", 2), new("a", 5), 3, 2),
        (old("a", 2), new("a", 1), 0, 1),
        (old("a", 3, 1), new("a", 3), 0, 2),
        (old("a", 3, 1), new("a", 5), 2, 2),
        (old("a", 3, 1), new("a", 2), 0, 1),
        (old("a", 3, 3), new("a", 3), 0, 0),
    ],
)
def test_what_is_reserved_and_what_follows(line: Counters, successor: Successor, more: int, kept: int) -> None:
    """Together they are what is still to be fulfilled of the new line, if all of the old one was reserved."""
    assert sum(item["quantity"] for item in needed([line], [successor])) == more
    [move] = moves([line], [successor], keep=True)
    assert move == {"from_line_item_id": "a", "to_line_item_id": "new a", "quantity": kept}
    assert more + kept == successor.quantity - line.fulfilled


def test_lines_that_come_and_go() -> None:
    lines = [old("a", 2), old("b", 1), old("own", 4, variant=None)]
    successors = [new("a", 2), new("own", 6, variant=None), new(None, 3)]
    assert needed(lines, successors) == [{"line_item_id": "new None", "variant_id": "v", "quantity": 3}]

    def move(line: str, to: str | None, quantity: int) -> dict[str, Any]:
        return {"from_line_item_id": line, "to_line_item_id": to, "quantity": quantity}

    assert moves(lines, successors, keep=True) == [move("a", "new a", 2), move("b", None, 0)]
    assert moves(lines, successors, keep=False) == [move("a", None, 0), move("b", None, 0)]
