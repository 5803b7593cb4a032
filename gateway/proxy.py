"""The way through: the request and its answer streamed between the client and the service that answers (routing.py).

Bodies of a few dozen kB are read whole and sent in one piece: that is faster, and keeps a slow client off the services'
connections. Anything larger or of unknown length passes chunk by chunk and is never held.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Mapping

import aiohttp
import structlog
from aiohttp import ClientResponse, hdrs, web
from multidict import CIMultiDict
from yarl import URL

from gateway.identity import Caller, Identity
from gateway.parts import CALLER, PARTS, REQUEST_ID, WAY, Parts
from services.chassis.errors import ApiError, InvalidData, NotFound, TooLarge, Unavailable
from services.chassis.http import ACTOR_HEADER, REQUEST_ID_HEADER

log = structlog.get_logger()

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"})
MAX_PUBLIC_BYTES = 256 * 1024  # of a body that anybody may send
VISITOR = Caller("visitor", "visitor")  # services answer nothing unsigned; no user has such an id

WHOLE_REQUEST, WHOLE_ANSWER = 64 * 1024, 256 * 1024
# One request in so many ends its connection, so that replicas started later get their share of a busy gateway.
REQUESTS_PER_CONNECTION = 1000
COUNT = itertools.count(1)

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
    }
)
# What the services must not believe, because anybody can send it, and what they need not know.
NOT_FORWARDED = HOP_BY_HOP | {
    *("host", "expect", "content-length"),
    *("authorization", "cookie", "x-medusa-access-token"),
    *(ACTOR_HEADER.lower(), REQUEST_ID_HEADER.lower()),
    *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"),
}
NOT_RETURNED = HOP_BY_HOP | {"content-length", "server", REQUEST_ID_HEADER.lower()}


class TooSlow(ApiError):
    """408: the client stopped sending."""

    status, type, code = 408, "timeout", None


class BrokenOff(ApiError):
    """400: the client went away in the middle of a body, or sent chunks that are none."""

    status, type, code = 400, "invalid_data", None


class NoAnswerInTime(ApiError):
    """504: the service has the request and does not answer."""

    status, type, code = 504, "timeout", None


class Upload:
    """A request body that passes through chunk by chunk: counted, and given up when the client stalls."""

    def __init__(self, request: web.Request, limit: int, seconds: float) -> None:
        self._content, self._limit, self._seconds = request.content, limit, seconds
        self.sent = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises TooLarge, TooSlow or BrokenOff, in the middle of it."""
        size = 0
        while True:
            chunk = await received(self._content.readany(), self._seconds)
            if not chunk:
                self.sent = True
                return
            size += len(chunk)
            if size > self._limit:
                raise too_large(self._limit)
            yield chunk


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes, which is all that this server accepts.")


async def forward(request: web.Request) -> web.StreamResponse:
    """Answer with what the service answers. Raises NotFound and what `outgoing_body` and `ask` raise."""
    if request.method not in METHODS:
        raise NotFound(f"There is no {request.method} {request.path}.")
    parts, service = request.app[PARTS], request[WAY].service
    body = await outgoing_body(request, parts) if request.body_exists else None
    try:
        answer = await ask(request, parts, service, body)
    except ApiError as error:
        if error.status >= 500:
            log.warning("no answer", service=service, method=request.method, path=request.path, reason=error.message)
        raise
    try:
        return await returned(request, service, answer)
    finally:
        # When the answer came before all of the body was sent, the connection cannot be used again.
        if isinstance(body, Upload) and not body.sent:
            answer.close()
        else:
            answer.release()


async def outgoing_body(request: web.Request, parts: Parts) -> bytes | Upload:
    """A small body whole, any other as a stream. Raises TooLarge, TooSlow or BrokenOff."""
    length, config = request.content_length, parts.config
    takes_files = parts.routing.table.takes_files(request.path.removesuffix("/"))
    limit = config.max_upload_bytes if takes_files else config.max_body_bytes
    if request[WAY].public:
        limit = min(limit, MAX_PUBLIC_BYTES)
    if length is not None and length > limit:
        raise too_large(limit)
    if length is None or length > WHOLE_REQUEST:
        return Upload(request, limit, config.upstream_seconds)
    if request.content.is_eof():
        return await request.read()
    return await received(request.read(), config.upstream_seconds)


