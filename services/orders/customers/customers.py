"""/admin/customers: people with an account, and guests whom a draft order made known by their email.

A guest and an account may share an email; two of the same kind may not (docs/behaviour/orders.md, "Customers").
"""

import asyncio
import re
from dataclasses import replace
from typing import Annotated, Any

import argon2
import asyncpg
from aiohttp import web
from pydantic import AfterValidator

from services.chassis.db import Db, transaction
from services.chassis.embed import (
    Many,
    Page,
    Resource,
    Selection,
    Tree,
    one_json,
    one_query,
    page_query,
    tree,
)
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null, json_text
from services.chassis.operations import get, listing, post
from services.chassis.outbox import emit
from services.chassis.params import Query, Values, dates, described, flag, search, texts
from services.chassis.queries import GENERAL, Parameters, schemas_of_list
from services.chassis.schemas import Rows
from services.orders.relations import MEMBERSHIP
from services.orders.resources import CUSTOMER, GROUP

EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
HASHER = argon2.PasswordHasher()

# A customer found by groups ($1): of the groups, those that were asked for are shown.
MEMBER = Resource(
    "customers",
    CUSTOMER.columns,
    CUSTOMER.relations | {"groups": Many(GROUP, MEMBERSHIP + " and {t}.id = any($1::text[])")},
)

