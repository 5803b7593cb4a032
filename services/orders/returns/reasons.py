"""/admin/return-reasons: why customers send things back. Reasons may be grouped, one level deep.

A reason that has children is a group: it cannot be given as the reason of a return (returns.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from services.chassis.db import Db
from services.chassis.embed import Many, One, Resource, Selection, cols, one_json, page_sql, tree
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import deletion, get, post, showing
from services.chassis.outbox import emit
from services.chassis.schemas import Rows
from services.orders.resources import RETURN_REASON

COLUMNS = "id value label description parent_return_reason_id created_at@ updated_at@ deleted_at@"
REASON = Resource(
    "return_reasons",
    cols(COLUMNS),
    {
        "parent_return_reason": One(RETURN_REASON, "{t}.id = {p}.parent_return_reason_id"),
        "return_reason_children": Many(
            RETURN_REASON, "{t}.parent_return_reason_id = {p}.id and {t}.deleted_at is null"
        ),
    },
)
SHOWN = Selection(tuple(REASON.columns), tree(["parent_return_reason", "return_reason_children"]))
ANSWER = {"return_reason": Rows((REASON,), SHOWN.tree)}
LIVE = "{t}.id = $1 and {t}.deleted_at is null"


class ReasonBody(Body):
    value: str
    """By which programs know the reason; each has its own."""
    label: str
    """What people read."""
    parent_return_reason_id: str | None = None
    """The reason that groups it, which has no parent itself."""
    description: str | None = None
    metadata: dict[str, Any] | None = None


class ReasonUpdate(Body):
    """What is left out stays as it is. A reason does not move to another group."""

    value: str = ABSENT
    """By which programs know the reason; each has its own."""
    label: str = ABSENT
    """What people read."""
    description: str | None = None
    metadata: dict[str, Any] | None = None


# Actions

# No child comes to a reason that is being deleted: deleting waits for this lock, and it for deleting.
LOCK_PARENT = """
select parent_return_reason_id from return_reasons where id = $1 and deleted_at is null for share
"""
ADD_REASON = """
insert into return_reasons (id, value, label, description, parent_return_reason_id, metadata)
values ($1, $2, $3, $4, $5, $6::text::jsonb)
"""
LOCK_REASON = "select true from return_reasons where id = $1 and deleted_at is null for update"
CHANGE_REASON = """
update return_reasons set
    value = coalesce($2, value), label = coalesce($3, label),
    description = case when $5 then $4 else description end,
    metadata = case when $6::text is null then metadata else merged_metadata(metadata, $6::text::jsonb) end,
    updated_at = now()
