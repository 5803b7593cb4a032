"""Conditions of discounts: the products or customer groups that a rule is for, or is not for. All have to hold."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from aiohttp import web
from pydantic import model_validator

from services.catalog.discounts.customer_groups import keep_groups, known_groups
from services.catalog.discounts.rows import (
    CONDITION,
    ONCE,
    SHOWN,
    SHOWN_ANSWER,
    Discount,
    access_discount,
    discount_json,
    emit_discount_updates,
    no_discount,
    refusals,
)
from services.chassis.db import Db, transaction
from services.chassis.embed import Selection, one_json, tree
from services.chassis.errors import Duplicate, InvalidData, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, get, post
from services.chassis.queries import one

FIELDS = ("id", "type", "operator", "discount_rule_id", "created_at", "updated_at")
TYPES = ("products", "product_types", "product_collections", "product_tags", "customer_groups")

Operator = Literal["in", "not_in"]


class ConditionUpdate(Body):
    """What a condition names: one of the lists is sent, with one id or more."""

    products: list[str] | None = None
    product_types: list[str] | None = None
    product_collections: list[str] | None = None
    product_tags: list[str] | None = None
    customer_groups: list[str] | None = None

    @model_validator(mode="after")
    def one_type(self) -> Self:
        """A condition is about one kind of things, and names some."""
        named = [type_ for type_ in TYPES if getattr(self, type_) is not None]
        if len(named) > 1:
            raise ValueError(f"only one of {', '.join(named)} is allowed")
        if not named or not self.ids:
            raise ValueError(f"one of {', '.join(TYPES)} has to name something")
        return self

    @property
    def type(self) -> str:
        """Which of the lists was sent."""
        return next(type_ for type_ in TYPES if getattr(self, type_) is not None)

    @property
    def ids(self) -> list[str]:
        """The ids in the list that was sent."""
        ids: list[str] = getattr(self, self.type)
        return ids


class ConditionBody(ConditionUpdate):
    """A new condition: one of the lists is sent, with one id or more."""

    operator: Operator
    """Whether the discount is for what is named, or for all the rest."""


class RuleCondition(ConditionBody):
    """A condition in the update of a rule: with `id` one that is there, whose operator may stay; without, a new one."""

    id: str | None = None
    operator: Operator | None = None  # type: ignore[assignment]  # says more
    """Whether the discount is for what is named, or for all the rest."""

    @model_validator(mode="after")
    def new_ones_have_an_operator(self) -> Self:
        if self.id is None and self.operator is None:
            raise ValueError("a new condition needs an operator")
        return self


# $1: [{type, id}]
MISSING = """
select x.type, x.id from jsonb_to_recordset($1::text::jsonb) as x(type text, id text)
where not case x.type
    when 'products' then exists (select from products r where r.id = x.id and r.deleted_at is null)
    when 'product_types' then exists (select from product_types r where r.id = x.id)
    when 'product_collections' then
        exists (select from product_collections r where r.id = x.id and r.deleted_at is null)
    when 'product_tags' then exists (select from product_tags r where r.id = x.id)
    else exists (select from copies r where r.kind = 'customer_group' and r.id = x.id and r.body is not null)
