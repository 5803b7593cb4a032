"""How often one may try: guesses at passwords, and mails sent to somebody's address.

Each try takes a token from some buckets, and gets it back when it was right; buckets fill again at a steady rate. So
nobody is ever locked out, only slowed down:

* one account from one address: 10 wrong passwords at once, then one every 6 seconds;
* one address: 100 at once, then one every 0.6 seconds (an office behind one address);
* one account from anywhere: 50 at once, then one every 5 seconds. An address from which somebody signed in to the
  account before does not count here, so that an attack from elsewhere never keeps its owner out.

Buckets are in memory: every gateway process counts for itself, and a restart forgets. That is enough against guessing
(2 passwords of 20 ms each at a time are the other limit), and a flood of guesses does not become a flood of writes.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp import web

from gateway.recent import Recent
from services.chassis.errors import ApiError

MAX_BUCKETS = 50_000
DAYS_30 = 30 * 24 * 60 * 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and one more every `seconds`."""

    burst: int
    seconds: float


PER_ACCOUNT_AND_ADDRESS = Rate(10, 6.0)
PER_ADDRESS = Rate(100, 0.6)
PER_ACCOUNT = Rate(50, 5.0)
RESETS_PER_ACCOUNT = Rate(5, 120.0)
RESETS_PER_ADDRESS = Rate(50, 10.0)

Key = tuple[str, ...]
Take = tuple[Key, Rate]


class TooManyAttempts(ApiError):
    """429: right or wrong, it was not looked at."""

    status, type, code = 429, "too_many_requests", None

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(f"Too many attempts; try again in {self.seconds} s.")


class Attempts:
    """The buckets of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[Key, tuple[float, float]] = {}  # key -> (tokens, when that was so)
        self._familiar: Recent[tuple[str, str], bool] = Recent(MAX_BUCKETS, clock)

    def begin_sign_in(self, email: str, address: str) -> list[Take]:
        """Count a password as wrong until `right` takes that back. Raises TooManyAttempts."""
        takes = [(("pair", email, address), PER_ACCOUNT_AND_ADDRESS), (("address", address), PER_ADDRESS)]
        if not self._familiar.get((email, address)):
            takes.append((("account", email), PER_ACCOUNT))
        self.take(takes)
        return takes

    def right(self, email: str, address: str, takes: Sequence[Take]) -> None:
        """The password was right: it costs nothing, and the address is known from now on."""
        self._familiar.put((email, address), True, DAYS_30)
        for key, rate in takes:
            self._set(key, min(rate.burst, self._tokens(key, rate) + 1))

    def take(self, takes: Sequence[Take]) -> None:
        """One from each bucket, or none and TooManyAttempts."""
        left = [(key, rate, self._tokens(key, rate)) for key, rate in takes]
        wait = max((1 - tokens) * rate.seconds for _, rate, tokens in left)
        if wait > 0:
            raise TooManyAttempts(wait)
        for key, _, tokens in left:
            self._set(key, tokens - 1)

    def _tokens(self, key: Key, rate: Rate) -> float:
        tokens, since = self._buckets.get(key, (float(rate.burst), self._clock()))
        return min(rate.burst, tokens + (self._clock() - since) / rate.seconds)

    def _set(self, key: Key, tokens: float) -> None:
        self._buckets.pop(key, None)
        if len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens, self._clock())


def client_address(request: web.Request, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Where the request comes from: the peer, or what trusted proxies say of it. Of IPv6, the network."""
    hops = [request.remote or ""]
    if trusted:
        hops += [part.strip() for part in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(","))]
    address = ""
    for hop in hops:
        try:
            parsed = ip_address(hop)
        except ValueError:
            break
        address = hop if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))
        if not any(parsed in network for network in trusted):
            break
    return address
