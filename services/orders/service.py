"""The table of contents of orders."""

from pathlib import Path

from services.chassis.service import Service
from services.orders import (
    carts,
    claims,
    commands,
    customers,
    documents,
    drafts,
    edits,
    fulfillment_providers,
    fulfillments,
    listeners,
    notifications,
    orders,
    returns,
    swaps,
)
from services.orders.events import EVENTS
from services.orders.glossary import GLOSSARY
from services.orders.notifications.notifications import run_notifications
from services.orders.orders.counts import run_folding
from services.orders.settings import OrdersSettings

SERVICE = Service(
    name="orders",
    folder=Path(__file__).parent,
    settings=OrdersSettings,
    operations=[
        *drafts.OPERATIONS,
        *orders.OPERATIONS,
        *fulfillments.OPERATIONS,
        *returns.OPERATIONS,
        *swaps.OPERATIONS,
        *carts.OPERATIONS,
        *claims.OPERATIONS,
        *edits.OPERATIONS,
        *customers.OPERATIONS,
        *notifications.OPERATIONS,
    ],
    sagas={
        **drafts.SAGAS,
        **orders.SAGAS,
        **fulfillments.SAGAS,
        **returns.SAGAS,
        **swaps.SAGAS,
        **carts.SAGAS,
        **claims.SAGAS,
        **edits.SAGAS,
    },
    glossary=GLOSSARY,
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    documents=documents.KINDS,
    events=EVENTS,
    beside=[fulfillment_providers.open_providers],
    workers={
        "counts of orders": run_folding,
        "notifications": run_notifications,
        "providers": fulfillment_providers.notify_catalog,
    },
)
