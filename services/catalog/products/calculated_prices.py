"""What variants cost in a region or a currency, for a cart or a customer: GET /admin/variants with a price context.

Still one statement. It finds the prices that can apply; which of them does is computed from its answer, in prices.py.
Without a region or a currency there is nothing to compute, and the answer leaves as it came.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import orjson
from aiohttp import web

from services.catalog import remote
from services.catalog.prices import Price, resolve, taxed, total_rate
from services.catalog.products.price_candidates import CANDIDATES, INCLUDES_TAX, holds
from services.catalog.products.reads import AVAILABILITY, PLAIN_LIST, PRICE, PRICE_COLUMNS, STOCK, variant_resource
from services.catalog.resources import TAX_RATE
from services.chassis.db import Db
from services.chassis.embed import (
    One,
    Page,
    Resource,
    Value,
    aliases,
    object_sql,
    page_text,
    tree,
)
from services.chassis.errors import NotFound
from services.chassis.jsons import json_text
from services.chassis.params import Query, word

PARAMETERS = ("region_id", "currency_code", "cart_id", "customer_id")
# The price context is $1 region, $2 currency, $3 customer groups, in all of these.
CURRENCY = "(select currency_code from regions where id = $1::text and deleted_at is null)"
APPLIES = f"""{holds("$3")} and (
    ($1::text is null and $2::text is null) or m.region_id = $1 or m.currency_code = coalesce({CURRENCY}, lower($2))
)"""
TAX_RATES = f"""(
    select case when r.automatic_taxes then coalesce(
        (
            select json_agg({object_sql(TAX_RATE, (), "t", aliases())} order by t.created_at, t.id)
            from tax_rates t, products p where t.region_id = r.id and p.id = {{t}}.product_id and (
                exists (select from product_tax_rates l where l.rate_id = t.id and l.product_id = p.id)
                or exists (
                    select from product_type_tax_rates l where l.rate_id = t.id and l.product_type_id = p.type_id
                )
            )
        ),
        json_build_array(json_build_object('rate', r.tax_rate, 'name', 'default', 'code', 'default'))
    ) end
    from regions r where r.id = $1 and r.deleted_at is null
)"""  # noqa: S608 - the text is ours
# A variant without a price that applies shows all its prices, in their plainer form, and no calculated ones.
CALCULATED = f"""(
    select x.variant || case when x.variant #> '{{{{prices,0}}}}' ? 'price_list' then jsonb_build_object(
        'original_price', null, 'calculated_price', null, 'original_price_includes_tax', null,
        'calculated_price_includes_tax', null, 'original_price_incl_tax', null, 'calculated_price_incl_tax', null,
        'original_tax', null, 'calculated_tax', null, 'tax_rates', {TAX_RATES}
    ) else '{{{{}}}}' end
    from (select {{row}} as variant) x
)"""  # noqa: S608 - the text is ours


@dataclass(frozen=True)
class Context:
    """Where, in which currency, for which cart and for which customer prices are wanted."""

    region_id: str | None
    currency_code: str | None
    cart_id: str | None
    customer_id: str | None
    customer_group_ids: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[object, ...]:
        """The arguments $1, $2 and $3 of statements with such prices."""
        return self.region_id, self.currency_code, list(self.customer_group_ids)

    @property
    def priced(self) -> bool:
        """Whether there is a price to be calculated."""
        return bool(self.region_id or self.currency_code or self.cart_id)


def context_of(query: Query) -> Context:
    """Takes the parameters of the context out of the query. Raises InvalidData."""
    region, currency, cart, customer = (word(name, query.pop(name, "")) or None for name in PARAMETERS)
    return Context(region, currency, cart, customer)


async def completed(app: web.Application, context: Context) -> Context:
    """The context with what orders know: the region of the cart, the groups of the customer.

    Raises NotFound for an unknown cart, and Unavailable.
    """
    if context.cart_id is None and context.customer_id is None:
        return context
    known = await remote.price_context(app, context.cart_id, context.customer_id)
    region, groups = known["region_id"] or context.region_id, tuple(known["customer_group_ids"])
    return replace(context, region_id=region, customer_group_ids=groups)


@cache
def priced_variants(*, quantity: bool, compared: bool) -> Resource:
    """Variants with the prices that can apply, and whether they are available; with `quantity`, how many are.

    With `compared`, each of these prices says whether it includes tax, for `calculate`.
    """
    more = {"variant_id": "{t}.variant_id"} | ({"includes_tax": "{t}.includes_tax"} if compared else {})
    applying = Resource(
        "prices",
        PRICE_COLUMNS | more,
        {"price_list": One(PLAIN_LIST, "{t}.id = {p}.price_list_id")},
        always=tree(("price_list",)),
    )
    prices = f"""select coalesce(
        json_agg({object_sql(applying, (), "m", aliases())} order by m.created_at, m.id) filter (where m.applies),
        json_agg({object_sql(PRICE, (), "m", aliases())} order by m.created_at, m.id),
        '[]'
    ) from (
        select m.*, {INCLUDES_TAX} as includes_tax, {APPLIES} as applies
        from {CANDIDATES} where m.variant_id = {{p}}.id and m.deleted_at is null
    ) m"""  # noqa: S608 - the text is ours
    plain = variant_resource(priced=True, counted=False)
    return Resource(
        plain.table,
        plain.columns,
        {**plain.relations, "prices": Value(prices)},
        shape=AVAILABILITY.format(priced=CALCULATED, stock=STOCK if quantity else ""),
    )


def calculate(variant: dict[str, Any], region_id: str | None, currency_code: str) -> None:
    """Fill in what the variant costs. The rates of its product are there in a region that computes taxes."""
    prices, rates = variant["prices"], variant.get("tax_rates")
    if not prices or "price_list" not in prices[0]:
        return
    candidates = [
        Price(
            amount=price["amount"],
            currency_code=price["currency_code"],
            region_id=price["region_id"],
            min_quantity=price["min_quantity"],
            max_quantity=price["max_quantity"],
            includes_tax=price.pop("includes_tax"),
            list_type=price["price_list"] and price["price_list"]["type"],
        )
        for price in prices
    ]
    rate = None if rates is None else total_rate(tax["rate"] for tax in rates)
    resolved = resolve(candidates, currency_code=currency_code, region_id=region_id, quantity=None, rate=rate)
    for name, price in (("original", resolved.original), ("calculated", resolved.calculated)):
        if price is not None:
            variant[f"{name}_price"] = price.amount
            variant[f"{name}_price_includes_tax"] = price.includes_tax
            if rate is not None:
                tax = taxed(price, rate)
                variant[f"{name}_tax"], variant[f"{name}_price_incl_tax"] = tax.tax, tax.price
    if resolved.calculated is not None:
        variant["calculated_price_type"] = resolved.calculated.list_type or "default"


async def variants_json(db: Db, page: Page, context: Context) -> str:
    """`{"variants", "count"}`, whose arguments begin with those of the context. One statement.

    Raises NotFound for an unknown region.
    """
    rows, count, currency = await db.fetchrow(f"{page_text(page)}, {CURRENCY}", *page.args, page.limit, page.offset)
    if context.region_id is not None and currency is None:
        raise NotFound(f"There is no region {context.region_id}.")
    if context.priced:
        variants = orjson.loads(rows)
        for variant in variants:
            calculate(variant, context.region_id, currency or str(context.currency_code).lower())
        rows = json_text(variants)
    return f'{{"variants":{rows},"count":{count}}}'
