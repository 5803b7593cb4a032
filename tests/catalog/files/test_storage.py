"""Where files are kept: both stores do the same, S3's against moto's server."""

import asyncio
import io
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from services.catalog.files import storage as module
from services.catalog.files.storage import S3, Disk, Storage, blocks, is_key, new_key, plain_name
from services.catalog.settings import FileSettings, file_settings
from services.chassis.errors import NotFound, TooLarge, Unavailable
from tests.support.client import Client

BUCKET = "mercer"
MEBIBYTE = 1024 * 1024


def s3_settings(endpoint: str, bucket: str = BUCKET) -> FileSettings:
    return FileSettings(
        s3_bucket=bucket,
        s3_endpoint=endpoint,
        s3_access_key_id=SecretStr("somebody"),
        s3_secret_access_key=SecretStr("something"),
    )


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A server that speaks as S3 does, on a free port."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    assert server._server is not None
    server._server.server_close()


@pytest.fixture
async def s3(s3_url: str) -> S3:
    """With an empty bucket."""
    async with aiohttp.ClientSession() as session, session.post(f"{s3_url}/moto-api/reset") as answer:
        assert answer.status == 200
    store = S3(s3_settings(s3_url))
    async with store._client() as client:
        await client.create_bucket(Bucket=BUCKET)
    return store


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(FileSettings(files_folder=tmp_path / "files"))


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, disk: Disk, s3: S3) -> Storage:
    return disk if request.param == "disk" else s3


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def contents(store: Storage, key: str) -> bytes:
    async with store.open(key) as file:
        content = b"".join([chunk async for chunk in file.chunks])
        assert file.size == len(content)
        return content


