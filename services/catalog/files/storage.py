"""Where files are kept: on disk, in S3, or in a store of somebody else's (settings `MERCER_FILES*`, `MERCER_S3_*`).

A file is known by its key, which is made here and never by a client: what access it has, an id, and what is left of the
client's name for it. A key is one plain word, so that it is a path or a URL as it stands. A store takes and gives files
as streams, and holds a block of one at a time.

MERCER_FILES is `disk`, `s3`, or a name in the entry point group `mercer.file_providers`: what stands there is called
with the settings and makes a Storage.
"""

import asyncio
import contextlib
import os
import re
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import structlog

from services.catalog.settings import FileSettings, file_settings
from services.chassis.errors import NotFound, Unavailable
from services.chassis.ids import new_id

log = structlog.get_logger()

GROUP = "mercer.file_providers"
PUBLIC, PROTECTED = "file", "protected"
KEY = re.compile(r"(?P<access>file|protected)_[0-9A-HJKMNP-TV-Z]{26}-(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})")
MAX_NAME_LENGTH = 100
DISK_BLOCK = 256 * 1024
S3_BLOCK = 5 * 1024 * 1024  # S3 takes no smaller part, but for the last one
ABANDONED_SECONDS = 24 * 60 * 60
MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True)
class File:
    """A stored file while it is open."""

    size: int
    chunks: AsyncIterator[bytes]