async def received(part: Awaitable[bytes], seconds: float) -> bytes:
    """A part of the client's body. Raises TooSlow or BrokenOff."""
    try:
        async with asyncio.timeout(seconds):
            return await part
    except TimeoutError:
        raise TooSlow("The rest of the body did not come.") from None
    except Exception as error:
        raise BrokenOff("The body is not what its headers say, or its sender went away.") from error


def outgoing_headers(request: web.Request, identity: Identity, body: bytes | Upload | None) -> CIMultiDict[str]:
    """What the service is told: the client's own headers, without what it must not believe, and who is asking."""
    headers = copied(request.headers, NOT_FORWARDED)
    headers[ACTOR_HEADER] = identity.actor_token(request.get(CALLER, VISITOR))
    headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    if isinstance(body, Upload) and request.content_length is not None:
        headers[hdrs.CONTENT_LENGTH] = str(request.content_length)
    if next(COUNT) % REQUESTS_PER_CONNECTION == 0:
        headers[hdrs.CONNECTION] = "close"
    return headers


def copied(headers: Mapping[str, str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """Headers that go on, without `dropped` and those that a Connection header says are meant for this hop only."""
    if hdrs.CONNECTION in headers:
        dropped = dropped.union(headers[hdrs.CONNECTION].lower().replace(" ", "").split(","))
    return CIMultiDict([pair for pair in headers.items() if pair[0].lower() not in dropped])


async def ask(request: web.Request, parts: Parts, service: str, body: bytes | Upload | None) -> ClientResponse:
    """The service's answer, its body not read yet. Raises Unavailable, NoAnswerInTime, and what Upload.chunks raises.

    Only a GET is sent a second time, after a connection that broke, as one that the service closed while it was idle.
    """
    rel = request.rel_url
    url = parts.targets[service] + rel.raw_path.removesuffix("/")
    target = URL(f"{url}?{rel.raw_query_string}" if rel.raw_query_string else url, encoded=True)
    headers = outgoing_headers(request, parts.identity, body)
    data = body.chunks() if isinstance(body, Upload) else body
    tries = 2 if request.method in ("GET", "HEAD") and body is None else 1
    while True:
        tries -= 1
        try:
            return await parts.upstream.request(
                request.method, target, headers=headers, data=data, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(f"The {service} service cannot be reached right now; try again later.") from error
        except TimeoutError:
            raise NoAnswerInTime(
                f"The {service} service did not answer in time; what was asked for may still happen.",
            ) from None
        except aiohttp.ClientError as error:
            if isinstance(error.__cause__, ApiError):  # Upload.chunks raised it
                raise error.__cause__ from None
            if tries == 0:
                raise lost(service) from error
        except UnicodeEncodeError:
            raise InvalidData("A header or the path has bytes that are not UTF-8.") from None


def lost(service: str) -> Unavailable:
    return Unavailable(
        f"The connection to the {service} service was lost before it answered; what was asked for may have happened.",
        outcome_unknown=True,
    )


async def returned(request: web.Request, service: str, answer: ClientResponse) -> web.StreamResponse:
    """The service's answer as the client gets it: in one piece when it is small, else as it comes."""
    headers = copied(answer.headers, NOT_RETURNED)
    headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    headers[hdrs.SERVER] = "mercer"
    length = answer.content_length
    if request.method == "HEAD" or answer.status in (204, 304):
        if length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        return web.Response(status=answer.status, headers=headers)
    if length is not None and length <= WHOLE_ANSWER:
        try:
            return web.Response(status=answer.status, headers=headers, body=await answer.read())
        except TimeoutError:
            raise NoAnswerInTime(f"The {service} service stopped in the middle of its answer.") from None
        except aiohttp.ClientError as error:
            raise lost(service) from error
    return await streamed(request, answer, web.StreamResponse(status=answer.status, headers=headers))


async def streamed(request: web.Request, answer: ClientResponse, response: web.StreamResponse) -> web.StreamResponse:
    """Pass the answer on chunk by chunk. What breaks off here is broken off at the client, too: half an answer
    must not be taken for a whole one."""
    response.content_length = answer.content_length
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            async with asyncio.timeout(request.app[PARTS].config.upstream_seconds):
                await response.write(chunk)
        await response.write_eof()
    except Exception as error:  # whatever it is: a second answer must not follow the first half of this one
        log.warning("answer broken off", path=request.path, reason=repr(error))
        if request.transport is not None:
            request.transport.abort()
    return response
