"""Connected apps: none can be registered yet, so there are none to list or to authorize."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.chassis.errors import NotFound
from services.chassis.http import Body
from services.chassis.operations import get, post
from services.chassis.schemas import Json

Word = Annotated[str, Field(min_length=1)]


class AuthorizationBody(Body):
    application_name: Word
    state: Word
    """What the app was opened with, and sends back."""
    code: Word
    """The app's proof that it was let in."""


async def get_apps(_: web.Request) -> web.Response:
    return web.json_response({"apps": []})


async def post_authorization(_: web.Request, body: AuthorizationBody) -> web.Response:
    raise NotFound(f"There is no app {body.application_name}.")


OPERATIONS = [
    get(
        "/admin/apps",
        get_apps,
        "List connected apps",
        description="None can be registered, so the list is empty.",
        answer={"apps": Json({"type": "array", "items": {"type": "object"}, "description": "None."})},
        asks_others=True,
    ),
    post(
        "/admin/apps/authorizations",
        post_authorization,
        "Authorize an app",
        description="None can be registered, so every one is refused with 404.",
        body=AuthorizationBody,
        example={"application_name": "newsletters", "state": "8f2b", "code": "5c1e"},
        answer={"apps": Json({"type": "object", "description": "The app; there is none."})},
        errors=(NotFound,),
        asks_others=True,
    ),
]
