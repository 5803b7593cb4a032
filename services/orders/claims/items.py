"""What a claim complains about: its items with their images and tags. A tag is one row however many items have it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.chassis.db import Db
from services.chassis.errors import InvalidData, NotFound
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.outbox import emit_all
from services.orders.claims.rules import tag_value
from services.orders.totals import MAX_QUANTITY

Row = dict[str, Any]
Id = Annotated[str, Field(min_length=1)]
Reason = Literal["missing_item", "wrong_item", "production_failure", "other"]


class ClaimItem(Body):
    item_id: Id
    """A line of the order, of one of its swaps or of one of its claims."""
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    reason: Reason
    note: str | None = None
    tags: list[str] | None = None
    """Words by which claims are told apart; they are kept in lower case."""
    images: list[str] | None = None
    """URLs of images."""


class ImageRef(Body):
    """An image that stays, by its id, or a new one."""

    id: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def named(self) -> "ImageRef":
        if not self.id and self.url is None:
            raise ValueError("name the id of an image, or the url of a new one")
        return self


class TagRef(Body):
    """A tag by its id, or by what it says."""

    id: str | None = None
    value: str | None = None

    @model_validator(mode="after")
    def named(self) -> "TagRef":
        if not self.id and self.value is None:
            raise ValueError("name the id of a tag, or its value")
        return self


class ClaimItemUpdate(Body):
    id: Id
    """The item of the claim, not the line."""
    note: str | None = None
    """An empty one leaves the note as it is."""
    reason: Reason | None = None
    metadata: dict[str, Any] | None = None
    images: list[ImageRef]
    """They take the place of those that the item has."""
    tags: list[TagRef]
    """They take the place of those that the item has."""


# $1 claim, $2 items
ADD_ITEMS = """
insert into claim_items (id, claim_order_id, item_id, variant_id, reason, note, quantity)
select id, $1, item_id, variant_id, reason, note, quantity
from rows from (jsonb_to_recordset($2::text::jsonb) as (
    id text, item_id text, variant_id text, reason text, note text, quantity int
)) with ordinality as x
order by x.ordinality
"""
ITEM_IDS = "select id from claim_items where claim_order_id = $1 and deleted_at is null"
# An empty note, like none, leaves the note as it is.
CHANGE_ITEMS = """
update claim_items i set
    note = coalesce(nullif(x.note, ''), i.note),
    reason = coalesce(x.reason, i.reason),
    metadata = case when jsonb_typeof(x.metadata) = 'object' then merged_metadata(i.metadata, x.metadata)
        else i.metadata end,
    updated_at = now()
