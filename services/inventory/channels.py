"""Which stock locations serve which sales channel."""

from typing import Any

import orjson
from aiohttp import web

from services.chassis.db import Db, transaction
from services.chassis.documents import Docs
from services.chassis.embed import Resource, Selection, one_json
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.operations import delete, post
from services.chassis.outbox import emit_all
from services.chassis.schemas import deleted
from services.inventory.ledger import Availability, availability, lock_items
from services.inventory.links import KIND, emit_links, gone, shown
from services.inventory.locations import STOCKED_ITEMS, access_location
from services.inventory.remote import check_channels, notify_availability, notify_links

CHANNEL = Resource("copies", {"sales_channel": "{t}.body"})
LOCK_LOCATION = "select id from stock_locations where id = $1 for update"
LINK_LOCATION = """
insert into channel_locations (sales_channel_id, location_id) values ($1, $2) on conflict do nothing returning id
"""
UNLINK_LOCATION = "delete from channel_locations where sales_channel_id = $1 and location_id = $2 returning id"
LOCK_CHANNEL = """
select l.id from stock_locations l join channel_locations c on c.location_id = l.id
where c.sales_channel_id = $1 order by l.id for update of l
"""
CHANNEL_ITEMS = """
select v.inventory_item_id as id from inventory_levels v
join channel_locations c on c.location_id = v.location_id where c.sales_channel_id = $1
"""
UNLINK_ALL = "delete from channel_locations where sales_channel_id = $1 returning id, location_id"


# Bodies


class LocationOfChannel(Body):
    location_id: str


# Actions


async def link_location(db: Db, channel_id: str, location_id: str) -> tuple[Availability, Docs]:
    """Raises NotFound for an unknown location. Returns what `notify_availability` and `notify_links` get."""
    await access_location(db, location_id)
    link_id = await db.fetchval(LINK_LOCATION, channel_id, location_id)
    return await changed_links(db, channel_id, location_id, await shown(db, link_id)) if link_id else ([], [])


async def unlink_location(db: Db, channel_id: str, location_id: str) -> tuple[Availability, Docs]:
    """No link: nothing happens. Returns what `notify_availability` and `notify_links` get."""
    await db.fetch(LOCK_LOCATION, location_id)
    link_id = await db.fetchval(UNLINK_LOCATION, channel_id, location_id)
    return await changed_links(db, channel_id, location_id, gone([link_id])) if link_id else ([], [])


async def changed_links(db: Db, channel_id: str, location_id: str, links: Docs) -> tuple[Availability, Docs]:
    """Emit it. What the location stocks is available to others than before."""
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(STOCKED_ITEMS, location_id)])
    numbered = await emit_links(db, "stock-location.updated", location_id, {"sales_channel_id": channel_id}, links)
    return await availability(db, item_ids), numbered


async def forget_channel(db: Db, channel_id: str) -> Availability:
    """The channel is gone: what only it sold is no longer available. Once more, nothing happens."""
    await db.fetch(LOCK_CHANNEL, channel_id)
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(CHANNEL_ITEMS, channel_id)])
    links = await db.fetch(UNLINK_ALL, channel_id)
    if not links:
        return []
    events = {
        link["location_id"]: {
            "id": link["location_id"],
            "sales_channel_id": channel_id,
            "copies": {KIND: gone([link["id"]])},
        }
        for link in links
    }
    await emit_all(db, "stock-location.updated", events)
    return await availability(db, item_ids)


# Handlers


async def post_channel_location(request: web.Request, channel_id: str, body: LocationOfChannel) -> web.Response:
    await check_channels(request.app, [channel_id])
    async with transaction(request) as db:
        changed, links = await link_location(db, channel_id, body.location_id)
        where = "{t}.kind = 'sales_channel' and {t}.id = $1"
        text: Any = await one_json(db, CHANNEL, Selection(("sales_channel",), ()), where, channel_id)
        if text is None:
            raise NotFound(f"There is no sales channel {channel_id}.")
        answer = json_bytes(request, text)
    await notify_availability(request.app, changed)
    await notify_links(request.app, links)
    return answer


async def delete_channel_location(request: web.Request, channel_id: str, body: LocationOfChannel) -> web.Response:
    async with transaction(request) as db:
        changed, links = await unlink_location(db, channel_id, body.location_id)
    await notify_availability(request.app, changed)
    await notify_links(request.app, links)
    return json_bytes(request, orjson.dumps({"id": channel_id, "object": "stock-location", "deleted": True}))


LOCATION_EXAMPLE = {"location_id": "sloc_01J0000000000000000000000"}
OPERATIONS = [
    post(
        "/admin/sales-channels/{id}/stock-locations",
        post_channel_location,
        "Add a stock location to a sales channel",
        description="What the location stocks can be sold in the channel from now on.",
        body=LocationOfChannel,
        example=LOCATION_EXAMPLE,
        answer=CHANNEL,
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    delete(
        "/admin/sales-channels/{id}/stock-locations",
        delete_channel_location,
        "Remove a stock location from a sales channel",
        description="What only the location stocks is no longer available in the channel; reservations stay.",
        body=LocationOfChannel,
        example=LOCATION_EXAMPLE,
        answer=deleted("stock-location"),
        errors=(NotFound,),
        asks_others=True,
    ),
]
