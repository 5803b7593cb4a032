"""Inventory items: what is counted, one for a variant."""

from collections.abc import Iterable
from typing import Annotated, Any

import asyncpg
import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Page, Selection, one_json, one_query, page_json, page_query
from services.chassis.errors import Duplicate, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, get, post
from services.chassis.outbox import emit, emit_all
from services.chassis.params import (
    FLAG,
    TEXT,
    Bind,
    Filter,
    Query,
    check_known,
    described,
    numbers,
    search,
    texts,
    word,
)
from services.chassis.queries import GENERAL, Parameters, schemas_of_list
from services.chassis.schemas import Rows, deleted, page_of
from services.inventory.ledger import Availability, availability, booked, lock_items
from services.inventory.remote import check_variant, fill_variants, notify_availability
from services.inventory.resources import (
    ITEM,
    ITEM_FIELDS,
    LISTED_STOCK,
    STOCK,
    STOCKED_ITEM,
    STOCKED_ITEM_AT,
    WHOLE_ITEM,
)

MISSING_VARIANT = '"variants":[null]'


def matching(sql: str, exact: Filter) -> Filter:
    """What `exact` takes, or `[contains]`, `[starts_with]`, `[ends_with]` in any case."""
    patterns = {"contains": "%{}%", "starts_with": "{}%", "ends_with": "%{}"}

    def condition(name: str, value: Any, bind: Bind) -> str:
        if not isinstance(value, dict):
            return exact(name, value, bind)
        if not patterns.keys() >= value.keys():
            raise InvalidData(f"{name}: compare it with {', '.join(f'{name}[{o}]' for o in patterns)}.")
        return " and ".join(f"{sql} ilike {bind(patterns[o].format(escaped(v)))}" for o, v in sorted(value.items()))

    return Filter(condition, {"type": "object", "properties": dict.fromkeys(patterns, TEXT)})


