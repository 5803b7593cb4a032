"""A carrier of the tests: a server over HTTP that keeps what it was asked for, and the provider that talks to it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from services.chassis.errors import InvalidData, NotAllowed

Row = dict[str, Any]
URL = "MERCER_TEST_COURIER_URL"


@dataclass
class FakeCarrier:
    """The carrier's server. What is requested under a key again is answered again, and done once."""

    fulfillments: dict[str, str] = field(
        default_factory=dict
    )  # id -> waiting or canceled; "unknown" was never requested
    labels: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # what, id, key
    bodies: list[Row] = field(default_factory=list)
    answers: dict[str, Row] = field(default_factory=dict)  # by key
    refused: set[str] = field(default_factory=set)  # of "fulfillments", "fulfillments/cancel", ...
    broken: set[str] = field(default_factory=set)  # does it, and answers 500
    hold: asyncio.Event | None = None  # answers wait for it
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)  # of another process that has the provider

    def times(self, what: str) -> int:
        return sum(1 for requested, _, _ in self.requests if requested == what)

    async def post(self, request: web.Request) -> web.Response:
        what, body, key = request.match_info["what"], await request.json(), request.headers["Idempotency-Key"]
        self.requests.append((what, body["id"], key))
        self.bodies.append(body)
        if what in self.refused:
            return web.json_response({"message": "Not on Sundays."}, status=400)
        if key not in self.answers:
            self.answers[key] = self.do(what, body)
        if self.hold:
            await self.hold.wait()
        return web.json_response(self.answers[key], status=500 if what in self.broken else 200)

    def do(self, what: str, body: Row) -> Row:
        kept, id_ = self.labels if what.startswith("labels") else self.fulfillments, body["id"]
        if what.endswith("/cancel"):
            kept[id_] = "canceled" if id_ in kept else "unknown"
            return {"canceled": True}
        assert id_ not in kept, "asked for twice"
        kept[id_] = "waiting"
        return {
            "number": f"C-{len(kept)}",
            "documents": [{"name": "label", "url": f"https://carrier.example/{id_}.pdf"}],
        }

    async def validate(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if body["data"].get("point") == "closed":
            return web.json_response({"message": "This pick-up point is closed."}, status=400)
        return web.json_response({"point": body["data"].get("point", "nearest"), "service": body["option"].get("id")})


@asynccontextmanager
async def open_carrier() -> AsyncIterator[FakeCarrier]:
    """A carrier that takes requests on a free port of this machine."""
    carrier = FakeCarrier()
    app = web.Application()
    app.add_routes([web.post("/validate", carrier.validate), web.post("/{what:.+}", carrier.post)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    carrier.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield carrier
    finally:
        await runner.cleanup()


class CarrierProvider:
    """The provider: what an installation would find under the entry point `courier`."""

    remote = True

    def __init__(self) -> None:
        self.options: list[Row] = [{"id": "express"}, {"id": "express-return", "is_return": True}]

    async def ask(self, path: str, body: Row, key: str = "", error: Callable[[str], Exception] = NotAllowed) -> Row:
        headers = {"Idempotency-Key": key}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{os.environ[URL]}/{path}", json=body, headers=headers) as answer,
        ):
            reply: Row = await answer.json()
            if answer.status == 400:
                raise error(reply["message"])
            answer.raise_for_status()
            return reply

    async def validate(self, option: Row, data: Row, cart: Row) -> Row:
        return await self.ask("validate", {"option": option, "data": data, "cart": cart}, error=InvalidData)

    def create(self, fulfillment: Row, key: str) -> Awaitable[Row]:
        return self.ask("fulfillments", fulfillment, key)

    def cancel(self, fulfillment: Row, key: str) -> Awaitable[Row]:
        return self.ask("fulfillments/cancel", fulfillment, key)

    def create_return(self, return_: Row, key: str) -> Awaitable[Row]:
        return self.ask("labels", return_, key)

    def cancel_return(self, return_: Row, key: str) -> Awaitable[Row]:
        return self.ask("labels/cancel", return_, key)
