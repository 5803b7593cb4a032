"""Sales channels: where products are offered. Their stock locations belong to the inventory, which sends copies."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import web
from pydantic import StringConstraints

from services.catalog import remote
from services.catalog.answers import LIVE, chosen, listed, one
from services.catalog.products.references import UNKNOWN_REFERENCES, UnknownReferences
from services.catalog.products.stock import store_availability
from services.catalog.resources import LOCATED_CHANNEL, SALES_CHANNEL
from services.chassis import copies
from services.chassis.commands import CommandHandler
from services.chassis.consumers import Listener
from services.chassis.db import Db, transaction
from services.chassis.documents import Kind, doc
from services.chassis.embed import Page
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import delete, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Query, dates, described, search, text
from services.chassis.queries import Parameters, page
from services.chassis.schemas import deleted

Description = Annotated[str, StringConstraints(max_length=10_000)] | None

FILTERS = {
    "id": text("{t}.id"),
    "name": text("{t}.name"),
    "description": text("{t}.description"),
    "q": described(
        search("lower({t}.name) like {q} or lower({t}.description) like {q}"),
        "A part of the name or the description, in any case. Whole rows come then, whatever `fields` says, the oldest "
        "first.",
    ),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("{t}.deleted_at"), "Deleted channels are listed in place of the others."),
}


CHANNEL_KINDS: Mapping[str, Kind] = {"sales_channel": Kind(SALES_CHANNEL)}


class ChannelBody(Body):
    name: str
    description: Description = None
    is_disabled: bool = False
    """Whether nothing is sold here for the time being."""


class ChannelUpdate(Body):
    name: str = ABSENT
    description: Description = None
    is_disabled: bool = ABSENT
    """Whether nothing is sold here for the time being."""


class ProductId(Body):
    id: str


class ChannelProductsBody(Body):
    product_ids: list[ProductId]
    """Ids of products, each as `{"id": ...}`."""


LOCK_CHANNEL = "select id from sales_channels where id = $1 and deleted_at is null for no key update"
INSERT_CHANNEL = "insert into sales_channels (id, name, description, is_disabled) values ($1, $2, $3, $4)"
# $2: the body as JSON; what it does not name stays.
UPDATE_CHANNEL = """
update sales_channels t set
    (name, description, is_disabled) = (
        select n.name, n.description, n.is_disabled from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
DELETE_CHANNEL = "update sales_channels set deleted_at = now() where id = $1 and deleted_at is null returning id"
UNKNOWN_PRODUCTS = "select unnest($1::text[]) as id except select id from products where deleted_at is null"
ADD_PRODUCTS = """
insert into product_sales_channels (product_id, sales_channel_id)
select distinct id, $1 from unnest($2::text[]) id order by id on conflict do nothing
"""
REMOVE_PRODUCTS = "delete from product_sales_channels where sales_channel_id = $1 and product_id = any($2::text[])"


async def access_channel(db: Db, channel_id: str) -> None:
    """Lock the channel. Raises NotFound."""
    if not await db.fetchval(LOCK_CHANNEL, channel_id):
        raise NotFound(f"There is no sales channel {channel_id}.")


async def create_channel(db: Db, body: ChannelBody) -> str:
    """Returns the id of a new channel, which offers nothing yet."""
    channel_id = new_id("sc")
    await db.execute(INSERT_CHANNEL, channel_id, body.name, body.description, body.is_disabled)
    await emit(db, "sales_channel.created", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))
    return channel_id


async def update_channel(db: Db, channel_id: str, body: ChannelUpdate) -> None:
    """Change what the body names. Raises NotFound."""
    await access_channel(db, channel_id)
    await db.execute(UPDATE_CHANNEL, channel_id, body.model_dump_json(exclude_unset=True))
    await emit(db, "sales_channel.updated", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))


async def remove_channel(db: Db, channel_id: str) -> None:
    """Delete the channel, if it is there. Raises NotAllowed for the store's own."""
    if await db.fetchval("select true from stores where default_sales_channel_id = $1", channel_id):
        raise NotAllowed("This is the store's default sales channel; orders without another one need it.")
    if await db.fetchval(DELETE_CHANNEL, channel_id):
        await emit(db, "sales_channel.deleted", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))


async def add_products(db: Db, channel_id: str, product_ids: list[str]) -> None:
    """Put products into the channel. Raises NotFound or UnknownReferences."""
    await access_channel(db, channel_id)
    unknown = sorted(row["id"] for row in await db.fetch(UNKNOWN_PRODUCTS, product_ids))
    if unknown:
        raise UnknownReferences("Products", unknown)
    await db.execute(ADD_PRODUCTS, channel_id, product_ids)


async def remove_products(db: Db, channel_id: str, product_ids: list[str]) -> None:
    """Take products out of the channel. Raises NotFound."""
    await access_channel(db, channel_id)
    await db.execute(REMOVE_PRODUCTS, channel_id, product_ids)


# Handlers

ALL_CHANNELS = page(LOCATED_CHANNEL, FILTERS, limit=20, where=listed)
ANSWER = {"sales_channel": SALES_CHANNEL}


