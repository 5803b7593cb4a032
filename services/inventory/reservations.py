"""Reservations by hand: stock set aside, for a line of an order or for anything else."""

from dataclasses import replace
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Page, Selection, one_json, page_json, page_query
from services.chassis.errors import Conflict, InvalidData, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import delete, get, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Query, compared, dates, number, text, texts
from services.chassis.queries import Parameters, schemas_of_list
from services.chassis.schemas import Rows, deleted, page_of
from services.inventory.items import matching
from services.inventory.ledger import Availability, availability, booked, lock_items, lock_lines
from services.inventory.line_versions import Room, ask_room, check_version
from services.inventory.remote import notify_availability, refresh_lines
from services.inventory.resources import LISTED_RESERVATION, RESERVATION, WHOLE_RESERVATION

LIMIT = 20
FILTERS = {
    "location_id": texts("{t}.location_id"),
    "inventory_item_id": texts("{t}.inventory_item_id", array_only=True),
    "line_item_id": texts("{t}.line_item_id", array_only=True),
    "created_by": texts("{t}.created_by", array_only=True),
    "quantity": compared("{t}.quantity", number, "double precision", bare=False),
    "description": matching("{t}.description", text("{t}.description")),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}

# Bodies

Quantity = Annotated[int, Field(ge=1, lt=2**31)]


class NewReservation(Body):
    location_id: str
    inventory_item_id: str
    quantity: Quantity
    line_item_id: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class ReservationChanges(Body):
    """`metadata` replaces what is there as a whole."""

    location_id: str = ""
    quantity: Quantity = 1
    description: str | None = None
    metadata: dict[str, Any] | None = None


# Actions

LEVEL_AT = "select id from inventory_levels where inventory_item_id = $1 and location_id = $2"
RESERVED_FOR = "select coalesce(sum(quantity), 0) from reservations where line_item_id = $1 and id <> $2"
RESERVATION_ROW = "select id, inventory_item_id, line_item_id, location_id, quantity from reservations where id = $1"
# $4 the reservation
CREATE_RESERVATION = booked(
    "select inventory_item_id, location_id, 0 as stocked, quantity as reserved, 0 as incoming from created",
    first="""created as (
    insert into reservations
        (id, line_item_id, inventory_item_id, location_id, quantity, description, created_by, metadata)
    select id, line_item_id, inventory_item_id, location_id, quantity, description, created_by,
           nullif(metadata, 'null')
    from jsonb_populate_record(null::reservations, $4::text::jsonb)
    returning inventory_item_id, location_id, quantity
),""",
)
# $4 the id, $5 the properties that were sent
UPDATE_RESERVATION = booked(
    """
    select inventory_item_id, location_id, 0 as stocked, -quantity as reserved, 0 as incoming from old
    union all
    select inventory_item_id, location_id, 0, quantity, 0 from updated
    """,
    first="""old as (
    select * from reservations where id = $4
), updated as (
    update reservations r
    set location_id = n.location_id, quantity = n.quantity, description = n.description,
        metadata = nullif(n.metadata, 'null'), updated_at = now()
    from reservations o, jsonb_populate_record(o, $5::text::jsonb) n
    where o.id = $4 and r.id = o.id
    returning r.inventory_item_id, r.location_id, r.quantity
),""",
)
DELETE_RESERVATION = booked(
    "select inventory_item_id, location_id, 0 as stocked, -quantity as reserved, 0 as incoming from gone",
    first="""gone as (
    delete from reservations where id = $4 returning inventory_item_id, location_id, quantity
),""",
)


async def check_stocked(db: Db, item_id: str, location_id: str) -> None:
    """Raises NotFound where the item, which is locked, has no level."""
    if not await db.fetchval(LEVEL_AT, item_id, location_id):
        raise NotFound(f"{item_id} is not stocked at {location_id}.")


