"""The command `price_cart`: what the lines and shipping methods of a cart cost now, with everything that says why.

It reads one statement and changes nothing. Orders keep what it answers, so that later changes here do not reach them.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel, Field

from services.catalog.documents import KINDS
from services.catalog.prices import LineAmounts, Price, line_amounts, resolve, total_rate
from services.catalog.pricing.allocation import DiscountedLine
from services.catalog.pricing.cart_discounts import DISCOUNTS, IDS, adjustments, chosen_discounts, normalised_codes
from services.catalog.products.price_candidates import CANDIDATES, INCLUDES_TAX, holds
from services.catalog.shipping.providers import can_calculate
from services.chassis.db import Db
from services.chassis.documents import kind_sql
from services.chassis.errors import InvalidData, NotAllowed, NotFound


class Item(BaseModel):
    """A line. Without `variant_id` it is the caller's own invention; a `unit_price` given is kept, and whether the line
    `allow_discounts`. So are `tax_rates`, of a line that was sold, whose variant may be gone."""

    id: str
    variant_id: str | None = None
    quantity: int
    unit_price: int | None = None
    includes_tax: bool | None = None
    allow_discounts: bool | None = None
    tax_rates: list[dict[str, Any]] | None = None

    @property
    def sold(self) -> bool:
        return self.unit_price is not None and self.tax_rates is not None


class Method(BaseModel):
    """A way to ship. A `price` given is kept. What is `chosen` the cart has already: whether it can have it was checked
    then, and the option may be gone by now."""

    id: str
    option_id: str
    price: int | None = None
    chosen: bool = False


class Cart(BaseModel):
    """What there is to be priced. `discounts_kept`: the cart has its discounts already, they were checked then;
    `discount_ids` are such ones, whose code may be another by now. With `group_prices`, prices for the customer's
    groups hold, too."""

    region_id: str
    customer_id: str | None = None
    customer_group_ids: list[str] = Field(default=[])
    discount_codes: list[str] = Field(default=[])
    discount_ids: list[str] = Field(default=[])
    discounts_kept: bool = False
    group_prices: bool = False
    items: list[Item] = Field(default=[])
    shipping_methods: list[Method] = Field(default=[])


# $1 region, $2 variants, $3 shipping options, $6 groups for whom price lists hold. Prices of other regions in the same
# currency hold here, too.
VARIANTS = f"""
select coalesce(json_object_agg(v.id, json_build_object(
    'title', p.title, 'description', v.title, 'thumbnail', p.thumbnail, 'product_id', p.id,
    'profile_id', p.profile_id, 'is_giftcard', p.is_giftcard, 'allow_discounts', p.discountable,
    'prices', (
        select coalesce(json_agg(json_build_object(
            'amount', m.amount, 'currency_code', m.currency_code, 'region_id', m.region_id,
            'min_quantity', m.min_quantity, 'max_quantity', m.max_quantity, 'list_type', l.type,
            'includes_tax', {INCLUDES_TAX}
        ) order by m.created_at, m.id), '[]')
        from {CANDIDATES}
        where m.variant_id = v.id and m.deleted_at is null and {holds("$6")}
            and (m.region_id = r.id or m.currency_code = r.currency_code)
    ),
    'tax_rates', (
        select json_agg(json_build_object('rate', coalesce(t.rate, 0), 'name', t.name, 'code', t.code)
            order by t.created_at, t.id)
        from tax_rates t where t.region_id = r.id and (
            exists (select from product_tax_rates l where l.rate_id = t.id and l.product_id = p.id)
            or exists (select from product_type_tax_rates l where l.rate_id = t.id and l.product_type_id = p.type_id)
        )
    )
)), '{{}}')
from product_variants v join products p on p.id = v.product_id, region r
where v.id = any($2::text[]) and v.deleted_at is null and p.deleted_at is null
"""  # noqa: S608 - the text is ours
OPTIONS = """
select coalesce(json_object_agg(o.id, json_build_object(
    'region_id', o.region_id, 'profile_id', o.profile_id, 'provider_id', o.provider_id, 'price_type', o.price_type,
    'amount', o.amount, 'includes_tax', o.includes_tax, 'is_return', o.is_return, 'data', o.data,
    'gone', o.deleted_at is not null,
    'requirements', (
        select coalesce(json_agg(json_build_array(q.type, q.amount) order by q.id), '[]')
        from shipping_option_requirements q where q.shipping_option_id = o.id and q.deleted_at is null
    ),
    'tax_rates', (
        select json_agg(json_build_object('rate', coalesce(t.rate, 0), 'name', t.name, 'code', t.code)
            order by t.created_at, t.id)
        from tax_rates t join shipping_tax_rates l on l.rate_id = t.id where l.shipping_option_id = o.id
    )
)), '{}')
from shipping_options o where o.id = any($3::text[])
"""
COPIED = {
    "region": "array[$1]",
    "country": "array(select iso_2 from countries where region_id = $1)",
    "sales_channel": "array(select default_sales_channel_id from stores)",
    "shipping_option": "$3",
    "shipping_profile": "array(select profile_id from shipping_options where id = any($3::text[]) union "
    "select p.profile_id from product_variants v join products p on p.id = v.product_id where v.id = any($2::text[]))",
    "product": "array(select product_id from product_variants where id = any($2::text[]))",
    "variant": "$2",
    "discount": IDS,
}
COPIES = ", ".join(f"'{kind}', {kind_sql(KINDS[kind], ids)}" for kind, ids in COPIED.items())
DATA = f"""
with region as (
    select id, currency_code, tax_rate, automatic_taxes from regions where id = $1::text and deleted_at is null
)
select json_build_object(
    'region', (select row_to_json(region) from region),
    'sales_channel_id', (select default_sales_channel_id from stores),
    'variants', ({VARIANTS}),
    'options', ({OPTIONS}),
    'discounts', ({DISCOUNTS}),
    'copies', json_build_object({COPIES})
)::text
"""  # noqa: S608 - the text is ours


async def price_cart(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `price_cart`. Raises NotFound, InvalidData or NotAllowed for what cannot be priced."""
    cart = Cart.model_validate(body)
    variant_ids = sorted({item.variant_id for item in cart.items if item.variant_id is not None})
    option_ids = sorted({method.option_id for method in cart.shipping_methods})
    codes = normalised_codes(cart.discount_codes)
    # Of a cart nobody knows yet who buys it.
    whom = cart.customer_group_ids if cart.group_prices else []
    args = cart.region_id, variant_ids, option_ids, codes, cart.customer_group_ids, whom, cart.discount_ids
    data = orjson.loads(await db.fetchval(DATA, *args))
    region = data["region"]
    if region is None:
        raise NotFound(f"There is no region {cart.region_id}.")
    codes = sorted({*codes, *(code for code, d in data["discounts"].items() if d["id"] in cart.discount_ids)})
    discounts = chosen_discounts(codes, data["discounts"], kept=cart.discounts_kept)
    check_variants(sorted({i.variant_id for i in cart.items if i.variant_id and not i.sold}), data["variants"])
    default_rates = [{"rate": region["tax_rate"], "name": "default", "code": "default"}]
    methods = [price_method(each, data["options"], default_rates) for each in cart.shipping_methods]
    profiles = {each["profile_id"] for each in methods}
    items = [price_item(item, region, data["variants"], default_rates, profiles) for item in cart.items]
    amounts = [
        item_amounts(item, line, region["automatic_taxes"]) for item, line in zip(cart.items, items, strict=True)
    ]
    for method in cart.shipping_methods:
        if not method.chosen:
            check_option(method.option_id, data["options"][method.option_id], region["id"], amounts)
    if any(discount["type"] == "free_shipping" for discount in discounts):
        methods = [each | {"price": 0} for each in methods]
    taken = adjustments(discounts, discounted_lines(items, cart.items, amounts))
    return {
        "currency_code": region["currency_code"],
        "automatic_taxes": region["automatic_taxes"],
        "sales_channel_id": data["sales_channel_id"],
        "items": [line | {"adjustments": taken.get(line["id"], [])} for line in items],
        "shipping_methods": methods,
        "discounts": [{"id": discount["id"], "code": discount["code"]} for discount in discounts],
        "copies": data["copies"],
    }


