"""What a cart costs: asking the catalog, and the cart's lines and methods with the answer worked in.

A quote is worked out without a transaction, from what the cart was at that moment. It is stored only on a cart whose
version is still the same (drafts/pricing.py), or that nothing can change meanwhile (drafts/placements.py).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from services.chassis import copies
from services.chassis.db import Db
from services.chassis.jsons import json_text
from services.orders import remote
from services.orders.fulfillment_providers import validated
from services.orders.pricing.amounts import added_up
from services.orders.pricing.lines import LINES, METHODS, store_adjustments, store_rows, store_taxes
from services.orders.totals import Totals

Row = dict[str, Any]

KNOWN_DOCUMENTS = """
select x.kind, x.id from jsonb_to_recordset($1::text::jsonb) as x(kind text, id text, sequence bigint)
join copies c on c.kind = x.kind and c.id = x.id and c.sequence >= x.sequence
"""
STORE_DISCOUNTS = """
with gone as (delete from cart_discounts where cart_id = $1 and discount_id <> all ($2::text[]))
insert into cart_discounts (cart_id, discount_id, code)
select $1, discount_id, code from unnest($2::text[], $3::text[]) with ordinality as x(discount_id, code, n) order by n
on conflict do nothing
"""
# $1 cart, $2 totals, $3 currency if it is another, $4 whether somebody changed the cart
STORE_TOTALS = """
update carts c set
    (subtotal, discount_total, raw_discount_total, shipping_total, item_tax_total, shipping_tax_total, tax_total,
     gift_card_total, gift_card_tax_total, total)
    = (x.subtotal, x.discount_total, x.raw_discount_total, x.shipping_total, x.item_tax_total, x.shipping_tax_total,
       x.tax_total, x.gift_card_total, x.gift_card_tax_total, x.total),
    currency_code = coalesce($3, c.currency_code), version = version + 1,
    updated_at = case when $4 then now() else updated_at end
from jsonb_to_record($2::text::jsonb) as x(
    subtotal bigint, discount_total bigint, raw_discount_total float8, shipping_total bigint, item_tax_total bigint,
    shipping_tax_total bigint, tax_total bigint, gift_card_total bigint, gift_card_tax_total bigint, total bigint)
where c.id = $1
"""


# What the catalog learns of a line; what is known already stays.
LINE_FACTS = ("id", "variant_id", "quantity", "unit_price", "includes_tax", "allow_discounts")


@dataclass
class Basket:
    """What the catalog is to price. A line without `unit_price` and a method without `asked_price` get the catalog's.

    `codes` are discounts to be given, which the catalog checks, unless `codes_kept`; `discount_ids` are those that the
    cart has, whatever their codes are now.
    """

    region_id: str
    lines: list[Row]
    methods: list[Row]
    codes: list[str]
    customer_id: str | None = None
    group_ids: list[str] = field(default_factory=list)
    codes_kept: bool = True
    discount_ids: list[str] = field(default_factory=list)


@dataclass
class Quote:
    """Lines and methods as rows, with `rates` and `adjustments` and all totals worked in."""

    lines: list[Row]
    methods: list[Row]
    totals: Totals
    discounts: list[Row]  # id and code of each
    currency_code: str
    sales_channel_id: str | None
    copies: dict[str, list[Row]]

    def region(self) -> Row:
        """The document of the region that it is about."""
        return self.copies["region"][0]

    def countries(self) -> list[str]:
        """ISO codes of the region's countries."""
        return [country["iso_2"] for country in self.region()["related"].get("countries") or []]


def question(basket: Basket) -> Row:
    """The body of the catalog's command `price_cart`."""
    return {
        "region_id": basket.region_id,
        "customer_id": basket.customer_id,
        "customer_group_ids": basket.group_ids,
        "discount_codes": basket.codes,
        "discount_ids": basket.discount_ids,
        "discounts_kept": basket.codes_kept,
        "items": [{name: line.get(name) for name in LINE_FACTS} for line in basket.lines],
        "shipping_methods": [
            {
                "id": method["id"],
                "option_id": method["shipping_option_id"],
                "price": method.get("asked_price"),
                "chosen": "profile_id" in method,
            }
            for method in basket.methods
        ],
    }


async def ask(app: web.Application, basket: Basket, *, placing: bool = False) -> Quote:
    """What the basket costs now. Raises what the catalog refuses with, and Unavailable.

    On an order that is being placed all taxes count; a draft in a region without automatic taxes shows none.
    """
    quote = answered(basket, await remote.price_cart(app, question(basket)), placing=placing)
    await validate_methods(basket, quote)
    return quote


async def validate_methods(basket: Basket, quote: Quote) -> None:
    """Have the providers of new methods look at their data. Raises what they refuse with."""
    known = {method["id"] for method in basket.methods if "profile_id" in method}
    for method in quote.methods:
        if method["id"] not in known:
            lines = [{name: line[name] for name in ("variant_id", "title", "quantity")} for line in quote.lines]
            cart = {"region_id": basket.region_id, "customer_id": basket.customer_id, "items": lines}
            option = option_data(quote.copies, method["shipping_option_id"])
            method["data"] = await validated(method["provider_id"], option, method.get("data") or {}, cart)


def option_data(documents: dict[str, list[Row]], option_id: str) -> Row:
    """What the shipping option keeps for its provider."""
    docs = (doc for doc in documents.get("shipping_option", []) if doc["id"] == option_id)
    body = next(docs, {"body": None})["body"] or {}
    return body.get("data") or {}


