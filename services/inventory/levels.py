"""Levels: how much of an item is in stock, reserved and on its way, at one location."""

from dataclasses import dataclass
from typing import Annotated

import asyncpg
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.embed import Selection, one_query, page_sql
from services.chassis.errors import Duplicate, NotAllowed, NotFound
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, get, post
from services.chassis.outbox import emit
from services.chassis.params import Query, Values, described, texts
from services.chassis.queries import Parameters
from services.chassis.schemas import Rows
from services.inventory.items import ITEM_ANSWER, SHOWN, access_item, item_json, whole
from services.inventory.ledger import Availability, availability, booked
from services.inventory.remote import notify_availability
from services.inventory.resources import LEVEL, LEVEL_FIELDS, STOCKED_ITEM, WHOLE_ITEM

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


# What is shown


@dataclass(frozen=True)
class LevelsView:
    """The levels of an item that a request shows."""

    chosen: Selection
    where: str
    args: tuple[object, ...]


def levels_view(query: Query, item_id: str) -> LevelsView:
    """The levels of the item, at the locations that the query names. Raises InvalidData."""
    query = whole(query)
    where, values, locations = "{t}.inventory_item_id = $1", Values([item_id]), query.pop("location_id", None)
    chosen = one_query(LEVEL, query, fields=LEVEL_FIELDS)
    if locations is not None:
        where += " and " + AT_LOCATION("location_id", locations, values.bind)
    return LevelsView(chosen, where, tuple(values.args))


AT_LOCATION = described(texts("{t}.location_id"), "Only levels at these locations.")
LEVELS = Parameters(levels_view, {"location_id": AT_LOCATION.schema, **SHOWN.schemas})

# Handlers


async def get_levels(db: Db, item_id: str, view: LevelsView) -> str:
    """`{"inventory_item": {"id", "location_levels"}}` as JSON text; no levels for an item that does not exist."""
    sql = page_sql(LEVEL, view.chosen, view.where, "{t}.created_at, {t}.id", "null", "0")
    rows, _ = await db.fetchrow(sql, *view.args)
    return f'{{"inventory_item":{{"id":{json_text(item_id)},"location_levels":{rows}}}}}'


async def post_level(request: web.Request, item_id: str, chosen: Selection, body: NewLevel) -> web.Response:
    async with transaction(request) as db:
        changed = await create_level(db, item_id, body, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, chosen))
    await notify_availability(request.app, changed)
    return answer


async def post_level_changes(
    request: web.Request, item_id: str, location_id: str, chosen: Selection, body: LevelChanges
) -> web.Response:
    async with transaction(request) as db:
        changed = await update_level(db, item_id, location_id, body, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, chosen))
    await notify_availability(request.app, changed)
    return answer


async def delete_location_level(request: web.Request, item_id: str, location_id: str) -> web.Response:
    async with transaction(request) as db:
        changed = await delete_level(db, item_id, location_id, actor(request))
        answer = json_bytes(request, await item_json(db, item_id, WHOLE_ITEM))
    await notify_availability(request.app, changed)
    return answer


OPERATIONS = [
    get(
        "/admin/inventory-items/{id}/location-levels",
        get_levels,
        "List the levels of an item",
        description="An item that is not there has none, which is no error.",
        query=LEVELS,
        answer={"inventory_item": {"id": str, "location_levels": [Rows((LEVEL,), narrowed=True)]}},
    ),
    post(
        "/admin/inventory-items/{id}/location-levels",
        post_level,
        "Stock an item at a location",
        description="Refused with 422 where it is stocked already.",
        query=SHOWN,
        body=NewLevel,
        example={"location_id": "sloc_01J0000000000000000000000", "stocked_quantity": 10},
        answer=ITEM_ANSWER,
        errors=(NotFound, Duplicate),
        asks_others=True,
    ),
    post(
        "/admin/inventory-items/{id}/location-levels/{location_id}",
        post_level_changes,
        "Update a level",
        description="The quantities as counted, in place of those that are there; what is not sent stays.",
        query=SHOWN,
        body=LevelChanges,
        example={"stocked_quantity": 12},
        answer=ITEM_ANSWER,
        errors=(NotFound,),
        asks_others=True,
    ),
    delete(
        "/admin/inventory-items/{id}/location-levels/{location_id}",
        delete_location_level,
        "Delete a level",
        description="The item is no longer stocked there. Refused while any of it is reserved there.",
        answer={"inventory_item": Rows((STOCKED_ITEM,))},
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
]
