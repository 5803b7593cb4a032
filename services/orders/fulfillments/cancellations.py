"""Canceling a fulfillment: its quantities can be fulfilled again (owners.py).

A provider that is asked over a network is asked first, and may refuse; what was taken from a location goes back into
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
from services.orders.fulfillment_providers import answer_of, is_remote, provider
from services.orders.fulfillments.owners import OWNERS, Owner, access_fulfillment, access_owner, event_of
from services.orders.settings import orders_settings

WRITE_CANCELLATION = """
with canceled as (
    update fulfillments set canceled_at = now(), updated_at = now() where id = $1
), counted as (
    update line_items li set fulfilled_quantity = greatest(coalesce(li.fulfilled_quantity, 0) - fi.quantity, 0),
        updated_at = now()
    from fulfillment_items fi where fi.fulfillment_id = $1 and li.id = fi.item_id
)
update {table} set fulfillment_status = 'canceled', updated_at = now() where id = $2
"""


async def access_cancelable(db: Db, owner: Owner, order_id: str, owner_id: str, fulfillment_id: str) -> asyncpg.Record:
    """The fulfillment, if it may be canceled, the order locked. Raises NotFound, NotAllowed or Conflict."""
    await access_owner(db, owner, order_id, owner_id, "cancel_fulfillment")
    fulfillment = await access_fulfillment(db, owner, owner_id, fulfillment_id)
    status.check_fulfillment_cancelable(shipped=fulfillment["shipped"], canceled=fulfillment["canceled"])
    return fulfillment


async def write_cancellation(
    db: Db, owner: Owner, order_id: str, owner_id: str, fulfillment: Mapping[str, Any]
) -> None:
    """Take the quantities back and emit the event."""
    await db.execute(owner.sql(WRITE_CANCELLATION), fulfillment["id"], owner_id)
    data = event_of(
        owner.noun,
        owner_id,
        order_id,
        fulfillment_id=fulfillment["id"],
        location_id=fulfillment["location_id"],
        no_notification=fulfillment["no_notification"],
    )
    await emit(db, f"{owner.noun}.fulfillment_canceled", owner_id, data)


async def cancel_fulfillment(db: Db, owner: Owner, order_id: str, owner_id: str, fulfillment_id: str) -> None:
    """Cancel a fulfillment about which nobody has to be asked. Raises NotFound, NotAllowed or Conflict."""
    fulfillment = await access_cancelable(db, owner, order_id, owner_id, fulfillment_id)
    await write_cancellation(db, owner, order_id, owner_id, fulfillment)


# With a location, or with a provider to ask: a saga

ITEMS = """
select l.id as line_item_id, l.variant_id, i.quantity from fulfillment_items i join line_items l on l.id = i.item_id
where i.fulfillment_id = $1 and l.variant_id is not null order by l.id
"""
DATA = "select provider_id, data::text from fulfillments where id = $1"


async def cancel_at_provider(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Have the provider cancel it; it may refuse."""
    fulfillment_id = saga.state["fulfillment_id"]
    row = await app[POOL].fetchrow(DATA, fulfillment_id)
    if not is_remote(row["provider_id"]):
        return {}
    fulfillment = {"id": fulfillment_id, "data": orjson.loads(row["data"])}
    answer = provider(row["provider_id"]).cancel(fulfillment, saga.key("provider-cancel"))
    return await answer_of(row["provider_id"], answer)


async def return_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    if not saga.state.get("located", True):
        return {}
    state = saga.state
    return await remote.cancel_fulfillment(
        app, saga.key("stock"), state["fulfillment_id"], state["order_id"], state.get("reserve", [])
    )


async def commit_cancellation(db: Db, saga: Saga) -> dict[str, Any]:
    """Nothing else could touch the fulfillment meanwhile: whoever ships or cancels it waits for this saga."""
    state = saga.state
    owner = OWNERS[state["owner"]]
    await access_owner(db, owner, state["order_id"], state["owner_id"], "end_saga")
    fulfillment = await access_fulfillment(db, owner, state["owner_id"], state["fulfillment_id"])
    await write_cancellation(db, owner, state["order_id"], state["owner_id"], fulfillment)
    return {}


CANCEL_FULFILLMENT = (
    Step("provider", do=cancel_at_provider, no_return=True),
    Step("stock", do=return_stock, no_return=True),
    Step("rows", commit=commit_cancellation),
)
SAGAS = {"cancel_fulfillment": CANCEL_FULFILLMENT}


async def begin_cancellation(
    db: Db, request: web.Request, owner: Owner, order_id: str, owner_id: str, fulfillment_id: str
) -> Saga | None:
    """The saga that cancels the fulfillment, the order locked; None where nobody is asked (`cancel_fulfillment`).
    Raises NotFound, NotAllowed or Conflict."""
    fulfillment = await access_cancelable(db, owner, order_id, owner_id, fulfillment_id)
    located = fulfillment["location_id"] is not None
    if not located and not is_remote(fulfillment["provider_id"]):
        return None
    reserves = located and orders_settings(request.app).reserve_stock == "on_placement"
    state = {
        "owner": owner.noun,
        "owner_id": owner_id,
        "order_id": order_id,
        "fulfillment_id": fulfillment_id,
        "located": located,
        "reserve": [dict(row) for row in await db.fetch(ITEMS, fulfillment_id)] if reserves else [],
    }
    return await begin(db, "cancel_fulfillment", fulfillment_id, state, request)
