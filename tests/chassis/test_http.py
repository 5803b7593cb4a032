"""What every service does with a request: who may ask, errors, bodies, transactions and idempotency keys."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import Field

from services.chassis import idempotency
from services.chassis.db import create_pool, reading, transaction
from services.chassis.errors import Duplicate
from services.chassis.http import ACTOR_HEADER, Body, actor, answering, json_bytes, parse, sign_actor
from services.chassis.keys import POOL
from services.chassis.migrate import CHASSIS
from tests.support.client import Client
from tests.support.servers import new_database
from tests.support.stack import SECRET, serve


class NoteBody(Body):
    text: str = Field(min_length=1)
    stars: int | None = None


ADD = "insert into notes (text) values ($1) returning (select count(*) + 1 from notes)"


async def post_note(request: web.Request) -> web.Response:
    body = await parse(request, NoteBody)
    async with transaction(request) as db:
        count = await db.fetchval(
            "insert into notes (text) values ($1) returning (select count(*) + 1 from notes)", body.text
        )
        if body.text == "twice":
            raise Duplicate("There is one already.")
        if body.text == "lost":
            await db.execute("select pg_terminate_backend(pg_backend_pid())")
        if body.text == "bug":
            raise RuntimeError("a bug")
        return json_bytes(request, f'{{"count":{count},"by":"{actor(request)}"}}')


async def get_notes(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval("select json_build_object('count', count(*))::text from notes"))


@pytest.fixture(scope="module")
async def url(postgres_url: str) -> AsyncIterator[str]:
    async with new_database(postgres_url, "http") as url:
        yield url


@pytest.fixture(scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    pool = await create_pool(url, 10, "test")
    for path in sorted(CHASSIS.glob("*idempotency.sql")):
        await pool.execute(path.read_text())
    await pool.execute("create table notes (text text)")
    app = web.Application(middlewares=[answering(SECRET, idempotency.replay)], client_max_size=1000)
    app[POOL] = pool
    app.add_routes([web.post("/admin/notes", post_note), web.get("/admin/notes", get_notes)])
    runner, base = await serve(app)
    async with aiohttp.ClientSession() as session:
        yield Client(session, base, lambda: {ACTOR_HEADER: sign_actor(SECRET, "usr_1", "admin")})
    await runner.cleanup()
    await pool.close()


async def count(client: Client) -> int:
    _, body = await client.get("/admin/notes")
    return int(body["count"])


@pytest.mark.parametrize(
    "token", ["", "nonsense", sign_actor("another secret, also 32 characters long", "usr_1", "admin"),
              sign_actor(SECRET, "usr_1", "admin", seconds=-60)]
)  # fmt: skip
async def test_only_the_gateway_is_answered(client: Client, token: str) -> None:
    before = await count(client)
    status, body = await client.post("/admin/notes", {"text": "x"}, headers={ACTOR_HEADER: token})
    assert (status, body["type"]) == (401, "unauthorized")
    assert await count(client) == before


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": 1}, {"text": "x", "stars": "5"}, {"text": "x", "more": 1}, [], "text", 3, None]
)
async def test_a_wrong_body_is_refused(client: Client, body: Any) -> None:
    before = await count(client)
    status, answer = await client.post("/admin/notes", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert answer["message"]
    assert await count(client) == before


@pytest.mark.parametrize(
    "raw",
    [b"{", b"{'text': 'x'}", b"\xff\xfe", b'{"text": "\xc3("}', b"nan", b'{"text": "x", "stars": NaN}',
     b'{"text": "\\u0000"}', b"[" * 900],
)  # fmt: skip
async def test_malformed_json_is_refused(client: Client, raw: bytes) -> None:
    status, answer = await client.post("/admin/notes", raw=raw)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_too_large_a_body_is_refused(client: Client) -> None:
    status, answer = await client.post("/admin/notes", {"text": "x" * 2000})
    assert (status, answer["type"]) == (413, "invalid_data")


async def test_unknown_paths_and_methods(client: Client) -> None:
    for method, path in (("GET", "/admin/nothing"), ("DELETE", "/admin/notes"), ("PUT", "/admin/notes")):
        status, answer = await client.request(method, path)
        assert (status, answer["type"]) == (404, "not_found")


async def test_errors_roll_back_and_hide_what_is_inside(client: Client) -> None:
    before = await count(client)
    assert await client.post("/admin/notes", {"text": "twice"}) == (
        422,
        {"type": "duplicate_error", "code": "invalid_request_error", "message": "There is one already."},
    )
    status, answer = await client.post("/admin/notes", {"text": "bug"})
    assert (status, answer["type"], answer["code"]) == (500, "unknown_error", "unknown_error")
    assert "a bug" not in answer["message"]
    assert await count(client) == before


async def test_a_lost_database_is_503_and_the_next_request_works(client: Client) -> None:
    before = await count(client)
    status, answer = await client.post("/admin/notes", {"text": "lost"})
    assert (status, answer["type"]) == (503, "unavailable")
    assert await count(client) == before


async def test_request_id_is_made_or_kept(client: Client) -> None:
    async with client.session.get(client.base + "/admin/notes", headers=client.headers()) as response:
        assert len(response.headers["X-Request-Id"]) == 26
    headers = client.headers() | {"X-Request-Id": "mine"}
    async with client.session.get(client.base + "/admin/notes", headers=headers) as response:
        assert response.headers["X-Request-Id"] == "mine"


async def test_an_idempotency_key_answers_again_and_does_nothing_again(client: Client, uid: str) -> None:
    before = await count(client)
    first = await client.post("/admin/notes", {"text": "once"}, headers={"Idempotency-Key": uid})
    assert first == (200, {"count": before + 1, "by": "usr_1"})
    assert await client.post("/admin/notes", {"text": "once"}, headers={"Idempotency-Key": uid}) == first
    assert await count(client) == before + 1
    status, answer = await client.post("/admin/notes", {"text": "other"}, headers={"Idempotency-Key": uid})
    assert (status, answer["type"], answer["code"]) == (409, "conflict", "invalid_state_error")
    assert await count(client) == before + 1
    other = {"Idempotency-Key": uid, ACTOR_HEADER: sign_actor(SECRET, "usr_2", "admin")}
    assert await client.post("/admin/notes", {"text": "once"}, headers=other) == (
        200,
        {"count": before + 2, "by": "usr_2"},
    )


async def test_a_refusal_is_not_kept_under_the_key(client: Client, uid: str) -> None:
    headers = {"Idempotency-Key": uid}
    assert (await client.post("/admin/notes", {"text": "twice"}, headers=headers))[0] == 422
    assert (await client.post("/admin/notes", {"text": "fine"}, headers=headers))[0] == 200


async def test_one_key_at_the_same_moment_is_done_once(client: Client, uid: str) -> None:
    before = await count(client)
    answers = await asyncio.gather(
        *(client.post("/admin/notes", {"text": "race"}, headers={"Idempotency-Key": uid}) for _ in range(16))
    )
    assert answers == [(200, {"count": before + 1, "by": "usr_1"})] * 16
    assert await count(client) == before + 1


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_has_a_sane_length(client: Client, key: str) -> None:
    status, answer = await client.post("/admin/notes", {"text": "x"}, headers={"Idempotency-Key": key})
    assert (status, answer["type"]) == (400, "invalid_data")
