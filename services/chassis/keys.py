"""Where the parts of a running process are found: `app[POOL]`, `app[BUS]`, `app[SETTINGS]`."""

import asyncpg
from aiohttp import web

from services.chassis.bus import Bus
from services.chassis.settings import Settings

POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool")
BUS: web.AppKey[Bus] = web.AppKey("bus", Bus)
SETTINGS: web.AppKey[Settings] = web.AppKey("settings", Settings)
