"""Access tokens: what programs that speak another dialect of this API (gateway/dialects/) come in with.

An extension of the API: a token has a name and scopes, is shown once, and belongs to no user, so that it outlives the
one who made it. It opens nothing under /admin.
"""

import secrets
from typing import Annotated, Literal

import orjson
from aiohttp import web
from pydantic import Field

from gateway.identity import digest
from gateway.parts import PARTS
from gateway.roles import Forbidden, check_manager
from services.chassis.db import Db, transaction
from services.chassis.embed import Resource, cols, one_json, one_query
from services.chassis.errors import Conflict, InvalidData
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import delete, listing, post
from services.chassis.params import dates, described, search
from services.chassis.queries import page
from services.chassis.schemas import deleted

Scope = Literal["read_order", "write_order"]
TOKEN = Resource("access_tokens", cols("id name created_by created_at@", scopes="{t}.scopes", token="{t}.hint"))  # noqa: S106
FILTERS = {
    "q": described(search("lower({t}.name) like {q}"), "A part of the name."),
    "created_at": dates("{t}.created_at"),
}

INSERT_ROW = """
insert into access_tokens (id, name, scopes, digest, hint, created_by) values ($1, $2, $3, $4, $5, $6)
"""
DELETE_ROW = "delete from access_tokens where id = $1"


class TokenBody(Body):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    """What the merchant knows it by."""
    scopes: Annotated[list[Scope], Field(min_length=1)]
    """What it is good for, each once. `write_order` may read as well."""


async def create_token(db: Db, body: TokenBody, created_by: str) -> tuple[str, str]:
    """(id, the token itself, which is kept nowhere). Raises InvalidData when a scope stands there twice."""
    if len(set(body.scopes)) < len(body.scopes):
        raise InvalidData("scopes: each of them once.")
    token_id, token = new_id("atok"), secrets.token_urlsafe(32)
    await db.execute(INSERT_ROW, token_id, body.name, body.scopes, digest(token), f"****{token[-4:]}", created_by)
    return token_id, token


async def post_tokens(request: web.Request, body: TokenBody) -> web.Response:
    """The answer shows the token, this once; under an Idempotency-Key the end of it is stored."""
    async with transaction(request) as db:
        token_id, token = await create_token(db, body, actor(request))
        shown = await one_json(db, TOKEN, one_query(TOKEN, {}), "{t}.id = $1", token_id)
        json_bytes(request, f'{{"access_token":{shown}}}')
    answer = orjson.loads(shown or "{}") | {"token": token}
    return web.Response(body=orjson.dumps({"access_token": answer}), content_type="application/json")


async def delete_token(request: web.Request, token_id: str) -> web.Response:
    """Ends the token, here at once, in other gateway processes within seconds. Deleting none is fine."""
    async with transaction(request) as db:
        await db.execute(DELETE_ROW, token_id)
        answer = json_bytes(request, orjson.dumps({"id": token_id, "object": "access_token", "deleted": True}))
    request.app[PARTS].identity.forget_scoped(token_id)
    return answer


OPERATIONS = [
    listing(
        "/admin/access-tokens",
        "access_tokens",
        page(TOKEN, FILTERS, limit=50),
        "List access tokens",
        description="Access tokens let programs in that speak another dialect of this API; they open nothing here. Of "
        "a token only the end is shown. For admins and developers.",
        errors=(Forbidden,),
        check=check_manager,
    ),
    post(
        "/admin/access-tokens",
        post_tokens,
        "Create an access token",
        description="The answer shows the whole token, this once: only its digest is kept. It belongs to no user and "
        "has no end but its deletion. For admins and developers.",
        body=TokenBody,
        example={"name": "Warehouse", "scopes": ["write_order"]},
        answer={"access_token": TOKEN},
        errors=(Forbidden, Conflict),
        check=check_manager,
        asks_others=True,
    ),
    delete(
        "/admin/access-tokens/{id}",
        delete_token,
        "Delete an access token",
        description="Ends it at once; where several gateways run, in the others within seconds. A token that is not "
        "there is no error. For admins and developers.",
        answer=deleted("access_token"),
        errors=(Forbidden,),
        check=check_manager,
        asks_others=True,
    ),
]