def escaped(text: str) -> str:
    """For use inside a `like` pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def truthy(sql: str) -> Filter:
    """The word true; anything else counts as false."""
    return Filter(lambda name, value, bind: f"{sql} = {bind(value == 'true')}::boolean", FLAG)


LIMIT = 20
FILTERS = {
    "q": search("lower({t}.sku) like {q} or lower({t}.title) like {q} or lower({t}.description) like {q}"),
    "id": texts("{t}.id"),
    "sku": texts("{t}.sku"),
    "origin_country": texts("{t}.origin_country"),
    "mid_code": texts("{t}.mid_code"),
    "material": texts("{t}.material"),
    "hs_code": matching("{t}.hs_code", texts("{t}.hs_code")),
    "weight": numbers("{t}.weight"),
    "length": numbers("{t}.length"),
    "height": numbers("{t}.height"),
    "width": numbers("{t}.width"),
    "requires_shipping": truthy("{t}.requires_shipping"),
}
AT_LOCATIONS = (
    "exists (select from inventory_levels l where l.inventory_item_id = {t}.id and l.location_id = any($1::text[]))"
)


# Bodies

Measure = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class Facts(Body):
    """What may be said of an item, when it is made and later."""

    sku: str | None = None
    title: str | None = None
    description: str | None = None
    thumbnail: str | None = None
    hs_code: str | None = None
    origin_country: str | None = None
    mid_code: str | None = None
    material: str | None = None
    weight: Measure | None = None
    length: Measure | None = None
    height: Measure | None = None
    width: Measure | None = None


class NewItem(Facts):
    """`title`, `description`, `thumbnail` and `metadata` are accepted and not kept, as in Medusa."""

    variant_id: str | None = None
    metadata: dict[str, Any] | None = None


class ItemChanges(Facts):
    requires_shipping: bool = True


# Actions

# $1 the items: {id, variant_id, allow_backorder, sku, ...}. A variant that has an item keeps it. A sku that is taken,
# by the item of a deleted variant perhaps, is left out: whoever asks for several has made the variants already.
ENSURE_ITEMS = """
with given as (
    select distinct on (g.variant_id) g.* from jsonb_to_recordset($1::text::jsonb) as g(
        id text, variant_id text, allow_backorder boolean, sku text, origin_country text, hs_code text, mid_code text,
        material text, weight int, length int, height int, width int
    )
    where not exists (select from variant_items i where i.variant_id = g.variant_id)
    order by g.variant_id, g.id
), named as (
    select id, case
        when row_number() over (partition by sku order by id) = 1
        and not exists (select from inventory_items t where t.sku = given.sku) then sku
    end as sku
    from given
), items as (
    insert into inventory_items
        (id, sku, origin_country, hs_code, mid_code, material, weight, length, height, width)
    select g.id, n.sku, g.origin_country, g.hs_code, g.mid_code, g.material, g.weight, g.length, g.height, g.width
    from given g join named n using (id) order by g.id
    returning id
)
insert into variant_items (variant_id, inventory_item_id, allow_backorder)
select g.variant_id, g.id, coalesce(g.allow_backorder, false) from given g join items using (id) order by g.variant_id
returning variant_id, inventory_item_id
"""
CREATE_ITEM = """
with item as (
    insert into inventory_items
        (id, sku, origin_country, hs_code, mid_code, material, weight, length, height, width)
    select id, sku, origin_country, hs_code, mid_code, material, weight, length, height, width
    from jsonb_populate_record(null::inventory_items, $2::text::jsonb)
    returning id
)
insert into variant_items (variant_id, inventory_item_id)
select $1, id from item
on conflict (variant_id) do nothing returning true
"""
# The properties that were sent over those that are there.
UPDATE_ITEM = """
update inventory_items i
set sku = n.sku, title = n.title, description = n.description, thumbnail = n.thumbnail, hs_code = n.hs_code,
    origin_country = n.origin_country, mid_code = n.mid_code, material = n.material, weight = n.weight,
    length = n.length, height = n.height, width = n.width, requires_shipping = n.requires_shipping, updated_at = now()
from inventory_items old, jsonb_populate_record(old, $2::text::jsonb) n
where old.id = $1 and i.id = old.id
"""
CLOSE_LEVELS = booked("""
    select inventory_item_id, location_id, -stocked_quantity as stocked, -reserved_quantity as reserved,
           -incoming_quantity as incoming
    from inventory_levels where inventory_item_id = $4
""")
DELETE_RESERVATIONS = "delete from reservations where inventory_item_id = $1"
VARIANT_OF = "select variant_id as id from variant_items where inventory_item_id = $1"
DELETE_ITEM = "delete from inventory_items where id = $1"
# Making the items of the same variants twice at once: one waits for the other.
LOCK_VARIANTS = """
select pg_advisory_xact_lock(hashtextextended(id, 0)) from (select unnest($1::text[]) as id order by 1) variants
"""


async def access_item(db: Db, item_id: str) -> None:
    """Lock the item, and with it its levels and reservations. Raises NotFound."""
    if not await lock_items(db, [item_id]):
        raise NotFound(f"There is no inventory item {item_id}.")


async def ensure_items(db: Db, variants: list[dict[str, Any]]) -> Availability:
    """Make items for those variants that are to be counted and have none. Returns what `notify_availability` gets."""
    counted = [
        variant | {"id": new_id("iitem"), "variant_id": variant["id"]}
        for variant in variants
        if variant.get("manage_inventory", True)
    ]
    if not counted:
        return []
    await db.execute(LOCK_VARIANTS, [variant["variant_id"] for variant in counted])
    rows = await db.fetch(ENSURE_ITEMS, json_text(counted))
    ids = [row["inventory_item_id"] for row in rows]
    await emit_all(
        db, "inventory-item.created", {r["inventory_item_id"]: {"id": r["inventory_item_id"]} | dict(r) for r in rows}
    )
    return await availability(db, ids)


async def create_item(db: Db, body: NewItem) -> tuple[str, Availability]:
    """The new item's id, and what `notify_availability` gets. Raises NotAllowed when the variant has one already."""
    item_id = new_id("iitem")
    facts = body.model_dump(exclude={"variant_id", "title", "description", "thumbnail", "metadata"})
    assert body.variant_id is not None
    await db.execute(LOCK_VARIANTS, [body.variant_id])
    try:
        created = await db.fetchval(CREATE_ITEM, body.variant_id, json_text(facts | {"id": item_id}))
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"There is an inventory item with sku {body.sku} already.") from None
    if not created:
        raise NotAllowed(f"Variant {body.variant_id} has an inventory item already.")
    data = {"id": item_id, "inventory_item_id": item_id, "variant_id": body.variant_id}
    await emit(db, "inventory-item.created", item_id, data)
    return item_id, await availability(db, [item_id])


