"""/admin/customer-groups: named sets of customers, which price lists and discounts of the catalog refer to by id."""

from dataclasses import replace
from typing import Any

import asyncpg

from services.chassis.db import Db
from services.chassis.documents import docs
from services.chassis.embed import Selection, one_json, one_query
from services.chassis.errors import Duplicate, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import delete, deletion, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import TEXT, Filter, Query, dates, search, text, texts
from services.chassis.queries import Parameters, one, page
from services.chassis.schemas import Rows
from services.orders.customers.customers import GROUP_CUSTOMERS
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

INSERT_GROUP = """
insert into customer_groups (id, name, metadata) values ($1, $2, $3::text::jsonb) on conflict do nothing returning id
"""
UPDATE_GROUP = """
update customer_groups set
    name = coalesce($2, name),
    metadata = case when $3::text is null then metadata else merged_metadata(metadata, $3::text::jsonb) end,
    updated_at = now()
where id = $1 returning id
"""
DELETE_GROUP = "delete from customer_groups where id = $1 returning id"
LOCK_GROUP = "select id from customer_groups where id = $1 for key share"
# Locked in the order of their ids, so that two batches wait for each other instead of deadlocking.
LOCK_CUSTOMERS = "select id from customers where id = any($1::text[]) and deleted_at is null order by id for key share"
ADD_MEMBERS = """
insert into customer_group_customers (customer_group_id, customer_id)
select $1, id from unnest($2::text[]) as id order by id
on conflict do nothing
"""
REMOVE_MEMBERS = "delete from customer_group_customers where customer_group_id = $1 and customer_id = any($2::text[])"


async def create_group(db: Db, body: CustomerGroupBody) -> str:
    """Raises Duplicate for a name that is taken."""
    group_id = new_id("cgrp")
    metadata = json_or_null(body.metadata)
    if await db.fetchval(INSERT_GROUP, group_id, body.name, metadata) is None:
        raise Duplicate(f"There is a customer group called {body.name} already.")
    await emit(db, "customer-group.created", group_id, {"id": group_id, "name": body.name})
    return group_id


async def update_group(db: Db, group_id: str, body: CustomerGroupUpdate) -> None:
    """Raises NotFound, or Duplicate for a name that is taken."""
    metadata = json_or_null(body.metadata)
    try:
        updated = await db.fetchval(UPDATE_GROUP, group_id, body.name, metadata)
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"There is a customer group called {body.name} already.") from None
    if updated is None:
        raise NotFound(f"There is no customer group {group_id}.")
    copies = await docs(db, {"customer_group": [group_id]}, KINDS)
    await emit(db, "customer-group.updated", group_id, {"id": group_id, "copies": copies})


async def remove_group(db: Db, group_id: str) -> None:
    """Delete it for good, its memberships with it. A group that is not there is deleted already."""
    if await db.fetchval(DELETE_GROUP, group_id):
        await emit(db, "customer-group.deleted", group_id, {"id": group_id})


async def access_group(db: Db, group_id: str) -> None:
    """Keep the group from being deleted. Raises NotFound."""
    if await db.fetchval(LOCK_GROUP, group_id) is None:
        raise NotFound(f"There is no customer group {group_id}.")


async def add_customers(db: Db, group_id: str, customer_ids: list[str]) -> None:
    """All of them join, or none. Raises NotFound."""
    await access_group(db, group_id)
    unknown = set(customer_ids) - {row["id"] for row in await db.fetch(LOCK_CUSTOMERS, customer_ids)}
    if unknown:
        raise NotFound(f"There is no customer {', '.join(sorted(unknown))}.")
    await db.execute(ADD_MEMBERS, group_id, customer_ids)
    await emit(
        db, "customer-group.customers_added", group_id, {"id": group_id, "customer_ids": sorted(set(customer_ids))}
    )


