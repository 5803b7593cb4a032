"""Packing lines of an order, a swap or a claim into parcels (owners.py).

Without a location, and without a provider that is asked over a network, everything happens here, in one transaction.
Otherwise a recorded saga asks the inventory first, then the providers, and compensates both when the rows cannot be
written. The ids are made beforehand, so that asking twice moves the stock once, and sends for one parcel.
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
from services.orders.fulfillment_providers import any_remote, asked, is_remote, provider
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
class Parcel:
    """A fulfillment to be made: what goes into it, and who carries it."""

    id: str
    provider_id: str
    items: dict[str, int]


@dataclass(frozen=True)
class Packing:
    """All that one request packs. `no_notification` is for the event. With `links` (tracking_number, url, metadata of
    each) it is one parcel, which leaves at once."""

    owner: str
    owner_id: str
    order_id: str
    parcels: list[Parcel]
    location_id: str | None
    no_notification: bool | None
    metadata: dict[str, Any] | None
    links: list[dict[str, Any]] | None = None

    @property
    def quantities(self) -> dict[str, int]:
        return {item_id: quantity for parcel in self.parcels for item_id, quantity in parcel.items.items()}


def packing_of(saga: Saga) -> Packing:
    """What a saga was begun with."""
    state = {name: value for name, value in saga.state.items() if name not in ("variants", "facts")}
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
select profile_id, provider_id from shipping_methods where {column} = $1 and return_id is null order by position
"""
# $1 owner, $2 location, $3 metadata, $4 $5 ids and providers, $6 $7 $8 their items, $9 the owner's status
WRITE = """
with made as (
    insert into fulfillments (id, {column}, provider_id, location_id, metadata)
    select f.id, $1, f.provider_id, $2, $3::text::jsonb from unnest($4::text[], $5::text[]) as f(id, provider_id)
), packed as (
    insert into fulfillment_items (fulfillment_id, item_id, quantity)
    select * from unnest($6::text[], $7::text[], $8::int[])
), counted as (
    update line_items li set fulfilled_quantity = coalesce(li.fulfilled_quantity, 0) + i.quantity, updated_at = now()
    from unnest($7::text[], $8::int[]) as i(item_id, quantity) where li.id = i.item_id
)
update {table} set fulfillment_status = $9, updated_at = now() where id = $1
"""


async def plan_packing(
    db: Db,
    owner: Owner,
    row: Mapping[str, Any],
    asked: Mapping[str, int] | None,
    *,
    location_id: str | None = None,
    no_notification: bool | None = None,
    metadata: dict[str, Any] | None = None,
) -> Packing:
    """What is to be packed: these quantities by line, or all that the owner has. `row` comes from `access_owner`.

    Raises NotAllowed, NotFound for another's line, InvalidData when there is nothing to pack, and Conflict while the
    same is being packed.
    """
    check_alive(owner, row, "fulfilled")
    owner_id = row["id"]
    lines, methods = await lines_of(db, owner, owner_id), await db.fetch(owner.sql(METHODS), owner_id)
    if asked is None:
        asked = {line["id"]: line["quantity"] for line in lines}
    if not methods:
        raise NotAllowed(f"This {owner.noun} has no shipping method, so that it cannot be fulfilled; add one first.")
    status.check_fulfillable(status.lines_of(lines), asked)
    order_id = owner_id if owner is ORDER else row["order_id"]
    await check_left(db, order_id, status.lines_of(lines), asked)
    made = parcels(asked, lines, methods)
    for parcel in made:
        provider(parcel.provider_id)
    return Packing(owner.noun, owner_id, order_id, made, location_id, no_notification, metadata)


async def check_left(db: Db, order_id: str, lines: Sequence[status.Line], asked: Mapping[str, int]) -> None:
    """Raises Conflict when what is being packed at a location leaves too little. Whoever came second would find out
    only when its rows are written, and give back a reservation that the line does not need any more."""
    under_way = Counter[str]()
    for state in await states(db, ("fulfill",), "order_id", order_id):
        for parcel in state["parcels"] if state["location_id"] is not None else ():
            under_way.update(parcel["items"])
    for line in lines:
        if asked.get(line.id, 0) > line.quantity - line.fulfilled - under_way[line.id]:
            raise Conflict(f"Another request (fulfill) is at work on line {line.id}; try again when it is done.")


async def write_packing(db: Db, packing: Packing) -> None:
    """Write the rows, in one statement, and say so. The order is locked, the quantities are checked.

    `no_notification` is for the event: the row keeps what is said when it ships (docs/behaviour/orders.md).
    """
    owner = OWNERS[packing.owner]
    lines = status.lines_of(await lines_of(db, owner, packing.owner_id))
    items = [(p.id, item_id, quantity) for p in packing.parcels for item_id, quantity in p.items.items()]
    await db.execute(
        owner.sql(WRITE),
        packing.owner_id,
        packing.location_id,
        json_or_null(packing.metadata),
        [parcel.id for parcel in packing.parcels],
        [parcel.provider_id for parcel in packing.parcels],
        *(list(column) for column in zip(*items, strict=True)),
        status.after_fulfillment(status.packed(lines, packing.quantities)),
    )
    for parcel in packing.parcels:
        data = event_of(
            packing.owner,
            packing.owner_id,
            packing.order_id,
            fulfillment_id=parcel.id,
            location_id=packing.location_id,
            items=[{"item_id": item_id, "quantity": quantity} for item_id, quantity in parcel.items.items()],
            no_notification=packing.no_notification,
        )
        await emit(db, f"{packing.owner}.fulfillment_created", packing.owner_id, data)
    if packing.links is not None:
        await send_off(db, packing, packing.links)


