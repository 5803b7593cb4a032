"""Publishable API keys: a shop's front end sends one, whose sales channels say what is sold there."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.catalog.answers import chosen, one
from services.catalog.products.bodies import IdBody, Name
from services.catalog.resources import SALES_CHANNEL
from services.chassis.db import Db, transaction
from services.chassis.embed import Resource, aliases, cols, object_sql
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import delete, deletion, get, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Query, Values, check_known, conditions, dates, described, search
from services.chassis.queries import Parameters, page

KEY = Resource("publishable_api_keys", cols("id created_at@ updated_at@ created_by revoked_by revoked_at@ title"))
WHOLE = chosen(KEY)
BY_ID = "{t}.id = $1"
ANSWER = {"publishable_api_key": KEY}
FILTERS = {
    "q": described(search("lower({t}.title) like {q}"), "A part of the title, in any case."),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "revoked_at": dates("{t}.revoked_at"),
}
CHANNEL_FILTERS = {
    "q": described(
        search("lower(s.name) like {q} or lower(s.description) like {q}"),
        "A part of the channel's name or description, in any case.",
    )
}


class KeyBody(Body):
    title: Name
    """What people call the key."""


class KeyUpdate(Body):
    title: Name = ABSENT
    """What people call the key."""


class KeyChannelsBody(Body):
    sales_channel_ids: Annotated[list[IdBody], Field(max_length=1000)]
    """Ids of sales channels, each as `{"id": ...}`."""


LOCK_KEY = "select revoked_at is not null as revoked from publishable_api_keys where id = $1 for no key update"
ADD_CHANNELS = """
insert into publishable_api_key_sales_channels (key_id, sales_channel_id)
select $1, id from sales_channels where id = any($2::text[]) and deleted_at is null order by id
on conflict do nothing
"""
REMOVE_CHANNELS = """
delete from publishable_api_key_sales_channels where key_id = $1 and sales_channel_id = any($2::text[])
"""
CHANNELS_OF = f"""
select json_build_object('sales_channels', coalesce(
    json_agg({object_sql(SALES_CHANNEL, (), "s", aliases())} order by s.created_at, s.id), '[]'
))::text
from sales_channels s join publishable_api_key_sales_channels l on l.sales_channel_id = s.id
where l.key_id = $1 and s.deleted_at is null and %s
"""  # noqa: S608 - constants


def channels_statement(query: Query, key_id: str) -> tuple[str, list[object]]:
    """The statement that lists the key's channels, and its arguments. Raises InvalidData."""
    check_known(query, CHANNEL_FILTERS)
    values = Values([key_id])
    where = " and ".join(["true", *conditions(query, CHANNEL_FILTERS, values)])
    return CHANNELS_OF % where, values.args


async def access_key(db: Db, key_id: str) -> bool:
    """Lock the key; returns whether it is revoked. Raises NotFound."""
    row = await db.fetchrow(LOCK_KEY, key_id)
    if row is None:
        raise NotFound(f"There is no publishable API key {key_id}.")
    revoked: bool = row["revoked"]
    return revoked


async def key_json(db: Db, key_id: str) -> str:
    return await one(db, "publishable_api_key", KEY, WHOLE, key_id, BY_ID)


# Actions


async def create_key(db: Db, title: str, user_id: str) -> str:
    key_id = new_id("pk")
    await db.execute(
        "insert into publishable_api_keys (id, title, created_by) values ($1, $2, $3)", key_id, title, user_id
    )
    await emit(db, "publishable_api_key.created", key_id, {"id": key_id})
    return key_id


async def update_key(db: Db, key_id: str, body: KeyUpdate) -> None:
    """Change the title, also of a revoked key. Raises NotFound."""
    await access_key(db, key_id)
    if "title" in body.model_fields_set:
        await db.execute(
            "update publishable_api_keys set title = $2, updated_at = now() where id = $1", key_id, body.title
        )


async def revoke_key(db: Db, key_id: str, user_id: str) -> None:
    """Revoke the key, for good. Raises NotFound, or NotAllowed the second time."""
    if await access_key(db, key_id):
        raise NotAllowed("The publishable API key is revoked already.")
    await db.execute(
        "update publishable_api_keys set revoked_at = now(), revoked_by = $2, updated_at = now() where id = $1",
        key_id,
        user_id,
    )
    await emit(db, "publishable_api_key.revoked", key_id, {"id": key_id})


async def remove_key(db: Db, key_id: str) -> None:
    """Delete the key. Raises NotFound."""
    await access_key(db, key_id)
    await db.execute("delete from publishable_api_keys where id = $1", key_id)
    await emit(db, "publishable_api_key.deleted", key_id, {"id": key_id})


