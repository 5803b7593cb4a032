"""Sales channels: where products are offered. Their stock locations belong to the inventory, which sends copies."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import web
from pydantic import StringConstraints

from services.catalog import remote
from services.catalog.answers import chosen, deleted, get_page, listed, one
from services.catalog.products.references import UnknownReferences
from services.catalog.products.stock import store_availability
from services.catalog.resources import LOCATED_CHANNEL, SALES_CHANNEL
from services.chassis import copies
from services.chassis.commands import CommandHandler
from services.chassis.consumers import Listener
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import Kind, doc
from services.chassis.embed import page_query
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.outbox import emit
from services.chassis.params import dates, query_of, search, text

Description = Annotated[str, StringConstraints(max_length=10_000)] | None

FILTERS = {
    "id": text("{t}.id"),
    "name": text("{t}.name"),
    "description": text("{t}.description"),
    "q": search("lower({t}.name) like {q} or lower({t}.description) like {q}"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("{t}.deleted_at"),
}


CHANNEL_KINDS: Mapping[str, Kind] = {"sales_channel": Kind(SALES_CHANNEL)}


class ChannelBody(Body):
    name: str
    description: Description = None
    is_disabled: bool = False


class ChannelUpdate(Body):
    name: str = ABSENT
    description: Description = None
    is_disabled: bool = ABSENT


class ProductId(Body):
    id: str


class ProductsBody(Body):
    product_ids: list[ProductId]


LOCK = "select id from sales_channels where id = $1 and deleted_at is null for no key update"
INSERT = "insert into sales_channels (id, name, description, is_disabled) values ($1, $2, $3, $4)"
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update sales_channels t set
    (name, description, is_disabled) = (
        select n.name, n.description, n.is_disabled from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
DELETE = "update sales_channels set deleted_at = now() where id = $1 and deleted_at is null returning id"
UNKNOWN = "select unnest($1::text[]) as id except select id from products where deleted_at is null"
ADD = """
insert into product_sales_channels (product_id, sales_channel_id)
select distinct id, $1 from unnest($2::text[]) id order by id on conflict do nothing
"""
REMOVE = "delete from product_sales_channels where sales_channel_id = $1 and product_id = any($2::text[])"


async def access_channel(db: Db, channel_id: str) -> None:
    """Lock the channel. Raises NotFound."""
    if not await db.fetchval(LOCK, channel_id):
        raise NotFound(f"There is no sales channel {channel_id}.")


async def create_channel(db: Db, body: ChannelBody) -> str:
    """A new channel, which offers nothing yet."""
    channel_id = new_id("sc")
    await db.execute(INSERT, channel_id, body.name, body.description, body.is_disabled)
    await emit(db, "sales_channel.created", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))
    return channel_id


async def update_channel(db: Db, channel_id: str, body: ChannelUpdate) -> None:
    """Change what the body names."""
    await access_channel(db, channel_id)
    await db.execute(UPDATE, channel_id, body.model_dump_json(exclude_unset=True))
    await emit(db, "sales_channel.updated", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))


async def remove_channel(db: Db, channel_id: str) -> None:
    """The channel is gone for the API. Nothing happens when there is none. Raises NotAllowed for the store's own."""
    if await db.fetchval("select true from stores where default_sales_channel_id = $1", channel_id):
        raise NotAllowed("This is the store's default sales channel; orders without another one need it.")
    if await db.fetchval(DELETE, channel_id):
        await emit(db, "sales_channel.deleted", channel_id, await doc(db, "sales_channel", channel_id, CHANNEL_KINDS))


async def add_products(db: Db, channel_id: str, product_ids: list[str]) -> None:
    """The channel offers these, too. Raises UnknownReferences."""
    await access_channel(db, channel_id)
    unknown = sorted(row["id"] for row in await db.fetch(UNKNOWN, product_ids))
    if unknown:
        raise UnknownReferences("Products", unknown)
    await db.execute(ADD, channel_id, product_ids)


