"""Payment collections: what an edit of an order makes the customer owe more, until somebody says that it is authorized.

Orders has them made and dropped, by command. Under /admin they are described, marked as authorized and deleted; nothing
there pays them, so they have neither sessions nor payments. Orders keeps copies, to show them with their edits.
"""

from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis import copies
from services.chassis.commands import CommandBody, CommandHandler, checked, tombstone
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import Docs, docs
from services.chassis.embed import Selection, one_json, tree
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import Body, json_bytes
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import delete, get, post
from services.chassis.outbox import emit
from services.chassis.queries import one
from services.chassis.schemas import deleted
from services.payments.documents import KINDS
from services.payments.remote import fetch_documents, notify_payment_collection
from services.payments.resources import COLLECTION, MAX_AMOUNT

PLAIN = Selection(tuple(COLLECTION.columns), ())
SHOWN = ("id", "type", "status", "description", "amount", "authorized_amount", "currency_code", "metadata")
DEFAULT_EXPAND = tree(["payment_sessions", "payments", "region"])
LIVE = "{t}.id = $1 and {t}.deleted_at is null"

Id = Annotated[str, Field(min_length=1, max_length=255)]


class CollectionUpdate(Body):
    description: str | None = None
    metadata: dict[str, Any] | None = None


class NewCollection(CommandBody):
    payment_collection_id: Id
    order_edit_id: Id
    amount: Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
    currency_code: str
    region_id: Id
    description: str | None = None
    created_by: str


class Drop(CommandBody):
    id: Id
    compensates: str


# Actions

CREATE_COLLECTION = """
insert into payment_collections (id, order_edit_id, amount, currency_code, region_id, description, created_by)
values ($1, $2, $3, $4, $5, $6, $7)
"""
LOCK_COLLECTION = (
    "select status, order_edit_id from payment_collections where id = $1 and deleted_at is null for update"
)
# $2: the body as JSON; what it does not name stays. Metadata is merged: "" takes a key away, null all of them.
UPDATE_COLLECTION = """
update payment_collections set
    description = case when $2::text::jsonb ? 'description' then $2::text::jsonb ->> 'description' else description end,
    metadata = case when jsonb_typeof($2::text::jsonb -> 'metadata') = 'object' then
        (coalesce(metadata, '{}') || ($2::text::jsonb -> 'metadata'))
            - array(select key from jsonb_each($2::text::jsonb -> 'metadata') where value = '""')
    when not $2::text::jsonb ? 'metadata' then metadata end,
    updated_at = now()
where id = $1
"""
AUTHORIZE_COLLECTION = """
update payment_collections set status = 'authorized', authorized_amount = amount, updated_at = now() where id = $1
"""
IS_REPLACED = """
select exists (
    select from payment_collections n join payment_collections o on o.id = $1
    where n.order_edit_id = o.order_edit_id and n.deleted_at is null and (n.created_at, n.id) > (o.created_at, o.id)
)
"""
DELETE_COLLECTION = """
update payment_collections set deleted_at = now(), updated_at = now()
where id = $1 and deleted_at is null returning true
"""
REGION_OF = "select region_id from payment_collections where id = $1"


async def access_collection(db: Db, collection_id: str) -> Any:
    """Lock the collection and return its row. Raises NotFound."""
    collection = await db.fetchrow(LOCK_COLLECTION, collection_id)
    if collection is None:
        raise NotFound(f"There is no payment collection {collection_id}.")
    return collection


async def emit_collection(db: Db, what: str, collection_id: str) -> dict[str, Docs]:
    """The event, with the collection's document, which is returned as the event numbers it. The row is locked."""
    documents = await docs(db, {"payment_collection": [collection_id]}, KINDS)
    if what == "deleted":
        documents = {kind: [doc | {"body": None} for doc in rows] for kind, rows in documents.items()}
    await emit(db, f"payment-collection.{what}", collection_id, {"id": collection_id, "copies": documents})
    return {kind: [doc | {"sequence": doc["sequence"] + 1} for doc in rows] for kind, rows in documents.items()}


async def update_collection(db: Db, collection_id: str, body: CollectionUpdate) -> dict[str, Docs]:
    """Change what the body names. Returns what `notify_payment_collection` gets. Raises NotFound."""
    await access_collection(db, collection_id)
    await db.execute(UPDATE_COLLECTION, collection_id, json_text(body.model_dump(exclude_unset=True)))
    return await emit_collection(db, "updated", collection_id)


async def authorize_collection(db: Db, collection_id: str) -> dict[str, Docs]:
    """The whole amount, however often. No payment is made. Returns what `notify_payment_collection` gets.

    Raises NotFound, and NotAllowed for one that was canceled."""
    collection = await access_collection(db, collection_id)
    if collection["status"] == "canceled":
        raise NotAllowed("A canceled payment collection cannot be authorized.")
    await db.execute(AUTHORIZE_COLLECTION, collection_id)
    return await emit_collection(db, "payment_authorized", collection_id)


