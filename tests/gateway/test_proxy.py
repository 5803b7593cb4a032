"""The way through the gateway: where to, what passes, what does not, and what happens when it breaks."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from gateway.routing import PARAMETER
from services.chassis.declared import PATH, Declarations, Declared
from tests.support.edge import Edge, FakeService, Start, listen, raw
from tests.support.stack import SECRET
from tests.support.waiting import in_time

Services = dict[str, FakeService]


async def test_every_operation_reaches_its_service(edge: Edge, services: Services, uid: str) -> None:
    for name, service in services.items():
        for operation in service.declared.operations:
            path = PARAMETER.sub(uid, operation.path)
            before = len(service.seen)
            answer = await edge.request(operation.method, path, anonymous=operation.public)
            assert (answer.status, answer.body["service"], answer.body["path"]) == (200, name, path)
            assert [(seen.method, seen.path) for seen in service.seen[before:]] == [(operation.method, path)]


async def test_what_passes_and_what_does_not(edge: Edge, services: Services, uid: str) -> None:
    path = f"/admin/orders/{uid}"
    answer = await edge.post(
        path,
        {"a": 1},
        headers={
            "X-Mercer-Actor": "forged",
            "x-mercer-actor": "forged too",
            "Cookie": "connect.sid=x",
            "x-medusa-access-token": "secret",
            "X-Forwarded-For": "6.6.6.6",
            "Forwarded": "for=6.6.6.6",
            "Connection": "keep-alive, X-Hop",
            "X-Hop": "for the gateway only",
            "TE": "trailers",
            "Idempotency-Key": "k1",
            "X-Own": "passes",
        },
    )
    assert answer.status == 200
    seen = services["orders"].last(path)
    assert seen.body == b'{"a": 1}'
    actor = seen.headers.pop("X-Mercer-Actor")
    claims = jwt.decode(actor, SECRET, algorithms=["HS256"])
    me = (await edge.get("/admin/auth")).body["user"]
    assert (claims["sub"], claims["role"]) == (me["id"], "admin")
    assert 0 < claims["exp"] - time.time() <= 61
    assert seen.headers.pop("X-Request-Id") == answer.headers["X-Request-Id"]
    assert seen.headers.pop("User-Agent")
    assert dict(seen.headers) == {
        "Host": services["orders"].url.removeprefix("http://"),
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": "application/json",
        "Content-Length": "8",
        "Idempotency-Key": "k1",
        "X-Own": "passes",
    }


async def test_the_actor_token_is_not_signed_for_every_request(edge: Edge, services: Services, uid: str) -> None:
    await edge.get(f"/admin/orders/{uid}-1")
    await edge.get(f"/admin/orders/{uid}-2")
    first, second = (services["orders"].last(f"/admin/orders/{uid}-{n}") for n in (1, 2))
    assert first.headers["X-Mercer-Actor"] == second.headers["X-Mercer-Actor"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ('"', False), ("", False)],
)
async def test_request_id(edge: Edge, services: Services, uid: str, given: str, kept: bool) -> None:
    path = f"/admin/orders/{uid}"
    answer = await edge.get(path, headers={"X-Request-Id": given})
    made = answer.headers.getall("X-Request-Id")
    assert len(made) == 1
    assert services["orders"].last(path).headers["X-Request-Id"] == made[0]
    assert (made[0] == given) is kept
    assert made[0]
    refused = await edge.get(path, headers={"X-Request-Id": given}, anonymous=True)
    assert (refused.headers["X-Request-Id"] == given) is kept


async def test_the_target_is_passed_as_it_was_written(edge: Edge, uid: str) -> None:
    request = f"GET /admin/products/{uid}%2Fx%20y?a[]=1&b=%20+&c[gt]=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = await raw(edge.url, f"{request}Authorization: Bearer {edge.token}\r\n\r\n".encode())
    assert f'"path": "/admin/products/{uid}%2Fx%20y?a[]=1&b=%20+&c[gt]=2"'.encode() in answer


async def test_a_slash_at_the_end_changes_nothing(edge: Edge, uid: str) -> None:
    answer = await edge.get(f"/admin/orders/{uid}/?a=b/")
    assert answer.body["path"] == f"/admin/orders/{uid}?a=b/"


async def test_an_absolute_target_goes_nowhere_else(edge: Edge, uid: str) -> None:
    head = f"GET http://127.0.0.1:1/admin/orders/{uid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = await raw(edge.url, f"{head}Authorization: Bearer {edge.token}\r\n\r\n".encode())
    assert f'"path": "/admin/orders/{uid}"'.encode() in answer


async def test_compressed_bodies_pass_untouched(edge: Edge, services: Services, uid: str) -> None:
    packed = gzip.compress(b'{"a": 1}')

    async def pack(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    services["catalog"].behaviours[f"/admin/products/{uid}"] = pack
    answer = await edge.get(f"/admin/products/{uid}")
    assert (answer.body, answer.headers["Content-Encoding"]) == (packed, "gzip")
    # The fake service unpacks what it gets, so it would fail on what was unpacked before.
    sent = await edge.post(f"/admin/products/{uid}-2", data=packed, headers={"Content-Encoding": "gzip"})
    assert sent.body["body"] == '{"a": 1}'


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(edge: Edge, services: Services, uid: str, status: int) -> None:
    async def empty(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"ETag": '"1"'})

    services["orders"].behaviours[f"/admin/orders/{uid}"] = empty
    for _ in range(2):  # the second one on the same connection
        answer = await edge.get(f"/admin/orders/{uid}")
        assert (answer.status, answer.headers["ETag"], answer.body) == (status, '"1"', b"")


async def test_head(edge: Edge, services: Services, uid: str) -> None:
    full = await edge.get(f"/admin/orders/{uid}")
    for _ in range(2):
        answer = await edge.request("HEAD", f"/admin/orders/{uid}")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == full.headers["Content-Length"]


async def test_redirects_and_errors_are_the_clients(edge: Edge, services: Services, uid: str) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    async def broken(request: web.Request) -> web.Response:
        return web.json_response({"type": "unknown_error"}, status=500)

    services["orders"].behaviours |= {f"/admin/orders/{uid}-1": elsewhere, f"/admin/orders/{uid}-2": broken}
    assert (await edge.get(f"/admin/orders/{uid}-1")).status == 302
    answer = await edge.get(f"/admin/orders/{uid}-2")
    assert (answer.status, answer.body) == (500, {"type": "unknown_error"})


# Streaming


@pytest.mark.parametrize("length_known", [True, False])
async def test_a_request_streams(edge: Edge, services: Services, uid: str, length_known: bool) -> None:
    """The client sends a chunk only when the service has the one before: held anywhere, it would wait for ever."""
    chunk, count = b"x" * 100_000, 20
    arrived, got = asyncio.Semaphore(1), bytearray()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(count):
            async with in_time():
                await arrived.acquire()
            yield chunk

    async def take(request: web.Request) -> web.Response:
        assert (request.content_length == len(chunk) * count) is length_known
        async for part in request.content.iter_any():
            got.extend(part)
            if len(got) % len(chunk) == 0:
                arrived.release()
        return web.json_response({"size": len(got)})

    services["catalog"].behaviours[f"/admin/products/{uid}"] = take
    headers = {"Content-Length": str(len(chunk) * count)} if length_known else {}
    answer = await edge.post(f"/admin/products/{uid}", data=slowly(), headers=headers)
    assert (answer.status, answer.body) == (200, {"size": len(chunk) * count})


@pytest.mark.parametrize("length_known", [True, False])
async def test_an_answer_streams(edge: Edge, services: Services, uid: str, length_known: bool) -> None:
    chunk, count = b"y" * 200_000, 20
    taken = asyncio.Semaphore(1)

    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/csv"})
        if length_known:
            response.content_length = len(chunk) * count
        await response.prepare(request)
        for _ in range(count):
            async with in_time():
                await taken.acquire()
            await response.write(chunk)
        return response

    services["catalog"].behaviours[f"/admin/products/{uid}"] = give
    headers, size = {"Authorization": f"Bearer {edge.token}"}, 0
    async with edge.session.get(f"{edge.url}/admin/products/{uid}", headers=headers) as answer:
        assert answer.content_type == "text/csv"
        assert (answer.content_length is not None) is length_known
        async for part in answer.content.iter_any():
            size += len(part)
            if size % len(chunk) == 0:
                taken.release()
    assert size == len(chunk) * count


async def test_a_client_that_does_not_read_holds_the_service_back(edge: Edge, services: Services, uid: str) -> None:
    written = 0

    async def give(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"z" * 65536)
            written += 65536

    services["catalog"].behaviours[f"/admin/products/{uid}"] = give
    headers = {"Authorization": f"Bearer {edge.token}"}
    async with edge.session.get(f"{edge.url}/admin/products/{uid}", headers=headers) as answer:
        await answer.content.readany()
        before = -1
        # The service writes for ever, so that it stops means that nobody takes what the client does not.
        async with in_time():
            while before != written:
                before = written
                await asyncio.sleep(0.3)
    assert written < 100 * 1024 * 1024  # the kernel's buffers of two connections


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(edge: Edge, services: Services, uid: str) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if "known" in request.path:
            response.content_length = 10_000_000
        await response.prepare(request)
        await response.write(b"x" * 1_000_000)
        assert request.transport is not None
        request.transport.abort()
        return response

    headers = {"Authorization": f"Bearer {edge.token}"}
    for path in (f"/admin/products/known-{uid}", f"/admin/products/chunked-{uid}"):
        services["catalog"].behaviours[path] = half
        with pytest.raises(aiohttp.ClientError):
            async with edge.session.get(edge.url + path, headers=headers) as answer:
                await answer.read()


async def test_a_short_answer_that_breaks_off(edge: Edge, services: Services, uid: str) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.close()
        return response

    services["orders"].behaviours[f"/admin/orders/{uid}"] = half
    answer = await edge.get(f"/admin/orders/{uid}")
    assert (answer.status, answer.body["type"]) == (503, "unavailable")


@pytest.mark.parametrize("length_known", [True, False])
async def test_a_client_that_goes_away_leaves_no_whole_body(
    edge: Edge, services: Services, uid: str, length_known: bool
) -> None:
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def take(request: web.Request) -> web.Response:
        try:
            outcome.set_result(await request.read())
        except BaseException as error:
            outcome.set_result(error)
            raise
        return web.Response()

    services["catalog"].behaviours[f"/admin/products/{uid}"] = take
    _, writer = await asyncio.open_connection(*edge.url.removeprefix("http://").split(":"))
    length = "Content-Length: 500000" if length_known else "Transfer-Encoding: chunked"
    head = f"POST /admin/products/{uid} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.token}\r\n{length}\r\n\r\n"
    writer.write(head.encode() + (b"" if length_known else b"186a0\r\n") + b"x" * 100_000)
    await writer.drain()
    await asyncio.sleep(0.2)
    assert not outcome.done()
    writer.transport.abort()
    async with in_time():
        found = await outcome
    assert isinstance(found, BaseException), "the service took half a body for a whole one"
    assert (await edge.get(f"/admin/orders/{uid}")).status == 200


async def test_chunks_that_are_none(edge: Edge, uid: str) -> None:
    head = f"POST /admin/products/{uid} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.token}\r\n"
    sent = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n"
    assert (await raw(edge.url, sent)).split(b" ")[1] == b"400"


async def test_a_long_list_of_ids(edge: Edge, uid: str) -> None:
    query = "&".join(f"id[]=prod_{n:026}" for n in range(200))
    answer = await edge.get(f"/admin/users?q={uid}&{query}")
    assert (answer.status, answer.body["count"]) == (200, 0)


async def test_an_answer_before_the_body_was_sent(edge: Edge, services: Services, uid: str) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"type": "invalid_data", "message": "no"}, status=400)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65536
            await asyncio.sleep(0.01)

    services["catalog"].behaviours[f"/admin/products/{uid}"] = refuse
    answer = await edge.post(f"/admin/products/{uid}", data=endless())
    assert (answer.status, answer.body["message"]) == (400, "no")
    assert (await edge.get(f"/admin/products/{uid}-2")).status == 200


# Limits


@pytest.fixture(scope="module")
async def strict(start: Start) -> Edge:
    """A gateway with narrow limits."""
    return await start(max_body_bytes=200_000, max_upload_bytes=400_000)


@pytest.fixture(scope="module")
async def hasty(start: Start) -> Edge:
    """A gateway that does not wait long."""
    return await start(upstream_seconds=0.4)


@pytest.fixture
def silence() -> Iterator[asyncio.Event]:
    """What a service waits for that says nothing: the end of the test."""
    ended = asyncio.Event()
    yield ended
    ended.set()


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 10_000):
        yield b"x" * 10_000


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/admin/products/{uid}", 200_000, 200),
        ("/admin/products/{uid}", 210_000, 413),
        ("/admin/uploads", 400_000, 200),
        ("/admin/uploads/protected", 410_000, 413),
        ("/admin/uploads/{uid}", 210_000, 413),
    ],
)
@pytest.mark.parametrize("length_known", [True, False])
async def test_body_size(
    strict: Edge, services: Services, uid: str, path: str, size: int, status: int, length_known: bool
) -> None:
    path, before = path.format(uid=uid), len(services["catalog"].seen)
    answer = await strict.post(path, data=b"x" * size if length_known else chunks(size))
    assert answer.status == status
    if status == 413:
        assert answer.body["type"] == "invalid_data"
        assert not services["catalog"].seen[before:]


async def test_a_service_that_does_not_answer(
    hasty: Edge, services: Services, uid: str, silence: asyncio.Event
) -> None:
    calls = 0

    async def sleep(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        await silence.wait()
        return web.Response()

    services["orders"].behaviours[f"/admin/orders/{uid}"] = sleep
    answer = await hasty.get(f"/admin/orders/{uid}")
    assert (answer.status, answer.body["type"]) == (504, "timeout")
    assert "orders" in answer.body["message"]
    assert calls == 1


async def test_a_service_that_stops_in_the_middle(
    hasty: Edge, services: Services, uid: str, silence: asyncio.Event
) -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"x")
        await silence.wait()
        return response

    services["orders"].behaviours[f"/admin/orders/{uid}"] = stall
    answer = await hasty.get(f"/admin/orders/{uid}")
    assert (answer.status, answer.body["type"]) == (504, "timeout")


@pytest.mark.parametrize("length", ["Content-Length: 100", "Content-Length: 100000", "Transfer-Encoding: chunked"])
async def test_a_client_that_stops_sending(hasty: Edge, uid: str, length: str) -> None:
    head = f"POST /admin/products/{uid} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.token}\r\n{length}\r\n\r\n"
    answer = await raw(hasty.url, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")


# Services that are not there


async def test_a_service_that_is_down(start: Start, services: Services, uid: str) -> None:
    edge = await start(orders_url="http://127.0.0.1:1", payments_url="http://no-such-name.invalid:80")
    for path in (f"/admin/orders/{uid}", f"/admin/payments/{uid}"):
        for method in ("GET", "POST"):
            answer = await edge.request(method, path, {} if method == "POST" else None)
            assert (answer.status, answer.body["type"]) == (503, "unavailable")
    assert (await edge.get(f"/admin/products/{uid}")).status == 200


class Rude:
    """A service that answers the first request of each connection, or none, and hangs up at the next. What it declares
    it says."""

    def __init__(self, answers: int) -> None:
        self.answers, self.requests = answers, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for n in range(self.answers + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /operations "):
                    declared = Declarations(operations=[Declared(method="GET", path="/admin/orders/{id}")])
                    body = declared.model_dump_json().encode()
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    )
                    break
                if b"Content-Length: 2" in head:
                    await reader.readexactly(2)
                self.requests += 1
                if n < self.answers:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("method", "answers", "status", "requests"),
    [("GET", 1, 200, 3), ("GET", 0, 503, 2), ("POST", 1, 503, 2), ("DELETE", 1, 503, 2), ("DELETE", 0, 503, 1)],
)
async def test_only_a_get_is_sent_again(
    start: Start, uid: str, method: str, answers: int, status: int, requests: int
) -> None:
    rude = Rude(answers)
    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        edge = await start(orders_url=f"http://127.0.0.1:{port}")
        if answers:
            assert (await edge.get(f"/admin/orders/{uid}")).status == 200
        answer = await edge.request(method, f"/admin/orders/{uid}", {} if method == "POST" else None)
    assert (answer.status, rude.requests) == (status, requests)
    if status == 503:
        assert "may have happened" in answer.body["message"]


async def test_several_addresses_of_a_service_share_the_work(
    start: Start, services: Services, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        assert request.transport is not None
        return web.json_response({"address": request.transport.get_extra_info("sockname")[0]})

    app = web.Application()
    app.router.add_get(PATH, services["orders"].answer)
    app.router.add_get("/{rest:.*}", answer)
    first, url = await listen(app, "127.0.0.2")
    port = int(url.rsplit(":", 1)[1])
    second = web.TCPSite(first, "127.0.0.3", port)
    await second.start()

    async def two(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        return [
            {"hostname": host, "host": f"127.0.0.{n}", "port": port, "family": 2, "proto": 0, "flags": 0}
            for n in (2, 3)
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", two)
    edge = await start(orders_url=f"http://orders.invalid:{port}")
    answers = await asyncio.gather(*(edge.get(f"/admin/orders/{uid}") for _ in range(10)))
    found = [answer.body["address"] for answer in answers]
    assert {found.count("127.0.0.2"), found.count("127.0.0.3")} == {5}
    await first.cleanup()


# What is not let through


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/nothing"),
        ("POST", "/admin/nothing"),
        ("GET", "/admin"),
        ("GET", "/admin/"),
        ("GET", "/admin/orders/x%00"),
        ("TRACE", "/admin/orders"),
        ("PUT", "/admin/auth"),
        ("DELETE", "/admin/users"),
        ("GET", "/admin/%6erders"),
    ],
)
async def test_unknown_under_admin(edge: Edge, services: Services, method: str, path: str) -> None:
    before = sum(len(service.seen) for service in services.values())
    target = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    known = await raw(edge.url, f"{target}Authorization: Bearer {edge.token}\r\n\r\n".encode())
    head, _, body = known.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/json" in head
    assert body.startswith(b'{"type": "not_found", "message": ')
    unknown = await raw(edge.url, f"{target}\r\n".encode())
    head, _, body = unknown.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"Content-Type: text/plain" in head
    assert body == b"Unauthorized"
    assert sum(len(service.seen) for service in services.values()) == before


@pytest.mark.parametrize("path", ["/", "/nothing", "/administer", "/store/products", "//admin/orders", "/orders"])
async def test_unknown_elsewhere(edge: Edge, path: str) -> None:
    answer = await raw(edge.url, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"type": "not_found"' in answer


async def test_encoded_letters_are_no_way_around(edge: Edge) -> None:
    answer = await raw(edge.url, b"GET /%61dmin/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_bytes_that_are_no_text(edge: Edge, uid: str) -> None:
    head = f"HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {edge.token}\r\n".encode()
    path = f"/admin/orders/{uid}".encode()
    answer = await raw(edge.url, b"GET " + path + b" " + head + b"X-Bad: \xff\xfe\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    answer = await raw(edge.url, b"GET " + path + b"\xff\xfe " + head + b"\r\n")
    assert answer.split(b" ")[1] == b"400"
