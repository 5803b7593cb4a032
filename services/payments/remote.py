"""Every command that payments sends to others. None is sent inside a transaction (docs/adr/0004-sagas-as-data.md).

All raise Unavailable and what the other service refuses with, except those named `notify_` and `fetch_`: these are best
effort.
"""

from typing import Any

import structlog
from aiohttp import web

from services.chassis import commands, copies
from services.chassis.documents import Docs
from services.chassis.errors import ApiError, NotFound
from services.chassis.keys import BUS, POOL, SETTINGS
from services.payments.provider_protocol import Row

log = structlog.get_logger()

Reply = dict[str, Any]

FETCH_SECONDS = 2.0  # a read waits no longer for copies that are newer than those it has


# Documents


async def region(app: web.Application, region_id: str) -> Row:
    """The catalog's document of the region as it is now. Raises NotFound."""
    body = {"kinds": {"region": [region_id]}}
    reply = await commands.call(app[BUS], "catalog", "documents", body, deadline=app[SETTINGS].command_deadline)
    for doc in reply["copies"].get("region", []):
        if doc["body"] is not None and doc["body"]["deleted_at"] is None:
            row: Row = doc
            return row
    raise NotFound(f"region_id: there is no region {region_id}.")


async def fetch_documents(app: web.Application, service: str, ids_by_kind: dict[str, list[str]]) -> None:
    """Store that service's documents of these ids by kind as they are now, if it answers."""
    kinds = {kind: ids for kind, ids in ids_by_kind.items() if ids}
    if not kinds:
        return
    try:
        reply = await commands.call(app[BUS], service, "documents", {"kinds": kinds}, deadline=FETCH_SECONDS)
    except ApiError as error:
        log.warning("not refreshed", kinds=kinds, reason=error.message)
        return
    for kind in kinds:
        await copies.store(app[POOL], kind, reply["copies"].get(kind, []))


# orders


async def notify_payment(app: web.Application, payment: Row, refund: Row | None = None) -> None:
    """A payment has changed, through this refund if there is one: so that its order shows it at once."""
    await commands.notify(app, "orders", "payment", {"payment": payment, "refund": refund})


async def notify_payment_collection(app: web.Application, changed: dict[str, Docs]) -> None:
    """A payment collection has changed: so that its order edit shows it at once. Without documents, nothing has."""
    if changed:
        await commands.notify(app, "orders", "payment_collection", {"copies": changed})


# catalog


async def notify_payment_providers(app: web.Application, provider_ids: list[str]) -> None:
    """These providers are here: so that regions can offer them from the first start on. Ends when it was heard."""
    await commands.notify_until_heard(app, "catalog", "payment_providers", {"ids": provider_ids})