ALIVE = "{t}.deleted_at is null"
IN_GROUPS = (
    ALIVE + " and exists (select from customer_group_customers m "
    "where m.customer_id = {t}.id and m.customer_group_id = any($1::text[]))"
)
EXPAND = tree(["orders", "shipping_addresses"])
ORDER_BY = "{t}.created_at, {t}.id"
LIMIT = 50
FILTERS = {
    "q": search("lower({t}.email) like {q} or lower({t}.first_name) like {q} or lower({t}.last_name) like {q}"),
    "has_account": flag("{t}.has_account"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}


def check_email(email: str) -> str:
    """The email as it is. Raises ValueError when it cannot be an address."""
    if len(email) > 320 or not EMAIL.fullmatch(email):
        raise ValueError("must be an email address")
    return email


Email = Annotated[str, AfterValidator(check_email), AfterValidator(str.lower)]


class CustomerBody(Body):
    email: Email
    first_name: str
    last_name: str
    password: str
    phone: str | None = None
    metadata: dict[str, Any] | None = None


class GroupRef(Body):
    id: str


class CustomerUpdate(Body):
    """What is not sent stays; only the email cannot be null."""

    email: Email = ABSENT
    first_name: str | None = None
    last_name: str | None = None
    password: str | None = None
    phone: str | None = None
    groups: list[GroupRef] | None = None
    metadata: dict[str, Any] | None = None


# Actions

INSERT_CUSTOMER = """
insert into customers (id, email, first_name, last_name, phone, has_account, password_hash, metadata)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
on conflict do nothing returning id
"""
# $2: the properties that were sent; null empties a column, what is absent stays.
UPDATE_CUSTOMER = """
update customers set
    email = coalesce($2::text::jsonb ->> 'email', email),
    first_name = case when $2::text::jsonb ? 'first_name' then $2::text::jsonb ->> 'first_name' else first_name end,
    last_name = case when $2::text::jsonb ? 'last_name' then $2::text::jsonb ->> 'last_name' else last_name end,
    phone = case when $2::text::jsonb ? 'phone' then $2::text::jsonb ->> 'phone' else phone end,
    metadata = case when $3::text is null then metadata else merged_metadata(metadata, $3::text::jsonb) end,
    password_hash = coalesce($4, password_hash),
    updated_at = now()
where id = $1
"""
LOCK_GROUPS = "select id from customer_groups where id = any($1::text[]) order by id for key share"
SET_GROUPS = """
with gone as (
    delete from customer_group_customers where customer_id = $1 and customer_group_id <> all ($2::text[])
)
insert into customer_group_customers (customer_group_id, customer_id)
select distinct g, $1 from unnest($2::text[]) as g
on conflict do nothing
"""


async def hash_password(password: str) -> str | None:
    """The argon2 hash, made in a thread: it takes tens of milliseconds. Without a password there is no account."""
    return await asyncio.to_thread(HASHER.hash, password) if password else None


async def create_customer(db: Db, body: CustomerBody, password_hash: str | None) -> str:
    """Raises Duplicate when the email has an account already."""
    customer_id = new_id("cus")
    metadata = json_or_null(body.metadata)
    inserted = await db.fetchval(
        INSERT_CUSTOMER,
        customer_id,
        body.email,
        body.first_name,
        body.last_name,
        body.phone,
        password_hash is not None,
        password_hash,
        metadata,
    )
    if inserted is None:
        raise Duplicate(f"There is a customer with the email {body.email} already.")
    await emit(db, "customer.created", customer_id, {"id": customer_id, "email": body.email})
    return customer_id


async def access_customer(db: Db, customer_id: str) -> asyncpg.Record:
    """The customer's row, locked. Raises NotFound."""
    row = await db.fetchrow(
        "select * from customers where id = $1 and deleted_at is null for no key update", customer_id
    )
    if row is None:
        raise NotFound(f"There is no customer {customer_id}.")
    return row


async def update_customer(db: Db, customer_id: str, body: CustomerUpdate, password_hash: str | None) -> None:
    """Change what was sent. Raises NotFound, InvalidData or Duplicate."""
    customer = await access_customer(db, customer_id)
    if body.email is not None and customer["has_account"]:
        raise InvalidData("The email of a customer with an account cannot be changed.")
    sent = body.model_dump(mode="json", include=body.model_fields_set & {"email", "first_name", "last_name", "phone"})
    metadata = json_or_null(body.metadata)
    try:
        await db.execute(UPDATE_CUSTOMER, customer_id, json_text(sent), metadata, password_hash)
    except asyncpg.UniqueViolationError:
        raise Duplicate(f"There is a customer with the email {body.email} already.") from None
    if body.groups is not None:
        await set_groups(db, customer_id, [group.id for group in body.groups])
    await emit(db, "customer.updated", customer_id, {"id": customer_id})


async def set_groups(db: Db, customer_id: str, group_ids: list[str]) -> None:
    """Make these the customer's groups, and no others. Raises NotFound for an unknown one."""
    unknown = set(group_ids) - {row["id"] for row in await db.fetch(LOCK_GROUPS, group_ids)}
    if unknown:
        raise NotFound(f"There is no customer group {', '.join(sorted(unknown))}.")
    await db.execute(SET_GROUPS, customer_id, group_ids)


# Reads


def shown_relations(query: Query, *_path: str) -> Tree:
    """What `expand` asks for; an empty one is none. `fields` is understood, but all are shown. Raises InvalidData."""
    if query.get("expand") == "":
        query = {name: value for name, value in query.items() if name != "expand"}
    return one_query(CUSTOMER, query, expand=EXPAND).tree


async def customer_json(db: Db, customer_id: str, relations: Tree) -> str:
    """`{"customer": {...}}` as JSON text. Raises NotFound."""
    chosen = Selection(tuple(CUSTOMER.columns), relations)
    text = await one_json(db, CUSTOMER, chosen, "{t}.id = $1 and " + ALIVE, customer_id)
    if text is None:
        raise NotFound(f"There is no customer {customer_id}.")
    return f'{{"customer":{text}}}'


def customers_page(query: Query, groups: list[str] | None) -> Page:
    """A list of customers, of `groups` if given. `fields` is understood, but all columns are shown all the same."""
    where, args = (ALIVE, ()) if groups is None else (IN_GROUPS, (groups,))
    resource = CUSTOMER if groups is None else MEMBER
    page = page_query(resource, query, FILTERS, limit=LIMIT, where=where, args=args, order=ORDER_BY)
    relations = page.chosen.tree
    if groups is not None and "groups" not in dict(relations):
        relations = tuple(sorted((*relations, ("groups", ()))))
    return replace(page, chosen=Selection(tuple(CUSTOMER.columns), relations))


def groups_filter(query: Query) -> tuple[Query, list[str] | None]:
    """The query without `groups[]`, and its values."""
    if "groups" not in query:
        return query, None
    OF_GROUPS("groups", query["groups"], Values().bind)
    return {name: value for name, value in query.items() if name != "groups"}, query["groups"]


def of_any_group(query: Query) -> Page:
    """All customers, or those of the groups that the query names."""
    return customers_page(*groups_filter(query))


def of_one_group(query: Query, group_id: str) -> Page:
    """The customers of one group; `groups[]` is understood and changes nothing."""
    return customers_page(groups_filter(query)[0], [group_id])


OF_GROUPS = described(texts("", array_only=True), "Only customers of one of these groups.")
CUSTOMER_ROWS = Rows((CUSTOMER, MEMBER))
LISTED = schemas_of_list({"groups": OF_GROUPS, **FILTERS}, LIMIT)
CUSTOMERS = Parameters(of_any_group, LISTED, CUSTOMER_ROWS)
GROUP_CUSTOMERS = Parameters(of_one_group, LISTED, CUSTOMER_ROWS)
SHOWN = Parameters(shown_relations, {name: GENERAL[name] for name in ("expand", "fields")}, Rows((CUSTOMER,), EXPAND))
ANSWER = {"customer": SHOWN.rows}

# Handlers


async def post_customer(request: web.Request, body: CustomerBody) -> web.Response:
    password_hash = await hash_password(body.password)
    async with transaction(request) as db:
        customer_id = await create_customer(db, body, password_hash)
        return json_bytes(request, await customer_json(db, customer_id, ()), status=201)


async def get_customer(db: Db, customer_id: str, relations: Tree) -> str:
    return await customer_json(db, customer_id, relations)


async def post_customer_update(
    request: web.Request, customer_id: str, relations: Tree, body: CustomerUpdate
) -> web.Response:
    password_hash = await hash_password(body.password or "")
    async with transaction(request) as db:
        await update_customer(db, customer_id, body, password_hash)
        return json_bytes(request, await customer_json(db, customer_id, relations))


OPERATIONS = [
    listing(
        "/admin/customers",
        "customers",
        CUSTOMERS,
        "List customers",
        description="People with an account and guests, the oldest first. `q` looks into emails and names.",
    ),
    post(
        "/admin/customers",
        post_customer,
        "Create a customer with an account",
        description="An email may have one account; a guest may have the same email. With an empty password the "
        "customer is a guest.",
        body=CustomerBody,
        example={"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "password": "supersecret"},
        status=201,
        answer={"customer": Rows((CUSTOMER,))},
        errors=(Duplicate,),
        asks_others=True,  # nobody, but hashes the password before the transaction
    ),
    get("/admin/customers/{id}", get_customer, "Get a customer", query=SHOWN, answer=ANSWER, errors=(NotFound,)),
    post(
        "/admin/customers/{id}",
        post_customer_update,
        "Update a customer",
        description="What is not sent stays. The email of a customer with an account cannot be changed; `groups` takes "
        "the place of all the groups that the customer is in.",
        query=SHOWN,
        body=CustomerUpdate,
        example={"phone": "+49 30 123456", "groups": [{"id": "cgrp_01J0000000000000000000000"}]},
        answer=ANSWER,
        errors=(NotFound, Duplicate, InvalidData),
        asks_others=True,  # as above
    ),
]
