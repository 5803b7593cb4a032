"""Product types: made with the products that are of them, listed here."""

from aiohttp import web

from services.catalog.answers import get_page
from services.catalog.products.conditions import named_in_condition
from services.catalog.products.reads import TYPE
from services.chassis.db import reading
from services.chassis.embed import aliases, object_sql, page_query
from services.chassis.http import json_bytes
from services.chassis.params import dates, query_of, search, texts

LISTED = ("id", "created_at", "updated_at", "value")
FILTERS = {
    "id": texts("{t}.id"),
    "value": texts("{t}.value"),
    "q": search("lower({t}.value) like {q}"),
    "discount_condition_id": named_in_condition,
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}
ALL = f"""
select json_build_object('types', coalesce(json_agg({object_sql(TYPE, (), "t", aliases())}
    order by t.created_at, t.id), '[]'))::text from product_types t
"""  # noqa: S608 - constants


async def get_types(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval(ALL))


async def get_product_types(request: web.Request) -> web.Response:
    page = page_query(TYPE, query_of(request), FILTERS, limit=20, fields=LISTED, knows=("limit", "offset", "order"))
    return await get_page(request, "product_types", page)


# For the documentation (services/chassis/openapi.py): what the statement above makes.
ANSWERS = {"get_types": {"types": [TYPE]}}

OPERATIONS = [
    web.get("/admin/products/types", get_types),
    web.get("/admin/product-types", get_product_types),
]
