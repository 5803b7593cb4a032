"""The runner of declared operations: what it hands to a handler, in which order it checks, and what it answers."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.chassis import idempotency
from services.chassis.db import Db, create_pool, transaction
from services.chassis.embed import Page, Resource, Selection, cols, page_json
from services.chassis.errors import NotAllowed, NotFound
from services.chassis.http import ACTOR_HEADER, Body, actor, answering, json_bytes, sign_actor
from services.chassis.keys import POOL
from services.chassis.migrate import CHASSIS
from services.chassis.operations import Operation, deletion, get, listing, post, showing
from services.chassis.params import text
from services.chassis.queries import one, page
from tests.support.client import Client
from tests.support.servers import new_database
from tests.support.stack import SECRET, serve

BOOK = Resource("books", cols("id shelf_id title"))
BOOKS = page(
    BOOK, {"title": text("{t}.title")}, limit=2, where="{t}.shelf_id = $1", order="{t}.id", knows=("limit", "offset")
)


class BookBody(Body):
    title: str


async def post_book(db: Db, shelf_id: str, chosen: Selection, body: BookBody) -> str:
    if body.title == "banned":
        raise NotAllowed("This book is banned.")
    book_id = await db.fetchval(
        "insert into books (id, shelf_id, title) select 'book_' || count(*) + 1, $1, $2 from books returning id",
        shelf_id,
        body.title,
    )
    return f'{{"book":{{"id":"{book_id}","fields":{len(chosen.fields)}}}}}'


async def post_stamp(request: web.Request, book_id: str) -> web.Response:
    async with transaction(request) as db:
        await db.execute("update books set title = title || '!' where id = $1", book_id)
        return json_bytes(request, f'{{"by":"{actor(request)}","key":"{request.headers[idempotency.HEADER]}"}}')


async def get_count(db: Db) -> str:
    count: str = await db.fetchval("select json_build_object('count', count(*))::text from books")
    return count


async def burn(db: Db, shelf_id: str, book_id: str) -> None:
    if await db.fetchval("delete from books where shelf_id = $1 and id = $2 returning id", shelf_id, book_id) is None:
        raise NotFound(f"There is no book {book_id}.")


OPERATIONS = [
    get("/admin/count", get_count, "Count books"),
    listing("/admin/shelves/{id}/books", "books", BOOKS, "List books"),
    post("/admin/shelves/{id}/books", post_book, "Add a book", query=one(BOOK), body=BookBody, status=201),
    showing("/admin/books/{id}", "book", BOOK, "Get a book", query=one(BOOK)),
    deletion("/admin/shelves/{id}/books/{book_id}", burn, "book", "Burn a book"),
    post("/admin/books/{id}/stamp", post_stamp, "Stamp a book", asks_others=True, retry_key=True),
]


@pytest.fixture(scope="module")
async def client(postgres_url: str) -> AsyncIterator[Client]:
    async with new_database(postgres_url, "operations") as url, aiohttp.ClientSession() as session:
        pool = await create_pool(url, 4, "test")
        for path in sorted(CHASSIS.glob("*idempotency.sql")):
            await pool.execute(path.read_text())
        await pool.execute("create table books (id text primary key, shelf_id text, title text)")
        app = web.Application(middlewares=[answering(SECRET, idempotency.replay)])
        app[POOL] = pool
        app.add_routes([operation.route() for operation in OPERATIONS])
        runner, base = await serve(app)
        yield Client(session, base, lambda: {ACTOR_HEADER: sign_actor(SECRET, "usr_1", "admin")})
        await runner.cleanup()
        await pool.close()


async def test_ids_query_and_body_come_in_this_order(client: Client) -> None:
    answer = await client.post("/admin/shelves/s1/books?fields=title", {"title": "Emma"})
    assert answer == (201, {"book": {"id": "book_1", "fields": 2}})
    await client.post("/admin/shelves/s2/books", {"title": "Elsewhere"})
    assert await client.get("/admin/shelves/s1/books") == (
        200,
        {"books": [{"id": "book_1", "shelf_id": "s1", "title": "Emma"}], "count": 1, "offset": 0, "limit": 2},
    )
    assert await client.get("/admin/shelves/s1/books?title=Persuasion") == (
        200,
        {"books": [], "count": 0, "offset": 0, "limit": 2},
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/admin/shelves/s1/books?fields=pages", {"pages": 1}, 400, "fields: there is no field pages."),
        ("/admin/shelves/s1/books", {"pages": 1}, 400, "title: Field required; pages: Extra inputs are not permitted"),
        ("/admin/shelves/s1/books", {"title": "banned"}, 400, "This book is banned."),
    ],
)
async def test_the_query_is_checked_before_the_body_and_both_before_anything_changes(
    client: Client, path: str, body: Any, status: int, message: str
) -> None:
    before = await client.get("/admin/count")
    answered, error = await client.post(path, body)
    assert (answered, error["message"]) == (status, message)
    assert await client.get("/admin/count") == before


async def test_one_row_and_a_deletion(client: Client) -> None:
    await client.post("/admin/shelves/s9/books", {"title": "Sanditon"})
    _, listed = await client.get("/admin/shelves/s9/books")
    book_id = listed["books"][0]["id"]
    assert await client.get(f"/admin/books/{book_id}?fields=title") == (
        200,
        {"book": {"id": book_id, "title": "Sanditon"}},
    )
    assert (await client.get("/admin/books/none"))[0] == 404
    gone = {"id": book_id, "object": "book", "deleted": True}
    assert await client.delete(f"/admin/shelves/s9/books/{book_id}") == (200, gone)
    assert (await client.delete(f"/admin/shelves/s9/books/{book_id}"))[0] == 404


async def test_a_retry_key_is_sent_along_and_works(client: Client) -> None:
    await client.post("/admin/shelves/s3/books", {"title": "Lady Susan"})
    _, listed = await client.get("/admin/shelves/s3/books")
    path = f"/admin/books/{listed['books'][0]['id']}/stamp"
    async with client.session.post(client.base + path, headers=client.headers()) as answer:
        key = answer.headers[idempotency.HEADER]
        assert await answer.json() == {"by": "usr_1", "key": key}
    headers = client.headers() | {idempotency.HEADER: key}
    async with client.session.post(client.base + path, headers=headers) as again:
        assert await again.json() == {"by": "usr_1", "key": key}
    _, listed = await client.get("/admin/shelves/s3/books")
    assert listed["books"][0]["title"] == "Lady Susan!"


async def nothing(db: Db) -> str:
    return "{}"


async def whole_page(db: Db, shelf_id: str, page: Page) -> str:
    return await page_json(db, "books", page)


def test_a_handler_that_does_not_fit_its_declaration_is_refused() -> None:
    assert isinstance(get("/admin/shelves/{id}/all", whole_page, "List", query=BOOKS), Operation)
    for path, handler in (("/admin/shelves/{id}", nothing), ("/admin/shelves", whole_page)):
        with pytest.raises(TypeError, match="does not take"):
            get(path, handler, "Get a shelf")
