"""Batch jobs as the tests run them: files in and out, and jobs waited for."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from services.catalog.files import storage
from services.catalog.files.storage import new_key
from services.catalog.settings import file_settings
from tests.support.client import Client
from tests.support.waiting import until

OVER = ("completed", "failed", "canceled")


@contextmanager
def kept_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where the files of a test are, also those of further processes."""

    def forget() -> None:
        file_settings.cache_clear()
        storage.storage.cache_clear()

    monkeypatch.setenv("MERCER_FILES_FOLDER", str(path))
    forget()
    path.mkdir()
    yield path
    forget()


async def upload(client: Client, text: str | bytes, name: str = "file.csv") -> str:
    """Uploads a file, and returns its key."""
    form = FormData()
    content = text.encode() if isinstance(text, str) else text
    form.add_field("files", content, filename=name, content_type="text/csv")
    async with client.session.post(
        client.base + "/admin/uploads/protected", data=form, headers=client.headers()
    ) as answer:
        key: str = (await answer.json())["uploads"][0]["key"]
        return key


def table(*lines: dict[str, Any]) -> str:
    """A CSV file with the columns of all lines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


async def create(client: Client, type_: str, context: dict[str, Any], *, dry_run: bool = False) -> str:
    """The id of a new job."""
    status, body = await client.post("/admin/batch-jobs", {"type": type_, "context": context, "dry_run": dry_run})
    assert status == 201, body
    job_id: str = body["batch_job"]["id"]
    return job_id


async def get(client: Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await client.ok("GET", f"/admin/batch-jobs/{job_id}"))["batch_job"]
    return job


async def reached(client: Client, job_id: str, *statuses: str) -> dict[str, Any]:
    """The job, as soon as it has one of the statuses."""

    async def there() -> dict[str, Any] | None:
        job = await get(client, job_id)
        return job if job["status"] in statuses else None

    job: dict[str, Any] = await until(there)
    return job


async def done(client: Client, type_: str, context: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
    """A new job, when it is over; a dry run, when it is pre-processed."""
    job_id = await create(client, type_, context, dry_run=dry_run)
    return await reached(client, job_id, *OVER, *(["pre_processed"] if dry_run else []))


async def imported(client: Client, text: str | bytes, *, dry_run: bool = False) -> dict[str, Any]:
    """A product-import of this file, when it is over."""
    return await done(client, "product-import", {"fileKey": await upload(client, text)}, dry_run=dry_run)


async def refused(client: Client, text: str | bytes) -> list[str]:
    """Why a product-import of this file fails, once it was read."""
    job = await imported(client, text)
    assert (job["status"], job["processing_at"], job["pre_processed_at"] is None) == ("failed", None, False), job
    assert job["result"]["advancement_count"] == 0
    errors: list[str] = job["result"]["errors"]
    return errors


async def unreadable(client: Client, text: str | bytes) -> list[str]:
    """Why a product-import of this file fails while it is read."""
    job = await imported(client, text)
    assert (job["status"], job["pre_processed_at"]) == ("failed", None), job
    assert job["result"].keys() == {"errors"}
    errors: list[str] = job["result"]["errors"]
    return errors


def content(folder: Path, key: str) -> str:
    """What is in a stored file, byte for byte."""
    return (folder / key).read_bytes().decode()


def rows(text: str) -> list[dict[str, str]]:
    """The lines of an exported file, by column."""
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))


async def exported(client: Client, folder: Path, *product_ids: str) -> str:
    """The file of a product-export of these products."""
    job = await done(client, "product-export", {"filterable_fields": {"id": list(product_ids)}})
    assert job["status"] == "completed", job
    return content(folder, job["result"]["file_key"])


def unused_key() -> str:
    return new_key("none.csv", protected=True)


def names(folder: Path) -> list[str]:
    """The names of the files that are in the folder."""
    return sorted(path.name for path in folder.iterdir())


def boot(uid: str, size: str = "42", **more: Any) -> dict[str, Any]:
    """A line of a new product."""
    return {
        "Product Handle": f"boot-{uid}",
        "Product Title": f"Boot {uid}",
        "Variant Title": f"Boot {size}",
        "Variant SKU": f"boot-{size}-{uid}",
        "Option 1 Name": "Size",
        "Option 1 Value": size,
        **more,
    }
