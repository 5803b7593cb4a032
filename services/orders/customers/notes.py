"""/admin/notes: what staff write down about an order, a customer or anything else, with who wrote it.

Authors are users, and users are the gateway's: they are shown from copies of kind `user`.
"""

from typing import Annotated

import structlog
from aiohttp import web
from pydantic import Field

from services.chassis import copies
from services.chassis.db import Db, transaction
from services.chassis.embed import One, Resource, Selection, cols, one_json, tree
from services.chassis.errors import ApiError, NotFound
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.operations import deletion, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import described, text
from services.chassis.queries import page
from services.orders import remote

log = structlog.get_logger()

USER = Resource("copies", document=True)
NOTE = Resource(
    "notes",
    cols("id value resource_type resource_id author_id metadata created_at@ updated_at@ deleted_at@"),
    {"author": One(USER, "{t}.kind = 'user' and {t}.id = {p}.author_id")},
)
PLAIN = Selection(tuple(NOTE.columns), ())
AUTHOR = tree(["author"])
ALIVE = "{t}.deleted_at is null"
SHOWN = "{t}.id = $1 and " + ALIVE
FILTERS = {"resource_id": described(text("{t}.resource_id"), "Only notes about what has this id.")}

Filled = Annotated[str, Field(min_length=1)]


class NoteBody(Body):
    resource_id: Filled
    """The id of what it is about."""
    resource_type: Filled
    """What that is, for example `order`."""
    value: Filled


class NoteUpdate(Body):
    value: str


# Actions

INSERT_NOTE = "insert into notes (id, value, resource_type, resource_id, author_id) values ($1, $2, $3, $4, $5)"
UPDATE_NOTE = "update notes set value = $2, updated_at = now() where id = $1 and deleted_at is null returning id"
DELETE_NOTE = "update notes set deleted_at = now() where id = $1 and deleted_at is null returning id"


async def create_note(db: Db, body: NoteBody, author_id: str) -> str:
    note_id = new_id("note")
    await db.execute(INSERT_NOTE, note_id, body.value, body.resource_type, body.resource_id, author_id)
    data = {"id": note_id, "resource_type": body.resource_type, "resource_id": body.resource_id}
    await emit(db, "note.created", note_id, data)
    return note_id


async def update_note(db: Db, note_id: str, value: str) -> None:
    """Raises NotFound."""
    if await db.fetchval(UPDATE_NOTE, note_id, value) is None:
        raise NotFound(f"There is no note {note_id}.")
    await emit(db, "note.updated", note_id, {"id": note_id})


async def remove_note(db: Db, note_id: str) -> None:
    """Raises NotFound."""
    if await db.fetchval(DELETE_NOTE, note_id) is None:
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


async def note_json(db: Db, note_id: str) -> str:
    """`{"note": {...}}` as JSON text, without its author. Raises NotFound."""
    text = await one_json(db, NOTE, PLAIN, SHOWN, note_id)
    if text is None:
        raise NotFound(f"There is no note {note_id}.")
    return f'{{"note":{text}}}'


NOTES = page(
    NOTE,
    FILTERS,
    limit=50,
    expand=AUTHOR,
    where=ALIVE,
    order="{t}.created_at, {t}.id",
    knows=("limit", "offset"),
)

# Handlers


async def post_note(request: web.Request, body: NoteBody) -> web.Response:
    async with transaction(request) as db:
        note_id = await create_note(db, body, actor(request))
        answer = json_bytes(request, await note_json(db, note_id))
    await learn_author(request.app, actor(request))
    return answer


async def post_note_update(db: Db, note_id: str, body: NoteUpdate) -> str:
    await update_note(db, note_id, body.value)
    return await note_json(db, note_id)


OPERATIONS = [
    listing("/admin/notes", "notes", NOTES, "List notes", description="The oldest first, each with its author."),
    post(
        "/admin/notes",
        post_note,
        "Create a note",
        description="About anything that has an id; whoever asks is its author.",
        body=NoteBody,
        example={"resource_type": "order", "resource_id": "order_01J000000000000000000000", "value": "Call back"},
        answer={"note": NOTE},
        asks_others=True,
    ),
    showing("/admin/notes/{id}", "note", NOTE, "Get a note", where=SHOWN, expand=AUTHOR),
    post(
        "/admin/notes/{id}",
        post_note_update,
        "Update a note",
        description="Its text changes; what it is about and who wrote it stay.",
        body=NoteUpdate,
        example={"value": "Called back"},
        answer={"note": NOTE},
        errors=(NotFound,),
    ),
    deletion("/admin/notes/{id}", remove_note, "note", "Delete a note", errors=(NotFound,)),
]
