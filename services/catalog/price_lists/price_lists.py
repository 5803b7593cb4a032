"""Price lists: create, change, delete, find. Their prices and products are in files of their own.

A list is for everybody, or for the customers of some groups, which the orders service owns.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator

from services.catalog.discounts.customer_groups import KIND, keep_groups, known_groups
from services.catalog.price_lists.prices import ListPriceBody, ListPriceEntry, set_prices
from services.catalog.price_lists.reads import EXPAND, LISTED, PRICE_LIST, WRITTEN, access_list, price_list_json
from services.catalog.products.bodies import IdBody, Text
from services.chassis.db import Db, transaction
from services.chassis.documents import Docs
from services.chassis.embed import Page, Selection, merge, tree
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.operations import deletion, listing, post, showing
from services.chassis.params import (
    TEXTS,
    Bind,
    Filter,
    Query,
    choices,
    dates,
    described,
    moment,
    search,
    text,
    texts,
)
from services.chassis.queries import Parameters, page

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
    "customer_groups": described(
        Filter(of_groups, TEXTS), "Ids of customer groups: lists for one of them, shown with their groups."
    ),
    "q": described(
        search(SEARCHED),
        "A part of the name, of the description or of a customer group's name, in any case. Groups are shown, too.",
    ),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "deleted_at": described(dates("null::timestamptz"), "Finds nothing, for deleted lists are gone."),
}
ALL_LISTS = page(LISTED, FILTERS, limit=10)

Type = Literal["sale", "override"]
Status = Literal["active", "draft"]
Moment = Annotated[datetime, BeforeValidator(lambda value: moment("a date", value))]


class PriceListBody(Body):
    name: Text
    description: Text
    type: Type
    """Only a name for people: of either type, the lowest of a variant's prices holds."""
    status: Status = "draft"
    """The prices of a draft do not hold."""
    starts_at: Moment | None = None
    """When its prices begin to hold, in UTC where no zone is given. Null: they hold already."""
    ends_at: Moment | None = None
    """When its prices stop to hold, in UTC where no zone is given. Null: never."""
    includes_tax: bool = False
    """Whether its prices include taxes. If not, those include them whose region or currency says so."""
    prices: list[ListPriceBody]
    customer_groups: list[IdBody] | None = None
    """Whose customers it is for, each as `{"id": ...}`. Without any, it is for everybody."""


class PriceListUpdate(Body):
    name: Text = ABSENT
    description: Text = ABSENT
    type: Type = ABSENT
    """Only a name for people: of either type, the lowest of a variant's prices holds."""
    status: Status = ABSENT
    """The prices of a draft do not hold."""
    starts_at: Moment | None = None
    """When its prices begin to hold, in UTC where no zone is given. Null: they hold already."""
    ends_at: Moment | None = None
    """When its prices stop to hold, in UTC where no zone is given. Null: never."""
    includes_tax: bool = ABSENT
    """Whether its prices include taxes. If not, those include them whose region or currency says so."""
    prices: list[ListPriceEntry] | None = None
    """Those with the id of a price of the list change it, the others are added. The prices not named stay."""
    customer_groups: list[IdBody] | None = None
    """Whose customers it is for from now on. An empty list: everybody. Null leaves them."""


INSERT_LIST = """
insert into price_lists (id, name, description, type, status, starts_at, ends_at, includes_tax)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE_LIST = """
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
    """Returns the customer groups that the body names."""
    return [group.id for group in body.customer_groups or []]


async def set_groups(db: Db, list_id: str, body: PriceListBody | PriceListUpdate, groups: Docs) -> None:
    """Let the list be for the customers of the groups that the body names; for all when it names none. Leaves it as it
    is when the body does not say."""
    if body.customer_groups is not None:
        await keep_groups(db, groups)
        await db.execute(SET_GROUPS, list_id, group_ids(body))


async def create_list(db: Db, body: PriceListBody, groups: Docs) -> str:
    """Returns the id of a new list with its prices. Raises NotFound for what they refer to."""
    list_id = new_id("pl")
    await db.execute(
        INSERT_LIST,
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
    """Change what the body names. Prices are added, or changed by id; groups replaced. Raises NotFound."""
    await access_list(db, list_id)
    await db.execute(
        UPDATE_LIST, list_id, body.model_dump_json(exclude_unset=True, exclude={"prices", "customer_groups"})
    )
    await set_groups(db, list_id, body, groups)
    await set_prices(db, list_id, body.prices or [])


async def remove_list(db: Db, list_id: str) -> None:
    """Delete the list with its prices, if it is there."""
    await db.execute("delete from price_lists where id = $1", list_id)


# Handlers


def read_lists(query: Query) -> Page:
    """A search, or one by customer groups, shows the groups, too. Raises InvalidData."""
    lists = ALL_LISTS.read(query)
    if query.get("q") or "customer_groups" in query:
        relations = merge(lists.chosen.tree, tree(("customer_groups",)))
        return replace(lists, chosen=Selection(lists.chosen.fields, relations))
    return lists


async def post_price_lists(request: web.Request, body: PriceListBody) -> web.Response:
    groups = await known_groups(request.app, group_ids(body))
    async with transaction(request) as db:
        return json_bytes(request, await price_list_json(db, await create_list(db, body, groups)))


async def post_price_list(request: web.Request, list_id: str, body: PriceListUpdate) -> web.Response:
    groups = await known_groups(request.app, group_ids(body))
    async with transaction(request) as db:
        await update_list(db, list_id, body, groups)
        return json_bytes(request, await price_list_json(db, list_id))


OPERATIONS = [
    listing(
        "/admin/price-lists",
        "price_lists",
        Parameters(read_lists, ALL_LISTS.schemas, ALL_LISTS.rows),
        "List price lists",
        description="The newest come first. Prices and customer groups have to be asked for in `expand`.",
    ),
    post(
        "/admin/price-lists",
        post_price_lists,
        "Create a price list",
        description="It is a draft unless `status` says otherwise. Amounts are in minor units, each in a currency or a "
        "region. A variant, currency, region or customer group that does not exist is refused with 404.",
        body=PriceListBody,
        example={
            "name": "Summer sale",
            "description": "Mugs for less",
            "type": "sale",
            "status": "active",
            "starts_at": "2027-06-01T00:00:00Z",
            "ends_at": "2027-09-01T00:00:00Z",
            "prices": [{"variant_id": "variant_01HZX3R6V8X0Z2C4E6G8J0M2P4", "currency_code": "eur", "amount": 1900}],
            "customer_groups": [{"id": "cgrp_01HZX3S9W1Y3A5C7E9G1J3M5P7"}],
        },
        answer=WRITTEN,
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    showing(
        "/admin/price-lists/{id}",
        "price_list",
        PRICE_LIST,
        "Get a price list",
        description="With all its prices and customer groups.",
        expand=EXPAND,
    ),
    post(
        "/admin/price-lists/{id}",
        post_price_list,
        "Update a price list",
        description="What is not sent stays. Prices are changed by id or added, customer groups replaced.",
        body=PriceListUpdate,
        example={
            "ends_at": None,
            "prices": [
                {
                    "id": "ma_01HZX3T2X4Z6B8D0F2H4K6N8Q0",
                    "variant_id": "variant_01HZX3R6V8X0Z2C4E6G8J0M2P4",
                    "amount": 1700,
                }
            ],
        },
        answer=WRITTEN,
        errors=(NotFound, Unavailable),
        asks_others=True,
    ),
    deletion(
        "/admin/price-lists/{id}",
        remove_list,
        "price-list",
        "Delete a price list",
        description="Its prices go with it. A list that is not there is no error.",
    ),
]
