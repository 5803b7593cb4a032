"""The prices of a price list: add, change, remove. All changes of a list's prices lock the list first."""

from collections.abc import Sequence
from typing import Annotated, Self

import orjson
from aiohttp import web
from pydantic import Field, model_validator

from services.catalog.price_lists.reads import access_list, lock_list, price_list_json
from services.catalog.products.bodies import Id, PriceBody
from services.chassis.db import Db, transaction
from services.chassis.errors import NotFound
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_text

Ids = Annotated[list[Id], Field(min_length=1)]


class ListPriceBody(PriceBody):
    """What a variant costs by the list, in a region or in a currency."""

    variant_id: Id


class ListPriceEntry(ListPriceBody):
    """A price of the list: that with the `id`, which moves to the region or the currency if it names one, or a new one.
    A price of a region stays there, whatever currency is sent along."""

    id: Id | None = None

    @model_validator(mode="after")
    def in_one_place(self) -> Self:
        self.currency_code, self.region_id = self.currency_code or None, self.region_id or None
        if self.id is None and (self.currency_code is None) == (self.region_id is None):
            raise ValueError("a price has either a currency_code or a region_id")
        return self


class BatchBody(Body):
    prices: list[ListPriceEntry]
    override: bool | None = None


class PriceIdsBody(Body):
    price_ids: Ids


class ProductIdsBody(Body):
    product_ids: Ids


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
ADD = """
insert into prices (id, price_list_id, variant_id, currency_code, region_id, amount, min_quantity, max_quantity)
select g.id, $1, g.variant_id, coalesce(r.currency_code, lower(g.currency_code)), g.region_id, g.amount,
    g.min_quantity, g.max_quantity
from jsonb_to_recordset($2::text::jsonb) as g(
    id text, variant_id text, currency_code text, region_id text, amount bigint, min_quantity int, max_quantity int
) left join regions r on r.id = g.region_id
"""
CHANGE = """
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
REMOVE = "delete from prices where price_list_id = $1 and id = any($2::text[])"
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
        found = {row["id"] for row in await db.fetch(CHANGE, list_id, json_text(docs))}
        if unknown := sorted({entry.id or "" for entry in changes} - found):
            raise NotFound(f"The price list has no price {', '.join(unknown)}.")
    if added:
        ids = sorted(new_id("ma") for _ in added)
        rows = [entry.model_dump() | {"id": id_} for entry, id_ in zip(added, ids, strict=True)]
        await db.execute(ADD, list_id, json_text(rows))


def removed(request: web.Request, ids: list[str]) -> web.Response:
    """What removing prices answers."""
    return json_bytes(request, orjson.dumps({"ids": ids, "object": "money-amount", "deleted": True}))


async def remove_found(request: web.Request, statement: str, wanted: str | list[str]) -> web.Response:
    """Remove prices of the list, which need not exist, and say which they were."""
    list_id = request.match_info["id"]
    async with transaction(request) as db:
        await lock_list(db, list_id)
        return removed(request, [row["id"] for row in await db.fetch(statement, list_id, wanted)])


async def post_prices_batch(request: web.Request) -> web.Response:
    list_id, body = request.match_info["id"], await parse(request, BatchBody)
    async with transaction(request) as db:
        await access_list(db, list_id)
        await set_prices(db, list_id, body.prices, override=bool(body.override))
        return json_bytes(request, await price_list_json(db, list_id))


async def delete_prices_batch(request: web.Request) -> web.Response:
    """Whatever of the ids is in the list goes; all are answered."""
    list_id, body = request.match_info["id"], await parse(request, PriceIdsBody)
    async with transaction(request) as db:
        await access_list(db, list_id)
        await db.execute(REMOVE, list_id, body.price_ids)
        return removed(request, body.price_ids)


async def delete_products_batch(request: web.Request) -> web.Response:
    body = await parse(request, ProductIdsBody)
    return await remove_found(request, REMOVE_OF_PRODUCTS, body.product_ids)


async def delete_product_prices(request: web.Request) -> web.Response:
    return await remove_found(request, REMOVE_OF_PRODUCTS, [request.match_info["product_id"]])


async def delete_variant_prices(request: web.Request) -> web.Response:
    return await remove_found(request, REMOVE_OF_VARIANT, request.match_info["variant_id"])


OPERATIONS = [
    web.post("/admin/price-lists/{id}/prices/batch", post_prices_batch),
    web.delete("/admin/price-lists/{id}/prices/batch", delete_prices_batch),
    web.delete("/admin/price-lists/{id}/products/prices/batch", delete_products_batch),
    web.delete("/admin/price-lists/{id}/products/{product_id}/prices", delete_product_prices),
    web.delete("/admin/price-lists/{id}/variants/{variant_id}/prices", delete_variant_prices),
]
