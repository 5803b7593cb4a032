"""Product categories: a tree of places where products are found. `category_ranks.py` keeps its order."""

from dataclasses import replace
from functools import cache
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field

from services.catalog.answers import deleted, get_page
from services.catalog.bodies import Metadata
from services.catalog.products.bodies import MOST_INT, Id, IdBody, Name, Text
from services.catalog.products.category_ranks import close_gap, last_rank, lock_tree, move
from services.catalog.products.reads import CATEGORY, CATEGORY_COLUMNS
from services.catalog.products.references import UnknownReferences, refusals
from services.catalog.products.slugs import slug
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import One, Resource, Selection, Value, merge, one_json, one_query, page_query, tree
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.outbox import emit
from services.chassis.params import FLAG, TEXT, Bind, Filter, boolean, flag, query_of, search, text, word
from services.chassis.schemas import Rows as Row

FIELDS = tuple(CATEGORY_COLUMNS)
BOTH = tree(("parent_category", "category_children"))
CHILDREN = tree(("category_children",))


@cache
def category_resource(fields: tuple[str, ...], levels: int | None, parent_fields: tuple[str, ...]) -> Resource:
    """Categories with the children below them, `levels` deep, each with `fields`."""
    names = ", ".join(f"'{name}'" for name in fields)
    parent = Resource(CATEGORY.table, {name: CATEGORY_COLUMNS[name] for name in parent_fields})
    return Resource(
        CATEGORY.table,
        CATEGORY_COLUMNS,
        {
            "parent_category": One(parent, "{t}.id = {p}.parent_category_id"),
            "category_children": Value(
                f"product_category_children({{p}}.id, array[{names}], {'null' if levels is None else levels})"
            ),
        },
    )


WHOLE = category_resource(FIELDS, None, FIELDS)


def under(name: str, value: object, bind: Bind) -> str:
    """Children of one parent; `null` asks for those that have none."""
    parent = word(name, value)
    return "{t}.parent_category_id is null" if parent == "null" else f"{{t}}.parent_category_id = {bind(parent)}"


FILTERS: dict[str, Filter] = {
    "q": search("lower({t}.name) like {q} or lower({t}.handle) like {q}"),
    "handle": text("{t}.handle"),
    "parent_category_id": Filter(under, TEXT),
    "is_active": flag("{t}.is_active"),
    "is_internal": flag("{t}.is_internal"),
    "include_descendants_tree": Filter(lambda name, value, bind: "true", FLAG),
}


Parent = Annotated[Id | None, AfterValidator(lambda category_id: category_id or None)]  # an empty text is none


class CategoryBody(Body):
    name: Name
    description: Text = ""
    handle: Annotated[str, Field(max_length=500)] | None = None
    is_internal: bool = False
    is_active: bool = False
    parent_category_id: Parent = None
    metadata: Metadata = None


class CategoryUpdate(Body):
    name: Name = ABSENT
    description: Text = ABSENT
    handle: Name = ABSENT
    is_internal: bool = ABSENT
    is_active: bool = ABSENT
    parent_category_id: Parent = None
    rank: Annotated[int, Field(ge=0, le=MOST_INT)] = ABSENT
    metadata: Metadata = None


class ProductIdsBody(Body):
    product_ids: Annotated[list[IdBody], Field(max_length=10_000)]


