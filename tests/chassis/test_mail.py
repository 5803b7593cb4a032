"""Which mail server is set, and that a mail goes to it as it should: encrypted, signed in, once understood for good."""

import ssl
from pathlib import Path

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import ValidationError

from services.chassis.deliveries import Rejected
from services.chassis.mail import Mail, Smtp, smtp
from tests.support.fake_smtp import forget, listening, self_signed, text_of

MAIL = Mail("ada@example.com", "Grüße", "Hallo Ådå\n", "<p>Hallo Ådå</p>")


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> Smtp | None:
    """The server that these variables set."""
    with monkeypatch.context() as patch:
        for name, value in given.items():
            patch.setenv(f"MERCER_SMTP_{name}", value)
        forget()
        try:
            return smtp()
        finally:
            forget()


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch) is None
    assert settings(monkeypatch, URL="") is None
    found = settings(monkeypatch, URL="smtp://us%40er:p%2Fw@mail.example.com?from=shop@example.com")
    assert found is not None
    assert (found.host, found.port, found.tls, found.user) == ("mail.example.com", 587, "starttls", "us@er")
    assert found.password is not None
    assert found.password.get_secret_value() == "p/w"
    assert "p/w" not in repr(found)
    found = settings(monkeypatch, URL="smtps://mail.example.com", FROM="Shop <shop@example.com>")
    assert found is not None
    assert (found.port, found.tls, found.sender, found.user) == (465, "tls", "Shop <shop@example.com>", None)
    found = settings(monkeypatch, HOST="localhost", PORT="2525", FROM="a@b.example", TLS="none", USER="u", PASSWORD="p")
    assert found is not None
    assert (found.host, found.port, found.tls, found.user) == ("localhost", 2525, "none", "u")


@pytest.mark.parametrize(
    "given",
    [
        {"URL": "http://mail.example.com?from=a@b.example"},
        {"URL": "smtp://mail.example.com"},
        {"URL": "smtp://mail.example.com?from=a@b.example&tls=maybe"},
        {"URL": "smtp://mail.example.com?sender=a@b.example"},
        {"HOST": "localhost"},
        {"HOST": "localhost", "FROM": "a@b.example", "PORT": "none"},
    ],
)
def test_settings_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(monkeypatch, **given)


async def test_encrypted_and_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    context, certificate = self_signed(tmp_path)
    options = {"tls_context": context, "require_starttls": True, "authenticator": check, "auth_required": True}
    async with listening(**options) as mailbox:
        given = f"smtp://user:{{}}@127.0.0.1:{mailbox.port}?from=shop@example.com"
        right = settings(monkeypatch, URL=given.format("right"))
        wrong = settings(monkeypatch, URL=given.format("wrong"))
        bare = settings(monkeypatch, URL=given.format("right") + "&tls=none")
        assert right is not None
        assert wrong is not None
        assert bare is not None
        # Somebody else's certificate is refused, and nothing is sent in the clear instead.
        with pytest.raises(ssl.SSLCertVerificationError):
            await right.send(MAIL, "mail_1")
        with pytest.raises(aiosmtplib.SMTPException):
            await bare.send(MAIL, "mail_1")
        assert (mailbox.taken, seen) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        # A wrong password may be put right: that is no refusal for good.
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await wrong.send(MAIL, "mail_1")
        await right.send(MAIL, "mail_1")
    assert seen[-1] == (b"user", b"right")
    (mail,) = mailbox.taken
    assert mailbox.encrypted == [True]
    assert (mail["Subject"], mail["Message-ID"], mail["From"]) == ("Grüße", "<mail_1@example.com>", "shop@example.com")
    assert (text_of(mail), text_of(mail, "html").strip()) == ("Hallo Ådå\n", "<p>Hallo Ådå</p>")


async def test_what_is_refused_for_good_and_what_is_not() -> None:
    async with listening() as mailbox:
        server = Smtp("127.0.0.1", mailbox.port, "shop@example.com", "none")
        mailbox.refused.add(MAIL.to)
        with pytest.raises(Rejected):
            await server.send(MAIL, "mail_1")
        mailbox.refused.clear()
        mailbox.answers[MAIL.to] = ["554 spam", "452 disk full"]
        with pytest.raises(Rejected):
            await server.send(MAIL, "mail_1")
        with pytest.raises(aiosmtplib.SMTPResponseException):
            await server.send(MAIL, "mail_1")
        for to in ("a@example.com\nBcc: b@example.com", "a@example.com\r\n\r\nHello"):
            with pytest.raises(Rejected):
                await server.send(Mail(to, "x", "x", "x"), "mail_1")
        assert mailbox.taken == []
    with pytest.raises((aiosmtplib.SMTPException, OSError)):
        await server.send(MAIL, "mail_1")  # nobody is there any more
