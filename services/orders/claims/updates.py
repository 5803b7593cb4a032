"""Changing a claim: what it says about its items, how its goods are sent, whether the customer is notified."""

from typing import Any

from aiohttp import web

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.jsons import json_or_null
from services.chassis.operations import post
from services.chassis.outbox import emit
from services.orders.claims.items import ClaimItemUpdate, change_items
from services.orders.claims.methods import (
    ClaimMethod,
    access_region,
    check_methods,
    existing_ids,
    new_methods,
    quote_methods,
    set_methods,
)
from services.orders.fulfillments.owners import CLAIM, access_owner, check_alive
from services.orders.pricing.quotes import Row, store_copies
from services.orders.reads import ORDER_ANSWER, WRITTEN, OrderView, order_json


class ClaimUpdate(Body):
    claim_items: list[ClaimItemUpdate] | None = None
    """Items of the claim that change, each once; the others stay."""
    shipping_methods: list[ClaimMethod] | None = None
    """They take the place of those that the claim has."""
    no_notification: bool | None = None
    """Whether the customer gets no notification. With null, the order's own holds."""
    metadata: dict[str, Any] | None = None


# $2 metadata, $3 whether no_notification was sent, $4 no_notification
CHANGE_CLAIM = """
update claims set
    metadata = case when $2::text is null then metadata else merged_metadata(metadata, $2::text::jsonb) end,
    no_notification = case when $3::boolean then $4::boolean else no_notification end,
    updated_at = now()
where id = $1
returning no_notification
"""


async def update_claim(
    db: Db, order_id: str, claim_id: str, body: ClaimUpdate, methods: list[Row], copies: dict[str, list[Row]]
) -> None:
    """Change what was sent; `methods` are the new ones, as the catalog priced them. Raises NotFound, NotAllowed,
    InvalidData or Conflict."""
    claim = await access_owner(db, CLAIM, order_id, claim_id, "update_claim")
    check_alive(CLAIM, claim, "updated")
    if body.claim_items:
        await change_items(db, claim_id, body.claim_items)
    if body.shipping_methods is not None:
        await check_methods(db, order_id, existing_ids(body.shipping_methods))
        await store_copies(db, copies)
        await set_methods(db, claim_id, existing_ids(body.shipping_methods), methods)
    metadata = json_or_null(body.metadata)
    sent = "no_notification" in body.model_fields_set
    no_notification = await db.fetchval(CHANGE_CLAIM, claim_id, metadata, sent, body.no_notification)
    data = {"id": claim_id, "order_id": order_id, "no_notification": no_notification}
    await emit(db, "claim.updated", claim_id, data)


async def post_claim(
    request: web.Request, order_id: str, claim_id: str, view: OrderView, body: ClaimUpdate
) -> web.Response:
    methods: list[Row] = []
    copies: dict[str, list[Row]] = {}
    if new := new_methods(body.shipping_methods):
        async with reading(request) as db:
            order = await access_region(db, order_id)
        methods, copies = await quote_methods(request.app, order, new)
    async with transaction(request) as db:
        await update_claim(db, order_id, claim_id, body, methods, copies)
        return json_bytes(request, await order_json(db, order_id, view))


OPERATIONS = [
    post(
        "/admin/orders/{id}/claims/{claim_id}",
        post_claim,
        "Update a claim",
        description="What is left out stays. The `images` and `tags` of an item are given as a whole; metadata is "
        "merged. Refused with 400 for a canceled claim.",
        query=WRITTEN,
        body=ClaimUpdate,
        example={
            "claim_items": [
                {
                    "id": "citm_01JD0000000000000000000000",
                    "reason": "production_failure",
                    "images": [{"url": "https://shop.example/seam.jpg"}],
                    "tags": [{"value": "seam"}],
                }
            ]
        },
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, InvalidData, Conflict, Unavailable),
        asks_others=True,
    )
]
