"""The stock behind a variant of the catalog."""

from aiohttp import web

from services.chassis.db import reading
from services.chassis.embed import one_json
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import json_bytes
from services.chassis.operations import get
from services.chassis.schemas import Rows
from services.inventory.remote import check_variant
from services.inventory.resources import VARIANT, VARIANT_STOCK

KNOWN = "{t}.kind = 'variant' and {t}.id = $1 and {t}.body is not null and {t}.body ->> 'deleted_at' is null"

# Handlers


async def get_variant_inventory(request: web.Request, variant_id: str) -> web.Response:
    async with reading(request) as db:
        text = await one_json(db, VARIANT, VARIANT_STOCK, KNOWN, variant_id)
    if text is None:
        await check_variant(request.app, variant_id)
        async with reading(request) as db:
            text = await one_json(db, VARIANT, VARIANT_STOCK, KNOWN, variant_id)
    if text is None:
        raise NotFound(f"There is no variant {variant_id}.")
    return json_bytes(request, f'{{"variant":{text}}}')


OPERATIONS = [
    get(
        "/admin/variants/{id}/inventory",
        get_variant_inventory,
        "Get the stock of a variant",
        description="The item that counts it, with its levels, and how much of it each sales channel has available.",
        answer={"variant": Rows((VARIANT,), VARIANT_STOCK.tree)},
        errors=(NotFound, Unavailable),
        asks_others=True,
    )
]