end
order by x.id
"""
OF_DISCOUNT = (
    "{t}.id = $1 and {t}.discount_rule_id = (select rule_id from discounts where id = $2 and deleted_at is null)"
)
OF_RULE = "select id, type, operator from discount_conditions where discount_rule_id = $1"
CONDITION_ROW = "select id, type, discount_rule_id from discount_conditions where id = $1"
# $2: [{id, type, operator}]
INSERT_CONDITIONS = """
insert into discount_conditions (id, type, operator, discount_rule_id)
select id, type, operator, $1 from jsonb_to_recordset($2::text::jsonb) as x(id text, type text, operator text)
"""
# $1: [{id, operator}]
UPDATE_CONDITIONS = """
with gone as (
    delete from discount_condition_resources
    where condition_id in (select id from jsonb_to_recordset($1::text::jsonb) as x(id text))
)
update discount_conditions c set operator = coalesce(x.operator, c.operator), updated_at = now()
from jsonb_to_recordset($1::text::jsonb) as x(id text, operator text) where c.id = x.id
"""
# $1: [{condition_id, resource_id}]
NAME_RESOURCES = """
insert into discount_condition_resources (condition_id, resource_id)
select condition_id, resource_id
from jsonb_to_recordset($1::text::jsonb) as x(condition_id text, resource_id text) order by 1, 2
on conflict do nothing
"""
ADD_RESOURCES = """
with touched as (update discount_conditions set updated_at = now() where id = $1)
insert into discount_condition_resources (condition_id, resource_id)
select $1, id from unnest($2::text[]) id order by id on conflict do nothing
"""


def groups_of(conditions: Sequence[ConditionUpdate] | None) -> list[str]:
    """Returns the customer groups that conditions name."""
    return [id_ for condition in conditions or () for id_ in condition.customer_groups or ()]


async def check_resources(db: Db, type_: str, ids: Sequence[str]) -> None:
    """Raises NotFound for what is not there."""
    await check_named(db, [{"type": type_, "id": id_} for id_ in ids])


async def check_named(db: Db, named: Sequence[dict[str, Any]]) -> None:
    """The same for several types: [{type, id}]."""
    missing = await db.fetch(MISSING, json_text(named))
    if missing:
        raise NotFound(f"There is nothing in {missing[0]['type']} called {', '.join(row['id'] for row in missing)}.")


async def put_conditions(db: Db, rule_id: str, conditions: Sequence[RuleCondition]) -> None:
    """Add conditions, and replace what those with an id name. Raises NotFound, InvalidData or Duplicate."""
    held = await db.fetch(OF_RULE, rule_id)
    once = {(row["type"], row["operator"]) for row in held}
    if any(each.id is None and (each.type, each.operator) in once for each in conditions):
        raise Duplicate(ONCE)
    named = [{"type": each.type, "id": id_} for each in conditions for id_ in each.ids]
    await check_named(db, named)
    known = {row["id"]: row["type"] for row in held}
    for each in conditions:
        if each.id is not None and each.id not in known:
            raise NotFound(f"The rule has no condition {each.id}.")
        if each.id is not None and known[each.id] != each.type:
            raise InvalidData(f"The condition {each.id} is about {known[each.id]}, not {each.type}.")
    new_ids = iter(sorted(new_id("discon") for _ in conditions))
    ids = [each.id or next(new_ids) for each in conditions]
    rows = [
        {"id": id_, "type": each.type, "operator": each.operator} for id_, each in zip(ids, conditions, strict=True)
    ]
    resources = [
        {"condition_id": id_, "resource_id": resource}
        for id_, each in zip(ids, conditions, strict=True)
        for resource in each.ids
    ]
    with refusals():
        await db.execute(UPDATE_CONDITIONS, json_text([row for row in rows if row["id"] in known]))
        await db.execute(INSERT_CONDITIONS, rule_id, json_text([row for row in rows if row["id"] not in known]))
    await db.execute(NAME_RESOURCES, json_text(resources))


async def access_condition(db: Db, discount_id: str, condition_id: str) -> tuple[Discount, Any]:
    """Lock the discount, and find the condition: {id, type}.

    Raises NotFound, and InvalidData for a condition of another discount.
    """
    discount = await access_discount(db, discount_id)
    condition = await db.fetchrow(CONDITION_ROW, condition_id)
    if condition is None:
        raise no_condition(condition_id)
    if condition["discount_rule_id"] != discount.rule_id:
        raise not_of_discount(condition_id, discount_id)
    return discount, condition


def not_of_discount(condition_id: str, discount_id: str) -> InvalidData:
    return InvalidData(f"The condition {condition_id} is not one of discount {discount_id}.")


def no_condition(condition_id: str) -> NotFound:
    return NotFound(f"There is no discount condition {condition_id}.")


async def add_condition(db: Db, discount_id: str, body: ConditionBody) -> None:
    """Add a condition to the rule. Raises NotFound, or Duplicate when there is one of this type and operator."""
    discount = await access_discount(db, discount_id)
    await put_conditions(db, discount.rule_id, [RuleCondition(**body.model_dump())])
    await emit_discount_updates(db, discount)


async def update_condition(db: Db, discount_id: str, condition_id: str, body: ConditionUpdate) -> None:
    """Replace what the condition names. Raises NotFound or InvalidData."""
    discount, condition = await access_condition(db, discount_id, condition_id)
    if condition["type"] != body.type:
        raise InvalidData(f"The condition {condition_id} is about {condition['type']}, not {body.type}.")
    await check_resources(db, body.type, body.ids)
    statement = "delete from discount_condition_resources where condition_id = $1 and not resource_id = any($2::text[])"
    await db.execute(statement, condition_id, body.ids)
    await db.execute(ADD_RESOURCES, condition_id, body.ids)
    await emit_discount_updates(db, discount)


async def remove_condition(db: Db, discount_id: str, condition_id: str) -> None:
    """Delete the condition, if it is there. Raises NotFound for one of another discount."""
    discount = await access_discount(db, discount_id)
    condition = await db.fetchrow(CONDITION_ROW, condition_id)
    if condition is None:
        return
    if condition["discount_rule_id"] != discount.rule_id:
        raise NotFound(f"The condition {condition_id} is not one of discount {discount_id}.")
    await db.execute("delete from discount_conditions where id = $1", condition_id)
    await emit_discount_updates(db, discount, former=[condition_id])


async def refuse(db: Db, discount_id: str, condition_id: str) -> None:
    """Raises what is wrong with a pair that does not belong together."""
    if not await db.fetchval("select true from discounts where id = $1 and deleted_at is null", discount_id):
        raise no_discount(discount_id)
    if await db.fetchrow(CONDITION_ROW, condition_id) is None:
        raise no_condition(condition_id)
    raise not_of_discount(condition_id, discount_id)


# Handlers


async def post_conditions(
    request: web.Request, discount_id: str, chosen: Selection, body: ConditionBody
) -> web.Response:
    groups = await known_groups(request.app, groups_of([body]))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        await add_condition(db, discount_id, body)
        return json_bytes(request, await discount_json(db, discount_id, chosen))


async def get_condition(db: Db, discount_id: str, condition_id: str, chosen: Selection) -> str:
    text = await one_json(db, CONDITION, chosen, OF_DISCOUNT, condition_id, discount_id)
    if text is None:
        await refuse(db, discount_id, condition_id)
    return f'{{"discount_condition":{text}}}'


async def post_condition(
    request: web.Request, discount_id: str, condition_id: str, chosen: Selection, body: ConditionUpdate
) -> web.Response:
    groups = await known_groups(request.app, groups_of([body]))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        await update_condition(db, discount_id, condition_id, body)
        return json_bytes(request, await discount_json(db, discount_id, chosen))


async def delete_condition(db: Db, discount_id: str, condition_id: str, chosen: Selection) -> str:
    await remove_condition(db, discount_id, condition_id)
    discount = await discount_json(db, discount_id, chosen)
    return f'{{"id":{json_text(condition_id)},"object":"discount-condition","deleted":true,' + discount[1:]


CONDITIONS_PATH = "/admin/discounts/{id}/conditions"
CONDITION_PATH = CONDITIONS_PATH + "/{condition_id}"
CONDITION_SHOWN = one(CONDITION, fields=FIELDS, expand=tree(["discount_rule"]))
OPERATIONS = [
    post(
        CONDITIONS_PATH,
        post_conditions,
        "Add a condition to a discount",
        description="All conditions of a discount have to hold. There is one of each type and operator: another one is "
        "refused with 422. What it names has to exist.",
        query=SHOWN,
        body=ConditionBody,
        example={"operator": "in", "product_tags": ["ptag_01HZX3V5Y7A9C1E3G5J7M9P1R3"]},
        answer=SHOWN_ANSWER,
        errors=(NotFound, Duplicate, Unavailable),
        asks_others=True,
    ),
    get(
        CONDITION_PATH,
        get_condition,
        "Get a condition of a discount",
        description="What it names has to be asked for in `expand`. A condition of another discount is refused with "
        "400.",
        query=CONDITION_SHOWN,
        answer={"discount_condition": CONDITION_SHOWN.rows},
        errors=(NotFound, InvalidData),
    ),
    post(
        CONDITION_PATH,
        post_condition,
        "Update a condition of a discount",
        description="Replaces what it names. Its type and its operator stay: a list of another type is refused with "
        "400, as is a condition of another discount.",
        query=SHOWN,
        body=ConditionUpdate,
        example={"product_tags": ["ptag_01HZX3V5Y7A9C1E3G5J7M9P1R3"]},
        answer=SHOWN_ANSWER,
        errors=(NotFound, InvalidData, Unavailable),
        asks_others=True,
    ),
    delete(
        CONDITION_PATH,
        delete_condition,
        "Delete a condition of a discount",
        description="A condition that is not there is no error; one of another discount is refused with 404.",
        query=SHOWN,
        answer={"id": str, "object": "discount-condition", "deleted": True, **SHOWN_ANSWER},
        errors=(NotFound,),
    ),
]
