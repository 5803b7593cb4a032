"""Who is asking: a session cookie, a bearer token or an API token, turned into a user, and the user into what services
are told.

The result for a credential is remembered for SECONDS_KNOWN, so that most requests need no database. A user who is
deleted or changed here is forgotten here at once; **another gateway process may let the old credentials or role through
for up to SECONDS_KNOWN longer**. An unknown credential is looked up every time.
"""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import jwt
from aiohttp import web

from gateway.recent import Recent
from services.chassis.http import sign_actor

COOKIE = "connect.sid"
API_TOKEN_HEADER = "x-medusa-access-token"  # noqa: S105
DOMAIN = "admin"
TOKEN_SECONDS = 24 * 60 * 60
SECONDS_KNOWN = 5.0
ACTOR_SECONDS, ACTOR_REUSED_SECONDS = 60, 30.0
MAX_KNOWN = 10_000
MAX_CREDENTIAL = 4096

ACCESS_TOKEN_ROW = "select id, scopes from access_tokens where digest = $1"  # noqa: S105
# All three: (user's id, role, seconds that the credential is still good for).
WITH_BEARER = "select id, role, null from users where id = $1 and credentials_version = $2 and deleted_at is null"
WITH_API_KEY = "select id, role, null from users where api_token_digest = $1 and deleted_at is null"
WITH_SESSION = """
select u.id, u.role, extract(epoch from s.expires_at - now())::float
from sessions s join users u on u.id = s.user_id
where s.id_digest = $1 and s.expires_at > now() and u.deleted_at is null
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who asks."""

    id: str
    role: str


@dataclass(frozen=True, slots=True)
class Scoped:
    """The access token of a program, and what it is good for."""

    id: str
    scopes: frozenset[str]


Lookup = Callable[[str], Awaitable[tuple[Caller, float] | None]]


def digest(secret: str) -> bytes:
    """What the database knows of a session id or access token. It is random and long: a plain hash cannot be undone."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def session_id(request: web.Request) -> str | None:
    """The session id in the request's cookie. (`request.cookies` parses all of them, by regular expression.)"""
    for pair in request.headers.get("Cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE and 0 < len(value) <= MAX_CREDENTIAL:
            return value
    return None


class Identity:
    """Credentials checked and remembered, in one process."""

    def __init__(self, pool: asyncpg.Pool, session_secret: str, actor_secret: str) -> None:
        self._pool = pool
        self._session_secret, self._actor_secret = session_secret, actor_secret
        self._known: Recent[tuple[str, str], Caller] = Recent(MAX_KNOWN)
        self._actors: Recent[Caller, str] = Recent(MAX_KNOWN)
        self._scoped: Recent[str, Scoped] = Recent(MAX_KNOWN)
        self._forgotten = 0

    async def caller(self, request: web.Request) -> Caller | None:
        """The user behind the first valid credential: cookie, bearer, API token header, in this order."""
        headers = request.headers
        if "Cookie" in headers and (sid := session_id(request)):
            found = await self._look_up("session", sid, self._by_session)
            if found:
                return found
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (bearer := bearer.strip()):
            found = await self._look_up("bearer", bearer, self._by_bearer)
            if found:
                return found
        if token := headers.get(API_TOKEN_HEADER):
            return await self._look_up("api_token", token, self._by_api_token)
        return None

    async def scoped(self, token: str) -> Scoped | None:
        """The access token that a program came with (gateway/access_tokens.py)."""
        if not 0 < len(token) <= MAX_CREDENTIAL:
            return None
        known = self._scoped.get(token)
        if known is not None:
            return known
        forgotten = self._forgotten
        row = await self._pool.fetchrow(ACCESS_TOKEN_ROW, digest(token))
        if row is None:
            return None
        found = Scoped(row["id"], frozenset(row["scopes"]))
        if forgotten == self._forgotten:
            self._scoped.put(token, found, SECONDS_KNOWN)
        return found

    def forget_scoped(self, token_id: str) -> None:
        """An access token has ended."""
        self._forgotten += 1
        self._scoped.drop(lambda found: found.id == token_id)

    def forget(self, user_id: str) -> None:
        """Look up this user's credentials again at their next request. Call it after the commit of what changed."""
        # A look-up that read the user before the commit must not be remembered after this.
        self._forgotten += 1
        self._known.drop(lambda caller: caller.id == user_id)

    def forget_session(self, sid: str) -> None:
        """The same for a session that has ended."""
        self._forgotten += 1
        self._known.pop(("session", sid))

    def actor_token(self, caller: Caller) -> str:
        """What the services are told. Signed anew well before it expires, not for every request."""
        token = self._actors.get(caller)
        if token is None:
            token = sign_actor(self._actor_secret, caller.id, caller.role, ACTOR_SECONDS)
            self._actors.put(caller, token, ACTOR_REUSED_SECONDS)
        return token

    def bearer_token(self, user_id: str, credentials_version: int) -> str:
        """A token good for 24 hours, or until the password changes."""
        now = int(time.time())
        claims = {
            "user_id": user_id,
            "domain": DOMAIN,
            "version": credentials_version,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._session_secret, algorithm="HS256")

    def api_token_digest(self, token: str) -> bytes:
        """What the database knows of an API token. People choose them, so a plain hash could be guessed from."""
        key = b"api token" + self._session_secret.encode()
        return hmac.digest(key, token.encode(errors="surrogateescape"), "sha256")

    async def _look_up(self, kind: str, credential: str, look_up: Lookup) -> Caller | None:
        if len(credential) > MAX_CREDENTIAL:
            return None
        known = self._known.get((kind, credential))
        if known is not None:
            return known
        forgotten = self._forgotten
        found = await look_up(credential)
        if found is None:
            return None
        caller, seconds = found
        if forgotten == self._forgotten:
            self._known.put((kind, credential), caller, min(seconds, SECONDS_KNOWN))
        return caller

    async def _by_session(self, credential: str) -> tuple[Caller, float] | None:
        return await self._query(WITH_SESSION, digest(credential))

    async def _by_bearer(self, credential: str) -> tuple[Caller, float] | None:
        """A token of ours, or else an API token: the API's documentation sends those as a bearer, too."""
        if credential.isascii() and credential.count(".") == 2:
            try:
                claims = jwt.decode(
                    credential, self._session_secret, algorithms=["HS256"], options={"require": ["exp", "iat"]}
                )
            except jwt.InvalidTokenError:
                claims = {}
            user_id, version = claims.get("user_id"), claims.get("version")
            if claims.get("domain") == DOMAIN and isinstance(user_id, str) and isinstance(version, int):
                return await self._query(WITH_BEARER, user_id, version)
        return await self._by_api_token(credential)

    async def _by_api_token(self, credential: str) -> tuple[Caller, float] | None:
        return await self._query(WITH_API_KEY, self.api_token_digest(credential))

    async def _query(self, sql: str, *args: object) -> tuple[Caller, float] | None:
        row = await self._pool.fetchrow(sql, *args)
        if row is None:
            return None
        user_id, role, seconds = row
        return Caller(user_id, role), SECONDS_KNOWN if seconds is None else seconds
