"""What the handlers of one gateway process share, and what they are told about a request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import ClientSession, web

from gateway.attempts import Attempts
from gateway.identity import Caller, Identity
from gateway.passwords import Passwords
from gateway.routing import Routing, Way
from gateway.settings import GatewaySettings
from gateway.upstream import upstream_session
from services.chassis.keys import POOL, SETTINGS


@dataclass(frozen=True, slots=True)
class Parts:
    """Made at the start, closed at the end. One look-up per request finds them all."""

    config: GatewaySettings
    targets: dict[str, str]  # service -> base URL
    identity: Identity
    passwords: Passwords
    attempts: Attempts
    upstream: ClientSession
    routing: Routing


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
WAY: web.RequestKey[Way] = web.RequestKey("way", Way)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


async def open_parts(app: web.Application) -> AsyncIterator[None]:
    """For the service's `beside`."""
    settings = app[SETTINGS]
    assert isinstance(settings, GatewaySettings), "the application was made with another service's settings"
    async with upstream_session(settings) as upstream:
        targets = settings.urls()
        identity = Identity(app[POOL], settings.session_secret.get_secret_value(), settings.secret.get_secret_value())
        app[PARTS] = parts = Parts(
            config=settings,
            targets=targets,
            identity=identity,
            passwords=Passwords(),
            attempts=Attempts(),
            upstream=upstream,
            routing=Routing(targets, upstream, identity),
        )
        yield
        parts.passwords.close()


async def learn_routes(app: web.Application) -> None:
    """Keep up with what the services declare, until cancelled."""
    await app[PARTS].routing.run()
