"""Invites."""

from typing import Any

import jwt
import pytest

from services.chassis.keys import POOL
from tests.support.edge import SESSION_SECRET, Edge, listed


async def invite(edge: Edge, email: str, role: str = "admin") -> dict[str, Any]:
    """A new invite, as the list shows it."""
    answer = await edge.post("/admin/invites", {"user": email, "role": role})
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"OK", "text/plain; charset=utf-8")
    return await listed(edge, email)


def accepted(token: str, **user: Any) -> dict[str, Any]:
    return {"token": token, "user": {"password": "welcome"} | user}


async def test_an_invite(edge: Edge, uid: str) -> None:
    email = f"New-{uid}@Example.com"
    made = await invite(edge, email, "developer")
    assert made["id"].startswith("invite_")
    assert set(made) == {
        *("id", "user_email", "role", "accepted", "token", "expires_at", "metadata"),
        *("created_at", "updated_at", "deleted_at"),
    }
    assert (made["role"], made["accepted"], made["metadata"], made["deleted_at"]) == ("developer", False, None, None)
    row = await edge.app[POOL].fetchrow(
        "select *, expires_at - created_at as life from invites where id = $1", made["id"]
    )
    assert row["life"].days == 7
    assert made["token"] not in str(dict(row))
    body = accepted(made["token"], first_name="New", last_name="Colleague")
    answer = await edge.post("/admin/invites/accept", body, anonymous=True)
    assert (answer.status, answer.body) == (200, b"OK")
    (user,) = (await edge.get("/admin/users", query={"email": email.lower()})).body["users"]
    assert (user["first_name"], user["last_name"], user["role"]) == ("New", "Colleague", "developer")
    assert await edge.sign_in(email, "welcome")
    assert not await edge.app[POOL].fetchval("select true from invites where id = $1", made["id"])
    again = await edge.post("/admin/invites/accept", body, anonymous=True)
    assert (again.status, again.body["type"]) == (400, "invalid_data")


async def test_a_second_invite_changes_the_role(edge: Edge, uid: str) -> None:
    email = f"{uid}@example.com"
    first = await invite(edge, email, "member")
    second = await invite(edge, email, "developer")
    assert (second["id"], second["role"], second["token"]) == (first["id"], "developer", first["token"])
    assert (await edge.post("/admin/invites/accept", accepted(first["token"]), anonymous=True)).status == 200
    (user,) = (await edge.get("/admin/users", query={"email": email})).body["users"]
    assert user["role"] == "developer"


async def test_resend(edge: Edge, uid: str) -> None:
    email = f"{uid}@example.com"
    first = await invite(edge, email)
    answer = await edge.post(f"/admin/invites/{first['id']}/resend")
    assert (answer.status, answer.body) == (200, b"OK")
    second = await listed(edge, email)
    assert second["token"] != first["token"]
    assert second["expires_at"] > first["expires_at"]
    assert (await edge.post("/admin/invites/accept", accepted(first["token"]), anonymous=True)).status == 400
    assert (await edge.post("/admin/invites/accept", accepted(second["token"]), anonymous=True)).status == 200
    for invite_id in (first["id"], "invite_missing"):
        gone = await edge.post(f"/admin/invites/{invite_id}/resend")
        assert (gone.status, gone.body["type"]) == (400, "invalid_data")


async def test_an_invite_that_is_over(edge: Edge, uid: str) -> None:
    email = f"{uid}@example.com"
    made = await invite(edge, email)
    await edge.app[POOL].execute(
        "update invites set expires_at = now() - interval '1 second' where id = $1", made["id"]
    )
    stale = await listed(edge, email)
    for token in (made["token"], stale["token"]):
        answer = await edge.post("/admin/invites/accept", accepted(token), anonymous=True)
        assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    renewed = await invite(edge, email)
    assert renewed["id"] == made["id"]
    assert (await edge.post("/admin/invites/accept", accepted(made["token"]), anonymous=True)).status == 400
    assert (await edge.post("/admin/invites/accept", accepted(renewed["token"]), anonymous=True)).status == 200


async def test_taking_an_invite_back(edge: Edge, uid: str) -> None:
    made = await invite(edge, f"{uid}@example.com")
    for invite_id in (made["id"], made["id"], "invite_missing"):
        answer = await edge.delete(f"/admin/invites/{invite_id}")
        assert (answer.status, answer.body) == (200, {"id": invite_id, "object": "invite", "deleted": True})
    answer = await edge.post("/admin/invites/accept", accepted(made["token"]), anonymous=True)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert (await edge.get("/admin/users", query={"email": f"{uid}@example.com"})).body["count"] == 0


async def test_somebody_who_has_an_account(edge: Edge, uid: str) -> None:
    made = await invite(edge, f"{uid}@example.com")
    await edge.make_user(uid)
    answer = await edge.post("/admin/invites/accept", accepted(made["token"], first_name="X"), anonymous=True)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert await edge.sign_in(f"{uid}@example.com", "secret")
    assert await edge.app[POOL].fetchval("select true from invites where id = $1", made["id"])
    answer = await edge.post("/admin/invites", {"user": f"{uid.upper()}@example.com", "role": "admin"})
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")


async def test_tokens_that_are_not_ours(edge: Edge, uid: str) -> None:
    made = await invite(edge, f"{uid}@example.com")
    claims = jwt.decode(made["token"], options={"verify_signature": False})
    for token in (
        "nonsense",
        jwt.encode(claims, "x" * 40, algorithm="HS256"),
        jwt.encode(claims, SESSION_SECRET, algorithm="HS256"),
        jwt.encode(claims, "", "none"),
        edge.token,
    ):
        answer = await edge.post("/admin/invites/accept", accepted(token), anonymous=True)
        assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    # Nor is an invite a way in.
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await edge.get("/admin/auth", anonymous=True, headers=headers)).status == 401


@pytest.mark.parametrize(
    "body",
    [
        {"user": "new", "role": "admin"},
        {"user": "x@example.com", "role": "boss"},
        {"user": "x@example.com"},
        {"role": "admin"},
        {"user": "x@example.com", "role": None},
        {"user": "x@example.com", "role": "admin", "note": "hi"},
        {},
    ],
)
async def test_invites_that_are_wrong(edge: Edge, body: dict[str, Any]) -> None:
    before = await edge.app[POOL].fetchval("select count(*) from invites")
    answer = await edge.post("/admin/invites", body)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert await edge.app[POOL].fetchval("select count(*) from invites") == before


@pytest.mark.parametrize(
    "change",
    [
        {"user": None},
        {"user": {}},
        {"user": {"first_name": "New"}},
        {"user": {"password": ""}},
        {"user": {"password": "x", "email": "z@z.co"}},
        {"user": {"password": "x", "role": "admin"}},
        {"user": []},
        {"token": ""},
        {"token": None},
        {"more": 1},
    ],
)
async def test_acceptances_that_are_wrong(edge: Edge, uid: str, change: dict[str, Any]) -> None:
    made = await invite(edge, f"{uid}@example.com")
    answer = await edge.post("/admin/invites/accept", accepted(made["token"]) | change, anonymous=True)
    assert (answer.status, answer.body["type"]) == (400, "invalid_data")
    assert (await edge.post("/admin/invites/accept", accepted(made["token"]), anonymous=True)).status == 200


async def test_the_same_invite_twice_is_answered_the_same(edge: Edge, uid: str) -> None:
    body, headers = {"user": f"{uid}@example.com", "role": "admin"}, {"Idempotency-Key": uid}
    for _ in range(2):
        answer = await edge.post("/admin/invites", body, headers=headers)
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"OK", "text/plain; charset=utf-8")
