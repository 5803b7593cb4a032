"""Product tags: made with the products that carry them, listed here."""

from aiohttp import web

from services.catalog.answers import get_page
from services.catalog.products.conditions import named_in_condition
from services.catalog.products.reads import TAG
from services.chassis.db import reading
from services.chassis.embed import page_query
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
USAGE = """
select json_build_object('tags', coalesce(json_agg(json_build_object(
    'id', t.id, 'value', t.value, 'usage_count', t.used::text
) order by t.used desc, t.created_at desc, t.id desc), '[]'))::text
from (
    select t.id, t.value, t.created_at, coalesce(u.used, 0) as used
    from product_tags t left join (
        select l.tag_id, count(*) as used
        from product_tag_links l join products p on p.id = l.product_id and p.deleted_at is null
        group by l.tag_id
    ) u on u.tag_id = t.id
    order by used desc, t.created_at desc, t.id desc limit 10
) t
"""


async def get_tag_usage(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval(USAGE))


async def get_product_tags(request: web.Request) -> web.Response:
    page = page_query(TAG, query_of(request), FILTERS, limit=10, fields=LISTED, knows=("limit", "offset", "order"))
    return await get_page(request, "product_tags", page)


# For the documentation (services/chassis/openapi.py): what the statements above make.
ANSWERS = {"get_tag_usage": {"tags": [{"id": str, "value": str, "usage_count": str}]}}

OPERATIONS = [
    web.get("/admin/products/tag-usage", get_tag_usage),
    web.get("/admin/product-tags", get_product_tags),
]
