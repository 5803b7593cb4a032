"""The prices of a price list: add, change, remove. All changes of a list's prices lock the list first."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.catalog.price_lists.reads import WRITTEN, access_list, lock_list, price_list_json
from services.catalog.products.bodies import Id, PriceBody
from services.chassis.db import Db
from services.chassis.errors import NotFound
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, post

Ids = Annotated[list[Id], Field(min_length=1)]


class ListPriceBody(PriceBody):
    """What a variant costs by the list, in a region or in a currency."""

    variant_id: Id


class ListPriceEntry(ListPriceBody):
    """A price of the list: that with the `id`, which moves to the region or the currency if it names one, or a new one.
    A price of a region stays there, whatever currency is sent along."""

    id: Id | None = None
    """The price of the list that changes; a new one is added without it."""

    @model_validator(mode="after")
    def in_one_place(self) -> Self:
        self.currency_code, self.region_id = self.currency_code or None, self.region_id or None
        if self.id is None and (self.currency_code is None) == (self.region_id is None):
            raise ValueError("a price has either a currency_code or a region_id")
        return self


class ListPricesBody(Body):
    prices: list[ListPriceEntry]
    override: bool | None = None
    """Whether the list has no other prices from now on."""


class PriceIdsBody(Body):
    price_ids: Ids
    """Ids of prices of the list."""


class ProductIdsBody(Body):
    product_ids: Ids
    """Ids of products; the list's prices of all their variants are meant."""


# $1 variants, $2 currencies, $3 regions: those of each that do not exist.
MISSING = """
select
    array(
        select distinct x.id from unnest($1::text[]) as x(id)
        where not exists (select from product_variants v where v.id = x.id and v.deleted_at is null) order by 1
    ),
    array(
        select distinct x.code from unnest($2::text[]) as x(code)
        where not exists (select from currencies c where c.code = lower(x.code)) order by 1
    ),
    array(
        select distinct x.id from unnest($3::text[]) as x(id)
        where not exists (select from regions r where r.id = x.id and r.deleted_at is null) order by 1
    )
"""
ADD_PRICES = """
insert into prices (id, price_list_id, variant_id, currency_code, region_id, amount, min_quantity, max_quantity)
select g.id, $1, g.variant_id, coalesce(r.currency_code, lower(g.currency_code)), g.region_id, g.amount,
    g.min_quantity, g.max_quantity
from jsonb_to_recordset($2::text::jsonb) as g(
    id text, variant_id text, currency_code text, region_id text, amount bigint, min_quantity int, max_quantity int
) left join regions r on r.id = g.region_id
"""
CHANGE_PRICES = """
update prices p set
    (amount, min_quantity, max_quantity, currency_code, region_id) = (
        select n.amount, n.min_quantity, n.max_quantity, coalesce(r.currency_code, lower(n.currency_code)), n.region_id
        from jsonb_populate_record(p, d.doc - 'variant_id') n left join regions r on r.id = n.region_id
    ),
    updated_at = now()
from jsonb_array_elements($2::text::jsonb) d(doc)
where p.id = d.doc ->> 'id' and p.price_list_id = $1
returning p.id
"""
REMOVE_OTHERS = "delete from prices where price_list_id = $1 and not id = any($2::text[])"
REMOVE_PRICES = "delete from prices where price_list_id = $1 and id = any($2::text[])"
REMOVE_OF_VARIANT = """
with gone as (delete from prices where price_list_id = $1 and variant_id = $2 returning id)
select id from gone order by id
"""
REMOVE_OF_PRODUCTS = """
with gone as (
    delete from prices where price_list_id = $1
        and variant_id in (select v.id from product_variants v where v.product_id = any($2::text[]))
    returning id
)
select id from gone order by id
"""


async def check_prices(db: Db, prices: Sequence[ListPriceBody], added: Sequence[ListPriceBody]) -> None:
    """Raises NotFound for a currency or a region that does not exist, or a variant of those that are added."""
    missing = await db.fetchrow(
        MISSING,
        [price.variant_id for price in added],
        [price.currency_code for price in prices if price.currency_code is not None],
        [price.region_id for price in prices if price.region_id is not None],
    )
    for kind, ids in zip(("variant", "currency", "region"), missing, strict=True):
        if ids:
            raise NotFound(f"prices: there is no {kind} {', '.join(ids)}.")


