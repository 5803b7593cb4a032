"""Regions: where the shop sells, in which currency, with which taxes. `links.py` has what belongs to one."""

from services.catalog.answers import LIVE, listed
from services.catalog.bodies import Metadata, Percentage, sent
from services.catalog.regions.links import (
    EXPAND,
    WRITTEN,
    access_region,
    check_providers,
    claim_countries,
    emit_region_changes,
    region_json,
    set_providers,
)
from services.catalog.resources import REGION
from services.catalog.shipping.providers import options_of
from services.chassis.db import Db
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.operations import deletion, get, listing, post, showing
from services.chassis.params import dates, described, search
from services.chassis.queries import one, page

FILTERS = {
    "q": described(search("lower({t}.name) like {q}"), "A part of the name, in any case."),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("{t}.deleted_at"), "Deleted regions are listed in place of the others."),
}


class RegionBody(Body):
    name: str
    currency_code: str
    """One of the store's currencies, in any case. Orders of the region are in it."""
    tax_rate: Percentage
    """In percent: of all that no tax rate of the region is for."""
    tax_code: str | None = None
    """What the tax authority calls the rate."""
    includes_tax: bool = False
    """Whether the region's prices include taxes, unless their price list says so itself."""
    countries: list[str]
    """ISO 3166 codes of two letters, in any case; none of another region."""
    payment_providers: list[str]
    """Ids of providers that the store has."""
    fulfillment_providers: list[str]
    """Ids of providers that the store has."""
    metadata: Metadata = None


class RegionUpdate(Body):
    name: str = ABSENT
    currency_code: str | None = None
    """One of the store's currencies, in any case. Null leaves it."""
    tax_rate: Percentage = ABSENT
    """In percent: of all that no tax rate of the region is for."""
    tax_code: str | None = None
    """What the tax authority calls the rate."""
    tax_provider_id: str | None = None
    """Null for the built-in taxes by stored rates."""
    automatic_taxes: bool = ABSENT
    """Whether prices and drafts are shown with taxes. An order that is placed is taxed either way."""
    gift_cards_taxable: bool = ABSENT
    """Whether gift cards that are made in the region have a tax rate."""
    includes_tax: bool = ABSENT
    """Whether the region's prices include taxes, unless their price list says so itself."""
    countries: list[str] | None = None
    """ISO 3166 codes of all countries that the region has from now on. Null leaves them."""
    payment_providers: list[str] | None = None
    """Ids of all providers that the region has from now on. Null leaves them."""
    fulfillment_providers: list[str] | None = None
    """Ids of all providers that the region has from now on. Null leaves them."""
    metadata: Metadata = None


INSERT_REGION = """
insert into regions (id, name, currency_code, tax_rate, tax_code, includes_tax, metadata)
values ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE_REGION = """
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

FULFILLMENT_PROVIDERS_OF = """
select array(
    select rp.provider_id from region_fulfillment_providers rp join fulfillment_providers p on p.id = rp.provider_id
    where rp.region_id = r.id and p.is_installed order by 1
) from regions r where r.id = $1 and r.deleted_at is null
"""


async def check_currency(db: Db, code: str) -> str:
    """Returns the code as stored. Raises InvalidData unless it is one of the store's currencies."""
    if not await db.fetchval("select true from store_currencies where currency_code = $1", code.lower()):
        raise InvalidData(f"currency_code: {code} is not a currency of the store; add it there first.")
    return code.lower()


