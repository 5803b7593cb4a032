"""The table of contents of payments."""

from pathlib import Path

from services.chassis.service import Service
from services.payments import commands, gift_cards, listeners, payments, refunds

SERVICE = Service(
    name="payments",
    folder=Path(__file__).parent,
    routes=[*payments.ROUTES, *refunds.ROUTES, *gift_cards.ROUTES],
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    sagas={
        operation.kind: operation.steps
        for operation in (payments.AUTHORISE, payments.CAPTURE_ALL, payments.GIVE_UP, refunds.GIVE_BACK)
    },
)
