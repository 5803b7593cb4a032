"""Notification providers: who tells customers what happened.

A provider is found under its id through the entry points of the group `mercer.notification_providers` (an object of
this protocol, or something that makes one when called). `smtp` is in the box, installed where a mail server is set
(chassis/mail.py). Every installed provider is asked for every event that it names.

A provider is called outside of any transaction, and may be called again with the same notification id after a crash or
when it could not send: it should send once for an id if it can. It raises `Rejected` when it never will, and anything
else when it may later. What it returns is kept with the notification.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from services.chassis import plugins
from services.chassis.mail import Mail, Smtp, smtp
from services.orders.notifications.mails import NOTICES

GROUP = "mercer.notification_providers"
Data = dict[str, Any]


@dataclass(frozen=True)
class Notification:
    """What a customer is to hear: `data` are the facts, `mail` one way to say it."""

    id: str
    event_name: str
    to: str
    data: Mapping[str, Any]
    mail: Mail


class Provider(Protocol):
    @property
    def events(self) -> Collection[str]:
        """The names of the events that it notifies of, out of NOTICES."""
        ...

    async def send(self, notification: Notification) -> Data:
        """Send it, and return what is to be kept with it."""
        ...


@dataclass(frozen=True)
class ByMail:
    """Mails over SMTP; the notification's id becomes the Message-ID."""

    server: Smtp
    events: Collection[str] = frozenset(NOTICES)

    async def send(self, notification: Notification) -> Data:
        await self.server.send(notification.mail, notification.id)
        return {"subject": notification.mail.subject}


@cache
def providers() -> dict[str, Provider]:
    """The providers that are installed, by id; `smtp` is one of them where a mail server is set."""
    server = smtp()
    return ({"smtp": ByMail(server)} if server else {}) | plugins.installed(GROUP)
