"""Marks on lines of orders, so that nothing is reserved on the strength of what a line was a moment ago.

How much of a line can be reserved, its order knows; and no lock is held while it is asked. So whoever is to reserve for
a line reads its mark, then asks the order, then reserves under the locks of the line and its item if the mark is as
before. Packing a line, releasing it and handing its reservations to another line leave a new mark. What is begun later
finds the reservation, and deals with it; and while something is at work on the order, the order does not answer.
"""

from dataclasses import dataclass

from aiohttp import web

from services.chassis.db import Db
from services.chassis.errors import Conflict
from services.chassis.keys import POOL
from services.inventory import remote

HOURS_KEPT = 24  # nobody takes that long between the question and the reservation

MARK = """
insert into line_marks (line_item_id) select distinct id from unnest($1::text[]) id order by id
on conflict (line_item_id) do update set marked_at = clock_timestamp()
"""
MARK_OF = "select marked_at::text from line_marks where line_item_id = $1"
FORGET = "delete from line_marks where marked_at < now() - make_interval(hours => $1)"


@dataclass(frozen=True)
class Room:
    """At most `most` of the line can be reserved in all, as long as its mark is this one."""

    line_item_id: str
    most: int
    mark: str | None


async def mark_lines(db: Db, line_item_ids: list[str]) -> None:
    """What is reserved for these lines changes in this transaction. Before any item is locked."""
    await db.execute(MARK, line_item_ids)


async def mark_of(db: Db, line_item_id: str) -> str | None:
    """The line's mark; None for one that has none."""
    mark: str | None = await db.fetchval(MARK_OF, line_item_id)
    return mark


async def ask_room(app: web.Application, line_item_id: str) -> Room:
    """Never inside a transaction. Raises NotFound for an unknown line, Conflict while something is at work on its
    order."""
    mark = await mark_of(app[POOL], line_item_id)
    return Room(line_item_id, await remote.unfulfilled(app, line_item_id), mark)


async def check_mark(db: Db, room: Room) -> None:
    """Raises Conflict when what was asked about the line is out of date. Under the locks of the line and its item."""
    if await mark_of(db, room.line_item_id) != room.mark:
        raise Conflict(f"Line {room.line_item_id} was changed at this very moment; look at it, and try again.")


async def forget_marks(db: Db) -> None:
    """Those that are too old to matter."""
    await db.execute(FORGET, HOURS_KEPT)
