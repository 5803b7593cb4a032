"""Mails over SMTP. Which server takes them is said by the environment; without one there is none.

    MERCER_SMTP_URL = smtp://user:password@mail.example.com:587?from=shop@example.com      (STARTTLS)
                      smtps://...:465                                                     (TLS from the start)
                      smtp://localhost:25?from=...&tls=none                               (neither: the same machine)

or, one by one: MERCER_SMTP_HOST, _PORT, _USER, _PASSWORD, _FROM, _TLS (starttls, tls or none).
"""

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from functools import cache
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.deliveries import Rejected

Tls = Literal["starttls", "tls", "none"]
PORTS: dict[Tls, int] = {"starttls": 587, "tls": 465, "none": 25}
SEND_SECONDS = 30.0
# What a server says for good about a recipient or a message; about a login it may think differently tomorrow.
FOR_GOOD = range(500, 600)


class MailSettings(BaseSettings):
    """The SMTP server of this installation, as the environment has it."""

    model_config = SettingsConfigDict(env_prefix="MERCER_SMTP_", extra="ignore", env_ignore_empty=True)

    url: SecretStr | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    sender: str | None = Field(default=None, validation_alias="MERCER_SMTP_FROM")
    tls: Tls | None = None

    @model_validator(mode="after")
    def take_url_apart(self) -> "MailSettings":
        """What stands in the URL, where it was not given by itself. Raises ValueError for another kind of URL."""
        if self.url is not None:
            parts = urlsplit(self.url.get_secret_value())
            options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname or options.keys() - {"from", "tls"}:
                raise ValueError("must look like smtp://user:password@host:587?from=shop@example.com")
            tls = "tls" if parts.scheme == "smtps" else options.get("tls", "starttls")
            if tls not in PORTS:
                raise ValueError("tls must be starttls, tls or none")
            self.host, self.port, self.tls = self.host or parts.hostname, self.port or parts.port, self.tls or tls
            self.user = self.user or (unquote(parts.username) if parts.username else None)
            self.password = self.password or (SecretStr(unquote(parts.password)) if parts.password else None)
            self.sender = self.sender or options.get("from")
        if self.host and not self.sender:
            raise ValueError("MERCER_SMTP_FROM (or ?from= in the URL) is needed: who the mails come from")
        return self


@dataclass(frozen=True)
class Mail:
    """A mail to one person, as text and as HTML."""

    to: str
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Smtp:
    """The server that takes the mails of this installation, and the address that they come from."""

    host: str
    port: int
    sender: str
    tls: Tls = "starttls"
    user: str | None = None
    password: SecretStr | None = None

    def message(self, mail: Mail, id_: str) -> EmailMessage:
        """The message; the same `id_` makes the same Message-ID, by which mailboxes know a mail that comes twice.

        Raises Rejected for what is no header, such as an address of two lines."""
        message = EmailMessage()
        try:
            message["From"], message["To"], message["Subject"] = self.sender, mail.to, mail.subject
        except (ValueError, IndexError) as error:
            raise Rejected(f"This cannot be addressed: {error}") from None
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{id_}@{self.sender.rpartition('@')[2].rstrip('>')}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message

    async def send(self, mail: Mail, id_: str) -> None:
        """Returns when the server has taken it. Raises Rejected when it never will."""
        message = self.message(mail, id_)
        try:
            await aiosmtplib.send(
                message,
                hostname=self.host,
                port=self.port,
                username=self.user,
                password=self.password.get_secret_value() if self.password else None,
                use_tls=self.tls == "tls",
                start_tls=self.tls == "starttls",
                timeout=SEND_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(refused.code in FOR_GOOD for refused in error.recipients):
                raise Rejected(f"The server refuses {mail.to}.") from error
            raise
        except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPRecipientRefused) as error:
            if error.code in FOR_GOOD:
                raise Rejected(f"The server refuses the mail: {error.code} {error.message}") from error
            raise


@cache
def smtp() -> Smtp | None:
    """The server of this installation, or None. Raises ValueError for settings that make no sense."""
    settings = MailSettings()
    if settings.host is None or settings.sender is None:
        return None
    tls: Tls = settings.tls or "starttls"
    return Smtp(settings.host, settings.port or PORTS[tls], settings.sender, tls, settings.user, settings.password)