async def remove_customers(db: Db, group_id: str, customer_ids: list[str]) -> None:
    """Whoever of them is in the group leaves it. Raises NotFound for the group."""
    await access_group(db, group_id)
    await db.execute(REMOVE_MEMBERS, group_id, customer_ids)
    await emit(
        db, "customer-group.customers_removed", group_id, {"id": group_id, "customer_ids": sorted(set(customer_ids))}
    )


# Reads


async def group_json(db: Db, group_id: str, chosen: Selection = PLAIN) -> str:
    """`{"customer_group": {...}}` as JSON text. Raises NotFound."""
    text = await one_json(db, GROUP, chosen, "{t}.id = $1", group_id)
    if text is None:
        raise NotFound(f"There is no customer group {group_id}.")
    return f'{{"customer_group":{text}}}'


def whole_group(query: Query, *_path: str) -> Selection:
    """All columns, whatever `fields` asks for, with the relations of `expand`."""
    return replace(one_query(GROUP, query), fields=PLAIN.fields)


SHOWN = one(GROUP)
WHOLE = Parameters(whole_group, SHOWN.schemas, Rows((GROUP,)))
ANSWER = {"customer_group": Rows((GROUP,))}

# Handlers


async def post_group(db: Db, body: CustomerGroupBody) -> str:
    return await group_json(db, await create_group(db, body))


async def post_group_update(db: Db, group_id: str, chosen: Selection, body: CustomerGroupUpdate) -> str:
    await update_group(db, group_id, body)
    return await group_json(db, group_id, chosen)


async def post_group_customers(db: Db, group_id: str, body: CustomersBatch) -> str:
    await add_customers(db, group_id, [customer.id for customer in body.customer_ids])
    return await group_json(db, group_id)


async def delete_group_customers(db: Db, group_id: str, body: CustomersBatch) -> str:
    await remove_customers(db, group_id, [customer.id for customer in body.customer_ids])
    return await group_json(db, group_id)


CUSTOMERS_EXAMPLE = {"customer_ids": [{"id": "cus_01J00000000000000000000000"}]}
OPERATIONS = [
    listing("/admin/customer-groups", "customer_groups", page(GROUP, FILTERS, limit=10), "List customer groups"),
    post(
        "/admin/customer-groups",
        post_group,
        "Create a customer group",
        description="Price lists and discounts name groups, for prices that only their customers get.",
        body=CustomerGroupBody,
        example={"name": "VIP"},
        answer=ANSWER,
        errors=(Duplicate,),
    ),
    showing("/admin/customer-groups/{id}", "customer_group", GROUP, "Get a customer group", query=SHOWN),
    post(
        "/admin/customer-groups/{id}",
        post_group_update,
        "Update a customer group",
        description="What is not sent stays.",
        query=WHOLE,
        body=CustomerGroupUpdate,
        example={"name": "VIP customers"},
        answer=ANSWER,
        errors=(NotFound, Duplicate),
    ),
    deletion(
        "/admin/customer-groups/{id}",
        remove_group,
        "customer_group",
        "Delete a customer group",
        description="Its customers stay. A group that is not there is no error.",
    ),
    listing(
        "/admin/customer-groups/{id}/customers",
        "customers",
        GROUP_CUSTOMERS,
        "List the customers of a group",
        description="As the list of customers. A group that is not there has none, which is no error.",
    ),
    post(
        "/admin/customer-groups/{id}/customers/batch",
        post_group_customers,
        "Add customers to a group",
        description="Refused as a whole when one of the customers is not there; who is in the group already stays.",
        body=CustomersBatch,
        example=CUSTOMERS_EXAMPLE,
        answer=ANSWER,
        errors=(NotFound,),
    ),
    delete(
        "/admin/customer-groups/{id}/customers/batch",
        delete_group_customers,
        "Remove customers from a group",
        description="Customers who are not in the group are passed over.",
        body=CustomersBatch,
        example=CUSTOMERS_EXAMPLE,
        answer=ANSWER,
        errors=(NotFound,),
    ),
]
