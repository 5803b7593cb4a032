"""The mails to customers: which event makes which, and what stands in it. Pure: data goes in, a mail comes out.

Short and plain on purpose. A shop that wants its own words installs a notification provider of its own, which gets the
same data (providers.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from babel.numbers import UnknownCurrencyError, format_currency, get_currency_precision

from services.chassis.mail import Mail

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Notice:
    """One event that customers hear of: `items` names what is listed (NOTICE_ITEMS in events.py), `totals` whether the
    order's total follows. The texts may name what is in the data."""

    subject: str
    text: str
    items: str = ""
    totals: bool = False


# Event -> what the customer is told, at the email of the order. `no_notification` of the event silences any of them.
NOTICES: dict[str, Notice] = {
    "order.placed": Notice(
        "Order #{display_id}", "Thank you for your order #{display_id}.", items="order", totals=True
    ),
    "order.canceled": Notice("Order #{display_id} was canceled", "Your order #{display_id} was canceled."),
    "order.shipment_created": Notice(
        "Order #{display_id} is on its way", "A parcel of your order #{display_id} has left.", items="fulfillment"
    ),
    "order.refund_created": Notice(
        "A refund for order #{display_id}", "{amount} of your order #{display_id} are on their way back to you."
    ),
    "order.return_requested": Notice(
        "Your return for order #{display_id}", "We expect these items of order #{display_id} back.", items="return"
    ),
    "order.items_returned": Notice(
        "Your return for order #{display_id} has arrived",
        "We have received these items of order #{display_id}.",
        items="return",
    ),
    "swap.created": Notice(
        "An exchange for order #{display_id}", "An exchange for your order #{display_id} was arranged.", items="swap"
    ),
    "swap.shipment_created": Notice(
        "The exchange for order #{display_id} is on its way",
        "What you get in exchange for order #{display_id} has left.",
        items="fulfillment",
    ),
    "claim.created": Notice("A claim for order #{display_id}", "We are looking after your order #{display_id}."),
    "claim.shipment_created": Notice(
        "The replacement for order #{display_id} is on its way",
        "The replacement for order #{display_id} has left.",
        items="fulfillment",
    ),
    "gift_card.created": Notice(
        "Your gift card", "Your gift card of order #{display_id} is worth {amount}. Its code: {code}"
    ),
}


def money(amount: int, currency_code: str) -> str:
    """An amount in minor units, as people write it; "EUR 12.50"-like for a currency that nobody knows."""
    code = currency_code.upper()
    try:
        return format_currency(amount / 10 ** get_currency_precision(code), code, locale="en")
    except UnknownCurrencyError:
        return f"{code} {amount / 100:.2f}"


def mail_of(event_name: str, to: str, data: Row) -> Mail:
    """The mail about an event. `data` is what its notification keeps, and the secrets that it does not keep."""
    notice = NOTICES[event_name]
    words = {name: value for name, value in data.items() if isinstance(value, str | int)}
    if data.get("amount") is not None:
        words["amount"] = money(data["amount"], data["currency_code"])
    name = data.get("first_name")
    opening = [f"Hello {name}," if name else "Hello,", notice.text.format_map(words)]
    rows = [(f"{item['quantity']} x {titled(item)}", amount_of(item, data)) for item in data.get("items") or ()]
    if notice.totals:
        rows.append(("Total", money(data["total"], data["currency_code"])))
    closing = [f"Tracking number: {number}" for number in data.get("tracking_numbers") or ()]
    return Mail(to, notice.subject.format_map(words), as_text(opening, rows, closing), as_html(opening, rows, closing))


def titled(item: Row) -> str:
    return f"{item['title']} ({item['description']})" if item.get("description") else str(item["title"])


def amount_of(item: Row, data: Row) -> str:
    return "" if item.get("total") is None else money(item["total"], data["currency_code"])


def as_text(opening: Iterable[str], rows: Iterable[tuple[str, str]], closing: Iterable[str]) -> str:
    """Paragraphs with an empty line in between, rows one below the other."""
    table = "\n".join(f"  {name}  {amount}".rstrip() for name, amount in rows)
    return "\n\n".join(part for part in (*opening, table, *closing) if part) + "\n"


def as_html(opening: Iterable[str], rows: Iterable[tuple[str, str]], closing: Iterable[str]) -> str:
    """The same as HTML; every word is escaped, for titles and names are anybody's."""
    table = "".join(f"<tr><td>{escape(name)}</td><td>{escape(amount)}</td></tr>" for name, amount in rows)
    parts = [f"<p>{escape(part)}</p>" for part in opening]
    parts += [f"<table>{table}</table>"] if table else []
    parts += [f"<p>{escape(part)}</p>" for part in closing]
    return f'<!doctype html><html><body style="font-family: sans-serif">{"".join(parts)}</body></html>'
