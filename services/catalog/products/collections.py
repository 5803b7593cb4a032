"""Collections: a product is in one at most. Deleting one leaves its products' `collection_id` as it is."""

from typing import Annotated

import orjson
from pydantic import Field

from services.catalog.answers import chosen, listed, one
from services.catalog.bodies import Metadata
from services.catalog.products.bodies import Id, Name
from services.catalog.products.conditions import named_in_condition
from services.catalog.products.documents import PRODUCT_KINDS
from services.catalog.products.reads import COLLECTION_COLUMNS, PLAIN_PRODUCT
from services.catalog.products.references import refusals
from services.catalog.products.slugs import slug
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.embed import Many, Resource, tree
from services.chassis.errors import Duplicate, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.operations import delete, deletion, get, listing, post
from services.chassis.outbox import emit, emit_all
from services.chassis.params import dates, described, search, text
from services.chassis.queries import page
from services.chassis.schemas import Rows

COLLECTION = Resource(
    "product_collections",
    COLLECTION_COLUMNS,
    {"products": Many(PLAIN_PRODUCT, "{t}.collection_id = {p}.id and {t}.deleted_at is null")},
)
PRODUCTS = tree(("products.profiles",))
WHOLE = chosen(COLLECTION, PRODUCTS)
LISTED = ("id", "created_at", "updated_at", "title", "handle")
FILTERS = {
    "title": text("{t}.title"),
    "handle": text("{t}.handle"),
    "q": described(search("lower({t}.title) like {q} or lower({t}.handle) like {q}"), "A part of the title or handle."),
    "discount_condition_id": named_in_condition,
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("{t}.deleted_at"), "Deleted collections are listed in place of the others."),
}


class CollectionBody(Body):
    title: Name
    handle: Annotated[str, Field(max_length=500)] | None = None
    """A name for addresses, which no other collection has; made of the title when it is not given."""
    metadata: Metadata = None


class CollectionUpdate(Body):
    title: Name = ABSENT
    handle: Name | None = None
    """A name for addresses, which no other collection has."""
    metadata: Metadata = None
    """Merged into what is there; an empty text takes a key away."""


class CollectionProducts(Body):
    product_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]
    """Ids of products; unknown ones do not matter."""


