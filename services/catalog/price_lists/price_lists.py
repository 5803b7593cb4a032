"""Price lists: create, change, delete, find. Their prices and products are in files of their own.

A list is for everybody, or for the customers of some groups, which the orders service owns.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator

from services.catalog.answers import deleted, get_page
from services.catalog.discounts.customer_groups import KIND, keep_groups, known_groups
from services.catalog.price_lists.prices import ListPriceBody, ListPriceEntry, set_prices
from services.catalog.price_lists.reads import LISTED, access_list, price_list_json
from services.catalog.products.bodies import IdBody, Text
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import Docs
from services.chassis.embed import Selection, merge, page_query, tree
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.params import TEXTS, Bind, Filter, choices, dates, moment, query_of, search, text, texts

TYPES, STATUSES = ("sale", "override"), ("active", "draft")
SEARCHED = f"""lower({{t}}.name) like {{q}} or lower({{t}}.description) like {{q}}
    or {{t}}.id in (
        select g.price_list_id from price_list_customer_groups g
        join copies c on c.kind = '{KIND}' and c.id = g.customer_group_id
        where lower(c.body ->> 'name') like {{q}}
    )"""  # noqa: S608 - constants


def of_groups(name: str, value: Any, bind: Bind) -> str:
    """Lists that name one of the customer groups."""
    groups = texts("g.customer_group_id", array_only=True)(name, value, bind)
    return f"{{t}}.id in (select g.price_list_id from price_list_customer_groups g where {groups})"  # noqa: S608 - ours


FILTERS: dict[str, Filter] = {
    "id": text("{t}.id"),
    "name": text("{t}.name"),
    "description": text("{t}.description"),
    "status": choices("{t}.status", STATUSES, array_only=False),
    "type": choices("{t}.type", TYPES, array_only=False),
    "customer_groups": Filter(of_groups, TEXTS),
    "q": search(SEARCHED),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": dates("null::timestamptz"),
}

Type = Literal["sale", "override"]
Status = Literal["active", "draft"]
Moment = Annotated[datetime, BeforeValidator(lambda value: moment("a date", value))]


class PriceListBody(Body):
    name: Text
    description: Text
    type: Type
    status: Status = "draft"
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    includes_tax: bool = False
    prices: list[ListPriceBody]
    customer_groups: list[IdBody] | None = None


class PriceListUpdate(Body):
    name: Text = ABSENT
    description: Text = ABSENT
    type: Type = ABSENT
    status: Status = ABSENT
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    includes_tax: bool = ABSENT
    prices: list[ListPriceEntry] | None = None
    customer_groups: list[IdBody] | None = None


INSERT = """
insert into price_lists (id, name, description, type, status, starts_at, ends_at, includes_tax)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update price_lists l set
    (name, description, type, status, starts_at, ends_at, includes_tax) = (
        select n.name, n.description, n.type, n.status, n.starts_at, n.ends_at, n.includes_tax
        from jsonb_populate_record(l, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
SET_GROUPS = """
with gone as (
    delete from price_list_customer_groups where price_list_id = $1 and not customer_group_id = any($2::text[])
)
insert into price_list_customer_groups (price_list_id, customer_group_id)
select $1, id from unnest($2::text[]) id order by id
on conflict do nothing
"""


def group_ids(body: PriceListBody | PriceListUpdate) -> list[str]:
    """The customer groups that the body names."""
    return [group.id for group in body.customer_groups or []]


async def set_groups(db: Db, list_id: str, body: PriceListBody | PriceListUpdate, groups: Docs) -> None:
    """The list is for these customers only, if the body says so; for all, when it names no group."""
    if body.customer_groups is not None:
        await keep_groups(db, groups)
        await db.execute(SET_GROUPS, list_id, group_ids(body))


async def create_list(db: Db, body: PriceListBody, groups: Docs) -> str:
    """A new list with its prices. Raises NotFound for what they refer to."""
    list_id = new_id("pl")
    await db.execute(
        INSERT,
        list_id,
        body.name,
        body.description,
        body.type,
        body.status,
        body.starts_at,
        body.ends_at,
        body.includes_tax,
    )
    await set_groups(db, list_id, body, groups)
    await set_prices(db, list_id, body.prices)
    return list_id


async def update_list(db: Db, list_id: str, body: PriceListUpdate, groups: Docs) -> None:
    """Change what the body names. Prices are added, or changed by id; groups replace what was there."""
    await access_list(db, list_id)
    await db.execute(UPDATE, list_id, body.model_dump_json(exclude_unset=True, exclude={"prices", "customer_groups"}))
    await set_groups(db, list_id, body, groups)
    await set_prices(db, list_id, body.prices or [])


async def get_price_lists(request: web.Request) -> web.Response:
    """A search, or one by customer groups, shows the groups, too."""
    query = query_of(request)
    page = page_query(LISTED, query, FILTERS, limit=10)
    if query.get("q") or "customer_groups" in query:
        page = replace(page, chosen=Selection(page.chosen.fields, merge(page.chosen.tree, tree(("customer_groups",)))))
    return await get_page(request, "price_lists", page)


async def post_price_lists(request: web.Request) -> web.Response:
    body = await parse(request, PriceListBody)
    groups = await known_groups(request.app, group_ids(body))
    async with transaction(request) as db:
        return json_bytes(request, await price_list_json(db, await create_list(db, body, groups)))


async def get_price_list(request: web.Request) -> web.Response:
    """The whole list; parameters are not looked at."""
    async with reading(request) as db:
        return json_bytes(request, await price_list_json(db, request.match_info["id"]))


async def post_price_list(request: web.Request) -> web.Response:
    list_id, body = request.match_info["id"], await parse(request, PriceListUpdate)
    groups = await known_groups(request.app, group_ids(body))
    async with transaction(request) as db:
        await update_list(db, list_id, body, groups)
        return json_bytes(request, await price_list_json(db, list_id))


async def delete_price_list(request: web.Request) -> web.Response:
    """Its prices go with it. Quiet about an unknown list."""
    list_id = request.match_info["id"]
    async with transaction(request) as db:
        await db.execute("delete from price_lists where id = $1", list_id)
        return deleted(request, list_id, "price-list")


OPERATIONS = [
    web.get("/admin/price-lists", get_price_lists),
    web.post("/admin/price-lists", post_price_lists),
    web.get("/admin/price-lists/{id}", get_price_list),
    web.post("/admin/price-lists/{id}", post_price_list),
    web.delete("/admin/price-lists/{id}", delete_price_list),
]
