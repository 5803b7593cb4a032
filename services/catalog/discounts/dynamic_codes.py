"""Further codes of a dynamic discount, for example one per customer: they share its rule and regions, and run out."""

from aiohttp import web

from services.catalog.answers import one
from services.catalog.bodies import Metadata
from services.catalog.discounts.discounts import DELETE, Code
from services.catalog.discounts.rows import DISCOUNT, DISCOUNT_KINDS, WHOLE, access_discount, normalised, refusals
from services.chassis.db import Db, transaction
from services.chassis.documents import doc
from services.chassis.errors import NotAllowed
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.outbox import emit


class DynamicCodeBody(Body):
    """`usage_limit` can be any number and is not looked at: a code has the limit of its discount."""

    code: Code
    usage_limit: float | None = None
    metadata: Metadata = None


INSERT = """
insert into discounts (id, code, rule_id, parent_discount_id, is_dynamic, usage_limit, ends_at, metadata)
values ($1, $2, $3, $4, true, $5, now() + $6::text::interval, $7::text::jsonb)
"""
FIND = "select id from discounts where parent_discount_id = $1 and code = $2 and deleted_at is null"


async def create_code(db: Db, discount_id: str, body: DynamicCodeBody) -> str:
    """A code of the discount. Raises NotFound, Duplicate, and NotAllowed for a discount that is not dynamic."""
    found = await access_discount(db, discount_id)
    if not found.is_dynamic:
        raise NotAllowed("Only a dynamic discount has further codes.")
    if found.parent_discount_id is not None:
        raise NotAllowed("A dynamic code has no codes of its own.")
    code_id = new_id("disc")
    values = found.usage_limit, found.valid_duration, json_or_null(body.metadata)
    with refusals():
        await db.execute(INSERT, code_id, body.code, found.rule_id, discount_id, *values)
    await emit(db, "discount.created", code_id, await doc(db, "discount", code_id, DISCOUNT_KINDS))
    return code_id


async def remove_code(db: Db, discount_id: str, code: str) -> None:
    """The code is gone, if it was there. Raises NotFound for an unknown discount."""
    await access_discount(db, discount_id)
    code_id = await db.fetchval(FIND, discount_id, code)
    if code_id is None:
        return
    await db.execute(DELETE, code_id)
    await emit(db, "discount.deleted", code_id, await doc(db, "discount", code_id, DISCOUNT_KINDS))


async def post_dynamic_codes(request: web.Request) -> web.Response:
    """Parameters are not looked at."""
    body = await parse(request, DynamicCodeBody)
    async with transaction(request) as db:
        code_id = await create_code(db, request.match_info["id"], body)
        return json_bytes(request, await one(db, "discount", DISCOUNT, WHOLE, code_id))


async def delete_dynamic_code(request: web.Request) -> web.Response:
    """Parameters are not looked at."""
    discount_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_code(db, discount_id, normalised(request.match_info["code"]))
        return json_bytes(request, await one(db, "discount", DISCOUNT, WHOLE, discount_id))


OPERATIONS = [
    web.post("/admin/discounts/{id}/dynamic-codes", post_dynamic_codes),
    web.delete("/admin/discounts/{id}/dynamic-codes/{code}", delete_dynamic_code),
]
