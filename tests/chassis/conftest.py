"""Databases with the chassis' tables only, buses under names of their own, and a wire to the broker that can be cut."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import aio_pika
import aio_pika.exceptions
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from services.chassis.bus import Bus
from services.chassis.db import create_pool
from services.chassis.migrate import migrate
from tests.support.broker import MakeBus, Start, Wire, connected
from tests.support.servers import new_database
from tests.support.waiting import in_time


@pytest.fixture(scope="session")
async def database_url(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A database that has nothing but the chassis' tables."""
    folder: Path = tmp_path_factory.mktemp("nothing") / "sql"
    async with new_database(postgres_url, "chassis") as url:
        await migrate(url, folder)
        yield url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Ten connections to that database, emptied."""
    pool = await create_pool(database_url, 10, "test")
    tables = await pool.fetchval(
        "select string_agg(quote_ident(tablename), ',') from pg_tables where schemaname = 'public'"
    )
    await pool.execute(f"truncate {tables} restart identity; drop table if exists effects, remote")
    yield pool
    async with in_time():
        await pool.close()


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


@pytest.fixture
async def wire(rabbitmq_url: str) -> AsyncIterator[Wire]:
    wire = Wire(rabbitmq_url)
    await wire.open()
    yield wire
    await wire.close()


@pytest.fixture
async def probe(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """The test's own channel, to look at the broker from outside."""
    connection = await aio_pika.connect(rabbitmq_url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
async def make_bus(rabbitmq_url: str, probe: AbstractChannel, patient: None) -> AsyncIterator[MakeBus]:
    """`await make_bus("orders")`: a connected bus; all of a test share a namespace, removed at its end."""
    namespace = f"t{secrets.token_hex(4)}"
    buses: list[Bus] = []

    async def make(service: str, url: str | None = None, *, connect: bool = True) -> Bus:
        bus = Bus(url or rabbitmq_url, namespace, service)
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
