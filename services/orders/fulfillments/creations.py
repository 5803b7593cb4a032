"""Creating fulfillments of the lines of an order, a swap or a claim (owners.py).

Without a location, and without a provider that is asked over a network, everything happens here, in one transaction.
Otherwise a recorded saga asks the inventory first, then the providers, and compensates both when the rows cannot be
written. The ids are made beforehand, so that asking twice moves the stock once, and requests one fulfillment.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import ApiError, Conflict, NotAllowed
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.outbox import emit
from services.chassis.saga_rows import states
from services.chassis.sagas import Saga, Step, begin
from services.orders import remote, status
from services.orders.fulfillment_providers import answer_of, any_remote, is_remote, provider
from services.orders.fulfillments.owners import (
    ORDER,
    OWNERS,
    Owner,
    access_owner,
    check_alive,
    event_of,
    lines_of,
    ship,
)


@dataclass(frozen=True)
class PlannedFulfillment:
    """A fulfillment to be made, with its quantities by line."""

    id: str
    provider_id: str
    items: dict[str, int]


@dataclass(frozen=True)
class FulfillmentPlan:
    """All that one request fulfills. `no_notification` is for the event. With `links` (tracking_number, url, metadata
    of each) there is one fulfillment, which is shipped at once."""

    owner: str
    owner_id: str
    order_id: str
    fulfillments: list[PlannedFulfillment]
    location_id: str | None
    no_notification: bool | None
    metadata: dict[str, Any] | None
    links: list[dict[str, Any]] | None = None

    @property
    def quantities(self) -> dict[str, int]:
        return {item_id: quantity for planned in self.fulfillments for item_id, quantity in planned.items.items()}


def plan_of(saga: Saga) -> FulfillmentPlan:
    """What a saga was begun with."""
    state = {name: value for name, value in saga.state.items() if name not in ("variants", "requests")}
    planned = [PlannedFulfillment(**each) for each in state["fulfillments"]]
    return FulfillmentPlan(**state | {"fulfillments": planned})


def split_by_method(
    quantities: Mapping[str, int], lines: Sequence[Mapping[str, Any]], methods: Sequence[Mapping[str, Any]]
) -> list[PlannedFulfillment]:
    """One fulfillment for each shipping method that gets lines: a line goes with the method of its product's shipping
    profile, or with the first method when none has it."""
    profile = {line["id"]: line["profile_id"] for line in lines}
    items: list[dict[str, int]] = [{} for _ in methods]
    for item_id, quantity in quantities.items():
        fitting = (n for n, method in enumerate(methods) if method["profile_id"] == profile[item_id])
        items[next(fitting, 0)][item_id] = quantity
    return [
        PlannedFulfillment(new_id("ful"), method["provider_id"], of_method)
        for method, of_method in zip(methods, items, strict=True)
        if of_method
    ]


# Actions

METHODS = """
select profile_id, provider_id from shipping_methods where {column} = $1 and return_id is null order by position
"""
# $1 owner, $2 location, $3 metadata, $4 $5 ids and providers, $6 $7 $8 their items, $9 the owner's status
WRITE_FULFILLMENTS = """
with added as (
    insert into fulfillments (id, {column}, provider_id, location_id, metadata)
    select f.id, $1, f.provider_id, $2, $3::text::jsonb from unnest($4::text[], $5::text[]) as f(id, provider_id)
), added_items as (
    insert into fulfillment_items (fulfillment_id, item_id, quantity)
    select * from unnest($6::text[], $7::text[], $8::int[])
), counted as (
    update line_items li set fulfilled_quantity = coalesce(li.fulfilled_quantity, 0) + i.quantity, updated_at = now()
    from unnest($7::text[], $8::int[]) as i(item_id, quantity) where li.id = i.item_id
)
update {table} set fulfillment_status = $9, updated_at = now() where id = $1
"""


async def plan_fulfillments(
    db: Db,
    owner: Owner,
    row: Mapping[str, Any],
    quantities: Mapping[str, int] | None,
    *,
    location_id: str | None = None,
    no_notification: bool | None = None,
    metadata: dict[str, Any] | None = None,
) -> FulfillmentPlan:
    """What is to be written: these quantities by line, or all that the owner has. `row` comes from `access_owner`.

    Raises NotAllowed, NotFound for another's line, InvalidData when there is nothing to fulfill, and Conflict while the
    same is being fulfilled.
    """
    check_alive(owner, row, "fulfilled")
    owner_id = row["id"]
    lines, methods = await lines_of(db, owner, owner_id), await db.fetch(owner.sql(METHODS), owner_id)
    if quantities is None:
        quantities = {line["id"]: line["quantity"] for line in lines}
    if not methods:
        raise NotAllowed(f"This {owner.noun} has no shipping method, so that it cannot be fulfilled; add one first.")
    status.check_fulfillable(status.lines_of(lines), quantities)
    order_id = owner_id if owner is ORDER else row["order_id"]
    await check_left(db, order_id, status.lines_of(lines), quantities)
    fulfillments = split_by_method(quantities, lines, methods)
    for planned in fulfillments:
        provider(planned.provider_id)
    return FulfillmentPlan(owner.noun, owner_id, order_id, fulfillments, location_id, no_notification, metadata)


async def check_left(db: Db, order_id: str, lines: Sequence[status.Line], quantities: Mapping[str, int]) -> None:
    """Raises Conflict when what is being fulfilled at a location leaves too little. Whoever came second would find out
    only when its rows are written, and give back a reservation that the line does not need any more."""
    under_way = Counter[str]()
    for state in await states(db, ("fulfill",), "order_id", order_id):
        for planned in state["fulfillments"] if state["location_id"] is not None else ():
            under_way.update(planned["items"])
    for line in lines:
        if quantities.get(line.id, 0) > line.quantity - line.fulfilled - under_way[line.id]:
            raise Conflict(f"Another request (fulfill) is at work on line {line.id}; try again when it is done.")


async def write_fulfillments(db: Db, plan: FulfillmentPlan) -> None:
    """Write the rows, in one statement, and emit the events. The order is locked, the quantities are checked.

    `no_notification` is for the event: the row keeps what is said when it ships (docs/behaviour/orders.md).
    """
    owner = OWNERS[plan.owner]
    lines = status.lines_of(await lines_of(db, owner, plan.owner_id))
    items = [
        (planned.id, item_id, quantity) for planned in plan.fulfillments for item_id, quantity in planned.items.items()
    ]
    await db.execute(
        owner.sql(WRITE_FULFILLMENTS),
        plan.owner_id,
        plan.location_id,
        json_or_null(plan.metadata),
        [planned.id for planned in plan.fulfillments],
        [planned.provider_id for planned in plan.fulfillments],
        *(list(column) for column in zip(*items, strict=True)),
        status.after_fulfillment(status.fulfilled(lines, plan.quantities)),
    )
    for planned in plan.fulfillments:
        data = event_of(
            plan.owner,
            plan.owner_id,
            plan.order_id,
            fulfillment_id=planned.id,
            location_id=plan.location_id,
            items=[{"item_id": item_id, "quantity": quantity} for item_id, quantity in planned.items.items()],
            no_notification=plan.no_notification,
        )
        await emit(db, f"{plan.owner}.fulfillment_created", plan.owner_id, data)
    if plan.links is not None:
        await ship_at_once(db, plan, plan.links)


# $1 the fulfillment, $2 its links in the order of their numbers
SET_LINKS = """
update tracking_links t set url = w.url, metadata = w.metadata
from (select id, row_number() over (order by position) as n from tracking_links where fulfillment_id = $1) l
join rows from (jsonb_to_recordset($2::text::jsonb) as (url text, metadata jsonb)) with ordinality
    as w(url, metadata, n) using (n)
