"""Products: create, change, delete. `lists.py` finds them, `variants.py` and `options.py` have their parts."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from services.catalog.products.bodies import MetadataBody, NewVariant, ProductBody, ProductUpdate, VariantEntry
from services.catalog.products.documents import Changes, numbered, product_docs, stock_facts
from services.catalog.products.links import Links, check_references, make_values, set_links
from services.catalog.products.reads import WRITTEN, product_json
from services.catalog.products.references import UNKNOWN_REFERENCES, refusals
from services.catalog.products.slugs import slug
from services.catalog.products.stock import notify_inventory
from services.catalog.products.variant_rows import (
    Addition,
    add_variants,
    change_variants,
    check_combinations,
    check_values,
    option_ids,
    pairs,
    remove_variants,
)
from services.chassis.db import Db, transaction
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.http import json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import delete, post
from services.chassis.outbox import emit
from services.chassis.schemas import deleted

COLUMNS = (
    "title, subtitle, description, handle, status, discountable, collection_id, weight, length, height,"
    " width, hs_code, origin_country, mid_code, material"
)
# $3 is the value of the type. A gift card has the gift cards' profile, everything else the default one.
INSERT_PRODUCT = f"""
insert into products (id, {COLUMNS}, thumbnail, is_giftcard, metadata, type_id, profile_id)
select id, {COLUMNS}, thumbnail, is_giftcard, metadata, (select t.id from product_types t where t.value = $2), (
    select p.id from shipping_profiles p
    where p.type = case when is_giftcard then 'gift_card' else 'default' end and p.deleted_at is null
    order by p.created_at limit 1
) from jsonb_populate_record(null::products, $1::text::jsonb)
"""  # noqa: S608 - constants
# $2: what the body names; the rest stays. A thumbnail is taken from the images when there is none.
UPDATE_PRODUCT = f"""
update products p set
    ({COLUMNS}) = (select {COLUMNS} from jsonb_populate_record(p, $2::text::jsonb - 'metadata') n),
    thumbnail = case
        when $2::text::jsonb ? 'thumbnail' then $2::text::jsonb ->> 'thumbnail' else coalesce(p.thumbnail, $3)
    end,
    type_id = case when $4 then (select t.id from product_types t where t.value = $5) else p.type_id end,
    metadata = updated_metadata(p.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""  # noqa: S608 - constants
INSERT_OPTIONS = """
insert into product_options (id, product_id, title)
select id, $1, title from unnest($2::text[], $3::text[]) as x(id, title)
"""
DEFAULT_CHANNEL = "select default_sales_channel_id from stores"
LOCK_PRODUCT = "select id, title from products where id = $1 and deleted_at is null for no key update"
VARIANTS = "select id from product_variants where product_id = $1 and deleted_at is null order by variant_rank, id"
REMOVE_PRODUCT = "update products set deleted_at = now() where id = $1"


async def access_product(db: Db, product_id: str) -> Any:
    """The product's row (id, title), locked until the commit. Raises NotFound."""
    row = await db.fetchrow(LOCK_PRODUCT, product_id)
    if row is None:
        raise NotFound(f"There is no product {product_id}.")
    return row


async def emit_changes(
    db: Db,
    name: str,
    product_id: str,
    touched: Sequence[str] = (),
    *,
    added: Sequence[str] = (),
    variant_id: str | None = None,
) -> Changes:
    """Emit the event, with documents of the product and of the variants touched. Returns what has changed.

    All events of a product and its variants are of one aggregate, so that they come in the order of the changes.
    """
    copies = await product_docs(db, [product_id], list(touched))
    facts = stock_facts(copies, copies["product"][0]["body"]["title"], added)
    subject = {"id": product_id} if variant_id is None else {"id": variant_id, "product_id": product_id}
    await emit(db, name, product_id, {**subject, "variants": facts, "copies": copies})
    return Changes(facts, numbered(copies))


# Actions


async def create_product(db: Db, body: ProductBody) -> tuple[str, Changes]:
    """A new product with everything that the body names. Returns its id and what has changed."""
    product_id, links = new_id("prod"), Links.of(body)
    await check_references(db, body.collection_id, links)
    if not links.channels:
        links = Links(links.tags, links.images, links.categories, [await db.fetchval(DEFAULT_CHANNEL)])
    await make_values(db, body.type.value if body.type else None, links)
    row = body.model_dump(exclude={"type", "images", "tags", "categories", "sales_channels", "options", "variants"}) | {
        "id": product_id,
        "handle": body.handle or slug(body.title) or product_id,
        "thumbnail": body.thumbnail or next(iter(links.images or []), body.thumbnail),
        "discountable": body.discountable and not body.is_giftcard,
    }
    with refusals():
        await db.execute(INSERT_PRODUCT, json_text(row), body.type.value if body.type else None)
        options = sorted(new_id("opt") for _ in body.options or [])
        if options:
            await db.execute(INSERT_OPTIONS, product_id, options, [option.title for option in body.options or []])
    await set_links(db, product_id, links)
    variant_ids = await add_variants(db, product_id, first_variants(body.variants or [], options))
    return product_id, await emit_changes(db, "product.created", product_id, variant_ids, added=variant_ids)


def first_variants(variants: list[NewVariant], options: list[str]) -> list[Addition]:
    """The variants of a new product: their values belong to its options in order. Raises InvalidData."""
    for variant in variants:
        if len(variant.options) != len(options):
            raise InvalidData(f"The variant {variant.title} needs one value for each of {len(options)} options.")
    return [
        Addition(variant, rank, [(o, v.value) for o, v in zip(options, variant.options, strict=True)])
        for rank, variant in enumerate(variants)
    ]


async def update_product(db: Db, product_id: str, body: ProductUpdate) -> Changes:
    """Change what the body names; lists replace what was there. Returns what has changed."""
    sent, links = body.model_fields_set, Links.of(body)
    await access_product(db, product_id)
    await check_references(db, body.collection_id, links)
    type_ = body.type.value if body.type else None
    await make_values(db, type_, links)
    row = body.model_dump(
        exclude={"type", "images", "tags", "categories", "sales_channels", "variants"}, exclude_unset=True
    )
    if body.metadata is None:
        row.pop("metadata", None)
    with refusals():
        await db.execute(
            UPDATE_PRODUCT,
            product_id,
            json_text(row),
            next(iter(links.images or []), None),
            "type" in sent,
            type_,
        )
    await set_links(db, product_id, links)
    touched, added = await set_variants(db, product_id, body.variants) if body.variants is not None else ([], [])
    changes = await emit_changes(db, "product.updated", product_id, touched)
    if not added:
        return changes
    # One event for all new variants: who makes something of each finds them under `variants`.
    return await emit_changes(db, "product-variant.created", product_id, added, added=added, variant_id=added[0])


async def set_variants(db: Db, product_id: str, entries: list[VariantEntry]) -> tuple[list[str], list[str]]:
    """Make the entries the whole list of variants. Returns (all that were touched, those that are new)."""
    kept = {entry.id: entry for entry in entries if entry.id is not None}
    ranks = {entry.id: rank for rank, entry in enumerate(entries) if entry.id is not None}
    live_ids = [row["id"] for row in await db.fetch(VARIANTS, product_id)]
    if unknown := sorted(kept.keys() - set(live_ids)):
        raise NotFound(f"The product has no variant {', '.join(unknown)}.")
    gone = await remove_variants(db, product_id, [id_ for id_ in live_ids if id_ not in kept])
    await change_variants(db, product_id, kept, ranks)
    added: list[str] = []
    if len(ranks) < len(entries):
        options = await option_ids(db, product_id)
        additions = [addition(entry, rank, options) for rank, entry in enumerate(entries) if entry.id is None]
        await check_combinations(db, product_id, additions)
        added = await add_variants(db, product_id, additions)
    return [*gone, *kept, *added], added


def addition(entry: VariantEntry, rank: int, options: list[str]) -> Addition:
    """The new variant that an entry without id asks for. Raises InvalidData."""
    values = pairs(entry.options or [])
    check_values(options, values, entry.title)
    row = entry.model_dump(exclude={"id": True, "options": True, "prices": {"__all__": {"id"}}}, exclude_unset=True)
    return Addition(NewVariant.model_validate(row | {"prices": row.get("prices") or []}), rank, values)


async def set_metadata(db: Db, product_id: str, key: str, value: str) -> None:
    """Set one key of the metadata; an empty value takes it away."""
    await access_product(db, product_id)
    await db.execute(
        "update products set metadata = merged_metadata(metadata, jsonb_build_object($2::text, $3::text)),"
        " updated_at = now() where id = $1",
        product_id,
        key,
        value,
    )
    await emit_changes(db, "product.updated", product_id)


async def remove_product(db: Db, product_id: str) -> Changes:
    """The product and its variants are gone for the API; handle and SKUs are free. An unknown one is no error."""
    if await db.fetchrow(LOCK_PRODUCT, product_id) is None:
        return Changes()
    live_ids = [row["id"] for row in await db.fetch(VARIANTS, product_id)]
    gone = await remove_variants(db, product_id, live_ids)
    await db.execute(REMOVE_PRODUCT, product_id)
    return await emit_changes(db, "product.deleted", product_id, gone)


# Handlers


async def post_products(request: web.Request, body: ProductBody) -> web.Response:
    async with transaction(request) as db:
        product_id, changes = await create_product(db, body)
        answer = json_bytes(request, f'{{"product":{await product_json(db, product_id)}}}')
    await notify_inventory(request.app, changes)
    return answer


async def post_product(request: web.Request, product_id: str, body: ProductUpdate) -> web.Response:
    async with transaction(request) as db:
        changes = await update_product(db, product_id, body)
        answer = json_bytes(request, f'{{"product":{await product_json(db, product_id)}}}')
    await notify_inventory(request.app, changes)
    return answer


async def delete_product(request: web.Request, product_id: str) -> web.Response:
    async with transaction(request) as db:
        changes = await remove_product(db, product_id)
        answer = json_bytes(request, to_json({"id": product_id, "object": "product", "deleted": True}))
    await notify_inventory(request.app, changes)
    return answer


async def post_product_metadata(db: Db, product_id: str, body: MetadataBody) -> str:
    await set_metadata(db, product_id, body.key, body.value)
    return f'{{"product":{await product_json(db, product_id)}}}'


OPERATIONS = [
    post(
        "/admin/products",
        post_products,
        "Create a product",
        description="Types and tags are found by their value and images by their address, or made. Without channels "
        "the product goes into the store's default one; a gift card is not discountable. A handle that is not given "
        "is made of the title. Whatever is wrong with a variant is refused with 400, a SKU that is taken and a "
        "currency that is unknown, too. The inventory makes an item without stock for each variant that is managed.",
        body=ProductBody,
        example={
            "title": "Linen shirt",
            "handle": "linen-shirt-ada",
            "status": "published",
            "options": [{"title": "Size"}],
            "variants": [
                {"title": "S", "prices": [{"currency_code": "usd", "amount": 4900}], "options": [{"value": "S"}]},
                {"title": "M", "prices": [{"currency_code": "usd", "amount": 4900}], "options": [{"value": "M"}]},
            ],
            "tags": [{"value": "summer"}],
            "images": ["https://example.com/linen-shirt.jpg"],
        },
        answer={"product": WRITTEN},
        errors=(NotFound, InvalidData, Duplicate),
        refusal=UNKNOWN_REFERENCES,
        asks_others=True,
    ),
    post(
        "/admin/products/{id}",
        post_product,
        "Update a product",
        description="What the body does not name stays. Sets (`images`, `tags`, `categories`, `sales_channels`) "
        "replace what was there, an empty one empties. `variants` is the whole new list: those with an id change, "
        "those without are made, all others are deleted. The order of the list is that of the variants.",
        body=ProductUpdate,
        example={"subtitle": "Washed, from Flemish flax", "discountable": False, "tags": [{"value": "linen"}]},
        answer={"product": WRITTEN},
        errors=(NotFound, InvalidData, Duplicate),
        refusal=UNKNOWN_REFERENCES,
        asks_others=True,
    ),
    delete(
        "/admin/products/{id}",
        delete_product,
        "Delete a product",
        description="Its variants go with it; handle and SKUs may be used again, and items of the inventory stay. A "
        "product that is not there is no error.",
        answer=deleted("product"),
        asks_others=True,
    ),
    post(
        "/admin/products/{id}/metadata",
        post_product_metadata,
        "Set a key of a product's metadata",
        description="The other keys stay. An empty value takes the key away.",
        body=MetadataBody,
        example={"key": "care", "value": "Wash cold"},
        answer={"product": WRITTEN},
        errors=(NotFound,),
    ),
]
