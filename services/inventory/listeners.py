"""What the catalog does that matters here: new variants to be counted, rows to be shown, channels that go away."""

from collections.abc import Mapping

from services.chassis.consumers import Event, Listener
from services.chassis.copies import on_copies, resent
from services.chassis.db import Db
from services.inventory.channels import forget_channel
from services.inventory.items import ensure_items


async def on_variants_created(db: Db, event: Event) -> None:
    """The event says what `ensure_items` was told, so that one that got lost is made good."""
    await on_copies(db, event)
    await ensure_items(db, event.data.get("variants", []))


async def on_sales_channel_deleted(db: Db, event: Event) -> None:
    await on_copies(db, event)
    await forget_channel(db, event.data["id"])


LISTENERS: Mapping[str, Listener] = {
    "product.created": on_variants_created,
    "product.updated": on_copies,
    "product.deleted": on_copies,
    "product-variant.created": on_variants_created,
    "product-variant.updated": on_copies,
    "product-variant.deleted": on_copies,
    "sales_channel.created": on_copies,
    "sales_channel.updated": on_copies,
    "sales_channel.deleted": on_sales_channel_deleted,
    **resent("product", "variant", "sales_channel"),
}
