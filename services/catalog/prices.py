"""What a variant costs, and what a line of that price comes to with its taxes. Pure arithmetic, no I/O.

Amounts are whole minor units. Rounding is half up, computed in double precision.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """One price of a variant that may apply, its own or, with `list_type`, that of a price list which holds now.

    `includes_tax` is what its list, region or currency says.
    """

    amount: int
    currency_code: str
    region_id: str | None = None
    min_quantity: int | None = None
    max_quantity: int | None = None
    includes_tax: bool = False
    list_type: str | None = None

    def holds_for(self, quantity: int | None) -> bool:
        """Whether the quantity is in the price's bounds, both inclusive; without one, only a lower bound counts."""
        if quantity is None:
            return not self.min_quantity
        return (self.min_quantity or 0) <= quantity and (not self.max_quantity or quantity <= self.max_quantity)

    @property
    def bounded(self) -> bool:
        """Whether it holds for some quantities only."""
        return self.min_quantity is not None or self.max_quantity is not None


@dataclass(frozen=True)
class Resolved:
    """The price that applies, and the one that it is compared with. None where the variant has none."""

    calculated: Price | None
    original: Price | None


def half_up(value: float) -> int:
    """The nearest whole number, x.5 going up."""
    return math.floor(value + 0.5)


def total_rate(rates: Iterable[float | None]) -> float:
    """Percentages as one factor: 7 and 12 -> 0.19."""
    return sum(((rate or 0) / 100 for rate in rates), 0.0)


def resolve(
    prices: Sequence[Price], *, currency_code: str, region_id: str | None, quantity: int | None, rate: float | None
) -> Resolved:
    """The lowest price that holds in the currency or the region, and the region's or else the currency's own plain one.

    A price list only ever lowers a price, whether it is a sale or an override.

    `rate` makes net and gross prices comparable; without it, whichever kind comes first excludes the other.
    """
    ours = [price for price in prices if price.currency_code == currency_code or in_region(price, region_id)]
    lowest: Price | None = None
    for price in ours:
        if price.holds_for(quantity) and (lowest is None or lower(price, lowest, rate)):
            lowest = price
    plain = [price for price in ours if price.list_type is None and not price.bounded]
    regional = [price for price in plain if in_region(price, region_id)]
    return Resolved(lowest, next(iter(regional or plain), None))


def in_region(price: Price, region_id: str | None) -> bool:
    """Whether the price is one of the region itself."""
    return region_id is not None and price.region_id == region_id


def lower(price: Price, other: Price, rate: float | None) -> bool:
    """Whether `price` is under `other`, net with net or gross with gross."""
    if price.includes_tax == other.includes_tax:
        return price.amount < other.amount
    if rate is None:
        return False
    if price.includes_tax:
        return price.amount < (1 + rate) * other.amount
    return (1 + rate) * price.amount < other.amount


@dataclass(frozen=True)
class Taxed:
    """The tax on one unit, and the price with it."""

    tax: int
    price: int


def taxed(price: Price, rate: float) -> Taxed:
    """What the tax on a price is: added to a net one, contained in a gross one."""
    if price.includes_tax:
        return Taxed(half_up(price.amount * rate / (1 + rate)), price.amount)
    tax = half_up(price.amount * rate)
    return Taxed(tax, price.amount + tax)


@dataclass(frozen=True)
class LineAmounts:
    """A line without its discounts: net, and the tax on it."""

    subtotal: int
    tax: int


def line_amounts(unit_price: int, quantity: int, includes_tax: bool, rates: Sequence[float]) -> LineAmounts:
    """What a line comes to. Each rate is rounded on its own; of a gross price, the tax of one unit is taken out."""
    gross = unit_price * quantity
    if not includes_tax:
        return LineAmounts(gross, sum(half_up(gross * (rate / 100)) for rate in rates))
    rate = total_rate(rates)
    net = (unit_price - half_up(unit_price * rate / (1 + rate))) * quantity
    tax = sum(half_up(net * (rate / 100)) for rate in rates)
    return LineAmounts(gross - tax, tax)
