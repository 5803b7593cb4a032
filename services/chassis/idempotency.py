"""`Idempotency-Key`: a POST that is sent again is answered again, not done again.

The key is claimed and its answer stored in the transaction of the change itself, so that there is no moment at which
one exists without the other. Errors are not stored: they changed nothing, and may be asked again. An answer that is
stored is given before anything else is done: the services that the handler would ask first may be away by now.
"""

import hashlib
from typing import Any
from uuid import uuid4

from aiohttp import web

from services.chassis.connection import Db
from services.chassis.errors import Conflict, InvalidData
from services.chassis.http import ANSWER, Replay, actor
from services.chassis.keys import POOL

HEADER = "Idempotency-Key"
MAX_LENGTH = 255
DAYS_KEPT = 3

CLAIM = """
insert into idempotency_keys (key, actor, request_hash) values ($1, $2, $3)
on conflict (actor, key) do nothing
returning true
"""
STORED = "select request_hash, status, body, saga_id from idempotency_keys where key = $1 and actor = $2"
STORE_ANSWER = "update idempotency_keys set status = $3, body = $4 where key = $1 and actor = $2"
REMEMBER = "update idempotency_keys set saga_id = $3 where key = $1 and actor = $2"
PRUNE = "delete from idempotency_keys where created_at < now() - make_interval(days => $1)"


def keyed(request: web.Request) -> web.Request:
    """The request with a key: its own, or a new one, to be sent along with the answer so that it can be repeated. Call
    it before the body is read."""
    if HEADER in request.headers:
        return request
    headers = request.headers.copy()
    headers[HEADER] = str(uuid4())
    return request.clone(headers=headers)


async def claim(db: Db, request: web.Request) -> tuple[bool, str | None]:
    """(whether this transaction has to keep its answer, the saga that the same request began before, if any).

    A second request with the same key waits here until the first one has committed or rolled back.
    Raises Replay, or Conflict when the key was used for another request.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return False, None
    if not 0 < len(key) <= MAX_LENGTH:
        raise InvalidData(f"{HEADER} must be 1 to {MAX_LENGTH} characters long.")
    if await db.fetchval(CLAIM, key, actor(request), await digest(request)):
        return True, None
    return True, await check_stored(request, await db.fetchrow(STORED, key, actor(request)))


async def replay(request: web.Request) -> None:
    """Called before the handler. Raises what `claim` raises for a key that is known."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return
    stored = await request.app[POOL].fetchrow(STORED, key, actor(request))
    if stored is not None:
        await check_stored(request, stored)


async def check_stored(request: web.Request, stored: Any) -> str | None:
    """The saga that the key's request began. Raises Replay when it was answered, Conflict when it was another one."""
    if stored is None or stored["request_hash"] != await digest(request):
        raise Conflict(f"This {HEADER} was used for another request; use a new key for each new request.")
    if stored["status"] is not None:
        raise Replay(stored["status"], stored["body"])
    saga_id: str | None = stored["saga_id"]
    return saga_id


async def digest(request: web.Request) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(b"\n".join((request.path_qs.encode(), await request.read()))).digest()


async def store(db: Db, request: web.Request) -> None:
    """Keep the answer that the handler made inside its transaction."""
    response = request[ANSWER]
    await db.execute(STORE_ANSWER, request.headers[HEADER], actor(request), response.status, response.text)


async def remember(db: Db, request: web.Request, saga_id: str) -> None:
    """Tie the request's key, if it has one, to the saga that it began in this transaction."""
    if HEADER in request.headers:
        await db.execute(REMEMBER, request.headers[HEADER], actor(request), saga_id)


async def prune(db: Db) -> None:
    """Forget keys after a few days; called on a timer."""
    await db.execute(PRUNE, DAYS_KEPT)
