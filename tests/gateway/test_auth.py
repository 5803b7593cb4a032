"""Signing in and out, and what happens to those who have not, or no longer may."""

import asyncio
import http.cookies
import io
import time
from typing import Any

import jwt
import pytest

from gateway import identity, passwords
from gateway.attempts import PER_ACCOUNT_AND_ADDRESS
from gateway.identity import digest
from gateway.parts import PARTS
from services.chassis.keys import POOL
from tests.support.edge import SESSION_SECRET, Answer, Edge, FakeService, Start
from tests.support.stack import EMAIL, PASSWORD
from tests.support.waiting import until

LOGIN = {"email": EMAIL, "password": PASSWORD}


def cookie(answer: Answer) -> http.cookies.Morsel[str]:
    """The session cookie that an answer sets."""
    (line,) = answer.headers.getall("Set-Cookie")
    return http.cookies.SimpleCookie(line)["connect.sid"]


async def open_session(edge: Edge, email: str, password: str = "secret", **headers: str) -> str:
    """A Cookie header of a new session."""
    body = {"email": email, "password": password}
    answer = await edge.post("/admin/auth", body, anonymous=True, headers=headers)
    assert answer.status == 200
    return f"connect.sid={cookie(answer).value}"


def refused(answer: Answer) -> bool:
    """401 as the API has it."""
    return (answer.status, answer.body, answer.headers["Content-Type"]) == (
        401,
        b"Unauthorized",
        "text/plain; charset=utf-8",
    )


# The cookie


async def test_signing_in_with_a_cookie(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid, first_name="Ada", role="developer")
    answer = await edge.post(
        "/admin/auth", {"email": f"{uid.upper()}@Example.COM", "password": "secret"}, anonymous=True
    )
    assert answer.status == 200
    assert answer.body == {"user": user}
    assert set(user) == {
        *("id", "email", "first_name", "last_name", "role", "api_token", "metadata"),
        *("created_at", "updated_at", "deleted_at"),
    }
    morsel = cookie(answer)
    assert len(morsel.value) >= 43
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["max-age"]) == (True, "Lax", "/", "36000")
    assert not morsel["secure"]
    assert not morsel["domain"]
    headers = {"Cookie": f"other=1; connect.sid={morsel.value}; more=2"}
    assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).body == {"user": user}
    assert (await edge.get(f"/admin/orders/{uid}", anonymous=True, headers=headers)).status == 200


async def test_the_database_does_not_know_the_session_id(edge: Edge, uid: str) -> None:
    await edge.make_user(uid)
    session = (await open_session(edge, f"{uid}@example.com")).removeprefix("connect.sid=")
    row = await edge.app[POOL].fetchrow(
        "select *, expires_at - now() as rest from sessions where id_digest = $1", digest(session)
    )
    assert 35_990 < row["rest"].total_seconds() <= 36_000
    assert session not in str(dict(row))


async def test_the_cookie_is_secure_behind_tls(edge: Edge, start: Start) -> None:
    answer = await edge.post("/admin/auth", LOGIN, anonymous=True, headers={"X-Forwarded-Proto": "https"})
    assert cookie(answer)["secure"]
    always = await start(secure_cookies=True)
    assert cookie(await always.post("/admin/auth", LOGIN, anonymous=True))["secure"]


async def test_a_sign_in_changes_the_session_id(edge: Edge, uid: str) -> None:
    await edge.make_user(uid)
    first = await open_session(edge, f"{uid}@example.com")
    assert (await edge.get("/admin/auth", anonymous=True, headers={"Cookie": first})).status == 200
    second = await open_session(edge, f"{uid}@example.com", Cookie=first)
    assert first != second
    assert (await edge.get("/admin/auth", anonymous=True, headers={"Cookie": second})).status == 200
    assert refused(await edge.get("/admin/auth", anonymous=True, headers={"Cookie": first}))
    # One that came from outside is never taken over.
    planted = await open_session(edge, f"{uid}@example.com", Cookie="connect.sid=planted")
    assert planted != "connect.sid=planted"
    assert refused(await edge.get("/admin/auth", anonymous=True, headers={"Cookie": "connect.sid=planted"}))


