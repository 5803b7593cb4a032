"""The table of contents of inventory."""

from pathlib import Path

from services.chassis.service import Service
from services.inventory import (
    channels,
    commands,
    documents,
    items,
    ledger_reads,
    levels,
    listeners,
    locations,
    reservations,
    variants,
)
from services.inventory.events import EVENTS
from services.inventory.glossary import GLOSSARY
from services.inventory.ledger_rolls import run_rolls
from services.inventory.settings import InventorySettings

SERVICE = Service(
    name="inventory",
    folder=Path(__file__).parent,
    settings=InventorySettings,
    operations=[
        *items.OPERATIONS,
        *ledger_reads.OPERATIONS,
        *levels.OPERATIONS,
        *reservations.OPERATIONS,
        *locations.OPERATIONS,
        *channels.OPERATIONS,
        *variants.OPERATIONS,
    ],
    glossary=GLOSSARY,
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    documents=documents.KINDS,
    events=EVENTS,
    workers={"ledger": run_rolls},
)
