"""What comes back is worth: recorded figures, and what has to hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Duplicate, InvalidData, NotAllowed
from services.orders.returns.refund_amounts import (
    Received,
    after_return,
    check_left,
    label_cost,
    once_each,
    received_lines,
    return_refund,
)
from services.orders.totals import Line, Method, line_totals

RATES = st.lists(st.sampled_from([0.0, 5.0, 8.25, 12.5, 19.0, 25.0]), max_size=2)


@st.composite
def discounted(draw: st.DrawFn) -> Line:
    """A line with a discount that is not larger than its price."""
    price, quantity = draw(st.integers(0, 10**7)), draw(st.integers(1, 50))
    share = draw(st.floats(0, 1, allow_nan=False))
    return Line(price, quantity, draw(st.booleans()), draw(RATES), [price * quantity * share])


labels = st.builds(Method, st.integers(0, 10**6), st.booleans(), RATES)


def test_recorded_refunds() -> None:
    taxed = Line(1999, 3, rates=[12.5], adjustments=[1999 * 3 * 0.15])
    assert return_refund([(taxed, 2)]) == 3398 + 425
    assert return_refund([(taxed, 2)], Method(333, rates=[12.5])) == 3448
    assert return_refund([(Line(3335, 2, rates=[12.5], adjustments=[1001]), 2)]) == 6377
    gross = Line(1299, 3, includes_tax=True, rates=[25])
    assert return_refund([(gross, 2)], Method(251, includes_tax=True, rates=[25])) == 2347


def test_a_label_costs_its_tax_too() -> None:
    assert label_cost(Method(333, rates=[12.5])) == 375
    assert label_cost(Method(251, includes_tax=True, rates=[25])) == 251
    assert label_cost(Method(333)) == 333
    assert label_cost(Method(0, rates=[25])) == 0
    assert label_cost(Method(10, rates=[5, 5])) == 12  # each rate's tax is rounded by itself


def test_a_label_dearer_than_the_goods_leaves_nothing() -> None:
    assert return_refund([(Line(1000, 1), 1)], Method(5000)) == 0


@given(st.lists(st.tuples(discounted(), st.integers(0, 50)), min_size=1, max_size=5), labels)
def test_a_label_only_takes_away(parts: list[tuple[Line, int]], label: Method) -> None:
    items = [(line, min(quantity, line.quantity)) for line, quantity in parts]
    whole = return_refund(items)
    assert whole == sum(return_refund([item]) for item in items)
    assert return_refund(items, label) == max(whole - label_cost(label), 0)


@given(discounted())
def test_all_of_a_line_is_what_was_shown_as_refundable(line: Line) -> None:
    assert return_refund([(line, line.quantity)]) == line_totals(line).refundable


@given(discounted())
def test_a_refund_differs_from_the_total_by_rounding_only(line: Line) -> None:
    """Half a unit for each unit's discount, with its tax, and half for each tax."""
    factor = 1 + sum(line.rates) / 100
    allowed = line.quantity / 2 * factor + len(line.rates) + 1
    if line.includes_tax:
        allowed += line.quantity * (len(line.rates) + 1)
    totals = line_totals(line)
    if line.includes_tax and sum(line.adjustments) > line.unit_price * line.quantity / factor:
        return  # more than the net price was taken off
    assert abs(return_refund([(line, line.quantity)]) - totals.total) <= allowed


@given(discounted(), st.integers(0, 50), st.integers(0, 50))
def test_more_is_worth_more(line: Line, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= return_refund([(line, low)]) <= return_refund([(line, high)])


def test_only_what_has_not_come_back() -> None:
    line = Line(1000, 3, returned=1)
    check_left("a", line, 2)
    with pytest.raises(NotAllowed, match="only 2"):
        check_left("a", line, 3)
    with pytest.raises(NotAllowed, match="only 0"):
        check_left("a", Line(1000, 1, returned=2), 1)


def test_a_line_is_named_once() -> None:
    assert once_each([("a", 1), ("b", 0)]) == {"a": 1, "b": 0}
    with pytest.raises(Duplicate):
        once_each([("a", 1), ("a", 2)])


def test_something_else_is_received() -> None:
    lines = {"a": Line(1000, 2), "b": Line(500, 1), "c": Line(100, 1)}
    received = received_lines(lines, {"a": 2, "c": 1}, {"a": 1, "b": 1, "c": 1})
    assert received == [Received("a", 1, 2), Received("b", 1, None), Received("c", 1, 1)]
    assert [item.as_requested for item in received] == [False, False, True]
    with pytest.raises(InvalidData):
        received_lines(lines, {}, {"x": 1})
    with pytest.raises(NotAllowed):
        received_lines(lines, {}, {"b": 2})


def test_fulfillment_status_once_something_came_back() -> None:
    assert after_return([(2, 2), (1, 1)]) == "returned"
    assert after_return([(2, 1), (1, 1)]) == "partially_returned"
    assert after_return([(2, 0)]) == "partially_returned"
