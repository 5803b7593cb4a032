"""Variants of a product: add, change, remove. Every answer is the product. `variant_lists.py` finds them."""

import orjson
from aiohttp import web

from services.catalog.products.bodies import VariantBody, VariantUpdate
from services.catalog.products.documents import Changes
from services.catalog.products.products import access_product, emit_changes
from services.catalog.products.reads import WRITTEN, product_json
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
from services.chassis.operations import delete, post

COUNT = "select count(*) from product_variants where product_id = $1 and deleted_at is null"


async def create_variant(db: Db, product_id: str, body: VariantBody) -> Changes:
    """Add a variant after the others. Returns what has changed. Raises InvalidData for any reason."""
    try:
        await access_product(db, product_id)
    except NotFound as error:
        raise InvalidData(error.message) from None
    values = pairs(body.options)
    check_values(await option_ids(db, product_id), values, body.title)
    additions = [Addition(body, await db.fetchval(COUNT, product_id), values)]
    await check_combinations(db, product_id, additions)
    (variant_id,) = await add_variants(db, product_id, additions)
    added = [variant_id]
    return await emit_changes(db, "product-variant.created", product_id, added, added=added, variant_id=variant_id)


async def update_variant(db: Db, product_id: str, variant_id: str, body: VariantUpdate) -> Changes:
    """Change what the body names; prices replace those that were there. Returns what has changed."""
    await access_product(db, product_id)
    await change_variants(db, product_id, {variant_id: body})
    return await emit_changes(db, "product-variant.updated", product_id, [variant_id], variant_id=variant_id)


async def remove_variant(db: Db, product_id: str, variant_id: str) -> Changes:
    """The variant is gone for the API, its SKU is free. An unknown one is no error."""
    await access_product(db, product_id)
    gone = await remove_variants(db, product_id, [variant_id])
    if not gone:
        return Changes()
    return await emit_changes(db, "product-variant.deleted", product_id, gone, variant_id=variant_id)


# Handlers


async def post_variants(request: web.Request, product_id: str, body: VariantBody) -> web.Response:
    async with transaction(request) as db:
        changes = await create_variant(db, product_id, body)
        answer = json_bytes(request, f'{{"product":{await product_json(db, product_id)}}}')
    await notify_inventory(request.app, changes)
    return answer


async def post_variant(request: web.Request, product_id: str, variant_id: str, body: VariantUpdate) -> web.Response:
    async with transaction(request) as db:
        changes = await update_variant(db, product_id, variant_id, body)
        answer = json_bytes(request, f'{{"product":{await product_json(db, product_id)}}}')
    await notify_inventory(request.app, changes)
    return answer


async def delete_variant(request: web.Request, product_id: str, variant_id: str) -> web.Response:
    async with transaction(request) as db:
        changes = await remove_variant(db, product_id, variant_id)
        deletion = {"variant_id": variant_id, "object": "product-variant", "deleted": True}
        product = orjson.Fragment(await product_json(db, product_id))
        answer = json_bytes(request, orjson.dumps(deletion | {"product": product}))
    await notify_inventory(request.app, changes)
    return answer


OPERATIONS = [
    post(
        "/admin/products/{id}/variants",
        post_variants,
        "Add a variant to a product",
        description="It comes after the others, and needs one value for each of the product's options; no other "
        "variant may have the same ones. Whatever is wrong is refused with 400: a product that is not there, a SKU "
        "that is taken and an unknown currency, too. The inventory makes an item without stock for a variant that is "
        "managed.",
        body=VariantBody,
        example={
            "title": "XL",
            "sku": "linen-shirt-xl",
            "prices": [{"currency_code": "usd", "amount": 5200}],
            "options": [{"option_id": "opt_01KE8V9YJ5S3BSXKGJ4YF5VB1M", "value": "XL"}],
        },
        answer={"product": WRITTEN},
        asks_others=True,
    ),
    post(
        "/admin/products/{id}/variants/{variant_id}",
        post_variant,
        "Update a variant of a product",
        description="What the body does not name stays. `prices` replace the variant's own, not those of price lists; "
        "options that are not named keep their values.",
        body=VariantUpdate,
        example={"title": "Extra large", "prices": [{"currency_code": "usd", "amount": 5400}], "allow_backorder": True},
        answer={"product": WRITTEN},
        errors=(NotFound, Duplicate),
        asks_others=True,
    ),
    delete(
        "/admin/products/{id}/variants/{variant_id}",
        delete_variant,
        "Delete a variant of a product",
        description="Its SKU may be used again; its item of the inventory stays. A variant that is not there is no "
        "error.",
        answer={"variant_id": str, "object": "product-variant", "deleted": True, "product": WRITTEN},
        errors=(NotFound,),
        asks_others=True,
    ),
]
