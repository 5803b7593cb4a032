"""GET /health: whether the gateway, its database and all services answer."""

import asyncio

import aiohttp
import asyncpg
from aiohttp import ClientTimeout, web

from gateway.parts import PARTS
from services.chassis.keys import BUS, POOL

HEALTH_SECONDS = 2.0


async def get_health(request: web.Request) -> web.Response:
    """200 when the database and all services answer and have declared what they do, else 503 and which does not."""
    parts = request.app[PARTS]

    async def service_answers(service: str) -> str:
        try:
            async with parts.upstream.get(
                parts.targets[service] + "/health", timeout=ClientTimeout(total=HEALTH_SECONDS)
            ) as answer:
                if answer.status != 200:
                    return "unavailable"
            # What has just come up counts from when requests reach it.
            async with asyncio.timeout(HEALTH_SECONDS):
                return "ok" if await parts.routing.heard(service) else "unavailable"
        except (aiohttp.ClientError, OSError):
            return "down"

    async def database_answers() -> str:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await request.app[POOL].fetchval("select 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return "down"
        return "ok"

    database, *states = await asyncio.gather(database_answers(), *map(service_answers, parts.targets))
    ready = {database, *states} == {"ok"}
    body = {
        "status": "ok" if ready else "unavailable",
        "services": dict(zip(parts.targets, states, strict=True)),
        "database": database,
        "broker": "ok" if request.app[BUS].connected else "down",
    }
    return web.json_response(body, status=200 if ready else 503)


PAGES = [web.get("/health", get_health)]