async def check_line(db: Db, room: Room, quantity: int, but: str = "") -> None:
    """Raises InvalidData when the line's reservations, without the one `but`, would exceed what is unfulfilled, and
    Conflict when that is no longer known."""
    await check_version(db, room)
    line, limit = room.line_item_id, room.quantity
    if await db.fetchval(RESERVED_FOR, line, but) + quantity > limit:
        raise InvalidData(f"Only {limit} of line {line} are still to be fulfilled; reserve no more than that.")


async def create_reservation(db: Db, facts: dict[str, Any], room: Room | None) -> tuple[str, Availability]:
    """The new reservation's id, and what `notify_availability` gets. Stock is no limit; the room of its line is, if it
    has one."""
    reservation_id, item_id = new_id("resitem"), facts["inventory_item_id"]
    if room is not None:
        await lock_lines(db, [facts["line_item_id"]])
    await lock_items(db, [item_id])
    await check_stocked(db, item_id, facts["location_id"])
    if room is not None:
        await check_line(db, room, facts["quantity"])
    row = json_text(facts | {"id": reservation_id})
    await db.fetchval(CREATE_RESERVATION, "reservation", reservation_id, facts["created_by"], row)
    await emit_reservation(db, "created", reservation_id, facts)
    return reservation_id, await availability(db, [item_id])


async def update_reservation(
    db: Db, reservation_id: str, changes: dict[str, Any], room: Room | None, user: str
) -> Availability:
    """Raises NotFound for an unknown reservation, or a location that does not stock its item."""
    reservation = await access_reservation(db, reservation_id)
    if reservation is None:
        raise NotFound(f"There is no reservation {reservation_id}.")
    if "location_id" in changes:
        await check_stocked(db, reservation["inventory_item_id"], changes["location_id"])
    if reservation["line_item_id"] and changes.get("quantity", 0) > reservation["quantity"]:
        if room is None or room.line_item_id != reservation["line_item_id"]:
            raise Conflict("The reservation was changed at this very moment; look at it, and try again.")
        await check_line(db, room, changes["quantity"], but=reservation_id)
    await db.fetchval(UPDATE_RESERVATION, "reservation", reservation_id, user, reservation_id, json_text(changes))
    await emit_reservation(db, "updated", reservation_id, dict(reservation) | changes)
    return await availability(db, [reservation["inventory_item_id"]])


async def delete_reservation(db: Db, reservation_id: str, user: str) -> Availability:
    """Unknown: nothing happens. Returns what `notify_availability` gets."""
    reservation = await access_reservation(db, reservation_id)
    if reservation is None:
        return []
    await db.fetchval(DELETE_RESERVATION, "reservation", reservation_id, user, reservation_id)
    await emit_reservation(db, "deleted", reservation_id, dict(reservation))
    return await availability(db, [reservation["inventory_item_id"]])


async def access_reservation(db: Db, reservation_id: str) -> Any:
    """The reservation, with its line and its item locked; None when there is none."""
    reservation = await db.fetchrow(RESERVATION_ROW, reservation_id)
    if reservation is None:
        return None
    if reservation["line_item_id"]:
        await lock_lines(db, [reservation["line_item_id"]])
    await lock_items(db, [reservation["inventory_item_id"]])
    return await db.fetchrow(RESERVATION_ROW, reservation_id)


async def emit_reservation(db: Db, what: str, reservation_id: str, facts: dict[str, Any]) -> None:
    names = ("inventory_item_id", "location_id", "line_item_id", "quantity")
    await emit(
        db,
        f"reservation-item.{what}",
        reservation_id,
        {"id": reservation_id} | {name: facts.get(name) for name in names},
    )


# What is shown


async def reservation_json(db: Db, reservation_id: str) -> str:
    """`{"reservation": ...}` as JSON text, with all columns. Raises NotFound."""
    text = await one_json(db, RESERVATION, WHOLE_RESERVATION, "{t}.id = $1", reservation_id)
    if text is None:
        raise NotFound(f"There is no reservation {reservation_id}.")
    return f'{{"reservation":{text}}}'


