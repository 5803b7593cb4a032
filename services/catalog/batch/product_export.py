"""product-export: a CSV file with a line for each variant, which product-import reads.

All lines are of one moment: they are read through a cursor in one snapshot, a few products at a time, into a file on
this machine, which goes to the store when the snapshot is no longer held. Prices for quantities are not in the file.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from services.catalog.batch import columns as columns
from services.catalog.batch.columns import PriceColumn
from services.catalog.batch.csv_files import cell, new_sheet
from services.catalog.batch.exports import Listing, finish, listing, stat
from services.catalog.batch.rows import Job, advance, connected, pre_processed
from services.catalog.products.lists import FILTERS
from services.catalog.products.reads import PRODUCT_COLUMNS, PROFILE_ON
from services.chassis.embed import Many, One, Resource, Selection, aliases, cols, merge, object_sql, tree
from services.chassis.errors import InvalidData
from services.chassis.keys import POOL

# Filters of the list of products that take several values only.
LISTS = frozenset({"status", "collection_id", "type_id", "tags", "category_id", "sales_channel_id", "price_list_id"})
FETCHED = 100  # products that are held at a time
ADVANCED = 20  # times so many until the progress is noted

PRICE = Resource("prices", cols("currency_code region_id amount"))
LIST_PRICES = """{t}.variant_id = {p}.id and {t}.price_list_id is null and {t}.deleted_at is null
    and {t}.min_quantity is null and {t}.max_quantity is null"""
ALIVE = "{t}.product_id = {p}.id and {t}.deleted_at is null"
EXPORTED = Resource(
    "products",
    cols(" ".join(["id", *columns.PRODUCT.values(), *columns.PRODUCT_REST.values()])),
    {
        "variants": Many(
            Resource(
                "product_variants",
                cols(" ".join(columns.VARIANT.values())),
                {
                    "prices": Many(PRICE, LIST_PRICES),
                    "options": Many(
                        Resource("product_option_values", cols("option_id value")),
                        "{t}.variant_id = {p}.id and {t}.deleted_at is null",
                    ),
                },
            ),
            ALIVE,
            order="{t}.variant_rank, {t}.created_at, {t}.id",
        ),
        "options": Many(Resource("product_options", cols("id title")), ALIVE),
        "profile": One(Resource("shipping_profiles", cols("name type")), PROFILE_ON),
        "images": Many(
            Resource(
                "(select i.url, l.product_id, l.position from product_images l join images i on i.id = l.image_id)",
                cols("url"),
            ),
            "{t}.product_id = {p}.id",
            order="{t}.position",
        ),
        "tags": Many(
            Resource(
                "(select g.value, l.product_id, l.position from product_tag_links l join product_tags g"
                " on g.id = l.tag_id)",
                cols("value"),
            ),
            "{t}.product_id = {p}.id",
            order="{t}.position",
        ),
        "type": One(Resource("product_types", cols("value")), "{t}.id = {p}.type_id"),
        "collection": One(
            Resource("product_collections", cols("title handle")),
            "{t}.id = {p}.collection_id and {t}.deleted_at is null",
        ),
        "sales_channels": Many(
            Resource("sales_channels", cols("id name description")),
            "{t}.id in (select sales_channel_id from product_sales_channels where product_id = {p}.id)"
            " and {t}.deleted_at is null",
        ),
        "categories": Many(
            Resource("product_categories", cols("handle name description")),
            "{t}.id in (select category_id from product_category_links where product_id = {p}.id)",
            order="{t}.rank, {t}.handle",
        ),
    },
)
# What `expand` may name, and what of the above it stands for.
RELATIONS = {
    "categories": "categories",
    "collection": "collection",
    "images": "images",
    "options": "options",
    "options.values": "options",
    "profiles": "profile",
    "sales_channels": "sales_channels",
    "tags": "tags",
    "type": "type",
    "variants": "variants",
    "variants.options": "variants.options",
    "variants.prices": "variants.prices",
    "variants.prices.region": "variants.prices",
}
EXPORTED_ROWS = "(select * from products t0 where {where} order by {order} limit {limit} offset {offset}) t0"
# How many columns of each kind there are, and which prices.
SHAPE = """
select count(*) as count,
    coalesce(max((select count(*) from product_images l where l.product_id = t0.id)), 0) as images,
    coalesce(max((
        select count(*) from product_options o where o.product_id = t0.id and o.deleted_at is null
    )), 0) as options,
    coalesce(max((
        select count(*) from product_sales_channels l join sales_channels s on s.id = l.sales_channel_id
        where l.product_id = t0.id and s.deleted_at is null
    )), 0) as channels,
    coalesce(max((select count(*) from product_category_links l where l.product_id = t0.id)), 0) as categories