from jsonb_to_recordset($1::text::jsonb) as x(id text, note text, reason text, metadata jsonb)
where i.id = x.id
"""
UNKNOWN_IMAGES = """
select x.id from unnest($1::text[], $2::text[]) as x(item_id, id)
where not exists (select from claim_images i where i.id = x.id and i.claim_item_id = x.item_id)
"""
# $1 the items, $2 images that stay, $3 new ones
SET_IMAGES = """
with gone as (
    delete from claim_images where claim_item_id = any($1::text[]) and id <> all ($2::text[])
)
insert into claim_images (id, claim_item_id, url)
select id, item_id, url
from rows from (jsonb_to_recordset($3::text::jsonb) as (id text, item_id text, url text)) with ordinality as x
order by x.ordinality
"""
UNKNOWN_TAGS = "select id from unnest($1::text[]) as x(id) where id not in (select id from claim_tags)"
# $1 the items, $2 $3 which has which tag by id, $4 $5 which has which by value, $6 ids for values that are new.
# The update that changes nothing is for tags that others make at this moment: they could not be seen otherwise. It goes
# in the order of the values, so that two that make the same tags wait for each other instead of deadlocking.
SET_TAGS = """
with named as (
    select distinct item_id, value from unnest($4::text[], $5::text[]) as x(item_id, value)
), tags as (
    insert into claim_tags (id, value)
    select x.id, x.value from jsonb_to_recordset($6::text::jsonb) as x(id text, value text) order by x.value
    on conflict (value) do update set value = excluded.value
    returning id, value
), links as (
    select named.item_id, tags.id as tag_id from named join tags using (value)
    union
    select item_id, tag_id from unnest($2::text[], $3::text[]) as x(item_id, tag_id)
), gone as (
    delete from claim_item_tags t where claim_item_id = any($1::text[])
        and not exists (select from links l where l.item_id = t.claim_item_id and l.tag_id = t.tag_id)
)
insert into claim_item_tags (claim_item_id, tag_id) select item_id, tag_id from links on conflict do nothing
"""


def item_rows(items: Sequence[ClaimItem], variants: dict[str, str | None]) -> list[Row]:
    """The items of a new claim, with ids; `variants` by line."""
    return [item.model_dump() | {"id": new_id("citm"), "variant_id": variants[item.item_id]} for item in items]


async def write_items(db: Db, claim_id: str, items: list[Row]) -> None:
    """Write the items of a new claim (`item_rows`)."""
    await db.execute(ADD_ITEMS, claim_id, json_text(items))
    images = [
        {"id": new_id("cimg"), "item_id": item["id"], "url": url} for item in items for url in item["images"] or ()
    ]
    tags = [(item["id"], tag_value(tag)) for item in items for tag in item["tags"] or ()]
    ids = [item["id"] for item in items]
    await db.execute(SET_IMAGES, ids, [], json_text(images))
    await set_tags(db, ids, [], tags)
    await emit_all(db, "claim_item.created", {id_: {"id": id_, "claim_order_id": claim_id} for id_ in ids})


async def set_tags(db: Db, ids: list[str], by_id: list[tuple[str, str]], by_value: list[tuple[str, str]]) -> None:
    """Give the items `ids` these tags and no others: `by_id` as (item, tag id), `by_value` as (item, value)."""
    values = [{"id": new_id("ctag"), "value": value} for value in sorted({value for _, value in by_value})]
    await db.execute(SET_TAGS, ids, *columns(by_id), *columns(by_value), json_text(values))


def columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [left for left, _ in pairs], [right for _, right in pairs]


async def change_items(db: Db, claim_id: str, items: Sequence[ClaimItemUpdate]) -> None:
    """Change items of a claim. Raises NotFound for another's item, InvalidData for another's image, an unknown tag, and
    an item that is named twice."""
    ids = [item.id for item in items]
    known = {row["id"] for row in await db.fetch(ITEM_IDS, claim_id)}
    if missing := [id_ for id_ in ids if id_ not in known]:
        raise NotFound(f"Claim {claim_id} has no item {missing[0]}.")
    if len(set(ids)) < len(ids):
        raise InvalidData("claim_items: an item is named twice.")
    images = [(item.id, image) for item in items for image in item.images]
    tags = [(item.id, tag) for item in items for tag in item.tags]
    kept_images = [(id_, image.id) for id_, image in images if image.id]
    kept_tags = [(id_, tag.id) for id_, tag in tags if tag.id]
    if row := await db.fetchrow(UNKNOWN_IMAGES, *columns(kept_images)):
        raise InvalidData(f"images: there is no image {row['id']} of this item.")
    if row := await db.fetchrow(UNKNOWN_TAGS, columns(kept_tags)[1]):
        raise InvalidData(f"tags: there is no tag {row['id']}.")
    await db.execute(
        CHANGE_ITEMS, json_text([item.model_dump(include={"id", "note", "reason", "metadata"}) for item in items])
    )
    added = [{"id": new_id("cimg"), "item_id": id_, "url": image.url} for id_, image in images if not image.id]
    await db.execute(SET_IMAGES, ids, columns(kept_images)[1], json_text(added))
    named = [(id_, tag_value(tag.value or "")) for id_, tag in tags if not tag.id]
    await set_tags(db, ids, kept_tags, named)
    await emit_all(db, "claim_item.updated", {id_: {"id": id_, "claim_order_id": claim_id} for id_ in ids})