class Storage(Protocol):
    """How to keep files. Keys are always of `new_key`'s making; whoever calls has checked that (`is_key`)."""

    async def store(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Keep a stream, whole or not at all; returns its size. What `chunks` raises passes through."""
        ...

    def open(self, key: str) -> AbstractAsyncContextManager[File]:
        """Raises NotFound."""
        ...

    async def delete(self, key: str) -> None:
        """A file that is not there is deleted already."""
        ...

    async def url(self, key: str, seconds: int) -> str | None:
        """An address where the store itself gives the file to anybody for so long; None when it cannot."""
        ...


def plain_name(name: str) -> str:
    """What a client calls a file, as far as it is harmless: the last part of a path, in plain characters."""
    last = re.split(r"[/\\]", name)[-1]
    ascii_only = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_only).strip("._-")
    stem, dot, ending = plain.rpartition(".")
    if dot and len(ending) <= 10:
        return f"{stem[: MAX_NAME_LENGTH - 1 - len(ending)]}.{ending}"
    return plain[:MAX_NAME_LENGTH] or "unnamed"


def new_key(name: str, *, protected: bool) -> str:
    """For example `file_01J...-shirt.png`. The access is a part of it, so that nobody can ask for another one."""
    return f"{new_id(PROTECTED if protected else PUBLIC)}-{plain_name(name)}"


def is_key(key: str) -> bool:
    """Whether it can be one of ours: no other one ever reaches a store."""
    return KEY.fullmatch(key) is not None


def no_file(key: str) -> NotFound:
    return NotFound(f"There is no file {key}.")


async def blocks(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least `size`, but for the last one."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class Disk:
    """Files in one folder, which the processes of a service can share."""

    def __init__(self, settings: FileSettings) -> None:
        self.folder = settings.files_folder.absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.glob("*.part"):  # of processes that were killed
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    path.unlink()

    async def store(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        unfinished = self._path(key).with_name(f"{key}.part")
        file = await asyncio.to_thread(_create, unfinished)
        size = 0
        try:
            try:
                async for block in blocks(chunks, DISK_BLOCK):
                    size += await asyncio.to_thread(file.write, block)
                await asyncio.to_thread(os.fsync, file.fileno())
            finally:
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(unfinished.rename, self._path(key))
        except BaseException:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)
            raise
        return size

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[File]:
        try:
            file = await asyncio.to_thread(_open, self._path(key))
        except FileNotFoundError:
            raise no_file(key) from None
        try:
            yield File(os.fstat(file.fileno()).st_size, _read(file))
        finally:
            await asyncio.to_thread(file.close)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def url(self, key: str, seconds: int) -> str | None:
        return None

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError(f"not a key: {key!r}")
        return self.folder / key


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0)


async def _read(file: BinaryIO) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(file.read, DISK_BLOCK):
        yield block


class S3:
    """Files in a bucket of S3, or of something that speaks like it. The bucket exists, and nobody else may look in."""

    def __init__(self, settings: FileSettings) -> None:
        if not settings.s3_bucket:
            raise ValueError("MERCER_FILES=s3 needs MERCER_S3_BUCKET.")
        # Here and below, because loading them takes a third of a second, and most keep their files on a disk.
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
        self._bucket = settings.s3_bucket
        self._session = get_session()
        self._options = {
            "region_name": settings.s3_region,
            "endpoint_url": settings.s3_endpoint,
            "aws_access_key_id": key.get_secret_value() if key else None,
            "aws_secret_access_key": secret.get_secret_value() if secret else None,
            "config": AioConfig(
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "total_max_attempts": 2},  # somebody waits, and the gateway for 30 s
                signature_version="s3v4",
                s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
                # What others than Amazon do not know.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        }

    async def store(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        with reported(key):
            async with self._client() as client:
                pieces = blocks(chunks, S3_BLOCK)
                first = await anext(pieces, b"")
                if len(first) < S3_BLOCK:
                    await client.put_object(**self._named(key), Body=first)
                    return len(first)
                return await self._store_parts(client, key, first, pieces)

    async def _store_parts(self, client: Any, key: str, first: bytes, rest: AsyncIterator[bytes]) -> int:
        from botocore.exceptions import BotoCoreError, ClientError

        begun = await client.create_multipart_upload(**self._named(key))
        upload = self._named(key) | {"UploadId": begun["UploadId"]}
        done: list[dict[str, Any]] = []
        size, block = 0, first
        try:
            while block:
                number = len(done) + 1
                part = await client.upload_part(**upload, PartNumber=number, Body=block)
                done.append({"PartNumber": number, "ETag": part["ETag"]})
                size += len(block)
                block = await anext(rest, b"")
            await client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            with contextlib.suppress(BotoCoreError, ClientError):  # what is reported is why it failed
                await client.abort_multipart_upload(**upload)
            raise
        return size

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[File]:
        async with self._client() as client:
            with reported(key):
                answer = await client.get_object(**self._named(key))
            async with answer["Body"] as body:
                yield File(answer["ContentLength"], body.iter_chunks(DISK_BLOCK))

    async def delete(self, key: str) -> None:
        with reported(key):
            async with self._client() as client:
                await client.delete_object(**self._named(key))

    async def url(self, key: str, seconds: int) -> str | None:
        named = self._named(key) | {"ResponseContentDisposition": attachment(key)}
        with reported(key):
            async with self._client() as client:
                return str(await client.generate_presigned_url("get_object", named, ExpiresIn=seconds))

    def _client(self) -> Any:
        # A client is made in 5 ms, and kept ones would have to be closed by somebody.
        return self._session.create_client("s3", **self._options)

    def _named(self, key: str) -> dict[str, Any]:
        if not is_key(key):
            raise ValueError(f"not a key: {key!r}")
        return {"Bucket": self._bucket, "Key": key}


@contextlib.contextmanager
def reported(key: str) -> Iterator[None]:
    """S3's complaints as ours. Raises NotFound or Unavailable; what says that the settings are wrong stays as it is."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            raise no_file(key) from None
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            raise
        raise Unavailable("The file store has trouble right now; try again later.") from error
    except BotoCoreError as error:
        log.warning("file store", reason=repr(error))
        raise Unavailable("The file store cannot be reached right now; try again later.") from error


def attachment(key: str) -> str:
    """The Content-Disposition that has a browser save a file under the name that it came with."""
    parts = KEY.fullmatch(key)
    return f'attachment; filename="{parts["name"] if parts else key}"'


@cache
def storage() -> Storage:
    """The store that the settings choose."""
    settings = file_settings()
    match settings.files:
        case "disk":
            return Disk(settings)
        case "s3":
            return S3(settings)
    points = entry_points(group=GROUP, name=settings.files)
    if not points:
        raise ValueError(f"MERCER_FILES is disk, s3 or an installed provider, not {settings.files}.")
    (point,) = points
    provided: Storage = point.load()(settings)
    return provided
