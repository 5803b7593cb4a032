"""What a condition of a discount names, in batches: products, types, collections, tags or customer groups."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.catalog.discounts import customer_groups
from services.catalog.discounts.conditions import (
    ADD_RESOURCES,
    CONDITION_PATH,
    CONDITION_ROW,
    access_condition,
    check_resources,
)
from services.catalog.discounts.customer_groups import keep_groups, known_groups
from services.catalog.discounts.rows import SHOWN, SHOWN_ANSWER, discount_json, emit_discount_updates
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import Docs
from services.chassis.embed import Selection
from services.chassis.errors import InvalidData, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.operations import delete, post


class ResourceRef(Body):
    id: str


class ResourcesBody(Body):
    resources: Annotated[list[ResourceRef], Field(min_length=1)]
    """Ids of what the condition is about, each as `{"id": ...}`."""


REMOVE_RESOURCES = """
with touched as (update discount_conditions set updated_at = now() where id = $1)
delete from discount_condition_resources where condition_id = $1 and resource_id = any($2::text[])
"""


async def add_resources(db: Db, discount_id: str, condition_id: str, ids: list[str]) -> None:
    """Let the condition name these, too. Raises NotFound or InvalidData."""
    discount, condition = await access_condition(db, discount_id, condition_id)
    await check_resources(db, condition["type"], ids)
    await db.execute(ADD_RESOURCES, condition_id, ids)
    await emit_discount_updates(db, discount)


async def remove_resources(db: Db, discount_id: str, condition_id: str, ids: list[str]) -> None:
    """Let the condition not name these. Raises NotFound or InvalidData."""
    discount, _ = await access_condition(db, discount_id, condition_id)
    await db.execute(REMOVE_RESOURCES, condition_id, ids)
    await emit_discount_updates(db, discount)


async def groups_named(request: web.Request, condition_id: str, ids: list[str]) -> Docs:
    """The customer groups among what is added to a condition: the condition tells what the ids are of."""
    async with reading(request) as db:
        row = await db.fetchrow(CONDITION_ROW, condition_id)
    return await known_groups(request.app, ids) if row and row["type"] == customer_groups.KIND + "s" else []


# Handlers


async def post_resources(
    request: web.Request, discount_id: str, condition_id: str, chosen: Selection, body: ResourcesBody
) -> web.Response:
    ids = [resource.id for resource in body.resources]
    groups = await groups_named(request, condition_id, ids)
    async with transaction(request) as db:
        await keep_groups(db, groups)
        await add_resources(db, discount_id, condition_id, ids)
        return json_bytes(request, await discount_json(db, discount_id, chosen))


async def delete_resources(db: Db, discount_id: str, condition_id: str, chosen: Selection, body: ResourcesBody) -> str:
    await remove_resources(db, discount_id, condition_id, [resource.id for resource in body.resources])
    return await discount_json(db, discount_id, chosen)


SOME_RESOURCES = {"resources": [{"id": "prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"}]}
OPERATIONS = [
    post(
        f"{CONDITION_PATH}/batch",
        post_resources,
        "Add to what a condition names",
        description="What it names already does not matter. An id of nothing that the condition is about is refused "
        "with 404, a condition of another discount with 400.",
        query=SHOWN,
        body=ResourcesBody,
        example=SOME_RESOURCES,
        answer=SHOWN_ANSWER,
        errors=(NotFound, InvalidData, Unavailable),
        asks_others=True,
    ),
    delete(
        f"{CONDITION_PATH}/batch",
        delete_resources,
        "Remove from what a condition names",
        description="What it does not name does not matter. A condition of another discount is refused with 400.",
        query=SHOWN,
        body=ResourcesBody,
        example=SOME_RESOURCES,
        answer=SHOWN_ANSWER,
        errors=(NotFound, InvalidData),
    ),
]
