"""The gateway on a real database, in front of four services that only note what reaches them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web

from gateway.settings import SERVICES
from services.chassis.declared import declarations
from tests.support import operations
from tests.support.edge import Edge, FakeService, Start, listen, serving
from tests.support.servers import new_database

GATEWAY = Path(__file__).parent.parent.parent / "gateway"


@pytest.fixture(scope="session")
async def database(postgres_url: str) -> AsyncIterator[str]:
    """URL of an empty database of the gateway's own."""
    async with new_database(postgres_url, "edge") as url:
        yield url


@pytest.fixture(scope="session")
async def namespace(rabbitmq_url: str) -> AsyncIterator[str]:
    """The gateways' names on the broker, removed at the end."""
    name = f"t{secrets.token_hex(4)}"
    yield name
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        for kind in ("events", "dead"):
            await channel.exchange_delete(f"{name}.{kind}")


@pytest.fixture(scope="session")
async def services(patient: None) -> AsyncIterator[dict[str, FakeService]]:
    """The four of them, by name. They declare what the real ones do."""
    made, real = {}, operations.services()
    async with AsyncExitStack() as stack:
        for name in SERVICES:
            service = made[name] = FakeService(name, declared=declarations(real[name].operations))
            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", "/{rest:.*}", service.answer)
            runner, service.url = await listen(app)
            stack.push_async_callback(runner.cleanup)
        yield made


@pytest.fixture(scope="session")
async def visitor() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session:
        yield session


@pytest.fixture(scope="session")
async def start(
    database: str, rabbitmq_url: str, namespace: str, services: dict[str, FakeService], visitor: aiohttp.ClientSession
) -> AsyncIterator[Start]:
    """Start one more gateway, with settings of its own."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Edge:
            return await stack.enter_async_context(
                serving(database, rabbitmq_url, namespace, services, visitor, **settings)
            )

        yield start_one


@pytest.fixture
async def new_edge(
    postgres_url: str,
    rabbitmq_url: str,
    namespace: str,
    services: dict[str, FakeService],
    visitor: aiohttp.ClientSession,
) -> AsyncIterator[Edge]:
    """A gateway whose users one test has to itself."""
    async with (
        new_database(postgres_url, "edge") as url,
        serving(url, rabbitmq_url, namespace, services, visitor) as edge,
    ):
        yield edge


@pytest.fixture(scope="session")
async def edge(start: Start) -> Edge:
    """The gateway that most tests share."""
    return await start()
