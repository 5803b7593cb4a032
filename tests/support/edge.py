"""The gateway by itself, in front of four services that only note what reaches them."""

import asyncio
import json
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web
from multidict import CIMultiDict
from pydantic import SecretStr

from gateway.docs import whole
from gateway.service import OPERATIONS, SERVICE
from gateway.settings import GatewaySettings
from services.chassis.declared import PATH, Declarations
from services.chassis.keys import POOL
from services.chassis.openapi import part_of
from services.chassis.service import make_app, prepare
from tests.support.answers import Answers
from tests.support.stack import EMAIL, PASSWORD, SECRET
from tests.support.waiting import in_time

SESSION_SECRET = "another secret of the tests, also long enough"
Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it arrived at a service."""

    service: str
    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass
class FakeService:
    """A service that echoes, or does what a test put into `behaviours` for a path."""

    name: str
    url: str = ""
    declared: Declarations = field(default_factory=lambda: Declarations(operations=[]))
    seen: list[Seen] = field(default_factory=list)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if behaviour := self.behaviours.get(request.path):
            return await behaviour(request)
        if request.path == PATH:
            return web.Response(body=self.declared.model_dump_json(), content_type="application/json")
        body = await request.read()
        self.seen.append(Seen(self.name, request.method, request.raw_path, request.headers.copy(), body))
        return web.json_response({"service": self.name, "path": request.raw_path, "body": body.decode()})

    def last(self, path: str) -> Seen:
        """The only request that came for `path`."""
        (request,) = [seen for seen in self.seen if seen.path == path]
        return request


async def listen(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve `app` on a free port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    assert site._server is not None
    address = site._server.sockets[0].getsockname()  # type: ignore[attr-defined]
    return runner, f"http://{address[0]}:{address[1]}"


@dataclass
class Answer:
    """What a client got, its body parsed where it is JSON."""

    status: int
    headers: Any
    body: Any


@dataclass
class Edge:
    """A running gateway, and a client that is signed in to it unless asked to be anonymous."""

    app: web.Application
    url: str
    session: aiohttp.ClientSession
    token: str = ""
    answers: Answers | None = None  # of the gateway's own operations

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        data: Any = None,
        query: Any = None,
    ) -> Answer:
        sent = {} if anonymous else {"Authorization": f"Bearer {self.token}"}
        sent |= headers or {}
        async with self.session.request(
            method, self.url + path, json=body, data=data, params=query, headers=sent, allow_redirects=False
        ) as answer:
            raw = await answer.read()
            is_json = answer.content_type == "application/json" and "Content-Encoding" not in answer.headers
            found = json.loads(raw) if is_json and raw else raw
            if self.answers is not None:
                wrong = self.answers.wrong(method, path, answer.status, answer.content_type, found)
                assert wrong is None, f"{method} {path}: the answer is not as it is declared: {wrong}"
            return Answer(answer.status, answer.headers, found)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("POST", path, body, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await self.request("DELETE", path, **more)

    async def make_user(self, uid: str, **more: Any) -> dict[str, Any]:
        """A new user `<uid>@example.com` whose password is `secret`."""
        answer = await self.post("/admin/users", {"email": f"{uid}@example.com", "password": "secret"} | more)
        assert answer.status == 200, answer.body
        user: dict[str, Any] = answer.body["user"]
        return user

    async def sign_in(self, email: str, password: str) -> str:
        """Signs in, and returns the bearer token."""
        answer = await self.post("/admin/auth/token", {"email": email, "password": password}, anonymous=True)
        assert answer.status == 200, answer.body
        token: str = answer.body["access_token"]
        return token

    @property
    def pool(self) -> asyncpg.Pool:

        return self.app[POOL]


Start = Callable[..., Awaitable[Edge]]
OWN: list[Answers] = []


async def own_answers(app: web.Application) -> Answers:
    """What the gateway's operations may answer. Made once."""
    if not OWN:
        part = await part_of("gateway", OPERATIONS, SERVICE.documents, SERVICE.glossary, app[POOL])
        OWN.append(Answers(whole([part], [])))
    return OWN[0]


@asynccontextmanager
async def serving(
    database: str,
    rabbitmq_url: str,
    namespace: str,
    services: dict[str, FakeService],
    session: aiohttp.ClientSession,
    **settings: Any,
) -> AsyncIterator[Edge]:
    """A gateway on this database, with settings of its own."""
    chosen = GatewaySettings(
        **{
            "port": 0,
            "database_url": SecretStr(database),
            "rabbitmq_url": SecretStr(rabbitmq_url),
            "namespace": namespace,
            "secret": SecretStr(SECRET),
            "session_secret": SecretStr(SESSION_SECRET),
            "pool_size": 4,
            **{f"{name}_url": service.url for name, service in services.items()},
            "admin_email": EMAIL,
            "admin_password": SecretStr(PASSWORD),
            **settings,
        }
    )
    await prepare(SERVICE, chosen)
    app = make_app(SERVICE, chosen)
    runner, url = await listen(app)
    try:
        edge = Edge(app, url, session, answers=await own_answers(app))
        edge.token = await edge.sign_in(EMAIL, PASSWORD)
        yield edge
    finally:
        await runner.cleanup()


async def raw(url: str, sent: bytes) -> bytes:
    """What the server says to these bytes, until it closes the connection."""
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    try:
        async with in_time():
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def listed(edge: Edge, email: str) -> dict[str, Any]:
    """The only invite to this address."""
    answer = await edge.get("/admin/invites?ignored=1")
    assert answer.status == 200
    (invite,) = [one for one in answer.body["invites"] if one["user_email"] == email]
    return invite  # type: ignore[no-any-return]
