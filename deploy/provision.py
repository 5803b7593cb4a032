"""Make the services' databases exist: for each service URL its role, that role's password, and a database it owns.

    MERCER_POSTGRES_URL=<admin URL>  MERCER_ORDERS_DATABASE_URL=...  (likewise CATALOG, PAYMENTS, INVENTORY, GATEWAY)
    python -m deploy.provision

Safe to repeat, and to run twice at once. `drop` undoes it, for test databases only.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import asyncpg

SERVICES = ("orders", "catalog", "payments", "inventory", "gateway")
TEST_PREFIX = "mercer_test_"
PATIENCE = 30.0
# "mercer" in ASCII: one provisioning at a time per server.
LOCK = 0x6D6572636572


class Refused(Exception):
    """The settings cannot be used; the message says why."""


@dataclass(frozen=True)
class Target:
    """What one service's URL asks for."""

    role: str
    password: str
    database: str


def parse_target(variable: str, url: str) -> Target:
    parts = urlsplit(url)
    database = unquote(parts.path.lstrip("/"))
    if not parts.username or not parts.password or not database:
        raise Refused(f"{variable} must look like postgresql://role:password@host:5432/database")
    return Target(unquote(parts.username), unquote(parts.password), database)


def read_settings(env: Mapping[str, str]) -> tuple[str, list[Target]]:
    variables = {f"MERCER_{service.upper()}_DATABASE_URL" for service in SERVICES}
    missing = [name for name in sorted({"MERCER_POSTGRES_URL"} | variables) if not env.get(name)]
    if missing:
        raise Refused(f"Not set: {', '.join(missing)}")
    targets = [parse_target(name, env[name]) for name in sorted(variables)]
    for what, names in (("role", [t.role for t in targets]), ("database", [t.database for t in targets])):
        if len(set(names)) < len(names):
            raise Refused(f"Two services have the same {what}; each needs its own.")
    return env["MERCER_POSTGRES_URL"], targets


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Wait a little for a server that is still starting."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await asyncpg.connect(url, timeout=10)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise Refused(f"Postgres does not answer at MERCER_POSTGRES_URL: {error}") from error
            await asyncio.sleep(0.3)
        except asyncpg.PostgresError as error:
            raise Refused(f"Postgres refuses MERCER_POSTGRES_URL: {error}") from error


async def provision(admin_url: str, targets: Sequence[Target]) -> None:
    db = await connect(admin_url)
    try:
        await db.execute("SELECT pg_advisory_lock($1)", LOCK)
        for target in targets:
            await _make_role(db, target)
            await _make_database(db, target)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(f"MERCER_POSTGRES_URL's role must be able to create roles and databases: {error}") from error
    finally:
        await db.close()


async def _run(db: "asyncpg.Connection[asyncpg.Record]", statement: str, *names: str) -> None:
    """Statements that take no parameters: the server itself quotes the names into `format`'s %I and %L."""
    places = ", ".join(f"${number}::text" for number in range(2, len(names) + 2))
    await db.execute(await db.fetchval(f"SELECT format($1, {places})", statement, *names))


async def _make_role(db: "asyncpg.Connection[asyncpg.Record]", target: Target) -> None:
    if target.role == await db.fetchval("SELECT current_user::text"):
        raise Refused(f"Role {target.role} is the one that provisions; a service needs its own.")
    known = await db.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", target.role)
    verb = "ALTER" if known else "CREATE"
    await _run(db, verb + " ROLE %I LOGIN PASSWORD %L", target.role, target.password)
    if not await db.fetchval("SELECT pg_has_role($1, 'MEMBER')", target.role):
        # An administrator who is no superuser gives a database only to a role that it belongs to.
        await _run(db, "GRANT %I TO CURRENT_USER", target.role)


async def _make_database(db: "asyncpg.Connection[asyncpg.Record]", target: Target) -> None:
    owner = await db.fetchval(
        "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1", target.database
    )
    if owner is None:
        await _run(db, "CREATE DATABASE %I OWNER %I ENCODING 'UTF8' TEMPLATE template0", target.database, target.role)
    elif owner != target.role:
        await _run(db, "ALTER DATABASE %I OWNER TO %I", target.database, target.role)
    await _run(db, "REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC", target.database)


async def drop(admin_url: str, targets: Sequence[Target]) -> None:
    for target in targets:
        if not target.database.startswith(TEST_PREFIX) or not target.role.startswith(TEST_PREFIX):
            raise Refused(f"{target.database} is no test database: only {TEST_PREFIX}* are dropped.")
    db = await connect(admin_url)
    try:
        for target in targets:
            await _run(db, "DROP DATABASE IF EXISTS %I WITH (FORCE)", target.database)
            await _run(db, "DROP ROLE IF EXISTS %I", target.role)
    finally:
        await db.close()


def main(arguments: Sequence[str]) -> int:
    try:
        admin_url, targets = read_settings(os.environ)
        asyncio.run((drop if arguments == ["drop"] else provision)(admin_url, targets))
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
