"""The running product: four services and the gateway in the test's own event loop."""

import contextlib
import importlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import structlog
from aiohttp import web
from pydantic import SecretStr

from services.chassis.http import ACTOR_HEADER, sign_actor
from services.chassis.keys import POOL
from services.chassis.settings import Settings
from tests.support.client import Client
from tests.support.waiting import PATIENCE

SERVICES = ("orders", "catalog", "payments", "inventory")
SECRET = "a secret of the tests, 32 characters or more"
EMAIL, PASSWORD = "admin@example.com", "supersecret"


@dataclass
class Stack:
    """The running product: `apps` by service name, clients, and what they run on."""

    apps: dict[str, web.Application]
    urls: dict[str, str]
    databases: dict[str, str]
    namespace: str
    session: aiohttp.ClientSession
    settings: dict[str, Settings]

    @property
    def rabbitmq_url(self) -> str:
        return self.settings["orders"].rabbitmq_url.get_secret_value()

    def service(self, name: str) -> Client:
        """A client that speaks to one service directly, as the gateway would."""
        return Client(self.session, self.urls[name], lambda: {ACTOR_HEADER: sign_actor(SECRET, "usr_test", "admin")})

    def pool(self, name: str) -> asyncpg.Pool:
        return self.apps[name][POOL]

    @contextlib.contextmanager
    def statements(self, name: str) -> Iterator[list[str]]:
        """The texts of all statements that the requests of a service, or the test itself, send while the block runs."""
        seen: list[str] = []

        def note(record: asyncpg.connection.LoggedQuery) -> None:
            known = structlog.contextvars.get_contextvars()
            # Not what the service does beside, nor a listener or a command, to the news of what went before.
            if "request_id" in known and not known.keys() & {"event", "command"}:
                seen.append(record.query)

        # The pool has no public way to reach its idle connections.
        connections = [holder._con for holder in self.pool(name)._holders if holder._con]
        for connection in connections:
            connection.add_query_logger(note)
        try:
            with structlog.contextvars.bound_contextvars(request_id="test"):
                yield seen
        finally:
            for connection in connections:
                connection.remove_query_logger(note)


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    """Start `app` on a free port of this machine."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    host, port = site._server.sockets[0].getsockname()[:2]  # type: ignore[attr-defined]
    return runner, f"http://{host}:{port}"


async def make_gateway(database: str, rabbitmq_url: str, namespace: str, urls: dict[str, str]) -> web.Application:
    """The gateway's application, with an admin user of the tests."""
    from gateway.service import SERVICE
    from gateway.settings import GatewaySettings
    from services.chassis.service import make_app, prepare

    settings = GatewaySettings(
        port=0,
        database_url=SecretStr(database),
        rabbitmq_url=SecretStr(rabbitmq_url),
        secret=SecretStr(SECRET),
        session_secret=SecretStr(SECRET[::-1]),
        namespace=namespace,
        admin_email=EMAIL,
        admin_password=SecretStr(PASSWORD),
        upstream_seconds=2 * PATIENCE,
        **{f"{name}_url": url for name, url in urls.items()},  # type: ignore[arg-type]
    )
    await prepare(SERVICE, settings)
    return make_app(SERVICE, settings)


@contextlib.asynccontextmanager
async def listening(stack: Stack, *names: str) -> AsyncIterator[list[dict[str, Any]]]:
    """All events of these names ("order.#") that are published while the block runs, as they come."""
    import aio_pika
    import orjson

    events: list[dict[str, Any]] = []
    connection = await aio_pika.connect(stack.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for name in names:
            await queue.bind(f"{stack.namespace}.events", name)

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            events.append(orjson.loads(message.body))

        await queue.consume(note, no_ack=True)
        yield events


@contextlib.asynccontextmanager
async def only_declared(rabbitmq_url: str, namespace: str) -> AsyncIterator[None]:
    """Fails at the end when a service has published an event that it does not declare."""
    import aio_pika
    import orjson

    published: set[tuple[str, str]] = set()
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(f"{namespace}.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "#")

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = orjson.loads(message.body)
            published.add((event["source"].rpartition("/")[2], event["type"]))

        await queue.consume(note, no_ack=True)
        yield
        await queue.delete(if_unused=False, if_empty=False)
    modules = {name: f"services.{name}.events" for name in SERVICES} | {"gateway": "gateway.events"}
    declared = {(name, event) for name, module in modules.items() for event in importlib.import_module(module).EVENTS}
    # Documents that are sent again go under the name of their kind.
    modules_of_services = [*(f"services.{name}.service" for name in SERVICES), "gateway.service"]
    services = [importlib.import_module(module).SERVICE for module in modules_of_services]
    declared |= {(service.name, f"copies.{kind}") for service in services for kind in service.documents}
    # What tests publish themselves, to be heard, is nobody's.
    assert not {pair for pair in published - declared if pair[0] in modules}, "published, and not in events.py"


async def drop_queues(rabbitmq_url: str, namespace: str) -> None:
    """Remove what the services declared on the broker under this worker's names."""
    import aio_pika

    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        for name in SERVICES:
            for kind in ("events", "commands", "dead"):
                await channel.queue_delete(f"{namespace}.{name}.{kind}")
        for kind in ("events", "dead"):
            await channel.exchange_delete(f"{namespace}.{kind}")
