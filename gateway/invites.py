"""Invites: a mail that makes somebody a user, with a role that was chosen before.

The token in it is derived from the invite's row and our secret, and kept nowhere; sending it again makes a new version,
and the old token worthless.
"""

import calendar
from typing import Annotated, Any

import jwt
import orjson
from aiohttp import web
from pydantic import Field

from gateway.emails import Email, send_token
from gateway.parts import PARTS
from gateway.roles import Forbidden, check_manager
from gateway.users import ROLES, Password, Role, create_user
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import STAMP
from services.chassis.errors import Conflict, InvalidData, Unavailable
from services.chassis.http import ANSWER, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.operations import deletion, get, post
from services.chassis.outbox import emit
from services.chassis.schemas import Json

DAYS = 7


# Bodies


class InviteBody(Body):
    user: Email
    """The address of who is invited."""
    role: Role
    """Who accepts becomes a user with this role."""


class NewUserBody(Body):
    """Email and role are the invite's."""

    password: Password
    """What the user will sign in with."""
    first_name: str | None = None
    last_name: str | None = None


class AcceptBody(Body):
    token: Annotated[str, Field(min_length=1)]
    """Of the mail, or of the event `invite.created` where no mail server is set."""
    user: NewUserBody


# Actions and reads

# A second invite to the same address changes the first; one that is over begins anew.
INVITE = """
insert into invites as i (id, user_email, role, expires_at) values ($1, $2, $3, now() + make_interval(days => $4))
on conflict (lower(user_email)) do update set
    role = excluded.role,
    token_version = i.token_version + (i.expires_at < now())::int,
    expires_at = case when i.expires_at < now() then excluded.expires_at else i.expires_at end,
    updated_at = now()
where i.role <> excluded.role or i.expires_at < now()
returning id, user_email, token_version, expires_at
"""
RESEND = """
update invites set token_version = token_version + 1, expires_at = now() + make_interval(days => $2), updated_at = now()
where id = $1
returning id, user_email, token_version, expires_at
"""
ACCEPT = """
delete from invites where id = $1 and token_version = $2 and expires_at > now()
returning user_email, role
"""
LIST = f"""
select id, user_email, role, token_version, expires_at as expires, metadata::text as metadata,
       {", ".join(f"{(STAMP % name).format(t='i')} as {name}" for name in ("expires_at", "created_at", "updated_at"))}
from invites i order by i.created_at, i.id
"""  # noqa: S608 - nothing in it comes from outside
HAS_ACCOUNT = "select true from users where email = $1 and deleted_at is null"


def invite_token(secret: str, invite: Any, expires: Any) -> str:
    """The token of an invite as it stands: the same every time."""
    claims = {
        "invite_id": invite["id"],
        "user_email": invite["user_email"],
        "version": invite["token_version"],
        "exp": calendar.timegm(expires.utctimetuple()),
    }
    return jwt.encode(claims, f"invite {secret}", algorithm="HS256")


def check_token(secret: str, token: str) -> tuple[str, int]:
    """(invite's id, version). Raises InvalidData."""
    try:
        claims = jwt.decode(token, f"invite {secret}", algorithms=["HS256"], options={"require": ["exp"]})
        return str(claims["invite_id"]), int(claims["version"])
    except (jwt.InvalidTokenError, KeyError):
        raise InvalidData("token: is not valid.") from None


async def emit_invite(db: Db, secret: str, invite: Any, admin_url: str | None) -> None:
    """Mail the token, or emit it to whoever sends mails here (emails.py)."""
    token = invite_token(secret, invite, invite["expires_at"])
    data = {"id": invite["id"], "user_email": invite["user_email"]}
    data |= await send_token(db, "invite", invite["user_email"], token, admin_url)
    await emit(db, "invite.created", invite["id"], data)


async def create_invite(db: Db, secret: str, body: InviteBody, admin_url: str | None = None) -> None:
    """Raises InvalidData when there is such a user."""
    if await db.fetchval(HAS_ACCOUNT, body.user.lower()):
        raise InvalidData("user: has an account already.")
    invite = await db.fetchrow(INVITE, new_id("invite"), body.user, body.role, DAYS)
    if invite is not None:
        await emit_invite(db, secret, invite, admin_url)


async def resend_invite(db: Db, secret: str, invite_id: str, admin_url: str | None = None) -> None:
    """Raises InvalidData when there is no such invite."""
    invite = await db.fetchrow(RESEND, invite_id, DAYS)
    if invite is None:
        raise InvalidData(f"There is no invite {invite_id}.")
    await emit_invite(db, secret, invite, admin_url)


async def accept_invite(db: Db, invite_id: str, version: int, password_hash: str, user: NewUserBody) -> None:
    """Make the user; the invite is used up. Raises InvalidData when it is not there any more, or the user is."""
    invite = await db.fetchrow(ACCEPT, invite_id, version)
    if invite is None:
        raise InvalidData("token: the invite was used, withdrawn or sent anew, or it is over.")
    await create_user(
        db,
        invite["user_email"],
        password_hash,
        first_name=user.first_name,
        last_name=user.last_name,
        role=invite["role"],
    )


