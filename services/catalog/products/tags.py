"""Product tags: made with the products that carry them, listed here."""

from services.catalog.products.conditions import named_in_condition
from services.catalog.products.reads import TAG
from services.chassis.db import Db
from services.chassis.operations import get, listing
from services.chassis.params import dates, described, search, texts
from services.chassis.queries import page

LISTED = ("id", "created_at", "updated_at", "value")
FILTERS = {
    "id": texts("{t}.id"),
    "value": texts("{t}.value"),
    "q": described(search("lower({t}.value) like {q}"), "A part of the value."),
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


async def get_tag_usage(db: Db) -> str:
    usage: str = await db.fetchval(USAGE)
    return usage


OPERATIONS = [
    get(
        "/admin/products/tag-usage",
        get_tag_usage,
        "List the most used product tags",
        description="The ten tags that most products have, with the number of products as a text.",
        answer={"tags": [{"id": str, "value": str, "usage_count": str}]},
    ),
    listing(
        "/admin/product-tags",
        "product_tags",
        page(TAG, FILTERS, limit=10, fields=LISTED, knows=("limit", "offset", "order")),
        "List product tags",
        description="Tags are made with the products that carry them.",
    ),
]
