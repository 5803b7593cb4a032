"""The stock that is set aside for an order's lines. It is the inventory's: seen from an order, asked for by command.

How much of a line may be reserved is known here. What is at work on its order may be about to change that, or has
changed it and the reservations have not followed yet; then nothing is reserved. What is begun later finds the
reservation, or makes a new version of the line, by which the inventory knows that the answer is too old
(services/inventory/line_versions.py).
"""

from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.operations import get, post
from services.chassis.params import DATE, TEXT, WHOLE_NUMBER, Query, check_known, integer, word
from services.chassis.queries import GENERAL, Parameters
from services.chassis.saga_rows import running_sql
from services.chassis.schemas import Json, page_of
from services.orders import remote
from services.orders.concurrency import WAITS_FOR, conflict

LINES_OF_ORDER = """
select array(select id from line_items where order_id = o.id order by created_at, position) as ids
from orders o where o.id = $1
"""
# Of orders, swaps, claims and open drafts; $1 the line, $2 kinds of sagas.
LINE_NOW = f"""
select l.*, ({running_sql("$2::text[]", "'order_id'", "l.order_id")} limit 1) as busy
from (
    select coalesce(li.order_id, s.order_id, c.order_id) as order_id, li.order_id is not null as of_order,
        li.variant_id, li.quantity, li.quantity - coalesce(li.fulfilled_quantity, 0) as unfulfilled,
        coalesce(o.canceled_at, s.canceled_at, c.canceled_at) is not null as canceled
    from line_items li
    left join swaps s on s.id = li.swap_id
    left join claims c on c.id = li.claim_order_id
    left join orders o on o.id = li.order_id
    where li.id = $1
) l
where l.order_id is not null
    or exists (select from line_items li join draft_orders d using (cart_id) where li.id = $1 and d.status = 'open')
"""  # noqa: S608 - the text is ours


class ReserveBody(Body):
    location_id: Annotated[str, Field(min_length=1)]
    """The stock location to reserve at."""
    quantity: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """How many units; the whole line by default."""


KNOWN_PARAMETERS = ("limit", "offset", "order", "fields")
DEFAULT_LIMIT = 20


def reservations_page(query: Query, *_path: str) -> dict[str, Any]:
    """The page that the inventory is asked for. Raises InvalidData."""
    check_known(query, KNOWN_PARAMETERS)
    page: dict[str, Any] = {"limit": integer(query, "limit", DEFAULT_LIMIT), "offset": integer(query, "offset", 0)}
    return page | {name: word(name, query[name]) for name in ("order", "fields") if name in query}


RESERVATIONS = Parameters(
    reservations_page,
    {name: GENERAL[name] for name in KNOWN_PARAMETERS} | {"limit": GENERAL["limit"] | {"default": DEFAULT_LIMIT}},
)
TEXT_OR_NULL = {"type": ["string", "null"]}
# A row of the inventory's (services/inventory/resources.py).
RESERVATION = {
    "id": TEXT,
    "created_at": DATE,
    "updated_at": DATE,
    "line_item_id": TEXT_OR_NULL,
    "inventory_item_id": TEXT,
    "location_id": TEXT,
    "quantity": WHOLE_NUMBER,
    "external_id": TEXT_OR_NULL,
    "description": TEXT_OR_NULL,
    "created_by": TEXT_OR_NULL,
    "metadata": {"type": ["object", "null"]},
    "deleted_at": {"type": "null"},
}
CHOSEN_RESERVATION = {"type": "object", "properties": RESERVATION, "required": ["id"], "additionalProperties": False}
WHOLE_RESERVATION = CHOSEN_RESERVATION | {"required": list(RESERVATION)}


async def access_line(db: Db, line_id: str) -> Any:
    """The line as it is now, of something that is not canceled. Raises NotFound, NotAllowed, and Conflict while
    something is at work on the stock of its order."""
    row = await db.fetchrow(LINE_NOW, line_id, list(WAITS_FOR["reserve_line"]))
    if row is None:
        raise NotFound(f"There is no line item {line_id}.")
    if row["busy"]:
        raise conflict(row["busy"])
    if row["canceled"]:
        raise NotAllowed(f"Line {line_id} is of something that was canceled; it needs no stock.")
    return row


async def unfulfilled(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{"line_item_id"} -> {"quantity"}: how much of a line of an order, a swap, a claim or a draft is to be fulfilled.
    Raises NotFound, NotAllowed for what was canceled, and Conflict while that is about to change."""
    return {"quantity": (await access_line(db, body["line_item_id"]))["unfulfilled"]}


async def get_reservations(request: web.Request, order_id: str, page: dict[str, Any]) -> web.Response:
    async with reading(request) as db:
        row = await db.fetchrow(LINES_OF_ORDER, order_id)
    if row is None:
        raise NotFound(f"There is no order {order_id}.")
    reply = await remote.reservations(request.app, page | {"line_item_ids": row["ids"]})
    return json_bytes(request, orjson.dumps(reply))


async def post_reserve(request: web.Request, order_id: str, line_id: str, body: ReserveBody) -> web.Response:
    version = await remote.line_version(request.app, line_id)
    async with reading(request) as db:
        row = await access_line(db, line_id)
    if not row["of_order"] or row["order_id"] != order_id:
        raise NotFound(f"Order {order_id} has no line {line_id}.")
    if row["variant_id"] is None:
        raise NotFound(f"Line {line_id} is of nothing that is kept in stock.")
    reservation = {
        "line_item_id": line_id,
        "variant_id": row["variant_id"],
        "location_id": body.location_id,
        "quantity": body.quantity or row["quantity"],
        "unfulfilled_quantity": row["unfulfilled"],
        "version": version,
        "created_by": actor(request),
    }
    retry_key = request.headers.get(HEADER)
    key = f"{actor(request)}:{line_id}:{retry_key}" if retry_key else new_id("reserve")
    return json_bytes(request, orjson.dumps(await remote.reserve_line(request.app, key, reservation)))


OPERATIONS = [
    get(
        "/admin/orders/{id}/reservations",
        get_reservations,
        "List the reservations of an order",
        description="The stock that is set aside for its lines, by itself or by hand; the newest come first.",
        query=RESERVATIONS,
        answer=page_of("reservations", Json(CHOSEN_RESERVATION)),
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/orders/{id}/line-items/{line_item_id}/reserve",
        post_reserve,
        "Reserve stock for a line of an order",
        description="At a location that stocks the line's variant, whether or not there is enough of it. Refused with "
        "400 for more than is still to be fulfilled of the line, counting what is reserved already.",
        body=ReserveBody,
        example={"location_id": "sloc_01HBZ4R8V3A5", "quantity": 2},
        answer={"reservation": Json(WHOLE_RESERVATION)},
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
]