async def invites_json(db: Db, secret: str) -> bytes:
    """`{"invites": [...]}`. Their tokens are made here, not by the database."""
    invites = [
        {
            "id": row["id"],
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
            "deleted_at": None,
            "user_email": row["user_email"],
            "role": row["role"],
            "accepted": False,
            "token": invite_token(secret, row, row["expires"]),
            "expires_at": row["expires_at"],
            "metadata": orjson.Fragment(row["metadata"] or "null"),
        }
        for row in await db.fetch(LIST)
    ]
    return orjson.dumps({"invites": invites})


# Handlers


def secret_of(request: web.Request) -> str:
    return request.app[PARTS].config.session_secret.get_secret_value()


def done(request: web.Request) -> web.Response:
    """200 `OK`, in plain text."""
    request[ANSWER] = response = web.Response(text="OK")
    return response


async def get_invites(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await invites_json(db, secret_of(request)))


async def post_invite(request: web.Request, body: InviteBody) -> web.Response:
    async with transaction(request) as db:
        await create_invite(db, secret_of(request), body, request.app[PARTS].config.admin_url)
        return done(request)


async def post_resend(request: web.Request, invite_id: str) -> web.Response:
    async with transaction(request) as db:
        await resend_invite(db, secret_of(request), invite_id, request.app[PARTS].config.admin_url)
        return done(request)


async def post_accept(request: web.Request, body: AcceptBody) -> web.Response:
    invite_id, version = check_token(secret_of(request), body.token)
    password_hash = await request.app[PARTS].passwords.hash(body.user.password)
    async with request.app[POOL].acquire() as db, db.transaction():
        await accept_invite(db, invite_id, version, password_hash, body.user)
    return done(request)


async def remove_invite(db: Db, invite_id: str) -> None:
    await db.execute("delete from invites where id = $1", invite_id)


INVITE_SCHEMA = {
    "id": {"type": "string"},
    "created_at": {"type": "string", "format": "date-time", "description": "When it was made, UTC."},
    "updated_at": {"type": "string", "format": "date-time", "description": "When it was last changed, UTC."},
    "deleted_at": {"type": "null", "description": "Always null: a deleted invite is gone."},
    "user_email": {"type": "string", "description": "The address of who is invited."},
    "role": {"type": "string", "enum": list(ROLES), "description": "Who accepts becomes a user with this role."},
    "accepted": {"const": False, "description": "Always false: an accepted invite is gone."},
    "token": {"type": "string", "description": "What it is accepted with."},
    "expires_at": {"type": "string", "format": "date-time", "description": "Until when it can be accepted, UTC."},
    "metadata": {"type": ["object", "null"]},
}
INVITES = {
    "type": "array",
    "description": "The oldest first.",
    "items": {
        "type": "object",
        "properties": INVITE_SCHEMA,
        "required": list(INVITE_SCHEMA),
        "additionalProperties": False,
    },
}

OPERATIONS = [
    get(
        "/admin/invites",
        get_invites,
        "List invites",
        description="Those that were neither accepted nor deleted, the oldest first, each with its token as it is now. "
        "For admins and developers.",
        answer={"invites": Json(INVITES)},
        errors=(Forbidden,),
        check=check_manager,
        asks_others=True,
    ),
    post(
        "/admin/invites",
        post_invite,
        "Invite somebody",
        description="A mail with a token, good for seven days; where no mail server is set the event `invite.created` "
        "carries it. A second invite to an address changes the first. Refused with 400 for the address of a user. For "
        "admins and developers.",
        body=InviteBody,
        example={"user": "ada@example.com", "role": "member"},
        answer=str,
        content_type="text/plain",
        errors=(Forbidden, InvalidData, Conflict),
        check=check_manager,
        asks_others=True,
    ),
    post(
        "/admin/invites/accept",
        post_accept,
        "Accept an invite",
        description="Makes the user, with the invite's address and role; the invite is used up. A token that was used, "
        "withdrawn, sent anew or is over is refused with 400. For everybody who has it.",
        body=AcceptBody,
        example={"token": "eyJhbGciOiJIUzI1NiJ9.e30.x", "user": {"password": "correct horse", "first_name": "Ada"}},
        answer=str,
        content_type="text/plain",
        errors=(InvalidData, Unavailable),
        public=True,
        asks_others=True,
    ),
    post(
        "/admin/invites/{id}/resend",
        post_resend,
        "Send an invite again",
        description="With a new token, good for seven days; the old one is worthless. An invite that is not there is "
        "refused with 400. For admins and developers.",
        answer=str,
        content_type="text/plain",
        errors=(Forbidden, InvalidData, Conflict),
        check=check_manager,
        asks_others=True,
    ),
    deletion(
        "/admin/invites/{id}",
        remove_invite,
        "invite",
        "Delete an invite",
        description="Its token is worthless from then on. An invite that is not there is no error. For admins and "
        "developers.",
        errors=(Forbidden,),
        check=check_manager,
    ),
]
