"""Which price applies, and what a line comes to: pure arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.prices import LineAmounts, Price, Taxed, half_up, line_amounts, resolve, taxed, total_rate

EUR = Price(1000, "eur")
HERE = Price(1200, "eur", region_id="reg_1")


def resolved(
    *prices: Price, quantity: int | None = 1, rate: float | None = 0.19, region: str | None = "reg_1"
) -> tuple[int | None, int | None]:
    found = resolve(prices, currency_code="eur", region_id=region, quantity=quantity, rate=rate)
    return (
        found.calculated.amount if found.calculated else None,
        found.original.amount if found.original else None,
    )


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.4999, 2), (-0.5, 0), (112.5, 113), (-1.5, -1)]
)
def test_half_goes_up(value: float, rounded: int) -> None:
    assert half_up(value) == rounded


def test_rates_add_up() -> None:
    assert total_rate([7, None, 12]) == 0.19
    assert total_rate([]) == 0


def test_no_price() -> None:
    assert resolved() == (None, None)
    assert resolved(Price(5, "usd")) == (None, None)


def test_the_lowest_applies_and_the_region_s_own_is_the_original() -> None:
    assert resolved(EUR, HERE) == (1000, 1200)
    assert resolved(HERE, EUR) == (1000, 1200)
    assert resolved(EUR, Price(900, "eur", region_id="reg_1")) == (900, 900)
    assert resolved(EUR, HERE, region=None) == (1000, 1000)


def test_a_price_of_another_region_in_the_currency_is_a_candidate() -> None:
    assert resolved(EUR, Price(700, "eur", region_id="reg_2"))[0] == 700


def test_a_region_s_price_holds_in_another_currency() -> None:
    assert resolved(Price(5, "usd", region_id="reg_1")) == (5, 5)


TIERS = (
    EUR,
    Price(900, "eur", min_quantity=2, max_quantity=4),
    Price(800, "eur", min_quantity=5),
    Price(990, "eur", max_quantity=1),
)


@pytest.mark.parametrize(
    ("quantity", "amount"), [(1, 990), (2, 900), (4, 900), (5, 800), (10**9, 800), (None, 990), (0, 990)]
)
def test_bounds_are_inclusive(quantity: int | None, amount: int) -> None:
    assert resolved(*TIERS, quantity=quantity) == (amount, 1000)


def test_a_bounded_price_alone_is_no_original() -> None:
    assert resolved(Price(900, "eur", min_quantity=2), quantity=1) == (None, None)
    assert resolved(Price(900, "eur", min_quantity=2), quantity=2) == (900, None)


def test_net_and_gross_are_compared_with_the_rate() -> None:
    net, gross = Price(999, "eur"), Price(1190, "eur", includes_tax=True)
    assert resolved(net, gross)[0] == resolved(gross, net)[0] == 999
    cheaper = Price(1180, "eur", includes_tax=True)
    assert resolved(net, cheaper)[0] == resolved(cheaper, net)[0] == 1180
    assert resolved(net, cheaper, rate=0)[0] == 999


def test_without_a_rate_net_and_gross_are_not_compared() -> None:
    net, gross = Price(999, "eur"), Price(1, "eur", includes_tax=True)
    assert resolved(net, gross, rate=None)[0] == 999
    assert resolved(gross, net, rate=None)[0] == 1


@pytest.mark.parametrize("list_type", ["sale", "override"])
def test_a_list_lowers_a_price_and_never_raises_it(list_type: str) -> None:
    assert resolved(EUR, Price(900, "eur", list_type=list_type)) == (900, 1000)
    assert resolved(EUR, Price(1100, "eur", list_type=list_type)) == (1000, 1000)
    assert resolved(Price(1100, "eur", list_type=list_type)) == (1100, None)
    assert resolved(EUR, HERE, Price(1100, "eur", region_id="reg_1", list_type=list_type)) == (1000, 1200)


def test_of_equal_prices_the_first_wins() -> None:
    found = resolve(
        [EUR, Price(1000, "eur", list_type="sale")], currency_code="eur", region_id=None, quantity=1, rate=None
    )
    assert found.calculated is found.original is EUR


@pytest.mark.parametrize(
    ("price", "rate", "tax", "with_tax"),
    [
        (Price(999, "eur"), 0.19, 190, 1189),
        (Price(450, "eur"), 0.25, 113, 563),
        (Price(1399, "eur", includes_tax=True), 0.25, 280, 1399),
        (Price(2500, "eur", includes_tax=True), 0.19, 399, 2500),
        (Price(1000, "eur"), 0, 0, 1000),
        (Price(1000, "eur", includes_tax=True), 0, 0, 1000),
    ],
)
def test_the_tax_on_a_price(price: Price, rate: float, tax: int, with_tax: int) -> None:
    assert taxed(price, rate) == Taxed(tax, with_tax)


@pytest.mark.parametrize(
    ("line", "subtotal", "tax"),
    [
        ((1000, 3, False, [19.0]), 3000, 570),
        ((1000, 3, False, []), 3000, 0),
        ((999, 1, False, [7.0, 2.5]), 999, 70 + 25),
        ((333, 1, False, [8.875]), 333, 30),
        ((1099, 3, True, [20.0]), 2747, 550),
        ((1190, 1, True, [19.0]), 1000, 190),
        ((1000, 2, True, []), 2000, 0),
        ((0, 5, True, [19.0]), 0, 0),
    ],
)
def test_lines(line: tuple[int, int, bool, list[float]], subtotal: int, tax: int) -> None:
    assert line_amounts(*line) == LineAmounts(subtotal, tax)


@given(st.integers(0, 10**9), st.integers(1, 1000), st.lists(st.floats(0, 100), max_size=3))
def test_a_gross_line_never_comes_to_more_than_its_price(price: int, quantity: int, rates: list[float]) -> None:
    amounts = line_amounts(price, quantity, True, rates)
    assert amounts.subtotal + amounts.tax == price * quantity
    assert amounts.tax >= 0


PRICES = st.lists(
    st.builds(
        Price,
        st.integers(0, 10**6),
        st.sampled_from(["eur", "usd"]),
        st.sampled_from([None, "reg_1", "reg_2"]),
        st.sampled_from([None, 1, 3]),
        st.sampled_from([None, 2, 9]),
        list_type=st.sampled_from([None, "sale", "override"]),
    )
)


@given(PRICES, st.sampled_from([None, 1, 2, 5]))
def test_lists_only_lower_prices_and_the_original_is_the_variant_s_own(
    prices: list[Price], quantity: int | None
) -> None:
    own = resolved(*(price for price in prices if price.list_type is None), quantity=quantity)
    calculated, original = resolved(*prices, quantity=quantity)
    assert original == own[1]
    if own[0] is not None:
        assert calculated is not None and calculated <= own[0]


@given(PRICES, st.sampled_from([None, 1, 2, 5]))
def test_what_applies_holds_here_and_for_the_quantity(prices: list[Price], quantity: int | None) -> None:
    found = resolve(prices, currency_code="eur", region_id="reg_1", quantity=quantity, rate=None).calculated
    holding = [p for p in prices if p.holds_for(quantity) and (p.currency_code == "eur" or p.region_id == "reg_1")]
    assert (found is None) == (not holding)
    if found is not None:
        assert found in holding and found.amount == min(price.amount for price in holding)


@given(st.integers(0, 10**9), st.floats(0, 10), st.booleans())
def test_tax_is_never_negative_and_gross_stays(amount: int, rate: float, gross: bool) -> None:
    found = taxed(Price(amount, "eur", includes_tax=gross), rate)
    assert found.tax >= 0
    assert found.price == (amount if gross else amount + found.tax)


@given(st.lists(st.builds(Price, st.integers(0, 10**6), st.just("eur"), includes_tax=st.just(False)), min_size=1))
def test_the_lowest_of_like_prices_wins(prices: list[Price]) -> None:
    assert resolved(*prices)[0] == min(price.amount for price in prices)
