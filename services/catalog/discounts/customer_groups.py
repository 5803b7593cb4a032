"""Customer groups, which the orders service owns and price lists and discounts name: what is kept of them here."""

from collections.abc import Iterable

from aiohttp import web

from services.catalog import remote
from services.chassis import copies
from services.chassis.consumers import Event
from services.chassis.db import Db
from services.chassis.documents import Docs
from services.chassis.embed import Resource
from services.chassis.errors import NotFound

KIND = "customer_group"
# For relations: `on` has to compare `{t}.kind` with KIND, too.
CUSTOMER_GROUP = Resource("copies", document=True)


async def known_groups(app: web.Application, ids: Iterable[str]) -> Docs:
    """The documents of these groups, to be kept with what names them. Asks orders, so never inside a transaction.

    Raises NotFound for a group that is not there, and Unavailable.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return []
    documents = await remote.customer_groups(app, wanted)
    found = [doc for doc in documents if doc["body"] and not doc["body"].get("deleted_at")]
    missing = sorted(set(wanted) - {doc["id"] for doc in found})
    if missing:
        raise NotFound(f"There is no customer group {', '.join(missing)}.")
    return found


async def keep_groups(db: Db, found: Docs) -> None:
    """Store what `known_groups` found, in the transaction that refers to it."""
    await copies.store(db, KIND, found)


async def on_group(db: Db, event: Event) -> None:
    """A group was renamed, or is gone."""
    found: Docs = event.data.get("copies", {}).get(KIND, [])
    if event.name == "customer-group.deleted":
        found = [{"id": event.data["id"], "body": None}]
    await copies.store(db, KIND, [doc | {"sequence": event.sequence} for doc in found])


LISTENERS = {"customer-group.updated": on_group, "customer-group.deleted": on_group}
