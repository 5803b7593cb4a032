"""Postgres and RabbitMQ as `make test` started them, and databases copied from templates."""

import hashlib
import os
import urllib.parse
from pathlib import Path

import asyncpg
import pytest

from services.chassis.migrate import files, migrate

TEMPLATE_LOCK = 7305214


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
