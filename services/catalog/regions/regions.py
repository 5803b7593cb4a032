"""Regions: where the shop sells, in which currency, with which taxes. `links.py` has what belongs to one."""

import orjson
from aiohttp import web

from services.catalog.answers import deleted, get_one, get_page, listed
from services.catalog.bodies import Metadata, Percentage, sent
from services.catalog.regions.links import (
    EXPAND,
    access_region,
    announce,
    check_providers,
    claim_countries,
    region_json,
    set_providers,
)
from services.catalog.resources import REGION
from services.catalog.shipping.providers import options_of
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import page_query
from services.chassis.errors import InvalidData, NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.params import dates, query_of, search

FILTERS = {
    "q": search("lower({t}.name) like {q}"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("{t}.deleted_at"),
}


class RegionBody(Body):
    name: str
    currency_code: str
    tax_rate: Percentage
    tax_code: str | None = None
    includes_tax: bool = False
    countries: list[str]
    payment_providers: list[str]
    fulfillment_providers: list[str]
    metadata: Metadata = None


class RegionUpdate(Body):
    name: str = ABSENT
    currency_code: str | None = None
    tax_rate: Percentage = ABSENT
    tax_code: str | None = None
    tax_provider_id: str | None = None
    automatic_taxes: bool = ABSENT
    gift_cards_taxable: bool = ABSENT
    includes_tax: bool = ABSENT
    countries: list[str] | None = None
    payment_providers: list[str] | None = None
    fulfillment_providers: list[str] | None = None
    metadata: Metadata = None


INSERT = """
insert into regions (id, name, currency_code, tax_rate, tax_code, includes_tax, metadata)
values ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update regions t set
    (name, currency_code, tax_rate, tax_code, tax_provider_id, automatic_taxes, gift_cards_taxable, includes_tax) = (
        select n.name, n.currency_code, n.tax_rate, n.tax_code, n.tax_provider_id, n.automatic_taxes,
            n.gift_cards_taxable, n.includes_tax
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""

OF_REGION_PROVIDERS = """
select array(
    select rp.provider_id from region_fulfillment_providers rp join fulfillment_providers p on p.id = rp.provider_id
    where rp.region_id = r.id and p.is_installed order by 1
) from regions r where r.id = $1 and r.deleted_at is null
"""


async def check_currency(db: Db, code: str) -> str:
    """The code as stored. Raises InvalidData unless it is one of the store's currencies."""
    if not await db.fetchval("select true from store_currencies where currency_code = $1", code.lower()):
        raise InvalidData(f"currency_code: {code} is not a currency of the store; add it there first.")
    return code.lower()


async def create_region(db: Db, body: RegionBody) -> str:
    """A new region with its countries and providers."""
    currency = await check_currency(db, body.currency_code)
    await check_providers(db, body.payment_providers, body.fulfillment_providers)
    region_id = new_id("reg")
    await db.execute(
        INSERT,
        region_id,
        body.name,
        currency,
        body.tax_rate,
        body.tax_code,
        body.includes_tax,
        json_or_null(body.metadata),
    )
    changed = await claim_countries(db, region_id, body.countries, replace=False)
    await set_providers(db, region_id, payment=body.payment_providers, fulfillment=body.fulfillment_providers)
    await announce(db, "region.created", region_id, changed)
    return region_id


async def update_region(db: Db, region_id: str, body: RegionUpdate) -> None:
    """Change what the body names; lists replace what was there."""
    await access_region(db, region_id)
    if body.currency_code is not None:
        body.currency_code = await check_currency(db, body.currency_code)
    if body.tax_provider_id is not None and not await db.fetchval(
        "select true from tax_providers where id = $1 and is_installed", body.tax_provider_id
    ):
        raise InvalidData(f"tax_provider_id: there is no tax provider {body.tax_provider_id}.")
    payment, fulfillment, countries = body.payment_providers, body.fulfillment_providers, body.countries
    await check_providers(db, payment or [], fulfillment or [])
    await db.execute(UPDATE, region_id, sent(body, "currency_code"))
    changed = [] if countries is None else await claim_countries(db, region_id, countries, replace=True)
    await set_providers(db, region_id, payment=payment, fulfillment=fulfillment)
    await announce(db, "region.updated", region_id, changed)


async def remove_region(db: Db, region_id: str) -> None:
    """The region is gone for the API; its countries are free."""
    await access_region(db, region_id)
    changed = await claim_countries(db, region_id, [], replace=True)
    await db.execute("update regions set deleted_at = now() where id = $1", region_id)
    await announce(db, "region.deleted", region_id, changed)


async def get_regions(request: web.Request) -> web.Response:
    page = page_query(REGION, query_of(request), FILTERS, limit=50, expand=EXPAND, where=listed(query_of(request)))
    return await get_page(request, "regions", page)


async def post_regions(request: web.Request) -> web.Response:
    body = await parse(request, RegionBody)
    async with transaction(request) as db:
        region_id = await create_region(db, body)
        return json_bytes(request, await region_json(db, region_id))


async def get_region(request: web.Request) -> web.Response:
    return await get_one(request, "region", REGION, EXPAND)


async def post_region(request: web.Request) -> web.Response:
    region_id, body = request.match_info["id"], await parse(request, RegionUpdate)
    async with transaction(request) as db:
        await update_region(db, region_id, body)
        return json_bytes(request, await region_json(db, region_id))


async def delete_region(request: web.Request) -> web.Response:
    region_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_region(db, region_id)
        return deleted(request, region_id, "region")


async def get_fulfillment_options(request: web.Request) -> web.Response:
    region_id = request.match_info["id"]
    async with reading(request) as db:
        providers = await db.fetchval(OF_REGION_PROVIDERS, region_id)
        options = await options_of(db, providers or [])
    if providers is None:
        raise NotFound(f"There is no region {region_id}.")
    offered = [{"provider_id": provider, "options": options.get(provider, [])} for provider in providers]
    return json_bytes(request, orjson.dumps({"fulfillment_options": offered}))


OPERATIONS = [
    web.get("/admin/regions", get_regions),
    web.post("/admin/regions", post_regions),
    web.get("/admin/regions/{id}", get_region),
    web.post("/admin/regions/{id}", post_region),
    web.delete("/admin/regions/{id}", delete_region),
    web.get("/admin/regions/{id}/fulfillment-options", get_fulfillment_options),
]
