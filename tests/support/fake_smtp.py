"""A mail server of the tests: it keeps what it takes, and refuses what a test has it refuse."""

import asyncio
import email
import email.policy
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.chassis import deliveries, mail
from services.orders.notifications import providers as notification_providers
from tests.support.waiting import until


@dataclass
class Mailbox:
    """What the server took. `answers` are given to the next mails to an address instead, `refused` are addresses it
    never takes. All is kept by address: mails of what went before may still come."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)
    logins: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None  # the answer to a mail waits for it
    encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            self.tried[address] += 1
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        (address,) = envelope.rcpt_tos
        self.tried[address] += 1
        if answers := self.answers.get(address):
            return answers.pop(0)
        assert isinstance(envelope.content, bytes)
        message: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.taken.append(message)
        self.encrypted.append(session.ssl is not None)
        if self.hold:
            await self.hold.wait()
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """The mails to somebody, as they came."""
        return [message for message in self.taken if message["To"] == address]

    async def comes(self, address: str, subject: str) -> EmailMessage:
        """The mail to somebody whose subject begins so."""

        async def find() -> EmailMessage | None:
            return next((m for m in self.to(address) if m["Subject"].startswith(subject)), None)

        message: EmailMessage = await until(find)
        return message


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """One of the two bodies of a mail."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Mailbox]:
    """A mail server on a free port of this machine."""
    mailbox = Mailbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mailbox, hostname="localhost", **options), "127.0.0.1", 0
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()


@asynccontextmanager
async def installed(monkeypatch: pytest.MonkeyPatch, url: str, **options: Any) -> AsyncIterator[Mailbox]:
    """A mail server that this installation sends by. `{port}` stands in the URL."""
    async with listening(**options) as mailbox:
        with monkeypatch.context() as patch:
            patch.setenv("MERCER_SMTP_URL", url.replace("{port}", str(mailbox.port)))
            patch.setattr(deliveries, "FIRST_PAUSE", 0.05)
            patch.setattr(deliveries, "POLL_SECONDS", 0.02)
            forget()
            yield mailbox
        forget()


def forget() -> None:
    """What was read from the environment is read again."""
    mail.smtp.cache_clear()
    notification_providers.providers.cache_clear()


def self_signed(folder: Any) -> tuple[ssl.SSLContext, str]:
    """A certificate of 127.0.0.1: for the server, and as a file that a client trusts."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, certificate