def read_channels(query: Query) -> Page:
    """With a search, whole rows come, whatever `fields` says, the oldest ones first. Raises InvalidData."""
    if "q" not in query:
        return ALL_CHANNELS.read(query)
    channels = ALL_CHANNELS.read({name: value for name, value in query.items() if name != "fields"})
    return channels if "order" in query else replace(channels, order="{t}.created_at, {t}.id")


async def post_sales_channels(db: Db, body: ChannelBody) -> str:
    return await channel_json(db, await create_channel(db, body))


async def post_sales_channel(request: web.Request, channel_id: str, body: ChannelUpdate) -> web.Response:
    async with transaction(request) as db:
        await update_channel(db, channel_id, body)
        answer = json_bytes(request, await channel_json(db, channel_id))
    await notify_inventory(request.app, channel_id)
    return answer


async def delete_sales_channel(request: web.Request, channel_id: str) -> web.Response:
    async with transaction(request) as db:
        await remove_channel(db, channel_id)
        answer = json_bytes(request, json_text({"id": channel_id, "object": "sales-channel", "deleted": True}))
    await notify_inventory(request.app, channel_id)
    return answer


async def post_products_batch(db: Db, channel_id: str, body: ChannelProductsBody) -> str:
    await add_products(db, channel_id, [product.id for product in body.product_ids])
    return await channel_json(db, channel_id)


async def delete_products_batch(db: Db, channel_id: str, body: ChannelProductsBody) -> str:
    await remove_products(db, channel_id, [product.id for product in body.product_ids])
    return await channel_json(db, channel_id)


async def channel_json(db: Db, channel_id: str) -> str:
    """`{"sales_channel": ...}` without its locations. Raises NotFound."""
    return await one(db, "sales_channel", SALES_CHANNEL, chosen(SALES_CHANNEL), channel_id)


async def notify_inventory(app: web.Application, channel_id: str) -> None:
    """Send the inventory the channel as it is, after the commit, and keep what it answers about stock."""
    async with app[POOL].acquire() as db:
        changed = await doc(db, "sales_channel", channel_id, CHANNEL_KINDS)
    reply = await remote.notify_sales_channel(app, changed) if changed["copies"]["sales_channel"] else {}
    if reply.get("variants"):
        async with app[POOL].acquire() as db, db.transaction():
            await store_availability(db, reply)


async def keep_locations(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `sales_channel_locations` {copies: {kind: [document]}} -> {}: stores what its event brings later."""
    await copies.store(db, "sales_channel_location", body["copies"]["sales_channel_location"])
    return {}


SOME_PRODUCTS = {"product_ids": [{"id": "prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"}]}
OPERATIONS = [
    listing(
        "/admin/sales-channels",
        "sales_channels",
        Parameters(read_channels, ALL_CHANNELS.schemas, ALL_CHANNELS.rows),
        "List sales channels",
        description="The newest come first, unless `q` is sent.",
    ),
    post(
        "/admin/sales-channels",
        post_sales_channels,
        "Create a sales channel",
        description="It offers no products yet.",
        body=ChannelBody,
        example={"name": "Web shop", "description": "shop.example.com"},
        answer=ANSWER,
    ),
    showing(
        "/admin/sales-channels/{id}",
        "sales_channel",
        SALES_CHANNEL,
        "Get a sales channel",
        description="Without its stock locations, which the list shows with `expand=locations`.",
        where=LIVE,
    ),
    post(
        "/admin/sales-channels/{id}",
        post_sales_channel,
        "Update a sales channel",
        description="What is not sent stays. Stock locations show the channel as it is from now on.",
        body=ChannelUpdate,
        example={"name": "Web shop", "is_disabled": True},
        answer=ANSWER,
        errors=(NotFound,),
        asks_others=True,
    ),
    delete(
        "/admin/sales-channels/{id}",
        delete_sales_channel,
        "Delete a sales channel",
        description="Refused for the store's default channel. A channel that is not there is no error.",
        answer=deleted("sales-channel"),
        errors=(NotAllowed,),
        asks_others=True,
    ),
    post(
        "/admin/sales-channels/{id}/products/batch",
        post_products_batch,
        "Add products to a sales channel",
        description="Products that are in it already do not matter. When one does not exist, none is added, and the "
        "refusal lists the unknown ones in `errors`.",
        body=ChannelProductsBody,
        example=SOME_PRODUCTS,
        answer=ANSWER,
        errors=(NotFound, UnknownReferences),
        refusal=UNKNOWN_REFERENCES,
    ),
    delete(
        "/admin/sales-channels/{id}/products/batch",
        delete_products_batch,
        "Remove products from a sales channel",
        description="Products that are not in it do not matter.",
        body=ChannelProductsBody,
        example=SOME_PRODUCTS,
        answer=ANSWER,
        errors=(NotFound,),
    ),
]
COMMANDS: Mapping[str, CommandHandler] = {"sales_channel_locations": keep_locations}
LISTENERS: Mapping[str, Listener] = {
    "stock-location.updated": copies.on_copies,
    "stock-location.deleted": copies.on_copies,
}
