"""A fulfillment is canceled: what it was packed of can be packed again (owners.py).

A provider that is asked over a network is told first, and may refuse; what was packed at a location goes back into
stock there: for the same lines, in an installation that reserves when orders are placed. Both happen in a recorded saga
that is tried until it is done.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg
import orjson
from aiohttp import web

from services.chassis.db import Db
from services.chassis.keys import POOL
from services.chassis.outbox import emit
from services.chassis.sagas import Saga, Step, begin
from services.orders import remote, status
from services.orders.fulfillment_providers import asked, is_remote, provider
from services.orders.fulfillments.owners import OWNERS, Owner, access_owner, access_parcel, event_of
from services.orders.settings import orders_settings

CANCEL = """
with canceled as (
    update fulfillments set canceled_at = now(), updated_at = now() where id = $1
), counted as (
    update line_items li set fulfilled_quantity = greatest(coalesce(li.fulfilled_quantity, 0) - fi.quantity, 0),
        updated_at = now()
    from fulfillment_items fi where fi.fulfillment_id = $1 and li.id = fi.item_id
)
update {table} set fulfillment_status = 'canceled', updated_at = now() where id = $2
"""


async def check_unpack(db: Db, owner: Owner, order_id: str, owner_id: str, parcel_id: str) -> asyncpg.Record:
    """The parcel, if it may be unpacked, the order locked. Raises NotFound, NotAllowed or Conflict."""
    await access_owner(db, owner, order_id, owner_id, "cancel_fulfillment")
    parcel = await access_parcel(db, owner, owner_id, parcel_id)
    status.check_unpackable(shipped=parcel["shipped"], canceled=parcel["canceled"])
    return parcel


async def write_unpack(db: Db, owner: Owner, order_id: str, owner_id: str, parcel: Mapping[str, Any]) -> None:
    """Take the quantities back and say so."""
    await db.execute(owner.sql(CANCEL), parcel["id"], owner_id)
    data = event_of(
        owner.noun,
        owner_id,
        order_id,
        fulfillment_id=parcel["id"],
        location_id=parcel["location_id"],
        no_notification=parcel["no_notification"],
    )
    await emit(db, f"{owner.noun}.fulfillment_canceled", owner_id, data)


ITEMS = """
select l.id as line_item_id, l.variant_id, i.quantity from fulfillment_items i join line_items l on l.id = i.item_id
where i.fulfillment_id = $1 and l.variant_id is not null order by l.id
"""
DATA = "select provider_id, data::text from fulfillments where id = $1"


async def tell_provider(app: web.Application, saga: Saga) -> dict[str, Any]:
    """The provider need not fetch it, or refuses to leave it."""
    parcel_id = saga.state["fulfillment_id"]
    row = await app[POOL].fetchrow(DATA, parcel_id)
    if not is_remote(row["provider_id"]):
        return {}
    parcel = {"id": parcel_id, "data": orjson.loads(row["data"])}
    return await asked(row["provider_id"], provider(row["provider_id"]).cancel(parcel, saga.key("uncarry")))


async def return_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    if not saga.state.get("located", True):
        return {}
    state = saga.state
    return await remote.cancel_fulfillment(
        app, saga.key("stock"), state["fulfillment_id"], state["order_id"], state.get("reserve", [])
    )


async def commit_unpack(db: Db, saga: Saga) -> dict[str, Any]:
    """Nothing else could touch the parcel meanwhile: shipping it and unpacking it ask for this saga."""
    state = saga.state
    owner = OWNERS[state["owner"]]
    await access_owner(db, owner, state["order_id"], state["owner_id"], "end_saga")
    parcel = await access_parcel(db, owner, state["owner_id"], state["fulfillment_id"])
    await write_unpack(db, owner, state["order_id"], state["owner_id"], parcel)
    return {}


CANCEL_FULFILLMENT = (
    Step("provider", do=tell_provider, no_return=True),
    Step("stock", do=return_stock, no_return=True),
    Step("rows", commit=commit_unpack),
)
SAGAS = {"cancel_fulfillment": CANCEL_FULFILLMENT}


async def begin_unpack(
    db: Db, request: web.Request, owner: Owner, order_id: str, owner_id: str, parcel_id: str
) -> Saga | None:
    """The saga that cancels the fulfillment, the order locked; None where nobody is asked first (`unpack`). Raises
    NotFound, NotAllowed or Conflict."""
    parcel = await check_unpack(db, owner, order_id, owner_id, parcel_id)
    located = parcel["location_id"] is not None
    if not located and not is_remote(parcel["provider_id"]):
        return None
    keeps = located and orders_settings(request.app).reserve_stock == "on_placement"
    state = {
        "owner": owner.noun,
        "owner_id": owner_id,
        "order_id": order_id,
        "fulfillment_id": parcel_id,
        "located": located,
        "reserve": [dict(row) for row in await db.fetch(ITEMS, parcel_id)] if keeps else [],
    }
    return await begin(db, "cancel_fulfillment", parcel_id, state, request)


async def unpack(db: Db, owner: Owner, order_id: str, owner_id: str, parcel_id: str) -> None:
    """Cancel a fulfillment about which nobody has to be asked. Raises NotFound, NotAllowed or Conflict."""
    parcel = await check_unpack(db, owner, order_id, owner_id, parcel_id)
    await write_unpack(db, owner, order_id, owner_id, parcel)
