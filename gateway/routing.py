"""Which service answers a request: the one that declares its path (services/chassis/declared.py).

The services are asked at the start and again after a while, for one may have been replaced by a newer one; sooner when
a path is unknown, or when one of them has never answered. What a service has declared stands while it is down.

Where one service has all paths below the first two segments, two look-ups say which, and that service answers what it
does not know. Where services share the segment, the path is compared with what they declare. Until all of them have
been heard nobody knows who shares what: then only what is declared is forwarded.
"""

import asyncio
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import structlog
from aiohttp import ClientSession, ClientTimeout, web
from pydantic import ValidationError

from gateway.identity import Caller, Identity
from services.chassis.declared import PATH, Declarations, Declared
from services.chassis.errors import NotFound, Unavailable
from services.chassis.http import ACTOR_HEADER

log = structlog.get_logger()

ASKED_AGAIN = 30.0  # seconds after which a service may have been replaced by a newer one
UNKNOWN_AGAIN = 2.0  # the same when a path is asked for that nobody has declared
TRIED_AGAIN = 0.5  # while a service has never answered
ANSWER_SECONDS = 10.0
ASKING = Caller("gateway", "gateway")  # services answer nothing unsigned; no user has such an id

PARAMETER = re.compile(r"\{\w+(?::((?:[^{}]|\{[^{}]*\})*))?\}")
# The paths, as they are sent, that pass without credentials: plain words, nothing that could mean another path.
PLAIN = r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+"
PLAIN_WORD = r"[A-Za-z0-9_]+"


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request goes: the service, whether anybody may ask, and the path without ids, for the metrics."""

    service: str
    public: bool
    label: str


@dataclass(frozen=True, slots=True)
class Node:
    """What is declared below a part of the path."""

    below: Mapping[str, "Node | Way"]
    below_parameter: "Node | Way | None"
    ways: Mapping[str, Way]  # by method, of the operations whose path ends here
    end: Way | None  # of another method
    unknown: Way | None  # of what nobody declares below


@dataclass(frozen=True, slots=True)
class Table:
    """What all services together declare."""

    root: Node
    public: Mapping[str, Sequence[tuple[str, re.Pattern[str], Way]]]  # methods and paths by first segment
    files: re.Pattern[str]

    def way(self, method: str, path: str, raw_path: str) -> Way | None:
        """The way of a path, decoded and as it was sent; None when nobody declares it."""
        parts = iter(path.removesuffix("/").split("/"))
        next(parts)
        node = self.root
        for part in parts:
            if node is self.root and part in self.public and (open_to_all := self._public_way(part, method, raw_path)):
                return open_to_all
            found = node.below.get(part) or (node.below_parameter if part else None)
            if found is None:
                return node.unknown
            if isinstance(found, Way):
                return found
            node = found
        return node.ways.get(method, node.end)

    def _public_way(self, segment: str, method: str, raw_path: str) -> Way | None:
        for of, pattern, way in self.public[segment]:
            if of == method and pattern.fullmatch(raw_path):
                return way
        return None

    def takes_files(self, path: str) -> bool:
        """Whether the bodies of a decoded path are files."""
        return self.files.fullmatch(path) is not None


Rows = Sequence[tuple[str, Declared, Sequence[str]]]  # (service, operation, the parts of its path that are left)


def table(declared: Mapping[str, Iterable[Declared]], *, complete: bool) -> Table:
    """`complete`, when all services have been heard. Raises re.error for a path that is no template."""
    rows = [(service, each) for service, operations in sorted(declared.items()) for each in operations]
    public: dict[str, list[tuple[str, re.Pattern[str], Way]]] = defaultdict(list)
    for service, each in rows:
        if each.public:
            pattern, way = pattern_of(each.path, PLAIN_WORD, rf"(?={PLAIN}\Z)"), Way(service, True, each.path)
            public[each.path.split("/")[1]] += [(method, pattern, way) for method in methods(each)]
    hidden = [(service, each, each.path.split("/")[1:]) for service, each in rows if not each.public]
    root = tree(hidden, (), complete)
    assert isinstance(root, Node)
    files = "|".join(pattern_of(each.path, "[^/]+").pattern for _, each in rows if each.files)
    return Table(root, dict(public), re.compile(files or r"(?!)"))


def methods(operation: Declared) -> tuple[str, ...]:
    return ("GET", "HEAD") if operation.method == "GET" else (operation.method,)


def pattern_of(path: str, word: str, before: str = "") -> re.Pattern[str]:
    """The template as a regular expression; a parameter without one of its own is a `word`."""
    pieces, last = [before], 0
    for parameter in PARAMETER.finditer(path):
        pieces += [re.escape(path[last : parameter.start()]), f"(?:{parameter[1] or word})"]
        last = parameter.end()
    return re.compile("".join([*pieces, re.escape(path[last:])]))


def tree(rows: Rows, above: tuple[str, ...], complete: bool) -> Node | Way:
    """What is declared below the parts `above`."""
    label = "".join(f"/{part}" for part in above[:2])
    shared = len(above) < 2 or len({service for service, *_ in rows}) > 1
    if complete and not shared:
        return Way(rows[0][0], False, label)
    ways: dict[str, Way] = {}
    literal: dict[str, list[tuple[str, Declared, Sequence[str]]]] = defaultdict(list)
    parameter: list[tuple[str, Declared, Sequence[str]]] = []
    for service, each, parts in rows:
        if not parts:
            for method in methods(each):
                ways.setdefault(method, Way(service, False, label))
        elif parts[0].startswith("{"):
            parameter.append((service, each, parts[1:]))
        else:
            literal[parts[0]].append((service, each, parts[1:]))
    unknown = None
    if complete and len(above) >= 2:  # the segment is its who has the shortest path in it
        unknown = Way(min(rows, key=lambda row: len(row[2]))[0], False, label)
    return Node(
        # A word can also be the value of a parameter in the same place.
        below={part: tree([*own, *parameter], (*above, part), complete) for part, own in literal.items()},
        below_parameter=tree(parameter, (*above, "{}"), complete) if parameter else None,
        ways=ways,
        end=next(iter(ways.values()), unknown),
        unknown=unknown,
    )


@dataclass
class Routing:
    """What the services have declared to one gateway process."""

    targets: Mapping[str, str]
    upstream: ClientSession
    identity: Identity
    table: Table = field(default_factory=lambda: table({}, complete=False))
    _declared: dict[str, list[Declared]] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _silent: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[str]:
        """The services that have never declared anything."""
        return [name for name in self.targets if name not in self._declared]

    def way(self, request: web.Request) -> Way | None:
        """Where a request goes, as far as is known."""
        return self.table.way(request.method, request.path, request.rel_url.raw_path)

    async def new_way(self, request: web.Request) -> Way:
        """Where a request goes that was unknown up to now. Raises NotFound, or Unavailable when it may be known to a
        service that was never heard."""
        self._ask_those_due(UNKNOWN_AGAIN, TRIED_AGAIN)
        while (way := self.way(request)) is None and self._asking:
            await asyncio.wait(self._asking.values(), return_when=asyncio.FIRST_COMPLETED)
        if way is not None:
            return way
        if missing := self.missing:
            raise Unavailable(
                f"Nobody is known to answer {request.method} {request.path}, and {' and '.join(missing)} could not be "
                "reached since the gateway was started. See that they run and try again in a few seconds."
            )
        raise NotFound(f"There is no {request.method} {request.path}.")

    async def heard(self, service: str) -> bool:
        """Whether the service has declared something; it is asked if not."""
        if service not in self._declared:
            await asyncio.wait([self._ask(service)])
        return service in self._declared

    async def run(self) -> None:
        """Keep up with the services until cancelled."""
        try:
            while True:
                self._ask_those_due(ASKED_AGAIN, 0.0)
                await asyncio.sleep(TRIED_AGAIN if self.missing else ASKED_AGAIN)
        finally:
            for asking in self._asking.values():
                asking.cancel()

    def _ask_those_due(self, heard: float, unheard: float) -> None:
        """Those that were asked last as many seconds ago, or longer, if they have declared something or have not."""
        now = time.monotonic()
        for name in self.targets:
            if now - self._asked.get(name, -math.inf) >= (heard if name in self._declared else unheard):
                self._ask(name)

    def _ask(self, service: str) -> asyncio.Task[None]:
        """A service that does not answer holds up none of the others, and is asked once at a time."""
        if service not in self._asking:
            self._asking[service] = asyncio.create_task(self._learn(service))
        return self._asking[service]

    async def _learn(self, service: str) -> None:
        try:
            declared = await self._declarations(service)
        finally:
            self._asked[service] = time.monotonic()
            del self._asking[service]
        if declared is not None and declared != self._declared.get(service):
            self._declared[service] = declared
            self.table = table(self._declared, complete=not self.missing)

    async def _declarations(self, service: str) -> list[Declared] | None:
        """What the service declares; None when it says nothing that makes sense."""
        headers = {ACTOR_HEADER: self.identity.actor_token(ASKING)}
        try:
            async with self.upstream.get(
                self.targets[service] + PATH, headers=headers, timeout=ClientTimeout(total=ANSWER_SECONDS)
            ) as answer:
                answer.raise_for_status()
                found = Declarations.model_validate_json(await answer.read()).operations
            table({service: found}, complete=True)
        except (aiohttp.ClientError, OSError, ValidationError, re.error) as error:
            if service not in self._silent:
                log.warning("no operations", service=service, reason=str(error))
            self._silent.add(service)
            return None
        if service in self._silent or service not in self._declared:
            log.info("operations", service=service, count=len(found))
        self._silent.discard(service)
        return found
