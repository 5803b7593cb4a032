"""Tax rates of a region for some products, product types or shipping options; they replace the region's own rate."""

import dataclasses
from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.catalog.answers import deleted, get_page, one
from services.catalog.regions.documents import REGION_KINDS
from services.catalog.regions.tax_rate_links import (
    FIELDS,
    LOCK,
    RATE,
    Links,
    access_rate,
    replace_links,
    shown,
    shown_by,
)
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import each_doc
from services.chassis.embed import page_query
from services.chassis.errors import NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit_all
from services.chassis.params import dates, numbers, query_of, search, text, texts

FILTERS = {
    "region_id": texts("{t}.region_id"),
    "name": text("{t}.name"),
    "code": text("{t}.code"),
    "rate": numbers("{t}.rate"),
    "q": search("lower({t}.name) like {q}"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("null::timestamptz"),
}
BY_ID = "{t}.id = $1"

Rate = Annotated[float, Field(ge=0, le=1000)]


class RateBody(Body):
    code: str
    name: str
    region_id: str
    rate: Rate | None = None
    products: list[str] = ABSENT
    product_types: list[str] = ABSENT
    shipping_options: list[str] = ABSENT


class RateUpdate(Body):
    code: str | None = None
    name: str = ABSENT
    region_id: str = ABSENT
    rate: Rate | None = None
    products: list[str] = ABSENT
    product_types: list[str] = ABSENT
    shipping_options: list[str] = ABSENT


LOCK_REGIONS = """
select id, deleted_at is null as alive from regions where id = any($1::text[]) order by id for no key update
"""
INSERT = "insert into tax_rates (id, code, name, region_id, rate) values ($1, $2, $3, $4, $5)"
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update tax_rates t set
    (code, name, region_id, rate) = (
        select n.code, n.name, n.region_id, n.rate from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""


def links_of(body: RateBody | RateUpdate) -> Links:
    """What the body says that the rate is for."""
    return Links(products=body.products, types=body.product_types, options=body.shipping_options)


async def access_regions(db: Db, wanted: str | None, *others: str) -> None:
    """Lock the regions. Raises NotFound unless the one that is wanted exists."""
    rows = await db.fetch(LOCK_REGIONS, [wanted, *others])
    if wanted is not None and not any(row["alive"] for row in rows if row["id"] == wanted):
        raise NotFound(f"region_id: there is no region {wanted}.")


async def announce(db: Db, *region_ids: str) -> None:
    """Regions show their rates, and so have changed."""
    await emit_all(db, "region.updated", await each_doc(db, "region", sorted({*region_ids}), REGION_KINDS))


async def create_rate(db: Db, body: RateBody) -> str:
    """A new rate."""
    await access_regions(db, body.region_id)
    rate_id = new_id("txr")
    await db.execute(INSERT, rate_id, body.code, body.name, body.region_id, body.rate)
    await replace_links(db, rate_id, links_of(body))
    await announce(db, body.region_id)
    return rate_id


async def update_rate(db: Db, rate_id: str, body: RateUpdate) -> None:
    """Change what the body names; lists replace what was there."""
    former = await access_rate(db, rate_id)
    await access_regions(db, body.region_id, former)
    await db.execute(UPDATE, rate_id, body.model_dump_json(exclude_unset=True))
    await replace_links(db, rate_id, links_of(body))
    await announce(db, former, body.region_id or former)


async def remove_rate(db: Db, rate_id: str) -> None:
    """The rate is gone for good. Nothing happens when there is none."""
    region_id = await db.fetchval(LOCK, rate_id)
    if region_id is None:
        return
    await access_regions(db, None, region_id)
    await db.execute("delete from tax_rates where id = $1", rate_id)
    await announce(db, region_id)


async def get_tax_rates(request: web.Request) -> web.Response:
    query = query_of(request)
    what = shown(query, listed=True)
    others = {name: value for name, value in query.items() if name not in ("fields", "expand")}
    page = page_query(RATE, others, FILTERS, limit=50, fields=FIELDS)
    return await get_page(request, "tax_rates", dataclasses.replace(page, chosen=what))


async def post_tax_rates(request: web.Request) -> web.Response:
    what, body = shown_by(request), await parse(request, RateBody)
    async with transaction(request) as db:
        rate_id = await create_rate(db, body)
        return json_bytes(request, await one(db, "tax_rate", RATE, what, rate_id, BY_ID))


async def get_tax_rate(request: web.Request) -> web.Response:
    what = shown_by(request)
    async with reading(request) as db:
        return json_bytes(request, await one(db, "tax_rate", RATE, what, request.match_info["id"], BY_ID))


async def post_tax_rate(request: web.Request) -> web.Response:
    rate_id, what, body = request.match_info["id"], shown_by(request), await parse(request, RateUpdate)
    async with transaction(request) as db:
        await update_rate(db, rate_id, body)
        return json_bytes(request, await one(db, "tax_rate", RATE, what, rate_id, BY_ID))


async def delete_tax_rate(request: web.Request) -> web.Response:
    rate_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_rate(db, rate_id)
        return deleted(request, rate_id, "tax-rate")


OPERATIONS = [
    web.get("/admin/tax-rates", get_tax_rates),
    web.post("/admin/tax-rates", post_tax_rates),
    web.get("/admin/tax-rates/{id}", get_tax_rate),
    web.post("/admin/tax-rates/{id}", post_tax_rate),
    web.delete("/admin/tax-rates/{id}", delete_tax_rate),
]
