"""/admin/discounts: codes that take something off a cart. What they are for: conditions.py; further codes of a
dynamic discount: dynamic_codes.py; what they come to: pricing/allocation.py."""

import re
from datetime import datetime
from typing import Annotated, Any, Self

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.catalog.answers import LIVE
from services.catalog.bodies import MAX_QUANTITY, Metadata, sent
from services.catalog.discounts.conditions import RuleCondition, groups_of, put_conditions
from services.catalog.discounts.customer_groups import keep_groups, known_groups
from services.catalog.discounts.regions import add_regions, check_number, replace_regions
from services.catalog.discounts.rows import (
    DISCOUNT,
    DISCOUNT_KINDS,
    EXPAND,
    SHOWN,
    SHOWN_ANSWER,
    access_discount,
    condition_docs,
    discount_json,
    emit_discount_updates,
    no_discount,
    normalised,
    refusals,
)
from services.catalog.discounts.rules import RuleBody, RuleUpdate, update_rule
from services.chassis.db import Db, transaction
from services.chassis.documents import doc
from services.chassis.embed import Selection, one_json
from services.chassis.errors import Duplicate, InvalidData, NotFound, Unavailable
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import deletion, get, listing, post, showing
from services.chassis.outbox import emit
from services.chassis.params import Bind, Filter, Schema, choices, dates, described, flag, moment, search
from services.chassis.queries import page

OF_RULE = {"type": ("fixed", "percentage", "free_shipping"), "allocation": ("total", "item")}
DURATION = re.compile(
    r"P(?=\d|T\d)(\d{1,4}Y)?(\d{1,4}M)?(\d{1,4}W)?(\d{1,6}D)?"
    r"(T(?=\d)(\d{1,6}H)?(\d{1,6}M)?(\d{1,8}([.,]\d{1,6})?S)?)?"
)


def code_of(value: str) -> str:
    """Returns the code as it is stored. Raises ValueError for an empty one."""
    if not value.strip():
        raise ValueError("must not be empty")
    return normalised(value)


def duration(value: str) -> str:
    """Returns the duration. Raises ValueError unless it is one as ISO 8601 writes it."""
    if not DURATION.fullmatch(value):
        raise ValueError("must be an ISO 8601 duration, like P3Y6M4DT12H30M5S")
    return value


Code = Annotated[str, Field(max_length=255), AfterValidator(code_of)]
Moment = Annotated[datetime, BeforeValidator(lambda value: moment("a date", value))]
Duration = Annotated[str, AfterValidator(duration)]
Limit = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class DiscountBody(Body):
    code: Code
    """What customers enter, in any case. It is kept trimmed and in upper case."""
    rule: RuleBody
    """What it takes off, and from what."""
    regions: list[str]
    """Ids of the regions that it is for: one or more, for a fixed discount just one."""
    is_dynamic: bool = False
    """Whether further codes can be made of it."""
    is_disabled: bool = False
    """Whether no cart gets it for the time being."""
    starts_at: Moment | None = None
    """When it begins to hold, in UTC where no zone is given. Null: now."""
    ends_at: Moment | None = None
    """When it stops to hold, in UTC where no zone is given; after `starts_at`. Null: never."""
    valid_duration: Duration | None = None
    """How long a dynamic code of it holds from when it is made, as ISO 8601 writes it. Null: for ever."""
    usage_limit: Limit | None = None
    """How many orders can use it, and each of its dynamic codes. Null: any number."""
    metadata: Metadata = None

    @model_validator(mode="after")
    def window(self) -> Self:
        check_window(self.starts_at, self.ends_at, ValueError)
        return self