from {rows}
"""
# Looked up product by product: after a large import nobody knows yet how many rows there are, and a join is a gamble.
PRICES = """
select m.currency_code, m.region_id, r.name,
    (select count(*) from regions x where x.name = r.name and x.deleted_at is null) as of_that_name
from (
    select distinct m.currency_code, m.region_id
    from {rows}, lateral (
        select v.id from product_variants v where v.product_id = t0.id and v.deleted_at is null offset 0
    ) v, lateral (
        select p.currency_code, p.region_id from prices p
        where p.variant_id = v.id and p.price_list_id is null and p.deleted_at is null
            and p.min_quantity is null and p.max_quantity is null
        offset 0
    ) m
) m left join regions r on r.id = m.region_id
where m.region_id is null or r.deleted_at is null
order by r.name nulls first, m.currency_code, m.region_id
"""


@dataclass(frozen=True)
class Shape:
    """The columns of one file: how many of each kind, and the prices, {(currency, region id): column}."""

    count: int
    options: int
    images: int
    channels: int
    categories: int
    prices: dict[tuple[str, str | None], PriceColumn]

    def json(self) -> dict[str, Any]:
        """As a job's context shows it."""
        return {
            "prices": [
                {"currency_code": currency, "region": region and {"id": region, "name": column.region}}
                for (currency, region), column in self.prices.items()
            ],
            "dynamicOptionColumnCount": self.options,
            "dynamicImageColumnCount": self.images,
            "dynamicSalesChannelsColumnCount": self.channels,
            "dynamicProductCategoriesColumnCount": self.categories,
        }

    def header(self) -> list[str]:
        return [
            *columns.PRODUCT,
            *columns.COLLECTION,
            columns.TYPE,
            columns.TAGS,
            *columns.PRODUCT_REST,
            *columns.PROFILE,
            *columns.VARIANT,
            *(column.name for column in self.prices.values()),
            *(f"Option {n} {part}" for n in range(1, self.options + 1) for part in ("Name", "Value")),
            *(f"Image {n} Url" for n in range(1, self.images + 1)),
            *(
                f"Sales Channel {n} {part}"
                for n in range(1, self.channels + 1)
                for part in ("Id", "Name", "Description")
            ),
            *(
                f"Product Category {n} {part}"
                for n in range(1, self.categories + 1)
                for part in ("Handle", "Name", "Description")
            ),
        ]

    def lines(self, product: dict[str, Any]) -> Iterator[list[str]]:
        """The product's lines, one for each variant."""
        first = [
            *of(product, columns.PRODUCT.values()),
            *of(product.get("collection"), columns.COLLECTION.values()),
            *of(product.get("type"), ["value"]),
            tags_cell([tag["value"] for tag in product.get("tags", [])]),
            *of(product, columns.PRODUCT_REST.values()),
            *of(product.get("profile"), columns.PROFILE.values()),
        ]
        options = product.get("options", [])[: self.options]
        last = [
            *padded([of(image, ["url"]) for image in product.get("images", [])], self.images, 1),
            *padded(
                [of(c, ["id", "name", "description"]) for c in product.get("sales_channels", [])], self.channels, 3
            ),
            *padded(
                [of(c, ["handle", "name", "description"]) for c in product.get("categories", [])], self.categories, 3
            ),
        ]
        for variant in product["variants"]:
            prices = {(p["currency_code"], p["region_id"]): p["amount"] for p in variant.get("prices", [])}
            values = {value["option_id"]: value["value"] for value in variant.get("options", [])}
            chosen = [[cell(o["title"]), cell(values.get(o["id"]))] for o in options]
            yield [
                *first,
                *of(variant, columns.VARIANT.values()),
                *(columns.major(prices[place], place[0]) if place in prices else "" for place in self.prices),
                *padded(chosen, self.options, 2),
                *last,
            ]


