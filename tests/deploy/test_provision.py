"""Databases and roles are made, once, and only for who should have them."""

import secrets
import urllib.parse
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy import provision
from deploy.provision import Refused, Target

URLS = {
    f"MERCER_{name.upper()}_DATABASE_URL": f"postgresql://mercer_{name}:pw@db/mercer_{name}"
    for name in provision.SERVICES
}


def url_of(postgres_url: str, target: Target) -> str:
    parts = urllib.parse.urlsplit(postgres_url)
    place = parts.netloc.rpartition("@")[2]
    password = urllib.parse.quote(target.password, safe="")
    return parts._replace(netloc=f"{target.role}:{password}@{place}", path=f"/{target.database}").geturl()


@pytest.fixture
async def targets(postgres_url: str) -> AsyncIterator[list[Target]]:
    mark = f"{provision.TEST_PREFIX}{secrets.token_hex(4)}"
    made = [Target(f"{mark}_{name}", 'it\'s "a" 100% $$ pass/word@:', f"{mark}_{name}") for name in ("a", "b")]
    yield made
    await provision.drop(postgres_url, made)


async def test_each_role_owns_its_database_and_enters_no_other(postgres_url: str, targets: list[Target]) -> None:
    await provision.provision(postgres_url, targets)
    first, second = targets
    db = await asyncpg.connect(url_of(postgres_url, first))
    await db.execute("CREATE TABLE t (x int)")
    await db.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(url_of(postgres_url, Target(first.role, first.password, second.database)))


async def test_again_it_keeps_the_data_and_takes_the_new_password(postgres_url: str, targets: list[Target]) -> None:
    await provision.provision(postgres_url, targets)
    first = targets[0]
    db = await asyncpg.connect(url_of(postgres_url, first))
    await db.execute("CREATE TABLE t AS SELECT 7 AS x")
    await db.close()
    changed = Target(first.role, "changed", first.database)
    await provision.provision(postgres_url, [changed])
    db = await asyncpg.connect(url_of(postgres_url, changed))
    assert await db.fetchval("SELECT x FROM t") == 7
    await db.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url_of(postgres_url, first))


async def test_an_administrator_need_not_be_superuser(postgres_url: str, targets: list[Target]) -> None:
    admin = await asyncpg.connect(postgres_url)
    role = Target(f"{targets[0].role}_admin", "pw", "postgres")
    await admin.execute(f"CREATE ROLE {role.role} LOGIN CREATEDB CREATEROLE PASSWORD 'pw'")
    try:
        await provision.provision(url_of(postgres_url, role), targets)
        db = await asyncpg.connect(url_of(postgres_url, targets[0]))
        await db.execute("CREATE TABLE t (x int)")
        await db.close()
    finally:
        await provision.drop(postgres_url, targets)
        await admin.execute(f"DROP OWNED BY {role.role}")
        await admin.execute(f"DROP ROLE {role.role}")
        await admin.close()


async def test_an_administrator_without_the_right_is_told(postgres_url: str, targets: list[Target]) -> None:
    await provision.provision(postgres_url, targets[:1])
    with pytest.raises(Refused, match="must be able to create roles and databases"):
        await provision.provision(url_of(postgres_url, targets[0]), targets[1:])


async def test_only_test_databases_are_dropped(postgres_url: str) -> None:
    with pytest.raises(Refused, match="no test database"):
        await provision.drop(postgres_url, [Target("mercer_orders", "pw", "mercer_orders")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MERCER_POSTGRES_URL": ""}, "Not set: MERCER_POSTGRES_URL"),
        ({"MERCER_ORDERS_DATABASE_URL": "postgresql://orders@db/orders"}, "MERCER_ORDERS_DATABASE_URL must look like"),
        ({"MERCER_ORDERS_DATABASE_URL": "postgresql://orders:pw@db"}, "MERCER_ORDERS_DATABASE_URL must look like"),
        ({"MERCER_ORDERS_DATABASE_URL": "postgresql://mercer_catalog:pw@db/orders"}, "the same role"),
        ({"MERCER_ORDERS_DATABASE_URL": "postgresql://orders:pw@db/mercer_catalog"}, "the same database"),
    ],
)
def test_settings_that_cannot_work(change: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        provision.read_settings({"MERCER_POSTGRES_URL": "postgresql://admin:pw@db/postgres"} | URLS | change)