async def update_item(db: Db, item_id: str, body: ItemChanges) -> None:
    await access_item(db, item_id)
    try:
        await db.execute(UPDATE_ITEM, item_id, json_text(body.model_dump(exclude_unset=True)))
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"There is another inventory item with sku {body.sku}.") from None
    await emit(db, "inventory-item.updated", item_id, {"id": item_id})


async def delete_item(db: Db, item_id: str, user: str) -> Availability:
    """With its levels, its reservations and the link to its variant. Unknown: nothing happens."""
    if not await lock_items(db, [item_id]):
        return []
    variant_ids = [row["id"] for row in await db.fetch(VARIANT_OF, item_id)]
    await db.execute(DELETE_RESERVATIONS, item_id)
    await db.fetchval(CLOSE_LEVELS, "closed", item_id, user, item_id)
    await db.execute(DELETE_ITEM, item_id)
    await emit(db, "inventory-item.deleted", item_id, {"id": item_id})
    return await availability(db, [], variant_ids)


# What is shown


def whole(query: Query, known: Iterable[str] = ()) -> Query:
    """The query without `expand`, which may be given, but there is nothing to expand: those that are `known` come
    anyway. Raises InvalidData."""
    names = {name.strip() for name in word("expand", query.get("expand", "")).split(",")} - {""}
    if unknown := sorted(names.difference(known)):
        raise InvalidData(f"expand: there is no relation {', '.join(unknown)}.")
    return {name: value for name, value in query.items() if name != "expand"}


def chosen_fields(query: Query, *_path: str) -> Selection:
    """What `fields` asks for. Raises InvalidData."""
    return one_query(ITEM, whole(query), fields=ITEM_FIELDS)


def check_view(query: Query) -> None:
    """The answer is whole, whatever `fields` and `expand` say. Raises InvalidData for anything else."""
    check_known(query, ("fields", "expand"))


def items_page(query: Query) -> Page:
    """The page that a list of items asks for. Raises InvalidData."""
    query = whole(query, known=("location_levels", "variants", "variants.product"))
    locations = query.pop("location_id", None)
    if locations is None:
        return page_query(STOCKED_ITEM, query, FILTERS, limit=LIMIT, fields=ITEM_FIELDS, expand=LISTED_STOCK)
    AT_LOCATION("location_id", locations, lambda _: "")
    return page_query(
        STOCKED_ITEM_AT,
        query,
        FILTERS,
        limit=LIMIT,
        fields=ITEM_FIELDS,
        expand=LISTED_STOCK,
        where=AT_LOCATIONS,
        args=([locations] if isinstance(locations, str) else locations,),
    )


async def item_json(db: Db, item_id: str, chosen: Selection) -> str:
    """`{"inventory_item": ...}` as JSON text. Raises NotFound."""
    text = await one_json(db, STOCKED_ITEM, chosen, "{t}.id = $1", item_id)
    if text is None:
        raise NotFound(f"There is no inventory item {item_id}.")
    return f'{{"inventory_item":{text}}}'


