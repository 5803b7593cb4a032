"""What a discount takes off which line: recorded amounts, and what holds whatever the cart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.pricing.allocation import DiscountedLine, allocate

PRODUCTS = ["mug", "poster", "lamp"]


def line(id_: str, subtotal: int, quantity: int = 1, product: str = "mug") -> DiscountedLine:
    return DiscountedLine(id_, product, subtotal, quantity)


lines_of_a_cart = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(1, 1000), st.sampled_from(PRODUCTS)), max_size=20
).map(lambda rows: [line(str(n), subtotal, quantity, product) for n, (subtotal, quantity, product) in enumerate(rows)])
rules = st.one_of(
    st.tuples(st.just("percentage"), st.integers(0, 100), st.sampled_from(["total", "item"])),
    st.tuples(st.just("fixed"), st.integers(0, 10**10), st.sampled_from(["total", "item"])),
    st.tuples(st.just("free_shipping"), st.integers(0, 100), st.sampled_from(["total", "item"])),
)


@pytest.mark.parametrize(
    ("rule", "lines", "amounts"),
    [
        (("percentage", 12, "total"), [line("a", 2997, 3), line("b", 2500)], {"a": 360, "b": 300}),
        # Divided before it is multiplied: 29 * 50 / 100 would be 14.5, which goes up.
        (("percentage", 50, "total"), [line("a", 29)], {"a": 14}),
        (("percentage", 100, "item"), [line("a", 999)], {"a": 999}),
        (("fixed", 250, "item"), [line("a", 1998, 2), line("b", 200)], {"a": 500, "b": 200}),
        (("fixed", 1000, "total"), [line("a", 2000), line("b", 1500)], {"a": 1000 * (2000 / 3500), "b": 3000 / 7}),
        (("fixed", 1000, "total"), [line("a", 999)], {"a": 999}),
        (("fixed", 1000, "total"), [line("a", 0), line("b", 500)], {"b": 500}),
        (("fixed", 1000, "total"), [line("a", 0)], {}),
        (("fixed", 0, "total"), [line("a", 500)], {}),
        (("percentage", 1, "total"), [line("a", 49)], {}),
        (("free_shipping", 0, "total"), [line("a", 500)], {}),
    ],
)
def test_amounts(rule: tuple[str, int, str], lines: list[DiscountedLine], amounts: dict[str, float]) -> None:
    assert allocate(*rule, lines, {"mug"}) == pytest.approx(amounts, abs=1e-9)


def test_a_line_that_is_excluded_keeps_its_share_for_itself() -> None:
    lines = [line("a", 1000), line("b", 3000, product="poster")]
    assert allocate("fixed", 400, "total", lines, {"mug"}) == {"a": 100}
    assert allocate("fixed", 400, "total", lines, set()) == {}


@given(rules, lines_of_a_cart, st.sets(st.sampled_from(PRODUCTS)))
def test_no_line_loses_more_than_it_costs(
    rule: tuple[str, int, str], lines: list[DiscountedLine], products: set[str]
) -> None:
    subtotals = {each.id: each.subtotal for each in lines if each.product_id in products}
    for id_, amount in allocate(*rule, lines, products).items():
        assert 0 < amount <= subtotals[id_]
        assert math.floor(amount + 0.5) <= subtotals[id_]


@given(st.integers(0, 10**10), lines_of_a_cart)
def test_an_amount_off_the_total_is_spread_without_rest(value: int, lines: list[DiscountedLine]) -> None:
    taken = math.fsum(allocate("fixed", value, "total", lines, PRODUCTS).values())
    assert taken == pytest.approx(min(value, sum(each.subtotal for each in lines)), rel=1e-12)


@given(st.integers(0, 100), lines_of_a_cart)
def test_a_percentage_is_whole_per_line(value: int, lines: list[DiscountedLine]) -> None:
    amounts = allocate("percentage", value, "total", lines, PRODUCTS)
    for each in lines:
        amount = amounts.get(each.id, 0)
        assert amount == int(amount)
        assert abs(each.subtotal * value - int(amount) * 100) <= 50
