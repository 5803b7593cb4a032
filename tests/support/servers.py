"""Postgres and RabbitMQ as `make test` started them, and databases of the tests' own.

Only the fixtures `postgres_url` and `rabbitmq_url` know where they are: so it is known which tests need them.
"""

import contextlib
import hashlib
import os
import secrets
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.chassis.migrate import files, migrate

TEMPLATE_LOCK = 7305214


def url_of_server(variable: str) -> str:
    """The URL in this variable; without it no test that needs the server can run."""
    if variable not in os.environ:
        pytest.exit(
            f"{variable} is not set: run the tests with `make test`, those that need no server with `make unit`, "
            "or start the servers with `make servers`.",
            4,
        )
    return os.environ[variable]


def with_database(url: str, name: str) -> str:
    return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()


@contextlib.asynccontextmanager
async def new_database(postgres_url: str, label: str) -> AsyncIterator[str]:
    """The URL of an empty database, which is dropped in the end."""
    name = f"mercer_test_{secrets.token_hex(4)}_{label}"
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f"create database {name}")
        yield with_database(postgres_url, name)
    finally:
        await admin.execute(f"drop database if exists {name} with (force)")
        await admin.close()


async def template(postgres_url: str, admin: asyncpg.Connection, folder: Path) -> str:
    """Name of a migrated database to copy from, made when this state of the migrations has none yet."""
    state = "".join(name + sql for name, sql in files(folder / "sql"))
    name = f"mercer_template_{folder.name}_{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    await admin.execute("select pg_advisory_lock($1)", TEMPLATE_LOCK)
    try:
        if not await admin.fetchval("select true from pg_database where datname = $1", name):
            await admin.execute(f"drop database if exists {name}_new")
            await admin.execute(f"create database {name}_new")
            await migrate(with_database(postgres_url, f"{name}_new"), folder / "sql")
            await admin.execute(f"alter database {name}_new rename to {name}")
    finally:
        await admin.execute("select pg_advisory_unlock($1)", TEMPLATE_LOCK)
    return name
