"""The arithmetic of carts and orders: recorded figures, and what has to hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidData
from services.orders.totals import (
    MAX_AMOUNT,
    Line,
    LineTotals,
    Method,
    MethodTotals,
    Totals,
    line_totals,
    method_totals,
    refundable,
    rounded,
    totals,
)

THIRDS = (1000 / 3,)


def test_rounding_is_half_up() -> None:
    assert [rounded(x) for x in (0.5, 1.5, 2.5, 2.4999, -0.5, -1.5)] == [1, 2, 3, 2, 0, -1]


def test_a_line_without_tax() -> None:
    assert line_totals(Line(1000, 2)) == LineTotals(2000, 0, 0, 0, 2000, 0, 2000, 2000)


def test_a_line_with_tax_on_top() -> None:
    # 3 x 999 at 7 % and 2.5 %: each rate is rounded by itself, 209.79 and 74.925
    assert line_totals(Line(999, 3, rates=(7, 2.5))) == LineTotals(2997, 0, 0, 285, 3282, 285, 3282, 3282)


def test_a_line_with_tax_included() -> None:
    # 3 x 1099 at 20 %: 183 of tax in one unit
    assert line_totals(Line(1099, 3, includes_tax=True, rates=(20,))) == LineTotals(
        2747, 0, 0, 550, 3297, 550, 3297, 3298
    )


def test_a_discount_counts_before_tax_and_unrounded() -> None:
    got = line_totals(Line(1000, 1, rates=(19,), adjustments=THIRDS))
    assert got == LineTotals(1000, 333, 1000 / 3, 127, 794, 190, 1190, 794)


def test_refundable_takes_the_discount_per_unit() -> None:
    # 3 x 1000 with 400 off: 133 a unit, so that one more than was paid
    assert line_totals(Line(1000, 3, adjustments=(400,))) == LineTotals(3000, 400, 400, 0, 2600, 0, 3000, 2601)


def test_refundable_is_for_what_has_not_come_back() -> None:
    assert line_totals(Line(1000, 3, rates=(10,), adjustments=(300,), returned=2)).refundable == 990
    assert line_totals(Line(1000, 3, returned=3)).refundable == 0


def test_shipping() -> None:
    assert method_totals(Method(500)) == MethodTotals(500, 0, 500, 0, 500)
    assert method_totals(Method(500, rates=(19,))) == MethodTotals(500, 95, 595, 95, 595)
    assert method_totals(Method(499, includes_tax=True, rates=(25,))) == MethodTotals(399, 100, 499, 100, 499)
    # rates are added up before the tax is rounded
    assert method_totals(Method(333, rates=(8.875, 0.5))).tax_total == 31


def test_the_discount_of_a_cart_is_rounded_once() -> None:
    line = line_totals(Line(1000, 1, rates=(19,), adjustments=THIRDS))
    got = totals([line] * 3, [method_totals(Method(500, rates=(19,)))])
    assert got == Totals(
        subtotal=3000,
        discount_total=1000,
        raw_discount_total=1000,
        shipping_total=500,
        item_tax_total=381,
        shipping_tax_total=95,
        tax_total=476,
        gift_card_total=0,
        gift_card_tax_total=0,
        total=2976,
    )


def test_nothing_costs_nothing() -> None:
    assert totals([], []) == Totals(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_too_much_is_refused() -> None:
    with pytest.raises(InvalidData):
        line_totals(Line(MAX_AMOUNT, 2))
    line = line_totals(Line(MAX_AMOUNT, 1))
    with pytest.raises(InvalidData):
        totals([line, line], [])


RATES = st.lists(st.floats(0, 100).map(lambda r: round(r, 3)), max_size=3).map(tuple)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    price, quantity = draw(st.integers(0, 10_000_000)), draw(st.integers(1, 1000))
    includes_tax, rates = draw(st.booleans()), draw(RATES)
    bare = line_totals(Line(price, quantity, includes_tax, rates))
    share = draw(st.floats(0, 1))
    # No discount is larger than what it is taken off.
    cut = max(bare.subtotal, price * quantity - bare.original_tax_total) * share
    returned = draw(st.integers(0, quantity))
    return Line(price, quantity, includes_tax, rates, (cut,) if cut > 0 else (), returned)


METHODS = st.builds(Method, st.integers(0, 1_000_000), st.booleans(), RATES)


@given(lines())
def test_a_line_adds_up(line: Line) -> None:
    got = line_totals(line)
    assert got.total == got.subtotal - got.discount_total + got.tax_total
    assert got.original_total == got.subtotal + got.original_tax_total
    assert got.discount_total == min(rounded(sum(line.adjustments)), got.subtotal)
    if line.includes_tax:
        assert got.original_total == line.unit_price * line.quantity
    else:
        assert got.subtotal == line.unit_price * line.quantity


@given(lines())
def test_no_line_is_negative(line: Line) -> None:
    got = line_totals(line)
    assert min(got.subtotal, got.discount_total, got.original_tax_total, got.refundable, got.total) >= 0
    assert 0 <= got.tax_total <= got.original_tax_total


def test_a_discount_of_everything_leaves_nothing() -> None:
    # 3 x 1099 gross at 20 %: three net units are 2748, the line's net subtotal is 2747
    got = line_totals(Line(1099, 3, includes_tax=True, rates=(20,), adjustments=(2748,)))
    assert (got.discount_total, got.tax_total, got.total, got.refundable) == (2747, 0, 0, 0)


@given(lines(), st.integers(0, 1000))
def test_refunds_in_parts_are_worth_as_much(line: Line, part: int) -> None:
    part = min(part, line.quantity)
    parts = refundable(line, part) + refundable(line, line.quantity - part)
    assert abs(parts - refundable(line, line.quantity)) <= len(line.rates)


@given(METHODS)
def test_a_method_adds_up(method: Method) -> None:
    got = method_totals(method)
    assert got.total == got.subtotal + got.tax_total == got.original_total
    assert min(got.subtotal, got.tax_total) >= 0
    assert (got.total if method.includes_tax else got.subtotal) == method.price


@given(st.lists(lines(), max_size=6), st.lists(METHODS, max_size=2))
def test_a_cart_is_the_sum_of_its_parts(some: list[Line], methods: list[Method]) -> None:
    parts, shipping = [line_totals(line) for line in some], [method_totals(method) for method in methods]
    got = totals(parts, shipping)
    assert got.total == got.subtotal + got.shipping_total + got.tax_total - got.discount_total
    assert got.tax_total == got.item_tax_total + got.shipping_tax_total
    assert got.subtotal == sum(line.subtotal for line in parts)
    assert got.total >= 0
    # Rounded once instead of line by line, the discount differs by half a unit a line at most.
    assert abs(got.discount_total - sum(line.discount_total for line in parts)) <= (len(parts) + 1) / 2
    assert abs(got.total - sum(p.total for p in parts) - sum(m.total for m in shipping)) <= (len(parts) + 1) / 2


@given(st.integers(1, 100_000), st.lists(st.integers(1, 100_000), min_size=1, max_size=20))
def test_a_spread_discount_arrives_whole(value: int, prices: list[int]) -> None:
    whole = sum(prices)
    shares = [min(value, whole) * (price / whole) for price in prices]
    parts = [line_totals(Line(price, 1, adjustments=(share,))) for price, share in zip(prices, shares, strict=True)]
    got = totals(parts, [])
    assert got.discount_total == min(value, whole)
    assert got.total == whole - min(value, whole)


def test_what_comes_back_mirrors_what_was_bought() -> None:
    """A line with a negative price, as in the cart of a swap; halves are still rounded upwards."""
    back = line_totals(Line(-1999, 3, rates=[12.5], adjustments=[-900]))
    assert (back.subtotal, back.discount_total, back.tax_total, back.total) == (-5997, -900, -637, -5734)
    gross = line_totals(Line(-4501, 1, includes_tax=True, rates=[25]))
    assert (gross.subtotal, gross.tax_total, gross.total) == (-3601, -900, -4501)
    half = line_totals(Line(-100, 1, rates=[12.5]))
    assert (half.tax_total, half.total) == (-12, -112)
    overdone = line_totals(Line(-100, 1, rates=[10], adjustments=[-101]))
    assert (overdone.discount_total, overdone.tax_total, overdone.total) == (-100, 0, 0)
    bought = line_totals(Line(3335, 1, rates=[12.5], adjustments=[500]))
    both = totals([bought, back], [])
    assert (both.subtotal, both.discount_total, both.tax_total, both.total) == (-2662, -400, -283, -2545)
