"""Mails with a token: they come, the token in them works, and nobody else gets to see it."""

import urllib.parse
from typing import Any

import pytest

from gateway.emails import mail_of
from services.chassis.keys import POOL
from services.chassis.outbox import emit
from tests.support.edge import Edge, listed
from tests.support.fake_smtp import installed, text_of
from tests.support.waiting import until

URL = "smtp://127.0.0.1:{port}?from=shop@example.com&tls=none"


def caught(patch: pytest.MonkeyPatch, module: str) -> list[dict[str, Any]]:
    """The events that a module emits from now on."""
    events: list[dict[str, Any]] = []

    async def noted(db: Any, name: str, aggregate: str, data: dict[str, Any]) -> None:
        events.append({"name": name, **data})
        await emit(db, name, aggregate, data)

    patch.setattr(f"gateway.{module}.emit", noted)
    return events


async def nothing_waits(edge: Edge) -> None:
    async def empty() -> bool:
        return not await edge.app[POOL].fetchval("select true from deliveries limit 1")

    await until(empty)


async def test_a_forgotten_password(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await edge.make_user(uid)
    events = caught(monkeypatch, "resets")
    async with installed(monkeypatch, URL) as mailbox:
        mailbox.answers[user["email"]] = ["450 not now"]
        await edge.post("/admin/users/password-token", {"email": user["email"]}, anonymous=True)
        mail = await mailbox.comes(user["email"], "A new password")
        await nothing_waits(edge)
    token = text_of(mail).rsplit("Your token: ", 1)[1].strip()
    assert token in text_of(mail, "html")
    assert [(event["name"], "token" in event) for event in events] == [("user.password_reset", False)]
    body = {"token": token, "password": "changed"}
    assert (await edge.post("/admin/users/reset-password", body, anonymous=True)).status == 200
    assert await edge.sign_in(user["email"], "changed")


async def test_nobody_is_told_of_an_account_that_is_not_there(
    edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(monkeypatch, URL) as mailbox:
        body = {"email": f"nobody-{uid}@example.com"}
        assert (await edge.post("/admin/users/password-token", body, anonymous=True)).status == 204
        await edge.post("/admin/invites", {"user": f"some-{uid}@example.com", "role": "member"})
        await mailbox.comes(f"some-{uid}@example.com", "You are invited")
        assert mailbox.to(body["email"]) == []


async def test_an_invite_and_the_same_again(edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    email = f"new-{uid}@example.com"
    events = caught(monkeypatch, "invites")
    async with installed(monkeypatch, URL) as mailbox:
        await edge.post("/admin/invites", {"user": email, "role": "member"})
        first = await mailbox.comes(email, "You are invited")
        invite = await listed(edge, email)
        assert invite["token"] in text_of(first)
        await edge.post(f"/admin/invites/{invite['id']}/resend")

        async def twice() -> bool:
            return len(mailbox.to(email)) == 2

        await until(twice)
        token = text_of(mailbox.to(email)[1]).rsplit("Your token: ", 1)[1].strip()
        await nothing_waits(edge)
    assert token != invite["token"]
    assert [(event["name"], "token" in event) for event in events] == [("invite.created", False)] * 2
    body = {"token": token, "user": {"password": "welcome"}}
    assert (await edge.post("/admin/invites/accept", body, anonymous=True)).status == 200
    assert await edge.sign_in(email, "welcome")


async def test_without_a_mail_server_the_event_carries_the_token(
    edge: Edge, uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = caught(monkeypatch, "invites")
    await edge.post("/admin/invites", {"user": f"{uid}@example.com", "role": "member"})
    assert [event["token"] for event in events] == [(await listed(edge, f"{uid}@example.com"))["token"]]
    assert not await edge.app[POOL].fetchval("select true from deliveries limit 1")


@pytest.mark.parametrize(("kind", "page"), [("invite", "invite"), ("reset", "reset-password")])
def test_links_lead_to_the_front_end(kind: str, page: str) -> None:
    mail = mail_of(kind, "a@example.com", "x&y=1", "https://admin.example.com/")
    link = mail.text.strip().rsplit("\n", 1)[1]
    assert link.startswith(f"https://admin.example.com/{page}?")
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(link).query) == {"token": ["x&y=1"]}
    assert f'href="{link}"' in mail.html
