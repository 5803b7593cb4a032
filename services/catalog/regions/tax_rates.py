"""Tax rates of a region for some products, product types or shipping options; they replace the region's own rate."""

import dataclasses
from typing import Annotated

from pydantic import Field

from services.catalog.regions.documents import REGION_KINDS
from services.catalog.regions.tax_rate_links import (
    ANSWER,
    CHOICES,
    FIELDS,
    LOCK_RATE,
    RATE,
    RATE_ROWS,
    SHOWN,
    Links,
    access_rate,
    rate_json,
    replace_links,
    shown,
)
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.embed import Page, Selection
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.operations import deletion, listing, post, showing
from services.chassis.outbox import emit_all
from services.chassis.params import Query, dates, described, numbers, search, text, texts
from services.chassis.queries import Parameters, page

FILTERS = {
    "region_id": texts("{t}.region_id"),
    "name": text("{t}.name"),
    "code": text("{t}.code"),
    "rate": described(numbers("{t}.rate"), "Rates are in percent."),
    "q": described(search("lower({t}.name) like {q}"), "A part of the name, in any case."),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("null::timestamptz"), "Finds nothing, for deleted rates are gone."),
}
ALL_RATES = page(RATE, FILTERS, limit=50, fields=FIELDS, knows=("limit", "offset", "order"))

Rate = Annotated[float, Field(ge=0, le=1000)]


class TaxRateBody(Body):
    code: str
    """What the tax authority, or an accounting system, calls the rate."""
    name: str
    region_id: str
    rate: Rate | None = None
    """In percent. Null counts as 0."""
    products: list[str] = ABSENT
    """Ids of the products that it is for."""
    product_types: list[str] = ABSENT
    """Ids of the product types that it is for."""
    shipping_options: list[str] = ABSENT
    """Ids of the shipping options that it is for, all of its region."""


class TaxRateUpdate(Body):
    code: str | None = None
    """What the tax authority, or an accounting system, calls the rate."""
    name: str = ABSENT
    region_id: str = ABSENT
    rate: Rate | None = None
    """In percent. Null counts as 0."""
    products: list[str] = ABSENT
    """Ids of all products that it is for from now on."""
    product_types: list[str] = ABSENT
    """Ids of all product types that it is for from now on."""
    shipping_options: list[str] = ABSENT
    """Ids of all shipping options that it is for from now on, all of its region."""


LOCK_REGIONS = """
select id, deleted_at is null as alive from regions where id = any($1::text[]) order by id for no key update
"""
INSERT_RATE = "insert into tax_rates (id, code, name, region_id, rate) values ($1, $2, $3, $4, $5)"
# $2: the body as JSON; what it does not name stays.
UPDATE_RATE = """
update tax_rates t set
    (code, name, region_id, rate) = (
        select n.code, n.name, n.region_id, n.rate from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""


def links_of(body: TaxRateBody | TaxRateUpdate) -> Links:
    """Returns what the body says that the rate is for."""
    return Links(products=body.products, types=body.product_types, options=body.shipping_options)


async def access_regions(db: Db, region_id: str | None, *former: str) -> None:
    """Lock the region that a rate gets, and those that it was of. Raises NotFound unless the first exists."""
    rows = await db.fetch(LOCK_REGIONS, [region_id, *former])
    if region_id is not None and not any(row["alive"] for row in rows if row["id"] == region_id):
        raise NotFound(f"region_id: there is no region {region_id}.")


async def emit_regions_updated(db: Db, *region_ids: str) -> None:
    """Emit that regions have changed: they show their rates."""
    await emit_all(db, "region.updated", await each_doc(db, "region", sorted({*region_ids}), REGION_KINDS))


async def create_rate(db: Db, body: TaxRateBody) -> str:
    """Returns the id of a new rate. Raises NotFound or NotAllowed."""
    await access_regions(db, body.region_id)
    rate_id = new_id("txr")
    await db.execute(INSERT_RATE, rate_id, body.code, body.name, body.region_id, body.rate)
    await replace_links(db, rate_id, links_of(body))
    await emit_regions_updated(db, body.region_id)
    return rate_id


async def update_rate(db: Db, rate_id: str, body: TaxRateUpdate) -> None:
    """Change what the body names; lists replace what was there. Raises NotFound or NotAllowed."""
    former = await access_rate(db, rate_id)
    await access_regions(db, body.region_id, former)
    await db.execute(UPDATE_RATE, rate_id, body.model_dump_json(exclude_unset=True))
    await replace_links(db, rate_id, links_of(body))
    await emit_regions_updated(db, former, body.region_id or former)


async def remove_rate(db: Db, rate_id: str) -> None:
    """Delete the rate, if it is there."""
    region_id = await db.fetchval(LOCK_RATE, rate_id)
    if region_id is None:
        return
    await access_regions(db, None, region_id)
    await db.execute("delete from tax_rates where id = $1", rate_id)
    await emit_regions_updated(db, region_id)


# Handlers


def read_rates(query: Query) -> Page:
    """As SHOWN, beside the filters of a list. Raises InvalidData."""
    chosen = shown(query, listed=True)
    others = {name: value for name, value in query.items() if name not in CHOICES}
    return dataclasses.replace(ALL_RATES.read(others), chosen=chosen)


async def post_tax_rates(db: Db, chosen: Selection, body: TaxRateBody) -> str:
    return await rate_json(db, await create_rate(db, body), chosen)


async def post_tax_rate(db: Db, rate_id: str, chosen: Selection, body: TaxRateUpdate) -> str:
    await update_rate(db, rate_id, body)
    return await rate_json(db, rate_id, chosen)


OPERATIONS = [
    listing(
        "/admin/tax-rates",
        "tax_rates",
        Parameters(read_rates, {**ALL_RATES.schemas, **CHOICES}, RATE_ROWS),
        "List tax rates",
        description="The newest come first. The rates that regions have themselves are not among them.",
    ),
    post(
        "/admin/tax-rates",
        post_tax_rates,
        "Create a tax rate",
        description="What it is for is taxed by it, in place of the region's own rate. Shipping options of another "
        "region are refused.",
        query=SHOWN,
        body=TaxRateBody,
        example={
            "code": "books",
            "name": "Reduced",
            "region_id": "reg_01HZX3M7N9Q1S3V5X7Z9B1D3F5",
            "rate": 7,
            "product_types": ["ptyp_01HZX3P4S6V8X0Z2B4D6F8H0K2"],
        },
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
    ),
    showing(
        "/admin/tax-rates/{id}",
        "tax_rate",
        RATE,
        "Get a tax rate",
        description="What it is for has to be asked for in `expand`.",
        query=SHOWN,
    ),
    post(
        "/admin/tax-rates/{id}",
        post_tax_rate,
        "Update a tax rate",
        description="What is not sent stays; lists replace what was there. Shipping options of another region than the "
        "rate's are refused.",
        query=SHOWN,
        body=TaxRateUpdate,
        example={"rate": 5.5, "product_types": []},
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
    ),
    deletion(
        "/admin/tax-rates/{id}",
        remove_rate,
        "tax-rate",
        "Delete a tax rate",
        description="It is gone for good; orders that were placed keep their taxes. A rate that is not there is no "
        "error.",
    ),
]
