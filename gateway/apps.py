"""Connected apps: none can be registered yet, so there are none to list or to authorize."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.chassis.errors import NotFound
from services.chassis.http import Body, parse

Word = Annotated[str, Field(min_length=1)]


class AuthorizationBody(Body):
    """POST /admin/apps/authorizations."""

    application_name: Word
    state: Word
    code: Word


async def get_apps(request: web.Request) -> web.Response:
    return web.json_response({"apps": []})


async def post_authorization(request: web.Request) -> web.Response:
    body = await parse(request, AuthorizationBody)
    raise NotFound(f"There is no app {body.application_name}.")


OPERATIONS = [
    web.get("/admin/apps", get_apps),
    web.post("/admin/apps/authorizations", post_authorization),
]