def reservations_page(query: Query) -> Page:
    """The page that a list asks for. What is expanded is joined over an id that must be among the fields."""
    page = page_query(RESERVATION, query, FILTERS, limit=LIMIT, fields=LISTED_RESERVATION)
    shown = tuple(pair for pair in page.chosen.tree if f"{pair[0]}_id" in page.chosen.fields)
    return replace(page, chosen=Selection(page.chosen.fields, shown))


RESERVATIONS = Parameters(
    reservations_page,
    schemas_of_list(FILTERS, LIMIT),
    Rows((RESERVATION,), narrowed=True),
)
ANSWER = {"reservation": RESERVATION}

# Handlers


async def get_reservations(request: web.Request, page: Page) -> web.Response:
    if any(name == "line_item" for name, _ in page.chosen.tree):
        ids = replace(page, chosen=Selection(("line_item_id",), ()))
        async with reading(request) as db:
            rows = orjson.loads(await page_json(db, "reservations", ids))["reservations"]
        await refresh_lines(request.app, sorted({row["line_item_id"] for row in rows} - {None}))
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "reservations", page))


async def post_reservation(request: web.Request, body: NewReservation) -> web.Response:
    room = None if body.line_item_id is None else await ask_room(request.app, body.line_item_id)
    async with transaction(request) as db:
        facts = body.model_dump() | {"created_by": actor(request)}
        reservation_id, changed = await create_reservation(db, facts, room)
        answer = json_bytes(request, await reservation_json(db, reservation_id))
    await notify_availability(request.app, changed)
    return answer


async def post_reservation_changes(request: web.Request, reservation_id: str, body: ReservationChanges) -> web.Response:
    changes, room = body.model_dump(exclude_unset=True), None
    if "quantity" in changes:
        row = await request.app[POOL].fetchrow(RESERVATION_ROW, reservation_id)
        if row and row["line_item_id"] and changes["quantity"] > row["quantity"]:
            room = await ask_room(request.app, row["line_item_id"])
    async with transaction(request) as db:
        changed = await update_reservation(db, reservation_id, changes, room, actor(request))
        answer = json_bytes(request, await reservation_json(db, reservation_id))
    await notify_availability(request.app, changed)
    return answer


async def delete_reservation_item(request: web.Request, reservation_id: str) -> web.Response:
    async with transaction(request) as db:
        changed = await delete_reservation(db, reservation_id, actor(request))
    await notify_availability(request.app, changed)
    return json_bytes(request, orjson.dumps({"id": reservation_id, "object": "reservation", "deleted": True}))


OPERATIONS = [
    get(
        "/admin/reservations",
        get_reservations,
        "List reservations",
        description="Those that orders made and those by hand. `expand=line_item` asks orders for the lines.",
        query=RESERVATIONS,
        answer=page_of("reservations", RESERVATIONS.rows),
        asks_others=True,
    ),
    post(
        "/admin/reservations",
        post_reservation,
        "Create a reservation",
        description="Stock is no limit. For a line of an order, what of it is still to be fulfilled is: refused with "
        "400 over that, and with 409 while the line is being fulfilled or edited.",
        body=NewReservation,
        example={
            "location_id": "sloc_01J0000000000000000000000",
            "inventory_item_id": "iitem_01J0000000000000000000000",
            "quantity": 2,
        },
        answer=ANSWER,
        errors=(NotFound, InvalidData, Conflict, Unavailable),
        asks_others=True,
    ),
    showing("/admin/reservations/{id}", "reservation", RESERVATION, "Get a reservation"),
    post(
        "/admin/reservations/{id}",
        post_reservation_changes,
        "Update a reservation",
        description="What is not sent stays. A larger quantity for a line of an order is limited as in creating it.",
        body=ReservationChanges,
        example={"quantity": 1},
        answer=ANSWER,
        errors=(NotFound, InvalidData, Conflict, Unavailable),
        asks_others=True,
    ),
    delete(
        "/admin/reservations/{id}",
        delete_reservation_item,
        "Delete a reservation",
        description="The stock is available again. A reservation that is not there is no error.",
        answer=deleted("reservation"),
        asks_others=True,
    ),
]
