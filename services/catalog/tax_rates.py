"""Tax rates of a region for some products, product types or shipping options; they replace the region's own rate."""

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.catalog.answers import deleted, get_page, one
from services.catalog.bodies import ABSENT
from services.catalog.documents import each_doc
from services.catalog.product_reads import PLAIN_PRODUCT, TYPE
from services.catalog.resources import REGION, SHIPPING_OPTION, TAX_RATE
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Many, One, Resource, Selection, page_query, selection
from services.chassis.errors import InvalidData, NotAllowed, NotFound
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit_all
from services.chassis.params import Query, check_known, dates, numbers, query_of, search, text, texts

Handler = Callable[[web.Request], Awaitable[web.Response]]

RATE = Resource(
    TAX_RATE.table,
    {
        **TAX_RATE.columns,
        "product_count": "(select count(*) from product_tax_rates l where l.rate_id = {t}.id)",
        "product_type_count": "(select count(*) from product_type_tax_rates l where l.rate_id = {t}.id)",
        "shipping_option_count": "(select count(*) from shipping_tax_rates l where l.rate_id = {t}.id)",
    },
    {
        "region": One(REGION, "{t}.id = {p}.region_id"),
        "products": Many(
            PLAIN_PRODUCT,
            "{t}.id in (select product_id from product_tax_rates where rate_id = {p}.id) and {t}.deleted_at is null",
        ),
        "product_types": Many(
            TYPE, "{t}.id in (select product_type_id from product_type_tax_rates where rate_id = {p}.id)"
        ),
        "shipping_options": Many(
            SHIPPING_OPTION,
            "{t}.id in (select shipping_option_id from shipping_tax_rates where rate_id = {p}.id)"
            " and {t}.deleted_at is null",
        ),
    },
)
FIELDS = ("id", "rate", "code", "name", "region_id", "created_at", "updated_at")
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


