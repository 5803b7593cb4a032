"""Product types: made with the products that are of them, listed here."""

from services.catalog.products.conditions import named_in_condition
from services.catalog.products.reads import TYPE
from services.chassis.db import Db
from services.chassis.embed import aliases, object_sql
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
ALL = f"""
select json_build_object('types', coalesce(json_agg({object_sql(TYPE, (), "t", aliases())}
    order by t.created_at, t.id), '[]'))::text from product_types t
"""  # noqa: S608 - constants


async def get_types(db: Db) -> str:
    types: str = await db.fetchval(ALL)
    return types


OPERATIONS = [
    get(
        "/admin/products/types",
        get_types,
        "List all product types",
        description="All there are, the oldest first.",
        answer={"types": [TYPE]},
    ),
    listing(
        "/admin/product-types",
        "product_types",
        page(TYPE, FILTERS, limit=20, fields=LISTED, knows=("limit", "offset", "order")),
        "List product types",
        description="Types are made with the products that are of them.",
    ),
]