class DiscountUpdate(Body):
    code: Code = ABSENT
    """What customers enter, in any case. It is kept trimmed and in upper case."""
    rule: RuleUpdate | None = None
    """What changes of the rule, for its dynamic codes, too."""
    regions: list[str] | None = None
    """Ids of all regions that it is for from now on. Null leaves them."""
    is_disabled: bool = ABSENT
    """Whether no cart gets it for the time being."""
    starts_at: Moment = ABSENT
    """When it begins to hold, in UTC where no zone is given."""
    ends_at: Moment | None = None
    """When it stops to hold, in UTC where no zone is given; after it has begun. Null: never."""
    valid_duration: Duration | None = None
    """How long a dynamic code that is made from now on holds, as ISO 8601 writes it. Null: for ever."""
    usage_limit: Limit | None = None
    """How many orders can use it. Null: any number. Dynamic codes that are there keep theirs."""
    metadata: Metadata = None

    @model_validator(mode="after")
    def window(self) -> Self:
        check_window(self.starts_at, self.ends_at, ValueError)
        return self


RULE_FILTERS = {name: choices(f"r.{name}", values, array_only=False) for name, values in OF_RULE.items()}


def of_rule(name: str, value: Any, bind: Bind) -> str:
    """Accepts `rule[type]=` and `rule[allocation]=`, of which both have to hold."""
    if not isinstance(value, dict) or not RULE_FILTERS.keys() >= value.keys():
        raise InvalidData(f"{name}: choose by {name}[type]= or {name}[allocation]=.")
    conditions = " and ".join(RULE_FILTERS[key](f"{name}[{key}]", value[key], bind) for key in sorted(value))
    return f"exists (select from discount_rules r where r.id = {{t}}.rule_id and {conditions})"


RULE_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        name: {"type": "string", "enum": list(values), "description": f"The {name} of the rule."}
        for name, values in OF_RULE.items()
    },
}
FILTERS: dict[str, Filter] = {
    "q": described(search("lower({t}.code) like {q}"), "A part of the code, in any case."),
    "rule": Filter(of_rule, RULE_SCHEMA),
    "is_dynamic": flag("{t}.is_dynamic"),
    "is_disabled": flag("{t}.is_disabled"),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}

# Actions