async def test_signing_out(edge: Edge, uid: str) -> None:
    await edge.make_user(uid)
    session = await open_session(edge, f"{uid}@example.com")
    other = await open_session(edge, f"{uid}@example.com")
    headers = {"Cookie": session}
    assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).status == 200
    answer = await edge.delete("/admin/auth", anonymous=True, headers=headers)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"OK", "text/plain; charset=utf-8")
    assert cookie(answer)["max-age"] == "0"
    assert refused(await edge.get("/admin/auth", anonymous=True, headers=headers))
    assert refused(await edge.get("/admin/orders", anonymous=True, headers=headers))
    assert refused(await edge.delete("/admin/auth", anonymous=True, headers=headers))
    assert (await edge.get("/admin/auth", anonymous=True, headers={"Cookie": other})).status == 200


async def test_signing_out_with_a_bearer(edge: Edge) -> None:
    answer = await edge.delete("/admin/auth")
    assert (answer.status, answer.body) == (200, b"OK")
    assert (await edge.get("/admin/auth")).status == 200


async def test_a_session_ends_by_itself(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    session = await open_session(edge, f"{uid}@example.com")
    await edge.app[POOL].execute(
        "update sessions set expires_at = now() - interval '1 second' where user_id = $1", user["id"]
    )
    assert refused(await edge.get("/admin/auth", anonymous=True, headers={"Cookie": session}))
    await open_session(edge, f"{uid}@example.com")
    assert await edge.app[POOL].fetchval("select count(*) from sessions where user_id = $1", user["id"]) == 1


# The bearer token


async def test_a_bearer_token(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    token = await edge.sign_in(f"{uid}@EXAMPLE.com", "secret")
    claims = jwt.decode(token, SESSION_SECRET, algorithms=["HS256"])
    assert (claims["user_id"], claims["domain"], claims["exp"] - claims["iat"]) == (user["id"], "admin", 86400)
    assert "secret" not in str(claims)
    for scheme in ("Bearer", "bearer"):
        answer = await edge.get("/admin/auth", anonymous=True, headers={"Authorization": f"{scheme} {token}"})
        assert answer.body == {"user": user}


def forged(**changes: Any) -> str:
    now = int(time.time())
    claims = {"user_id": "usr_1", "domain": "admin", "version": 1, "iat": now, "exp": now + 100} | changes
    return jwt.encode(claims, SESSION_SECRET, algorithm="HS256")


async def test_tokens_that_are_not_ours(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    mine, now = user["id"], int(time.time())
    good = forged(user_id=mine)
    assert (await edge.get("/admin/auth", anonymous=True, headers={"Authorization": f"Bearer {good}"})).status == 200
    unsigned = jwt.encode({"user_id": mine, "domain": "admin", "version": 1, "iat": now, "exp": now + 9}, "", "none")
    for token in (
        good + "x",
        good[:-4],
        unsigned,
        jwt.encode(
            {"user_id": mine, "domain": "admin", "version": 1, "iat": now, "exp": now + 9}, "x" * 40, algorithm="HS256"
        ),
        forged(user_id=mine, exp=now - 1),
        forged(user_id=mine, domain="store"),
        forged(user_id=mine, version=2),
        forged(user_id=mine, version=None),
        forged(user_id="usr_missing"),
        forged(user_id=[mine]),
        "garbage",
        "a.b.c",
        "é.è.ê",
        "x" * 5000,
        "",
    ):
        answer = await edge.get("/admin/auth", anonymous=True, headers={"Authorization": f"Bearer {token}"})
        assert refused(answer), token


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer garbage"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"x-medusa-access-token": "garbage"},
        {"x-medusa-access-token": ""},
        {"Cookie": "connect.sid=garbage"},
        {"Cookie": "connect.sid="},
        {"Cookie": ";;=;connect.sid"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/auth"),
        ("DELETE", "/admin/auth"),
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("DELETE", "/admin/users/usr_1"),
        ("GET", "/admin/orders"),
        ("POST", "/admin/uploads"),
        ("GET", "/admin/nothing"),
        ("PUT", "/admin/auth"),
    ],
)
async def test_nobody(
    edge: Edge, services: dict[str, FakeService], method: str, path: str, headers: dict[str, str]
) -> None:
    before = sum(len(service.seen) for service in services.values())
    # A body that would be refused: it is not looked at.
    answer = await edge.request(method, path, anonymous=True, headers=headers, data=b"{" if method == "POST" else None)
    assert refused(answer)
    assert sum(len(service.seen) for service in services.values()) == before


# Refusals


@pytest.mark.parametrize("path", ["/admin/auth", "/admin/auth/token"])
async def test_wrong_sign_ins(edge: Edge, uid: str, path: str) -> None:
    await edge.make_user(uid)
    email = f"{uid}@example.com"
    for body in (
        {"email": email, "password": "wrong"},
        {"email": email, "password": "Secret"},
        {"email": email, "password": " secret"},
        {"email": f"nobody-{uid}@example.com", "password": "secret"},
    ):
        answer = await edge.post(path, body, anonymous=True)
        assert refused(answer)
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/admin/auth", "/admin/auth/token"])
@pytest.mark.parametrize(
    "body",
    [
        {"email": "nobody", "password": "x"},
        {"email": " a@b.co", "password": "x"},
        {"email": "a@localhost", "password": "x"},
        {"email": EMAIL},
        {"email": EMAIL, "password": ""},
        {"email": EMAIL, "password": None},
        {"email": EMAIL, "password": 5},
        {"password": "x"},
        {"email": ["a@b.co"], "password": "x"},
        {"email": EMAIL, "password": PASSWORD, "remember": True},
        {},
        None,
    ],
)
async def test_bodies_that_are_wrong(edge: Edge, path: str, body: Any) -> None:
    answer = await edge.post(path, body, anonymous=True)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"x", b'{"email": ', b'{"email": "a@b.co", "password": "x",}'])