INSERT_COLLECTION = "insert into product_collections (id, title, handle, metadata) values ($1, $2, $3, $4::text::jsonb)"
UPDATE_COLLECTION = """
update product_collections c set
    (title, handle) = (select n.title, n.handle from jsonb_populate_record(c, $2::text::jsonb - 'metadata') n),
    metadata = updated_metadata(c.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
LOCK_COLLECTION = "select id from product_collections where id = $1 and deleted_at is null for no key update"
LOCK_PRODUCTS = (
    "select id from products where id = any($1::text[]) and deleted_at is null order by id for no key update"
)
MOVE = """
update products set collection_id = $2::text, updated_at = now()
where id = any($1::text[]) and ($2::text is not null or collection_id = $3) returning id
"""


async def access_collection(db: Db, collection_id: str) -> None:
    """Lock the collection until the commit. Raises NotFound."""
    if await db.fetchval(LOCK_COLLECTION, collection_id) is None:
        raise NotFound(f"There is no collection {collection_id}.")


async def collection_json(db: Db, collection_id: str) -> str:
    return await one(db, "collection", COLLECTION, WHOLE, collection_id)


# Actions


async def create_collection(db: Db, body: CollectionBody) -> str:
    collection_id = new_id("pcol")
    handle = body.handle or slug(body.title) or collection_id
    metadata = json_or_null(body.metadata)
    with refusals():
        await db.execute(INSERT_COLLECTION, collection_id, body.title, handle, metadata)
    await emit(db, "product-collection.created", collection_id, {"id": collection_id})
    return collection_id


async def update_collection(db: Db, collection_id: str, body: CollectionUpdate) -> None:
    """Change what the body names. Raises NotFound."""
    await access_collection(db, collection_id)
    row = body.model_dump(exclude_unset=True)
    if body.metadata is None:
        row.pop("metadata", None)
    with refusals():
        await db.execute(UPDATE_COLLECTION, collection_id, json_text(row))
    await emit(db, "product-collection.updated", collection_id, {"id": collection_id})


async def remove_collection(db: Db, collection_id: str) -> None:
    """The collection is gone for the API, its handle is free."""
    await access_collection(db, collection_id)
    await db.execute("update product_collections set deleted_at = now() where id = $1", collection_id)
    await emit(db, "product-collection.deleted", collection_id, {"id": collection_id})


async def move_products(db: Db, collection_id: str, product_ids: list[str], *, into: bool) -> None:
    """Put products into the collection, from wherever they are, or take those out that are in it."""
    await access_collection(db, collection_id)
    locked = [row["id"] for row in await db.fetch(LOCK_PRODUCTS, product_ids)]
    target = collection_id if into else None
    moved = [row["id"] for row in await db.fetch(MOVE, locked, target, collection_id)]
    data = {"id": collection_id, "product_ids": moved}
    await emit(db, f"product-collection.products_{'added' if into else 'removed'}", collection_id, data)
    await emit_all(db, "product.updated", await each_doc(db, "product", moved, PRODUCT_KINDS))


# Handlers


async def post_collections(db: Db, body: CollectionBody) -> str:
    return await collection_json(db, await create_collection(db, body))


async def get_collection(db: Db, collection_id: str) -> str:
    return await collection_json(db, collection_id)


async def post_collection(db: Db, collection_id: str, body: CollectionUpdate) -> str:
    await update_collection(db, collection_id, body)
    return await collection_json(db, collection_id)


async def post_collection_products(db: Db, collection_id: str, body: CollectionProducts) -> str:
    await move_products(db, collection_id, body.product_ids, into=True)
    return await collection_json(db, collection_id)


async def delete_collection_products(db: Db, collection_id: str, body: CollectionProducts) -> bytes:
    await move_products(db, collection_id, body.product_ids, into=False)
    return orjson.dumps({"id": collection_id, "object": "product-collection", "removed_products": body.product_ids})


WRITTEN = {"collection": Rows((COLLECTION,), PRODUCTS)}
COLLECTIONS = page(
    COLLECTION,
    FILTERS,
    limit=10,
    fields=LISTED,
    expand=PRODUCTS,
    where=listed,
    knows=("limit", "offset", "order"),
)

OPERATIONS = [
    listing(
        "/admin/collections",
        "collections",
        COLLECTIONS,
        "List collections",
        description="The newest come first, with their products.",
    ),
    post(
        "/admin/collections",
        post_collections,
        "Create a collection",
        description="Refused with 422 for a handle that another collection has.",
        body=CollectionBody,
        example={"title": "Summer", "handle": "summer-of-linen"},
        answer=WRITTEN,
        errors=(Duplicate,),
    ),
    get(
        "/admin/collections/{id}",
        get_collection,
        "Get a collection",
        description="With its products.",
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    post(
        "/admin/collections/{id}",
        post_collection,
        "Update a collection",
        description="What the body does not name stays.",
        body=CollectionUpdate,
        example={"title": "Late summer"},
        answer=WRITTEN,
        errors=(NotFound, Duplicate),
    ),
    deletion(
        "/admin/collections/{id}",
        remove_collection,
        "product-collection",
        "Delete a collection",
        description="Its products stay, and keep its id as their `collection_id`. The handle may be used again.",
        errors=(NotFound,),
    ),
    post(
        "/admin/collections/{id}/products/batch",
        post_collection_products,
        "Put products into a collection",
        description="A product is in one collection at most: it leaves the one that it was in.",
        body=CollectionProducts,
        example={"product_ids": ["prod_01KE8V9YJ5S3BSXKGJ4YF5VB1M"]},
        answer=WRITTEN,
        errors=(NotFound,),
    ),
    delete(
        "/admin/collections/{id}/products/batch",
        delete_collection_products,
        "Take products out of a collection",
        description="Products that are not in it stay where they are. The answer names all that were sent.",
        body=CollectionProducts,
        example={"product_ids": ["prod_01KE8V9YJ5S3BSXKGJ4YF5VB1M"]},
        answer={"id": str, "object": "product-collection", "removed_products": [str]},
        errors=(NotFound,),
    ),
]