INSERT_RULE = "insert into discount_rules (id, description, type, value, allocation) values ($1, $2, $3, $4, $5)"
INSERT_DISCOUNT = """
insert into discounts (
    id, code, rule_id, is_dynamic, is_disabled, starts_at, ends_at, valid_duration, usage_limit, metadata
) values ($1, $2, $3, $4, $5, coalesce($6, now()), $7, $8, $9, $10::text::jsonb)
"""
# $2: the body as JSON; what it does not name stays.
UPDATE_DISCOUNT = """
update discounts t set
    (code, is_disabled, starts_at, ends_at, valid_duration, usage_limit) = (
        select n.code, n.is_disabled, n.starts_at, n.ends_at, n.valid_duration, n.usage_limit
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
DELETE_DISCOUNT = "update discounts set deleted_at = now(), updated_at = now() where id = $1"


def check_window(starts_at: datetime | None, ends_at: datetime | None, error: type[Exception] = InvalidData) -> None:
    """Raises `error` for an end that is not after the start."""
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise error("ends_at: must be after starts_at")


async def create_discount(db: Db, body: DiscountBody) -> str:
    """Returns the id of a new discount with its rule. Raises NotFound, InvalidData or Duplicate."""
    rule, rule_id, discount_id = body.rule, new_id("dru"), new_id("disc")
    if not body.regions:
        raise InvalidData("regions: a discount has at least one region.")
    check_number(rule.type, body.regions)
    await db.execute(INSERT_RULE, rule_id, rule.description, rule.type, rule.value, rule.allocation)
    with refusals():
        await db.execute(
            INSERT_DISCOUNT, discount_id, body.code, rule_id, body.is_dynamic, body.is_disabled, body.starts_at,
            body.ends_at, body.valid_duration, body.usage_limit, json_or_null(body.metadata),
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
    discount = await access_discount(db, discount_id)
    check_window(discount.starts_at, body.ends_at)
    if body.rule is not None:
        await update_rule(db, discount, body.rule)
    if body.regions is not None:
        await replace_regions(db, discount_id, discount.type, body.regions)
    with refusals():
        await db.execute(UPDATE_DISCOUNT, discount_id, sent(body, without=("rule", "regions")))
    await emit_discount_updates(db, discount)


async def remove_discount(db: Db, discount_id: str) -> None:
    """Delete the discount, if it is there; its code is free."""
    try:
        await access_discount(db, discount_id)
    except NotFound:
        return
    await db.execute(DELETE_DISCOUNT, discount_id)
    await emit(db, "discount.deleted", discount_id, await doc(db, "discount", discount_id, DISCOUNT_KINDS))


# Handlers


async def post_discounts(request: web.Request, chosen: Selection, body: DiscountBody) -> web.Response:
    groups = await known_groups(request.app, groups_of(body.rule.conditions))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        discount_id = await create_discount(db, body)
        return json_bytes(request, await discount_json(db, discount_id, chosen))


async def get_discount_by_code(db: Db, code: str, chosen: Selection) -> str:
    text = await one_json(db, DISCOUNT, chosen, "{t}.code = $1 and {t}.deleted_at is null", normalised(code))
    if text is None:
        raise no_discount(normalised(code))
    return f'{{"discount":{text}}}'


async def post_discount(
    request: web.Request, discount_id: str, chosen: Selection, body: DiscountUpdate
) -> web.Response:
    groups = await known_groups(request.app, groups_of(body.rule.conditions if body.rule else None))
    async with transaction(request) as db:
        await keep_groups(db, groups)
        await update_discount(db, discount_id, body)
        return json_bytes(request, await discount_json(db, discount_id, chosen))


OPERATIONS = [
    listing(
        "/admin/discounts",
        "discounts",
        page(DISCOUNT, FILTERS, limit=20, expand=EXPAND, where="{t}.deleted_at is null"),
        "List discounts",
        description="The newest come first, dynamic codes among them.",
    ),
    post(
        "/admin/discounts",
        post_discounts,
        "Create a discount",
        description="It comes with its rule, which says what it takes off. A code that another discount has is refused "
        "with 422; what the regions and conditions name has to exist.",
        query=SHOWN,
        body=DiscountBody,
        example={
            "code": "SUMMER10",
            "rule": {
                "description": "Ten percent off mugs",
                "type": "percentage",
                "value": 10,
                "allocation": "total",
                "conditions": [{"operator": "in", "products": ["prod_01HZX3N5R7T9V1X3Z5B7D9F1H3"]}],
            },
            "regions": ["reg_01HZX3M7N9Q1S3V5X7Z9B1D3F5"],
            "ends_at": "2027-09-01T00:00:00Z",
            "usage_limit": 500,
        },
        answer=SHOWN_ANSWER,
        errors=(NotFound, InvalidData, Duplicate, Unavailable),
        asks_others=True,
    ),
    get(
        "/admin/discounts/code/{code}",
        get_discount_by_code,
        "Get a discount by its code",
        description="The code is taken in any case.",
        query=SHOWN,
        answer=SHOWN_ANSWER,
        errors=(NotFound,),
    ),
    showing(
        "/admin/discounts/{id}",
        "discount",
        DISCOUNT,
        "Get a discount",
        description="With its rule, its conditions and its regions, unless `expand` says otherwise.",
        query=SHOWN,
        where=LIVE,
    ),
    post(
        "/admin/discounts/{id}",
        post_discount,
        "Update a discount",
        description="What is not sent stays. The type of its rule cannot change; the rest of the rule changes for its "
        "dynamic codes, too. A code that another discount has is refused with 422.",
        query=SHOWN,
        body=DiscountUpdate,
        example={"is_disabled": True, "metadata": {"reason": "sold out"}},
        answer=SHOWN_ANSWER,
        errors=(NotFound, InvalidData, Duplicate, Unavailable),
        asks_others=True,
    ),
    deletion(
        "/admin/discounts/{id}",
        remove_discount,
        "discount",
        "Delete a discount",
        description="Its code can be given to another one, and its dynamic codes take nothing off any more. A discount "
        "that is not there is no error.",
    ),
]
