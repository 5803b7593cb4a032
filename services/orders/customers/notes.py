"""/admin/notes: what staff write down about an order, a customer or anything else, with who wrote it.

Authors are users, and users are the gateway's: they are shown from copies of kind `user`.
"""

from typing import Annotated

import orjson
import structlog
from aiohttp import web
from pydantic import Field

from services.chassis import copies
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import One, Resource, Selection, cols, one_json, page_json, page_query, tree
from services.chassis.errors import ApiError, NotFound
from services.chassis.http import Body, actor, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.outbox import emit
from services.chassis.params import query_of, text
from services.orders import remote

log = structlog.get_logger()

USER = Resource("copies", document=True)
NOTE = Resource(
    "notes",
    cols("id value resource_type resource_id author_id metadata created_at@ updated_at@ deleted_at@"),
    {"author": One(USER, "{t}.kind = 'user' and {t}.id = {p}.author_id")},
)
PLAIN = Selection(tuple(NOTE.columns), ())
WITH_AUTHOR = Selection(tuple(NOTE.columns), tree(["author"]))
ALIVE = "{t}.deleted_at is null"
FILTERS = {"resource_id": text("{t}.resource_id")}

Filled = Annotated[str, Field(min_length=1)]


class NoteBody(Body):
    resource_id: Filled
    resource_type: Filled
    value: Filled


class NoteUpdate(Body):
    value: str


# Actions

INSERT = "insert into notes (id, value, resource_type, resource_id, author_id) values ($1, $2, $3, $4, $5)"
UPDATE = "update notes set value = $2, updated_at = now() where id = $1 and deleted_at is null returning id"
DELETE = "update notes set deleted_at = now() where id = $1 and deleted_at is null returning id"


async def create_note(db: Db, body: NoteBody, author_id: str) -> str:
    note_id = new_id("note")
    await db.execute(INSERT, note_id, body.value, body.resource_type, body.resource_id, author_id)
    data = {"id": note_id, "resource_type": body.resource_type, "resource_id": body.resource_id}
    await emit(db, "note.created", note_id, data)
    return note_id


async def update_note(db: Db, note_id: str, value: str) -> None:
    """Raises NotFound."""
    if await db.fetchval(UPDATE, note_id, value) is None:
        raise NotFound(f"There is no note {note_id}.")
    await emit(db, "note.updated", note_id, {"id": note_id})


async def remove_note(db: Db, note_id: str) -> None:
    """Raises NotFound."""
    if await db.fetchval(DELETE, note_id) is None:
        raise NotFound(f"There is no note {note_id}.")
    await emit(db, "note.deleted", note_id, {"id": note_id})


async def learn_author(app: web.Application, user_id: str) -> None:
    """Fetch the user's row when it was never seen here, best effort: an event brings it later (user.created)."""
    if not await copies.missing(app[POOL], "user", [user_id]):
        return
    try:
        reply = await remote.users(app, [user_id])
    except ApiError as error:
        log.info("author not known yet", user=user_id, error=error.message)
    else:
        await copies.store(app[POOL], "user", reply["copies"].get("user", []))


# Reads


async def note_json(db: Db, note_id: str, chosen: Selection) -> str:
    """`{"note": {...}}` as JSON text. Raises NotFound."""
    found = await one_json(db, NOTE, chosen, "{t}.id = $1 and " + ALIVE, note_id)
    if found is None:
        raise NotFound(f"There is no note {note_id}.")
    return f'{{"note":{found}}}'


# Handlers


async def get_notes(request: web.Request) -> web.Response:
    page = page_query(
        NOTE,
        query_of(request),
        FILTERS,
        limit=50,
        expand=WITH_AUTHOR.tree,
        where=ALIVE,
        order="{t}.created_at, {t}.id",
        knows=("limit", "offset"),
    )
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "notes", page))


async def post_note(request: web.Request) -> web.Response:
    body = await parse(request, NoteBody)
    async with transaction(request) as db:
        note_id = await create_note(db, body, actor(request))
        answer = json_bytes(request, await note_json(db, note_id, PLAIN))
    await learn_author(request.app, actor(request))
    return answer


async def get_note(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await note_json(db, request.match_info["id"], WITH_AUTHOR))


async def post_note_update(request: web.Request) -> web.Response:
    note_id, body = request.match_info["id"], await parse(request, NoteUpdate)
    async with transaction(request) as db:
        await update_note(db, note_id, body.value)
        return json_bytes(request, await note_json(db, note_id, PLAIN))


async def delete_note(request: web.Request) -> web.Response:
    note_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_note(db, note_id)
        return json_bytes(request, orjson.dumps({"id": note_id, "object": "note", "deleted": True}))


OPERATIONS = [
    web.get("/admin/notes", get_notes),
    web.post("/admin/notes", post_note),
    web.get("/admin/notes/{id}", get_note),
    web.post("/admin/notes/{id}", post_note_update),
    web.delete("/admin/notes/{id}", delete_note),
]
