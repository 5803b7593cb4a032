"""The table of contents of orders."""

from pathlib import Path

from services.chassis.service import Service
from services.orders import (
    cancellations,
    captures,
    commands,
    customer_groups,
    customers,
    draft_items,
    drafts,
    fulfillments,
    listeners,
    notes,
    notifications,
    orders,
    placements,
    refunds,
    reservations,
    return_reasons,
    return_receipts,
    returns,
    shipments,
    shipping_methods,
)

SERVICE = Service(
    name="orders",
    folder=Path(__file__).parent,
    routes=[
        *drafts.ROUTES,
        *draft_items.ROUTES,
        *placements.ROUTES,
        *orders.ROUTES,
        *captures.ROUTES,
        *refunds.ROUTES,
        *cancellations.ROUTES,
        *fulfillments.ROUTES,
        *shipments.ROUTES,
        *shipping_methods.ROUTES,
        *reservations.ROUTES,
        *return_reasons.ROUTES,
        *returns.ROUTES,
        *return_receipts.ROUTES,
        *customers.ROUTES,
        *customer_groups.ROUTES,
        *notes.ROUTES,
        *notifications.ROUTES,
    ],
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    sagas={
        **placements.SAGAS,
        **captures.SAGAS,
        **refunds.SAGAS,
        **cancellations.SAGAS,
        **fulfillments.SAGAS,
        **returns.SAGAS,
        **return_receipts.SAGAS,
    },
)
