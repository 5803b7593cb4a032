"""Packing lines of an order, and unpacking them again. With a location, its stock moves along.

Without a location everything happens here, in one transaction, and no other service is asked. With one, the inventory
is asked first, in a recorded saga: packing is undone there when the rows cannot be written, unpacking is tried until it
is done. The ids are made beforehand, so that asking twice moves the stock once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import asyncpg
import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, transaction
from services.chassis.errors import ApiError, NotAllowed, NotFound
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.chassis.params import query_of
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.orders import remote, status
from services.orders.orders import access_order, order_lines
from services.orders.reads import check_order_query, written_order_json

LARGEST = 2**31 - 1


class FulfillmentItem(Body):
    item_id: str
    quantity: Annotated[int, Field(ge=1, le=LARGEST)]


class FulfillmentBody(Body):
    items: Annotated[list[FulfillmentItem], Field(min_length=1)]
    location_id: str | None = None
    no_notification: bool | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Parcel:
    """A fulfillment to be made: what goes into it, and who carries it."""

    id: str
    provider_id: str
    items: dict[str, int]


@dataclass(frozen=True)
class Packing:
    """All that one request packs."""

    order_id: str
    parcels: list[Parcel]
    location_id: str | None
    no_notification: bool | None
    metadata: dict[str, Any]

    @property
    def quantities(self) -> dict[str, int]:
        return {item_id: quantity for parcel in self.parcels for item_id, quantity in parcel.items.items()}


def packing_of(saga: Saga) -> Packing:
    """What a saga was begun with."""
    state = {name: value for name, value in saga.state.items() if name != "variants"}
    return Packing(**state | {"parcels": [Parcel(**parcel) for parcel in state["parcels"]]})


def parcels(
    asked: Mapping[str, int], lines: Sequence[Mapping[str, Any]], methods: Sequence[Mapping[str, Any]]
) -> list[Parcel]:
    """One parcel for each shipping method that carries something: a line goes with the method of its product's shipping
    profile, or with the first method when none has it."""
    profile = {line["id"]: line["profile_id"] for line in lines}
    packed: list[dict[str, int]] = [{} for _ in methods]
    for item_id, quantity in asked.items():
        fitting = (n for n, method in enumerate(methods) if method["profile_id"] == profile[item_id])
        packed[next(fitting, 0)][item_id] = quantity
    return [
        Parcel(new_id("ful"), method["provider_id"], items)
        for method, items in zip(methods, packed, strict=True)
        if items
    ]


# Actions

METHODS = """
select profile_id, provider_id from shipping_methods where order_id = $1 and return_id is null order by position
"""
# $2 location, $3 metadata, $4 $5 ids and providers, $6 $7 $8 their items, $9 the order's status
WRITE = """
with made as (
    insert into fulfillments (id, order_id, provider_id, location_id, metadata)
    select f.id, $1, f.provider_id, $2, $3::text::jsonb from unnest($4::text[], $5::text[]) as f(id, provider_id)
), packed as (
    insert into fulfillment_items (fulfillment_id, item_id, quantity)
    select * from unnest($6::text[], $7::text[], $8::int[])
), counted as (
    update line_items li set fulfilled_quantity = coalesce(li.fulfilled_quantity, 0) + i.quantity, updated_at = now()
    from unnest($7::text[], $8::int[]) as i(item_id, quantity) where li.id = i.item_id
)
update orders set fulfillment_status = $9, updated_at = now() where id = $1
"""
FIND = """
select id, provider_id, location_id, no_notification, shipped_at is not null as shipped,
    canceled_at is not null as canceled
