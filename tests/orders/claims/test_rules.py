"""The pure rules of claims, case by case."""

from typing import Any

import pytest

from services.chassis.errors import ApiError, InvalidData, NotAllowed, NotFound
from services.orders.claims import rules as rules
from services.orders.totals import Line


def line(id_: str = "a", *, variant: str | None = "v", canceled: bool = False, **more: Any) -> rules.Claimable:
    """2 of 3 that cost 10.00 each were shipped, all were fulfilled."""
    amounts = more.pop("amounts", Line(1000, 3))
    return rules.Claimable(id_, variant, amounts, **{"fulfilled": 3, "shipped": 2, "canceled": canceled} | more)


def by_id(*lines: rules.Claimable) -> dict[str, rules.Claimable]:
    return {each.id: each for each in lines}


@pytest.mark.parametrize(
    ("claimable", "items", "error"),
    [
        (line(), [("a", 3)], None),
        (line(), [("a", 1), ("a", 2)], None),
        (line(), [("a", 4)], NotAllowed),
        (line(), [("a", 2), ("a", 2)], NotAllowed),
        (line(fulfilled=0), [("a", 1)], NotAllowed),
        (line(), [("b", 1)], NotFound),
        (line(variant=None), [("a", 1)], NotAllowed),
        (line(canceled=True), [("a", 1)], InvalidData),
        (line(canceled=True), [("b", 1)], NotFound),
    ],
)
def test_what_can_be_claimed(
    claimable: rules.Claimable, items: list[tuple[str, int]], error: type[ApiError] | None
) -> None:
    if error is None:
        rules.check_claimable(by_id(claimable), items)
    else:
        with pytest.raises(error):
            rules.check_claimable(by_id(claimable), items)


@pytest.mark.parametrize(
    ("claimable", "items", "amount"),
    [
        (line(), [("a", 2)], 2000),
        (line(), [("a", 3)], 0),  # 3 were not shipped
        (line(shipped=0), [("a", 1)], 0),
        (line(), [("a", 1), ("a", 1)], 2000),
        (line(amounts=Line(1000, 3, rates=[12.5])), [("a", 2)], 2250),
        (line(amounts=Line(1299, 3, includes_tax=True, rates=[25])), [("a", 2)], 2598),
        # Nobody gets back what a discount took off: 3 x 10.00 less 3.00.
        (line(amounts=Line(1000, 3, adjustments=[300])), [("a", 2)], 1800),
        # What was returned before counts: the line is still what was shipped.
        (line(amounts=Line(1000, 3, returned=2)), [("a", 1)], 1000),
    ],
)
def test_what_claimed_goods_are_worth(claimable: rules.Claimable, items: list[tuple[str, int]], amount: int) -> None:
    assert rules.worth(by_id(claimable), items) == amount


@pytest.mark.parametrize(
    ("amount", "left", "payments", "allowed"),
    [(0, 0, 0, True), (5, 5, 1, True), (6, 5, 1, False), (5, 5, 0, False)],
)
def test_no_more_than_can_be_refunded(amount: int, left: int, payments: int, allowed: bool) -> None:
    if allowed:
        rules.check_refundable(amount, left, payments)
    else:
        with pytest.raises(NotAllowed):
            rules.check_refundable(amount, left, payments)


def test_the_payment_status_of_a_claim() -> None:
    assert rules.payment_status("replace", paid_back=True) == "na"
    assert rules.payment_status("refund", paid_back=False) == "not_refunded"
    assert rules.payment_status("refund", paid_back=True) == "refunded"


def test_only_replacements_are_sent() -> None:
    rules.check_fulfillable("replace")
    with pytest.raises(NotAllowed):
        rules.check_fulfillable("refund")


@pytest.mark.parametrize(
    ("standing", "message"),
    [
        ({"refunded": 5, "fulfillments": 1, "returns": 1}, "gave money back"),
        ({"refunded": 0, "fulfillments": 1, "returns": 1}, "fulfillments"),
        ({"refunded": 0, "fulfillments": 0, "returns": 1}, "return"),
    ],
)
def test_what_stands_in_the_way_of_canceling(standing: dict[str, int], message: str) -> None:
    with pytest.raises(NotAllowed, match=message):
        rules.check_cancelable(**standing)
    rules.check_cancelable(refunded=0, fulfillments=0, returns=0)


def test_tags_that_say_the_same_are_the_same() -> None:
    assert rules.tag_value("  Torn SEAM ") == "torn seam"
