"""Publishable API keys: they tell a shop's front end, and so what it sells, by sales channels."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.catalog.answers import chosen, deleted, get_page, one
from services.catalog.products.bodies import IdBody, Name
from services.catalog.resources import SALES_CHANNEL
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Resource, aliases, cols, object_sql, page_query
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body, actor, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.chassis.params import Values, check_known, conditions, dates, query_of, search

KEY = Resource("publishable_api_keys", cols("id created_at@ updated_at@ created_by revoked_by revoked_at@ title"))
WHOLE = chosen(KEY)
ALWAYS = "{t}.id = $1"
FILTERS = {
    "q": search("lower({t}.title) like {q}"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "revoked_at": dates("{t}.revoked_at"),
}
CHANNEL_FILTERS = {"q": search("lower(s.name) like {q} or lower(s.description) like {q}")}


class TitleBody(Body):
    title: Name


class TitleUpdate(Body):
    title: Name = ABSENT


class ChannelIdsBody(Body):
    sales_channel_ids: Annotated[list[IdBody], Field(max_length=1000)]


ACCESS = "select revoked_at is not null as revoked from publishable_api_keys where id = $1 for no key update"
ADD = """
insert into publishable_api_key_sales_channels (key_id, sales_channel_id)
select $1, id from sales_channels where id = any($2::text[]) and deleted_at is null order by id
on conflict do nothing
"""
REMOVE = "delete from publishable_api_key_sales_channels where key_id = $1 and sales_channel_id = any($2::text[])"
CHANNELS = f"""
select json_build_object('sales_channels', coalesce(
    json_agg({object_sql(SALES_CHANNEL, (), "s", aliases())} order by s.created_at, s.id), '[]'
))::text
from sales_channels s join publishable_api_key_sales_channels l on l.sales_channel_id = s.id
where l.key_id = $1 and s.deleted_at is null and %s
"""  # noqa: S608 - constants


async def access_key(db: Db, key_id: str) -> bool:
    """Whether the key is revoked; it is locked until the commit. Raises NotFound."""
    row = await db.fetchrow(ACCESS, key_id)
    if row is None:
        raise NotFound(f"There is no publishable API key {key_id}.")
    revoked: bool = row["revoked"]
    return revoked


async def key_json(db: Db, key_id: str) -> str:
    return await one(db, "publishable_api_key", KEY, WHOLE, key_id, ALWAYS)


# Actions


async def create_key(db: Db, title: str, user_id: str) -> str:
    key_id = new_id("pk")
    await db.execute(
        "insert into publishable_api_keys (id, title, created_by) values ($1, $2, $3)", key_id, title, user_id
    )
    await emit(db, "publishable_api_key.created", key_id, {"id": key_id})
    return key_id


async def update_key(db: Db, key_id: str, body: TitleUpdate) -> None:
    """Change the title, also of a revoked key."""
    await access_key(db, key_id)
    if "title" in body.model_fields_set:
        await db.execute(
            "update publishable_api_keys set title = $2, updated_at = now() where id = $1", key_id, body.title
        )


async def revoke_key(db: Db, key_id: str, user_id: str) -> None:
    """The key is no longer good for anything. Raises NotAllowed the second time."""
    if await access_key(db, key_id):
        raise NotAllowed("The publishable API key is revoked already.")
    await db.execute(
        "update publishable_api_keys set revoked_at = now(), revoked_by = $2, updated_at = now() where id = $1",
        key_id,
        user_id,
    )
    await emit(db, "publishable_api_key.revoked", key_id, {"id": key_id})


async def remove_key(db: Db, key_id: str) -> None:
    """The key is gone for good."""
    await access_key(db, key_id)
    await db.execute("delete from publishable_api_keys where id = $1", key_id)
    await emit(db, "publishable_api_key.deleted", key_id, {"id": key_id})


async def add_channels(db: Db, key_id: str, ids: list[str]) -> None:
    """Let the key stand for these channels, too; those that do not exist do not matter."""
    await access_key(db, key_id)
    await db.execute(ADD, key_id, ids)


async def remove_channels(db: Db, key_id: str, ids: list[str]) -> None:
    """Take channels from the key; those that it does not have do not matter."""
    await access_key(db, key_id)
    await db.execute(REMOVE, key_id, ids)


# Handlers


async def get_keys(request: web.Request) -> web.Response:
    page = page_query(KEY, query_of(request), FILTERS, limit=20)
    return await get_page(request, "publishable_api_keys", page)


async def post_keys(request: web.Request) -> web.Response:
    body = await parse(request, TitleBody)
    async with transaction(request) as db:
        key_id = await create_key(db, body.title, actor(request))
        return json_bytes(request, await key_json(db, key_id))


async def get_key(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await key_json(db, request.match_info["id"]))


async def post_key(request: web.Request) -> web.Response:
    key_id, body = request.match_info["id"], await parse(request, TitleUpdate)
    async with transaction(request) as db:
        await update_key(db, key_id, body)
        return json_bytes(request, await key_json(db, key_id))


async def delete_key(request: web.Request) -> web.Response:
    key_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_key(db, key_id)
        return deleted(request, key_id, "publishable_api_key")


async def post_revoke(request: web.Request) -> web.Response:
    key_id = request.match_info["id"]
    async with transaction(request) as db:
        await revoke_key(db, key_id, actor(request))
        return json_bytes(request, await key_json(db, key_id))


async def get_key_channels(request: web.Request) -> web.Response:
    query, values = query_of(request), Values([request.match_info["id"]])
    check_known(query, CHANNEL_FILTERS)
    where = " and ".join(["true", *conditions(query, CHANNEL_FILTERS, values)])
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval(CHANNELS % where, *values.args))


async def post_key_channels(request: web.Request) -> web.Response:
    key_id, body = request.match_info["id"], await parse(request, ChannelIdsBody)
    async with transaction(request) as db:
        await add_channels(db, key_id, [channel.id for channel in body.sales_channel_ids])
        return json_bytes(request, await key_json(db, key_id))


async def delete_key_channels(request: web.Request) -> web.Response:
    key_id, body = request.match_info["id"], await parse(request, ChannelIdsBody)
    async with transaction(request) as db:
        await remove_channels(db, key_id, [channel.id for channel in body.sales_channel_ids])
        return json_bytes(request, await key_json(db, key_id))


# For the documentation (services/chassis/openapi.py): what the statement above makes.
ANSWERS = {"get_key_channels": {"sales_channels": [SALES_CHANNEL]}}

OPERATIONS = [
    web.get("/admin/publishable-api-keys", get_keys),
    web.post("/admin/publishable-api-keys", post_keys),
    web.get("/admin/publishable-api-keys/{id}", get_key),
    web.post("/admin/publishable-api-keys/{id}", post_key),
    web.post("/admin/publishable-api-key/{id}", post_key),  # as Medusa 1.8 documents it
    web.delete("/admin/publishable-api-keys/{id}", delete_key),
    web.post("/admin/publishable-api-keys/{id}/revoke", post_revoke),
    web.get("/admin/publishable-api-keys/{id}/sales-channels", get_key_channels),
    web.post("/admin/publishable-api-keys/{id}/sales-channels/batch", post_key_channels),
    web.delete("/admin/publishable-api-keys/{id}/sales-channels/batch", delete_key_channels),
]
