"""/admin/customer-groups: named sets of customers, which price lists and discounts of the catalog refer to by id."""

from dataclasses import replace
from typing import Any

import asyncpg
import orjson
from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.documents import docs
from services.chassis.embed import Selection, one_json, one_query, page_json, page_query
from services.chassis.errors import Duplicate, NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.outbox import emit
from services.chassis.params import TEXT, Filter, dates, query_of, search, text, texts
from services.orders.customers.customers import customers_page, groups_filter
from services.orders.documents import KINDS
from services.orders.resources import GROUP

PLAIN = Selection(tuple(GROUP.columns), ())
FILTERS = {
    "q": search("lower({t}.name) like {q}"),
    "id": texts("{t}.id"),
    "name": texts("{t}.name", array_only=True),
    # Conditions are the catalog's; a copy of one names its groups.
    "discount_condition_id": Filter(
        lambda name, value, bind: (
            "exists (select from copies c where c.kind = 'discount_condition' "
            f"and {text('c.id')(name, value, bind)} and c.body -> 'customer_groups' ? {{t}}.id)"
        ),
        TEXT,
    ),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}


class CustomerGroupBody(Body):
    name: str
    metadata: dict[str, Any] | None = None


class CustomerGroupUpdate(Body):
    """What is not sent stays; the name cannot be null."""

    name: str = ABSENT
    metadata: dict[str, Any] | None = None


class CustomerRef(Body):
    id: str


class CustomersBatch(Body):
    customer_ids: list[CustomerRef]


# Actions

INSERT = """
insert into customer_groups (id, name, metadata) values ($1, $2, $3::text::jsonb) on conflict do nothing returning id
"""
UPDATE = """
update customer_groups set
    name = coalesce($2, name),
    metadata = case when $3::text is null then metadata else merged_metadata(metadata, $3::text::jsonb) end,
    updated_at = now()
where id = $1 returning id
"""
DELETE = "delete from customer_groups where id = $1 returning id"
ACCESS = "select id from customer_groups where id = $1 for key share"
# Locked in the order of their ids, so that two batches wait for each other instead of deadlocking.
LOCK_CUSTOMERS = "select id from customers where id = any($1::text[]) and deleted_at is null order by id for key share"
ADD = """
insert into customer_group_customers (customer_group_id, customer_id)
select $1, id from unnest($2::text[]) as id order by id
on conflict do nothing
"""
REMOVE = "delete from customer_group_customers where customer_group_id = $1 and customer_id = any($2::text[])"


async def create_group(db: Db, body: CustomerGroupBody) -> str:
    """Raises Duplicate for a name that is taken."""
    group_id = new_id("cgrp")
    metadata = json_or_null(body.metadata)
    if await db.fetchval(INSERT, group_id, body.name, metadata) is None:
        raise Duplicate(f"There is a customer group called {body.name} already.")
    await emit(db, "customer-group.created", group_id, {"id": group_id, "name": body.name})
    return group_id


async def update_group(db: Db, group_id: str, body: CustomerGroupUpdate) -> None:
    """Raises NotFound, or Duplicate for a name that is taken."""
    metadata = json_or_null(body.metadata)
    try:
        found = await db.fetchval(UPDATE, group_id, body.name, metadata)
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"There is a customer group called {body.name} already.") from None
    if found is None:
        raise NotFound(f"There is no customer group {group_id}.")
    copies = await docs(db, {"customer_group": [group_id]}, KINDS)
    await emit(db, "customer-group.updated", group_id, {"id": group_id, "copies": copies})


async def remove_group(db: Db, group_id: str) -> None:
    """Delete it for good, its memberships with it. A group that is not there is deleted already."""
    if await db.fetchval(DELETE, group_id):
        await emit(db, "customer-group.deleted", group_id, {"id": group_id})


async def access_group(db: Db, group_id: str) -> None:
    """Keep the group from being deleted. Raises NotFound."""
    if await db.fetchval(ACCESS, group_id) is None:
        raise NotFound(f"There is no customer group {group_id}.")


