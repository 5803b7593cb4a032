"""The stock that is set aside for an order's lines. It is the inventory's: seen from an order, asked for by command."""

from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import reading
from services.chassis.errors import NotFound
from services.chassis.http import Body, actor, json_bytes, parse
from services.chassis.idempotency import HEADER
from services.chassis.ids import new_id
from services.chassis.params import check_known, integer, query_of, word
from services.orders import remote, status

LINES = """
select array(select id from line_items where order_id = o.id order by created_at, position) as ids
from orders o where o.id = $1
"""
LINE = """
select o.status, li.variant_id, li.quantity, li.quantity - coalesce(li.fulfilled_quantity, 0) as unfulfilled
from line_items li join orders o on o.id = li.order_id where li.id = $2 and o.id = $1
"""


class ReserveBody(Body):
    location_id: Annotated[str, Field(min_length=1)]
    quantity: Annotated[int, Field(ge=1, lt=2**31)] | None = None


async def get_reservations(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_known(query, ("limit", "offset", "order"))
    page: dict[str, Any] = {"limit": integer(query, "limit", 20), "offset": integer(query, "offset", 0)}
    if "order" in query:
        page["order"] = word("order", query["order"])
    async with reading(request) as db:
        row = await db.fetchrow(LINES, order_id)
    if row is None:
        raise NotFound(f"There is no order {order_id}.")
    reply = await remote.reservations(request.app, page | {"line_item_ids": row["ids"]})
    return json_bytes(request, orjson.dumps(reply))


async def post_reserve(request: web.Request) -> web.Response:
    """Without a quantity, the whole line. Sent again under the same Idempotency-Key, it reserves once."""
    order_id, line_id = request.match_info["id"], request.match_info["line_item_id"]
    body = await parse(request, ReserveBody)
    async with reading(request) as db:
        row = await db.fetchrow(LINE, order_id, line_id)
    if row is None:
        raise NotFound(f"Order {order_id} has no line {line_id}.")
    status.check_alive(row["status"], "given a reservation")
    if row["variant_id"] is None:
        raise NotFound(f"Line {line_id} is of nothing that is kept in stock.")
    wanted = {
        "line_item_id": line_id,
        "variant_id": row["variant_id"],
        "location_id": body.location_id,
        "quantity": body.quantity or row["quantity"],
        "unfulfilled_quantity": row["unfulfilled"],
        "created_by": actor(request),
    }
    sent = request.headers.get(HEADER)
    key = f"{actor(request)}:{line_id}:{sent}" if sent else new_id("reserve")
    return json_bytes(request, orjson.dumps(await remote.reserve_line(request.app, key, wanted)))


# For the documentation (services/chassis/openapi.py): what the inventory replies.
ANSWERS = {
    "get_reservations": {"reservations": [dict], "count": int, "offset": int, "limit": int},
    "post_reserve": {"reservation": dict},
}

ROUTES = [
    web.get("/admin/orders/{id}/reservations", get_reservations),
    web.post("/admin/orders/{id}/line-items/{line_item_id}/reserve", post_reserve),
]
