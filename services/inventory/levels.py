"""Levels: how much of an item is in stock, reserved and on its way, at one location."""

from typing import Annotated

import asyncpg
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Selection, one_query, page_sql
from services.chassis.errors import Duplicate, NotAllowed, NotFound
from services.chassis.http import Body, actor, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.outbox import emit
from services.chassis.params import Values, query_of, texts
from services.inventory.items import access_item, chosen_fields, item_json, whole
from services.inventory.ledger import Availability, availability, booked
from services.inventory.remote import notify_availability
from services.inventory.resources import LEVEL, LEVEL_FIELDS, WHOLE_ITEM

# Bodies

Count = Annotated[int, Field(ge=0, lt=2**31)]


class NewLevel(Body):
    """Less than nothing in stock is accepted here, as in Medusa: sold before it was counted."""

    location_id: str
    stocked_quantity: Annotated[int, Field(gt=-(2**31), lt=2**31)]
    incoming_quantity: Count = 0


class LevelChanges(Body):
    stocked_quantity: Count = 0
    incoming_quantity: Count = 0


# Actions

LOCK_LOCATION = "select id from stock_locations where id = $1 for key share"
# The ledger's line is the level's first: it goes from nothing to what is stocked.
CREATE_LEVEL = """
with level as (
    insert into inventory_levels (id, inventory_item_id, location_id, stocked_quantity, incoming_quantity)
    values ($1, $2, $3, $4, $5)
    returning inventory_item_id, location_id, stocked_quantity, incoming_quantity
)
insert into stock_ledger (inventory_item_id, location_id, stocked, reserved, incoming, cause, actor)
select inventory_item_id, location_id, stocked_quantity, 0, incoming_quantity, 'adjustment', $6 from level
"""
# A quantity that was not sent is null and stays.
UPDATE_LEVEL = booked(
    """
    select inventory_item_id, location_id, coalesce($6::bigint, stocked_quantity) - stocked_quantity as stocked,
           0 as reserved, coalesce($7::bigint, incoming_quantity) - incoming_quantity as incoming
    from inventory_levels where inventory_item_id = $4 and location_id = $5
    """,
    "select id from moved",
)
LEVEL_AT = "select id, reserved_quantity from inventory_levels where inventory_item_id = $1 and location_id = $2"
CLOSE_LEVEL = booked("""
    select inventory_item_id, location_id, -stocked_quantity as stocked, -reserved_quantity as reserved,
           -incoming_quantity as incoming
    from inventory_levels where inventory_item_id = $4 and location_id = $5
""")
DELETE_LEVEL = "delete from inventory_levels where inventory_item_id = $1 and location_id = $2"


async def create_level(db: Db, item_id: str, body: NewLevel, user: str) -> Availability:
    """Raises NotFound for an unknown item or location, Duplicate when the item has a level there."""
    known = await db.fetchval(LOCK_LOCATION, body.location_id)
    await access_item(db, item_id)
    if not known:
        raise NotFound(f"There is no stock location {body.location_id}.")
    level_id, counts = new_id("ilev"), (body.stocked_quantity, body.incoming_quantity)
    try:
        await db.execute(CREATE_LEVEL, level_id, item_id, body.location_id, *counts, user)
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"{item_id} has a level at {body.location_id} already; change that one.") from None
    await emit_level(db, "created", level_id, item_id, body.location_id)
    return await availability(db, [item_id])


async def update_level(db: Db, item_id: str, location_id: str, body: LevelChanges, user: str) -> Availability:
    """Raises NotFound where the item is not stocked."""
    await access_item(db, item_id)
    sent = [getattr(body, n) if n in body.model_fields_set else None for n in ("stocked_quantity", "incoming_quantity")]
    level_id = await db.fetchval(UPDATE_LEVEL, "adjustment", None, user, item_id, location_id, *sent)
    if level_id is None:
        raise NotFound(f"{item_id} is not stocked at {location_id}.")
    await emit_level(db, "updated", level_id, item_id, location_id)
    return await availability(db, [item_id])


async def delete_level(db: Db, item_id: str, location_id: str, user: str) -> Availability:
    """Not stocked there: nothing happens. Raises NotAllowed while anything is reserved there."""
    await access_item(db, item_id)
    level = await db.fetchrow(LEVEL_AT, item_id, location_id)
    if level is None:
        return []
    if level["reserved_quantity"]:
        raise NotAllowed(f"Stock of {item_id} is reserved at {location_id}; delete the reservations first.")
    await db.fetchval(CLOSE_LEVEL, "closed", None, user, item_id, location_id)
    await db.execute(DELETE_LEVEL, item_id, location_id)
    await emit_level(db, "deleted", level["id"], item_id, location_id)
    return await availability(db, [item_id])


async def emit_level(db: Db, what: str, level_id: str, item_id: str, location_id: str) -> None:
    data = {"id": level_id, "inventory_item_id": item_id, "location_id": location_id}
    await emit(db, f"inventory-level.{what}", level_id, data)


# Handlers


async def levels_json(db: Db, item_id: str, chosen: Selection, where: str, values: Values) -> str:
    """`{"inventory_item": {"id", "location_levels"}}` as JSON text; no levels for an item that does not exist."""
    sql = page_sql(LEVEL, chosen, where, "{t}.created_at, {t}.id", "null", "0")
    rows, _ = await db.fetchrow(sql, *values.args)
    return f'{{"inventory_item":{{"id":{json_text(item_id)},"location_levels":{rows}}}}}'


async def get_levels(request: web.Request) -> web.Response:
    item_id, query = request.match_info["id"], whole(query_of(request))
    where, values, locations = "{t}.inventory_item_id = $1", Values([item_id]), query.pop("location_id", None)
    chosen = one_query(LEVEL, query, fields=LEVEL_FIELDS)
    if locations is not None:
        where += " and " + texts("{t}.location_id")("location_id", locations, values.bind)
    async with reading(request) as db:
        return json_bytes(request, await levels_json(db, item_id, chosen, where, values))


async def post_level(request: web.Request) -> web.Response:
    item_id, body = request.match_info["id"], await parse(request, NewLevel)
    chosen = chosen_fields(query_of(request))
    async with transaction(request) as db:
        changed = await create_level(db, item_id, body, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, chosen))
    await notify_availability(request.app, changed)
    return answer


async def post_level_changes(request: web.Request) -> web.Response:
    item_id, location_id = request.match_info["id"], request.match_info["location_id"]
    body, chosen = await parse(request, LevelChanges), chosen_fields(query_of(request))
    async with transaction(request) as db:
        changed = await update_level(db, item_id, location_id, body, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, chosen))
    await notify_availability(request.app, changed)
    return answer


async def delete_location_level(request: web.Request) -> web.Response:
    item_id, location_id = request.match_info["id"], request.match_info["location_id"]
    async with transaction(request) as db:
        changed = await delete_level(db, item_id, location_id, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, WHOLE_ITEM))
    await notify_availability(request.app, changed)
    return answer


OPERATIONS = [
    web.get("/admin/inventory-items/{id}/location-levels", get_levels),
    web.post("/admin/inventory-items/{id}/location-levels", post_level),
    web.post("/admin/inventory-items/{id}/location-levels/{location_id}", post_level_changes),
    web.delete("/admin/inventory-items/{id}/location-levels/{location_id}", delete_location_level),
]
