"""What belongs to a region: its countries, which belong to one region only, and its providers. Its events, too."""

from services.catalog.answers import chosen, one
from services.catalog.regions.documents import COUNTRIES, REGION_KINDS
from services.catalog.resources import REGION
from services.catalog.shipping.documents import SHIPPING_KINDS
from services.chassis.db import Db
from services.chassis.documents import doc, docs, each_doc
from services.chassis.embed import tree
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.http import Body
from services.chassis.operations import delete, post
from services.chassis.outbox import emit, emit_all
from services.chassis.schemas import Rows

EXPAND = tree(REGION.relations)
# The answer to a change of a region.
WRITTEN = {"region": Rows((REGION,), EXPAND)}


class CountryBody(Body):
    country_code: str
    """An ISO 3166 code of two letters, in any case."""


class ProviderBody(Body):
    provider_id: str


# Countries are locked in the order of their codes, after the region they go to.
LOCK_COUNTRIES = """
select iso_2, region_id, display_name from countries
where iso_2 = any($2::text[]) or ($3 and region_id = $1) order by iso_2 for no key update
"""
CLAIM_COUNTRIES = """
update countries set region_id = case when iso_2 = any($2::text[]) then $1 end
where (iso_2 = any($2::text[]) or ($3 and region_id = $1))
  and region_id is distinct from case when iso_2 = any($2::text[]) then $1 end
returning iso_2
"""
UNKNOWN_PROVIDERS = """
select
    array(select unnest($1::text[]) except select id from payment_providers where is_installed),
    array(select unnest($2::text[]) except select id from fulfillment_providers where is_installed)
"""
# $2: those it has from now on, or null to leave them.
SET_PROVIDERS = """
with gone_payment as (
    delete from region_payment_providers where region_id = $1 and not provider_id = any($2::text[])
), gone_fulfillment as (
    delete from region_fulfillment_providers where region_id = $1 and not provider_id = any($3::text[])
), new_payment as (
    insert into region_payment_providers (region_id, provider_id) select distinct $1, unnest($2::text[])
    on conflict do nothing
)
insert into region_fulfillment_providers (region_id, provider_id) select distinct $1, unnest($3::text[])
on conflict do nothing
"""
ADD_PAYMENT = "insert into region_payment_providers (region_id, provider_id) values ($1, $2) on conflict do nothing"
ADD_FULFILLMENT = (
    "insert into region_fulfillment_providers (region_id, provider_id) values ($1, $2) on conflict do nothing"
)
REMOVE_PAYMENT = "delete from region_payment_providers where region_id = $1 and provider_id = $2"
REMOVE_FULFILLMENT = "delete from region_fulfillment_providers where region_id = $1 and provider_id = $2"
TOUCH_REGION = "update regions set updated_at = now() where id = $1"
# Options show their region, so they change with it. Locked in the order of their ids, after the region.
OPTIONS_OF = "select id from shipping_options where region_id = $1 order by id for no key update"


async def access_region(db: Db, region_id: str) -> None:
    """Lock the region. Raises NotFound."""
    if not await db.fetchval(
        "select id from regions where id = $1 and deleted_at is null for no key update", region_id
    ):
        raise NotFound(f"There is no region {region_id}.")


async def check_providers(db: Db, payment: list[str], fulfillment: list[str]) -> None:
    """Raises InvalidData for a provider that is not installed."""
    unknown_payment, unknown_fulfillment = await db.fetchrow(UNKNOWN_PROVIDERS, payment, fulfillment)
    if unknown_payment:
        raise InvalidData(f"payment_providers: there is no provider {', '.join(unknown_payment)}.")
    if unknown_fulfillment:
        raise InvalidData(f"fulfillment_providers: there is no provider {', '.join(unknown_fulfillment)}.")


async def set_providers(db: Db, region_id: str, *, payment: list[str] | None, fulfillment: list[str] | None) -> None:
    """Replace the region's providers; None leaves those of that kind."""
    await db.execute(SET_PROVIDERS, region_id, payment, fulfillment)


async def claim_countries(db: Db, region_id: str, codes: list[str], *, replace: bool) -> list[str]:
    """Give the region these countries; with `replace` it has no others. Returns the codes of those that changed.

    Raises InvalidData for an unknown country, Duplicate for one of another region.
    """
    codes = [code.lower() for code in codes]
    countries = {row["iso_2"]: row for row in await db.fetch(LOCK_COUNTRIES, region_id, codes, replace)}
    unknown = sorted(set(codes) - countries.keys())
    if unknown:
        raise InvalidData(f"countries: there is no country {', '.join(unknown)}; use ISO 3166 codes of two letters.")
    for country in (countries[code] for code in codes):
        if country["region_id"] not in (None, region_id):
            raise Duplicate(f"{country['display_name']} is in region {country['region_id']} already.")
    return [row["iso_2"] for row in await db.fetch(CLAIM_COUNTRIES, region_id, codes, replace)]


