"""/admin/discounts: codes that take something off a cart. What they are for: conditions.py; further codes of a
dynamic discount: dynamic_codes.py; what they come to: pricing/allocation.py."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.catalog.answers import deleted, get_one, get_page, one
from services.catalog.bodies import Amount, Metadata, sent
from services.catalog.discounts.conditions import ConditionBody, RuleCondition, groups_of, put_conditions, shown_by
from services.catalog.discounts.customer_groups import keep_groups, known_groups
from services.catalog.discounts.rows import (
    DISCOUNT,
    DISCOUNT_KINDS,
    EXPAND,
    WHOLE,
    Discount,
    access_discount,
    announce,
    condition_docs,
    no_discount,
    normalised,
    refusals,
)
from services.chassis.db import Db, reading, transaction
from services.chassis.documents import doc
from services.chassis.embed import one_json, one_query, page_query
from services.chassis.errors import InvalidData, NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.outbox import emit
from services.chassis.params import Bind, Filter, choices, dates, flag, moment, query_of, search

TYPES = ("fixed", "percentage", "free_shipping")
ALLOCATIONS = ("total", "item")
OF_RULE = {
    "type": choices("r.type", TYPES, array_only=False),
    "allocation": choices("r.allocation", ALLOCATIONS, array_only=False),
}
DURATION = re.compile(
    r"P(?=\d|T\d)(\d{1,4}Y)?(\d{1,4}M)?(\d{1,4}W)?(\d{1,6}D)?"
    r"(T(?=\d)(\d{1,6}H)?(\d{1,6}M)?(\d{1,8}([.,]\d{1,6})?S)?)?"
)
INT_MAX = 2**31 - 1


def code_of(value: str) -> str:
    """A code that says something, as it is stored."""
    if not value.strip():
        raise ValueError("must not be empty")
    return normalised(value)


def duration(value: str) -> str:
    """A duration as ISO 8601 writes it."""
    if not DURATION.fullmatch(value):
        raise ValueError("must be an ISO 8601 duration, like P3Y6M4DT12H30M5S")
    return value


Code = Annotated[str, Field(max_length=255), AfterValidator(code_of)]
Moment = Annotated[datetime, BeforeValidator(lambda value: moment("a date", value))]
Duration = Annotated[str, AfterValidator(duration)]
Limit = Annotated[int, Field(ge=1, le=INT_MAX)]


class RuleBody(Body):
    description: str | None = None
    type: Literal["fixed", "percentage", "free_shipping"]
    value: Amount
    allocation: Literal["total", "item"]
    conditions: list[ConditionBody] | None = None

    @model_validator(mode="after")
    def not_more_than_all(self) -> Self:
        check_value(self.type, self.value, ValueError)
        return self


class DiscountBody(Body):
    code: Code
    rule: RuleBody
    regions: list[str]
    is_dynamic: bool = False
    is_disabled: bool = False
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    valid_duration: Duration | None = None
    usage_limit: Limit | None = None
    metadata: Metadata = None

    @model_validator(mode="after")
    def window(self) -> Self:
        check_window(self.starts_at, self.ends_at, ValueError)
        return self


class RuleUpdate(Body):
    id: str
    description: str | None = None
    value: Amount = ABSENT
    allocation: Literal["total", "item"] = ABSENT
    conditions: list[RuleCondition] | None = None


class DiscountUpdate(Body):
    code: Code = ABSENT
    rule: RuleUpdate | None = None
    regions: list[str] | None = None
    is_disabled: bool = ABSENT
    starts_at: Moment = ABSENT
    ends_at: Moment | None = None
    valid_duration: Duration | None = None
    usage_limit: Limit | None = None
    metadata: Metadata = None

    @model_validator(mode="after")
    def window(self) -> Self:
        check_window(self.starts_at, self.ends_at, ValueError)
        return self


def of_rule(name: str, value: Any, bind: Bind) -> str:
    """`rule[type]=` and `rule[allocation]=`."""
    if not isinstance(value, dict) or not OF_RULE.keys() >= value.keys():
        raise InvalidData(f"{name}: choose by {name}[type]= or {name}[allocation]=.")
    found = " and ".join(OF_RULE[key](f"{name}[{key}]", value[key], bind) for key in sorted(value))
    return f"exists (select from discount_rules r where r.id = {{t}}.rule_id and {found})"


FILTERS: dict[str, Filter] = {
    "q": search("lower({t}.code) like {q}"),
    "rule": Filter(of_rule, {"type": "object", "properties": {key: of.schema for key, of in OF_RULE.items()}}),
    "is_dynamic": flag("{t}.is_dynamic"),
    "is_disabled": flag("{t}.is_disabled"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}

# Actions

INSERT_RULE = "insert into discount_rules (id, description, type, value, allocation) values ($1, $2, $3, $4, $5)"
INSERT = """
insert into discounts (
    id, code, rule_id, is_dynamic, is_disabled, starts_at, ends_at, valid_duration, usage_limit, metadata
) values ($1, $2, $3, $4, $5, coalesce($6, now()), $7, $8, $9, $10::text::jsonb)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update discounts t set
    (code, is_disabled, starts_at, ends_at, valid_duration, usage_limit) = (
        select n.code, n.is_disabled, n.starts_at, n.ends_at, n.valid_duration, n.usage_limit
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
UPDATE_RULE = """
update discount_rules t set
    (description, value, allocation) = (
        select n.description, n.value, n.allocation from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""
LOCK_REGIONS = "select id from regions where id = any($1::text[]) and deleted_at is null order by id for share"
ADD_REGIONS = """
insert into discount_regions (discount_id, region_id) select $1, id from unnest($2::text[]) id order by id
on conflict do nothing
"""
KEEP_REGIONS = "delete from discount_regions where discount_id = $1 and not region_id = any($2::text[])"
REGIONS = """
select array(
    select region_id from discount_regions x join regions r on r.id = x.region_id and r.deleted_at is null
    where x.discount_id = $1
)
"""
TOUCH = "update discounts set updated_at = now() where id = $1"
DELETE = "update discounts set deleted_at = now(), updated_at = now() where id = $1"


def check_value(type_: str, value: int, error: type[Exception] = InvalidData) -> None:
    """Raises `error` for more than 100 percent."""
    if type_ == "percentage" and value > 100:
        raise error("value: a percentage is at most 100")


def check_window(starts_at: datetime | None, ends_at: datetime | None, error: type[Exception] = InvalidData) -> None:
    """Raises `error` for an end that is not after the start."""
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise error("ends_at: must be after starts_at")


def check_number(type_: str, regions: Sequence[str]) -> None:
    """Raises InvalidData for an amount of money in several regions, whose currencies may differ."""
    if type_ == "fixed" and len(set(regions)) > 1:
        raise InvalidData("regions: a fixed discount has one region.")


async def add_regions(db: Db, discount_id: str, region_ids: Sequence[str]) -> None:
    """The discount is for these regions, too. Raises NotFound."""
    missing = sorted(set(region_ids) - {row["id"] for row in await db.fetch(LOCK_REGIONS, region_ids)})
    if missing:
        raise NotFound(f"There is no region {', '.join(missing)}.")
    await db.execute(ADD_REGIONS, discount_id, region_ids)


async def create_discount(db: Db, body: DiscountBody) -> str:
    """A new discount with its rule. Raises NotFound, InvalidData or Duplicate."""
    rule, rule_id, discount_id = body.rule, new_id("dru"), new_id("disc")
    if not body.regions:
        raise InvalidData("regions: a discount has at least one region.")
    check_number(rule.type, body.regions)
    await db.execute(INSERT_RULE, rule_id, rule.description, rule.type, rule.value, rule.allocation)
    with refusals():
        await db.execute(
            INSERT, discount_id, body.code, rule_id, body.is_dynamic, body.is_disabled, body.starts_at, body.ends_at,
            body.valid_duration, body.usage_limit, json_or_null(body.metadata),
        )  # fmt: skip
    await add_regions(db, discount_id, body.regions)
    if rule.conditions:
        await put_conditions(db, rule_id, [RuleCondition(**each.model_dump()) for each in rule.conditions])
    data = await doc(db, "discount", discount_id, DISCOUNT_KINDS)
    data["copies"] |= await condition_docs(db, rule_id)
    await emit(db, "discount.created", discount_id, data)
    return discount_id


async def update_discount(db: Db, discount_id: str, body: DiscountUpdate) -> None:
    """Change what the body names; regions replace those there are. Raises NotFound, InvalidData or Duplicate."""
    found = await access_discount(db, discount_id)
    check_window(found.starts_at, body.ends_at)
    if body.rule is not None:
        await update_rule(db, found, body.rule)
    if body.regions is not None:
        check_number(found.type, body.regions)
        await db.execute(KEEP_REGIONS, discount_id, body.regions)
        await add_regions(db, discount_id, body.regions)
    with refusals():
        await db.execute(UPDATE, discount_id, sent(body, without=("rule", "regions")))
    await announce(db, found)


async def update_rule(db: Db, found: Discount, rule: RuleUpdate) -> None:
    """Change the rule, for all discounts that share it. Its type stays."""
    if rule.id != found.rule_id:
        raise InvalidData(f"rule: {rule.id} is not the rule of this discount.")
    if rule.value is not None:
        check_value(found.type, rule.value)
    await db.execute(UPDATE_RULE, rule.id, rule.model_dump_json(exclude_unset=True, exclude={"id", "conditions"}))
    if rule.conditions:
        await put_conditions(db, rule.id, rule.conditions)


async def remove_discount(db: Db, discount_id: str) -> None:
    """The discount is gone for the API, and its code is free. Nothing happens when there is none."""
    try:
        await access_discount(db, discount_id)
    except NotFound:
        return
    await db.execute(DELETE, discount_id)
    await emit(db, "discount.deleted", discount_id, await doc(db, "discount", discount_id, DISCOUNT_KINDS))


async def add_region(db: Db, discount_id: str, region_id: str) -> None:
    """The discount is for the region, too. Raises NotFound or InvalidData."""
    found = await access_discount(db, discount_id)
    regions = await db.fetchval(REGIONS, discount_id)
    if region_id in regions:
        return
    check_number(found.type, [*regions, region_id])
    await add_regions(db, discount_id, [region_id])
    await db.execute(TOUCH, discount_id)
    await announce(db, found)


async def remove_region(db: Db, discount_id: str, region_id: str) -> None:
    """The discount is not for the region. Raises NotFound."""
    found = await access_discount(db, discount_id)
    gone = "delete from discount_regions where discount_id = $1 and region_id = $2"
    if await db.execute(gone, discount_id, region_id) != "DELETE 0":
        await db.execute(TOUCH, discount_id)
        await announce(db, found)


# Handlers


async def get_discounts(request: web.Request) -> web.Response:
    page = page_query(DISCOUNT, query_of(request), FILTERS, limit=20, expand=EXPAND, where="{t}.deleted_at is null")
    return await get_page(request, "discounts", page)


async def post_discounts(request: web.Request) -> web.Response:
    what, body = shown_by(request), await parse(request, DiscountBody)
    groups = await known_groups(request.app, groups_of(body.rule.conditions))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        discount_id = await create_discount(db, body)
        return json_bytes(request, await one(db, "discount", DISCOUNT, what, discount_id))


async def get_discount(request: web.Request) -> web.Response:
    return await get_one(request, "discount", DISCOUNT, EXPAND)


async def get_discount_by_code(request: web.Request) -> web.Response:
    what, code = one_query(DISCOUNT, query_of(request), expand=EXPAND), normalised(request.match_info["code"])
    async with reading(request) as db:
        text = await one_json(db, DISCOUNT, what, "{t}.code = $1 and {t}.deleted_at is null", code)
        if text is None:
            raise no_discount(code)
        return json_bytes(request, f'{{"discount":{text}}}')


async def post_discount(request: web.Request) -> web.Response:
    what, body = shown_by(request), await parse(request, DiscountUpdate)
    discount_id = request.match_info["id"]
    groups = await known_groups(request.app, groups_of(body.rule.conditions if body.rule else None))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        await update_discount(db, discount_id, body)
        return json_bytes(request, await one(db, "discount", DISCOUNT, what, discount_id))


async def delete_discount(request: web.Request) -> web.Response:
    discount_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_discount(db, discount_id)
        return deleted(request, discount_id, "discount")


async def post_region(request: web.Request) -> web.Response:
    """Parameters are not looked at."""
    discount_id = request.match_info["id"]
    async with transaction(request) as db:
        await add_region(db, discount_id, request.match_info["region_id"])
        return json_bytes(request, await one(db, "discount", DISCOUNT, WHOLE, discount_id))


async def delete_region(request: web.Request) -> web.Response:
    """Parameters are not looked at."""
    discount_id = request.match_info["id"]
    async with transaction(request) as db:
        await remove_region(db, discount_id, request.match_info["region_id"])
        return json_bytes(request, await one(db, "discount", DISCOUNT, WHOLE, discount_id))


OPERATIONS = [
    web.get("/admin/discounts", get_discounts),
    web.post("/admin/discounts", post_discounts),
    web.get("/admin/discounts/code/{code}", get_discount_by_code),
    web.get("/admin/discounts/{id}", get_discount),
    web.post("/admin/discounts/{id}", post_discount),
    web.delete("/admin/discounts/{id}", delete_discount),
    web.post("/admin/discounts/{id}/regions/{region_id}", post_region),
    web.delete("/admin/discounts/{id}/regions/{region_id}", delete_region),
]
