"""A forgotten password: a token by mail, and a new password for it.

The token is signed with the password that it replaces: it works once, and for nobody after another change.
"""

import asyncio
import time
from typing import Any

import jwt
from aiohttp import web

from gateway.attempts import RESETS_PER_ACCOUNT, RESETS_PER_ADDRESS, TooManyAttempts, client_address
from gateway.emails import Email, check_email, send_token
from gateway.parts import PARTS
from gateway.users import USER_ANSWER, Password, user_json
from services.chassis.db import Db
from services.chassis.errors import InvalidData, Unauthorized, Unavailable
from services.chassis.http import Body
from services.chassis.keys import POOL
from services.chassis.operations import post
from services.chassis.outbox import emit

RESET_SECONDS = 15 * 60
ANSWER_SECONDS = 0.05  # longer than writing the event takes, so that the answer's time says nothing


# Bodies


class PasswordTokenBody(Body):
    email: Email


class ResetBody(Body):
    token: str
    """Of the mail, or of the event `user.password_reset` where no mail server is set."""
    password: Password
    """The new one."""
    email: Email | None = None
    """The user's address, by default the one in the token."""


# Actions

FIND = """
select id, email, first_name, last_name, password_hash from users where email = $1 and deleted_at is null
"""
# Whoever is signed in by the old password is signed out: their sessions go, and their tokens have the old version.
RESET = """
with changed as (
    update users set password_hash = $3, credentials_version = credentials_version + 1, updated_at = now()
    where id = $1 and password_hash = $2 and deleted_at is null
    returning id
), signed_out as (
    delete from sessions where user_id in (select id from changed)
)
select id from changed
"""


def reset_key(session_secret: str, password_hash: str) -> str:
    """What the token of one password is signed with."""
    return f"reset password {session_secret} {password_hash}"


async def offer_reset(db: Db, email: str, session_secret: str, admin_url: str | None = None) -> None:
    """Mail a token, or emit it to whoever sends mails here (emails.py); nothing when nobody has the email."""
    user = await db.fetchrow(FIND, email)
    if user is None:
        return
    now = int(time.time())
    claims = {"user_id": user["id"], "email": user["email"], "iat": now, "exp": now + RESET_SECONDS}
    token = jwt.encode(claims, reset_key(session_secret, user["password_hash"]), algorithm="HS256")
    data = {"id": user["id"], "email": user["email"], "first_name": user["first_name"], "last_name": user["last_name"]}
    data |= await send_token(db, "reset", user["email"], token, admin_url)
    await emit(db, "user.password_reset", user["id"], data)


def claimed_email(claims: dict[str, Any]) -> str:
    """The email that a token speaks of, which may be anybody's invention."""
    try:
        return check_email(str(claims.get("email")))
    except ValueError:
        return ""


async def check_reset(db: Db, body: ResetBody, session_secret: str) -> tuple[str, str]:
    """(user's id, hash of the old password). The refusals do not tell whether there is an account: they depend on what
    was sent only. Raises InvalidData for a token that says nothing, Unauthorized for one that is not ours."""
    try:
        claims: dict[str, Any] = jwt.decode(body.token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise InvalidData("token: is not a token for a new password.") from None
    user = await db.fetchrow(FIND, (body.email or claimed_email(claims)).lower())
    try:
        key = reset_key(session_secret, user["password_hash"] if user else "")
        signed = jwt.decode(body.token, key, algorithms=["HS256"], options={"require": ["exp"]})
        if user is not None and signed.get("user_id") == user["id"]:
            return user["id"], user["password_hash"]
    except jwt.InvalidTokenError:
        pass
    if body.email is None:
        raise InvalidData("token: is not valid any more; ask for a new one.")
    raise Unauthorized("The token is not valid any more; ask for a new one.")


async def reset_password(db: Db, user_id: str, old_hash: str, new_hash: str) -> bool:
    """Whether it was still the old password that was replaced."""
    if not await db.fetchval(RESET, user_id, old_hash, new_hash):
        return False
    await emit(db, "user.updated", user_id, {"id": user_id})
    return True


# Handlers


async def post_password_token(request: web.Request, body: PasswordTokenBody) -> web.Response:
    started, parts = time.monotonic(), request.app[PARTS]
    email, address = body.email.lower(), client_address(request, parts.config.trusted_proxies)
    # Nobody's mailbox is to be filled from here.
    parts.attempts.take([(("reset", email), RESETS_PER_ACCOUNT), (("reset from", address), RESETS_PER_ADDRESS)])
    async with request.app[POOL].acquire() as db, db.transaction():
        await offer_reset(db, email, parts.config.session_secret.get_secret_value(), parts.config.admin_url)
    await asyncio.sleep(started + ANSWER_SECONDS - time.monotonic())
    return web.Response(status=204)


async def post_reset_password(request: web.Request, body: ResetBody) -> web.Response:
    parts, pool = request.app[PARTS], request.app[POOL]
    user_id, old_hash = await check_reset(pool, body, parts.config.session_secret.get_secret_value())
    new_hash = await parts.passwords.hash(body.password)
    async with pool.acquire() as db, db.transaction():
        if not await reset_password(db, user_id, old_hash, new_hash):
            raise Unauthorized("The token is not valid any more; ask for a new one.")
        found = await user_json(db, user_id)
    parts.identity.forget(user_id)
    return web.Response(text=found, content_type="application/json")


OPERATIONS = [
    post(
        "/admin/users/password-token",
        post_password_token,
        "Ask for a new password",
        description="A mail with a token, good for 15 minutes and for one new password; where no mail server is set "
        "the event `user.password_reset` carries it. The answer is the same whether or not anybody has the address.",
        body=PasswordTokenBody,
        example={"email": "ada@example.com"},
        status=204,
        errors=(TooManyAttempts,),
        public=True,
        asks_others=True,
    ),
    post(
        "/admin/users/reset-password",
        post_reset_password,
        "Set a new password",
        description="Whoever is signed in by the old password is signed out. A token that is not valid any more is "
        "refused with 401 when `email` is sent, else with 400.",
        body=ResetBody,
        example={"token": "eyJhbGciOiJIUzI1NiJ9.e30.x", "password": "correct horse", "email": "ada@example.com"},
        answer=USER_ANSWER,
        errors=(InvalidData, Unauthorized, Unavailable),
        public=True,
        asks_others=True,
    ),
]
