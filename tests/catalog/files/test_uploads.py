"""Uploads: kept as they come, under keys of ours, and given out again to those who may have them."""

import asyncio
import io
import time
import tracemalloc
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import FormData

from services.catalog.files import storage as module
from services.catalog.files import uploads
from services.catalog.files.storage import Disk, new_key
from services.catalog.settings import file_settings
from services.chassis.errors import Unavailable
from tests.support.client import Client
from tests.support.stack import Stack
from tests.support.waiting import in_time

MEBIBYTE = 1024 * 1024
FORM = {"Content-Type": "multipart/form-data; boundary=BOUND"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files of a test are."""

    def forget() -> None:
        file_settings.cache_clear()
        module.storage.cache_clear()

    monkeypatch.setenv("MERCER_FILES_FOLDER", str(tmp_path / "files"))
    monkeypatch.setenv("MERCER_FILES_URL", "https://shop.example/")
    monkeypatch.setenv("MERCER_MAX_UPLOAD_BYTES", str(40 * MEBIBYTE))
    forget()
    (tmp_path / "files").mkdir()
    yield tmp_path / "files"
    forget()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def largest(folder: Path) -> int:
    return max((path.stat().st_size for path in folder.iterdir()), default=0)


def form(*files: tuple[str, Any], field: str = "files") -> FormData:
    data = FormData(quote_fields=False)
    for name, content in files:
        value = io.BytesIO(content) if isinstance(content, bytes) else content
        data.add_field(field, value, filename=name, content_type="text/html")
    return data


async def upload(client: Client, *files: tuple[str, Any], path: str = "/admin/uploads", **more: Any) -> tuple[int, Any]:
    data = form(*files, **more)
    async with client.session.post(client.base + path, data=data, headers=client.headers()) as answer:
        return answer.status, await answer.json()


async def stored(client: Client, name: str, content: bytes = b"hello", *, protected: bool = False) -> str:
    """The key of a new file."""
    path = "/admin/uploads/protected" if protected else "/admin/uploads"
    status, body = await upload(client, (name, content), path=path)
    assert status == 200, body
    key: str = body["uploads"][0]["key"]
    return key


async def fetched(client: Client, target: str, method: str = "GET") -> tuple[int, Any, bytes]:
    """What somebody without credentials gets."""
    async with client.session.request(method, client.base + target) as answer:
        return answer.status, answer.headers, await answer.read()


async def link(client: Client, key: str) -> str:
    """Path and query of the download URL."""
    url = (await client.ok("POST", "/admin/uploads/download-url", {"file_key": key}))["download_url"]
    assert url.startswith("https://shop.example/store/uploads/")
    return str(url).removeprefix("https://shop.example")


@pytest.mark.parametrize(("path", "access"), [("/admin/uploads", "file"), ("/admin/uploads/protected", "protected")])
async def test_upload(api: Client, folder: Path, path: str, access: str) -> None:
    status, body = await upload(api, ("a.csv", b"x,y"), ("../../b ü.txt", b"hello"), ("empty", b""), path=path)
    keys = [upload["key"] for upload in body["uploads"]]
    assert (status, body) == (
        200,
        {"uploads": [{"url": f"https://shop.example/store/uploads/{key}", "key": key} for key in keys]},
    )
    assert [key.split("-", 1)[1] for key in keys] == ["a.csv", "b-u.txt", "empty"]
    assert all(key.startswith(f"{access}_") for key in keys)
    assert names(folder) == sorted(keys)
    assert [(folder / key).read_bytes() for key in keys] == [b"x,y", b"hello", b""]


async def test_fields_beside_the_files_are_skipped(api: Client, folder: Path) -> None:
    data = form(("a.txt", b"a"))
    data.add_field("note", "x" * 100_000)
    async with api.session.post(f"{api.base}/admin/uploads", data=data, headers=api.headers()) as answer:
        assert answer.status == 200
        assert len((await answer.json())["uploads"]) == 1
    assert len(names(folder)) == 1


@pytest.mark.parametrize("path", ["/admin/uploads", "/admin/uploads/protected"])
@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ({}, None),
        ({"Content-Type": "application/json"}, b'{"files": []}'),
        ({"Content-Type": "multipart/form-data"}, b"--BOUND--"),
        (FORM, b"--BOUND--\r\n"),
        (FORM, b""),
        (FORM, b"no form at all"),
        (FORM, b'--BOUND\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--BOUND--\r\n'),
        (FORM, b'--BOUND\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n--BOUND--\r\n'),
        (FORM, b'--BOUND\r\nContent-Disposition: form-data; name="attachment"; filename="a"\r\n\r\nx\r\n--BOUND--\r\n'),
        (FORM, b'--BOUND\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nbroken off'),
        (FORM, b"--BOUND\r\nContent-Type: multipart/mixed; boundary=X\r\n\r\n--X\r\n\r\nx\r\n--X--\r\n--BOUND--\r\n"),
        (FORM, b"--BOUND\r\nX: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--BOUND--\r\n"),
    ],
)
async def test_no_form_with_files(
    catalog: Client, folder: Path, path: str, headers: dict[str, str], raw: bytes | None
) -> None:
    status, body = await catalog.post(path, headers=headers, raw=raw)
    assert (status, body["type"]) == (400, "invalid_data")
    assert names(folder) == []


async def test_a_form_is_kept_whole_or_not_at_all(catalog: Client, folder: Path) -> None:
    part = b'--BOUND\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\nx\r\n'
    raw = part % b"files" + part % b"other" + b"--BOUND--\r\n"
    status, body = await catalog.post("/admin/uploads", headers=FORM, raw=raw)
    assert (status, body["message"]) == (400, "The form must have its files in fields named files.")
    assert names(folder) == []
    status, body = await upload(catalog, *[("a", b"x")] * 101)
    assert (status, body["message"]) == (400, "One request can have 100 files.")
    assert names(folder) == []


@pytest.mark.parametrize("sizes", [[41], [30, 11]])
async def test_size(catalog: Client, folder: Path, sizes: list[int]) -> None:
    status, body = await upload(catalog, *[("a", b"x" * size * MEBIBYTE) for size in sizes])
    assert (status, body["type"]) == (413, "invalid_data")
    assert names(folder) == []


async def test_a_client_that_goes_away(catalog: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()
    store = Disk.store

    async def noted(self: Disk, key: str, chunks: AsyncIterator[bytes]) -> int:
        try:
            return await store(self, key, chunks)
        finally:
            ended.set()

    async def half() -> AsyncIterator[bytes]:
        yield b"x" * MEBIBYTE
        while not names(folder):
            await asyncio.sleep(0.01)
        raise ConnectionError

    monkeypatch.setattr(Disk, "store", noted)
    with pytest.raises((ConnectionError, aiohttp.ClientError)):
        await upload(catalog, ("a.txt", half()))
    async with in_time():
        await ended.wait()
    assert names(folder) == []


async def test_a_file_passes_block_by_block(api: Client, folder: Path) -> None:
    """The rest is only sent when the beginning is on disk, through the gateway, too."""

    async def slow() -> AsyncIterator[bytes]:
        for size in range(1, 4):
            yield b"x" * MEBIBYTE
            async with in_time():
                while largest(folder) <= (size - 0.5) * MEBIBYTE:
                    await asyncio.sleep(0.01)

    status, body = await upload(api, ("a.bin", slow()))
    assert status == 200
    assert (folder / body["uploads"][0]["key"]).stat().st_size == 3 * MEBIBYTE


async def test_memory_is_bounded(catalog: Client, folder: Path) -> None:
    chunk = b"x" * 65536

    async def large() -> AsyncIterator[bytes]:
        for _ in range(32 * 16):
            yield chunk

    await stored(catalog, "warm.up")
    tracemalloc.start()
    try:
        status, body = await upload(catalog, ("a.bin", large()))
        assert status == 200
        key = body["uploads"][0]["key"]
        size = 0
        async with catalog.session.get(f"{catalog.base}/store/uploads/{key}", headers=catalog.headers()) as answer:
            async for part in answer.content.iter_any():
                size += len(part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 32 * MEBIBYTE
    assert peak < 4 * MEBIBYTE


async def test_delete(api: Client, folder: Path) -> None:
    gone, kept = await stored(api, "a.csv"), await stored(api, "a.csv")
    for _ in range(2):
        assert await api.delete("/admin/uploads", {"file_key": gone}) == (
            200,
            {"id": gone, "object": "file", "deleted": True},
        )
    assert names(folder) == [kept]


async def test_deletes_stay_below_the_root(api: Client, folder: Path, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", folder / "notes"
    outside.touch()
    inside.touch()
    key = await stored(api, "a.csv")
    for wrong in (
        "../outside",
        str(outside),
        "notes",
        ".",
        f"../files/{key}",
        f"{key}/../{key}",
        f"./{key}",
        "%2e%2e/x",
    ):
        assert await api.delete("/admin/uploads", {"file_key": wrong}) == (
            200,
            {"id": wrong, "object": "file", "deleted": True},
        )
    assert outside.exists()
    assert names(folder) == sorted([key, "notes"])


@pytest.mark.parametrize(
    "body", [None, {}, {"file_key": 5}, {"file_key": None}, {"file_key": ""}, {"file_key": "x", "a": 1}]
)
async def test_bodies(api: Client, body: Any) -> None:
    for answer in (
        await api.delete("/admin/uploads", body),
        await api.post("/admin/uploads/download-url", body),
    ):
        assert (answer[0], answer[1]["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("name", "content_type", "disposition"),
    [
        ("a.png", "image/png", None),
        ("a.JPG", "image/jpeg", None),
        ("a.csv", "text/csv", 'attachment; filename="a.csv"'),
        ("a.html", "text/html", 'attachment; filename="a.html"'),
        ("a.svg", "image/svg+xml", 'attachment; filename="a.svg"'),
        ("a.png.html", "text/html", 'attachment; filename="a.png.html"'),
        ("a", "application/octet-stream", 'attachment; filename="a"'),
        ("a.what", "application/octet-stream", 'attachment; filename="a.what"'),
    ],
)
async def test_a_public_file(api: Client, name: str, content_type: str, disposition: str | None, method: str) -> None:
    key = await stored(api, name)
    assert await link(api, key) == f"/store/uploads/{key}"
    status, headers, content = await fetched(api, f"/store/uploads/{key}", method)
    assert (status, content) == (200, b"hello" if method == "GET" else b"")
    assert headers["Content-Length"] == "5"
    assert headers["Content-Type"] == content_type
    assert headers.get("Content-Disposition") == disposition
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_a_large_file_comes_out_as_it_went_in(api: Client) -> None:
    content = bytes(range(256)) * 8192
    key = await stored(api, "a.bin", content)
    status, headers, content_read = await fetched(api, f"/store/uploads/{key}")
    assert (status, headers["Content-Length"], content_read == content) == (200, str(len(content)), True)


async def test_a_protected_file_needs_a_link(api: Client) -> None:
    key, other = await stored(api, "a.csv", protected=True), await stored(api, "a.csv", protected=True)
    target = await link(api, key)
    status, headers, content = await fetched(api, target)
    assert (status, content, headers["Cache-Control"]) == (200, b"hello", "private, no-store")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query))
    expires, signed = query["expires"], query["signature"]
    assert abs(int(expires) - time.time() - uploads.LINK_SECONDS) < 10
    for wrong in (
        f"/store/uploads/{key}",
        f"/store/uploads/{key}?expires={int(expires) + 1}&signature={signed}",
        f"/store/uploads/{key}?expires={expires}&signature={signed[::-1]}",
        f"/store/uploads/{key}?expires={expires}&signature=%C3%A4",
        f"/store/uploads/{key}?expires={expires}&signature=",
        f"/store/uploads/{key}?expires=%D9%A3&signature={signed}",
        f"/store/uploads/{key}?expires={'9' * 5000}&signature={signed}",
        f"/store/uploads/{other}?expires={expires}&signature={signed}",
    ):
        status, _, content = await fetched(api, wrong)
        assert (status, b"hello" in content) == (404, False), wrong
    # Not by another access either, nor with the credentials of a user.
    assert (await fetched(api, f"/store/uploads/{key.replace('protected_', 'file_')}"))[0] == 404
    assert (await api.get(f"/store/uploads/{key}"))[0] == 404


async def test_a_link_expires(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await stored(api, "a.csv", protected=True)
    monkeypatch.setattr(uploads, "LINK_SECONDS", -1)
    assert (await fetched(api, await link(api, key)))[0] == 404
    monkeypatch.setattr(uploads, "LINK_SECONDS", 60)
    assert (await fetched(api, await link(api, key)))[0] == 200


async def test_a_link_to_what_is_no_file(api: Client, folder: Path) -> None:
    (folder / "notes").touch()
    assert await link(api, "notes") == "/store/uploads/notes"
    assert await link(api, "../a b") == "/store/uploads/..%2Fa%20b"
    key = new_key("a.csv", protected=True)
    assert (await fetched(api, await link(api, key)))[0] == 404
    for target in ("notes", "..%2Fa%20b", new_key("a.csv", protected=False)):
        assert (await fetched(api, f"/store/uploads/{target}"))[0] == 404


async def test_visitors_see_files_and_nothing_else(api: Client, catalog: Client, folder: Path) -> None:
    key = await stored(api, "a.png")
    for target in (
        f"/store/uploads/{key}/",
        f"/store/uploads/{key}/x",
        f"/store/uploads/./{key}",
        f"/store/uploads/%2e%2e/uploads/{key}",
        "/store/uploads/..%2f..%2fadmin%2fproducts",
        "/store/uploads/../../admin/products",
        "/store/uploads/..",
        "/store/uploads/",
        "/store/uploads",
        "/store/products",
        f"/uploads/{key}",
    ):
        reader, writer = await asyncio.open_connection(*host_and_port(api))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 "), target
        writer.close()
        await writer.wait_closed()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await fetched(api, f"/store/uploads/{key}", method))[0] == 404
    for method in ("POST", "DELETE"):
        assert (await fetched(api, "/admin/uploads", method))[0] == 401
    assert (await fetched(catalog, f"/store/uploads/{key}"))[0] == 401  # the service answers the gateway only
    assert names(folder) == [key]


def host_and_port(client: Client) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(client.base)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def test_a_download_that_breaks_off_is_seen_to(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await stored(api, "a.bin", b"x" * MEBIBYTE)

    async def broken(file: Any) -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise OSError("disk")

    monkeypatch.setattr(module, "_read", broken)
    with pytest.raises(aiohttp.ClientError):
        await fetched(api, f"/store/uploads/{key}")


async def test_a_store_that_hands_out_links_itself(
    stack: Stack, api: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def url(self: Disk, key: str, seconds: int) -> str:
        return f"https://store.example/{key}?for={seconds}"

    monkeypatch.setattr(Disk, "url", url)
    key = new_key("a.csv", protected=True)
    answer = await api.ok("POST", "/admin/uploads/download-url", {"file_key": key})
    assert answer == {"download_url": f"https://store.example/{key}?for=3600"}
    # Nothing else that the store may hold is given away.
    assert await link(api, "backup.sql") == "/store/uploads/backup.sql"


async def test_a_store_that_goes_away_in_the_middle(api: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any) -> None:
        raise Unavailable("The file store cannot be reached right now; try again later.")

    monkeypatch.setattr(Disk, "delete", gone)
    status, body = await upload(api, ("a.txt", b"x"), ("b.txt", b"x" * 41 * MEBIBYTE))
    assert (status, body["type"]) == (413, "invalid_data")  # not what went wrong while it was taken back
    assert len(names(folder)) == 1


async def test_a_store_that_is_not_there(api: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(self: Disk, key: str, chunks: AsyncIterator[bytes]) -> int:
        raise Unavailable("The file store cannot be reached right now; try again later.")

    monkeypatch.setattr(Disk, "store", gone)
    status, body = await upload(api, ("a.txt", b"x"))
    assert (status, body["type"]) == (503, "unavailable")