async def set_prices(db: Db, list_id: str, entries: Sequence[ListPriceBody], *, override: bool = False) -> None:
    """Change the prices with an id, add the others; with `override`, all that are not named go. Raises NotFound."""
    changes = [entry for entry in entries if isinstance(entry, ListPriceEntry) and entry.id is not None]
    added = [entry for entry in entries if not isinstance(entry, ListPriceEntry) or entry.id is None]
    await check_prices(db, entries, added)
    if override:
        await db.execute(REMOVE_OTHERS, list_id, [entry.id for entry in changes])
    if changes:
        empty = [{name for name in ("currency_code", "region_id") if not getattr(e, name)} for e in changes]
        docs = [e.model_dump(exclude_unset=True, exclude=skip) for e, skip in zip(changes, empty, strict=True)]
        changed_ids = {row["id"] for row in await db.fetch(CHANGE_PRICES, list_id, json_text(docs))}
        if unknown := sorted({entry.id or "" for entry in changes} - changed_ids):
            raise NotFound(f"The price list has no price {', '.join(unknown)}.")
    if added:
        ids = sorted(new_id("ma") for _ in added)
        rows = [entry.model_dump() | {"id": id_} for entry, id_ in zip(added, ids, strict=True)]
        await db.execute(ADD_PRICES, list_id, json_text(rows))


def removed_json(ids: list[str]) -> str:
    """What removing prices answers: their ids."""
    return json_text({"ids": ids, "object": "money-amount", "deleted": True})


async def remove_prices(db: Db, list_id: str, statement: str, named: str | list[str]) -> str:
    """Remove prices of the list, which need not exist, and say which they were."""
    await lock_list(db, list_id)
    return removed_json([row["id"] for row in await db.fetch(statement, list_id, named)])


# Handlers


async def post_prices_batch(db: Db, list_id: str, body: ListPricesBody) -> str:
    await access_list(db, list_id)
    await set_prices(db, list_id, body.prices, override=bool(body.override))
    return await price_list_json(db, list_id)


async def delete_prices_batch(db: Db, list_id: str, body: PriceIdsBody) -> str:
    """Whatever of the ids is in the list goes; all are answered."""
    await access_list(db, list_id)
    await db.execute(REMOVE_PRICES, list_id, body.price_ids)
    return removed_json(body.price_ids)


async def delete_products_batch(db: Db, list_id: str, body: ProductIdsBody) -> str:
    return await remove_prices(db, list_id, REMOVE_OF_PRODUCTS, body.product_ids)


async def delete_product_prices(db: Db, list_id: str, product_id: str) -> str:
    return await remove_prices(db, list_id, REMOVE_OF_PRODUCTS, [product_id])


async def delete_variant_prices(db: Db, list_id: str, variant_id: str) -> str:
    return await remove_prices(db, list_id, REMOVE_OF_VARIANT, variant_id)


REMOVED = {"ids": [str], "object": "money-amount", "deleted": True}
OPERATIONS = [
    post(
        "/admin/price-lists/{id}/prices/batch",
        post_prices_batch,
        "Add or change prices of a price list",
        description="Prices with an id are changed, the others added. With `override` all that are not named go. "
        "Amounts are in minor units. A variant, currency or region that does not exist is refused with 404.",
        body=ListPricesBody,
        example={
            "prices": [
                {"variant_id": "variant_01HZX3R6V8X0Z2C4E6G8J0M2P4", "currency_code": "eur", "amount": 1900},
                {
                    "variant_id": "variant_01HZX3R6V8X0Z2C4E6G8J0M2P4",
                    "currency_code": "eur",
                    "amount": 1700,
                    "min_quantity": 10,
                },
            ],
            "override": True,
        },
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    delete(
        "/admin/price-lists/{id}/prices/batch",
        delete_prices_batch,
        "Remove prices from a price list",
        description="The answer has all the ids that were sent; those that are no prices of the list do not matter.",
        body=PriceIdsBody,
        example={"price_ids": ["ma_01HZX3T2X4Z6B8D0F2H4K6N8Q0"]},
        answer=REMOVED,
        errors=(NotFound,),
    ),
    delete(
        "/admin/price-lists/{id}/products/prices/batch",
        delete_products_batch,
        "Remove the prices of products from a price list",
        description="The answer has the ids of the prices that were removed: none for a list or products that do not "
        "exist.",
        body=ProductIdsBody,
        example={"product_ids": ["prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"]},
        answer=REMOVED,
    ),
    delete(
        "/admin/price-lists/{id}/products/{product_id}/prices",
        delete_product_prices,
        "Remove the prices of a product from a price list",
        description="The prices of all its variants. The answer has their ids: none for a list or a product that does "
        "not exist.",
        answer=REMOVED,
    ),
    delete(
        "/admin/price-lists/{id}/variants/{variant_id}/prices",
        delete_variant_prices,
        "Remove the prices of a variant from a price list",
        description="The answer has their ids: none for a list or a variant that does not exist.",
        answer=REMOVED,
    ),
]
