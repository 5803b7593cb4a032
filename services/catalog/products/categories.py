"""Product categories: a tree of places where products are found. `category_ranks.py` keeps its order."""

from dataclasses import replace
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, Field

from services.catalog.bodies import MAX_QUANTITY, Metadata
from services.catalog.products.bodies import Id, IdBody, Name, Text
from services.catalog.products.category_ranks import close_gap, last_rank, lock_tree, move
from services.catalog.products.reads import CATEGORY, CATEGORY_COLUMNS
from services.catalog.products.references import UNKNOWN_REFERENCES, UnknownReferences, refusals
from services.catalog.products.slugs import slug
from services.chassis.db import Db
from services.chassis.embed import One, Page, Resource, Selection, Value, merge, one_json, tree
from services.chassis.errors import Duplicate, InvalidData, NotAllowed, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, deletion, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import FLAG, TEXT, Bind, Filter, Query, boolean, described, flag, search, text, word
from services.chassis.queries import Parameters, one, page
from services.chassis.schemas import Rows

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
    "q": described(search("lower({t}.name) like {q} or lower({t}.handle) like {q}"), "A part of the name or handle."),
    "handle": text("{t}.handle"),
    "parent_category_id": described(Filter(under, TEXT), "Id of the parent; `null` for categories that have none."),
    "is_active": flag("{t}.is_active"),
    "is_internal": flag("{t}.is_internal"),
    "include_descendants_tree": described(
        Filter(lambda name, value, bind: "true", FLAG),
        "Whether all that is below a category is shown, not its children alone.",
    ),
}


Parent = Annotated[Id | None, AfterValidator(lambda category_id: category_id or None)]  # an empty text is none


class CategoryBody(Body):
    name: Name
    description: Text = ""
    handle: Annotated[str, Field(max_length=500)] | None = None
    """A name for addresses, which no other category has; made of the name when it is not given."""
    is_internal: bool = False
    """Whether it is for the merchant's own use."""
    is_active: bool = False
    """Whether customers may see it."""
    parent_category_id: Parent = None
    """The category that it is below; without one it is at the top."""
    metadata: Metadata = None


class CategoryUpdate(Body):
    name: Name = ABSENT
    description: Text = ABSENT
    handle: Name = ABSENT
    """A name for addresses, which no other category has."""
    is_internal: bool = ABSENT
    """Whether it is for the merchant's own use."""
    is_active: bool = ABSENT
    """Whether customers may see it."""
    parent_category_id: Parent = None
    """The category that it goes below; null for the top."""
    rank: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] = ABSENT
    """Its place among the children of its parent, from 0; behind the last one means the end."""
    metadata: Metadata = None
    """Takes the place of what is there."""


class CategoryProducts(Body):
    product_ids: Annotated[list[IdBody], Field(max_length=10_000)]