async def create_region(db: Db, body: RegionBody) -> str:
    """Returns the id of a new region. Raises InvalidData, or Duplicate for a country of another one."""
    currency = await check_currency(db, body.currency_code)
    await check_providers(db, body.payment_providers, body.fulfillment_providers)
    region_id = new_id("reg")
    await db.execute(
        INSERT_REGION,
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
    await emit_region_changes(db, "region.created", region_id, changed)
    return region_id


async def update_region(db: Db, region_id: str, body: RegionUpdate) -> None:
    """Change what the body names; lists replace what was there. Raises NotFound, InvalidData or Duplicate."""
    await access_region(db, region_id)
    if body.currency_code is not None:
        body.currency_code = await check_currency(db, body.currency_code)
    if body.tax_provider_id is not None and not await db.fetchval(
        "select true from tax_providers where id = $1 and is_installed", body.tax_provider_id
    ):
        raise InvalidData(f"tax_provider_id: there is no tax provider {body.tax_provider_id}.")
    payment, fulfillment, countries = body.payment_providers, body.fulfillment_providers, body.countries
    await check_providers(db, payment or [], fulfillment or [])
    await db.execute(UPDATE_REGION, region_id, sent(body, "currency_code"))
    changed = [] if countries is None else await claim_countries(db, region_id, countries, replace=True)
    await set_providers(db, region_id, payment=payment, fulfillment=fulfillment)
    await emit_region_changes(db, "region.updated", region_id, changed)


async def remove_region(db: Db, region_id: str) -> None:
    """Delete the region; its countries are free. Raises NotFound."""
    await access_region(db, region_id)
    changed = await claim_countries(db, region_id, [], replace=True)
    await db.execute("update regions set deleted_at = now() where id = $1", region_id)
    await emit_region_changes(db, "region.deleted", region_id, changed)


# Handlers


async def post_regions(db: Db, body: RegionBody) -> str:
    return await region_json(db, await create_region(db, body))


async def post_region(db: Db, region_id: str, body: RegionUpdate) -> str:
    await update_region(db, region_id, body)
    return await region_json(db, region_id)


async def get_fulfillment_options(db: Db, region_id: str) -> str:
    providers = await db.fetchval(FULFILLMENT_PROVIDERS_OF, region_id)
    if providers is None:
        raise NotFound(f"There is no region {region_id}.")
    options = await options_of(db, providers)
    offered = [{"provider_id": provider, "options": options.get(provider, [])} for provider in providers]
    return json_text({"fulfillment_options": offered})


OPERATIONS = [
    listing(
        "/admin/regions",
        "regions",
        page(REGION, FILTERS, limit=50, expand=EXPAND, where=listed),
        "List regions",
        description="The newest come first.",
    ),
    post(
        "/admin/regions",
        post_regions,
        "Create a region",
        description="Countries of another region are refused with 422; a currency, a country or a provider that the "
        "store does not have with 400.",
        body=RegionBody,
        example={
            "name": "Europe",
            "currency_code": "eur",
            "tax_rate": 19,
            "countries": ["de", "fr"],
            "payment_providers": ["manual"],
            "fulfillment_providers": ["manual"],
        },
        answer=WRITTEN,
        errors=(InvalidData, Duplicate),
    ),
    showing(
        "/admin/regions/{id}",
        "region",
        REGION,
        "Get a region",
        description="With its countries, its currency and its providers, unless `expand` says otherwise.",
        query=one(REGION, expand=EXPAND),
        where=LIVE,
    ),
    post(
        "/admin/regions/{id}",
        post_region,
        "Update a region",
        description="What is not sent stays; lists replace what was there. Orders that were placed keep their "
        "amounts. Countries of another region are refused with 422.",
        body=RegionUpdate,
        example={"tax_rate": 20, "countries": ["de", "fr", "at"]},
        answer=WRITTEN,
        errors=(NotFound, InvalidData, Duplicate),
    ),
    deletion(
        "/admin/regions/{id}",
        remove_region,
        "region",
        "Delete a region",
        description="Its countries can join other regions.",
        errors=(NotFound,),
    ),
    get(
        "/admin/regions/{id}/fulfillment-options",
        get_fulfillment_options,
        "List what the fulfillment providers of a region offer",
        description="Each option can be the `data` of a shipping option; what else it says depends on its provider.",
        answer={"fulfillment_options": [{"provider_id": str, "options": [dict]}]},
        errors=(NotFound,),
    ),
]