async def emit_region_changes(db: Db, event: str, region_id: str, countries: list[str]) -> None:
    """Emit what happened to the region, and that what shows it has changed: its shipping options, and `countries`."""
    options = [row["id"] for row in await db.fetch(OPTIONS_OF, region_id)]
    await emit(db, event, region_id, await doc(db, "region", region_id, REGION_KINDS))
    await emit_all(db, "shipping_option.updated", await each_doc(db, "shipping_option", options, SHIPPING_KINDS))
    if countries:
        data = {"id": COUNTRIES, "copies": await docs(db, {"country": countries}, REGION_KINDS)}
        await emit(db, "country.updated", COUNTRIES, data)


async def region_json(db: Db, region_id: str) -> str:
    """`{"region": ...}` with its relations. Raises NotFound."""
    return await one(db, "region", REGION, chosen(REGION, EXPAND), region_id)


async def add_country(db: Db, region_id: str, code: str) -> None:
    """Give the region a country, unless it has it. Raises NotFound, InvalidData or Duplicate."""
    await access_region(db, region_id)
    if changed := await claim_countries(db, region_id, [code], replace=False):
        await touch(db, region_id, changed)


async def remove_country(db: Db, region_id: str, code: str) -> None:
    """Take the country from the region, if it has it. Raises NotFound."""
    await access_region(db, region_id)
    statement = "update countries set region_id = null where iso_2 = $2 and region_id = $1 returning iso_2"
    if changed := await db.fetchval(statement, region_id, code.lower()):
        await touch(db, region_id, [changed])


async def change_provider(db: Db, region_id: str, statement: str, provider_id: str) -> None:
    """Add or remove one provider. Raises NotFound."""
    await access_region(db, region_id)
    if not (await db.execute(statement, region_id, provider_id)).endswith(" 0"):
        await touch(db, region_id, [])


async def touch(db: Db, region_id: str, countries: list[str]) -> None:
    """Record and emit that what belongs to the region has changed."""
    await db.execute(TOUCH_REGION, region_id)
    await emit_region_changes(db, "region.updated", region_id, countries)


# Handlers


async def post_country(db: Db, region_id: str, body: CountryBody) -> str:
    await add_country(db, region_id, body.country_code)
    return await region_json(db, region_id)


async def delete_country(db: Db, region_id: str, code: str) -> str:
    await remove_country(db, region_id, code)
    return await region_json(db, region_id)


async def post_payment_provider(db: Db, region_id: str, body: ProviderBody) -> str:
    await access_region(db, region_id)
    if not await db.fetchval("select is_installed from payment_providers where id = $1", body.provider_id):
        raise NotFound(f"There is no payment provider {body.provider_id}.")
    await change_provider(db, region_id, ADD_PAYMENT, body.provider_id)
    return await region_json(db, region_id)


async def delete_payment_provider(db: Db, region_id: str, provider_id: str) -> str:
    await change_provider(db, region_id, REMOVE_PAYMENT, provider_id)
    return await region_json(db, region_id)


async def post_fulfillment_provider(db: Db, region_id: str, body: ProviderBody) -> str:
    await access_region(db, region_id)
    if not await db.fetchval("select true from fulfillment_providers where id = $1", body.provider_id):
        raise NotFound(f"There is no fulfillment provider {body.provider_id}.")
    await change_provider(db, region_id, ADD_FULFILLMENT, body.provider_id)
    return await region_json(db, region_id)


async def delete_fulfillment_provider(db: Db, region_id: str, provider_id: str) -> str:
    await change_provider(db, region_id, REMOVE_FULFILLMENT, provider_id)
    return await region_json(db, region_id)


OPERATIONS = [
    post(
        "/admin/regions/{id}/countries",
        post_country,
        "Add a country to a region",
        description="One that the region has is no error; one of another region is refused with 422, a code that does "
        "not exist with 400.",
        body=CountryBody,
        example={"country_code": "at"},
        answer=WRITTEN,
        errors=(NotFound, InvalidData, Duplicate),
    ),
    delete(
        "/admin/regions/{id}/countries/{code}",
        delete_country,
        "Remove a country from a region",
        description="The code is taken in any case. A country that the region does not have is no error.",
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    post(
        "/admin/regions/{id}/payment-providers",
        post_payment_provider,
        "Add a payment provider to a region",
        description="Refused unless the provider is installed. One that the region has is no error.",
        body=ProviderBody,
        example={"provider_id": "manual"},
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    delete(
        "/admin/regions/{id}/payment-providers/{provider_id}",
        delete_payment_provider,
        "Remove a payment provider from a region",
        description="One that the region does not have is no error.",
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    post(
        "/admin/regions/{id}/fulfillment-providers",
        post_fulfillment_provider,
        "Add a fulfillment provider to a region",
        description="Shipping options of the region can be made for it then. One that the region has is no error.",
        body=ProviderBody,
        example={"provider_id": "manual"},
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    delete(
        "/admin/regions/{id}/fulfillment-providers/{provider_id}",
        delete_fulfillment_provider,
        "Remove a fulfillment provider from a region",
        description="Shipping options that are there stay. One that the region does not have is no error.",
        answer=WRITTEN,
        errors=(NotFound,),
    ),
]
