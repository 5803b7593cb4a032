"""Every command that the inventory sends to others. None is sent inside a transaction (docs/adr/0004-sagas-as-data.md).

All raise Unavailable and what the other service refuses with, except those named `notify_`, `fill_` and `refresh_`:
these are best effort.
"""

from typing import Any

import structlog
from aiohttp import web

from services.chassis import commands, copies
from services.chassis.documents import Docs
from services.chassis.errors import ApiError, NotFound
from services.chassis.keys import BUS, POOL, SETTINGS
from services.inventory.ledger import BATCH, Availability

log = structlog.get_logger()

Reply = dict[str, Any]

LIVING = """
select id from copies where kind = $1 and id = any($2) and body is not null and body ->> 'deleted_at' is null
"""
# Products of these variants, and variants of items, whose copies have not come.
UNKNOWN_PRODUCTS = """
select distinct v.body ->> 'product_id' as id from copies v
where v.kind = 'variant' and v.id = any($1) and v.body is not null
and not exists (select from copies p where p.kind = 'product' and p.id = v.body ->> 'product_id')
"""
UNKNOWN_VARIANTS = """
select i.variant_id as id from variant_items i
where not exists (select from copies c where c.kind = 'variant' and c.id = i.variant_id) limit 500
"""


async def send(app: web.Application, service: str, name: str, body: dict[str, Any]) -> Reply:
    """Sends one command, within the deadline of the settings."""
    return await commands.call(app[BUS], service, name, body, deadline=app[SETTINGS].command_deadline)


# catalog


async def fetch_documents(app: web.Application, kind: str, ids: list[str], remember_gone: bool = False) -> None:
    """Store the catalog's documents of `ids`; with `remember_gone` also that it does not know the others."""
    if not ids:
        return
    reply = await send(app, "catalog", "documents", {"kinds": {kind: ids}})
    docs = reply["copies"].get(kind, [])
    if remember_gone:
        unknown = set(ids) - {doc["id"] for doc in docs}
        docs += [{"id": id_, "sequence": -1, "body": None} for id_ in unknown]
    async with app[POOL].acquire() as db, db.transaction():
        await copies.store(db, kind, docs)


async def check_known(app: web.Application, kind: str, ids: list[str], name: str, *, some: bool = False) -> None:
    """Raises NotFound when one of the ids is not a living row of the catalog's, as far as the catalog knows now; with
    `some`, when none is."""
    pool = app[POOL]
    living = {row["id"] for row in await pool.fetch(LIVING, kind, ids)}
    if unsure := [id_ for id_ in ids if id_ not in living]:
        await fetch_documents(app, kind, unsure)
        living |= {row["id"] for row in await pool.fetch(LIVING, kind, unsure)}
    for id_ in ids if not (some and living) else ():
        if id_ not in living:
            raise NotFound(f"There is no {name} {id_}.")


async def check_variant(app: web.Application, variant_id: str) -> None:
    """Raises NotFound for a variant that the catalog does not have."""
    await check_known(app, "variant", [variant_id], "variant")


async def check_channels(app: web.Application, channel_ids: list[str], *, some: bool = False) -> None:
    """Raises NotFound for a sales channel that the catalog does not have; with `some`, when it has none of them."""
    await check_known(app, "sales_channel", channel_ids, "sales channel", some=some)


async def fill_variants(app: web.Application) -> None:
    """Get the variants and products that lists show and whose events have not come yet, best effort."""
    pool = app[POOL]
    try:
        ids = [row["id"] for row in await pool.fetch(UNKNOWN_VARIANTS)]
        await fetch_documents(app, "variant", ids, remember_gone=True)
        await fetch_documents(app, "product", [row["id"] for row in await pool.fetch(UNKNOWN_PRODUCTS, ids)])
    except ApiError as error:
        log.warning("variants not fetched, their events will bring them", reason=error.message)


async def notify_availability(app: web.Application, variants: Availability) -> None:
    """After the commit: have the catalog's lists show it at once. What is too much for that, the events bring."""
    if 0 < len(variants) <= BATCH:
        await commands.notify(app, "catalog", "availability", {"variants": variants})


async def notify_links(app: web.Application, links: Docs) -> None:
    """After the commit: have the catalog show at once which locations its channels have."""
    if links:
        await commands.notify(app, "catalog", "sales_channel_locations", {"copies": {"sales_channel_location": links}})


# orders


async def unfulfilled(app: web.Application, line_item_id: str) -> int:
    """How much of a line has yet to be fulfilled. Raises NotFound for an unknown line, Conflict while something is at
    work on its order."""
    quantity: int = (await send(app, "orders", "unfulfilled", {"line_item_id": line_item_id}))["quantity"]
    return quantity


async def ask_lines(app: web.Application, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Lines of orders by id, as they are now; those that orders does not know are left out."""
    reply = await send(app, "orders", "line_items", {"ids": ids})
    return {line["id"]: line for line in reply["line_items"]}


async def refresh_lines(app: web.Application, ids: list[str]) -> None:
    """Bring the copies of these lines up to date, best effort: they change without our hearing of it."""
    if not ids:
        return
    try:
        lines = await ask_lines(app, ids)
    except ApiError as error:
        log.warning("lines not refreshed", reason=error.message)
        return
    docs = [
        {
            "id": id_,
            "sequence": 0,
            "body": {name: value for name, value in line.items() if name != "order"},
            "related": {"order": line.get("order")},
        }
        for id_, line in lines.items()
    ]
    async with app[POOL].acquire() as db, db.transaction():
        await copies.store(db, "line_item", docs)
