"""Uploads: files from clients into the store, and out of it again.

A form passes through block by block and is never held, so an `Idempotency-Key`, which would be compared with the whole
body, has no meaning here; nor is the database asked anything. All files of a request are kept, or none.

A public file is read by everybody who knows its address, a protected one with a link of `/admin/uploads/download-url`.
Both come from `GET /store/uploads/{key}`, for which the gateway asks nobody who they are. They are strangers' files on
the API's own origin: nothing but a picture is shown by a browser, and nothing in it runs.
"""

import hmac
import mimetypes
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar
from urllib.parse import quote

import orjson
import structlog
from aiohttp import BodyPartReader, MultipartReader, web
from pydantic import Field

from services.catalog.files.storage import KEY, PROTECTED, attachment, is_key, new_key, no_file, storage
from services.catalog.settings import file_settings
from services.chassis.errors import InvalidData, NotFound, TooLarge, Unavailable
from services.chassis.http import Body, json_bytes
from services.chassis.keys import SETTINGS
from services.chassis.operations import delete, get, post
from services.chassis.schemas import deleted

log = structlog.get_logger()
T = TypeVar("T")

FIELD = "files"
MAX_FILES = 100
READ_BYTES = 64 * 1024
LINK_SECONDS = 60 * 60
PICTURES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
}  # not SVG, which is a document with scripts
TYPES = mimetypes.MimeTypes()


class FileKey(Body):
    file_key: str = Field(min_length=1)
    """The `key` that the upload was answered with."""


class Form:
    """The files of a multipart body, one after the other, while it comes in. Raises InvalidData or TooLarge."""

    def __init__(self, reader: MultipartReader, limit: int) -> None:
        self._reader, self._limit, self._size = reader, limit, 0

    async def next_file(self) -> BodyPartReader | None:
        """The next part that is a file; other fields are skipped."""
        while part := await received(self._reader.next()):
            if not isinstance(part, BodyPartReader):
                raise InvalidData(f"The form must have its files in fields named {FIELD}.")
            if part.filename:
                if part.name != FIELD:
                    raise InvalidData(f"The form must have its files in fields named {FIELD}.")
                return part
            async for _ in self.chunks(part):
                pass
        return None

    async def chunks(self, part: BodyPartReader) -> AsyncIterator[bytes]:
        """Yields the content of a part, which counts towards the limit."""
        while not part.at_eof():
            chunk = await received(part.read_chunk(READ_BYTES))
            self._size += len(chunk)
            if self._size > self._limit:
                raise TooLarge(
                    f"The files are larger than {self._limit} bytes, which is all that one request can have."
                )
            yield chunk


async def received(reading: Awaitable[T]) -> T:
    """A piece of the form. Raises InvalidData: what goes wrong in here is the client's."""
    try:
        return await reading
    except Exception as error:
        raise InvalidData("The body is not the form that its headers say, or broke off.") from error


async def store_files(request: web.Request, *, protected: bool) -> list[str]:
    """Put all files of the request into the store; returns their keys, in order."""
    if request.content_type != "multipart/form-data":
        raise InvalidData(f"Send a form (multipart/form-data) with at least one file in a field named {FIELD}.")
    form = Form(await received(request.multipart()), file_settings().max_upload_bytes)
    stored: list[str] = []
    try:
        while part := await form.next_file():
            if len(stored) == MAX_FILES:
                raise InvalidData(f"One request can have {MAX_FILES} files.")
            key = new_key(part.filename or "", protected=protected)
            await storage().store(key, form.chunks(part))
            stored.append(key)
    except BaseException:
        await remove(stored)
        raise
    if not stored:
        raise InvalidData(f"The form must have at least one file, in a field named {FIELD}.")
    return stored


async def remove(keys: list[str]) -> None:
    """Take back what was stored, as far as the store lets us: the answer is about something else."""
    for key in keys:
        try:
            await storage().delete(key)
        except Exception:
            log.warning("file left behind", key=key, exc_info=True)


def address(key: str) -> str:
    """Where a client finds a file, or whatever else is called a key."""
    return f"{file_settings().files_url}/store/uploads/{quote(key, safe='')}"


def signature(secret: str, key: str, expires: str) -> str:
    """What lets somebody read a protected file until then."""
    own = hmac.digest(secret.encode(), b"file links", "sha256")
    return hmac.new(own, f"{key}\n{expires}".encode(), "sha256").hexdigest()


def may_read(request: web.Request, key: str) -> bool:
    """Whether the file is public, or the link a valid one of ours."""
    if not key.startswith(PROTECTED):
        return True
    expires, sent = request.query.get("expires", ""), request.query.get("signature", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and sent.isascii()):
        return False
    expected = signature(secret_of(request), key, expires)
    return hmac.compare_digest(expected, sent) and time.time() < int(expires)