async def test_malformed_json(edge: Edge, raw: bytes) -> None:
    answer = await edge.post(
        "/admin/auth/token", data=raw, anonymous=True, headers={"Content-Type": "application/json"}
    )
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


async def test_a_body_that_is_too_large(edge: Edge) -> None:
    answer = await edge.post(
        "/admin/auth", data=io.BytesIO(b"x" * 5_000_000), anonymous=True, headers={"Content-Type": "application/json"}
    )
    assert (answer.status, answer.body["type"]) == (413, "invalid_data")


async def test_an_unknown_email_costs_the_same_work(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await edge.make_user(uid)
    checked: list[str] = []
    real = passwords.verified

    def counted(password_hash: str, password: str) -> bool:
        checked.append(password_hash.rsplit("$", 2)[0])
        return real(password_hash, password)

    monkeypatch.setattr(passwords, "verified", counted)
    for email in (f"{uid}@example.com", f"nobody-{uid}@example.com"):
        assert refused(await edge.post("/admin/auth", {"email": email, "password": "wrong"}, anonymous=True))
    assert len(checked) == 2
    assert checked[0] == checked[1]  # the same parameters, so the same time


async def test_nobodys_password_opens_nothing(edge: Edge, uid: str) -> None:
    body = {"email": f"nobody-{uid}@example.com", "password": "nobody's password"}
    assert refused(await edge.post("/admin/auth", body, anonymous=True))


async def test_guessing_is_slowed_down_for_one_account_only(edge: Edge, uid: str) -> None:
    await edge.make_user(uid)
    for email in (f"{uid}@example.com", f"nobody-{uid}@example.com"):
        wrong = {"email": email, "password": "wrong"}
        for _ in range(PER_ACCOUNT_AND_ADDRESS.burst):
            assert refused(await edge.post("/admin/auth/token", wrong, anonymous=True))
        answer = await edge.post("/admin/auth/token", wrong, anonymous=True)
        assert (answer.status, answer.body["type"]) == (429, "too_many_requests")
        assert 1 <= int(answer.headers["Retry-After"]) <= 6
    right = {"email": f"{uid}@example.com", "password": "secret"}
    assert (await edge.post("/admin/auth/token", right, anonymous=True)).status == 429
    assert (await edge.post("/admin/auth/token", LOGIN, anonymous=True)).status == 200


async def test_too_many_sign_ins_at_once(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 1)
    answers = await asyncio.gather(*(edge.post("/admin/auth/token", LOGIN, anonymous=True) for _ in range(4)))
    found = sorted(answer.status for answer in answers)
    assert found[0] == 200
    assert found[-1] == 503


async def test_an_old_hash_is_renewed(edge: Edge, uid: str) -> None:
    import argon2

    user = await edge.make_user(uid)
    old = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    pool = edge.app[POOL]
    await pool.execute("update users set password_hash = $2 where id = $1", user["id"], old)
    await edge.sign_in(f"{uid}@example.com", "secret")
    new = await pool.fetchval("select password_hash from users where id = $1", user["id"])
    assert new != old
    assert not passwords.HASHER.check_needs_rehash(new)
    await edge.sign_in(f"{uid}@example.com", "secret")


# Those who no longer may


async def test_a_deleted_user_is_out_at_once(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    token, session = await edge.sign_in(user["email"], "secret"), await open_session(edge, user["email"])
    await edge.post(f"/admin/users/{user['id']}", {"api_token": f"token-{uid}"})
    ways = [
        {"Authorization": f"Bearer {token}"},
        {"Cookie": session},
        {"x-medusa-access-token": f"token-{uid}"},
        {"Authorization": f"Bearer token-{uid}"},
    ]
    for headers in ways:
        assert (await edge.get(f"/admin/orders/{uid}", anonymous=True, headers=headers)).status == 200
    assert (await edge.delete(f"/admin/users/{user['id']}")).status == 200
    for headers in ways:
        for path in ("/admin/auth", f"/admin/orders/{uid}"):
            assert refused(await edge.get(path, anonymous=True, headers=headers))
    for path in ("/admin/auth", "/admin/auth/token"):
        answer = await edge.post(path, {"email": user["email"], "password": "secret"}, anonymous=True)
        assert refused(answer)


async def test_another_process_hears_of_it_within_seconds(
    edge: Edge, start: Start, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "SECONDS_KNOWN", 0.2)
    other = await start()
    user = await edge.make_user(uid)
    headers = {"Authorization": f"Bearer {await edge.sign_in(user['email'], 'secret')}"}
    assert (await other.get("/admin/orders", anonymous=True, headers=headers)).status == 200
    await edge.delete(f"/admin/users/{user['id']}")

    async def known_to_the_other() -> bool:
        return refused(await other.get("/admin/orders", anonymous=True, headers=headers))

    await until(known_to_the_other)


async def test_a_new_role_is_told_to_the_services_at_once(
    edge: Edge, services: dict[str, FakeService], uid: str
) -> None:
    user = await edge.make_user(uid)
    headers = {"Authorization": f"Bearer {await edge.sign_in(user['email'], 'secret')}"}
    for role in ("member", "developer"):
        await edge.post(f"/admin/users/{user['id']}", {"role": role})
        await edge.get(f"/admin/orders/{uid}-{role}", anonymous=True, headers=headers)
        actor = services["orders"].last(f"/admin/orders/{uid}-{role}").headers["X-Mercer-Actor"]
        claims = jwt.decode(actor, options={"verify_signature": False})
        assert (claims["sub"], claims["role"]) == (user["id"], role)


async def test_who_asks_is_looked_up_once(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await edge.make_user(uid)
    headers = {"Authorization": f"Bearer {await edge.sign_in(user['email'], 'secret')}"}
    queries = 0
    known = edge.app[PARTS].identity
    real = known._query

    async def counted(*args: Any) -> Any:
        nonlocal queries
        queries += 1
        return await real(*args)

    monkeypatch.setattr(known, "_query", counted)
    for _ in range(20):
        assert (await edge.get(f"/admin/orders/{uid}", anonymous=True, headers=headers)).status == 200
    assert queries == 1


async def test_a_look_up_under_way_is_not_remembered_after_a_deletion(
    edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await edge.make_user(uid)
    token = await edge.sign_in(user["email"], "secret")
    known = edge.app[PARTS].identity
    real = known._query

    async def overtaken(*args: Any) -> Any:
        found = await real(*args)
        await edge.delete(f"/admin/users/{user['id']}")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(known, "_query", overtaken)
        assert await known._look_up("bearer", token, known._by_bearer) is not None
    assert await known._look_up("bearer", token, known._by_bearer) is None
