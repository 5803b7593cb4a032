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
    group_ids = sorted(set(ids))
    if not group_ids:
        return []
    documents = await remote.customer_groups(app, group_ids)
    groups = [doc for doc in documents if doc["body"] and not doc["body"].get("deleted_at")]
    missing = sorted(set(group_ids) - {doc["id"] for doc in groups})
    if missing:
        raise NotFound(f"There is no customer group {', '.join(missing)}.")
    return groups


async def keep_groups(db: Db, groups: Docs) -> None:
    """Store what `known_groups` returned, in the transaction that refers to it."""
    await copies.store(db, KIND, groups)


async def on_group(db: Db, event: Event) -> None:
    """Store that a group was renamed or deleted."""
    groups: Docs = event.data.get("copies", {}).get(KIND, [])
    if event.name == "customer-group.deleted":
        groups = [{"id": event.data["id"], "body": None}]
    await copies.store(db, KIND, [doc | {"sequence": event.sequence} for doc in groups])


LISTENERS = {"customer-group.updated": on_group, "customer-group.deleted": on_group}
