"""Collections: a product is in one at most. Deleting one leaves its products' `collection_id` as it is."""

from typing import Annotated

import orjson
from aiohttp import web
from pydantic import Field

from services.catalog.answers import chosen, deleted, get_page, listed, one
from services.catalog.bodies import Metadata
from services.catalog.products.bodies import Id, Name
from services.catalog.products.conditions import named_in_condition
from services.catalog.products.documents import PRODUCT_KINDS
from services.catalog.products.reads import COLLECTION_COLUMNS, PLAIN_PRODUCT
from services.catalog.products.references import refusals
from services.catalog.products.slugs import slug
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import each_doc
from services.chassis.embed import Many, Resource, page_query, tree
from services.chassis.errors import NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.outbox import emit, emit_all
from services.chassis.params import dates, query_of, search, text

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
    "q": search("lower({t}.title) like {q} or lower({t}.handle) like {q}"),
    "discount_condition_id": named_in_condition,
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("{t}.deleted_at"),
}


class CollectionBody(Body):
    title: Name
    handle: Annotated[str, Field(max_length=500)] | None = None
    metadata: Metadata = None


class CollectionUpdate(Body):
    title: Name = ABSENT
    handle: Name | None = None
    metadata: Metadata = None


class ProductIdsBody(Body):
    product_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]


INSERT = "insert into product_collections (id, title, handle, metadata) values ($1, $2, $3, $4::text::jsonb)"
UPDATE = """
update product_collections c set
    (title, handle) = (select n.title, n.handle from jsonb_populate_record(c, $2::text::jsonb - 'metadata') n),
    metadata = updated_metadata(c.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
ACCESS = "select id from product_collections where id = $1 and deleted_at is null for no key update"
LOCK = "select id from products where id = any($1::text[]) and deleted_at is null order by id for no key update"
MOVE = """
update products set collection_id = $2::text, updated_at = now()
where id = any($1::text[]) and ($2::text is not null or collection_id = $3) returning id
"""


async def access_collection(db: Db, collection_id: str) -> None:
    """Lock the collection until the commit. Raises NotFound."""
    if await db.fetchval(ACCESS, collection_id) is None:
        raise NotFound(f"There is no collection {collection_id}.")


async def collection_json(db: Db, collection_id: str) -> str:
    return await one(db, "collection", COLLECTION, WHOLE, collection_id)


# Actions


async def create_collection(db: Db, body: CollectionBody) -> str:
    collection_id = new_id("pcol")
    handle = body.handle or slug(body.title) or collection_id
    metadata = json_or_null(body.metadata)
    with refusals():
        await db.execute(INSERT, collection_id, body.title, handle, metadata)
    await emit(db, "product-collection.created", collection_id, {"id": collection_id})
    return collection_id


async def update_collection(db: Db, collection_id: str, body: CollectionUpdate) -> None:
    """Change what the body names."""
    await access_collection(db, collection_id)
    row = body.model_dump(exclude_unset=True)
    if body.metadata is None:
        row.pop("metadata", None)
    with refusals():
        await db.execute(UPDATE, collection_id, json_text(row))
    await emit(db, "product-collection.updated", collection_id, {"id": collection_id})


async def remove_collection(db: Db, collection_id: str) -> None:
    """The collection is gone for the API, its handle is free."""
    await access_collection(db, collection_id)
    await db.execute("update product_collections set deleted_at = now() where id = $1", collection_id)
    await emit(db, "product-collection.deleted", collection_id, {"id": collection_id})


async def move_products(db: Db, collection_id: str, product_ids: list[str], *, into: bool) -> None:
    """Put products into the collection, from wherever they are, or take those out that are in it."""
    await access_collection(db, collection_id)
    locked = [row["id"] for row in await db.fetch(LOCK, product_ids)]
    target = collection_id if into else None
    moved = [row["id"] for row in await db.fetch(MOVE, locked, target, collection_id)]
    data = {"id": collection_id, "product_ids": moved}
    await emit(db, f"product-collection.products_{'added' if into else 'removed'}", collection_id, data)
    await emit_all(db, "product.updated", await each_doc(db, "product", moved, PRODUCT_KINDS))


# Handlers


async def get_collections(request: web.Request) -> web.Response:
    query = query_of(request)
    page = page_query(
        COLLECTION,
        query,
        FILTERS,
        limit=10,
        fields=LISTED,
        expand=PRODUCTS,
        where=listed(query),
        knows=("limit", "offset", "order"),
    )
    return await get_page(request, "collections", page)


async def post_collections(request: web.Request) -> web.Response:
    body = await parse(request, CollectionBody)
    async with transaction(request) as db:
        collection_id = await create_collection(db, body)
        return json_bytes(request, await collection_json(db, collection_id))


async def get_collection(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await collection_json(db, request.match_info["id"]))


async def post_collection(request: web.Request) -> web.Response:
    collection_id, body = request.match_info["id"], await parse(request, CollectionUpdate)
    async with transaction(request) as db:
        await update_collection(db, collection_id, body)
        return json_bytes(request, await collection_json(db, collection_id))


async def delete_collection(request: web.Request) -> web.Response:
    collection_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_collection(db, collection_id)
        return deleted(request, collection_id, "product-collection")


async def post_collection_products(request: web.Request) -> web.Response:
    collection_id, body = request.match_info["id"], await parse(request, ProductIdsBody)
    async with transaction(request) as db:
        await move_products(db, collection_id, body.product_ids, into=True)
        return json_bytes(request, await collection_json(db, collection_id))


async def delete_collection_products(request: web.Request) -> web.Response:
    collection_id, body = request.match_info["id"], await parse(request, ProductIdsBody)
    async with transaction(request) as db:
        await move_products(db, collection_id, body.product_ids, into=False)
        said = {"id": collection_id, "object": "product-collection", "removed_products": body.product_ids}
        return json_bytes(request, orjson.dumps(said))


OPERATIONS = [
    web.get("/admin/collections", get_collections),
    web.post("/admin/collections", post_collections),
    web.get("/admin/collections/{id}", get_collection),
    web.post("/admin/collections/{id}", post_collection),
    web.delete("/admin/collections/{id}", delete_collection),
    web.post("/admin/collections/{id}/products/batch", post_collection_products),
    web.delete("/admin/collections/{id}/products/batch", delete_collection_products),
]
