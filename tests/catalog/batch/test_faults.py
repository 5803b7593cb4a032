"""Batch jobs when processes die, stop, or work side by side, and when somebody cancels."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.catalog import remote
from services.catalog.batch import (
    import_apply as batch_import_apply,
)
from services.catalog.batch import (
    product_import as batch_product_import,
)
from services.catalog.batch import (
    runner as batch_runner,
)
from services.chassis.errors import Unavailable
from tests.support.batch_jobs import boot, content, create, done, get, kept_in, names, reached, rows, table, upload
from tests.support.client import Client
from tests.support.factories.products import make, shirt
from tests.support.locks import stalled, waits
from tests.support.processes import another
from tests.support.stack import Stack
from tests.support.waiting import in_time, until

LINES = 30


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


@pytest.fixture
async def elsewhere(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """The only process that does jobs, and what lets the tests' own one do them again."""
    monkeypatch.setattr(batch_runner, "AT_ONCE", 0)
    async with another(stack, "catalog") as (_, process):
        yield process, partial(monkeypatch.setattr, batch_runner, "AT_ONCE", 2)


def file(uid: str) -> str:
    return table(*(boot(f"{uid}-{n}", **{"Price EUR": "1"}) for n in range(LINES)))


async def create_import(catalog: Client, uid: str) -> str:
    return await create(catalog, "product-import", {"fileKey": await upload(catalog, file(uid))})


async def no_files(folder: Path) -> bool:
    """Whether what was imported is gone, which is so after the job is completed."""
    return not names(folder)


async def imported_lines(stack: Stack, uid: str) -> int:
    """How many products of the file there are."""
    count = "select count(*) from products where handle like $1 and deleted_at is null"
    return int(await stack.pool("catalog").fetchval(count, f"boot-{uid}-%"))


async def expire(stack: Stack, job_id: str) -> None:
    """The lease of a dead process, taken for run out."""
    await stack.pool("catalog").execute("update batch_jobs set leased_until = '-infinity' where id = $1", job_id)


async def events(stack: Stack, job_id: str) -> int:
    """How many events there were: created, pre_processed, and what became of it."""
    sequence = "select sequence from event_sequences where aggregate = $1"
    return int(await stack.pool("catalog").fetchval(sequence, job_id))


# Death


@pytest.mark.parametrize(("at", "status"), [("batch_import_lines", "created"), ("product_options", "processing")])
async def test_kill_while_importing(
    catalog: Client, stack: Stack, folder: Path, elsewhere: Any, uid: str, at: str, status: str
) -> None:
    """Whether it dies while it reads or while it writes: another process does all of it, once."""
    process, here = elsewhere
    async with stalled(stack, "catalog", at):
        job_id = await create_import(catalog, uid)
        await until(partial(waits, stack, "catalog"))
        assert (await get(catalog, job_id))["status"] == status
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await imported_lines(stack, uid) == 0
    here()
    await expire(stack, job_id)
    job = await reached(catalog, job_id, "completed", "failed")
    assert (job["status"], job["result"]["advancement_count"]) == ("completed", 2 * LINES), job
    assert await imported_lines(stack, uid) == LINES
    await until(partial(no_files, folder))


async def test_kill_while_exporting(catalog: Client, stack: Stack, folder: Path, elsewhere: Any, uid: str) -> None:
    process, here = elsewhere
    product = await make(catalog, shirt(uid))
    context = {"filterable_fields": {"id": product["id"]}}
    job = await done(catalog, "product-export", context, dry_run=True)
    async with stalled(stack, "catalog", "product_options"):
        await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
        await until(partial(waits, stack, "catalog"))
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert (await get(catalog, job["id"]))["status"] == "processing"
    here()
    await expire(stack, job["id"])
    job = await reached(catalog, job["id"], "completed", "failed")
    assert job["status"] == "completed"
    assert names(folder) == [job["result"]["file_key"]]
    assert len(rows(content(folder, job["result"]["file_key"]))) == 2


async def test_a_process_that_stops_lets_go(
    catalog: Client, stack: Stack, folder: Path, elsewhere: Any, uid: str
) -> None:
    """Nobody has to wait for its lease, and it was no failed attempt."""
    process, here = elsewhere
    async with stalled(stack, "catalog", "product_options"):
        job_id = await create_import(catalog, uid)
        await until(partial(waits, stack, "catalog"))
        process.send_signal(signal.SIGTERM)
        async with in_time():
            assert await process.wait() == 0
    row = await stack.pool("catalog").fetchrow("select attempts, leased_by from batch_jobs where id = $1", job_id)
    assert (row["attempts"], row["leased_by"]) == (0, None)
    here()
    assert (await reached(catalog, job_id, "completed", "failed"))["status"] == "completed"
    assert await imported_lines(stack, uid) == LINES


async def test_a_job_that_kills_is_given_up(catalog: Client, stack: Stack, uid: str) -> None:
    job = await done(catalog, "product-export", {"filterable_fields": {"title": uid}}, dry_run=True)
    await stack.pool("catalog").execute("update batch_jobs set attempts = 5 where id = $1", job["id"])
    await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
    job = await reached(catalog, job["id"], "completed", "failed")
    assert (job["status"], job["result"]["errors"]) == (
        "failed",
        ["The job was cut off 5 times; it is not tried again."],
    )


# Side by side


async def test_two_processes(catalog: Client, stack: Stack, folder: Path, uid: str) -> None:
    """Each job is done once, whoever takes it."""
    async with another(stack, "catalog"):
        keys = [await upload(catalog, file(f"{uid}{n}")) for n in range(8)]
        ids = await asyncio.gather(*(create(catalog, "product-import", {"fileKey": key}) for key in keys))
        jobs = [await reached(catalog, job_id, "completed", "failed") for job_id in ids]
    assert {job["status"] for job in jobs} == {"completed"}
    assert [await imported_lines(stack, f"{uid}{n}") for n in range(8)] == [LINES] * 8
    assert [await events(stack, job_id) for job_id in ids] == [3] * 8
    await until(partial(no_files, folder))


