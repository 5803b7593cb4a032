"""Staff accounts."""

import asyncio
from typing import Any

import pytest

from services.chassis.keys import POOL
from tests.support.edge import Edge


async def events(edge: Edge, user_id: str) -> int:
    """How many events this user has had."""
    found = await edge.app[POOL].fetchval("select sequence from event_sequences where aggregate = $1", user_id)
    return found or 0


async def test_create(edge: Edge, uid: str) -> None:
    answer = await edge.post(
        "/admin/users",
        {
            "email": f"Grace-{uid}@Example.com",
            "password": "secret",
            "first_name": "Grace",
            "last_name": "Hopper",
            "role": "developer",
        },
    )
    user = answer.body["user"]
    assert answer.status == 200
    assert user["id"].startswith("usr_")
    assert user["created_at"] == user["updated_at"]
    assert user | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "email": f"grace-{uid}@example.com",
        "first_name": "Grace",
        "last_name": "Hopper",
        "role": "developer",
        "api_token": None,
        "metadata": None,
        "created_at": "",
        "updated_at": "",
        "deleted_at": None,
    }
    assert (await edge.get(f"/admin/users/{user['id']}")).body == {"user": user}
    assert await events(edge, user["id"]) == 1
    plain = await edge.make_user(uid)
    assert (plain["role"], plain["first_name"]) == ("member", None)


async def test_the_password_is_stored_as_a_hash(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid, password=f"secret of {uid}")
    row = await edge.app[POOL].fetchrow("select * from users where id = $1", user["id"])
    assert row["password_hash"].startswith("$argon2id$")
    assert f"secret of {uid}" not in str(dict(row))


@pytest.mark.parametrize(
    "body",
    [
        {"email": "grace", "password": "secret"},
        {"email": "", "password": "secret"},
        {"password": "secret"},
        {"email": "a@b.co"},
        {"email": "a@b.co", "password": ""},
        {"email": "a@b.co", "password": 5},
        {"email": "a@b.co", "password": "x", "role": "boss"},
        {"email": "a@b.co", "password": "x", "nickname": "X"},
        {"email": "a@b.co", "password": "x", "metadata": {}},
        {"email": "a@b.co", "password": "x", "api_token": "t"},
        {"email": "a@b.co", "password": "x", "first_name": 7},
        {"email": "a@b.co", "password": "x", "first_name": "\0"},
        {"email": f"{'a' * 65}@b.co", "password": "x"},
        {"email": "a..b@b.co", "password": "x"},
        {"email": "X <a@b.co>", "password": "x"},
        {"email": "a@1.2.3.4", "password": "x"},
        {},
    ],
)
async def test_bodies_that_are_wrong(edge: Edge, body: dict[str, Any]) -> None:
    before = await edge.app[POOL].fetchval("select count(*) from users")
    answer = await edge.post("/admin/users", body)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert await edge.app[POOL].fetchval("select count(*) from users") == before


async def test_an_email_is_taken_once(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    body = {"email": f"{uid.upper()}@EXAMPLE.com", "password": "other"}
    answer = await edge.post("/admin/users", body)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert await edge.sign_in(user["email"], "secret")
    await edge.delete(f"/admin/users/{user['id']}")
    again = await edge.post("/admin/users", body)
    assert again.status == 200
    assert again.body["user"]["id"] != user["id"]


async def test_an_email_is_taken_once_at_the_same_moment(edge: Edge, uid: str) -> None:
    body = {"email": f"{uid}@example.com", "password": "x"}
    answers = await asyncio.gather(*(edge.post("/admin/users", body) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400]


async def test_update(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid, first_name="Grace", last_name="Hopper")
    path = f"/admin/users/{user['id']}"
    first = {"first_name": "Amazing", "role": "admin", "metadata": {"desk": 4, "floor": 2, "none": None}}
    changed = (await edge.post(path, first)).body["user"]
    assert changed == user | first | {"updated_at": changed["updated_at"]}
    assert changed["updated_at"] > user["updated_at"]
    second = {"metadata": {"desk": {"a": [1]}, "floor": "", "missing": ""}, "last_name": None, "role": None}
    changed = (await edge.post(path, second)).body["user"]
    assert changed["metadata"] == {"desk": {"a": [1]}, "none": None}
    assert (changed["first_name"], changed["last_name"], changed["role"]) == ("Amazing", None, "admin")
    nothings: list[dict[str, Any]] = [{}, {"metadata": None}, {"metadata": {}}]
    for nothing in nothings:
        assert (await edge.post(path, nothing)).body["user"]["metadata"] == changed["metadata"]
    big = {"metadata": {"n": 123456789012345678901234567890}}
    assert (await edge.post(path, big)).body["user"]["metadata"]["n"] == 123456789012345680000000000000
    assert await edge.sign_in(user["email"], "secret")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "other@example.com"},
        {"password": "other"},
        {"role": "boss"},
        {"first_name": 7, "metadata": "none"},
        {"metadata": []},
        {"metadata": {"a": "\0"}},
        {"api_token": ""},
        {"api_token": 5},
        {"api_token": "with blank"},
        {"api_token": "ü"},
        {"password_hash": "x"},
        {"credentials_version": 9},
    ],
)
async def test_updates_that_are_wrong(edge: Edge, uid: str, body: dict[str, Any]) -> None:
    user = await edge.make_user(uid)
    for user_id in (user["id"], "usr_missing"):
        answer = await edge.post(f"/admin/users/{user_id}", body)
        assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert (await edge.get(f"/admin/users/{user['id']}")).body["user"] == user


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
async def test_numbers_that_json_does_not_have(edge: Edge, uid: str, number: str) -> None:
    user = await edge.make_user(uid)
    raw = f'{{"metadata": {{"n": {number}}}}}'.encode()
    headers = {"Content-Type": "application/json"}
    answer = await edge.post(f"/admin/users/{user['id']}", data=raw, headers=headers)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


