"""Discounts as they look in answers and to other services, and the locks under which they change.

A discount and the dynamic codes made of it share one rule. Whoever changes any of them locks the rule first and then
all of them, in the order of their ids, because all of them show the rule.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.catalog import answers
from services.catalog.discounts import customer_groups
from services.catalog.discounts.customer_groups import CUSTOMER_GROUP
from services.catalog.products.conditions import NAMED
from services.catalog.products.reads import COLLECTION, PRODUCT, TAG, TYPE
from services.catalog.resources import INNER_REGION
from services.chassis.db import Db
from services.chassis.documents import Kind, docs, each_doc
from services.chassis.embed import Many, One, Resource, Selection, cols, tree
from services.chassis.errors import Duplicate, NotFound
from services.chassis.outbox import emit_all
from services.chassis.queries import one
from services.chassis.schemas import Rows

STAMPS = "created_at@ updated_at@ deleted_at@ metadata"
ALIVE = " and {t}.deleted_at is null"


RULE = Resource("discount_rules", cols("id description type value allocation " + STAMPS))
CONDITION = Resource(
    "discount_conditions",
    cols("id type operator discount_rule_id " + STAMPS),
    {
        "discount_rule": One(RULE, "{t}.id = {p}.discount_rule_id"),
        "products": Many(PRODUCT, NAMED + ALIVE),
        "product_types": Many(TYPE, NAMED),
        "product_collections": Many(COLLECTION, NAMED + ALIVE),
        "product_tags": Many(TAG, NAMED),
        "customer_groups": Many(
            CUSTOMER_GROUP,
            f"{{t}}.kind = '{customer_groups.KIND}' and {{t}}.body is not null and " + NAMED,
            order="{t}.body ->> 'created_at', {t}.id",
        ),
    },
)
RULE.relations["conditions"] = Many(CONDITION, "{t}.discount_rule_id = {p}.id")
DISCOUNT = Resource(
    "discounts",
    cols(
        "id code is_dynamic rule_id is_disabled parent_discount_id starts_at@ ends_at@ valid_duration usage_limit"
        " usage_count " + STAMPS
    ),
    {
        "regions": Many(
            INNER_REGION,
            "{t}.id in (select region_id from discount_regions where discount_id = {p}.id) and {t}.deleted_at is null",
        ),
        "rule": One(RULE, "{t}.id = {p}.rule_id"),
    },
)
DISCOUNT.relations["parent_discount"] = One(DISCOUNT, "{t}.id = {p}.parent_discount_id and {t}.deleted_at is null")
EXPAND = tree(("parent_discount", "regions", "rule.conditions"))
WHOLE = Selection(tuple(DISCOUNT.columns), EXPAND)
# The query string of most operations about a discount, and what they answer; some do not look at theirs.
SHOWN = one(DISCOUNT, expand=EXPAND)
SHOWN_ANSWER = {"discount": SHOWN.rows}
WHOLE_ANSWER = {"discount": Rows((DISCOUNT,), EXPAND)}

# Orders look for the groups that a condition names. Its documents come in the events of the discount that the rule was
# made for.
CONDITION_DOC = Resource(
    CONDITION.table,
    {
        **CONDITION.columns,
        "customer_groups": "array(select resource_id from discount_condition_resources where condition_id = {t}.id)",
    },
)
OWNER = "(select d.id from discounts d where d.rule_id = {t}.discount_rule_id and d.parent_discount_id is null)"
DISCOUNT_KINDS: Mapping[str, Kind] = {
    "discount": Kind(DISCOUNT, tree(("parent_discount", "regions", "rule"))),
    "discount_condition": Kind(CONDITION_DOC, aggregate=OWNER),
}

ONCE = "A rule has one condition of a type and operator; change that one."

LOCK_RULE = """
select id, type from discount_rules
where id = (select rule_id from discounts where id = $1 and deleted_at is null) for no key update
"""
# A statement of its own: it has to see what was committed while the first one waited.
LOCK_FAMILY = """
select id, parent_discount_id, is_dynamic, starts_at, valid_duration, usage_limit from discounts
where rule_id = $1 and deleted_at is null order by id for no key update
"""
OF_GROUPS = "select id from discount_conditions where discount_rule_id = $1 and type = 'customer_groups'"


@dataclass(frozen=True)
class Discount:
    """A discount that is locked; `family` are the ids of all that share its rule."""

    id: str
    rule_id: str
    type: str
    parent_discount_id: str | None
    is_dynamic: bool
    starts_at: datetime
    valid_duration: str | None
    usage_limit: int | None
    family: Sequence[str]


def normalised(code: str) -> str:
    """A code as it is stored and looked up."""
    return code.strip().upper()


def no_discount(id_: str) -> NotFound:
    """The refusal for a discount that is not there."""
    return NotFound(f"There is no discount {id_}.")


async def discount_json(db: Db, discount_id: str, chosen: Selection = WHOLE) -> str:
    """`{"discount": ...}` with what was chosen. Raises NotFound."""
    return await answers.one(db, "discount", DISCOUNT, chosen, discount_id)


async def access_discount(db: Db, discount_id: str) -> Discount:
    """Lock the discount and those that share its rule. Raises NotFound."""
    rule = await db.fetchrow(LOCK_RULE, discount_id)
    if rule is None:
        raise no_discount(discount_id)
    rows = {row["id"]: dict(row) for row in await db.fetch(LOCK_FAMILY, rule["id"])}
    if discount_id not in rows:
        raise no_discount(discount_id)
    return Discount(**rows[discount_id], rule_id=rule["id"], type=rule["type"], family=list(rows))


async def emit_discount_updates(db: Db, discount: Discount, former: Iterable[str] = ()) -> None:
    """Emit that the discount has changed, and so has all that shows its rule. `former` are ids of conditions that were
    deleted."""
    events = await each_doc(db, "discount", list(discount.family), DISCOUNT_KINDS)
    owner = discount.parent_discount_id or discount.id
    if owner in events:
        events[owner]["copies"] |= await condition_docs(db, discount.rule_id, former)
    await emit_all(db, "discount.updated", events)


async def condition_docs(db: Db, rule_id: str, former: Iterable[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Returns the documents of the conditions on customer groups, and of `former` ones, which are null."""
    ids = [row["id"] for row in await db.fetch(OF_GROUPS, rule_id)]
    documents = await docs(db, {"discount_condition": ids}, DISCOUNT_KINDS)
    deleted: list[dict[str, Any]] = [{"id": id_, "body": None, "related": None} for id_ in former]
    return {"discount_condition": documents.get("discount_condition", []) + deleted}


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what a unique index refuses into the answer for it. The transaction is over then."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "discounts_code":
            raise Duplicate(f"Another discount has this code ({error.detail}).") from None
        if error.constraint_name == "discount_conditions_once":
            raise Duplicate(ONCE) from None
        raise
