"""The whole product in the test's own event loop, on real Postgres and RabbitMQ.

Every xdist worker has its own databases, copied from templates that are made once per state of the migrations, and its
own names on the broker. Tests share the worker's databases: they make their own records (see `uid`) and
assert on those.
"""

import asyncio
import contextlib
import hashlib
import importlib
import os
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web
from hypothesis import settings
from pydantic import SecretStr

from services.chassis.http import ACTOR_HEADER, sign_actor
from services.chassis.keys import POOL
from services.chassis.migrate import files, migrate
from services.chassis.settings import Settings
from tests.answers import Answers, kept_document

ROOT = Path(__file__).parent.parent
SERVICES = ("orders", "catalog", "payments", "inventory")
SECRET = "a secret of the tests, 32 characters or more"
EMAIL, PASSWORD = "admin@example.com", "supersecret"
TEMPLATE_LOCK = 7305214

# The same examples every time: a change fails for what it changed. `--hypothesis-profile=explore` looks further.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("suite")


def postgres_url() -> str:
    """The superuser's URL of the server that `make test` started."""
    return needed("MERCER_POSTGRES_URL")


def rabbitmq_url() -> str:
    """The URL of the broker that `make test` started."""
    return needed("MERCER_RABBITMQ_URL")


def needed(name: str) -> str:
    if name not in os.environ:
        pytest.exit(f"{name} is not set: run the tests with `make test`, or start the servers with `make servers`.", 4)
    return os.environ[name]


def with_database(url: str, name: str) -> str:
    return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()


async def template(admin: asyncpg.Connection, folder: Path) -> str:
    """Name of a migrated database to copy from, made when this state of the migrations has none yet."""
    state = "".join(name + sql for name, sql in files(folder / "sql"))
    name = f"mercer_template_{folder.name}_{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    await admin.execute("select pg_advisory_lock($1)", TEMPLATE_LOCK)
    try:
        if not await admin.fetchval("select true from pg_database where datname = $1", name):
            await admin.execute(f"drop database if exists {name}_new")
            await admin.execute(f"create database {name}_new")
            await migrate(with_database(postgres_url(), f"{name}_new"), folder / "sql")
            await admin.execute(f"alter database {name}_new rename to {name}")
    finally:
        await admin.execute("select pg_advisory_unlock($1)", TEMPLATE_LOCK)
    return name


@pytest.fixture(scope="session")
async def databases() -> AsyncIterator[dict[str, str]]:
    """URLs of this worker's five databases, dropped at the end."""
    admin = await asyncpg.connect(postgres_url())
    urls, made = {}, []
    try:
        for name in (*SERVICES, "gateway"):
            folder = ROOT / name if name == "gateway" else ROOT / "services" / name
            database = f"mercer_test_{secrets.token_hex(4)}_{name}"
            await admin.execute(f"create database {database} template {await template(admin, folder)}")
            made.append(database)
            urls[name] = with_database(postgres_url(), database)
        yield urls
    finally:
        for database in made:
            await admin.execute(f"drop database if exists {database} with (force)")
        await admin.close()