async def test_missing(edge: Edge) -> None:
    for answer in (
        await edge.get("/admin/users/usr_missing"),
        await edge.post("/admin/users/usr_missing", {"first_name": "Nobody"}),
        await edge.post("/admin/users/usr_missing", {}),
        await edge.get("/admin/users/usr%00"),
    ):
        assert (answer.status, answer.body["type"]) == (404, "not_found")


async def test_delete(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    for user_id in (user["id"], user["id"], "usr_missing"):
        answer = await edge.delete(f"/admin/users/{user_id}")
        assert (answer.status, answer.body) == (200, {"id": user_id, "object": "user", "deleted": True})
    assert (await edge.get(f"/admin/users/{user['id']}")).status == 404
    assert (await edge.post(f"/admin/users/{user['id']}", {"first_name": "X"})).status == 404
    assert await events(edge, user["id"]) == 2
    assert (await edge.get("/admin/users", query={"id": user["id"]})).body["count"] == 0


async def test_the_same_request_twice(edge: Edge, uid: str) -> None:
    body, headers = {"email": f"{uid}@example.com", "password": "x"}, {"Idempotency-Key": uid}
    first = await edge.post("/admin/users", body, headers=headers)
    second = await edge.post("/admin/users", body, headers=headers)
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
    other = await edge.post("/admin/users", body | {"first_name": "X"}, headers=headers)
    assert (other.status, other.body["type"], other.body["code"]) == (409, "conflict", "invalid_state_error")


# Lists


async def test_list(edge: Edge, uid: str) -> None:
    users = [
        await edge.make_user(f"u{n}-{uid}", first_name=f"{first} {uid}", last_name=f"{last} {uid}", role=role)
        for n, (first, last, role) in enumerate(
            [("Una", "North", "admin"), ("Dua", "North", "developer"), ("Tria", "South", "member")]
        )
    ]
    una, dua, tria = users

    async def found(**query: str) -> list[dict[str, Any]]:
        answer = await edge.get("/admin/users", query=query)
        assert answer.status == 200, answer.body
        assert answer.body["count"] == len(answer.body["users"])
        return answer.body["users"]  # type: ignore[no-any-return]

    assert await found(q=uid) == [tria, dua, una]
    assert await found(q=f"dUA {uid}") == [dua]
    assert await found(q=f"{uid}@EXAMPLE") == [tria, dua, una]
    assert await found(q=f"%{uid}") == []
    assert await found(email=una["email"]) == [una]
    assert await found(email=una["email"].upper()) == []
    assert await found(first_name=f"Tria {uid}") == [tria]
    assert await found(last_name=f"North {uid}", order="first_name") == [dua, una]
    assert await found(q=uid, email="nobody@example.com", first_name="X", last_name="X") == [tria, dua, una]
    assert await found(q=uid, role="developer") == [dua]
    assert await found(**{"q": uid, "role[0]": "admin", "role[1]": "member"}) == [tria, una]
    assert await found(id=dua["id"]) == [dua]
    assert await found(**{"id[0]": dua["id"], "id[1]": tria["id"], "fields": "email"}) == [
        {name: user[name] for name in ("id", "email", "created_at")} for user in (tria, dua)
    ]
    assert await found(**{"q": uid, "created_at[gt]": "2020-01-01", "updated_at[gt]": "2020-01-01"}) == [tria, dua, una]
    assert await found(**{"q": uid, "created_at[lt]": "2020-01-01"}) == []
    assert await found(**{"q": uid, "deleted_at[gt]": "2020-01-01"}) == []
    page = (await edge.get("/admin/users", query={"q": uid, "order": "-email", "limit": "2", "offset": "1"})).body
    assert page == {"users": [dua, una], "count": 3, "offset": 1, "limit": 2}
    beyond = (await edge.get("/admin/users", query={"q": uid, "offset": "9"})).body
    assert beyond == {"users": [], "count": 3, "offset": 9, "limit": 50}


@pytest.mark.parametrize(
    "query",
    [
        "role=boss",
        "role[]=admin&role[]=boss",
        "nickname=X",
        "email[]=a@b.co",
        "q=a&q=b",
        "limit=x",
        "limit=-1",
        "offset=-1",
        "order=password_hash",
        "order=nothing",
        "fields=password_hash",
        "fields=api_token_digest",
        "expand=sessions",
        "created_at=2020-01-01",
        "created_at[about]=2020-01-01",
        "created_at[gt]=yesterday",
        "q=%00",
    ],
)
async def test_lists_that_are_wrong(edge: Edge, query: str) -> None:
    answer = await edge.get(f"/admin/users?{query}")
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


# API tokens


async def test_an_api_token(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    path, token = f"/admin/users/{user['id']}", f"token-of-{uid}"
    answer = await edge.post(path, {"api_token": token})
    assert answer.body["user"]["api_token"] == token  # this once
    row = await edge.app[POOL].fetchrow("select * from users where id = $1", user["id"])
    assert token not in str(dict(row))
    shown = (await edge.get(path)).body["user"]["api_token"]
    assert shown == f"****{token[-4:]}"
    for headers in ({"x-medusa-access-token": token}, {"Authorization": f"Bearer {token}"}):
        for method in ("GET", "POST", "DELETE"):
            got = await edge.request(method, f"/admin/orders/{uid}", anonymous=True, headers=headers)
            assert got.status == 200
        assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).body["user"]["id"] == user["id"]
    assert (await edge.get("/admin/auth", anonymous=True, headers={"x-medusa-access-token": shown})).status == 401
    await edge.post(path, {"first_name": "X"})
    assert (await edge.get("/admin/auth", anonymous=True, headers={"x-medusa-access-token": token})).status == 200
    await edge.post(path, {"api_token": f"newer-{uid}"})
    for headers in ({"x-medusa-access-token": token}, {"Authorization": f"Bearer {token}"}):
        assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).status == 401
    newer = {"x-medusa-access-token": f"newer-{uid}"}
    assert (await edge.get("/admin/auth", anonymous=True, headers=newer)).status == 200
    assert (await edge.post(path, {"api_token": None})).body["user"]["api_token"] is None
    assert (await edge.get("/admin/auth", anonymous=True, headers=newer)).status == 401


async def test_an_api_token_belongs_to_one(edge: Edge, uid: str) -> None:
    one, two = await edge.make_user(f"a-{uid}"), await edge.make_user(f"b-{uid}")
    assert (await edge.post(f"/admin/users/{one['id']}", {"api_token": f"token-{uid}"})).status == 200
    answer = await edge.post(f"/admin/users/{two['id']}", {"api_token": f"token-{uid}", "first_name": "X"})
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert (await edge.get(f"/admin/users/{two['id']}")).body["user"] == two
    headers = {"x-medusa-access-token": f"token-{uid}"}
    assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).body["user"]["id"] == one["id"]


async def test_no_stored_answer_has_an_api_token(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    headers = {"Idempotency-Key": f"key-{uid}"}
    for _ in range(2):
        answer = await edge.post(f"/admin/users/{user['id']}", {"api_token": f"secret-{uid}"}, headers=headers)
        assert answer.status == 200
    stored = await edge.app[POOL].fetchval("select body from idempotency_keys where key = $1", f"key-{uid}")
    assert user["id"] in stored
    assert f"secret-{uid}" not in stored