def secret_of(request: web.Request) -> str:
    return request.app[SETTINGS].secret.get_secret_value()


def headers_of(key: str) -> dict[str, str]:
    """How a browser treats the file. Its type follows from the key: a client's word for it was never kept."""
    name = KEY.fullmatch(key)["name"]  # type: ignore[index]  # it was checked
    picture = PICTURES.get(name.rpartition(".")[2].lower())
    headers = {
        "Content-Type": picture or TYPES.guess_type(name, strict=False)[0] or "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-store" if key.startswith(PROTECTED) else "public, max-age=31536000, immutable",
    }
    return headers if picture else headers | {"Content-Disposition": attachment(key)}


async def answer(request: web.Request, *, protected: bool) -> web.Response:
    keys = await store_files(request, protected=protected)
    return json_bytes(request, orjson.dumps({"uploads": [{"url": address(key), "key": key} for key in keys]}))


async def post_uploads(request: web.Request) -> web.Response:
    return await answer(request, protected=False)


async def post_protected_uploads(request: web.Request) -> web.Response:
    return await answer(request, protected=True)


async def delete_upload(request: web.Request, body: FileKey) -> web.Response:
    if is_key(body.file_key):
        await storage().delete(body.file_key)
    return json_bytes(request, orjson.dumps({"id": body.file_key, "object": "file", "deleted": True}))


async def post_download_url(request: web.Request, body: FileKey) -> web.Response:
    """Whether there is such a file is not asked: an import's may come later, or be gone by now."""
    key = body.file_key
    url = address(key)
    if is_key(key) and key.startswith(PROTECTED):
        expires = str(int(time.time()) + LINK_SECONDS)
        own = f"{url}?expires={expires}&signature={signature(secret_of(request), key, expires)}"
        url = await storage().url(key, LINK_SECONDS) or own
    return json_bytes(request, orjson.dumps({"download_url": url}))


async def get_upload(request: web.Request, key: str) -> web.StreamResponse:
    # Who may not read a file does not learn whether there is one.
    if not is_key(key) or not may_read(request, key):
        raise no_file(key)
    async with storage().open(key) as file:
        headers = headers_of(key) | {"Content-Length": str(file.size)}
        if request.method == "HEAD":
            return web.Response(headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            async for chunk in file.chunks:
                await response.write(chunk)
            await response.write_eof()
        except Exception as error:  # whatever it is: a second answer must not follow the first half of this one
            log.warning("download broken off", key=key, reason=repr(error))
            if request.transport is not None:
                request.transport.abort()
        return response


UPLOADS = {"uploads": [{"url": str, "key": str}]}
EXAMPLE = {"file_key": "protected_01KE8V9YJ5S3BSXKGJ4YF5VB1M-products.csv"}

OPERATIONS = [
    post(
        "/admin/uploads",
        post_uploads,
        "Upload public files",
        description="A form with files in fields named `files`, which are kept all or none; other fields are skipped. "
        "Everybody who knows the `url` of one can read it. More than 100 files are refused with 400, and more bytes "
        "than the server is set to take with 413. An Idempotency-Key has no meaning here.",
        files=True,
        answer=UPLOADS,
        errors=(InvalidData, TooLarge, Unavailable),
        asks_others=True,
    ),
    delete(
        "/admin/uploads",
        delete_upload,
        "Delete an upload",
        description="A file that is not there is no error.",
        body=FileKey,
        example=EXAMPLE,
        answer=deleted("file"),
        errors=(Unavailable,),
        asks_others=True,
    ),
    post(
        "/admin/uploads/protected",
        post_protected_uploads,
        "Upload protected files",
        description="Like public ones, but the `url` of one gives nothing: it is read with a download URL, or by a "
        "batch job that is given its `key`.",
        files=True,
        answer=UPLOADS,
        errors=(InvalidData, TooLarge, Unavailable),
        asks_others=True,
    ),
    post(
        "/admin/uploads/download-url",
        post_download_url,
        "Make a download URL",
        description="The URL of a protected file can be read by anybody for one hour. Whether there is such a file is "
        "not looked at.",
        body=FileKey,
        example=EXAMPLE,
        answer={"download_url": str},
        errors=(Unavailable,),
        asks_others=True,
    ),
    get(
        "/store/uploads/{key:[A-Za-z0-9][A-Za-z0-9._-]*}",
        get_upload,
        "Read a file",
        description="For everybody: a public file by its key, a protected one with the `expires` and `signature` of "
        "its download URL. The type follows from the name; all but pictures come as attachments.",
        answer=str,
        content_type="application/octet-stream",
        errors=(NotFound, Unavailable),
        public=True,
        asks_others=True,
    ),
]
