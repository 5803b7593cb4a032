"""Forward-only migrations: numbered SQL files, applied once each, in order, under an advisory lock.

A file is one transaction, or several steps: `-- step` begins another transaction, `-- step outside a transaction` a
statement that can have none around it, such as `create index concurrently`. Each step is recorded with what it did, so
that a run that is broken off goes on after its last step; a statement outside a transaction may have run without its
record, and so has to be one that can be repeated.

yoyo-migrations was passed over: it needs a second, synchronous driver for what are a few statements here.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog

log = structlog.get_logger()
CHASSIS = Path(__file__).parent / "sql"
LOCK = 7305213  # any fixed number: two processes that migrate one database wait for each other
POLL_SECONDS = 0.2
# Whoever wants a table waits behind a migration that waits for it: it waits briefly, lets them pass, and tries again.
LOCK_SECONDS, LOCK_PAUSE, LOCK_ATTEMPTS = 3.0, 2.0, 30

TABLES = """
create table if not exists schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
create table if not exists schema_migration_steps (
    name text not null,
    step integer not null,
    checksum text not null,
    seconds double precision not null,
    applied_at timestamptz not null default now(),
    primary key (name, step)
)
"""
APPLIED = "insert into schema_migrations (name, checksum) values ($1, $2)"
TAKEN = "insert into schema_migration_steps (name, step, checksum, seconds) values ($1, $2, $3, $4)"
INVALID = "select true from pg_index where indexrelid = to_regclass($1) and not indisvalid"

BOUNDARY = re.compile(r"^-- step( outside a transaction)?[ \t]*$", re.MULTILINE)
INDEX = re.compile(r"\bcreate\s+(?:unique\s+)?index\s+concurrently\s+(if\s+not\s+exists\s+)?(\S+)", re.IGNORECASE)


class MigrationError(Exception):
    """The files and the database disagree about what was applied, or a file cannot be applied safely."""


@dataclass(frozen=True)
class Step:
    """One transaction of a file, or one statement that has none around it."""

    sql: str
    transaction: bool

    @property
    def checksum(self) -> str:
        return checksum_of(self.sql)

    @property
    def index(self) -> re.Match[str] | None:
        """The index that it makes beside the work of others: "if not exists" and its name."""
        return None if self.transaction else INDEX.search(statements(self.sql))


def checksum_of(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def steps(name: str, sql: str) -> list[Step]:
    """The steps of a file. Raises MigrationError for what could not be repeated after a crash."""
    head, *rest = BOUNDARY.split(sql)
    if not rest:
        return [Step(sql, transaction=True)]
    if statements(head):
        raise MigrationError(f"{name} has statements before its first step.")
    found = [Step(text, outside is None) for outside, text in zip(rest[::2], rest[1::2], strict=True)]
    for number, step in enumerate(found, 1):
        if step.index and not step.index[1]:
            raise MigrationError(f"{name}, step {number}: an index that is made concurrently needs `if not exists`.")
    return found


def statements(sql: str) -> str:
    """The text without its comments."""
    return re.sub(r"--.*", "", sql).strip()


def files(folder: Path) -> list[tuple[str, str]]:
    """(name, SQL) of the chassis' files and then of the service's own, each in the order of their numbers."""
    return [
        (f"{owner}/{path.name}", path.read_text())
        for owner, source in (("chassis", CHASSIS), (folder.parent.name, folder))
        for path in sorted(source.glob("[0-9]*.sql"))
    ]


def pending(wanted: list[tuple[str, str]], applied: dict[str, str]) -> list[tuple[str, str]]:
    """(name, SQL) still to apply. Raises MigrationError when an applied file has changed."""
    todo = []
    for name, sql in wanted:
        if name not in applied:
            todo.append((name, sql))
        elif applied[name] != checksum_of(sql):
            raise MigrationError(f"{name} was changed after it was applied; add a new file instead.")
    return todo


async def migrate(url: str, folder: Path) -> list[str]:
    """Bring the database at `url` up to the files; returns the names applied now. Safe to run twice at once, and again
    after it was broken off anywhere."""
    db = await asyncpg.connect(url)
    try:
        await take_lock(db)
        await db.execute(TABLES)
        todo = pending(files(folder), dict(await db.fetch("select name, checksum from schema_migrations")))
        for name, sql in todo:
            begun = time.monotonic()
            await apply(db, name, sql)
            log.info("migrated", file=name, seconds=round(time.monotonic() - begun, 3))
        return [name for name, _ in todo]
    finally:
        await db.close()


async def take_lock(db: asyncpg.Connection) -> None:
    """Wait until no other process migrates this database. Between the questions, not inside of one: its snapshot would
    hold up an index that the other one makes concurrently, and so both."""
    while True:
        if await db.fetchval("select pg_try_advisory_lock($1)", LOCK):
            return
        await asyncio.sleep(POLL_SECONDS)


async def apply(db: asyncpg.Connection, name: str, sql: str) -> None:
    """Take the steps of a file that are left."""
    taken = dict(await db.fetch("select step, checksum from schema_migration_steps where name = $1", name))
    for number, step in left(name, steps(name, sql), taken):
        begun = time.monotonic()
        if step.transaction:
            await transact(db, name, number, step)
        else:
            await run_outside(db, name, number, step)
        log.info("migration step", file=name, step=number, seconds=round(time.monotonic() - begun, 3))
    await db.execute(APPLIED, name, checksum_of(sql))


def left(name: str, wanted: list[Step], taken: dict[int, str]) -> Iterator[tuple[int, Step]]:
    """The steps to take, with their numbers. Raises MigrationError when one that was taken has changed."""
    for number, step in enumerate(wanted, 1):
        if number not in taken:
            yield number, step
        elif taken[number] != step.checksum:
            raise MigrationError(f"{name}, step {number} was changed after it was applied; restore it, or add a file.")


async def transact(db: asyncpg.Connection, name: str, number: int, step: Step) -> None:
    """Take a step and record it, in one transaction."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        begun = time.monotonic()
        try:
            async with db.transaction():
                await db.execute(f"set local lock_timeout = {int(LOCK_SECONDS * 1000)}")
                await db.execute(step.sql)
                await db.execute(TAKEN, name, number, step.checksum, time.monotonic() - begun)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if attempt == LOCK_ATTEMPTS:
                raise
            log.warning("migration waits for a lock", file=name, step=number, attempt=attempt, error=str(error))
            await asyncio.sleep(LOCK_PAUSE)
        else:
            return


async def run_outside(db: asyncpg.Connection, name: str, number: int, step: Step) -> None:
    """Take a step that has no transaction, and record it afterwards. It stands in nobody's way while it waits."""
    begun = time.monotonic()
    if step.index and await db.fetchval(INVALID, index := step.index[2]):
        # A run that was broken off has left it behind, and `if not exists` would take it for done.
        log.warning("migration makes an index again", file=name, step=number, index=index)
        await db.execute(f"drop index concurrently {index}")
    await db.execute(step.sql)
    await db.execute(TAKEN, name, number, step.checksum, time.monotonic() - begun)


async def check_migrated(db: asyncpg.Pool, folder: Path) -> None:
    """Raises MigrationError unless every file has been applied; a service does not start on an older schema."""
    try:
        rows = await db.fetch("select name, checksum from schema_migrations")
    except asyncpg.UndefinedTableError:
        rows = []
    todo = pending(files(folder), dict(rows))
    if todo:
        raise MigrationError(f"{len(todo)} migrations are missing, the first is {todo[0][0]}: run it with `migrate`.")