async def test_the_same_file_at_once(catalog: Client, stack: Stack, uid: str) -> None:
    """Of several imports of the same handles one wins, and the others say why they did not."""
    keys = [await upload(catalog, file(uid)) for _ in range(3)]
    ids = await asyncio.gather(*(create(catalog, "product-import", {"fileKey": key}) for key in keys))
    jobs = [await reached(catalog, job_id, "completed", "failed") for job_id in ids]
    assert sorted(job["status"] for job in jobs) == ["completed", "failed", "failed"]
    assert all("taken by another" in job["result"]["errors"][0] for job in jobs if job["status"] == "failed")
    assert await imported_lines(stack, uid) == LINES


async def test_who_lost_the_job_changes_nothing(catalog: Client, stack: Stack, uid: str) -> None:
    async with stalled(stack, "catalog", "product_options"):
        job_id = await create_import(catalog, uid)
        await until(partial(waits, stack, "catalog"))
        await stack.pool("catalog").execute(
            "update batch_jobs set leased_by = 'somebody', leased_until = 'infinity' where id = $1", job_id
        )

        async def given_up() -> bool:
            return not await waits(stack, "catalog")

        await until(given_up)
    assert (await get(catalog, job_id))["status"] == "processing"
    assert await imported_lines(stack, uid) == 0
    await expire(stack, job_id)
    assert (await reached(catalog, job_id, "completed", "failed"))["status"] == "completed"
    assert await imported_lines(stack, uid) == LINES


# Cancelled


async def test_cancel_while_importing(catalog: Client, stack: Stack, uid: str) -> None:
    async with stalled(stack, "catalog", "product_options"):
        job_id = await create_import(catalog, uid)
        await until(partial(waits, stack, "catalog"))
        assert (await get(catalog, job_id))["status"] == "processing"
        answer = await catalog.ok("POST", f"/admin/batch-jobs/{job_id}/cancel")
        assert answer["batch_job"]["status"] == "canceled"

        async def stopped() -> bool:
            return not await waits(stack, "catalog")

        await until(stopped)
    assert (await get(catalog, job_id))["status"] == "canceled"
    assert await imported_lines(stack, uid) == 0
    left = "select count(*) from batch_import_lines where job_id = $1"
    assert await stack.pool("catalog").fetchval(left, job_id) == 0


async def test_cancel_while_exporting(catalog: Client, stack: Stack, folder: Path, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    job = await done(catalog, "product-export", {"filterable_fields": {"id": product["id"]}}, dry_run=True)
    async with stalled(stack, "catalog", "product_options"):
        await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
        await until(partial(waits, stack, "catalog"))
        await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/cancel")

        async def stopped() -> bool:
            return not await waits(stack, "catalog")

        await until(stopped)
    assert (await get(catalog, job["id"]))["status"] == "canceled"
    assert names(folder) == []


async def test_cancel_at_the_last_moment(
    catalog: Client, stack: Stack, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is written, and not yet committed: it is taken back."""
    apply = batch_import_apply.apply

    async def applied(db: Any, so_far: Any) -> None:
        await apply(db, so_far)
        await catalog.ok("POST", f"/admin/batch-jobs/{job_id}/cancel")

    monkeypatch.setattr(batch_product_import, "apply", applied)
    key = await upload(catalog, file(uid))
    job_id = (await done(catalog, "product-import", {"fileKey": key}, dry_run=True))["id"]
    await catalog.ok("POST", f"/admin/batch-jobs/{job_id}/confirm")
    assert (await reached(catalog, job_id, "completed", "failed", "canceled"))["status"] == "canceled"

    async def free() -> bool:
        held = (
            "select count(*) from pg_stat_activity "
            "where application_name = 'catalog batch jobs' and state like 'idle in%'"
        )
        return bool(await stack.pool("catalog").fetchval(held) == 0)

    await until(free)
    assert await imported_lines(stack, uid) == 0


# Trouble


async def test_orders_cannot_be_reached(api: Client, monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    async def nobody(*_: Any) -> Any:
        raise Unavailable("Nobody listens to orders right now; try again later.")

    monkeypatch.setattr(remote, "count_orders", nobody)
    monkeypatch.setattr(batch_runner, "MAX_ATTEMPTS", 1)
    job = await done(api, "order-export", {})
    assert (job["status"], job["result"]["errors"]) == (
        "failed",
        ["Nobody listens to orders right now; try again later."],
    )


async def test_trouble_passes(api: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    ask, failed = remote.count_orders, asyncio.Event()

    async def first_not(*given: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise Unavailable("Not now.")
        return await ask(*given)

    monkeypatch.setattr(remote, "count_orders", first_not)
    job_id = await create(api, "order-export", {"filterable_fields": {"email": uid}})
    await failed.wait()

    async def released() -> bool:
        row = await stack.pool("catalog").fetchrow("select leased_by, attempts from batch_jobs where id = $1", job_id)
        return (row["leased_by"], row["attempts"]) == (None, 1)

    await until(released)
    await expire(stack, job_id)
    assert (await reached(api, job_id, "completed", "failed"))["status"] == "completed"


async def test_what_nobody_foresaw(catalog: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batch_product_import, "apply", broken)
    job = await done(catalog, "product-import", {"fileKey": await upload(catalog, file(uid))})
    assert (job["status"], job["result"]["errors"]) == (
        "failed",
        ["Something went wrong here; it was logged under the id of the job."],
    )
    assert await imported_lines(stack, uid) == 0
