"""What a tax rate is for: products, product types and shipping options of its region. Also what its answers show."""

from typing import NamedTuple

from services.catalog.answers import one
from services.catalog.products.reads import PRODUCT, TYPE
from services.catalog.resources import INNER_REGION, SHIPPING_OPTION, TAX_RATE
from services.chassis.db import Db
from services.chassis.embed import Many, One, Resource, Selection, selection
from services.chassis.errors import InvalidData, NotAllowed, NotFound
from services.chassis.http import Body
from services.chassis.operations import delete, post
from services.chassis.params import TEXTS, Query, check_known
from services.chassis.queries import Parameters
from services.chassis.schemas import Rows

RATE = Resource(
    TAX_RATE.table,
    {
        **TAX_RATE.columns,
        "product_count": "(select count(*) from product_tax_rates l join products x"
        " on x.id = l.product_id and x.deleted_at is null where l.rate_id = {t}.id)",
        "product_type_count": "(select count(*) from product_type_tax_rates l where l.rate_id = {t}.id)",
        "shipping_option_count": "(select count(*) from shipping_tax_rates l join shipping_options x"
        " on x.id = l.shipping_option_id and x.deleted_at is null where l.rate_id = {t}.id)",
    },
    {
        "region": One(INNER_REGION, "{t}.id = {p}.region_id and {t}.deleted_at is null"),
        "products": Many(
            PRODUCT,
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
CHOICES = {
    "fields": TEXTS
    | {
        "description": "Columns to answer with, as a list. The numbers of products, product types and "
        "shipping options have to be asked for: `product_count`, `product_type_count`, `shipping_option_count`."
    },
    "expand": TEXTS | {"description": "Relations to answer with, as a list. There are none by default."},
}
RATE_ROWS = Rows((RATE,), narrowed=True)


class RateProductsBody(Body):
    products: list[str]
    """Ids of products."""


class RateTypesBody(Body):
    product_types: list[str]
    """Ids of product types."""


class RateOptionsBody(Body):
    shipping_options: list[str]
    """Ids of shipping options."""


class Links(NamedTuple):
    """Ids of what a rate is for; None leaves those of that kind alone."""

    products: list[str] | None = None
    types: list[str] | None = None
    options: list[str] | None = None


LOCK_RATE = "select region_id from tax_rates where id = $1 for no key update"
# The following take the rate as $1 and the three kinds of links as $2, $3, $4. A null in an array condition holds for
# no row, so a kind that is null is left alone.
MISSING = """
select
    array(select unnest($1::text[]) except select id from products where deleted_at is null order by 1),
    array(select unnest($2::text[]) except select id from product_types where deleted_at is null order by 1),
    array(select unnest($3::text[]) except select id from shipping_options where deleted_at is null order by 1)
"""
ADD_LINKS = """
with new_products as (
    insert into product_tax_rates (rate_id, product_id) select $1, id from unnest($2::text[]) id order by id
    on conflict do nothing
), new_types as (
    insert into product_type_tax_rates (rate_id, product_type_id) select $1, id from unnest($3::text[]) id order by id
    on conflict do nothing
)
insert into shipping_tax_rates (rate_id, shipping_option_id) select $1, id from unnest($4::text[]) id order by id
on conflict do nothing
"""
REMOVE_LINKS = """
with gone_products as (
    delete from product_tax_rates where rate_id = $1 and product_id = any($2::text[])
), gone_types as (
    delete from product_type_tax_rates where rate_id = $1 and product_type_id = any($3::text[])
)
delete from shipping_tax_rates where rate_id = $1 and shipping_option_id = any($4::text[])
"""
KEEP_LINKS = """
with gone_products as (
    delete from product_tax_rates where rate_id = $1 and not product_id = any($2::text[])
), gone_types as (
    delete from product_type_tax_rates where rate_id = $1 and not product_type_id = any($3::text[])
)
delete from shipping_tax_rates where rate_id = $1 and not shipping_option_id = any($4::text[])
"""
OPTIONS_OF_OTHER_REGIONS = """
select s.id from shipping_tax_rates l join shipping_options s on s.id = l.shipping_option_id
join tax_rates r on r.id = l.rate_id where r.id = $1 and s.region_id <> r.region_id
"""


def shown(query: Query, listed: bool = False) -> Selection:
    """What `fields[]` and `expand[]` choose. Raises InvalidData when they are no lists."""
    for name in CHOICES:
        if name in query and not isinstance(query[name], list):
            raise InvalidData(f"{name}: must be a list, {name}[]=.")
    joined: Query = {name: ",".join(query[name]) for name in CHOICES if name in query}
    return selection(RATE, joined, fields=FIELDS, listed=listed)


def read_shown(query: Query, *_path: str) -> Selection:
    """The same for a query string that knows nothing else. Raises InvalidData."""
    check_known(query, CHOICES)
    return shown(query)


SHOWN = Parameters(read_shown, CHOICES, RATE_ROWS)
ANSWER = {"tax_rate": RATE_ROWS}


async def access_rate(db: Db, rate_id: str) -> str:
    """Lock the rate; returns its region. Raises NotFound."""
    region: str | None = await db.fetchval(LOCK_RATE, rate_id)
    if region is None:
        raise NotFound(f"There is no tax rate {rate_id}.")
    return region


async def add_links(db: Db, rate_id: str, links: Links) -> None:
    """Add what the rate is for. Raises NotFound for what does not exist, NotAllowed for another region's options."""
    missing = await db.fetchrow(MISSING, *links)
    for kind, ids in zip(("product", "product type", "shipping option"), missing, strict=True):
        if ids:
            raise NotFound(f"There is no {kind} {', '.join(ids)}.")
    await db.execute(ADD_LINKS, rate_id, *links)
    await check_options(db, rate_id)


async def remove_links(db: Db, rate_id: str, links: Links) -> None:
    """Remove what the rate is for; what it is not for does not matter."""
    await db.execute(REMOVE_LINKS, rate_id, *links)


async def replace_links(db: Db, rate_id: str, links: Links) -> None:
    """Let the rate be for these, and for nothing else of their kinds. Raises as `add_links` does."""
    await db.execute(KEEP_LINKS, rate_id, *links)
    await add_links(db, rate_id, links)


async def check_options(db: Db, rate_id: str) -> None:
    """Raises NotAllowed for shipping options of another region."""
    option_ids = [row["id"] for row in await db.fetch(OPTIONS_OF_OTHER_REGIONS, rate_id)]
    if option_ids:
        raise NotAllowed(f"shipping_options: {', '.join(option_ids)} of another region than the tax rate.")


async def rate_json(db: Db, rate_id: str, chosen: Selection) -> str:
    """`{"tax_rate": ...}` with what was chosen. Raises NotFound."""
    return await one(db, "tax_rate", RATE, chosen, rate_id, "{t}.id = $1")


# Handlers


async def post_products(db: Db, rate_id: str, chosen: Selection, body: RateProductsBody) -> str:
    await access_rate(db, rate_id)
    await add_links(db, rate_id, Links(products=body.products))
    return await rate_json(db, rate_id, chosen)


async def delete_products(db: Db, rate_id: str, chosen: Selection, body: RateProductsBody) -> str:
    await access_rate(db, rate_id)
    await remove_links(db, rate_id, Links(products=body.products))
    return await rate_json(db, rate_id, chosen)


async def post_types(db: Db, rate_id: str, chosen: Selection, body: RateTypesBody) -> str:
    await access_rate(db, rate_id)
    await add_links(db, rate_id, Links(types=body.product_types))
    return await rate_json(db, rate_id, chosen)


async def delete_types(db: Db, rate_id: str, chosen: Selection, body: RateTypesBody) -> str:
    await access_rate(db, rate_id)
    await remove_links(db, rate_id, Links(types=body.product_types))
    return await rate_json(db, rate_id, chosen)


async def post_options(db: Db, rate_id: str, chosen: Selection, body: RateOptionsBody) -> str:
    await access_rate(db, rate_id)
    await add_links(db, rate_id, Links(options=body.shipping_options))
    return await rate_json(db, rate_id, chosen)


async def delete_options(db: Db, rate_id: str, chosen: Selection, body: RateOptionsBody) -> str:
    await access_rate(db, rate_id)
    await remove_links(db, rate_id, Links(options=body.shipping_options))
    return await rate_json(db, rate_id, chosen)


OPERATIONS = [
    post(
        "/admin/tax-rates/{id}/products/batch",
        post_products,
        "Add products to a tax rate",
        description="They are taxed by this rate from now on, in place of the region's own.",
        query=SHOWN,
        body=RateProductsBody,
        example={"products": ["prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"]},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    delete(
        "/admin/tax-rates/{id}/products/batch",
        delete_products,
        "Remove products from a tax rate",
        description="What the rate is not for does not matter.",
        query=SHOWN,
        body=RateProductsBody,
        example={"products": ["prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"]},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    post(
        "/admin/tax-rates/{id}/product-types/batch",
        post_types,
        "Add product types to a tax rate",
        description="They are taxed by this rate from now on, in place of the region's own.",
        query=SHOWN,
        body=RateTypesBody,
        example={"product_types": ["ptyp_01HZX3P4S6V8X0Z2B4D6F8H0K2"]},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    delete(
        "/admin/tax-rates/{id}/product-types/batch",
        delete_types,
        "Remove product types from a tax rate",
        description="What the rate is not for does not matter.",
        query=SHOWN,
        body=RateTypesBody,
        example={"product_types": ["ptyp_01HZX3P4S6V8X0Z2B4D6F8H0K2"]},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    post(
        "/admin/tax-rates/{id}/shipping-options/batch",
        post_options,
        "Add shipping options to a tax rate",
        description="They are taxed by this rate from now on, in place of the region's own. Options of another region "
        "than the rate's are refused.",
        query=SHOWN,
        body=RateOptionsBody,
        example={"shipping_options": ["so_01HZX3Q3T5W7Y9B1D3F5H7K9M1"]},
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
    ),
    delete(
        "/admin/tax-rates/{id}/shipping-options/batch",
        delete_options,
        "Remove shipping options from a tax rate",
        description="What the rate is not for does not matter.",
        query=SHOWN,
        body=RateOptionsBody,
        example={"shipping_options": ["so_01HZX3Q3T5W7Y9B1D3F5H7K9M1"]},
        answer=ANSWER,
        errors=(NotFound,),
    ),
]
