"""Forgotten passwords."""

import json
import time
from typing import Any

import jwt
import orjson
import pytest

from gateway.resets import ANSWER_SECONDS, reset_key
from services.chassis.keys import POOL
from services.chassis.outbox import emit
from tests.support.edge import SESSION_SECRET, Edge

FORGED = jwt.encode({"user_id": "usr_1", "email": "a@b.co"}, "x" * 40, algorithm="HS256")


async def mailed(edge: Edge, user_id: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token that the event brings, caught where it is written: the relay takes it away at once."""
    caught: list[dict[str, Any]] = []

    async def noted(db: Any, name: str, aggregate: str, data: dict[str, Any]) -> None:
        caught.append({"name": name, "aggregate": aggregate, **data})
        await emit(db, name, aggregate, data)

    email = await edge.app[POOL].fetchval("select email from users where id = $1", user_id)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.resets.emit", noted)
        answer = await edge.post("/admin/users/password-token", {"email": email.upper()}, anonymous=True)
    assert (answer.status, answer.body) == (204, b"")
    (event,) = caught
    assert (event["name"], event["aggregate"], event["email"]) == ("user.password_reset", user_id, email)
    token: str = event["token"]
    return token


async def test_a_new_password(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await edge.make_user(uid)
    bearer = {"Authorization": f"Bearer {await edge.sign_in(user['email'], 'secret')}"}
    signed_in = await edge.post("/admin/auth", {"email": user["email"], "password": "secret"}, anonymous=True)
    session = {"Cookie": signed_in.headers["Set-Cookie"].split(";")[0]}
    for headers in (bearer, session):
        assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).status == 200
    token = await mailed(edge, user["id"], monkeypatch)
    body = {"token": token, "password": "changed"}
    answer = await edge.post("/admin/users/reset-password", body | {"email": user["email"].upper()}, anonymous=True)
    assert (answer.status, answer.body["user"]["id"]) == (200, user["id"])
    assert await edge.sign_in(user["email"], "changed")
    old = await edge.post("/admin/auth/token", {"email": user["email"], "password": "secret"}, anonymous=True)
    assert old.status == 401
    # All that the old password opened is closed.
    for headers in (bearer, session):
        assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).status == 401
    again = await edge.post("/admin/users/reset-password", body, anonymous=True)
    assert (again.status, again.body["type"]) == (400, "invalid_data")
    again = await edge.post("/admin/users/reset-password", body | {"email": user["email"]}, anonymous=True)
    assert (again.status, again.body["type"]) == (401, "unauthorized")
    assert await edge.sign_in(user["email"], "changed")


async def test_without_the_email(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await edge.make_user(uid)
    token = await mailed(edge, user["id"], monkeypatch)
    answer = await edge.post("/admin/users/reset-password", {"token": token, "password": "new"}, anonymous=True)
    assert (answer.status, answer.body["user"]["id"]) == (200, user["id"])


async def test_nobody_learns_who_has_an_account(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    for body in (
        {"token": "nonsense", "password": "x"},
        {"token": FORGED, "password": "x"},
    ):
        found = []
        for email in (user["email"], f"nobody-{uid}@example.com"):
            answer = await edge.post("/admin/users/reset-password", body | {"email": email}, anonymous=True)
            found.append((answer.status, answer.body))
            started = time.monotonic()
            answer = await edge.post("/admin/users/password-token", {"email": email}, anonymous=True)
            assert (answer.status, answer.body) == (204, b"")
            assert time.monotonic() - started >= ANSWER_SECONDS
        assert found[0] == found[1]
    events = await edge.app[POOL].fetch(
        "select 1 from outbox where name = 'user.password_reset' and data ->> 'email' = $1", f"nobody-{uid}@example.com"
    )
    assert events == []


async def test_tokens_that_are_not_valid(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await edge.make_user(uid)
    other = await edge.make_user(f"other-{uid}")
    stored = await edge.app[POOL].fetchval("select password_hash from users where id = $1", user["id"])
    key, now = reset_key(SESSION_SECRET, stored), int(time.time())
    claims = {"user_id": user["id"], "email": user["email"]}
    for token in (
        FORGED,
        jwt.encode(claims | {"exp": now - 1}, key, algorithm="HS256"),
        jwt.encode(claims, key, algorithm="HS256"),
        jwt.encode(claims | {"user_id": other["id"], "exp": now + 9}, key, algorithm="HS256"),
        jwt.encode(claims | {"exp": now + 9}, "", "none"),
        jwt.encode(claims | {"exp": now + 9}, SESSION_SECRET, algorithm="HS256"),
        await mailed(edge, other["id"], monkeypatch),
    ):
        body = {"token": token, "password": "changed", "email": user["email"]}
        answer = await edge.post("/admin/users/reset-password", body, anonymous=True)
        assert (answer.status, answer.body["type"]) == (401, "unauthorized")
    for claim in ("\ud800", "\0", 5, None, ["a@b.co"]):
        head, _, tail = FORGED.split(".")
        payload = jwt.utils.base64url_encode(orjson.dumps({"email": 0}).replace(b"0", json.dumps(claim).encode()))
        body = {"token": f"{head}.{payload.decode()}.{tail}", "password": "changed"}
        answer = await edge.post("/admin/users/reset-password", body, anonymous=True)
        assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert await edge.sign_in(user["email"], "secret")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("password-token", {}),
        ("password-token", {"email": "lost"}),
        ("password-token", {"email": "a@b.co", "x": 1}),
        ("reset-password", {}),
        ("reset-password", {"token": "x", "email": "a@b.co"}),
        ("reset-password", {"password": "x", "email": "a@b.co"}),
        ("reset-password", {"token": FORGED, "password": "", "email": "a@b.co"}),
        ("reset-password", {"token": FORGED, "password": "x", "email": "lost"}),
        ("reset-password", {"token": FORGED, "password": "x", "more": 1}),
        ("reset-password", {"token": "nonsense", "password": "x", "email": None}),
        ("reset-password", {"token": FORGED, "password": "x"}),
    ],
)
async def test_bodies_that_are_wrong(edge: Edge, path: str, body: dict[str, Any]) -> None:
    answer = await edge.post(f"/admin/users/{path}", body, anonymous=True)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


async def test_nobodys_mailbox_is_filled(edge: Edge, uid: str) -> None:
    body = {"email": f"{uid}@example.com"}
    found = [(await edge.post("/admin/users/password-token", body, anonymous=True)).status for _ in range(6)]
    assert found == [204] * 5 + [429]