from fulfillments where id = $1 and order_id = $2
"""
ITEMS = "select item_id, quantity from fulfillment_items where fulfillment_id = $1 order by item_id"
CANCEL = """
with canceled as (
    update fulfillments set canceled_at = now(), updated_at = now() where id = $1
), counted as (
    update line_items li set fulfilled_quantity = greatest(coalesce(li.fulfilled_quantity, 0) - fi.quantity, 0),
        updated_at = now()
    from fulfillment_items fi where fi.fulfillment_id = $1 and li.id = fi.item_id
)
update orders set fulfillment_status = 'canceled', updated_at = now() where id = $2
"""


async def plan_fulfillment(db: Db, order_id: str, body: FulfillmentBody) -> tuple[Packing, list[asyncpg.Record]]:
    """What is to be packed, and the lines of the order, which is locked. Raises NotFound or NotAllowed."""
    order = await access_order(db, order_id)
    status.check_alive(order["status"], "fulfilled")
    lines, methods = await order_lines(db, order_id), await db.fetch(METHODS, order_id)
    asked = status.asked_quantities((item.item_id, item.quantity) for item in body.items)
    status.check_fulfillable(status.lines_of(lines), asked)
    if not methods:
        raise NotAllowed("An order without a shipping method cannot be fulfilled; add one to it first.")
    made = parcels(asked, lines, methods)
    return Packing(order_id, made, body.location_id, body.no_notification, body.metadata or {}), lines


async def write_fulfillments(db: Db, packing: Packing, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows, in one statement, and say so. The order is locked, the quantities are checked.

    `no_notification` is for the event: the row keeps what is said when it ships (reference/after-sales.md, Swaps).
    """
    packed = status.packed(status.lines_of(lines), packing.quantities)
    items = [(p.id, item_id, quantity) for p in packing.parcels for item_id, quantity in p.items.items()]
    await db.execute(
        WRITE,
        packing.order_id,
        packing.location_id,
        orjson.dumps(packing.metadata).decode(),
        [parcel.id for parcel in packing.parcels],
        [parcel.provider_id for parcel in packing.parcels],
        *(list(column) for column in zip(*items, strict=True)),
        status.after_fulfillment(packed),
    )
    for parcel in packing.parcels:
        data = {
            "id": packing.order_id,
            "fulfillment_id": parcel.id,
            "location_id": packing.location_id,
            "items": [{"item_id": item_id, "quantity": quantity} for item_id, quantity in parcel.items.items()],
            "no_notification": packing.no_notification,
        }
        await emit(db, "order.fulfillment_created", packing.order_id, data)


async def access_fulfillment(db: Db, order_id: str, fulfillment_id: str) -> asyncpg.Record:
    """The fulfillment of this order, whose row is locked. Raises NotFound."""
    row = await db.fetchrow(FIND, fulfillment_id, order_id)
    if row is None:
        raise NotFound(f"Order {order_id} has no fulfillment {fulfillment_id}.")
    return row


async def check_cancel(db: Db, order_id: str, fulfillment_id: str) -> asyncpg.Record:
    """The fulfillment, if it may be canceled, the order locked. Raises NotFound or NotAllowed."""
    await access_order(db, order_id)
    fulfillment = await access_fulfillment(db, order_id, fulfillment_id)
    status.check_unpackable(shipped=fulfillment["shipped"], canceled=fulfillment["canceled"])
    return fulfillment


async def write_cancel(db: Db, order_id: str, fulfillment: Mapping[str, Any]) -> None:
    """Take the quantities back and say so."""
    await db.execute(CANCEL, fulfillment["id"], order_id)
    data = {
        "id": order_id,
        "fulfillment_id": fulfillment["id"],
        "location_id": fulfillment["location_id"],
        "no_notification": fulfillment["no_notification"],
    }
    await emit(db, "order.fulfillment_canceled", order_id, data)


# With a location: sagas


