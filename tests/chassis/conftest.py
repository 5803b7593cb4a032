"""Databases with the chassis' tables only, buses under names of their own, and a wire to the broker that can be cut."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aio_pika.exceptions
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from services.chassis.bus import Bus
from services.chassis.db import create_pool
from services.chassis.migrate import migrate
from tests.conftest import postgres_url, rabbitmq_url, until, with_database

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
MakeBus = Callable[..., Awaitable[Bus]]


@pytest.fixture(scope="session")
async def database_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A database that has nothing but the chassis' tables."""
    name = f"t_chassis_{secrets.token_hex(4)}"
    folder: Path = tmp_path_factory.mktemp("nothing") / "sql"
    admin = await asyncpg.connect(postgres_url())
    try:
        await admin.execute(f"create database {name}")
        await migrate(with_database(postgres_url(), name), folder)
        yield with_database(postgres_url(), name)
    finally:
        await admin.execute(f"drop database if exists {name} with (force)")
        await admin.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Ten connections to that database, emptied."""
    pool = await create_pool(database_url, 10, "test")
    tables = await pool.fetchval(
        "select string_agg(quote_ident(tablename), ',') from pg_tables where schemaname = 'public'"
    )
    await pool.execute(f"truncate {tables} restart identity; drop table if exists effects, remote")
    yield pool
    await asyncio.wait_for(pool.close(), 10)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Run something in the background until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    def run(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    yield run
    for task in reversed(tasks):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Wire:
    """A TCP connection to the broker that passes through the test, so that it can be cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.up = True
        self.bytes_left: int | None = None  # from the broker, before the wire breaks

    @property
    def url(self) -> str:
        netloc = f"{self._target.username}:{self._target.password}@127.0.0.1:{self.port}"
        return self._target._replace(netloc=netloc).geturl()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self, *, up: bool = True) -> None:
        """Break what is connected; with `up=False` refuse new connections until it is True."""
        self.up, self.bytes_left = up, None
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self.cut(up=False)
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        pair = {writer, back}
        self._writers |= pair
        await asyncio.gather(self._pass(reader, back, counted=False), self._pass(there, writer, counted=True))
        self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1024):
                if counted and self.bytes_left is not None:
                    self.bytes_left -= len(chunk)
                    if self.bytes_left < 0:
                        self.cut()
                        break
                writer.write(chunk)
                await writer.drain()
        writer.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire(rabbitmq_url())
    await wire.open()
    yield wire
    await wire.close()


@pytest.fixture
async def probe() -> AsyncIterator[AbstractChannel]:
    """The test's own channel, to look at the broker from outside."""
    connection = await aio_pika.connect(rabbitmq_url())
    yield await connection.channel()
    await connection.close()


async def queue_counts(probe: AbstractChannel, queue: str) -> tuple[int, int] | None:
    """How many messages are ready in a queue, and how many consume it; None when there is no such queue."""
    connection = probe._connection  # type: ignore[attr-defined]
    async with connection.channel() as channel:
        try:
            found = await channel.declare_queue(queue, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return None
        return found.declaration_result.message_count or 0, found.declaration_result.consumer_count or 0


@pytest.fixture
async def make_bus(probe: AbstractChannel) -> AsyncIterator[MakeBus]:
    """`await make_bus("orders")`: a connected bus; all of a test share a namespace, removed at its end."""
    namespace = f"t{secrets.token_hex(4)}"
    buses: list[Bus] = []

    async def make(service: str, url: str | None = None, *, connect: bool = True) -> Bus:
        bus = Bus(url or rabbitmq_url(), namespace, service)
        buses.append(bus)
        await bus.start()
        if connect:
            await connected(bus)
        return bus

    yield make
    for bus in buses:
        await bus.close()
    for service in {bus.service for bus in buses}:
        for kind in ("events", "dead", "commands"):
            await probe.queue_delete(f"{namespace}.{service}.{kind}")
    for kind in ("events", "dead"):
        await probe.exchange_delete(f"{namespace}.{kind}")


async def connected(bus: Bus) -> None:
    async def is_connected() -> bool:
        return bus.connected

    await until(is_connected)
