"""Migrations: applied once, in order, whoever starts them and wherever they are broken off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from services.chassis import migrate as migrations
from services.chassis.migrate import MigrationError, check_migrated, migrate, steps
from tests.support.servers import new_database
from tests.support.waiting import in_time, until

Write = Callable[[str, str], None]
TOYS = "create table toys (id int, name text); insert into toys select n, 'toy ' || n from generate_series(1, 1000) n;"
INDEX = "create index concurrently if not exists toys_name on toys (name);"
BOXES = f"""-- Boxes, and an index beside the work of others.
-- step
create table boxes (id int);
-- step outside a transaction
-- Toys are found by their names.
{INDEX}
-- step
alter table boxes add column colour text;
"""


@pytest.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    async with new_database(postgres_url, "migrate") as url:
        yield url


@pytest.fixture
async def db(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the files of a service `shop`, which has toys."""
    made = tmp_path / "shop" / "sql"
    made.mkdir(parents=True)
    (made / "0001_toys.sql").write_text(TOYS)
    return made


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, sql: str) -> None:
        (folder / name).write_text(sql)

    return write


@asynccontextmanager
async def somebody(url: str, statement: str) -> AsyncIterator[None]:
    """Whose transaction has done this, and is not over."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield
    finally:
        await connection.close()


async def taken(db: asyncpg.Connection, name: str) -> list[int]:
    """The steps of a file that are recorded."""
    rows = await db.fetch("select step from schema_migration_steps where name = $1 order by step", f"shop/{name}")
    return [row["step"] for row in rows]


async def indexes(db: asyncpg.Connection) -> list[tuple[str, bool]]:
    """Those of the toys, and whether they are valid."""
    rows = await db.fetch(
        "select indexrelid::regclass::text, indisvalid from pg_index where indrelid = 'toys'::regclass order by 1"
    )
    return [tuple(row) for row in rows]


async def columns(db: asyncpg.Connection, table: str) -> list[str]:
    rows = await db.fetch("select column_name::text from information_schema.columns where table_name = $1", table)
    return sorted(row["column_name"] for row in rows)


def waits(db: asyncpg.Connection, statement: str) -> Callable[[], Awaitable[Any]]:
    """The process that waits for a lock with this statement, if any."""

    async def pid() -> Any:
        return await db.fetchval(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
            "and query ilike $1 and pid <> pg_backend_pid()",
            f"%{statement}%",
        )

    return pid


async def test_files_are_applied_once(url: str, db: asyncpg.Connection, folder: Path, write: Write) -> None:
    assert (await migrate(url, folder))[-1] == "shop/0001_toys.sql"
    assert await migrate(url, folder) == []
    write("0002_more.sql", "insert into toys values (1001, 'more');")
    assert await migrate(url, folder) == ["shop/0002_more.sql"]
    assert await db.fetchval("select count(*) from toys") == 1001


async def test_a_service_starts_on_its_own_schema_only(url: str, folder: Path, write: Write) -> None:
    async with asyncpg.create_pool(url, min_size=1) as pool:
        with pytest.raises(MigrationError, match=r"migrations are missing, the first is chassis/0001"):
            await check_migrated(pool, folder)
        await migrate(url, folder)
        await check_migrated(pool, folder)
        write("0002_new.sql", "select 1")
        with pytest.raises(MigrationError, match=r"1 migrations are missing, the first is shop/0002_new\.sql"):
            await check_migrated(pool, folder)


async def test_a_transaction_that_fails_leaves_nothing(
    url: str, db: asyncpg.Connection, folder: Path, write: Write
) -> None:
    write("0002_bad.sql", "alter table toys add column colour text; select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(url, folder)
    assert (await columns(db, "toys"), await taken(db, "0002_bad.sql")) == (["id", "name"], [])
    write("0002_bad.sql", "alter table toys add column colour text;")
    assert await migrate(url, folder) == ["shop/0002_bad.sql"]


async def test_it_is_told_how_long_each_step_took(url: str, db: asyncpg.Connection, folder: Path, write: Write) -> None:
    write("0002_boxes.sql", BOXES)
    with capture_logs() as logs:
        await migrate(url, folder)
    assert await indexes(db) == [("toys_name", True)]
    assert await columns(db, "boxes") == ["colour", "id"]
    told = [entry for entry in logs if entry["file"] == "shop/0002_boxes.sql"]
    assert [(entry["event"], entry.get("step")) for entry in told] == [
        ("migration step", 1),
        ("migration step", 2),
        ("migration step", 3),
        ("migrated", None),
    ]
    assert told[3]["seconds"] >= max(entry["seconds"] for entry in told[:3])
    kept = await db.fetch("select seconds from schema_migration_steps where name = 'shop/0002_boxes.sql'")
    assert all(row["seconds"] > 0 for row in kept) and len(kept) == 3


async def test_an_index_is_made_while_others_write(
    url: str, db: asyncpg.Connection, folder: Path, write: Write
) -> None:
    await migrate(url, folder)
    write("0002_boxes.sql", BOXES)
    async with somebody(url, "insert into toys values (0, 'slow')"):
        migrating = asyncio.create_task(migrate(url, folder))
        await until(waits(db, "concurrently"))
        async with in_time():
            await db.execute("insert into toys values (1001, 'meanwhile')")
    assert await migrating == ["shop/0002_boxes.sql"]
    assert await indexes(db) == [("toys_name", True)]


async def test_a_run_that_dies_while_it_makes_an_index_goes_on(
    url: str, db: asyncpg.Connection, folder: Path, write: Write
) -> None:
    await migrate(url, folder)
    write("0002_boxes.sql", BOXES)
    async with somebody(url, "insert into toys values (0, 'slow')"):
        migrating = asyncio.create_task(migrate(url, folder))
        await db.execute("select pg_terminate_backend($1)", await until(waits(db, "concurrently")))
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await migrating
    assert await indexes(db) == [("toys_name", False)], "an index that is half made is not valid"
    assert await taken(db, "0002_boxes.sql") == [1]
    assert await migrate(url, folder) == ["shop/0002_boxes.sql"]
    assert await indexes(db) == [("toys_name", True)]
    assert await taken(db, "0002_boxes.sql") == [1, 2, 3]


@pytest.mark.parametrize("recorded", [[], [1], [1, 2], [1, 2, 3]])
async def test_a_run_that_dies_between_steps_goes_on(
    url: str, db: asyncpg.Connection, folder: Path, write: Write, recorded: list[int]
) -> None:
    """Of the step outside a transaction the record may be missing though it ran."""
    write("0002_boxes.sql", BOXES)
    await migrate(url, folder)
    await db.execute("delete from schema_migrations where name = 'shop/0002_boxes.sql'")
    await db.execute(
        "delete from schema_migration_steps where name = 'shop/0002_boxes.sql' and step <> all($1)", recorded
    )
    if 1 not in recorded:
        await db.execute("drop table boxes")
    elif 3 not in recorded:
        await db.execute("alter table boxes drop column colour")
    assert await migrate(url, folder) == ["shop/0002_boxes.sql"]
    assert await columns(db, "boxes") == ["colour", "id"]
    assert await indexes(db) == [("toys_name", True)]


async def test_two_that_start_at_once(url: str, db: asyncpg.Connection, folder: Path, write: Write) -> None:
    """The one that waits is in nobody's way, an index made concurrently included."""
    await migrate(url, folder)
    write("0002_boxes.sql", BOXES)
    async with in_time():
        applied = await asyncio.gather(*(migrate(url, folder) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ["shop/0002_boxes.sql"]]
    assert await indexes(db) == [("toys_name", True)]


async def test_who_reads_does_not_wait_for_who_waits_to_change(
    url: str, db: asyncpg.Connection, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.1)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 10_000)
    await migrate(url, folder)
    write("0002_colour.sql", "alter table toys add column colour text;")
    async with somebody(url, "select count(*) from toys"):
        migrating = asyncio.create_task(migrate(url, folder))
        await until(waits(db, "alter table toys"))
        async with in_time():
            assert await db.fetchval("select count(*) from toys") == 1000
        assert not migrating.done()
    assert await migrating == ["shop/0002_colour.sql"]