async def delete_collection(db: Db, collection_id: str) -> dict[str, Docs]:
    """The collection is gone. Nothing happens when there is none. Raises NotAllowed when somebody has authorized it, or
    when it is the one that its edit points to."""
    collection = await db.fetchrow(LOCK_COLLECTION, collection_id)
    if collection is None:
        return {}
    if collection["status"] not in ("not_paid", "canceled"):
        raise NotAllowed(f"A payment collection that is {collection['status']} cannot be deleted.")
    if not await db.fetchval(IS_REPLACED, collection_id):
        raise NotAllowed(f"The order edit {collection['order_edit_id']} asks for this payment collection.")
    await db.execute(DELETE_COLLECTION, collection_id)
    return await emit_collection(db, "deleted", collection_id)


# Commands


async def create_collection(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"copies"}: the document of a new collection."""
    command = checked(NewCollection, body)
    await db.execute(
        CREATE_COLLECTION,
        command.payment_collection_id,
        command.order_edit_id,
        command.amount,
        command.currency_code,
        command.region_id,
        command.description,
        command.created_by,
    )
    return {"copies": await emit_collection(db, "created", command.payment_collection_id)}


async def drop_collection(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """As if it had never been made; if it has not come yet, it never will."""
    command = checked(Drop, body)
    if not await tombstone(db, command.compensates) and await db.fetchval(DELETE_COLLECTION, command.id):
        await emit_collection(db, "deleted", command.id)
    return {}


COMMANDS: dict[str, CommandHandler] = {
    "create_collection": create_collection,
    "drop_collection": drop_collection,
}


# Handlers


async def collection_json(db: Db, collection_id: str, chosen: Selection = PLAIN) -> str:
    """`{"payment_collection": ...}` as JSON text. Raises NotFound."""
    text = await one_json(db, COLLECTION, chosen, LIVE, collection_id)
    if text is None:
        raise NotFound(f"There is no payment collection {collection_id}.")
    return f'{{"payment_collection":{text}}}'


async def get_payment_collection(request: web.Request, collection_id: str, chosen: Selection) -> web.Response:
    """Its region is a copy, and asked for when it has not come yet."""
    pool = request.app[POOL]
    if {"region", "currency"} & dict(chosen.tree).keys() and (region := await pool.fetchval(REGION_OF, collection_id)):
        await fetch_documents(request.app, "catalog", {"region": await copies.missing(pool, "region", [region])})
    async with reading(request) as db:
        return json_bytes(request, await collection_json(db, collection_id, chosen))


async def post_payment_collection(request: web.Request, collection_id: str, body: CollectionUpdate) -> web.Response:
    async with transaction(request) as db:
        changed = await update_collection(db, collection_id, body)
        answer = json_bytes(request, await collection_json(db, collection_id))
    await notify_payment_collection(request.app, changed)
    return answer


async def post_authorize(request: web.Request, collection_id: str) -> web.Response:
    async with transaction(request) as db:
        changed = await authorize_collection(db, collection_id)
        answer = json_bytes(request, await collection_json(db, collection_id))
    await notify_payment_collection(request.app, changed)
    return answer


async def delete_payment_collection(request: web.Request, collection_id: str) -> web.Response:
    async with transaction(request) as db:
        changed = await delete_collection(db, collection_id)
    await notify_payment_collection(request.app, changed)
    answer = {"id": collection_id, "object": "payment_collection", "deleted": True}
    return json_bytes(request, orjson.dumps(answer))


COLLECTION_SHOWN = one(COLLECTION, fields=SHOWN, expand=DEFAULT_EXPAND)
OPERATIONS = [
    get(
        "/admin/payment-collections/{id}",
        get_payment_collection,
        "Get a payment collection",
        query=COLLECTION_SHOWN,
        answer={"payment_collection": COLLECTION_SHOWN.rows},
        errors=(NotFound,),
        asks_others=True,
    ),
    post(
        "/admin/payment-collections/{id}",
        post_payment_collection,
        "Update a payment collection",
        description="Its description and its metadata; what is not sent stays.",
        body=CollectionUpdate,
        example={"description": "Two more shirts"},
        answer={"payment_collection": COLLECTION},
        errors=(NotFound,),
        asks_others=True,
    ),
    delete(
        "/admin/payment-collections/{id}",
        delete_payment_collection,
        "Delete a payment collection",
        description="Refused once it is authorized or canceled. A collection that is not there is no error.",
        answer=deleted("payment_collection"),
        errors=(NotAllowed,),
        asks_others=True,
    ),
    post(
        "/admin/payment-collections/{id}/authorize",
        post_authorize,
        "Authorize a payment collection",
        description="Says that the customer has paid what the collection asks for; no money is moved here.",
        answer={"payment_collection": COLLECTION},
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
]
