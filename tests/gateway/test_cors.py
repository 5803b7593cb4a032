"""Front ends on other origins: those that the settings name, and no others."""

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from tests.support.edge import Edge, FakeService, Start

OURS, THEIRS = "https://admin.example.com", "https://evil.example.com"
QUESTION = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture(scope="module")
async def open_edge(start: Start) -> Edge:
    return await start(cors_origins=f"{OURS}, http://localhost:7000")


async def test_a_browser_that_asks_first(open_edge: Edge) -> None:
    answer = await open_edge.request("OPTIONS", "/admin/products", headers={"Origin": OURS, **QUESTION}, anonymous=True)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Vary"] == "Origin"


async def test_answers_say_so_too(open_edge: Edge, services: dict[str, FakeService]) -> None:
    for path, status in (("/admin/users", 200), ("/admin/products", 200), ("/admin/nothing", 404), ("/health", 200)):
        answer = await open_edge.get(path, headers={"Origin": "http://localhost:7000"})
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:7000"
        assert answer.headers["Access-Control-Expose-Headers"] == "X-Request-Id"
    refused = await open_edge.get("/admin/users", headers={"Origin": OURS}, anonymous=True)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, OURS)


async def test_no_other_origin_gets_in(open_edge: Edge, edge: Edge) -> None:
    for gateway, origin in ((open_edge, THEIRS), (open_edge, "null"), (edge, OURS)):
        asked = await gateway.request(
            "OPTIONS", "/admin/products", headers={"Origin": origin, **QUESTION}, anonymous=True
        )
        assert asked.status == 401
        read = await gateway.get("/admin/users", headers={"Origin": origin})
        assert read.status == 200
        assert not [name for name in (*asked.headers, *read.headers) if name.startswith("Access-Control")]


def test_every_origin_is_none() -> None:
    for wrong in ("*", "admin.example.com", "https://a.example.com/path", "https://*.example.com"):
        with pytest.raises(ValidationError, match="is no origin"):
            GatewaySettings.model_validate(
                {
                    "database_url": "postgresql://x",
                    "rabbitmq_url": "amqp://x",
                    "secret": "s" * 32,
                    "session_secret": "s" * 32,
                    "cors_origins": wrong,
                }
            )
