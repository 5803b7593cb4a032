"""The table of contents of inventory."""

from pathlib import Path

from services.chassis.service import Service
from services.inventory import channels, commands, items, levels, listeners, locations, reservations, variants

SERVICE = Service(
    name="inventory",
    folder=Path(__file__).parent,
    routes=[
        *items.ROUTES,
        *levels.ROUTES,
        *reservations.ROUTES,
        *locations.ROUTES,
        *channels.ROUTES,
        *variants.ROUTES,
    ],
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
)