where t.id = l.id
"""


async def ship_at_once(db: Db, plan: FulfillmentPlan, links: Sequence[Mapping[str, Any]]) -> None:
    """Ship the one fulfillment that this transaction has written."""
    owner, fulfillment_id = OWNERS[plan.owner], plan.fulfillments[0].id
    row = await access_owner(db, owner, plan.order_id, plan.owner_id, "end_saga")
    numbers = [link["tracking_number"] for link in links]
    await ship(
        db,
        owner,
        row,
        fulfillment_id,
        numbers,
        stored=plan.no_notification,
        no_notification=row["no_notification"] if plan.no_notification is None else plan.no_notification,
    )
    await db.execute(SET_LINKS, fulfillment_id, json_text(links))


# With a location, or with providers to ask: a saga


async def take_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Take what is fulfilled out of stock. When the inventory refuses one fulfillment, those before it go back."""
    plan, variants = plan_of(saga), saga.state["variants"]
    if plan.location_id is None:
        return {}
    for planned in plan.fulfillments:
        items = [
            {"line_item_id": item_id, "variant_id": variants[item_id], "quantity": quantity}
            for item_id, quantity in planned.items.items()
            if variants[item_id] is not None
        ]
        try:
            await remote.fulfill(app, saga.key(f"stock:{planned.id}"), planned.id, plan.location_id, items)
        except ApiError as error:
            if error.status < 500 and planned is not plan.fulfillments[0]:
                await give_stock_back(app, saga)
            raise
    return {}


async def give_stock_back(app: web.Application, saga: Saga) -> None:
    plan = plan_of(saga)
    for planned in plan.fulfillments if plan.location_id is not None else ():
        compensates = saga.key(f"stock:{planned.id}")
        await remote.compensate_fulfill(app, saga.key(f"unstock:{planned.id}"), planned.id, compensates)


