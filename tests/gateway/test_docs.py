"""/openapi.json and /docs of the gateway, in front of services that say what a test lets them."""

import re
from typing import Any

import pytest
from aiohttp import web

from gateway import docs
from services.chassis.openapi import PATH
from tests.support.edge import Behaviour, Edge, FakeService, Start

PART = {
    "paths": {"/admin/returns": {"get": {"responses": {}}}},
    "components": {"schemas": {"orders.Return": {"allOf": [{"$ref": "#/components/schemas/copies.Region"}]}}},
}


def says(part: dict[str, Any]) -> Behaviour:
    async def behaviour(request: web.Request) -> web.Response:
        return web.json_response(part)

    return behaviour


async def breaks(request: web.Request) -> web.Response:
    raise web.HTTPBadGateway


@pytest.fixture
async def fresh(start: Start, services: dict[str, FakeService]) -> Edge:
    """A gateway that has asked nobody yet; only orders say something."""
    services["orders"].behaviours[PATH] = says(PART)
    for name in ("catalog", "payments", "inventory"):
        services[name].behaviours[PATH] = breaks
    return await start()


async def test_anybody_may_read_what_the_parts_come_to(fresh: Edge) -> None:
    answer = await fresh.get(PATH, anonymous=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.body
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/admin/returns"]["get"] == {"responses": {}}
    assert document["paths"]["/admin/users"]["get"]["summary"] == "List users"
    assert document["paths"]["/admin/auth"]["post"]["security"] == []
    assert "security" not in document["paths"]["/admin/auth"]["get"]
    assert not {path for path in document["paths"] if path.startswith("/docs")}


async def test_a_service_that_is_down_is_missing_until_it_has_said_something(
    fresh: Edge, services: dict[str, FakeService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "TRIED_AGAIN", 0.0)
    monkeypatch.setattr(docs, "ASKED_AGAIN", 0.0)
    document = (await fresh.get(PATH)).body
    assert document["info"]["x-missing"] == ["catalog", "inventory", "payments"]
    assert document["components"]["schemas"]["copies.Region"] == {}, "whose owner has not said what it looks like"
    region = {"type": "object"}
    part = {"paths": {"/admin/regions": {}}, "components": {"schemas": {"copies.Region": region}}}
    services["catalog"].behaviours[PATH] = says(part)
    document = (await fresh.get(PATH)).body
    assert document["info"]["x-missing"] == ["inventory", "payments"]
    assert document["components"]["schemas"]["copies.Region"] == region
    services["catalog"].behaviours[PATH] = breaks
    document = (await fresh.get(PATH)).body
    assert "/admin/regions" in document["paths"], "what it last said stands"
    assert document["info"]["x-missing"] == ["inventory", "payments"]


async def test_a_service_is_not_asked_for_every_reader(fresh: Edge, services: dict[str, FakeService]) -> None:
    asked = []

    async def noted(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(PART)

    services["orders"].behaviours[PATH] = noted
    for _ in range(3):
        await fresh.get(PATH)
    assert len(asked) == 1


async def test_what_is_no_document_is_not_taken_for_one(fresh: Edge, services: dict[str, FakeService]) -> None:
    services["orders"].behaviours[PATH] = says({"paths": {}})
    assert "orders" in (await fresh.get(PATH)).body["info"]["x-missing"]


async def test_the_page_needs_nothing_from_elsewhere(edge: Edge) -> None:
    answer = await edge.get("/docs", anonymous=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    page = answer.body.decode()
    used = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sorted(used) == sorted(f"docs/{name}" for name in docs.ASSETS)
    assert "<script>" not in page
    for name in docs.ASSETS:
        asset = await edge.get(f"/docs/{name}", anonymous=True)
        assert asset.status == 200
        assert asset.body == docs.ASSETS[name].read_bytes()
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
    assert "openapi.json" in (await edge.get("/docs/start.js", anonymous=True)).body.decode()


async def test_nothing_else_is_handed_out(edge: Edge) -> None:
    for path in ("/docs/docs.html", "/docs/..%2fdocs.py", "/docs/LICENSE", "/docs/"):
        assert (await edge.get(path, anonymous=True)).status == 404
