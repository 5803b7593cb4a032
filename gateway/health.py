"""GET /health: whether the gateway, its database and all services answer."""

import asyncio

import aiohttp
import asyncpg
from aiohttp import ClientTimeout, web

from gateway.parts import PARTS
from services.chassis.keys import BUS, POOL

HEALTH_SECONDS = 2.0


async def get_health(request: web.Request) -> web.Response:
    """200 when the database and all services answer, else 503 and which of them does not."""

    async def service_answers(base: str) -> str:
        try:
            async with request.app[PARTS].upstream.get(
                base + "/health", timeout=ClientTimeout(total=HEALTH_SECONDS)
            ) as answer:
                return "ok" if answer.status == 200 else "unavailable"
        except (aiohttp.ClientError, OSError):
            return "down"

    async def database_answers() -> str:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await request.app[POOL].fetchval("select 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return "down"
        return "ok"

    targets = request.app[PARTS].targets
    database, *states = await asyncio.gather(database_answers(), *map(service_answers, targets.values()))
    ready = {database, *states} == {"ok"}
    body = {
        "status": "ok" if ready else "unavailable",
        "services": dict(zip(targets, states, strict=True)),
        "database": database,
        "broker": "ok" if request.app[BUS].connected else "down",
    }
    return web.json_response(body, status=200 if ready else 503)


OPERATIONS = [web.get("/health", get_health)]
