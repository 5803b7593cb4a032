"""The arithmetic of carts and orders: what lines, discounts, taxes and shipping add up to. Pure, exact to the unit.

Amounts are integers in minor units; only discounts have fractions until they are rounded. Rounding is half up, in
double precision, as the recorded answers have it (docs/behaviour/orders.md, "Money"; docs/behaviour/pricing.md,
"Taxes").
Actions store the results (pricing/amounts.py); reads never compute money.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.chassis.errors import InvalidData

MAX_QUANTITY = 2**31 - 1  # what a column of quantities holds
MAX_AMOUNT = 2**53 - 1  # beyond it doubles, and the clients' numbers, no longer hold every integer


@dataclass(frozen=True)
class Line:
    """What a line's totals are made of. `rates` are percentages, `adjustments` amounts taken off the whole line."""

    unit_price: int
    quantity: int
    includes_tax: bool = False
    rates: Sequence[float] = ()
    adjustments: Sequence[float] = ()
    returned: int = 0


@dataclass(frozen=True)
class LineTotals:
    """Totals of a line. `refundable` is for what has not come back yet, with the discount rounded per unit."""

    subtotal: int
    discount_total: int
    raw_discount_total: float
    tax_total: int
    total: int
    original_tax_total: int
    original_total: int
    refundable: int


@dataclass(frozen=True)
class Method:
    """What a shipping method's totals are made of."""

    price: int
    includes_tax: bool = False
    rates: Sequence[float] = ()


@dataclass(frozen=True)
class MethodTotals:
    """Totals of a shipping method, which is never discounted but by a price of 0."""

    subtotal: int
    tax_total: int
    total: int
    original_tax_total: int
    original_total: int


@dataclass(frozen=True)
class Totals:
    """What a whole cart or order adds up to."""

    subtotal: int
    discount_total: int
    raw_discount_total: float
    shipping_total: int
    item_tax_total: int
    shipping_tax_total: int
    tax_total: int
    gift_card_total: int
    gift_card_tax_total: int
    total: int


def rounded(amount: float) -> int:
    """The nearest integer, halves going upwards."""
    return math.floor(amount + 0.5)


def whole(amount: float) -> float:
    """The amount without the noise that adding fractions of a unit leaves behind, so that three thirds are one."""
    return float(rounded(amount)) if abs(amount - rounded(amount)) < 1e-6 else amount


def checked(amount: int) -> int:
    """The amount. Raises InvalidData for one that nobody can have meant."""
    if amount > MAX_AMOUNT:
        raise InvalidData("The amounts add up to more than can be handled; lower a price or a quantity.")
    return amount


def included_tax(price: int, rates: Sequence[float]) -> int:
    """The tax that a gross price contains, at all rates together."""
    rate = sum(r / 100 for r in rates)
    return rounded(rate * price / (1 + rate))


def net_unit(line: Line) -> int:
    """The price of one unit without tax."""
    return line.unit_price - (included_tax(line.unit_price, line.rates) if line.includes_tax else 0)


def taxes(base: float, rates: Sequence[float]) -> int:
    """The taxes on the base, each rate's rounded by itself."""
    return sum(rounded(base * (rate / 100)) for rate in rates)


def line_totals(line: Line) -> LineTotals:
    """What one line adds up to. Raises InvalidData for an amount over MAX_AMOUNT."""
    gross = checked(line.unit_price * line.quantity)
    net = net_unit(line) * line.quantity
    raw_discount = math.fsum(line.adjustments)
    original_tax = taxes(net, line.rates)
    subtotal = gross - original_tax if line.includes_tax else gross
    # Rounding must not make a discount larger than what it is taken off: nobody is owed money for buying. What comes
    # back has a negative price, and so has its discount.
    least, most = min(subtotal, 0), max(subtotal, 0)
    discount = min(max(rounded(raw_discount), least), most)
    base = max(net - raw_discount, 0) if net >= 0 else min(net - raw_discount, 0)
    tax = taxes(base, line.rates)
    return LineTotals(
        subtotal=subtotal,
        discount_total=discount,
        raw_discount_total=raw_discount,
        tax_total=tax,
        total=subtotal - discount + tax,
        original_tax_total=original_tax,
        original_total=subtotal + original_tax,
        refundable=refundable(line, line.quantity - line.returned),
    )


def refundable(line: Line, quantity: int) -> int:
    """What `quantity` units of the line are worth when they come back."""
    unit_discount = rounded(math.fsum(line.adjustments) / line.quantity) if line.quantity else 0
    base = max(net_unit(line) - unit_discount, 0) * quantity
    return base + taxes(base, line.rates)


def method_totals(method: Method) -> MethodTotals:
    """Totals of one shipping method. The rates are added up before the tax is rounded."""
    price = checked(method.price)
    rate = sum(r / 100 for r in method.rates)
    tax = included_tax(price, method.rates) if method.includes_tax else rounded(price * rate)
    subtotal = price - tax if method.includes_tax else price
    return MethodTotals(
        subtotal=subtotal, tax_total=tax, total=subtotal + tax, original_tax_total=tax, original_total=subtotal + tax
    )


def totals(lines: Iterable[LineTotals], methods: Iterable[MethodTotals]) -> Totals:
    """Totals of a cart or order. The discount is rounded once, not line by line."""
    lines, methods = list(lines), list(methods)
    raw_discount = whole(math.fsum(line.raw_discount_total for line in lines))
    subtotal = sum(line.subtotal for line in lines)
    shipping = sum(method.subtotal for method in methods)
    item_tax, shipping_tax = sum(line.tax_total for line in lines), sum(method.tax_total for method in methods)
    discount = rounded(raw_discount)
    if all(line.subtotal >= 0 for line in lines):
        discount = min(discount, subtotal)
    return Totals(
        subtotal=subtotal,
        discount_total=discount,
        raw_discount_total=raw_discount,
        shipping_total=shipping,
        item_tax_total=item_tax,
        shipping_tax_total=shipping_tax,
        tax_total=item_tax + shipping_tax,
        gift_card_total=0,
        gift_card_tax_total=0,
        total=checked(subtotal + shipping + item_tax + shipping_tax - discount),
    )