def discounted_lines(
    lines: Sequence[dict[str, Any]], items: Sequence[Item], amounts: Sequence[LineAmounts]
) -> list[DiscountedLine]:
    """The lines that a discount can take something off."""
    return [
        DiscountedLine(line["id"], line["product_id"], amount.subtotal, item.quantity)
        for line, item, amount in zip(lines, items, amounts, strict=True)
        if line["allow_discounts"]
    ]


def check_variants(variant_ids: Sequence[str], variants: dict[str, Any]) -> None:
    """Raises InvalidData for a variant that is not there."""
    missing = [id_ for id_ in variant_ids if id_ not in variants]
    if missing:
        raise InvalidData(f"There is no variant {', '.join(missing)}.")


def price_item(
    item: Item,
    region: dict[str, Any],
    variants: dict[str, Any],
    default_rates: list[dict[str, Any]],
    profiles: set[str],
) -> dict[str, Any]:
    """A line as the caller keeps it. Raises InvalidData when the variant has no price here."""
    if item.variant_id is None or item.variant_id not in variants:
        return {
            "id": item.id,
            "variant_id": item.variant_id,
            "product_id": None,
            "title": None,
            "description": None,
            "thumbnail": None,
            "unit_price": max(item.unit_price or 0, 0),
            "includes_tax": bool(item.includes_tax),
            "is_giftcard": False,
            "has_shipping": bool(profiles),
            "allow_discounts": False,
            "tax_rates": item.tax_rates or [],
            "adjustments": [],
        }
    variant = variants[item.variant_id]
    rates = variant["tax_rates"] or default_rates
    if item.sold:
        rates = item.tax_rates or []
    unit_price, includes_tax = item.unit_price, bool(item.includes_tax)
    if unit_price is None:
        price = resolve(
            [Price(**price) for price in variant["prices"]],
            currency_code=region["currency_code"],
            region_id=region["id"],
            quantity=item.quantity,
            rate=total_rate(rate["rate"] for rate in rates),
        ).calculated
        if price is None:
            raise InvalidData(
                f"Variant {item.variant_id} has no price in {region['currency_code']} for this quantity; "
                "give it one, or send a unit_price."
            )
        unit_price, includes_tax = price.amount, price.includes_tax
    return {
        "id": item.id,
        "variant_id": item.variant_id,
        "product_id": variant["product_id"],
        "title": variant["title"],
        "description": variant["description"],
        "thumbnail": variant["thumbnail"],
        "unit_price": unit_price,
        "includes_tax": includes_tax,
        "is_giftcard": variant["is_giftcard"],
        "has_shipping": variant["profile_id"] in profiles,
        "allow_discounts": variant["allow_discounts"] if item.allow_discounts is None else item.allow_discounts,
        "tax_rates": rates,
        "adjustments": [],
    }