where id = $1
"""
DELETE_REASON = """
update return_reasons set deleted_at = now()
where (id = $1 or parent_return_reason_id = $1) and deleted_at is null
"""
# A group is one as long as it has children.
GIVEN = """
select r.id, exists (
    select from return_reasons c where c.parent_return_reason_id = r.id and c.deleted_at is null
) as grouping
from return_reasons r where r.id = any($1::text[]) and r.deleted_at is null
order by r.id for key share of r
"""


async def create_reason(db: Db, body: ReasonBody) -> str:
    """Raises NotFound for an unknown parent, InvalidData for a nested one, Duplicate."""
    parent_id = body.parent_return_reason_id
    if parent_id is not None:
        parent = await db.fetchrow(LOCK_PARENT, parent_id)
        if parent is None:
            raise NotFound(f"There is no return reason {parent_id}.")
        if parent["parent_return_reason_id"] is not None:
            raise InvalidData("Return reasons are grouped one level deep: this parent has a parent itself.")
    reason_id = new_id("rr")
    with one_per_value():
        await db.execute(ADD_REASON, reason_id, body.value, body.label, body.description, parent_id, metadata_of(body))
    await emit(db, "return-reason.created", reason_id, {"id": reason_id})
    return reason_id


async def update_reason(db: Db, reason_id: str, body: ReasonUpdate) -> None:
    """Raises NotFound, or Duplicate for a value that is taken."""
    await access_reason(db, reason_id)
    with one_per_value():
        described = "description" in body.model_fields_set
        await db.execute(
            CHANGE_REASON, reason_id, body.value, body.label, body.description, described, metadata_of(body)
        )
    await emit(db, "return-reason.updated", reason_id, {"id": reason_id})


async def remove_reason(db: Db, reason_id: str) -> None:
    """Delete the reason with those that it groups; returns keep showing them. Raises NotFound."""
    await access_reason(db, reason_id)
    await db.execute(DELETE_REASON, reason_id)
    await emit(db, "return-reason.deleted", reason_id, {"id": reason_id})


async def access_reason(db: Db, reason_id: str) -> None:
    """Lock the reason. Raises NotFound."""
    if not await db.fetchval(LOCK_REASON, reason_id):
        raise NotFound(f"There is no return reason {reason_id}.")


async def check_reasons(db: Db, reason_ids: Iterable[str]) -> None:
    """Raises NotFound for a reason that is not there, and InvalidData for a group, which no item can be given."""
    ids = sorted(set(reason_ids))
    if not ids:
        return
    is_group = {row["id"]: row["grouping"] for row in await db.fetch(GIVEN, ids)}
    for reason_id in ids:
        if reason_id not in is_group:
            raise NotFound(f"There is no return reason {reason_id}.")
        if is_group[reason_id]:
            raise InvalidData(f"{reason_id} is a group of return reasons; give one of its reasons.")


def metadata_of(body: ReasonBody | ReasonUpdate) -> str | None:
    return json_or_null(body.metadata)


@contextmanager
def one_per_value() -> Iterator[None]:
    """Raises Duplicate for a value that another reason has, which the database knows."""
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise Duplicate("There is a return reason with this value already.") from None


# Reads


async def reason_json(db: Db, reason_id: str) -> str:
    """`{"return_reason": {...}}` as JSON text. Raises NotFound."""
    text = await one_json(db, REASON, SHOWN, LIVE, reason_id)
    if text is None:
        raise NotFound(f"There is no return reason {reason_id}.")
    return f'{{"return_reason":{text}}}'


# Handlers

TOP = page_sql(
    REASON,
    SHOWN,
    "{t}.deleted_at is null and {t}.parent_return_reason_id is null",
    "{t}.created_at, {t}.id",
    "null",
    "0",
)


async def get_reasons(db: Db) -> str:
    reasons, _ = await db.fetchrow(TOP)
    return f'{{"return_reasons":{reasons}}}'


async def post_reasons(db: Db, body: ReasonBody) -> str:
    return await reason_json(db, await create_reason(db, body))


async def post_reason(db: Db, reason_id: str, body: ReasonUpdate) -> str:
    await update_reason(db, reason_id, body)
    return await reason_json(db, reason_id)


OPERATIONS = [
    get(
        "/admin/return-reasons",
        get_reasons,
        "List return reasons",
        description="All that no other groups, the oldest first, each with those that it groups.",
        answer={"return_reasons": [ANSWER["return_reason"]]},
    ),
    post(
        "/admin/return-reasons",
        post_reasons,
        "Create a return reason",
        description="Reasons are grouped one level deep. Refused with 422 for a `value` that there is.",
        body=ReasonBody,
        example={"value": "too_small", "label": "Too small"},
        answer=ANSWER,
        errors=(NotFound, InvalidData, Duplicate),
    ),
    showing(
        "/admin/return-reasons/{id}", "return_reason", REASON, "Get a return reason", expand=SHOWN.tree, where=LIVE
    ),
    post(
        "/admin/return-reasons/{id}",
        post_reason,
        "Update a return reason",
        description="What is left out stays; it does not move to another group. Metadata is merged.",
        body=ReasonUpdate,
        example={"label": "Runs small"},
        answer=ANSWER,
        errors=(NotFound, Duplicate),
    ),
    deletion(
        "/admin/return-reasons/{id}",
        remove_reason,
        "return_reason",
        "Delete a return reason",
        description="The reasons that it groups go with it. Returns that were given it keep showing it.",
        errors=(NotFound,),
    ),
]
