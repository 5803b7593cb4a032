"""The regions of a discount. It shows them, so what happened to a region happened to its discounts, too.

That is heard of by our own event, in a transaction of its own: who changes a discount locks it before its regions, so
who changes a region must not lock its discounts.
"""

from collections.abc import Mapping, Sequence

from services.catalog.discounts.rows import (
    DISCOUNT_KINDS,
    WHOLE_ANSWER,
    access_discount,
    discount_json,
    emit_discount_updates,
)
from services.chassis.consumers import Event, Listener
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.errors import InvalidData, NotFound
from services.chassis.operations import delete, post
from services.chassis.outbox import emit_all

LOCK_REGIONS = "select id from regions where id = any($1::text[]) and deleted_at is null order by id for share"
ADD_REGIONS = """
insert into discount_regions (discount_id, region_id) select $1, id from unnest($2::text[]) id order by id
on conflict do nothing
"""
KEEP_REGIONS = "delete from discount_regions where discount_id = $1 and not region_id = any($2::text[])"
REGIONS_OF = """
select array(
    select region_id from discount_regions x join regions r on r.id = x.region_id and r.deleted_at is null
    where x.discount_id = $1
)
"""
TOUCH_DISCOUNT = "update discounts set updated_at = now() where id = $1"
LOCK_RULES = """
select id from discount_rules where id in (
    select d.rule_id from discounts d join discount_regions x on x.discount_id = d.id
    where x.region_id = $1 and d.deleted_at is null
)
order by id for no key update
"""
LOCK_DISCOUNTS = """
select id from discounts d
where rule_id = any($1::text[]) and deleted_at is null
    and exists (select from discount_regions x where x.discount_id = d.id and x.region_id = $2)
order by id for no key update
"""


def check_number(type_: str, regions: Sequence[str]) -> None:
    """Raises InvalidData for an amount of money in several regions, whose currencies may differ."""
    if type_ == "fixed" and len(set(regions)) > 1:
        raise InvalidData("regions: a fixed discount has one region.")


async def add_regions(db: Db, discount_id: str, region_ids: Sequence[str]) -> None:
    """Let the discount be for these regions, too. Raises NotFound."""
    missing = sorted(set(region_ids) - {row["id"] for row in await db.fetch(LOCK_REGIONS, region_ids)})
    if missing:
        raise NotFound(f"There is no region {', '.join(missing)}.")
    await db.execute(ADD_REGIONS, discount_id, region_ids)


async def replace_regions(db: Db, discount_id: str, type_: str, region_ids: Sequence[str]) -> None:
    """Let the discount be for these regions and no others. Raises NotFound or InvalidData."""
    check_number(type_, region_ids)
    await db.execute(KEEP_REGIONS, discount_id, region_ids)
    await add_regions(db, discount_id, region_ids)


async def add_region(db: Db, discount_id: str, region_id: str) -> None:
    """Let the discount be for the region, too. Raises NotFound or InvalidData."""
    discount = await access_discount(db, discount_id)
    regions = await db.fetchval(REGIONS_OF, discount_id)
    if region_id in regions:
        return
    check_number(discount.type, [*regions, region_id])
    await add_regions(db, discount_id, [region_id])
    await db.execute(TOUCH_DISCOUNT, discount_id)
    await emit_discount_updates(db, discount)


async def remove_region(db: Db, discount_id: str, region_id: str) -> None:
    """Let the discount not be for the region. Raises NotFound."""
    discount = await access_discount(db, discount_id)
    statement = "delete from discount_regions where discount_id = $1 and region_id = $2"
    if await db.execute(statement, discount_id, region_id) != "DELETE 0":
        await db.execute(TOUCH_DISCOUNT, discount_id)
        await emit_discount_updates(db, discount)


async def on_region(db: Db, event: Event) -> None:
    """Emit that the discounts of the region have changed."""
    rules = [row["id"] for row in await db.fetch(LOCK_RULES, event.data["id"])]
    ids = [row["id"] for row in await db.fetch(LOCK_DISCOUNTS, rules, event.data["id"])]
    await emit_all(db, "discount.updated", await each_doc(db, "discount", ids, DISCOUNT_KINDS))


# Handlers


async def post_region(db: Db, discount_id: str, region_id: str) -> str:
    await add_region(db, discount_id, region_id)
    return await discount_json(db, discount_id)


async def delete_region(db: Db, discount_id: str, region_id: str) -> str:
    await remove_region(db, discount_id, region_id)
    return await discount_json(db, discount_id)


OPERATIONS = [
    post(
        "/admin/discounts/{id}/regions/{region_id}",
        post_region,
        "Add a region to a discount",
        description="A second region of a fixed discount is refused, for its currency may be another one. One that the "
        "discount is for is no error.",
        answer=WHOLE_ANSWER,
        errors=(NotFound, InvalidData),
    ),
    delete(
        "/admin/discounts/{id}/regions/{region_id}",
        delete_region,
        "Remove a region from a discount",
        description="A region that the discount is not for is no error.",
        answer=WHOLE_ANSWER,
        errors=(NotFound,),
    ),
]
LISTENERS: Mapping[str, Listener] = {"region.updated": on_region, "region.deleted": on_region}
