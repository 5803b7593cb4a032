"""Versions of lines of orders, so that nothing is reserved on the strength of what a line was a moment ago.

How much of a line can be reserved, its order knows; and no lock is held while it is asked. So whoever is to reserve for
a line reads its version, then asks the order, then reserves under the locks of the line and its item if the version is
as before. Fulfilling a line, releasing it and moving its reservations to another line make a new version. What is begun
later finds the reservation, and deals with it; and while something is at work on the order, the order does not answer.
"""

from dataclasses import dataclass

from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import Conflict
from services.chassis.keys import POOL
from services.inventory import remote

HOURS_KEPT = 24  # nobody takes that long between the question and the reservation

RENEW_VERSIONS = """
insert into line_versions (line_item_id) select distinct id from unnest($1::text[]) id order by id
on conflict (line_item_id) do update set changed_at = clock_timestamp()
"""
VERSION_OF = "select changed_at::text from line_versions where line_item_id = $1"
FORGET_VERSIONS = "delete from line_versions where changed_at < now() - make_interval(hours => $1)"


@dataclass(frozen=True)
class Room:
    """At most `quantity` of the line can be reserved in all, as long as its version is this one."""

    line_item_id: str
    quantity: int
    version: str | None


async def renew_versions(db: Db, line_item_ids: list[str]) -> None:
    """What is reserved for these lines changes in this transaction. Before any item is locked."""
    await db.execute(RENEW_VERSIONS, line_item_ids)


async def version_of(db: Db, line_item_id: str) -> str | None:
    """The line's version; None for one that has none."""
    version: str | None = await db.fetchval(VERSION_OF, line_item_id)
    return version


async def ask_room(app: web.Application, line_item_id: str) -> Room:
    """Never inside a transaction. Raises NotFound for an unknown line, Conflict while something is at work on its
    order."""
    version = await version_of(app[POOL], line_item_id)
    return Room(line_item_id, await remote.unfulfilled(app, line_item_id), version)


async def check_version(db: Db, room: Room) -> None:
    """Raises Conflict when what the order said about the line is out of date. Under the locks of the line and its
    item."""
    if await version_of(db, room.line_item_id) != room.version:
        raise Conflict(f"Line {room.line_item_id} was changed at this very moment; look at it, and try again.")


async def forget_versions(db: Db) -> None:
    """Forgets those that are too old to matter."""
    await db.execute(FORGET_VERSIONS, HOURS_KEPT)