LOCK = "select region_id from tax_rates where id = $1 for no key update"
LOCK_REGIONS = """
select id from regions where id = any($1::text[]) and deleted_at is null order by id for no key update
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
OF_OTHER_REGIONS = """
select s.id from shipping_tax_rates l join shipping_options s on s.id = l.shipping_option_id
join tax_rates r on r.id = l.rate_id where r.id = $1 and s.region_id <> r.region_id
"""


class Batch(Body):
    ids: list[str]


class ProductsBatch(Batch):
    ids: list[str] = Field(alias="products")


class TypesBatch(Batch):
    ids: list[str] = Field(alias="product_types")


class OptionsBatch(Batch):
    ids: list[str] = Field(alias="shipping_options")


@dataclass(frozen=True)
class Link:
    """What a rate can be for: the name of its ids in a body, and its statements ($1 the rate, $2 the ids)."""

    name: str
    body: type[Batch]
    noun: str
    missing: str
    add: str
    remove: str
    keep: str


PRODUCTS = Link(
    name="products",
    body=ProductsBatch,
    noun="product",
    missing="select unnest($1::text[]) as id except select id from products where deleted_at is null",
    add="""insert into product_tax_rates (rate_id, product_id) select $1, id from unnest($2::text[]) id order by id
        on conflict do nothing""",
    remove="delete from product_tax_rates where rate_id = $1 and product_id = any($2::text[])",
    keep="delete from product_tax_rates where rate_id = $1 and not product_id = any($2::text[])",
)
TYPES = Link(
    name="product_types",
    body=TypesBatch,
    noun="product type",
    missing="select unnest($1::text[]) as id except select id from product_types where deleted_at is null",
    add="""insert into product_type_tax_rates (rate_id, product_type_id) select $1, id from unnest($2::text[]) id
        order by id on conflict do nothing""",
    remove="delete from product_type_tax_rates where rate_id = $1 and product_type_id = any($2::text[])",
    keep="delete from product_type_tax_rates where rate_id = $1 and not product_type_id = any($2::text[])",
)
OPTIONS = Link(
    name="shipping_options",
    body=OptionsBatch,
    noun="shipping option",
    missing="select unnest($1::text[]) as id except select id from shipping_options where deleted_at is null",
    add="""insert into shipping_tax_rates (rate_id, shipping_option_id) select $1, id from unnest($2::text[]) id
        order by id on conflict do nothing""",
    remove="delete from shipping_tax_rates where rate_id = $1 and shipping_option_id = any($2::text[])",
    keep="delete from shipping_tax_rates where rate_id = $1 and not shipping_option_id = any($2::text[])",
)


def shown(query: Query, listed: bool = False) -> Selection:
    """What `fields[]` and `expand[]` choose. Raises InvalidData when they are no lists."""
    for name in ("fields", "expand"):
        if name in query and not isinstance(query[name], list):
            raise InvalidData(f"{name}: must be a list, {name}[]=.")
    joined: Query = {name: ",".join(query[name]) for name in ("fields", "expand") if name in query}
    return selection(RATE, joined, fields=FIELDS, listed=listed)


def shown_by(request: web.Request) -> Selection:
    """The same for a request that knows nothing else. Raises InvalidData."""
    query = query_of(request)
    check_known(query, ("fields", "expand"))
    return shown(query)


async def access_rate(db: Db, rate_id: str) -> str:
    """Lock the rate; returns its region. Raises NotFound."""
    region: str | None = await db.fetchval(LOCK, rate_id)
    if region is None:
        raise NotFound(f"There is no tax rate {rate_id}.")
    return region


async def access_regions(db: Db, *region_ids: str) -> None:
    """Lock the regions. Raises NotFound."""
    missing = set(region_ids) - {row["id"] for row in await db.fetch(LOCK_REGIONS, region_ids)}
    if missing:
        raise NotFound(f"region_id: there is no region {', '.join(missing)}.")


async def announce(db: Db, *region_ids: str) -> None:
    """Regions show their rates, and so have changed."""
    await emit_all(db, "region.updated", await each_doc(db, "region", sorted({*region_ids})))


async def add(db: Db, rate_id: str, link: Link, ids: list[str]) -> None:
    """The rate is for these, too. Raises NotFound for what does not exist."""
    missing = sorted(row["id"] for row in await db.fetch(link.missing, ids))
    if missing:
        raise NotFound(f"{link.name}: there is no {link.noun} {', '.join(missing)}.")
    await db.execute(link.add, rate_id, ids)


async def remove(db: Db, rate_id: str, link: Link, ids: list[str]) -> None:
    """The rate is not for these."""
    await db.execute(link.remove, rate_id, ids)


async def check_options(db: Db, rate_id: str) -> None:
    """Raises NotAllowed for shipping options of another region."""
    others = [row["id"] for row in await db.fetch(OF_OTHER_REGIONS, rate_id)]
    if others:
        raise NotAllowed(f"shipping_options: {', '.join(others)} of another region than the tax rate.")


async def replace(db: Db, rate_id: str, body: RateBody | RateUpdate) -> None:
    """The rate is for what the body lists; kinds that it does not name stay."""
    wanted = {PRODUCTS: body.products, TYPES: body.product_types, OPTIONS: body.shipping_options}
    for link, ids in wanted.items():
        if link.name in body.model_fields_set:
            await db.execute(link.keep, rate_id, ids)
            await add(db, rate_id, link, ids)
    await check_options(db, rate_id)


async def create_rate(db: Db, body: RateBody) -> str:
    """A new rate."""
    await access_regions(db, body.region_id)
    rate_id = new_id("txr")
    await db.execute(INSERT, rate_id, body.code, body.name, body.region_id, body.rate)
    await replace(db, rate_id, body)
    await announce(db, body.region_id)
    return rate_id


async def update_rate(db: Db, rate_id: str, body: RateUpdate) -> None:
    """Change what the body names; lists replace what was there."""
    former = await access_rate(db, rate_id)
    await access_regions(db, former, body.region_id or former)
    await db.execute(UPDATE, rate_id, body.model_dump_json(exclude_unset=True))
    await replace(db, rate_id, body)
    await announce(db, former, body.region_id or former)


async def remove_rate(db: Db, rate_id: str) -> None:
    """The rate is gone for good. Nothing happens when there is none."""
    region_id = await db.fetchval(LOCK, rate_id)
    if region_id is None:
        return
    await db.fetch(LOCK_REGIONS, [region_id])
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


def batch(link: Link, change: Callable[[Db, str, Link, list[str]], Awaitable[None]]) -> Handler:
    """The handler that adds or removes ids of one kind."""

    async def change_batch(request: web.Request) -> web.Response:
        rate_id, what, body = request.match_info["id"], shown_by(request), await parse(request, link.body)
        async with transaction(request) as db:
            await access_rate(db, rate_id)
            await change(db, rate_id, link, body.ids)
            await check_options(db, rate_id)
            return json_bytes(request, await one(db, "tax_rate", RATE, what, rate_id, BY_ID))

    return change_batch


ROUTES = [
    web.get("/admin/tax-rates", get_tax_rates),
    web.post("/admin/tax-rates", post_tax_rates),
    web.get("/admin/tax-rates/{id}", get_tax_rate),
    web.post("/admin/tax-rates/{id}", post_tax_rate),
    web.delete("/admin/tax-rates/{id}", delete_tax_rate),
    web.post("/admin/tax-rates/{id}/products/batch", batch(PRODUCTS, add)),
    web.delete("/admin/tax-rates/{id}/products/batch", batch(PRODUCTS, remove)),
    web.post("/admin/tax-rates/{id}/product-types/batch", batch(TYPES, add)),
    web.delete("/admin/tax-rates/{id}/product-types/batch", batch(TYPES, remove)),
    web.post("/admin/tax-rates/{id}/shipping-options/batch", batch(OPTIONS, add)),
    web.delete("/admin/tax-rates/{id}/shipping-options/batch", batch(OPTIONS, remove)),
]