INSERT_CATEGORY = """
insert into product_categories
    (id, name, description, handle, is_internal, is_active, parent_category_id, rank, metadata)
select $1, name, description, $3, is_internal, is_active, parent_category_id, $4, metadata
from jsonb_populate_record(null::product_categories, $2::text::jsonb)
"""
# Metadata is replaced as a whole here.
UPDATE_CATEGORY = """
update product_categories c set
    (name, description, handle, is_internal, is_active, metadata) = (
        select n.name, n.description, n.handle, n.is_internal, n.is_active, n.metadata
        from jsonb_populate_record(c, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
PLACE = "select parent_category_id, rank from product_categories where id = $1"
HAS_CHILDREN = "select exists (select from product_categories where parent_category_id = $1)"
UNKNOWN_PRODUCTS = "select array(select unnest($1::text[]) except select id from products where deleted_at is null)"
ADD_PRODUCTS = """
insert into product_category_links (category_id, product_id) select $1, unnest($2::text[]) order by 2
on conflict do nothing
"""


async def access_category(db: Db, category_id: str) -> tuple[str | None, int]:
    """(parent, rank) of a category, with the tree locked until the commit. Raises NotFound."""
    await lock_tree(db)
    row = await db.fetchrow(PLACE, category_id)
    if row is None:
        raise NotFound(f"There is no product category {category_id}.")
    return row["parent_category_id"], row["rank"]


async def category_json(db: Db, category_id: str, chosen: Selection) -> str:
    """The category with the whole tree below it. Raises NotFound."""
    what = Selection(chosen.fields, merge(chosen.tree, CHILDREN))
    text = await one_json(db, WHOLE, what, "{t}.id = $1", category_id)
    if text is None:
        raise NotFound(f"There is no product category {category_id}.")
    return f'{{"product_category":{text}}}'


# Actions


async def create_category(db: Db, body: CategoryBody) -> str:
    """A new category, behind its siblings."""
    await lock_tree(db)
    category_id, rank = new_id("pcat"), await last_rank(db, body.parent_category_id)
    handle = body.handle or slug(body.name) or category_id
    with refusals():
        await db.execute(INSERT_CATEGORY, category_id, json_text(body.model_dump()), handle, rank)
    await emit(db, "product-category.created", category_id, {"id": category_id})
    return category_id


async def update_category(db: Db, category_id: str, body: CategoryUpdate) -> None:
    """Change what the body names, and move the category when it names a parent or a rank."""
    place = await access_category(db, category_id)
    sent = body.model_fields_set
    if sent & {"parent_category_id", "rank"}:
        parent = body.parent_category_id if "parent_category_id" in sent else place[0]
        await move(db, category_id, place, parent, body.rank if "rank" in sent else None)
    row = body.model_dump(exclude={"parent_category_id", "rank"}, exclude_unset=True)
    with refusals():
        await db.execute(UPDATE_CATEGORY, category_id, json_text(row))
    await emit(db, "product-category.updated", category_id, {"id": category_id})


async def remove_category(db: Db, category_id: str) -> None:
    """The category is gone for good, and its products are no longer in it. An unknown one is no error."""
    await lock_tree(db)
    row = await db.fetchrow(PLACE, category_id)
    if row is None:
        return
    if await db.fetchval(HAS_CHILDREN, category_id):
        raise NotAllowed("The category has categories below it; delete or move those first.")
    await db.execute("delete from product_categories where id = $1", category_id)
    await close_gap(db, category_id, (row["parent_category_id"], row["rank"]))
    await emit(db, "product-category.deleted", category_id, {"id": category_id})


async def set_products(db: Db, category_id: str, body: CategoryProducts, *, into: bool) -> None:
    """Put products into the category, or take them out. Raises UnknownReferences before NotFound."""
    ids = sorted({product.id for product in body.product_ids})
    if unknown := await db.fetchval(UNKNOWN_PRODUCTS, ids):
        raise UnknownReferences("Products", unknown)
    if await db.fetchval("select true from product_categories where id = $1 for key share", category_id) is None:
        raise NotFound(f"There is no product category {category_id}.")
    if into:
        await db.execute(ADD_PRODUCTS, category_id, ids)
    else:
        await db.execute(
            "delete from product_category_links where category_id = $1 and product_id = any($2::text[])",
            category_id,
            ids,
        )


# Reading requests

LISTED = page(WHOLE, FILTERS, limit=100, fields=FIELDS, expand=BOTH)
CHOSEN = one(WHOLE, fields=FIELDS, expand=BOTH)
# What the documentation shows: `fields` of a list chooses what its parents show, too.
SHOWN = Rows((Resource(CATEGORY.table, CATEGORY_COLUMNS, {name: CATEGORY.relations[name] for name, _ in BOTH}),), BOTH)
CHOSEN_ROWS = replace(SHOWN, narrowed=True)


def read_categories(query: Query, *_path: str) -> Page:
    """The page that a request asks for."""
    whole_tree = boolean(query, "include_descendants_tree", default=False)
    requested = LISTED.read(query)
    fields = requested.chosen.fields
    resource = category_resource(FIELDS, None, fields) if whole_tree else category_resource(fields, 1, fields)
    chosen = Selection(fields, merge(requested.chosen.tree, CHILDREN)) if whole_tree else requested.chosen
    # Rank and handle are the only order that there is.
    return replace(requested, resource=resource, chosen=chosen, order="{t}.rank, {t}.handle")


def read_whole(query: Query, *_path: str) -> Selection:
    """The whole category, whatever a request chooses: `fields` is not looked at, `expand` must name what there is."""
    CHOSEN.read({name: value for name, value in query.items() if name != "fields"})
    return Selection(FIELDS, BOTH)


WHOLE_SCHEMAS = {name: TEXT | {"description": "Understood; the category is shown whole."} for name in CHOSEN.schemas}
WRITTEN = replace(CHOSEN, rows=CHOSEN_ROWS)
ANSWER = {"product_category": CHOSEN_ROWS}

# Handlers


async def post_product_categories(db: Db, chosen: Selection, body: CategoryBody) -> str:
    return await category_json(db, await create_category(db, body), chosen)


async def post_product_category(db: Db, category_id: str, chosen: Selection, body: CategoryUpdate) -> str:
    await update_category(db, category_id, body)
    return await category_json(db, category_id, chosen)


async def post_category_products(db: Db, category_id: str, chosen: Selection, body: CategoryProducts) -> str:
    await set_products(db, category_id, body, into=True)
    return await category_json(db, category_id, chosen)


async def delete_category_products(db: Db, category_id: str, chosen: Selection, body: CategoryProducts) -> str:
    await set_products(db, category_id, body, into=False)
    return await category_json(db, category_id, chosen)


OPERATIONS = [
    listing(
        "/admin/product-categories",
        "product_categories",
        Parameters(read_categories, LISTED.schemas, CHOSEN_ROWS),
        "List product categories",
        description="Sorted by rank and handle, whatever `order` says. Children show the same fields as their parents.",
    ),
    post(
        "/admin/product-categories",
        post_product_categories,
        "Create a product category",
        description="It comes behind its siblings. Refused with 422 for a handle that another category has.",
        query=WRITTEN,
        body=CategoryBody,
        example={"name": "Shirts", "handle": "shirts-and-blouses", "is_active": True},
        answer=ANSWER,
        errors=(NotFound, Duplicate),
    ),
    showing(
        "/admin/product-categories/{id}",
        "product_category",
        WHOLE,
        "Get a product category",
        description="With its parent and the whole tree below it.",
        query=Parameters(read_whole, WHOLE_SCHEMAS, SHOWN),
    ),
    post(
        "/admin/product-categories/{id}",
        post_product_category,
        "Update a product category",
        description="What the body does not name stays. A new parent or rank moves the category, its siblings make "
        "room; a category cannot go below itself. Without a rank it comes behind its new siblings.",
        query=WRITTEN,
        body=CategoryUpdate,
        example={"name": "Shirts and blouses", "rank": 0},
        answer=ANSWER,
        errors=(NotFound, NotAllowed, Duplicate),
    ),
    deletion(
        "/admin/product-categories/{id}",
        remove_category,
        "product-category",
        "Delete a product category",
        description="Refused while there are categories below it. Its products stay. A category that is not there is "
        "no error.",
        errors=(NotAllowed,),
    ),
    post(
        "/admin/product-categories/{id}/products/batch",
        post_category_products,
        "Put products into a category",
        description="Those that are in it already do not matter; unknown ones are refused with 400.",
        query=WRITTEN,
        body=CategoryProducts,
        example={"product_ids": [{"id": "prod_01KE8V9YJ5S3BSXKGJ4YF5VB1M"}]},
        answer=ANSWER,
        errors=(NotFound, InvalidData),
        refusal=UNKNOWN_REFERENCES,
    ),
    delete(
        "/admin/product-categories/{id}/products/batch",
        delete_category_products,
        "Take products out of a category",
        description="Those that are not in it do not matter; unknown ones are refused with 400.",
        query=WRITTEN,
        body=CategoryProducts,
        example={"product_ids": [{"id": "prod_01KE8V9YJ5S3BSXKGJ4YF5VB1M"}]},
        answer=ANSWER,
        errors=(NotFound, InvalidData),
        refusal=UNKNOWN_REFERENCES,
    ),
]
