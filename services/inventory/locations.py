"""/admin/stock-locations: where stock lies, with an address for each place that has one."""

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field, StringConstraints

from services.chassis.db import Db, reading, transaction
from services.chassis.documents import Docs
from services.chassis.embed import Page, Selection, one_json, page_json, page_query
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.operations import delete, get, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Query, dates, described, search, texts
from services.chassis.queries import Parameters, one, schemas_of_list
from services.chassis.schemas import Rows, deleted, page_of
from services.inventory.ledger import Availability, availability, booked, lock_items
from services.inventory.links import emit_links, gone
from services.inventory.remote import check_channels, notify_availability, notify_links
from services.inventory.resources import CHANGED_LOCATION, LOCATION, LOCATION_FIELDS

LIMIT = 20
FILTERS = {
    "q": search("lower({t}.name) like {q}"),
    "id": texts("{t}.id"),
    "name": texts("{t}.name"),
    "address_id": texts("{t}.address_id"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("null::timestamptz"),
}
CHANNELS = (
    "exists (select from channel_locations l where l.location_id = {t}.id and l.sales_channel_id = any($1::text[]))"
)


# Bodies

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Address(Body):
    address_1: str
    address_2: str | None = None
    company: str | None = None
    city: str | None = None
    country_code: str
    phone: str | None = None
    postal_code: str | None = None
    province: str | None = None


class NewLocation(Body):
    name: Name
    address: Address | None = None
    address_id: str | None = None
    metadata: dict[str, Any] | None = None


class LocationChanges(Body):
    """A name is not trimmed here. `metadata` that is null stays as it is."""

    name: Annotated[str, Field(pattern=r"\S")] = "unchanged"
    address: Address | None = None
    address_id: str | None = None
    metadata: dict[str, Any] | None = None


# Actions

LOCK_LOCATION = "select id, address_id from stock_locations where id = $1 for update"
CREATE_LOCATION = """
insert into stock_locations (id, name, address_id, metadata)
select $1, $2, $3, case when m.sent is not null then merged_metadata(null, m.sent) end
from (select $4::text::jsonb as sent) m
"""
CREATE_ADDRESS = """
insert into location_addresses (id, address_1, address_2, company, city, country_code, phone, postal_code, province)
select $1, address_1, address_2, company, city, country_code, phone, postal_code, province
from jsonb_populate_record(null::location_addresses, $2::text::jsonb)
"""
# The properties that were sent over those that are there.
UPDATE_ADDRESS = """
update location_addresses a
set address_1 = n.address_1, address_2 = n.address_2, company = n.company, city = n.city,
    country_code = n.country_code, phone = n.phone, postal_code = n.postal_code, province = n.province,
    updated_at = now()
from location_addresses old, jsonb_populate_record(old, $2::text::jsonb) n
where old.id = $1 and a.id = old.id
returning a.id
"""
UPDATE_LOCATION = """
update stock_locations l
set name = n.name, address_id = n.address_id, updated_at = now(),
    metadata = case
        when coalesce($2::text::jsonb -> 'metadata', 'null') = 'null' then l.metadata
        else merged_metadata(l.metadata, $2::text::jsonb -> 'metadata')
    end
from stock_locations old, jsonb_populate_record(old, $2::text::jsonb) n
where old.id = $1 and l.id = old.id
"""
STOCKED_ITEMS = "select inventory_item_id as id from inventory_levels where location_id = $1"
CLOSE_LEVELS = booked("""
    select inventory_item_id, location_id, -stocked_quantity as stocked, -reserved_quantity as reserved,
           -incoming_quantity as incoming
    from inventory_levels where location_id = $4
""")
DELETE_RESERVATIONS = "delete from reservations where location_id = $1"
DELETE_LEVELS = "delete from inventory_levels where location_id = $1"
DELETE_LINKS = "delete from channel_locations where location_id = $1 returning id"
DELETE_LOCATION = "delete from stock_locations where id = $1"


async def access_location(db: Db, location_id: str) -> Any:
    """Lock the location and return its row. Raises NotFound."""
    row = await db.fetchrow(LOCK_LOCATION, location_id)
    if row is None:
        raise NotFound(f"There is no stock location {location_id}.")
    return row


async def create_location(db: Db, body: NewLocation) -> str:
    location_id, address_id = new_id("sloc"), body.address_id
    if body.address is not None:
        address_id = await create_address(db, body.address)
    metadata = json_or_null(body.metadata)
    await db.execute(CREATE_LOCATION, location_id, body.name, address_id, metadata)
    await emit(db, "stock-location.created", location_id, {"id": location_id, "name": body.name})
    return location_id


async def create_address(db: Db, address: Address) -> str:
    address_id = new_id("laddr")
    await db.execute(CREATE_ADDRESS, address_id, json_text(address.model_dump()))
    return address_id


async def update_location(db: Db, location_id: str, body: LocationChanges) -> None:
    """An address given changes the location's own row in place, also when other locations share it."""
    row = await access_location(db, location_id)
    changes = body.model_dump(include=body.model_fields_set - {"address"})
    if body.address is not None:
        sent = json_text(body.address.model_dump(exclude_unset=True))
        if not await db.fetchval(UPDATE_ADDRESS, changes.get("address_id", row["address_id"]), sent):
            changes["address_id"] = await create_address(db, body.address)
    await db.execute(UPDATE_LOCATION, location_id, json_text(changes))
    await emit(db, "stock-location.updated", location_id, {"id": location_id})


async def delete_location(db: Db, location_id: str, user: str) -> tuple[Availability, Docs]:
    """With its links, levels and reservations. Unknown: nothing happens. Returns what `notify_availability` and
    `notify_links` get."""
    if await db.fetchrow(LOCK_LOCATION, location_id) is None:
        return [], []
    item_ids = await lock_items(db, [row["id"] for row in await db.fetch(STOCKED_ITEMS, location_id)])
    await db.execute(DELETE_RESERVATIONS, location_id)
    await db.fetchval(CLOSE_LEVELS, "closed", location_id, user, location_id)
    await db.execute(DELETE_LEVELS, location_id)
    link_ids = [row["id"] for row in await db.fetch(DELETE_LINKS, location_id)]
    await db.execute(DELETE_LOCATION, location_id)
    links = await emit_links(db, "stock-location.deleted", location_id, {}, gone(link_ids))
    return await availability(db, item_ids), links


# What is shown


@dataclass(frozen=True)
class LocationsView:
    """A page of locations, and the sales channels whose locations are asked for."""

    page: Page
    channel_ids: list[str] | None


def locations_view(query: Query) -> LocationsView:
    """All locations, or those of the sales channels that the query names. Raises InvalidData."""
    channels = query.pop("sales_channel_id", None)
    if channels is None:
        return LocationsView(page_query(LOCATION, query, FILTERS, limit=LIMIT, fields=LOCATION_FIELDS), None)
    OF_CHANNEL("sales_channel_id", channels, lambda _: "")
    channel_ids = [channels] if isinstance(channels, str) else channels
    page = page_query(
        LOCATION, query, FILTERS, limit=LIMIT, fields=LOCATION_FIELDS, where=CHANNELS, args=(channel_ids,)
    )
    return LocationsView(page, channel_ids)


async def location_json(db: Db, location_id: str, chosen: Selection) -> str:
    """`{"stock_location": ...}` as JSON text, without sales channels. Raises NotFound."""
    text = await one_json(db, CHANGED_LOCATION, chosen, "{t}.id = $1", location_id)
    if text is None:
        raise NotFound(f"There is no stock location {location_id}.")
    return f'{{"stock_location":{text}}}'


OF_CHANNEL = described(texts(""), "Only locations of one of these sales channels.")
LOCATIONS = Parameters(
    locations_view,
    schemas_of_list({"sales_channel_id": OF_CHANNEL, **FILTERS}, LIMIT),
    Rows((LOCATION,), narrowed=True),
)
SHOWN = one(LOCATION, fields=LOCATION_FIELDS)
CHANGED = one(CHANGED_LOCATION, fields=LOCATION_FIELDS)

# Handlers


async def get_locations(request: web.Request, view: LocationsView) -> web.Response:
    if view.channel_ids is not None:
        await check_channels(request.app, view.channel_ids, some=True)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "stock_locations", view.page))