INSERT = """
insert into product_categories
    (id, name, description, handle, is_internal, is_active, parent_category_id, rank, metadata)
select $1, name, description, $3, is_internal, is_active, parent_category_id, $4, metadata
from jsonb_populate_record(null::product_categories, $2::text::jsonb)
"""
# Metadata is replaced as a whole here.
UPDATE = """
update product_categories c set
    (name, description, handle, is_internal, is_active, metadata) = (
        select n.name, n.description, n.handle, n.is_internal, n.is_active, n.metadata
        from jsonb_populate_record(c, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
ACCESS = "select parent_category_id, rank from product_categories where id = $1"
HAS_CHILDREN = "select exists (select from product_categories where parent_category_id = $1)"
UNKNOWN_PRODUCTS = "select array(select unnest($1::text[]) except select id from products where deleted_at is null)"
ADD = """
insert into product_category_links (category_id, product_id) select $1, unnest($2::text[]) order by 2
on conflict do nothing
"""


async def access_category(db: Db, category_id: str) -> tuple[str | None, int]:
    """(parent, rank) of a category, with the tree locked until the commit. Raises NotFound."""
    await lock_tree(db)
    row = await db.fetchrow(ACCESS, category_id)
    if row is None:
        raise NotFound(f"There is no product category {category_id}.")
    return row["parent_category_id"], row["rank"]


async def category_json(db: Db, category_id: str, chosen: Selection) -> str:
    """The category with the whole tree below it. Raises NotFound."""
    what = Selection(chosen.fields, merge(chosen.tree, CHILDREN))
    found = await one_json(db, WHOLE, what, "{t}.id = $1", category_id)
    if found is None:
        raise NotFound(f"There is no product category {category_id}.")
    return f'{{"product_category":{found}}}'


# Actions


async def create_category(db: Db, body: CategoryBody) -> str:
    """A new category, behind its siblings."""
    await lock_tree(db)
    category_id, rank = new_id("pcat"), await last_rank(db, body.parent_category_id)
    handle = body.handle or slug(body.name) or category_id
    with refusals():
        await db.execute(INSERT, category_id, json_text(body.model_dump()), handle, rank)
    await emit(db, "product-category.created", category_id, {"id": category_id})
    return category_id


async def update_category(db: Db, category_id: str, body: CategoryUpdate) -> None:
    """Change what the body names, and move the category when it names a parent or a rank."""
    held = await access_category(db, category_id)
    sent = body.model_fields_set
    if sent & {"parent_category_id", "rank"}:
        parent = body.parent_category_id if "parent_category_id" in sent else held[0]
        await move(db, category_id, held, parent, body.rank if "rank" in sent else None)
    row = body.model_dump(exclude={"parent_category_id", "rank"}, exclude_unset=True)
    with refusals():
        await db.execute(UPDATE, category_id, json_text(row))
    await emit(db, "product-category.updated", category_id, {"id": category_id})


async def remove_category(db: Db, category_id: str) -> None:
    """The category is gone for good, and its products are no longer in it. Quiet about an unknown one."""
    await lock_tree(db)
    row = await db.fetchrow(ACCESS, category_id)
    if row is None:
        return
    if await db.fetchval(HAS_CHILDREN, category_id):
        raise NotAllowed("The category has categories below it; delete or move those first.")
    await db.execute("delete from product_categories where id = $1", category_id)
    await close_gap(db, category_id, (row["parent_category_id"], row["rank"]))
    await emit(db, "product-category.deleted", category_id, {"id": category_id})


async def set_products(db: Db, category_id: str, body: ProductIdsBody, *, into: bool) -> None:
    """Put products into the category, or take them out. Raises UnknownReferences before NotFound."""
    ids = sorted({product.id for product in body.product_ids})
    if unknown := await db.fetchval(UNKNOWN_PRODUCTS, ids):
        raise UnknownReferences("Products", unknown)
    if await db.fetchval("select true from product_categories where id = $1 for key share", category_id) is None:
        raise NotFound(f"There is no product category {category_id}.")
    if into:
        await db.execute(ADD, category_id, ids)
    else:
        await db.execute(
            "delete from product_category_links where category_id = $1 and product_id = any($2::text[])",
            category_id,
            ids,
        )


# Handlers


def asked(request: web.Request) -> Selection:
    """What `fields` and `expand` choose in the answer to a change. Raises InvalidData."""
    return one_query(WHOLE, query_of(request), fields=FIELDS, expand=BOTH)


async def get_product_categories(request: web.Request) -> web.Response:
    query = query_of(request)
    whole_tree = boolean(query, "include_descendants_tree", default=False)
    page = page_query(
        WHOLE,
        query,
        FILTERS,
        limit=100,
        fields=FIELDS,
        expand=BOTH,
        knows=("limit", "offset", "order", "expand", "fields"),
    )
    fields = page.chosen.fields
    resource = category_resource(FIELDS, None, fields) if whole_tree else category_resource(fields, 1, fields)
    chosen = Selection(fields, merge(page.chosen.tree, CHILDREN)) if whole_tree else page.chosen
    # Rank and handle are the only order that there is.
    page = replace(page, resource=resource, chosen=chosen, order="{t}.rank, {t}.handle")
    return await get_page(request, "product_categories", page)


async def post_product_categories(request: web.Request) -> web.Response:
    chosen, body = asked(request), await parse(request, CategoryBody)
    async with transaction(request) as db:
        category_id = await create_category(db, body)
        return json_bytes(request, await category_json(db, category_id, chosen))


async def get_product_category(request: web.Request) -> web.Response:
    """The whole category; `fields` is not looked at, `expand` must name what there is."""
    one_query(WHOLE, {name: value for name, value in query_of(request).items() if name != "fields"})
    async with reading(request) as db:
        return json_bytes(request, await category_json(db, request.match_info["id"], Selection(FIELDS, BOTH)))


async def post_product_category(request: web.Request) -> web.Response:
    category_id, chosen, body = request.match_info["id"], asked(request), await parse(request, CategoryUpdate)
    async with transaction(request) as db:
        await update_category(db, category_id, body)
        return json_bytes(request, await category_json(db, category_id, chosen))


async def delete_product_category(request: web.Request) -> web.Response:
    category_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_category(db, category_id)
        return deleted(request, category_id, "product-category")


async def post_category_products(request: web.Request) -> web.Response:
    return await change_products(request, into=True)


async def delete_category_products(request: web.Request) -> web.Response:
    return await change_products(request, into=False)


async def change_products(request: web.Request, *, into: bool) -> web.Response:
    category_id, chosen, body = request.match_info["id"], asked(request), await parse(request, ProductIdsBody)
    async with transaction(request) as db:
        await set_products(db, category_id, body, into=into)
        return json_bytes(request, await category_json(db, category_id, chosen))


# For the documentation (services/chassis/openapi.py): `fields` of a list chooses what its parents show, too.
NARROWED = Resource(CATEGORY.table, CATEGORY_COLUMNS, omit=dict.fromkeys(FIELDS, "not asked for"))
LISTED = replace(WHOLE, relations={**WHOLE.relations, "parent_category": One(NARROWED, "")})
ANSWERS = {
    "get_product_categories": {
        "product_categories": [Row((LISTED,), narrowed=True)],
        "count": int,
        "offset": int,
        "limit": int,
    }
}

OPERATIONS = [
    web.get("/admin/product-categories", get_product_categories),
    web.post("/admin/product-categories", post_product_categories),
    web.get("/admin/product-categories/{id}", get_product_category),
    web.post("/admin/product-categories/{id}", post_product_category),
    web.delete("/admin/product-categories/{id}", delete_product_category),
    web.post("/admin/product-categories/{id}/products/batch", post_category_products),
    web.delete("/admin/product-categories/{id}/products/batch", delete_category_products),
]
