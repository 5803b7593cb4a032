"""The keys of commands and what was answered: why a command that is sent twice is executed once (commands.py)."""

import hashlib
from typing import Any

import orjson

from services.chassis.db import Db
from services.chassis.errors import Conflict
from services.chassis.jsons import json_text

DAYS_KEPT = 7

CLAIM = """
insert into command_replies (key, name, body_hash) values ($1, $2, $3) on conflict do nothing returning true
"""
STORED = "select name, body_hash, reply::text, compensated from command_replies where key = $1"
STORE_REPLY = "update command_replies set reply = $2::text::json where key = $1"
TOMBSTONE = """
insert into command_replies (key, name, compensated) values ($1, '', true) on conflict do nothing returning true
"""
PRUNE = """
delete from command_replies where key in (
    select key from command_replies where created_at < now() - make_interval(days => $1) order by created_at limit 5000
)
"""


async def claim(db: Db, key: str, name: str, body: bytes) -> dict[str, Any] | None:
    """The reply that the key has got already; None when the command is to be executed now.

    Waits while another transaction executes the same key. Raises Conflict for another command under the key, and for
    one that was compensated.
    """
    digest = hashlib.sha256(body).digest()
    if await db.fetchval(CLAIM, key, name, digest):
        return None
    row = await db.fetchrow(STORED, key)
    if row["compensated"]:
        raise Conflict(f"{name} was compensated before it came; it will not be executed.")
    if (row["name"], row["body_hash"]) != (name, digest):
        raise Conflict(f"The key {key} was used for another command or body.")
    reply: dict[str, Any] | None = orjson.loads(row["reply"]) if row["reply"] is not None else None
    return reply


async def store(db: Db, key: str, reply: dict[str, Any]) -> None:
    """Keep the reply under the key that was claimed."""
    await db.execute(STORE_REPLY, key, json_text(reply))


async def tombstone(db: Db, key: str) -> bool:
    """See to it that the command with `key` never runs. True when it never did, False when it had (so compensate it).

    Waits for the command when it is under way. An `Outside` command counts as having run from its start.
    """
    if await db.fetchval(TOMBSTONE, key):
        return True
    row = await db.fetchrow(STORED, key)
    return bool(row["compensated"])


async def prune(db: Db) -> None:
    """Forget replies that nobody asks for again; called on a timer."""
    while await db.execute(PRUNE, DAYS_KEPT) != "DELETE 0":
        pass