def item_amounts(item: Item, line: dict[str, Any], automatic_taxes: bool) -> LineAmounts:
    """What the line comes to, with the taxes that its cart shows."""
    rates = [rate["rate"] for rate in line["tax_rates"]] if automatic_taxes or item.sold else []
    return line_amounts(line["unit_price"], item.quantity, line["includes_tax"], rates)


def price_method(method: Method, options: dict[str, Any], default_rates: list[dict[str, Any]]) -> dict[str, Any]:
    """A shipping method as the caller keeps it. Raises NotFound, or InvalidData when nobody knows its price."""
    option = options.get(method.option_id)
    if option is None or (option["gone"] and not method.chosen):
        raise NotFound(f"There is no shipping option {method.option_id}.")
    price = option["amount"] if method.price is None else method.price
    if price is None or (option["price_type"] == "calculated" and not can_calculate(option["provider_id"])):
        raise InvalidData(f"The provider {option['provider_id']} cannot calculate a price for {method.option_id}.")
    return {
        "id": method.id,
        "option_id": method.option_id,
        "price": price,
        "includes_tax": option["includes_tax"],
        "profile_id": option["profile_id"],
        "provider_id": option["provider_id"],
        "data": option["data"],
        "tax_rates": option["tax_rates"] or default_rates,
    }


def check_option(option_id: str, option: dict[str, Any], region_id: str, amounts: Sequence[LineAmounts]) -> None:
    """Raises InvalidData for an option of another region, NotAllowed when the cart does not meet its requirements.

    Gross options look at the gross subtotal. The upper bound is exclusive.
    """
    if option["region_id"] != region_id:
        raise InvalidData(f"Shipping option {option_id} is not of the cart's region.")
    subtotal = sum(line.subtotal + (line.tax if option["includes_tax"] else 0) for line in amounts)
    for type_, amount in option["requirements"]:
        if (type_ == "min_subtotal" and subtotal < amount) or (type_ == "max_subtotal" and subtotal >= amount):
            raise NotAllowed(f"A subtotal of {subtotal} does not meet {type_} {amount} of shipping option {option_id}.")