async def request_from_providers(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Request the fulfillments from their providers; what each answers, by fulfillment. When one refuses, those that
    were requested before it are canceled."""
    answers: dict[str, Any] = {}
    for planned in plan_of(saga).fulfillments:
        if not is_remote(planned.provider_id):
            continue
        requested, key = saga.state["requests"][planned.id], saga.key(f"provider:{planned.id}")
        try:
            answer = provider(planned.provider_id).create(requested, key)
            answers[planned.id] = await answer_of(planned.provider_id, answer)
        except ApiError as error:
            if error.status < 500:
                await cancel_at_providers(saga, answers)
            raise
    return answers


async def compensate_providers(app: web.Application, saga: Saga) -> None:
    """Cancel all fulfillments at their providers; of one that was under way nobody knows whether it was requested."""
    known = saga.results.get("provider") or {}
    ids = [planned.id for planned in plan_of(saga).fulfillments if is_remote(planned.provider_id)]
    await cancel_at_providers(saga, {fulfillment_id: known.get(fulfillment_id) for fulfillment_id in ids})


async def cancel_at_providers(saga: Saga, answers: Mapping[str, Any]) -> None:
    """Cancel these fulfillments at their providers; `answers` are what these answered when they were requested."""
    for planned in plan_of(saga).fulfillments:
        if planned.id in answers:
            row, key = {"id": planned.id, "data": answers[planned.id]}, saga.key(f"provider-cancel:{planned.id}")
            await answer_of(planned.provider_id, provider(planned.provider_id).cancel(row, key))


SET_DATA = """
update fulfillments f set data = d.value from jsonb_each($1::text::jsonb) d where f.id = d.key
"""


async def commit_fulfillments(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again, for the owner may have changed meanwhile, and write."""
    plan = plan_of(saga)
    owner = OWNERS[plan.owner]
    row = await access_owner(db, owner, plan.order_id, plan.owner_id, "write_fulfillments", saga.id)
    check_alive(owner, row, "fulfilled")
    lines = status.lines_of(await lines_of(db, owner, plan.owner_id))
    status.check_fulfillable(lines, plan.quantities)
    await write_fulfillments(db, plan)
    await db.execute(SET_DATA, json_text(saga.results.get("provider") or {}))
    return {"fulfillment_ids": [planned.id for planned in plan.fulfillments]}


FULFILL = (
    Step("stock", do=take_stock, compensate=give_stock_back),
    Step("provider", do=request_from_providers, compensate=compensate_providers),
    Step("rows", commit=commit_fulfillments),
)
SAGAS = {"fulfill": FULFILL}

VARIANTS = "select id, variant_id from line_items where id = any($1::text[])"
# What a provider gets to know of a fulfillment besides its id and its quantities. $1 the order, $2 the owner.
REQUESTED = """
select json_build_object(
    'order', (select json_build_object(
        'id', o.id, 'display_id', o.display_id, 'email', o.email, 'currency_code', o.currency_code,
        'shipping_address', (select to_jsonb(a) - array['metadata', 'customer_id', 'created_at', 'updated_at',
            'deleted_at'] from addresses a where a.id = o.shipping_address_id)
    ) from orders o where o.id = $1),
    'methods', (select coalesce(json_agg(json_build_object(
        'provider_id', m.provider_id, 'shipping_option_id', m.shipping_option_id, 'data', m.data
    ) order by m.position), '[]') from shipping_methods m where m.{column} = $2 and m.return_id is null),
    'items', (select json_object_agg(l.id, json_build_object(
        'item_id', l.id, 'title', l.title, 'description', l.description, 'variant_id', l.variant_id,
        'unit_price', l.unit_price, 'metadata', l.metadata
    )) from line_items l where l.{column} = $2)
)::text
"""


async def requests_of(db: Db, plan: FulfillmentPlan) -> dict[str, Any]:
    """What the providers are asked for, by fulfillment; nothing where none is asked over a network."""
    if not any(is_remote(planned.provider_id) for planned in plan.fulfillments):
        return {}
    parts = orjson.loads(await db.fetchval(OWNERS[plan.owner].sql(REQUESTED), plan.order_id, plan.owner_id))
    return {
        planned.id: {
            "id": planned.id,
            "order": parts["order"],
            "location_id": plan.location_id,
            "method": next((m for m in parts["methods"] if m["provider_id"] == planned.provider_id), None),
            "items": [parts["items"][id_] | {"quantity": quantity} for id_, quantity in planned.items.items()],
        }
        for planned in plan.fulfillments
    }


def asks_others(location_id: str | None) -> bool:
    """Whether the inventory is asked before the rows are written, or perhaps a provider over a network."""
    return location_id is not None or any_remote()


async def begin_fulfillments(db: Db, plan: FulfillmentPlan, request: web.Request | None = None) -> Saga:
    """The saga that asks the inventory and the providers, and then writes."""
    rows = await db.fetch(VARIANTS, list(plan.quantities))
    variants = {row["id"]: row["variant_id"] for row in rows}
    state = asdict(plan) | {"variants": variants, "requests": await requests_of(db, plan)}
    return await begin(db, "fulfill", plan.fulfillments[0].id, state, request)