async def add_channels(db: Db, key_id: str, ids: list[str]) -> None:
    """Let the key stand for these channels, too; those that do not exist do not matter. Raises NotFound."""
    await access_key(db, key_id)
    await db.execute(ADD_CHANNELS, key_id, ids)


async def remove_channels(db: Db, key_id: str, ids: list[str]) -> None:
    """Take channels from the key; those that it does not have do not matter. Raises NotFound."""
    await access_key(db, key_id)
    await db.execute(REMOVE_CHANNELS, key_id, ids)


# Handlers


async def post_keys(request: web.Request, body: KeyBody) -> web.Response:
    async with transaction(request) as db:
        key_id = await create_key(db, body.title, actor(request))
        return json_bytes(request, await key_json(db, key_id))


async def post_key(db: Db, key_id: str, body: KeyUpdate) -> str:
    await update_key(db, key_id, body)
    return await key_json(db, key_id)


async def post_revoke(request: web.Request, key_id: str) -> web.Response:
    async with transaction(request) as db:
        await revoke_key(db, key_id, actor(request))
        return json_bytes(request, await key_json(db, key_id))


async def get_key_channels(db: Db, _key_id: str, statement: tuple[str, list[object]]) -> str:
    sql, args = statement
    channels: str = await db.fetchval(sql, *args)
    return channels


async def post_key_channels(db: Db, key_id: str, body: KeyChannelsBody) -> str:
    await add_channels(db, key_id, [channel.id for channel in body.sales_channel_ids])
    return await key_json(db, key_id)


async def delete_key_channels(db: Db, key_id: str, body: KeyChannelsBody) -> str:
    await remove_channels(db, key_id, [channel.id for channel in body.sales_channel_ids])
    return await key_json(db, key_id)


SOME_CHANNELS = {"sales_channel_ids": [{"id": "sc_01HZX3K8Q2V5W7Y9A1B3C5D7E9"}]}
OPERATIONS = [
    listing(
        "/admin/publishable-api-keys",
        "publishable_api_keys",
        page(KEY, FILTERS, limit=20),
        "List publishable API keys",
        description="The newest come first, revoked keys among them.",
    ),
    post(
        "/admin/publishable-api-keys",
        post_keys,
        "Create a publishable API key",
        description="The id is the key itself, which a shop's front end may show to anybody. It stands for no sales "
        "channel until some are added.",
        body=KeyBody,
        example={"title": "Web shop"},
        answer=ANSWER,
        asks_others=True,
    ),
    showing(
        "/admin/publishable-api-keys/{id}",
        "publishable_api_key",
        KEY,
        "Get a publishable API key",
        description="Its sales channels have a list of their own.",
    ),
    post(
        "/admin/publishable-api-keys/{id}",
        post_key,
        "Rename a publishable API key",
        description="A revoked key can be renamed, too.",
        body=KeyUpdate,
        example={"title": "Web shop, old design"},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    post(
        "/admin/publishable-api-key/{id}",
        post_key,
        "Rename a publishable API key, by its other path",
        description="The same as `POST /admin/publishable-api-keys/{id}`, under the path that Medusa 1.8 documents.",
        body=KeyUpdate,
        example={"title": "Web shop, old design"},
        answer=ANSWER,
        errors=(NotFound,),
    ),
    deletion(
        "/admin/publishable-api-keys/{id}",
        remove_key,
        "publishable_api_key",
        "Delete a publishable API key",
        description="The key is gone for good. To keep it in the list, revoke it.",
        errors=(NotFound,),
    ),
    post(
        "/admin/publishable-api-keys/{id}/revoke",
        post_revoke,
        "Revoke a publishable API key",
        description="The key stays in the list, with who revoked it and when. It cannot be taken back, and the second "
        "time is refused.",
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
    get(
        "/admin/publishable-api-keys/{id}/sales-channels",
        get_key_channels,
        "List the sales channels of a publishable API key",
        description="All of them, the oldest first. A key that does not exist has none.",
        query=Parameters(channels_statement, {name: of.schema for name, of in CHANNEL_FILTERS.items()}),
        answer={"sales_channels": [SALES_CHANNEL]},
    ),
    post(
        "/admin/publishable-api-keys/{id}/sales-channels/batch",
        post_key_channels,
        "Add sales channels to a publishable API key",
        description="Channels that do not exist, and those that the key has, do not matter.",
        body=KeyChannelsBody,
        example=SOME_CHANNELS,
        answer=ANSWER,
        errors=(NotFound,),
    ),
    delete(
        "/admin/publishable-api-keys/{id}/sales-channels/batch",
        delete_key_channels,
        "Remove sales channels from a publishable API key",
        description="Channels that the key does not have do not matter.",
        body=KeyChannelsBody,
        example=SOME_CHANNELS,
        answer=ANSWER,
        errors=(NotFound,),
    ),
]
