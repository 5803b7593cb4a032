"""What this service does when something happened elsewhere: keep copies of the catalog, take changes of payments."""

from collections.abc import Mapping

from services.chassis.consumers import Event, Listener, joined
from services.chassis.copies import on_copies, resent
from services.chassis.db import Db
from services.orders.notifications import events as notification_events
from services.orders.orders.payment_copies import take_payment

CATALOG = [
    f"{noun}.{what}"
    for noun in (
        "region",
        "country",
        "sales_channel",
        "shipping_option",
        "shipping_profile",
        "product",
        "product-variant",
        "discount",
        "tax_rate",
    )
    for what in ("created", "updated", "deleted")
]

# Copies that are sent again when they get another shape.
KINDS = (
    "region",
    "country",
    "sales_channel",
    "shipping_option",
    "shipping_profile",
    "product",
    "variant",
    "discount",
    "payment_collection",
    "user",
)

# Of the gateway: who wrote a note.
USERS = ["user.created", "user.updated", "user.deleted"]

# Of payments: what edits of orders show.
COLLECTIONS = [f"payment-collection.{what}" for what in ("created", "updated", "payment_authorized", "deleted")]
PAYMENTS = [f"payment.{what}" for what in ("created", "updated", "payment_captured", "payment_refunded", "canceled")]


async def on_payment(db: Db, event: Event) -> None:
    """A payment was made, captured, refunded or canceled, whoever asked for it."""
    await take_payment(db, event.data.get("payment"), event.data.get("refund"))


LISTENERS: Mapping[str, Listener] = joined(
    dict.fromkeys(CATALOG, on_copies),
    dict.fromkeys(USERS, on_copies),
    dict.fromkeys(COLLECTIONS, on_copies),
    resent(*KINDS),
    dict.fromkeys(PAYMENTS, on_payment),
    notification_events.LISTENERS,  # our own events, of which customers are to hear
)