async def post_location(db: Db, chosen: Selection, body: NewLocation) -> str:
    return await location_json(db, await create_location(db, body), chosen)


async def post_location_changes(db: Db, location_id: str, chosen: Selection, body: LocationChanges) -> str:
    await update_location(db, location_id, body)
    return await location_json(db, location_id, chosen)


async def delete_stock_location(request: web.Request, location_id: str) -> web.Response:
    async with transaction(request) as db:
        changed, links = await delete_location(db, location_id, actor(request))
        answer = orjson.dumps({"id": location_id, "object": "stock_location", "deleted": True})
    await notify_availability(request.app, changed)
    await notify_links(request.app, links)
    return json_bytes(request, answer)


OPERATIONS = [
    get(
        "/admin/stock-locations",
        get_locations,
        "List stock locations",
        description="Refused with 404 when none of the sales channels that are named exists.",
        query=LOCATIONS,
        answer=page_of("stock_locations", LOCATIONS.rows),
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/stock-locations",
        post_location,
        "Create a stock location",
        description="With an address of its own (`address`), or one that is there (`address_id`).",
        query=CHANGED,
        body=NewLocation,
        example={"name": "Berlin", "address": {"address_1": "Hauptstrasse 1", "city": "Berlin", "country_code": "de"}},
        answer={"stock_location": CHANGED.rows},
    ),
    showing("/admin/stock-locations/{id}", "stock_location", LOCATION, "Get a stock location", query=SHOWN),
    post(
        "/admin/stock-locations/{id}",
        post_location_changes,
        "Update a stock location",
        description="What is not sent stays. An address that is sent changes the location's own, also where other "
        "locations share it.",
        query=CHANGED,
        body=LocationChanges,
        example={"name": "Berlin Mitte"},
        answer={"stock_location": CHANGED.rows},
        errors=(NotFound,),
    ),
    delete(
        "/admin/stock-locations/{id}",
        delete_stock_location,
        "Delete a stock location",
        description="With its levels and reservations, and its links to sales channels. A location that is not there "
        "is no error.",
        answer=deleted("stock_location"),
        asks_others=True,
    ),
]