# $1 the parcel, $2 its links in the order of their numbers
LINK = """
update tracking_links t set url = w.url, metadata = w.metadata
from (select id, row_number() over (order by position) as n from tracking_links where fulfillment_id = $1) l
join rows from (jsonb_to_recordset($2::text::jsonb) as (url text, metadata jsonb)) with ordinality
    as w(url, metadata, n) using (n)
where t.id = l.id
"""


async def send_off(db: Db, packing: Packing, links: Sequence[Mapping[str, Any]]) -> None:
    """The parcel that this transaction has packed leaves."""
    owner, parcel_id = OWNERS[packing.owner], packing.parcels[0].id
    row = await access_owner(db, owner, packing.order_id, packing.owner_id, "end_saga")
    numbers = [link["tracking_number"] for link in links]
    said = packing.no_notification
    quiet = row["no_notification"] if said is None else said
    await ship(db, owner, row, parcel_id, numbers, kept=said, quiet=quiet)
    await db.execute(LINK, parcel_id, json_text(links))


# With a location, or with providers to ask: a saga


async def take_stock(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Have the inventory take what goes into the parcels. When it refuses one, those before it go back."""
    packing, variants = packing_of(saga), saga.state["variants"]
    if packing.location_id is None:
        return {}
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
    packing = packing_of(saga)
    for parcel in packing.parcels if packing.location_id is not None else ():
        compensates = saga.key(f"stock:{parcel.id}")
        await remote.compensate_fulfill(app, saga.key(f"unstock:{parcel.id}"), parcel.id, compensates)


async def send_for_parcels(app: web.Application, saga: Saga) -> dict[str, Any]:
    """Have the providers fetch the parcels. When one refuses, those before it are told not to."""
    data: dict[str, Any] = {}
    for parcel in packing_of(saga).parcels:
        if not is_remote(parcel.provider_id):
            continue
        facts, key = saga.state["facts"][parcel.id], saga.key(f"carry:{parcel.id}")
        try:
            found = provider(parcel.provider_id)
            data[parcel.id] = await asked(parcel.provider_id, found.create(facts, key))
        except ApiError as error:
            if error.status < 500:
                await tell_not_to(saga, data)
            raise
    return data


async def call_parcels_off(app: web.Application, saga: Saga) -> None:
    """No parcel is to be fetched; of one that was under way it is not known whether it was asked for."""
    known = saga.results.get("carry") or {}
    remote = [parcel.id for parcel in packing_of(saga).parcels if is_remote(parcel.provider_id)]
    await tell_not_to(saga, {parcel_id: known.get(parcel_id) for parcel_id in remote})


async def tell_not_to(saga: Saga, data: Mapping[str, Any]) -> None:
    """Cancel these parcels at their providers; `data` is what they said of each."""
    for parcel in packing_of(saga).parcels:
        if parcel.id in data:
            found, key = provider(parcel.provider_id), saga.key(f"uncarry:{parcel.id}")
            await asked(parcel.provider_id, found.cancel({"id": parcel.id, "data": data[parcel.id]}, key))


KEEP_DATA = """
update fulfillments f set data = d.value from jsonb_each($1::text::jsonb) d where f.id = d.key
"""


async def commit_packing(db: Db, saga: Saga) -> dict[str, Any]:
    """Check again, for the owner may have changed meanwhile, and write."""
    packing = packing_of(saga)
    owner = OWNERS[packing.owner]
    row = await access_owner(db, owner, packing.order_id, packing.owner_id, "write_fulfillments", saga.id)
    check_alive(owner, row, "fulfilled")
    lines = status.lines_of(await lines_of(db, owner, packing.owner_id))
    status.check_fulfillable(lines, packing.quantities)
    await write_packing(db, packing)
    await db.execute(KEEP_DATA, json_text(saga.results.get("carry") or {}))
    return {"fulfillment_ids": [parcel.id for parcel in packing.parcels]}


FULFILL = (
    Step("stock", do=take_stock, compensate=give_stock_back),
    Step("carry", do=send_for_parcels, compensate=call_parcels_off),
    Step("rows", commit=commit_packing),
)
SAGAS = {"fulfill": FULFILL}

VARIANTS = "select id, variant_id from line_items where id = any($1::text[])"
# What a provider is told about a parcel besides its id and its items' quantities. $1 the order, $2 the owner.
FACTS = """
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


async def facts_of(db: Db, packing: Packing) -> dict[str, Any]:
    """What the providers are told, by parcel; nothing where none is asked over a network."""
    if not any(is_remote(parcel.provider_id) for parcel in packing.parcels):
        return {}
    facts = orjson.loads(await db.fetchval(OWNERS[packing.owner].sql(FACTS), packing.order_id, packing.owner_id))
    return {
        parcel.id: {
            "id": parcel.id,
            "order": facts["order"],
            "location_id": packing.location_id,
            "method": next((m for m in facts["methods"] if m["provider_id"] == parcel.provider_id), None),
            "items": [facts["items"][id_] | {"quantity": quantity} for id_, quantity in parcel.items.items()],
        }
        for parcel in packing.parcels
    }


def asks_others(location_id: str | None) -> bool:
    """Whether the inventory is asked before the rows are written, or perhaps a provider over a network."""
    return location_id is not None or any_remote()


async def begin_packing(db: Db, packing: Packing, request: web.Request | None = None) -> Saga:
    """The saga that packs at a location, or has providers to ask."""
    rows = await db.fetch(VARIANTS, list(packing.quantities))
    variants = {row["id"]: row["variant_id"] for row in rows}
    state = asdict(packing) | {"variants": variants, "facts": await facts_of(db, packing)}
    return await begin(db, "fulfill", packing.parcels[0].id, state, request)
