"""E-mail addresses, and the mails with a token in them: invites, and new passwords.

Whoever has such a token is that user. With a mail server set (services/chassis/mail.py) the token is mailed from here
and nowhere else; without one, the event carries it, as a subscriber has to deliver it then. It waits in a row until the
server has taken it, and is gone with the row.
"""

import re
from html import escape
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import structlog
from aiohttp import web
from pydantic import AfterValidator

from services.chassis.db import Db
from services.chassis.deliveries import Courier, deliver, run_deliveries
from services.chassis.ids import new_id
from services.chassis.mail import Mail, smtp

log = structlog.get_logger()

# Dots only between other characters, and a domain that ends in a word: what the recorded API takes, but for quoted
# local parts.
WORD = r"""[^\s@.,:;()<>\[\]\\"]+"""
LABEL = r"[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff-]{0,61}[A-Za-z0-9\u00a1-\uffff])?"
LAST = r"(?:[A-Za-z\u00a1-\uffff]{2,63}|xn--[A-Za-z0-9-]{2,59})"
ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){WORD}(?:\.{WORD})*@(?:{LABEL}\.)+{LAST}")
MAX_LENGTH = 254


def check_email(value: str) -> str:
    """Raises ValueError for what is no address."""
    # Not printable: control characters, and halves of surrogate pairs, which cannot be stored.
    if len(value) > MAX_LENGTH or not value.isprintable() or not ADDRESS.fullmatch(value):
        raise ValueError("must be an e-mail address")
    return value


Email = Annotated[str, AfterValidator(check_email)]


# Mails

Kind = Literal["invite", "reset"]
# Subject, text, the page of the admin front end.
TEXTS: dict[str, tuple[str, str, str]] = {
    "invite": ("You are invited", "You are invited to this shop's admin. The invite is good for seven days.", "invite"),
    "reset": (
        "A new password",
        "Somebody, most likely you, asked for a new password. It can be set within 15 minutes; otherwise nothing "
        "changes.",
        "reset-password",
    ),
}


async def send_token(db: Db, kind: Kind, to: str, token: str, admin_url: str | None) -> dict[str, str]:
    """Mail the token once the transaction is committed. Returns what the event says: nothing then, and the token where
    this installation has no mail server."""
    if smtp() is None:
        return {"token": token}
    await deliver(db, {new_id("mail"): {"kind": kind, "to": to, "token": token, "admin_url": admin_url}})
    return {}


def mail_of(kind: str, to: str, token: str, admin_url: str | None) -> Mail:
    """With a link where the front end's place is known, else with the bare token."""
    subject, text, page = TEXTS[kind]
    if admin_url is None:
        return Mail(to, subject, f"{text}\n\nYour token: {token}\n", f"<p>{text}</p><p>Your token: {escape(token)}</p>")
    link = f"{admin_url.rstrip('/')}/{page}?{urlencode({'token': token})}"
    return Mail(to, subject, f"{text}\n\n{link}\n", f'<p>{text}</p><p><a href="{escape(link)}">{escape(link)}</a></p>')


async def send(app: web.Application, id_: str, body: dict[str, Any]) -> None:
    """Raises Rejected when the server never will take it, RuntimeError while there is none any more."""
    server = smtp()
    if server is None:
        raise RuntimeError("there is no mail server any more: MERCER_SMTP_URL")
    await server.send(mail_of(body["kind"], body["to"], body["token"], body["admin_url"]), id_)


async def failed(app: web.Application, id_: str, reason: str) -> None:
    log.error("mail given up", id=id_, reason=reason)


async def run_mails(app: web.Application) -> None:
    """Send what is written, until cancelled."""
    await run_deliveries(app, Courier(send, failed))
