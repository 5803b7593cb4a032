"""The links of locations to sales channels as the catalog shows them: their documents, and how it hears of them.

A link's documents come with the events of its location, which is locked while it is made or taken away.
"""

from typing import Any

from services.chassis.db import Db
from services.chassis.documents import Docs, docs
from services.chassis.outbox import emit
from services.inventory.documents import KINDS

KIND = "sales_channel_location"


def gone(link_ids: list[str]) -> Docs:
    """The documents of links that are there no more."""
    return [{"id": id_, "body": None, "related": None} for id_ in link_ids]


async def shown(db: Db, link_id: str) -> Docs:
    return (await docs(db, {KIND: [link_id]}, KINDS))[KIND]


async def emit_links(db: Db, name: str, location_id: str, data: dict[str, Any], links: Docs) -> Docs:
    """The event `name` about the location with these links. Returns them numbered, to be given to `notify_links`."""
    sequence = await emit(db, name, location_id, {"id": location_id, **data, "copies": {KIND: links}})
    return [link | {"sequence": sequence} for link in links]