async def listed(store: Storage) -> list[str]:
    """All that a store holds, unfinished or not."""
    if isinstance(store, Disk):
        return sorted(path.name for path in store.folder.iterdir())
    assert isinstance(store, S3)
    async with store._client() as client:
        objects = (await client.list_objects_v2(Bucket=BUCKET)).get("Contents", [])
        unfinished = (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads", [])
        return sorted(entry["Key"] for entry in [*objects, *unfinished])


@pytest.mark.parametrize("size", [0, 1, 300_000, 5 * MEBIBYTE, 5 * MEBIBYTE + 1, 12 * MEBIBYTE])
async def test_what_is_stored_is_read_again(store: Storage, size: int) -> None:
    content = os.urandom(size)
    key = new_key("a.bin", protected=False)
    pieces = [content[at : at + 100_000] for at in range(0, size, 100_000)]
    assert await store.store(key, stream(*pieces)) == size
    assert await contents(store, key) == content
    await store.delete(key)
    with pytest.raises(NotFound):
        await contents(store, key)


async def test_a_file_that_is_not_there(store: Storage) -> None:
    key = new_key("a.txt", protected=True)
    with pytest.raises(NotFound):
        await contents(store, key)
    await store.delete(key)
    await store.delete(key)


@pytest.mark.parametrize("size", [0, 1000, 6 * MEBIBYTE])
async def test_what_breaks_off_is_not_kept(store: Storage, size: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * size
        raise TooLarge("too much")

    before = await listed(store)
    with pytest.raises(TooLarge):
        await store.store(new_key("a.txt", protected=False), broken())
    assert await listed(store) == before


async def test_what_is_cancelled_is_not_kept(store: Storage) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 6 * MEBIBYTE
        begun.set()
        await asyncio.Event().wait()

    before = await listed(store)
    storing = asyncio.create_task(store.store(new_key("a.txt", protected=False), endless()))
    await begun.wait()
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert await listed(store) == before


async def test_a_file_is_not_seen_before_it_is_whole(store: Storage) -> None:
    key = new_key("a.txt", protected=False)

    async def looking() -> AsyncIterator[bytes]:
        yield b"x" * 6 * MEBIBYTE
        with pytest.raises(NotFound):
            await contents(store, key)
        yield b"y"

    assert await store.store(key, looking()) == 6 * MEBIBYTE + 1
    assert (await contents(store, key))[-2:] == b"xy"


@pytest.mark.parametrize(
    "key", ["", "x", "../x", "/etc/passwd", "file_/../x", "file_01J00000000000000000000000-a/../b"]
)
async def test_a_store_takes_only_our_keys(store: Storage, key: str) -> None:
    before = await listed(store)
    for refused in (store.store(key, stream(b"x")), store.delete(key), contents(store, key)):
        with pytest.raises(ValueError, match="not a key"):
            await refused
    assert await listed(store) == before


async def test_files_on_disk_are_their_owners_only(disk: Disk) -> None:
    key = new_key("a.txt", protected=True)
    await disk.store(key, stream(b"x"))
    assert stat.S_IMODE(disk.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((disk.folder / key).stat().st_mode) == 0o600
    assert await disk.url(key, 60) is None


async def test_what_killed_processes_left_goes_after_a_day(disk: Disk) -> None:
    old, new = (disk.folder / f"{new_key('a', protected=False)}.part" for _ in range(2))
    old.touch()
    new.touch()
    day_ago = time.time() - 25 * 60 * 60
    os.utime(old, (day_ago, day_ago))
    Disk(FileSettings(files_folder=disk.folder))
    assert (old.exists(), new.exists()) == (False, True)


async def test_s3_hands_out_a_link(s3: S3) -> None:
    key = new_key("Preise (neu).csv", protected=True)
    await s3.store(key, stream(b"a;b"))
    url = await s3.url(key, 60)
    assert url is not None
    assert "X-Amz-Expires=60" in url
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"a;b")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="Preise-neu-.csv"'


async def test_uploads_in_s3(s3: S3, s3_url: str, api: Client, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MERCER_FILES": "s3",
        "MERCER_S3_BUCKET": BUCKET,
        "MERCER_S3_ENDPOINT": s3_url,
        "MERCER_S3_ACCESS_KEY_ID": "somebody",
        "MERCER_S3_SECRET_ACCESS_KEY": "something",
    }.items():
        monkeypatch.setenv(name, value)

    async def upload(path: str, content: bytes) -> str:
        form = aiohttp.FormData()
        form.add_field("files", io.BytesIO(content), filename="a.csv")
        async with api.session.post(api.base + path, data=form, headers=api.headers()) as answer:
            assert answer.status == 200
            return str((await answer.json())["uploads"][0]["key"])

    async def fetched(url: str) -> tuple[int, bytes]:
        async with api.session.get(url) as answer:
            return answer.status, await answer.read()

    content = os.urandom(6 * MEBIBYTE)
    public, protected = await upload("/admin/uploads", content), await upload("/admin/uploads/protected", b"a;b")
    assert await listed(s3) == sorted([public, protected])
    assert await fetched(f"{api.base}/store/uploads/{public}") == (200, content)
    assert (await fetched(f"{api.base}/store/uploads/{protected}"))[0] == 404
    url = (await api.ok("POST", "/admin/uploads/download-url", {"file_key": protected}))["download_url"]
    assert url.startswith(f"{s3_url}/{BUCKET}/{protected}?")
    assert await fetched(url) == (200, b"a;b")
    for key in (public, protected, public):
        await api.ok("DELETE", "/admin/uploads", {"file_key": key})
    assert await listed(s3) == []
    assert (await fetched(f"{api.base}/store/uploads/{public}"))[0] == 404


async def test_s3_that_is_not_there() -> None:
    gone = S3(s3_settings("http://127.0.0.1:9"))
    key = new_key("a.txt", protected=False)
    for refused in (gone.store(key, stream(b"x")), gone.delete(key), contents(gone, key)):
        with pytest.raises(Unavailable):
            await refused


async def test_s3_with_a_wrong_bucket(s3_url: str) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await S3(s3_settings(s3_url, "none")).store(new_key("a.txt", protected=False), stream(b"x"))


async def test_blocks() -> None:
    pieces = [len(block) async for block in blocks(stream(b"ab", b"c", b"", b"defgh", b"i"), 3)]
    assert pieces == [3, 5, 1]
    assert [block async for block in blocks(stream(), 3)] == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.csv", "a.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Preise.XLSX", "Preise.XLSX"),
        ("Größe & Preis (1).tar.gz", "Groe-Preis-1-.tar.gz"),
        (".htaccess", "htaccess"),
        ("..", "unnamed"),
        ("日本", "unnamed"),
        ("日本.csv", "csv"),
        ('a"b\r\nX: y.html', "a-b-X-y.html"),
        ("a\0b", "a-b"),
        ("x" * 300 + ".jpeg", "x" * 95 + ".jpeg"),
        ("x" * 300, "x" * 100),
        ("a." + "y" * 300, "a." + "y" * 98),
    ],
)
def test_plain_name(name: str, plain: str) -> None:
    assert plain_name(name) == plain
    for protected in (True, False):
        key = new_key(name, protected=protected)
        assert is_key(key)
        assert key.startswith("protected_" if protected else "file_")
        assert key.endswith(f"-{plain}")


@pytest.fixture
def fresh() -> Iterator[None]:
    """The process's store, chosen again before and after."""

    def forget() -> None:
        file_settings.cache_clear()
        module.storage.cache_clear()

    forget()
    yield
    forget()


class Point:
    """An entry point."""

    def load(self) -> Any:
        return lambda settings: f"a store of {settings.files}"


def test_the_settings_choose_the_store(fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def chosen(**environment: str) -> Any:
        for name, value in environment.items():
            monkeypatch.setenv(f"MERCER_{name}", value)
        file_settings.cache_clear()
        module.storage.cache_clear()
        return module.storage()

    disk = chosen(FILES_FOLDER=str(tmp_path / "own"), FILES_URL="https://shop.example/", S3_BUCKET="", FILES="")
    assert isinstance(disk, Disk)
    assert disk.folder == tmp_path / "own"
    assert file_settings().files_url == "https://shop.example"
    with pytest.raises(ValueError, match="MERCER_S3_BUCKET"):
        chosen(FILES="s3")
    assert isinstance(chosen(S3_BUCKET="b", S3_SECRET_ACCESS_KEY="hush"), S3)
    assert "hush" not in repr(file_settings())
    with pytest.raises(ValueError, match="not own"):
        chosen(FILES="own")
    monkeypatch.setattr(
        module, "entry_points", lambda group, name: {("mercer.file_providers", "own"): [Point()]}[group, name]
    )
    assert chosen() == "a store of own"
