"""Requests made up from the served document, and what every answer is held against.

No answer is a 5xx, every answer has a status, a content type and a body as the document declares them. Half of the
requests are as the document allows them, half break it somewhere. Ids are mostly those of things that exist: every
answer is searched for them. What is wrong is collected, not raised, with a curl command that repeats it.
"""

import contextlib
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
KNOWN_IDS = 0.75  # how often an id is one that exists
MOST_IDS = 300
SECONDS = 30
# What a segment of a path or a property calls things, where it is not their name in answers.
CALLED = {"line_item": "item", "location": "stock_location", "parent_category": "product_category"}


CREDENTIALS = ("authorization", "x-medusa-access-token", "access-token", "cookie")


def is_text(value: Any) -> bool:
    """Whether a header can be sent: the server answers nothing else for what is no HTTP."""
    return isinstance(value, str) and re.fullmatch(r"[\x20-\x7e]*", value) is not None


@dataclass
class Report:
    """What a run saw."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    succeeded: set[str] = field(default_factory=set)  # operations with a 2xx
    failures: dict[str, str] = field(default_factory=dict)  # what is wrong -> curl

    def add(self, other: "Report") -> None:
        self.requests += other.requests
        self.statuses += other.statuses
        self.operations |= other.operations
        self.succeeded |= other.succeeded
        self.failures |= other.failures


class Ids:
    """Ids of things that exist, by what they are."""

    def __init__(self, randomness: random.Random, never: Iterable[str]) -> None:
        self._known: dict[str, list[str]] = defaultdict(list)
        self._random, self._never = randomness, frozenset(never)

    def learn(self, value: Any, name: str = "") -> None:
        """All objects in an answer that have an id, under the key that they stand under."""
        if isinstance(value, list):
            for item in value[:20]:
                self.learn(item, name)
        elif isinstance(value, dict):
            id_ = value.get("id")
            if isinstance(id_, str) and name and id_ not in self._never:
                self._keep(singular(name), id_)
            for key, inner in value.items():
                self.learn(inner, key)

    def _keep(self, name: str, id_: str) -> None:
        known = self._known[name]
        if id_ not in known:
            known.append(id_)
            if len(known) > MOST_IDS:
                known.pop(self._random.randrange(MOST_IDS))

    def of(self, name: str, otherwise: Any) -> Any:
        """One that exists, mostly."""
        name = singular(name)
        known = self._known.get(name) or self._known.get(CALLED.get(name, ""))
        return self._random.choice(known) if known and self._random.random() < KNOWN_IDS else otherwise

    def fill(self, value: Any, name: str = "") -> Any:
        """A body with ids of things that exist."""
        if isinstance(value, dict):
            return {
                key: self.of(key[:-3] if key != "id" else name, inner)
                if isinstance(inner, str) and (key == "id" or key.endswith("_id"))
                else self.fill(inner, key)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.fill(item, name) for item in value]
        return value


def singular(name: str) -> str:
    """`customer-groups` -> `customer_group`."""
    name = name.replace("-", "_")
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def path_names(path: str) -> dict[str, str]:
    """The parameters of a path, each with what its id is of: the segment before it."""
    return {name: segment for segment, name in re.findall(r"([^/{}]+)/\{(\w+)\}", path)}


@dataclass
class Fuzzer:
    """A run against one server, by one thread."""

    base: str
    token: str
    document: dict[str, Any]
    seed: int = 0
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.token}"
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # no session of a sign-in
        own = self.session.get(f"{self.base}/admin/auth", timeout=SECONDS).json()["user"]["id"]
        self.random = random.Random(self.seed)
        self.ids = Ids(self.random, [own])
        self.schema = schemathesis.openapi.from_dict(self.document)

    def operations(self) -> list[Any]:
        return [result.ok() for result in self.schema.get_all_operations() if isinstance(result, Ok)]

    def look_around(self) -> None:
        """Learn ids from every list."""
        for operation in self.operations():
            if operation.method.upper() == "GET" and "{" not in operation.path:
                self.note(self.session.get(self.base + operation.path, timeout=SECONDS))

    def note(self, response: requests.Response) -> None:
        if response.headers.get("Content-Type", "").startswith("application/json"):
            self.ids.learn(response.json())

    def fuzz(self, operation: Any, examples: int, mode: GenerationMode) -> None:
        """This many requests of one operation."""

        @seed(self.seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case: Any) -> None:
            self.send(case)

        try:
            run()
        except (Unsatisfiable, InvalidArgument):  # there is nothing that could be wrong about it
            if mode is GenerationMode.NEGATIVE:
                self.fuzz(operation, examples, GenerationMode.POSITIVE)

    def send(self, case: Any) -> None:
        """One request, and the checks of its answer."""
        label = f"{case.method.upper()} {case.path}"
        for name, segment in path_names(case.path).items():
            if case.path_parameters and isinstance(case.path_parameters.get(name), str):
                case.path_parameters[name] = self.ids.of(segment, case.path_parameters[name])
        case.query = self.ids.fill(case.query) if isinstance(case.query, dict) else case.query
        case.body = self.ids.fill(case.body, label) if isinstance(case.body, dict) else case.body
        # Who asks is not what is tried here.
        case.cookies = {}
        case.headers = {n: v for n, v in (case.headers or {}).items() if n.lower() not in CREDENTIALS and is_text(v)}
        started = time.monotonic()
        try:
            response = case.call(base_url=self.base, session=self.session, timeout=SECONDS)
        except requests.Timeout:
            self.failed(label, f"no answer within {time.monotonic() - started:.0f} s", case)
            return
        except (requests.RequestException, ValueError, UnicodeError):
            return  # this is no HTTP request
        self.report.requests += 1
        self.report.operations.add(label)
        self.report.statuses[response.status_code] += 1
        if response.status_code < 300:
            self.report.succeeded.add(label)
        with contextlib.suppress(ValueError):
            self.ids.learn(response.json())
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.failed(label, self.words(failure), case)
        except Failure as failure:
            self.failed(label, self.words(failure), case)

    def words(self, failure: Any) -> str:
        """The failure without what differs from one request to the next."""
        said = f"{failure.title}: {failure.message}" if isinstance(failure, Failure) else repr(failure)
        return re.sub(r"\b[a-z]+_01[0-9A-Z]{24}\b", "ID", said)[:600]

    def failed(self, label: str, why: str, case: Any) -> None:
        self.report.failures.setdefault(f"{label}: {why}", case.as_curl_command())


def served(base: str) -> dict[str, Any]:
    """The document. A server that has just started makes it first."""
    document: dict[str, Any] = requests.get(f"{base}/openapi.json", timeout=300).json()
    return document


def fuzz(
    base: str,
    token: str,
    document: dict[str, Any],
    *,
    examples: int,
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Report:
    """`examples` requests of every operation, or of those of one share (number, of how many)."""
    fuzzer = Fuzzer(base, token, document, seed)
    fuzzer.look_around()
    operations = fuzzer.operations()[share[0] :: share[1]]
    # What makes things first, what deletes them last.
    operations.sort(key=lambda o: ({"POST": 0, "GET": 1, "DELETE": 2}.get(o.method.upper(), 1), o.path.count("/")))
    for operation in operations:
        fuzzer.fuzz(operation, max(1, examples // 2), GenerationMode.POSITIVE)
        fuzzer.fuzz(operation, max(1, examples // 2), GenerationMode.NEGATIVE)
    return fuzzer.report


def summary(report: Report) -> str:
    """For people."""
    lines = [
        f"{report.requests} requests of {len(report.operations)} operations; {len(report.succeeded)} of them succeeded",
        "statuses: " + json.dumps(dict(sorted(report.statuses.items()))),
        f"{len(report.failures)} things wrong",
    ]
    return "\n".join([*lines, *(f"\n{why}\n  {curl}" for why, curl in sorted(report.failures.items()))])