@dataclass
class Client:
    """JSON requests to one process: `status, body = await client.post("/admin/x", {...})`."""

    session: aiohttp.ClientSession
    base: str
    headers: Callable[[], dict[str, str]]
    # By address: what the document says, where answers are held against it. Not that of every server of the tests.
    answers: ClassVar[dict[str, Answers]] = {}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Any = None,
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        sent = {} if anonymous else self.headers()
        sent |= headers or {}
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.base + path, json=body, data=raw, params=query, headers=sent
        ) as response:
            is_json = response.content_type == "application/json"
            answer = await response.json() if is_json else await response.text()
            if self.base in self.answers:
                wrong = self.answers[self.base].wrong(method, path, response.status, response.content_type, answer)
                assert wrong is None, f"{method} {path}: the answer is not as /openapi.json declares it: {wrong}"
            return response.status, answer

    async def get(self, path: str, query: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("GET", path, query=query, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("POST", path, body, **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("DELETE", path, body, **more)

    async def ok(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        """The body of an answer that has to be 200."""
        status, answer = await self.request(method, path, body, query)
        assert status == 200, (method, path, status, answer)
        return answer


@dataclass
class Stack:
    """The running product: `apps` by service name, clients, and what they run on."""

    apps: dict[str, web.Application]
    urls: dict[str, str]
    databases: dict[str, str]
    namespace: str
    session: aiohttp.ClientSession
    settings: dict[str, Settings]

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


@pytest.fixture(scope="session")
async def stack(databases: dict[str, str]) -> AsyncIterator[Stack]:
    """Four services and the gateway, started once per worker."""
    from services.chassis.service import make_app

    namespace = f"t{secrets.token_hex(4)}"
    apps, urls, runners, settings = {}, {}, [], {}
    async with aiohttp.ClientSession() as session, only_declared(namespace):
        try:
            for name in SERVICES:
                service = importlib.import_module(f"services.{name}.service").SERVICE
                settings[name] = service.settings(
                    port=0,
                    database_url=SecretStr(databases[name]),
                    rabbitmq_url=SecretStr(rabbitmq_url()),
                    secret=SecretStr(SECRET),
                    namespace=namespace,
                    reserve_stock="manual",
                    # All services share this process: on a busy machine an answer takes its time.
                    command_deadline=20.0,
                )
                apps[name] = make_app(service, settings[name])
                runner, urls[name] = await serve(apps[name])
                runners.append(runner)
            apps["gateway"] = await make_gateway(databases["gateway"], namespace, urls)
            runner, urls["gateway"] = await serve(apps["gateway"])
            runners.append(runner)
            if os.environ.get("MERCER_CHECK_ANSWERS"):

                async def served() -> dict[str, Any]:
                    async with session.get(f"{urls['gateway']}/openapi.json") as response:
                        document: dict[str, Any] = await response.json()
                        return document

                answers = Answers(await kept_document(served))
                Client.answers |= dict.fromkeys(urls.values(), answers)
            yield Stack(apps, urls, databases, namespace, session, settings)
        finally:
            for runner in reversed(runners):
                await runner.cleanup()
            await drop_queues(namespace)


async def make_gateway(database: str, namespace: str, urls: dict[str, str]) -> web.Application:
    """The gateway's application, with an admin user of the tests."""
    from gateway.app import make_app, prepare
    from gateway.settings import GatewaySettings

    settings = GatewaySettings(
        port=0,
        database_url=SecretStr(database),
        rabbitmq_url=SecretStr(rabbitmq_url()),
        secret=SecretStr(SECRET),
        session_secret=SecretStr(SECRET[::-1]),
        namespace=namespace,
        admin_email=EMAIL,
        admin_password=SecretStr(PASSWORD),
        **{f"{name}_url": url for name, url in urls.items()},  # type: ignore[arg-type]
    )
    await prepare(settings)
    return make_app(settings)


@contextlib.asynccontextmanager
async def listening(stack: Stack, *names: str) -> AsyncIterator[list[dict[str, Any]]]:
    """All events of these names ("order.#") that are published while the block runs, as they come."""
    import aio_pika
    import orjson

    events: list[dict[str, Any]] = []
    connection = await aio_pika.connect(rabbitmq_url())
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
async def only_declared(namespace: str) -> AsyncIterator[None]:
    """Fails at the end when a service has published an event that its `events.py` does not declare."""
    import aio_pika
    import orjson

    published: set[tuple[str, str]] = set()
    async with await aio_pika.connect(rabbitmq_url()) as connection:
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
    # What tests publish themselves, to be heard, is nobody's.
    assert not {pair for pair in published - declared if pair[0] in modules}, "published, and not in events.py"


async def drop_queues(namespace: str) -> None:
    """Remove what the services declared on the broker under this worker's names."""
    import aio_pika

    connection = await aio_pika.connect(rabbitmq_url())
    async with connection:
        channel = await connection.channel()
        for name in SERVICES:
            for kind in ("events", "commands", "dead"):
                await channel.queue_delete(f"{namespace}.{name}.{kind}")
        for kind in ("events", "dead"):
            await channel.exchange_delete(f"{namespace}.{kind}")


@pytest.fixture(scope="session")
async def api(stack: Stack) -> Client:
    """A client of the gateway, signed in as the admin user."""
    visitor = Client(stack.session, stack.urls["gateway"], dict)
    token = (await visitor.ok("POST", "/admin/auth/token", {"email": EMAIL, "password": PASSWORD}))["access_token"]
    return Client(stack.session, stack.urls["gateway"], lambda: {"Authorization": f"Bearer {token}"})


@pytest.fixture
def orders(stack: Stack) -> Client:
    return stack.service("orders")


@pytest.fixture
def catalog(stack: Stack) -> Client:
    return stack.service("catalog")


@pytest.fixture
def payments(stack: Stack) -> Client:
    return stack.service("payments")


@pytest.fixture
def inventory(stack: Stack) -> Client:
    return stack.service("inventory")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Any]:
    """Where processes of services that are to die come from; started when the first test asks for it."""
    from tests.kills import Nursery

    with contextlib.closing(Nursery()) as made:
        yield made


@pytest.fixture
def kill(stack: Stack, nursery: Any) -> Any:
    """kill -9 of a service between two steps of a saga, and its restart: see tests/kills.py."""
    from tests.kills import Kill

    return Kill(stack, nursery)


@pytest.fixture
async def stripe() -> AsyncIterator[Any]:
    """The payment provider `stripe`, and the server that it speaks to: tests/stripe_stand_in.py."""
    from tests.stripe_stand_in import installed_stripe

    async with installed_stripe() as stand_in:
        yield stand_in


@pytest.fixture
async def depot(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A carrier: its server, and its provider as an installed package: tests/courier_shop.py."""
    from tests.courier_shop import installed_courier

    async with installed_courier(stack, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def uid() -> str:
    """A text that no other test uses."""
    return secrets.token_hex(4)


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 10.0, every: float = 0.02) -> Any:
    """The first truthy result of `check`, asked again and again; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not (result := await check()):
            await asyncio.sleep(every)
        return result