async def remove_products(db: Db, channel_id: str, product_ids: list[str]) -> None:
    """The channel does not offer these."""
    await access_channel(db, channel_id)
    await db.execute(REMOVE, channel_id, product_ids)


async def get_sales_channels(request: web.Request) -> web.Response:
    """With a search, whole rows come, whatever `fields` says, the oldest ones first."""
    query = query_of(request)
    wanted = {name: value for name, value in query.items() if name != "fields" or "q" not in query}
    page = page_query(LOCATED_CHANNEL, wanted, FILTERS, limit=20, where=listed(query))
    if "q" in query and "order" not in query:
        page = replace(page, order="{t}.created_at, {t}.id")
    return await get_page(request, "sales_channels", page)


async def post_sales_channels(request: web.Request) -> web.Response:
    body = await parse(request, ChannelBody)
    async with transaction(request) as db:
        channel_id = await create_channel(db, body)
        return json_bytes(request, await channel_json(db, channel_id))


async def get_sales_channel(request: web.Request) -> web.Response:
    """The whole row; parameters are not looked at."""
    async with reading(request) as db:
        return json_bytes(request, await channel_json(db, request.match_info["id"]))


async def post_sales_channel(request: web.Request) -> web.Response:
    channel_id, body = request.match_info["id"], await parse(request, ChannelUpdate)
    async with transaction(request) as db:
        await update_channel(db, channel_id, body)
        answer = json_bytes(request, await channel_json(db, channel_id))
    await notify_inventory(request.app, channel_id)
    return answer


async def delete_sales_channel(request: web.Request) -> web.Response:
    channel_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_channel(db, channel_id)
        answer = deleted(request, channel_id, "sales-channel")
    await notify_inventory(request.app, channel_id)
    return answer


async def post_products_batch(request: web.Request) -> web.Response:
    channel_id, body = request.match_info["id"], await parse(request, ProductsBody)
    async with transaction(request) as db:
        await add_products(db, channel_id, [product.id for product in body.product_ids])
        return json_bytes(request, await channel_json(db, channel_id))


async def delete_products_batch(request: web.Request) -> web.Response:
    channel_id, body = request.match_info["id"], await parse(request, ProductsBody)
    async with transaction(request) as db:
        await remove_products(db, channel_id, [product.id for product in body.product_ids])
        return json_bytes(request, await channel_json(db, channel_id))


async def channel_json(db: Db, channel_id: str) -> str:
    """`{"sales_channel": ...}`."""
    return await one(db, "sales_channel", SALES_CHANNEL, chosen(SALES_CHANNEL), channel_id)


async def notify_inventory(app: web.Application, channel_id: str) -> None:
    """After the commit: stock locations show the channel as it is, and products what is left for sale."""
    async with app[POOL].acquire() as db:
        changed = await doc(db, "sales_channel", channel_id, CHANNEL_KINDS)
    reply = await remote.notify_sales_channel(app, changed) if changed["copies"]["sales_channel"] else {}
    if reply.get("variants"):
        async with app[POOL].acquire() as db, db.transaction():
            await store_availability(db, reply)


async def keep_locations(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """The command `sales_channel_locations`: {copies: {kind: [document]}} -> {}. What the event brings, at once."""
    await copies.store(db, "sales_channel_location", body["copies"]["sales_channel_location"])
    return {}


OPERATIONS = [
    web.get("/admin/sales-channels", get_sales_channels),
    web.post("/admin/sales-channels", post_sales_channels),
    web.get("/admin/sales-channels/{id}", get_sales_channel),
    web.post("/admin/sales-channels/{id}", post_sales_channel),
    web.delete("/admin/sales-channels/{id}", delete_sales_channel),
    web.post("/admin/sales-channels/{id}/products/batch", post_products_batch),
    web.delete("/admin/sales-channels/{id}/products/batch", delete_products_batch),
]
COMMANDS: Mapping[str, CommandHandler] = {"sales_channel_locations": keep_locations}
LISTENERS: Mapping[str, Listener] = {
    "stock-location.updated": copies.on_copies,
    "stock-location.deleted": copies.on_copies,
}