async def test_it_does_not_wait_for_ever(
    url: str, db: asyncpg.Connection, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.01)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 3)
    await migrate(url, folder)
    write("0002_colour.sql", "alter table toys add column colour text;")
    async with somebody(url, "select count(*) from toys"):
        with capture_logs() as logs, pytest.raises(asyncpg.LockNotAvailableError):
            await migrate(url, folder)
    assert [entry["attempt"] for entry in logs] == [1, 2]
    assert (await columns(db, "toys"), await taken(db, "0002_colour.sql")) == (["id", "name"], [])
    assert await migrate(url, folder) == ["shop/0002_colour.sql"]


async def test_what_was_applied_does_not_change(url: str, folder: Path, write: Write) -> None:
    write("0002_boxes.sql", BOXES)
    await migrate(url, folder)
    write("0002_boxes.sql", BOXES.replace("colour", "color"))
    with pytest.raises(MigrationError, match=r"shop/0002_boxes\.sql was changed after it was applied"):
        await migrate(url, folder)


async def test_only_the_steps_that_are_left_may_change(
    url: str, db: asyncpg.Connection, folder: Path, write: Write
) -> None:
    write("0002_boxes.sql", BOXES.replace("alter table boxes", "alter table barrels"))
    with pytest.raises(asyncpg.UndefinedTableError):
        await migrate(url, folder)
    assert await taken(db, "0002_boxes.sql") == [1, 2]
    write("0002_boxes.sql", BOXES.replace("boxes (id int)", "boxes (id int, size int)"))
    with pytest.raises(MigrationError, match=r"shop/0002_boxes\.sql, step 1 was changed after it was applied"):
        await migrate(url, folder)
    write("0002_boxes.sql", BOXES)
    assert await migrate(url, folder) == ["shop/0002_boxes.sql"]
    assert await columns(db, "boxes") == ["colour", "id"]


def test_what_could_not_be_repeated_is_refused() -> None:
    with pytest.raises(MigrationError, match=r"x\.sql, step 2: .* needs `if not exists`"):
        steps(
            "x.sql", "-- step\nselect 1;\n-- step outside a transaction\ncreate unique index concurrently a on t (x);"
        )
    with pytest.raises(MigrationError, match=r"x\.sql has statements before its first step"):
        steps("x.sql", "select 1;\n-- step\nselect 2;")


def test_a_file_without_steps_is_one_transaction() -> None:
    assert [step.transaction for step in steps("x.sql", "-- stepwise\nselect 1;")] == [True]
    assert [step.transaction for step in steps("x.sql", BOXES)] == [True, False, True]