def answered(basket: Basket, reply: Row, *, placing: bool = False) -> Quote:
    """The basket with the catalog's reply worked in."""
    items = {item["id"]: item for item in reply["items"]}
    options = {method["id"]: method for method in reply["shipping_methods"]}
    taxed = placing or reply["automatic_taxes"]
    product_profiles = {doc["id"]: doc["related"].get("profile_id") for doc in reply["copies"].get("product", [])}
    lines = [quoted_line(line, items[line["id"]], taxed=taxed) for line in basket.lines]
    # Of several methods the one that was chosen last counts: that is what clients of Medusa see.
    last = options[basket.methods[-1]["id"]]["profile_id"] if basket.methods else None
    for line in lines:
        if line["has_shipping"] is None and last is not None:
            line["has_shipping"] = product_profiles.get(line["product_id"]) == last
    methods = [quoted_method(method, options[method["id"]], taxed=taxed) for method in basket.methods]
    by_line, by_method, total = added_up(lines, methods)
    # Where tax was worked out and nothing was found to tax, there are no tax lines to show, not even none.
    shown = {"has_tax_lines": not taxed or any(line["rates"] for line in lines)}
    return Quote(
        lines=[line | asdict(by_line[line["id"]]) | shown for line in lines],
        methods=[method | asdict(by_method[method["id"]]) for method in methods],
        totals=total,
        discounts=reply["discounts"],
        currency_code=reply["currency_code"],
        sales_channel_id=reply["sales_channel_id"],
        copies=reply["copies"],
    )


def quoted_line(line: Row, item: Row, *, taxed: bool) -> Row:
    """A line with its price, taxes and discounts. What it is called is settled when it is first quoted."""
    rates = item["tax_rates"] if taxed else []
    row = line | {
        "tax_lines": rates,
        "rates": [rate["rate"] or 0 for rate in rates],
        "discounts": item["adjustments"],
        "adjustments": [adjustment["amount"] for adjustment in item["adjustments"]],
    }
    if line["variant_id"] is None:
        return row | {"includes_tax": False}
    row |= {"unit_price": item["unit_price"], "includes_tax": item["includes_tax"]}
    if "title" not in line:
        row |= {name: item[name] for name in ("title", "description", "thumbnail", "is_giftcard", "product_id")} | {
            "allow_discounts": item["allow_discounts"]
        }
    return row


def quoted_method(method: Row, option: Row, *, taxed: bool) -> Row:
    """A method with its price and taxes. Once it has a price, later changes of its option do not touch it; free
    shipping makes that 0, and forgets the price, so that the option's comes back when the discount goes."""
    rates = option["tax_rates"] if taxed else []
    free = option["price"] == 0 and method.get("asked_price") != 0
    row = method | {
        "price": option["price"],
        "asked_price": None if free else option["price"],
        "tax_lines": rates,
        "rates": [rate["rate"] or 0 for rate in rates],
    }
    if "profile_id" not in method:
        row |= {name: option[name] for name in ("profile_id", "provider_id", "includes_tax")}
    return row


async def store_copies(db: Db, documents: dict[str, list[Row]]) -> None:
    """Keep the catalog's documents, writing only those that are newer than what is here."""
    docs = {(kind, doc["id"]): doc for kind, list_ in documents.items() for doc in list_}
    heads = [{"kind": kind, "id": id_, "sequence": doc["sequence"]} for (kind, id_), doc in docs.items()]
    known = {(row["kind"], row["id"]) for row in await db.fetch(KNOWN_DOCUMENTS, json_text(heads))}
    for kind in sorted(documents):
        await copies.store(db, kind, [doc for doc in documents[kind] if (kind, doc["id"]) not in known])


def priced(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """What the catalog has quoted for lines or methods, to be compared with what it quotes later."""
    return [
        (
            row["id"],
            row.get("unit_price", row.get("price")),
            [(rate["rate"] or 0, rate["name"], rate["code"]) for rate in row["tax_lines"]],
            [(each["discount_id"], each["amount"]) for each in row.get("discounts", [])],
        )
        for row in rows
    ]


async def store_quote(db: Db, cart_id: str, quote: Quote, *, frozen: bool = False, touch: bool = True) -> None:
    """Make lines, methods, discounts and totals of the cart those of the quote. `frozen` tax lines never change."""
    await store_copies(db, quote.copies)
    await store_rows(db, LINES, quote.lines, cart_id=cart_id)
    await store_taxes(db, LINES, quote.lines, frozen=frozen)
    await store_adjustments(db, quote.lines)
    await store_rows(db, METHODS, quote.methods, cart_id=cart_id)
    await store_taxes(db, METHODS, quote.methods, frozen=frozen)
    ids, codes = [discount["id"] for discount in quote.discounts], [discount["code"] for discount in quote.discounts]
    await db.execute(STORE_DISCOUNTS, cart_id, ids, codes)
    await store_totals(db, cart_id, quote.totals, quote.currency_code, touch=touch)


async def store_totals(
    db: Db, cart_id: str, total: Totals, currency_code: str | None = None, *, touch: bool = True
) -> None:
    """The totals of a cart, in its currency or another. With `touch` somebody has changed the cart."""
    await db.execute(STORE_TOTALS, cart_id, json_text(asdict(total)), currency_code, touch)
