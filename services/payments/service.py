"""The table of contents of payments."""

from pathlib import Path

from services.chassis.service import Service
from services.payments import (
    commands,
    documents,
    gift_cards,
    listeners,
    payment_collections,
    payments,
    providers,
    refunds,
    stripe_webhooks,
)
from services.payments.events import EVENTS
from services.payments.glossary import GLOSSARY
from services.payments.settings import PaymentsSettings

SERVICE = Service(
    name="payments",
    folder=Path(__file__).parent,
    settings=PaymentsSettings,
    operations=[
        *payments.OPERATIONS,
        *payment_collections.OPERATIONS,
        *refunds.OPERATIONS,
        *gift_cards.OPERATIONS,
        *stripe_webhooks.OPERATIONS,
    ],
    glossary=GLOSSARY,
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    documents=documents.KINDS,
    events=EVENTS,
    beside=[providers.open_providers],
    workers={"providers": providers.notify_catalog},
    sagas={
        operation.kind: operation.steps
        for operation in (payments.AUTHORIZE, payments.CAPTURE_ALL, payments.GIVE_UP, refunds.GIVE_BACK)
    },
)
