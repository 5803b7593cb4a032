"""The table of contents of the catalog."""

from pathlib import Path

from services.catalog import (
    batch,
    channels,
    commands,
    discounts,
    documents,
    files,
    listeners,
    price_lists,
    products,
    regions,
    shipping,
)
from services.catalog.batch.runner import run_jobs
from services.catalog.events import EVENTS
from services.catalog.glossary import GLOSSARY
from services.catalog.seed import seed
from services.catalog.settings import CatalogSettings
from services.chassis.service import Service

SERVICE = Service(
    name="catalog",
    folder=Path(__file__).parent,
    settings=CatalogSettings,
    operations=[
        *products.OPERATIONS,
        *price_lists.OPERATIONS,
        *discounts.OPERATIONS,
        *regions.OPERATIONS,
        *shipping.OPERATIONS,
        *channels.OPERATIONS,
        *files.OPERATIONS,
        *batch.OPERATIONS,
    ],
    glossary=GLOSSARY,
    listeners=listeners.LISTENERS,
    commands=commands.COMMANDS,
    documents=documents.KINDS,
    events=EVENTS,
    workers={"batch jobs": run_jobs},
    seed=seed,
)
