"""Further codes of a dynamic discount, for example one per customer: they share its rule and regions, and run out."""

from services.catalog.bodies import Metadata
from services.catalog.discounts.discounts import DELETE_DISCOUNT, Code
from services.catalog.discounts.rows import (
    DISCOUNT_KINDS,
    WHOLE_ANSWER,
    access_discount,
    discount_json,
    normalised,
    refusals,
)
from services.chassis.db import Db
from services.chassis.documents import doc
from services.chassis.errors import Duplicate, NotAllowed, NotFound
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import delete, post
from services.chassis.outbox import emit


class DynamicCodeBody(Body):
    code: Code
    """What customers enter, in any case. It is kept trimmed and in upper case."""
    usage_limit: float | None = None
    """Any number, which is not looked at: the code has the limit of its discount."""
    metadata: Metadata = None


INSERT_CODE = """
insert into discounts (id, code, rule_id, parent_discount_id, is_dynamic, usage_limit, ends_at, metadata)
values ($1, $2, $3, $4, true, $5, now() + $6::text::interval, $7::text::jsonb)
"""
CODE_OF = "select id from discounts where parent_discount_id = $1 and code = $2 and deleted_at is null"


async def create_code(db: Db, discount_id: str, body: DynamicCodeBody) -> str:
    """Returns the id of a new code. Raises NotFound, Duplicate, and NotAllowed for a discount that is not dynamic."""
    discount = await access_discount(db, discount_id)
    if not discount.is_dynamic:
        raise NotAllowed("Only a dynamic discount has further codes.")
    if discount.parent_discount_id is not None:
        raise NotAllowed("A dynamic code has no codes of its own.")
    code_id = new_id("disc")
    values = discount.usage_limit, discount.valid_duration, json_or_null(body.metadata)
    with refusals():
        await db.execute(INSERT_CODE, code_id, body.code, discount.rule_id, discount_id, *values)
    await emit(db, "discount.created", code_id, await doc(db, "discount", code_id, DISCOUNT_KINDS))
    return code_id


async def remove_code(db: Db, discount_id: str, code: str) -> None:
    """Delete the code, if it is there. Raises NotFound for an unknown discount."""
    await access_discount(db, discount_id)
    code_id = await db.fetchval(CODE_OF, discount_id, code)
    if code_id is None:
        return
    await db.execute(DELETE_DISCOUNT, code_id)
    await emit(db, "discount.deleted", code_id, await doc(db, "discount", code_id, DISCOUNT_KINDS))


# Handlers


async def post_dynamic_codes(db: Db, discount_id: str, body: DynamicCodeBody) -> str:
    return await discount_json(db, await create_code(db, discount_id, body))


async def delete_dynamic_code(db: Db, discount_id: str, code: str) -> str:
    await remove_code(db, discount_id, normalised(code))
    return await discount_json(db, discount_id)


OPERATIONS = [
    post(
        "/admin/discounts/{id}/dynamic-codes",
        post_dynamic_codes,
        "Make a code of a dynamic discount",
        description="The code is a discount of its own, which the answer shows. The rule, the regions and the usage "
        "limit of the dynamic one hold for it, and it runs out after its `valid_duration`. Refused for a discount that "
        "is not dynamic, and with 422 for a code that another discount has.",
        body=DynamicCodeBody,
        example={"code": "ADA-10", "metadata": {"customer": "ada@example.com"}},
        answer=WHOLE_ANSWER,
        errors=(NotFound, NotAllowed, Duplicate),
    ),
    delete(
        "/admin/discounts/{id}/dynamic-codes/{code}",
        delete_dynamic_code,
        "Delete a code of a dynamic discount",
        description="Answers the dynamic discount. A code that is not there is no error.",
        answer=WHOLE_ANSWER,
        errors=(NotFound,),
    ),
]
