"""The pure rules of an order's statuses, as tables."""

from typing import Any

import pytest

from services.chassis.errors import ApiError, InvalidData, NotAllowed, NotFound
from services.orders import status
from services.orders.status import Line

TWO = [Line("a", 2), Line("b", 1)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([Line("a", 2, 2), Line("b", 1, 1)], "fulfilled"),
        ([Line("a", 2, 2), Line("b", 1, 0)], "partially_fulfilled"),
        ([Line("a", 2, 1), Line("b", 1, 1)], "partially_fulfilled"),
        ([Line("a", 2, 2, 2), Line("b", 1, 1, 0)], "fulfilled"),
        ([Line("a", 2, 2, 2), Line("b", 1, 0, 0)], "partially_fulfilled"),
    ],
)
def test_after_fulfillment(lines: list[Line], expected: str) -> None:
    assert status.after_fulfillment(lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([Line("a", 2, 2, 2), Line("b", 1, 1, 1)], "shipped"),
        ([Line("a", 2, 2, 2), Line("b", 1, 1, 0)], "partially_shipped"),
        ([Line("a", 2, 2, 1), Line("b", 1, 1, 1)], "partially_shipped"),
        ([Line("a", 2, 2, 2), Line("b", 1, 0, 0)], "partially_shipped"),
    ],
)
def test_after_shipment(lines: list[Line], expected: str) -> None:
    assert status.after_shipment(lines) == expected


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"a": 2, "b": 1}, None),
        ({"a": 1}, None),
        ({"a": 3}, NotAllowed),
        ({"a": 1, "b": 2}, NotAllowed),
        ({"c": 1}, NotFound),
        ({}, InvalidData),
    ],
)
def test_check_fulfillable(asked: dict[str, int], error: type[ApiError] | None) -> None:
    if error is None:
        status.check_fulfillable(TWO, asked)
    else:
        with pytest.raises(error):
            status.check_fulfillable(TWO, asked)


def test_what_is_fulfilled_already_cannot_be_fulfilled_again() -> None:
    with pytest.raises(NotAllowed, match="only 1 are left"):
        status.check_fulfillable([Line("a", 2, 1)], {"a": 2})
    status.check_fulfillable([Line("a", 2, 1)], {"a": 1})


def test_a_line_that_is_named_twice_counts_twice() -> None:
    assert status.quantities_by_line([("a", 1), ("b", 2), ("a", 3)]) == {"a": 4, "b": 2}


def test_fulfilling_and_shipping_count_per_line() -> None:
    assert status.fulfilled(TWO, {"a": 2}) == [Line("a", 2, 2), Line("b", 1)]
    assert status.shipped([Line("a", 2, 2), Line("b", 1)], {"a": 1}) == [Line("a", 2, 2, 1), Line("b", 1)]


def payment(amount: int = 4000, *, captured: bool = True, canceled: bool = False) -> dict[str, Any]:
    return {"amount": amount, "captured": captured, "canceled": canceled}


@pytest.mark.parametrize(
    ("current", "payments", "refunded", "expected"),
    [
        ("awaiting", [payment()], 0, "captured"),
        ("awaiting", [payment(captured=False)], 0, "awaiting"),
        ("awaiting", [payment(), payment(captured=False)], 0, "awaiting"),
        ("captured", [payment()], 1, "partially_refunded"),
        ("captured", [payment()], 3999, "partially_refunded"),
        ("captured", [payment()], 4000, "refunded"),
        ("partially_refunded", [payment(), payment(1000)], 5000, "refunded"),
        ("partially_refunded", [payment(), payment(1000)], 4000, "partially_refunded"),
        ("captured", [], 0, "captured"),
        ("captured", [payment(canceled=True)], 0, "captured"),
        ("captured", [payment(), payment(1000, canceled=True)], 4000, "partially_refunded"),
        ("captured", [payment(), payment(1000, canceled=True)], 5000, "refunded"),
        ("captured", [payment(), payment(1000, captured=False, canceled=True)], 4000, "refunded"),
        ("canceled", [payment()], 0, "canceled"),
        ("canceled", [payment(canceled=True)], 0, "canceled"),
    ],
)
def test_payment_status(current: str, payments: list[dict[str, Any]], refunded: int, expected: str) -> None:
    assert status.payment_status(current, payments, refunded) == expected


@pytest.mark.parametrize("now", ["pending", "completed", "archived", "requires_action"])
def test_what_is_not_canceled_is_alive(now: str) -> None:
    status.check_alive(now, "completed")


def test_a_canceled_order_is_not() -> None:
    with pytest.raises(NotAllowed):
        status.check_alive("canceled", "completed")


@pytest.mark.parametrize("now", ["pending", "archived", "canceled", "requires_action"])
def test_only_a_completed_order_is_archived(now: str) -> None:
    status.check_archivable("completed")
    with pytest.raises(NotAllowed):
        status.check_archivable(now)


def test_a_fulfillment_is_shipped_or_canceled_once() -> None:
    status.check_shippable(shipped=False, canceled=False)
    status.check_fulfillment_cancelable(shipped=False, canceled=False)
    for shipped, canceled in ((True, False), (False, True)):
        with pytest.raises(NotAllowed):
            status.check_shippable(shipped=shipped, canceled=canceled)
        with pytest.raises(NotAllowed):
            status.check_fulfillment_cancelable(shipped=shipped, canceled=canceled)


@pytest.mark.parametrize("held", ["refunds", "fulfillments", "returns", "swaps", "claims"])
def test_an_order_is_not_canceled_while_something_of_it_stands(held: str) -> None:
    nothing = {"refunds": 0, "fulfillments": 0, "returns": 0, "swaps": 0, "claims": 0}
    status.check_cancelable(**nothing)
    with pytest.raises(NotAllowed, match=held):
        status.check_cancelable(**nothing | {held: 1})
