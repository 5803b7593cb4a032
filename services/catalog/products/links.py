"""What a product refers to: its collection, type, profile, and the sets of tags, images, categories and channels."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.catalog.products.bodies import IdBody, ProductCodes
from services.catalog.products.references import UnknownReferences
from services.chassis.db import Db
from services.chassis.errors import NotFound
from services.chassis.ids import new_id

CHECK = """
select
    $1::text is null or exists (select from product_collections where id = $1 and deleted_at is null) as collection,
    array(select unnest($2::text[]) except select id from product_categories) as categories,
    array(select unnest($3::text[]) except select id from sales_channels where deleted_at is null) as channels
"""
# Values and addresses are made in one order everywhere, so that two requests wait for each other, not in a circle.
MAKE = """
with made_types as (
    insert into product_types (id, value) select $1, $2 where $2::text is not null on conflict (value) do nothing
), made_tags as (
    insert into product_tags (id, value) select * from unnest($3::text[], $4::text[]) as x(id, value) order by value
    on conflict (value) do nothing
)
insert into images (id, url) select * from unnest($5::text[], $6::text[]) as x(id, url) order by url
on conflict (url) do nothing
"""
# Each set is replaced when its flag says so; what stays is left alone. $1 product, $2 to $9 flag and set.
LINK = """
with gone_tags as (
    delete from product_tag_links where $2 and product_id = $1
        and tag_id not in (select id from product_tags where value = any($3::text[]))
), tags as (
    insert into product_tag_links (product_id, tag_id, position)
    select $1, t.id, x.n from unnest($3::text[]) with ordinality as x(value, n) join product_tags t using (value)
    where $2
    on conflict (product_id, tag_id) do update set position = excluded.position
), gone_images as (
    delete from product_images where $4 and product_id = $1
        and image_id not in (select id from images where url = any($5::text[]))
), shown as (
    insert into product_images (product_id, image_id, position)
    select $1, i.id, x.n from unnest($5::text[]) with ordinality as x(url, n) join images i using (url)
    where $4
    on conflict (product_id, image_id) do update set position = excluded.position
), gone_categories as (
    delete from product_category_links where $6 and product_id = $1 and category_id <> all($7::text[])
), categories as (
    insert into product_category_links (product_id, category_id) select $1, unnest($7::text[]) where $6
    on conflict do nothing
), gone_channels as (
    delete from product_sales_channels where $8 and product_id = $1 and sales_channel_id <> all($9::text[])
)
insert into product_sales_channels (product_id, sales_channel_id) select $1, unnest($9::text[]) where $8
on conflict do nothing
"""


@dataclass(frozen=True)
class Links:
    """The sets of a product; None leaves one as it is."""

    tags: list[str] | None
    images: list[str] | None
    categories: list[str] | None
    channels: list[str] | None

    @classmethod
    def of(cls, body: ProductCodes) -> "Links":
        return cls(
            None if body.tags is None else unique([tag.value for tag in body.tags]),
            None if body.images is None else unique(body.images),
            ids_of(body.categories),
            ids_of(body.sales_channels),
        )


def unique(values: Sequence[str]) -> list[str]:
    """Each value once, in the order of first appearance."""
    return list(dict.fromkeys(values))


def ids_of(bodies: Sequence[IdBody] | None) -> list[str] | None:
    """The ids that are named, each once; None where there is no list."""
    return None if bodies is None else unique([body.id for body in bodies])


async def check_references(db: Db, collection_id: str | None, links: Links) -> None:
    """Raises NotFound or UnknownReferences for what the body names and does not exist."""
    if collection_id is None and not links.categories and not links.channels:
        return
    row = await db.fetchrow(CHECK, collection_id, links.categories or [], links.channels or [])
    if row["channels"]:
        raise UnknownReferences("Sales channels", row["channels"])
    if not row["collection"]:
        raise NotFound(f"There is no collection {collection_id}.")
    if row["categories"]:
        raise NotFound(f"There is no product category {', '.join(row['categories'])}.")


async def make_values(db: Db, type_: str | None, links: Links) -> None:
    """Make the type, the tags and the images that do not exist yet."""
    tags, images = links.tags or [], links.images or []
    if type_ is not None or tags or images:
        tag_ids, image_ids = [new_id("ptag") for _ in tags], [new_id("img") for _ in images]
        await db.execute(MAKE, new_id("ptyp"), type_, tag_ids, tags, image_ids, images)


async def set_links(db: Db, product_id: str, links: Links) -> None:
    """Replace the sets that are given."""
    sets = (links.tags, links.images, links.categories, links.channels)
    if any(values is not None for values in sets):
        flags = [argument for values in sets for argument in (values is not None, values or [])]
        await db.execute(LINK, product_id, *flags)