AT_LOCATION = described(texts(""), "Only items that are stocked at one of these locations, with their levels there.")
VIEW = {name: GENERAL[name] for name in ("expand", "fields")}
ITEM_ROWS = Rows((STOCKED_ITEM, STOCKED_ITEM_AT), LISTED_STOCK, narrowed=True)
ITEM_ANSWER = {"inventory_item": ITEM_ROWS}
ITEMS = Parameters(
    items_page,
    schemas_of_list({"location_id": AT_LOCATION, **FILTERS}, LIMIT),
    ITEM_ROWS,
)
SHOWN = Parameters(chosen_fields, VIEW, ITEM_ROWS)

# Handlers


async def get_items(request: web.Request, page: Page) -> web.Response:
    async with reading(request) as db:
        text = await page_json(db, "inventory_items", page)
    if MISSING_VARIANT in text:
        await fill_variants(request.app)
        async with reading(request) as db:
            text = await page_json(db, "inventory_items", page)
    return json_bytes(request, text)


async def post_item(request: web.Request, _view: None, body: NewItem) -> web.Response:
    if not body.variant_id:
        raise NotAllowed("variant_id: name the variant that the item is to count.")
    await check_variant(request.app, body.variant_id)
    async with transaction(request) as db:
        item_id, changed = await create_item(db, body)
        answer = json_bytes(request, await item_json(db, item_id, WHOLE_ITEM))
    await notify_availability(request.app, changed)
    return answer


async def get_item(db: Db, item_id: str, chosen: Selection) -> str:
    return await item_json(db, item_id, Selection(chosen.fields, STOCK))


async def post_item_changes(db: Db, item_id: str, chosen: Selection, body: ItemChanges) -> str:
    await update_item(db, item_id, body)
    return await item_json(db, item_id, chosen)


async def delete_inventory_item(request: web.Request, item_id: str) -> web.Response:
    async with transaction(request) as db:
        changed = await delete_item(db, item_id, actor(request))
    await notify_availability(request.app, changed)
    return json_bytes(request, orjson.dumps({"id": item_id, "object": "inventory_item", "deleted": True}))


OPERATIONS = [
    get(
        "/admin/inventory-items",
        get_items,
        "List inventory items",
        description="Each with its levels and its variant. Items of variants that are counted are made with them.",
        query=ITEMS,
        answer=page_of("inventory_items", ITEM_ROWS),
        asks_others=True,
    ),
    post(
        "/admin/inventory-items",
        post_item,
        "Create an inventory item",
        description="For a variant that has none: refused with 400 when it has one, with 422 for a SKU that is taken.",
        query=Parameters(check_view, VIEW),
        body=NewItem,
        example={"variant_id": "variant_01J0000000000000000000000", "sku": "SHIRT-S"},
        answer={"inventory_item": Rows((STOCKED_ITEM,))},
        errors=(NotFound, NotAllowed, Duplicate, Unavailable),
        asks_others=True,
    ),
    get(
        "/admin/inventory-items/{id}",
        get_item,
        "Get an inventory item",
        description="With its levels, and their sums as `stocked_quantity` and `reserved_quantity`.",
        query=SHOWN,
        answer=ITEM_ANSWER,
        errors=(NotFound,),
    ),
    post(
        "/admin/inventory-items/{id}",
        post_item_changes,
        "Update an inventory item",
        description="What is not sent stays. Refused with 422 for a SKU that another item has.",
        query=SHOWN,
        body=ItemChanges,
        example={"sku": "SHIRT-S", "weight": 200},
        answer=ITEM_ANSWER,
        errors=(NotFound, Duplicate),
    ),
    delete(
        "/admin/inventory-items/{id}",
        delete_inventory_item,
        "Delete an inventory item",
        description="With its levels and reservations; its variant is no longer counted. An item that is not there is "
        "no error.",
        answer=deleted("inventory_item"),
        asks_others=True,
    ),
]