def of(row: dict[str, Any] | None, fields: Sequence[str] | Any) -> list[str]:
    """The cells of a row that may not be there."""
    return [cell(row.get(field) if row else None) for field in fields]


def padded(groups: list[list[str]], number: int, width: int) -> Iterator[str]:
    """The cells of `number` groups, as far as there are any."""
    for group in groups[:number]:
        yield from group
    yield from [""] * (width * max(number - len(groups), 0))


def tags_cell(values: list[str]) -> str:
    """`a,b` in one cell; a tag with a comma of its own is quoted in it."""
    if not values:
        return ""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return cell(line.getvalue().removesuffix("\r\n"))


def chosen_of(config: dict[str, Any]) -> Selection:
    """The columns and relations that the job asks for; the others stay empty. Raises InvalidData."""
    unknown = sorted(set(config["relations"]) - RELATIONS.keys())
    if unknown:
        raise InvalidData(f"expand: there is no relation {', '.join(unknown)}.")
    fields = set(config.get("select") or PRODUCT_COLUMNS)
    if unknown := sorted(fields - PRODUCT_COLUMNS.keys()):
        raise InvalidData(f"fields: there is no field {', '.join(unknown)}.")
    relations = merge(tree(["variants"]), tree(RELATIONS[name] for name in config["relations"]))
    return Selection(tuple(name for name in EXPORTED.columns if name in fields | {"id"}), relations)


async def shape_of(db: asyncpg.Connection, listed: Listing, chosen: Selection) -> Shape:
    """Two statements, whatever there is to export."""
    rows = EXPORTED_ROWS.format(**listed.parts("t0"))
    row = await db.fetchrow(SHAPE.format(rows=rows), *listed.args)
    shown = dict(chosen.tree)
    prices = await db.fetch(PRICES.format(rows=rows), *listed.args) if "prices" in dict(shown["variants"]) else []
    return Shape(
        row["count"],
        row["options"] if "options" in shown else 0,
        row["images"] if "images" in shown else 0,
        row["channels"] if "sales_channels" in shown else 0,
        row["categories"] if "categories" in shown else 0,
        {
            (p["currency_code"], p["region_id"]): PriceColumn(
                p["currency_code"],
                (p["name"] if p["of_that_name"] == 1 else p["region_id"]) if p["region_id"] else None,
            )
            for p in prices
        },
    )


async def prepare(job: Job) -> bool:
    """Count the products and columns of the file. Raises InvalidData for filters and the like that there are not."""
    listed, chosen = listing(job, FILTERS, LISTS, PRODUCT_COLUMNS), chosen_of(job.context["list_config"])
    async with connected(job.app) as db:
        shape = await shape_of(db, listed, chosen)
    job.context["shape"] = shape.json()
    async with job.app[POOL].acquire() as db, db.transaction():
        return await pre_processed(db, job, {"stat_descriptors": [stat("product", shape.count)]})


async def process(job: Job) -> None:
    """Write the file, and complete the job with it."""
    listed, chosen = listing(job, FILTERS, LISTS, PRODUCT_COLUMNS), chosen_of(job.context["list_config"])
    row = object_sql(EXPORTED, chosen.tree, "t0", aliases(), chosen.fields)
    parts = listed.parts("t0")
    select = f"select {row}::text from {EXPORTED_ROWS.format(**parts)} order by {parts['order']}"  # noqa: S608 - as above
    async with new_sheet() as sheet:
        async with connected(job.app) as db, db.transaction(isolation="repeatable_read", readonly=True):
            shape = await shape_of(db, listed, chosen)
            await sheet.write([shape.header()])
            cursor = await db.cursor(select, *listed.args)
            done = 0
            while products := await cursor.fetch(FETCHED, timeout=60):
                await sheet.write([line for record in products for line in shape.lines(orjson.loads(record[0]))])
                done += len(products)
                if done % (FETCHED * ADVANCED) == 0:
                    await advance(job, done, shape.count)
        await finish(job, sheet, "product-export.csv", done)