async def take_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Have the inventory take what goes into the parcels. When it refuses one, those before it go back."""
    packing, variants = packing_of(saga), saga.state["variants"]
    for parcel in packing.parcels:
        items = [
            {"line_item_id": item_id, "variant_id": variants[item_id], "quantity": quantity}
            for item_id, quantity in parcel.items.items()
            if variants[item_id] is not None
        ]
        try:
            await remote.fulfill(app, saga.key(f"stock:{parcel.id}"), parcel.id, packing.location_id or "", items)
        except ApiError as error:
            if error.status < 500 and parcel is not packing.parcels[0]:
                await give_stock_back(app, saga)
            raise
    return {}


async def give_stock_back(app: web.Application, saga: Saga) -> None:
    for parcel in packing_of(saga).parcels:
        undoes = saga.key(f"stock:{parcel.id}")
        await remote.undo_fulfill(app, saga.key(f"unstock:{parcel.id}"), parcel.id, undoes)


async def commit_fulfillment(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again, for the order may have changed meanwhile, and write."""
    packing = packing_of(saga)
    order = await access_order(db, packing.order_id, saga_id=saga.id)
    status.check_alive(order["status"], "fulfilled")
    lines = await order_lines(db, packing.order_id)
    status.check_fulfillable(status.lines_of(lines), packing.quantities)
    await write_fulfillments(db, packing, lines)
    return {"fulfillment_ids": [parcel.id for parcel in packing.parcels]}


async def return_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    return await remote.cancel_fulfillment(app, saga.key("stock"), saga.state["fulfillment_id"])


async def commit_cancel(db: Db, saga: Saga) -> dict[str, Any]:
    """Nothing else could touch the fulfillment meanwhile: shipping it and canceling it ask for this saga."""
    order_id, fulfillment_id = saga.state["order_id"], saga.state["fulfillment_id"]
    await access_order(db, order_id, unless=())
    await write_cancel(db, order_id, await access_fulfillment(db, order_id, fulfillment_id))
    return {}


FULFILL = (Step("stock", do=take_stock, undo=give_stock_back), Step("rows", commit=commit_fulfillment))
CANCEL_FULFILLMENT = (Step("stock", do=return_stock, no_return=True), Step("rows", commit=commit_cancel))
SAGAS = {"fulfill": FULFILL, "cancel_fulfillment": CANCEL_FULFILLMENT}


# Handlers


async def post_fulfillment(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    body = await parse(request, FulfillmentBody)
    if body.location_id is None:
        async with transaction(request) as db:
            await write_fulfillments(db, *await plan_fulfillment(db, order_id, body))
            return json_bytes(request, await written_order_json(db, order_id, query))
    async with intention(request) as (db, saga):
        if saga is None:
            packing, lines = await plan_fulfillment(db, order_id, body)
            variants = {line["id"]: line["variant_id"] for line in lines}
            state = asdict(packing) | {"variants": {item_id: variants[item_id] for item_id in packing.quantities}}
            saga = await begin(db, "fulfill", packing.parcels[0].id, state, request)
    await run(request.app, FULFILL, saga)
    async with transaction(request) as db:
        return json_bytes(request, await written_order_json(db, order_id, query))


async def post_cancel_fulfillment(request: web.Request) -> web.Response:
    order_id, fulfillment_id = request.match_info["id"], request.match_info["fulfillment_id"]
    query = query_of(request)
    check_order_query(query)
    async with intention(request) as (db, saga):
        if saga is None:
            fulfillment = await check_cancel(db, order_id, fulfillment_id)
            if fulfillment["location_id"] is not None:
                state = {"order_id": order_id, "fulfillment_id": fulfillment_id}
                saga = await begin(db, "cancel_fulfillment", fulfillment_id, state, request)
    if saga is not None:
        await run(request.app, CANCEL_FULFILLMENT, saga)
    async with transaction(request) as db:
        if saga is None:
            await write_cancel(db, order_id, await check_cancel(db, order_id, fulfillment_id))
        return json_bytes(request, await written_order_json(db, order_id, query))


ROUTES = [
    web.post("/admin/orders/{id}/fulfillment", post_fulfillment),
    web.post("/admin/orders/{id}/fulfillments/{fulfillment_id}/cancel", post_cancel_fulfillment),
]
