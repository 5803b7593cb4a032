"""Where the parts of a running process are found: `app[POOL]`, `app[BUS]`, `app[SETTINGS]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import asyncpg

    from services.chassis.bus import Bus
    from services.chassis.settings import Settings

POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool")
BUS: web.AppKey[Bus] = web.AppKey("bus")
SETTINGS: web.AppKey[Settings] = web.AppKey("settings")
