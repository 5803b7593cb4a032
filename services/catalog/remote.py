"""Every command that the catalog sends to others. None is sent inside a transaction (docs/adr/0004-sagas-as-data.md).

All raise Unavailable and what the other service refuses with, except those named `notify_`: these are best effort, and
return an empty reply when the other service does not answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from services.chassis import commands
from services.chassis.documents import Docs
from services.chassis.keys import BUS, SETTINGS

Reply = dict[str, Any]


async def send(app: web.Application, service: str, name: str, body: dict[str, Any]) -> Reply:
    """Sends one command, within the deadline of the settings."""
    return await commands.call(app[BUS], service, name, body, deadline=app[SETTINGS].command_deadline)


# orders


async def customer_groups(app: web.Application, group_ids: Sequence[str]) -> Docs:
    """Documents of these customer groups. Unknown ids are left out."""
    reply = await send(app, "orders", "documents", {"kinds": {"customer_group": group_ids}})
    groups: Docs = reply["copies"]["customer_group"]
    return groups


async def price_context(app: web.Application, cart_id: str | None, customer_id: str | None) -> Reply:
    """{"region_id", "customer_group_ids"}: where a cart is sold, and the groups of a customer."""
    return await send(app, "orders", "price_context", {"cart_id": cart_id, "customer_id": customer_id})


async def count_orders(app: web.Application, filters: dict[str, Any]) -> int:
    """How many orders these filters find. Raises InvalidData for filters that orders does not know."""
    count: int = (await send(app, "orders", "count_orders", filters))["count"]
    return count


async def export_orders(app: web.Application, page: dict[str, Any]) -> Reply:
    """{"orders", "after"}: a page of them, and where the next one begins. Raises InvalidData as `count_orders` does."""
    return await send(app, "orders", "export_orders", page)


# inventory


async def notify_variants(
    app: web.Application, variants: Sequence[Mapping[str, Any]], copies: Mapping[str, Docs]
) -> Reply:
    """{"variants"}, their availability: these variants are new and to be counted, and these documents have changed."""
    return await commands.notify(app, "inventory", "ensure_items", {"variants": variants, "copies": copies})


async def notify_sales_channel(app: web.Application, changed: dict[str, Any]) -> Reply:
    """{"variants"}, what is available now that this sales channel has changed."""
    return await commands.notify(app, "inventory", "sales_channel", changed)


# gateway


async def users(app: web.Application, user_ids: Sequence[str]) -> Docs:
    """Documents of these users. Unknown ids are left out."""
    reply = await send(app, "gateway", "documents", {"kinds": {"user": user_ids}})
    users: Docs = reply["copies"].get("user", [])
    return users
