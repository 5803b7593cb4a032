"""Notes over HTTP."""

from typing import Any

import pytest

from services.chassis.errors import Unavailable
from services.orders import remote
from tests.support.client import Client
from tests.support.stack import Stack

USER = {"id": "usr_test", "email": "admin@example.com", "role": "admin"}


@pytest.fixture
async def author(stack: Stack) -> dict[str, Any]:
    """The user whom the tests act for, as the gateway would tell of him."""
    await stack.pool("orders").execute(
        "insert into copies (kind, id, sequence, body) values ('user', 'usr_test', 1, $1::text::jsonb) "
        "on conflict (kind, id) do update set body = excluded.body",
        '{"id": "usr_test", "email": "admin@example.com", "role": "admin"}',
    )
    return USER


async def write(orders: Client, resource_id: str, value: str) -> dict[str, Any]:
    body = {"resource_id": resource_id, "resource_type": "order", "value": value}
    note: dict[str, Any] = (await orders.ok("POST", "/admin/notes", body))["note"]
    return note


async def test_write_read_change_delete(orders: Client, uid: str, author: dict[str, Any]) -> None:
    note = await write(orders, uid, "Call before delivery")
    assert note == {
        "id": note["id"],
        "value": "Call before delivery",
        "resource_type": "order",
        "resource_id": uid,
        "author_id": "usr_test",
        "metadata": {},
        "created_at": note["created_at"],
        "updated_at": note["created_at"],
        "deleted_at": None,
    }
    path = f"/admin/notes/{note['id']}"
    assert await orders.ok("GET", path) == {"note": note | {"author": author}}
    changed = (await orders.ok("POST", path, {"value": ""}))["note"]
    assert changed == note | {"value": "", "updated_at": changed["updated_at"]}
    assert await orders.ok("DELETE", path) == {"id": note["id"], "object": "note", "deleted": True}
    for status, answer in (await orders.get(path), await orders.delete(path), await orders.post(path, {"value": "x"})):
        assert (status, answer["type"]) == (404, "not_found")


async def test_lists(orders: Client, uid: str, author: dict[str, Any]) -> None:
    first, second = await write(orders, uid, "First"), await write(orders, uid, "Second")
    page = await orders.ok("GET", "/admin/notes", query={"resource_id": uid})
    assert page == {
        "notes": [first | {"author": author}, second | {"author": author}],
        "count": 2,
        "offset": 0,
        "limit": 50,
    }
    page = await orders.ok("GET", "/admin/notes", query={"resource_id": uid, "limit": "10", "offset": "5"})
    assert page == {"notes": [], "count": 2, "offset": 5, "limit": 10}
    await orders.ok("DELETE", f"/admin/notes/{first['id']}")
    page = await orders.ok("GET", "/admin/notes", query={"resource_id": uid})
    assert [note["id"] for note in page["notes"]] == [second["id"]]


async def test_an_author_who_is_not_known_here_yet(orders: Client, stack: Stack, uid: str) -> None:
    note = await write(orders, uid, "Hello")
    await stack.pool("orders").execute("update notes set author_id = 'usr_nobody' where id = $1", note["id"])
    assert (await orders.ok("GET", f"/admin/notes/{note['id']}"))["note"]["author"] is None


async def test_an_unknown_author_is_asked_for(
    orders: Client, stack: Stack, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stack.pool("orders").execute("delete from copies where kind = 'user' and id = 'usr_test'")

    async def nobody(app: Any, user_ids: list[str]) -> dict[str, Any]:
        raise Unavailable("The gateway is away.")

    async def known(app: Any, user_ids: list[str]) -> dict[str, Any]:
        return {
            "copies": {"user": [{"id": id_, "sequence": 1, "body": {"id": id_}, "related": {}} for id_ in user_ids]}
        }

    monkeypatch.setattr(remote, "users", nobody)
    first = await write(orders, uid, "First")
    assert (await orders.ok("GET", f"/admin/notes/{first['id']}"))["note"]["author"] is None
    monkeypatch.setattr(remote, "users", known)
    await write(orders, uid, "Second")
    assert (await orders.ok("GET", f"/admin/notes/{first['id']}"))["note"]["author"] == {"id": "usr_test"}


@pytest.mark.parametrize(
    "body",
    [
        {"resource_type": "order", "value": "x"},
        {"resource_id": "", "resource_type": "order", "value": "x"},
        {"resource_id": "x", "resource_type": "", "value": "x"},
        {"resource_id": "x", "resource_type": "order", "value": ""},
        {"resource_id": "x", "resource_type": "order"},
        {"resource_id": "x", "resource_type": "order", "value": 3},
        {"resource_id": "x", "resource_type": "order", "value": "x", "metadata": {}},
    ],
)
async def test_bad_notes_are_refused(orders: Client, body: dict[str, Any]) -> None:
    status, answer = await orders.post("/admin/notes", body)
    assert (status, answer["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("body", [{}, {"value": 3}, {"value": None}, {"value": "x", "resource_id": "y"}])
async def test_bad_changes_are_refused(orders: Client, body: dict[str, Any]) -> None:
    status, answer = await orders.post("/admin/notes/note_missing", body)
    assert (status, answer["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("query", [{"limit": "ten"}, {"expand": "author"}, {"resource_id[]": "x"}, {"q": "x"}])
async def test_bad_lists_are_refused(orders: Client, query: dict[str, str]) -> None:
    status, answer = await orders.get("/admin/notes", query)
    assert (status, answer["type"]) == (400, "invalid_data")
