"""Users: the people and programs that may use the API, and what reads show of them."""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import asyncpg
import orjson
import structlog
from aiohttp import web
from pydantic import Field

from gateway.documents import KINDS, USER
from gateway.emails import Email, check_email
from gateway.parts import CALLER, PARTS
from gateway.passwords import HASHER
from gateway.roles import Forbidden, check_manager, check_not_last
from gateway.settings import GatewaySettings
from services.chassis.db import Db, transaction
from services.chassis.documents import docs
from services.chassis.embed import Page, one_json, one_query
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import delete, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Query, choices, dates, described, search, text, texts
from services.chassis.queries import page
from services.chassis.schemas import deleted

log = structlog.get_logger()

ROLES = ("admin", "member", "developer")
Role = Literal["admin", "member", "developer"]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
ApiToken = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[\x21-\x7e]+$")]

FILTERS = {
    "q": described(
        search("lower({t}.email) like {q} or lower({t}.first_name) like {q} or lower({t}.last_name) like {q}"),
        "A part of the address or of a name.",
    ),
    "email": text("{t}.email"),
    "first_name": text("{t}.first_name"),
    "last_name": text("{t}.last_name"),
    "role": choices("{t}.role", ROLES, array_only=False),
    "id": texts("{t}.id"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("{t}.deleted_at"),
}
EXACT = ("email", "first_name", "last_name")
USERS = page(USER, FILTERS, limit=50, where="{t}.deleted_at is null")
USER_ANSWER = {"user": USER}
MANAGED = frozenset({"role", "api_token"})


# Bodies


class UserBody(Body):
    email: Email
    password: Password
    """What the user will sign in with, up to 1024 characters."""
    first_name: str | None = None
    last_name: str | None = None
    role: Role | None = None
    """`member` by default. Admins and developers may manage users, invites and tokens."""


class UserChanges(Body):
    first_name: str | None = None
    """Null clears it."""
    last_name: str | None = None
    """Null clears it."""
    role: Role | None = None
    """Null changes nothing."""
    api_token: ApiToken | None = None
    """A token that programs may send in place of a session, up to 1024 characters without spaces; null ends it."""
    metadata: dict[str, Any] | None = None
    """Keys to add or replace; a key with an empty text is removed. Null changes nothing."""


# Actions and reads

INSERT_USER = """
insert into users (id, email, password_hash, first_name, last_name, role) values ($1, $2, $3, $4, $5, $6)
on conflict (email) where deleted_at is null do nothing
returning id
"""
# $2, $4, $7: whether first_name, last_name and the API token change; $11 the keys of metadata to remove.
UPDATE_USER = """
update users set
    first_name = case when $2 then $3 else first_name end,
    last_name = case when $4 then $5 else last_name end,
    role = coalesce($6, role),
    api_token_digest = case when $7 then $8 else api_token_digest end,
    api_token_hint = case when $7 then $9 else api_token_hint end,
    metadata = case when $10::text is null then metadata
                    else (coalesce(metadata, '{}') || $10::text::jsonb) - $11::text[] end,
    updated_at = now()
where id = $1 and deleted_at is null
returning id
"""
DELETE_USER = """
with gone as (
    update users set deleted_at = now(), updated_at = now(), api_token_digest = null, api_token_hint = null
    where id = $1 and deleted_at is null
    returning id
), signed_out as (
    delete from sessions where user_id in (select id from gone)
)
select id from gone
"""


def hint(api_token: str) -> str:
    """What tells one token from another, but nobody the token."""
    return "****" + (api_token[-4:] if len(api_token) >= 16 else "")


def merging(metadata: dict[str, Any] | None) -> tuple[str | None, list[str]]:
    """(JSON to lay over the stored metadata, keys to remove). Raises InvalidData for what is no JSON number."""
    if not metadata:
        return None, []
    try:
        return json.dumps(metadata, allow_nan=False), [key for key, value in metadata.items() if value == ""]
    except ValueError:
        raise InvalidData("metadata: must not contain NaN or a number too large.") from None


async def emit_user(db: Db, name: str, user_id: str) -> None:
    """Emit an event about a user whose row this transaction has written."""
    await emit(db, name, user_id, {"id": user_id, "copies": await docs(db, {"user": [user_id]}, KINDS)})


async def create_user(
    db: Db, email: str, password_hash: str, *, first_name: str | None, last_name: str | None, role: str
) -> str:
    """The id of the new user. Raises InvalidData when somebody has the email."""
    user_id = new_id("usr")
    if not await db.fetchval(INSERT_USER, user_id, email.lower(), password_hash, first_name, last_name, role):
        raise InvalidData("A user with this email exists already.")
    await emit_user(db, "user.created", user_id)
    return user_id


async def ensure_first_user(db: Db, settings: GatewaySettings) -> None:
    """See to it that the user of the settings exists, if they name one. Raises SystemExit for settings that make no
    sense."""
    if settings.admin_email is None and settings.admin_password is None:
        return
    if settings.admin_email is None or settings.admin_password is None:
        raise SystemExit("MERCER_ADMIN_EMAIL and MERCER_ADMIN_PASSWORD are needed together.")
    try:
        created = await ensure_admin(db, settings.admin_email, settings.admin_password.get_secret_value())
    except ValueError as error:
        raise SystemExit(f"MERCER_ADMIN_EMAIL {error}.") from None
    log.info("admin user created" if created else "admin user exists", email=settings.admin_email)


async def ensure_admin(db: Db, email: str, password: str) -> bool:
    """Whether a first user had to be made; one with this email keeps their password. Raises ValueError."""
    check_email(email)
    if await db.fetchval("select true from users where email = $1 and deleted_at is null", email.lower()):
        return False
    await create_user(db, email, HASHER.hash(password), first_name=None, last_name=None, role="admin")
    return True


async def update_user(db: Db, user_id: str, changes: UserChanges, api_token_digest: bytes | None) -> None:
    """Change what was sent. Raises NotFound, or InvalidData when another user has the API token."""
    if not (sent := changes.model_fields_set):
        await access_user(db, user_id)
        return
    metadata, removed = merging(changes.metadata)
    try:
        updated = await db.fetchval(
            UPDATE_USER,
            user_id,
            "first_name" in sent,
            changes.first_name,
            "last_name" in sent,
            changes.last_name,
            changes.role,
            "api_token" in sent,
            api_token_digest,
            hint(changes.api_token) if changes.api_token else None,
            metadata,
            removed,
        )
    except asyncpg.UniqueViolationError:
        raise InvalidData("This API token cannot be used; choose another one.") from None
    if not updated:
        raise NotFound(f"There is no user {user_id}.")
    await emit_user(db, "user.updated", user_id)


async def remove_user(db: Db, user_id: str) -> None:
    """Sign the user out everywhere and hide the row; the email is free again. Deleting nobody is fine."""
    if await db.fetchval(DELETE_USER, user_id):
        await emit_user(db, "user.deleted", user_id)


async def access_user(db: Db, user_id: str) -> None:
    """Raises NotFound."""
    if not await db.fetchval("select true from users where id = $1 and deleted_at is null", user_id):
        raise NotFound(f"There is no user {user_id}.")


async def user_json(db: Db, user_id: str) -> str | None:
    """`{"user": {...}}`, or None when there is no such user."""
    user = await one_json(db, USER, one_query(USER, {}), "{t}.id = $1 and {t}.deleted_at is null", user_id)
    return None if user is None else f'{{"user":{user}}}'


# Handlers


def read_users(query: Query, *_: str) -> Page:
    """As recorded: free text stands alone."""
    return USERS.read({name: value for name, value in query.items() if "q" not in query or name not in EXACT})


async def post_users(request: web.Request, body: UserBody) -> web.Response:
    password_hash = await request.app[PARTS].passwords.hash(body.password)
    async with transaction(request) as db:
        user_id = await create_user(
            db,
            body.email,
            password_hash,
            first_name=body.first_name,
            last_name=body.last_name,
            role=body.role or "member",
        )
        return json_bytes(request, await user_json(db, user_id) or "")


async def post_user(request: web.Request, user_id: str, body: UserChanges) -> web.Response:
    """Others than managers change their own name and metadata only.

    The answer shows a new API token in full, this once; it is not stored under an Idempotency-Key either.
    """
    if user_id != request[CALLER].id or body.model_fields_set & MANAGED:
        check_manager(request)
    identity = request.app[PARTS].identity
    digest = identity.api_token_digest(body.api_token) if body.api_token else None
    async with transaction(request) as db:
        if body.role == "member":
            await check_not_last(db, user_id)
        await update_user(db, user_id, body, digest)
        answer = json_bytes(request, await user_json(db, user_id) or "")
    identity.forget(user_id)
    if body.api_token and answer.text:
        shown = orjson.loads(answer.text)
        shown["user"]["api_token"] = body.api_token
        return web.Response(body=orjson.dumps(shown), content_type="application/json")
    return answer


async def delete_user(request: web.Request, user_id: str) -> web.Response:
    async with transaction(request) as db:
        await check_not_last(db, user_id)
        await remove_user(db, user_id)
    request.app[PARTS].identity.forget(user_id)
    return web.json_response({"id": user_id, "object": "user", "deleted": True})


OPERATIONS = [
    listing(
        "/admin/users",
        "users",
        replace(USERS, read=read_users),
        "List users",
        description="All users but deleted ones. Beside `q` the filters `email`, `first_name` and `last_name` are not "
        "looked at.",
    ),
    post(
        "/admin/users",
        post_users,
        "Create a user",
        description="With a password of the caller's choice; an invite leaves that to the new user. An address that a "
        "user has is refused with 400. For admins and developers.",
        body=UserBody,
        example={"email": "ada@example.com", "password": "correct horse", "first_name": "Ada", "role": "member"},
        answer=USER_ANSWER,
        errors=(Forbidden, InvalidData, Conflict, Unavailable),
        check=check_manager,
        asks_others=True,
    ),
    showing("/admin/users/{id}", "user", USER, "Get a user", where="{t}.id = $1 and {t}.deleted_at is null"),
    post(
        "/admin/users/{id}",
        post_user,
        "Update a user",
        description="Only what is sent changes. Members may change their own names and metadata; the rest is for "
        "admins and developers, and the last one of those cannot become a member. A new `api_token` is shown in full "
        "in this answer only.",
        body=UserChanges,
        example={"first_name": "Ada", "metadata": {"team": "returns"}},
        answer=USER_ANSWER,
        errors=(Forbidden, NotFound, NotAllowed, InvalidData, Conflict),
        asks_others=True,
    ),
    delete(
        "/admin/users/{id}",
        delete_user,
        "Delete a user",
        description="Signs the user out everywhere and frees the address. The last one who may manage users cannot be "
        "deleted; a user who is not there is no error. For admins and developers.",
        answer=deleted("user"),
        errors=(Forbidden, NotAllowed),
        check=check_manager,
        asks_others=True,
    ),
]
