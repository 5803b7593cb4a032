"""Answers that all nouns of the catalog give alike."""

import orjson
from aiohttp import web

from services.chassis.db import Db, reading
from services.chassis.embed import Page, Resource, Selection, Tree, one_json, one_query, page_json, selection
from services.chassis.errors import NotFound
from services.chassis.http import json_bytes
from services.chassis.params import Query, query_of

LIVE = "{t}.id = $1 and {t}.deleted_at is null"


def chosen(resource: Resource, expand: Tree = ()) -> Selection:
    """All columns, and the relations of `expand`."""
    return selection(resource, {}, expand=expand)


def listed(query: Query) -> str:
    """Which rows a list has: the live ones, unless it asks for when they were deleted."""
    return "{t}.deleted_at is not null" if "deleted_at" in query else "{t}.deleted_at is null"


async def one(db: Db, key: str, resource: Resource, what: Selection, id_: str, where: str = LIVE) -> str:
    """`{"<key>": {...}}` as JSON text. Raises NotFound."""
    text = await one_json(db, resource, what, where, id_)
    if text is None:
        raise NotFound(f"There is no {key.replace('_', ' ')} {id_}.")
    return f'{{"{key}":{text}}}'


async def get_one(
    request: web.Request, key: str, resource: Resource, expand: Tree = (), where: str = LIVE
) -> web.Response:
    """A GET of one row that knows `fields` and `expand`."""
    what = one_query(resource, query_of(request), expand=expand)
    async with reading(request) as db:
        return json_bytes(request, await one(db, key, resource, what, request.match_info["id"], where))


async def get_page(request: web.Request, key: str, page: Page) -> web.Response:
    """A list."""
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, key, page))


def deleted(request: web.Request, id_: str, kind: str) -> web.Response:
    """What a DELETE answers."""
    return json_bytes(request, orjson.dumps({"id": id_, "object": kind, "deleted": True}))
