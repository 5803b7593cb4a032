"""Forward-only migrations: numbered SQL files, applied once each, in order, under an advisory lock.

yoyo-migrations was passed over: it needs a second, synchronous driver for what are three statements here.
"""

import hashlib
from pathlib import Path

import asyncpg
import structlog

log = structlog.get_logger()
CHASSIS = Path(__file__).parent / "sql"
LOCK = 7305213  # any fixed number: two processes that migrate one database wait for each other

TABLE = """
create table if not exists schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
)
"""


class MigrationError(Exception):
    """The files and the database disagree about what was applied."""


def files(folder: Path) -> list[tuple[str, str]]:
    """(name, SQL) of the chassis' files and then of the service's own, each in the order of their numbers."""
    return [
        (f"{owner}/{path.name}", path.read_text())
        for owner, source in (("chassis", CHASSIS), (folder.parent.name, folder))
        for path in sorted(source.glob("[0-9]*.sql"))
    ]


def pending(wanted: list[tuple[str, str]], applied: dict[str, str]) -> list[tuple[str, str, str]]:
    """(name, SQL, checksum) still to apply. Raises MigrationError when an applied file has changed."""
    todo = []
    for name, sql in wanted:
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        if name not in applied:
            todo.append((name, sql, checksum))
        elif applied[name] != checksum:
            raise MigrationError(f"{name} was changed after it was applied; add a new file instead.")
    return todo


async def migrate(url: str, folder: Path) -> list[str]:
    """Bring the database at `url` up to the files; returns the names applied now. Safe to run twice at once."""
    db = await asyncpg.connect(url)
    try:
        await db.execute("select pg_advisory_lock($1)", LOCK)
        await db.execute(TABLE)
        applied = {
            row["name"]: row["checksum"] for row in await db.fetch("select name, checksum from schema_migrations")
        }
        todo = pending(files(folder), applied)
        for name, sql, checksum in todo:
            async with db.transaction():
                await db.execute(sql)
                await db.execute("insert into schema_migrations (name, checksum) values ($1, $2)", name, checksum)
            log.info("migrated", file=name)
        return [name for name, _, _ in todo]
    finally:
        await db.close()


async def check_migrated(db: asyncpg.Pool, folder: Path) -> None:
    """Raises MigrationError unless every file has been applied; a service does not start on an older schema."""
    try:
        rows = await db.fetch("select name, checksum from schema_migrations")
    except asyncpg.UndefinedTableError:
        rows = []
    todo = pending(files(folder), dict(rows))
    if todo:
        raise MigrationError(f"{len(todo)} migrations are missing, the first is {todo[0][0]}: run it with `migrate`.")
