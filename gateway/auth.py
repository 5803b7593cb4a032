"""Signing in and out: the session cookie, the bearer token, and who one is."""

import secrets
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import Field

from gateway.attempts import TooManyAttempts, client_address
from gateway.emails import Email
from gateway.identity import COOKIE, digest, session_id
from gateway.parts import CALLER, PARTS
from gateway.passwords import HASHER
from gateway.users import USER_ANSWER, user_json
from services.chassis.db import Db, reading
from services.chassis.errors import ApiError, Unavailable
from services.chassis.http import Body
from services.chassis.keys import POOL
from services.chassis.operations import delete, get, post
from services.chassis.schemas import Json

log = structlog.get_logger()
SESSION_HOURS = 10


class NotSignedIn(ApiError):
    """401, whose body is the plain text `Unauthorized`: nobody is asking, or nobody we know."""

    status, type, code, plain = 401, "unauthorized", None, True

    def __init__(self) -> None:
        super().__init__("Unauthorized")


# Bodies


class SignInBody(Body):
    email: Email
    password: Annotated[str, Field(min_length=1, max_length=1024)]
    """The user's, up to 1024 characters."""


# Actions

FIND = "select id, password_hash, credentials_version from users where email = $1 and deleted_at is null"
# The session that the browser had ends, and so do those of anybody that are over. $3 is null without a cookie.
OPEN_SESSION = """
with ended as (
    delete from sessions where id_digest = $3 or expires_at < now()
)
insert into sessions (id_digest, user_id, expires_at)
select $1, id, now() + make_interval(hours => $4) from users where id = $2 and deleted_at is null
"""


async def check_sign_in(request: web.Request, body: SignInBody) -> tuple[str, int]:
    """(user's id, version of their credentials). Raises NotSignedIn or TooManyAttempts, after the same work whether or
    not there is such a user."""
    parts, pool = request.app[PARTS], request.app[POOL]
    email, address = body.email.lower(), client_address(request, parts.config.trusted_proxies)
    takes = parts.attempts.begin_sign_in(email, address)
    row = await pool.fetchrow(FIND, email)
    if not await parts.passwords.verify(row and row["password_hash"], body.password):
        log.info("sign-in refused", address=address)
        raise NotSignedIn
    parts.attempts.right(email, address, takes)
    if HASHER.check_needs_rehash(row["password_hash"]):
        renewed = await parts.passwords.hash(body.password)
        await pool.execute(
            "update users set password_hash = $2 where id = $1 and password_hash = $3",
            row["id"],
            renewed,
            row["password_hash"],
        )
    return row["id"], row["credentials_version"]


async def open_session(db: Db, user_id: str, replaced: str | None) -> str:
    """A new session id: never one that came from outside, and never one that was in use before the sign-in."""
    new = secrets.token_urlsafe(32)
    old = digest(replaced) if replaced else None
    await db.execute(OPEN_SESSION, digest(new), user_id, old, SESSION_HOURS)
    return new


def over_tls(request: web.Request) -> bool:
    """Whether the browser reached us by https, as far as one can tell."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    return request.app[PARTS].config.secure_cookies or request.secure or forwarded == "https"


async def signed_in_json(db: Db, user_id: str) -> web.Response:
    """`{"user": {...}}` of whoever is signed in. Raises NotSignedIn when the user has been deleted meanwhile."""
    user = await user_json(db, user_id)
    if user is None:
        raise NotSignedIn
    return web.Response(text=user, content_type="application/json")


# Handlers


async def post_auth(request: web.Request, body: SignInBody) -> web.Response:
    user_id, _ = await check_sign_in(request, body)
    old_session = session_id(request)
    async with request.app[POOL].acquire() as db, db.transaction():
        new_session = await open_session(db, user_id, old_session)
        response = await signed_in_json(db, user_id)
    if old_session:
        request.app[PARTS].identity.forget_session(old_session)
    response.set_cookie(
        COOKIE,
        new_session,
        max_age=SESSION_HOURS * 60 * 60,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=over_tls(request) or None,
    )
    return response


async def get_auth(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return await signed_in_json(db, request[CALLER].id)


async def delete_auth(request: web.Request) -> web.Response:
    """Ends the session. A bearer token lives on: it is nowhere to be ended."""
    if sid := session_id(request):
        await request.app[POOL].execute("delete from sessions where id_digest = $1", digest(sid))
        request.app[PARTS].identity.forget_session(sid)
    response = web.Response(text="OK")
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Lax", secure=over_tls(request) or None)
    return response


async def post_token(request: web.Request, body: SignInBody) -> web.Response:
    user_id, version = await check_sign_in(request, body)
    return web.json_response({"access_token": request.app[PARTS].identity.bearer_token(user_id, version)})


SIGN_IN = {"email": "admin@example.com", "password": "supersecret"}
REFUSED = (NotSignedIn, TooManyAttempts, Unavailable)

OPERATIONS = [
    post(
        "/admin/auth",
        post_auth,
        "Sign in with a session",
        description="Sets the session's cookie, good for ten hours; a session that the browser had ends. Wrong "
        "credentials are refused with 401, too many of them with 429.",
        body=SignInBody,
        example=SIGN_IN,
        answer=USER_ANSWER,
        errors=REFUSED,
        public=True,
        asks_others=True,
    ),
    get(
        "/admin/auth",
        get_auth,
        "Get the user who is signed in",
        answer=USER_ANSWER,
        asks_others=True,
    ),
    delete(
        "/admin/auth",
        delete_auth,
        "Sign out",
        description="Ends the session of the cookie. A bearer token stays good until its time is over.",
        answer=str,
        content_type="text/plain",
        asks_others=True,
    ),
    post(
        "/admin/auth/token",
        post_token,
        "Sign in with a bearer token",
        description="The token is good for 24 hours, or until the password changes, as `Authorization: Bearer ...`. "
        "Wrong credentials are refused with 401, too many of them with 429.",
        body=SignInBody,
        example=SIGN_IN,
        answer={"access_token": Json({"type": "string", "description": "The token."})},
        errors=REFUSED,
        public=True,
        asks_others=True,
    ),
]
