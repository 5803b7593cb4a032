"""What the handlers of one gateway process share, and what they are told about a request."""

from dataclasses import dataclass

from aiohttp import ClientSession, web

from gateway.attempts import Attempts
from gateway.identity import Caller, Identity
from gateway.passwords import Passwords
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Parts:
    """Made at the start, closed at the end. One look-up per request finds them all."""

    config: GatewaySettings
    targets: dict[str, str]  # service -> base URL
    identity: Identity
    passwords: Passwords
    attempts: Attempts
    upstream: ClientSession


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