async def add_customers(db: Db, group_id: str, customer_ids: list[str]) -> None:
    """All of them join, or none. Raises NotFound."""
    await access_group(db, group_id)
    unknown = set(customer_ids) - {row["id"] for row in await db.fetch(LOCK_CUSTOMERS, customer_ids)}
    if unknown:
        raise NotFound(f"There is no customer {', '.join(sorted(unknown))}.")
    await db.execute(ADD, group_id, customer_ids)
    await emit(
        db, "customer-group.customers_added", group_id, {"id": group_id, "customer_ids": sorted(set(customer_ids))}
    )


async def remove_customers(db: Db, group_id: str, customer_ids: list[str]) -> None:
    """Whoever of them is in the group leaves it. Raises NotFound for the group."""
    await access_group(db, group_id)
    await db.execute(REMOVE, group_id, customer_ids)
    await emit(
        db, "customer-group.customers_removed", group_id, {"id": group_id, "customer_ids": sorted(set(customer_ids))}
    )


# Reads


async def group_json(db: Db, group_id: str, chosen: Selection = PLAIN) -> str:
    """`{"customer_group": {...}}` as JSON text. Raises NotFound."""
    found = await one_json(db, GROUP, chosen, "{t}.id = $1", group_id)
    if found is None:
        raise NotFound(f"There is no customer group {group_id}.")
    return f'{{"customer_group":{found}}}'


# Handlers


async def get_groups(request: web.Request) -> web.Response:
    page = page_query(GROUP, query_of(request), FILTERS, limit=10)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "customer_groups", page))


async def post_group(request: web.Request) -> web.Response:
    body = await parse(request, CustomerGroupBody)
    async with transaction(request) as db:
        group_id = await create_group(db, body)
        return json_bytes(request, await group_json(db, group_id))


async def get_group(request: web.Request) -> web.Response:
    chosen = one_query(GROUP, query_of(request))
    async with reading(request) as db:
        return json_bytes(request, await group_json(db, request.match_info["id"], chosen))


async def post_group_update(request: web.Request) -> web.Response:
    chosen = replace(one_query(GROUP, query_of(request)), fields=PLAIN.fields)
    group_id, body = request.match_info["id"], await parse(request, CustomerGroupUpdate)
    async with transaction(request) as db:
        await update_group(db, group_id, body)
        return json_bytes(request, await group_json(db, group_id, chosen))


async def delete_group(request: web.Request) -> web.Response:
    group_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_group(db, group_id)
        return json_bytes(request, orjson.dumps({"id": group_id, "object": "customer_group", "deleted": True}))


async def get_group_customers(request: web.Request) -> web.Response:
    """Customers as in their own list. An unknown group has none, which is no error."""
    page = customers_page(groups_filter(query_of(request))[0], [request.match_info["id"]])
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "customers", page))


async def post_group_customers(request: web.Request) -> web.Response:
    group_id, body = request.match_info["id"], await parse(request, CustomersBatch)
    async with transaction(request) as db:
        await add_customers(db, group_id, [customer.id for customer in body.customer_ids])
        return json_bytes(request, await group_json(db, group_id))


async def delete_group_customers(request: web.Request) -> web.Response:
    group_id, body = request.match_info["id"], await parse(request, CustomersBatch)
    async with transaction(request) as db:
        await remove_customers(db, group_id, [customer.id for customer in body.customer_ids])
        return json_bytes(request, await group_json(db, group_id))


OPERATIONS = [
    web.get("/admin/customer-groups", get_groups),
    web.post("/admin/customer-groups", post_group),
    web.get("/admin/customer-groups/{id}", get_group),
    web.post("/admin/customer-groups/{id}", post_group_update),
    web.delete("/admin/customer-groups/{id}", delete_group),
    web.get("/admin/customer-groups/{id}/customers", get_group_customers),
    web.post("/admin/customer-groups/{id}/customers/batch", post_group_customers),
    web.delete("/admin/customer-groups/{id}/customers/batch", delete_group_customers),
]
