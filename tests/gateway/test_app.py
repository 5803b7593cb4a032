"""The application around the handlers: health, metrics, start, and connected apps."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from gateway.service import SERVICE
from gateway.settings import GatewaySettings
from services.chassis.declared import declarations
from services.chassis.keys import POOL
from services.chassis.service import prepare
from tests.support.edge import SESSION_SECRET, Edge, FakeService, Start
from tests.support.processes import free_port
from tests.support.stack import SECRET
from tests.support.waiting import in_time, until

ROOT = Path(__file__).parent.parent.parent


async def test_health(edge: Edge) -> None:
    answer = await edge.get("/health", anonymous=True)
    assert answer.status == 200
    assert answer.body["status"] == "ok"
    assert answer.body["services"] == dict.fromkeys(("orders", "catalog", "payments", "inventory"), "ok")


async def test_health_when_a_service_is_not_ready(
    start: Start, services: dict[str, FakeService], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp import web

    async def not_ready(request: web.Request) -> web.Response:
        return web.Response(status=503)

    awake = asyncio.Event()

    async def asleep(request: web.Request) -> web.Response:
        await awake.wait()
        return web.Response()

    monkeypatch.setattr("gateway.health.HEALTH_SECONDS", 1.0)
    edge = await start(payments_url="http://127.0.0.1:1")
    services["orders"].behaviours["/health"], services["catalog"].behaviours["/health"] = not_ready, asleep
    states = {"orders": "unavailable", "catalog": "down", "payments": "down", "inventory": "ok"}

    async def as_it_is() -> bool:
        answer = await edge.get("/health", anonymous=True)
        return (answer.status, answer.body["services"]) == (503, states)

    try:
        await until(as_it_is)
    finally:
        awake.set()
        del services["orders"].behaviours["/health"], services["catalog"].behaviours["/health"]


async def test_a_slash_at_the_end_means_nothing(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid)
    for path in ("/admin/auth", "/admin/invites", f"/admin/users/{user['id']}"):
        plain, slashed = await edge.get(path), await edge.get(path + "/")
        assert (plain.status, slashed.status, slashed.body) == (200, 200, plain.body)
    sent = {"email": user["email"], "password": "secret"}
    assert (await edge.post("/admin/auth/token/", sent, anonymous=True)).status == 200
    assert (await edge.get("/admin/users/", anonymous=True)).status == 401
    assert (await edge.get("/admin/users//")).status == 404


async def test_metrics(edge: Edge, uid: str) -> None:
    await edge.get(f"/admin/orders/{uid}")
    await edge.get(f"/admin/nothing/{uid}")
    answer = await edge.get("/metrics", anonymous=True)
    text = answer.body.decode()
    assert answer.status == 200
    assert 'mercer_http_request_seconds_count{method="GET",route="/admin/orders",status="200"}' in text
    assert uid not in text


def test_only_the_listed_paths_are_open() -> None:
    declared = declarations(SERVICE.operations).operations
    assert sorted((o.method, o.path) for o in declared if o.public and o.path.startswith("/admin")) == [
        ("POST", "/admin/auth"),
        ("POST", "/admin/auth/token"),
        ("POST", "/admin/invites/accept"),
        ("POST", "/admin/users/password-token"),
        ("POST", "/admin/users/reset-password"),
    ]


async def test_without_a_database(start: Start, uid: str, database: str) -> None:
    """What is known goes on for a moment; the rest is refused as unavailable, not as unauthorized."""
    edge = await start()
    edge.app[POOL].terminate()
    assert (await edge.get(f"/admin/orders/{uid}")).status in (200, 503)
    for answer in (
        await edge.get("/admin/auth", anonymous=True, headers={"Authorization": "Bearer unknown"}),
        await edge.post("/admin/auth/token", {"email": "a@b.co", "password": "x"}, anonymous=True),
    ):
        assert (answer.status, answer.body["type"]) == (503, "unavailable")


async def test_migrating_twice_and_the_first_user(database: str, uid: str) -> None:
    def settings(password: str) -> GatewaySettings:
        return GatewaySettings(
            database_url=SecretStr(database),
            rabbitmq_url=SecretStr("amqp://nowhere"),
            secret=SecretStr(SECRET),
            session_secret=SecretStr(SESSION_SECRET),
            admin_email=f"First-{uid}@Example.com",
            admin_password=SecretStr(password),
        )

    await prepare(SERVICE, settings("one"))
    db = await asyncpg.connect(database)
    first = await db.fetchrow("select * from users where email = $1", f"first-{uid}@example.com")
    await prepare(SERVICE, settings("two"))
    assert await db.fetchrow("select * from users where email = $1", f"first-{uid}@example.com") == first
    assert first["role"] == "admin"
    await db.close()
    for wrong in ({"admin_password": None}, {"admin_email": "nobody"}):
        with pytest.raises(SystemExit):
            await prepare(SERVICE, settings("one").model_copy(update=wrong))


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://x",
        "RABBITMQ_URL": "amqp://x",
        "SECRET": SECRET,
        "SESSION_SECRET": SESSION_SECRET,
        "PORT": "",
        "ADMIN_EMAIL": "",
        "ADMIN_PASSWORD": "",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "ORDERS_URL": "http://orders:9001/",
    }.items():
        monkeypatch.setenv(f"MERCER_{name}", value)
    settings = GatewaySettings()
    assert (settings.port, settings.admin_email, settings.admin_password) == (9000, None, None)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.urls()["orders"] == "http://orders:9001"
    assert settings.urls()["payments"] == "http://127.0.0.1:9003"
    assert SECRET not in repr(settings)
    monkeypatch.setenv("MERCER_SESSION_SECRET", "short")
    with pytest.raises(ValueError, match="session_secret"):
        GatewaySettings()


async def test_the_process_finishes_what_it_began(
    database: str, namespace: str, services: dict[str, FakeService], edge: Edge, uid: str
) -> None:
    """`python -m gateway` answers a request that is under way when it is told to stop, and then ends."""
    from aiohttp import web

    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.json_response({"done": True})

    services["orders"].behaviours[f"/admin/orders/{uid}"] = slow
    port = free_port()
    env = {
        **os.environ,
        "MERCER_PORT": str(port),
        "MERCER_DATABASE_URL": database,
        "MERCER_NAMESPACE": namespace,
        "MERCER_SECRET": SECRET,
        "MERCER_SESSION_SECRET": SESSION_SECRET,
        **{f"MERCER_{name.upper()}_URL": service.url for name, service in services.items()},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with in_time():
            while b'"started"' not in await process.stdout.readline():
                pass
            other = Edge(edge.app, f"http://127.0.0.1:{port}", edge.session, edge.token)

            async def listens() -> bool:
                try:
                    return (await other.get("/health", anonymous=True)).status == 200
                except OSError:
                    return False

            async def does_not() -> bool:
                return not await listens()

            await until(listens)
            request = asyncio.create_task(other.get(f"/admin/orders/{uid}"))
            await asked.wait()
            process.send_signal(signal.SIGTERM)
            await until(does_not)
            go_on.set()
            answer = await request
            assert (answer.status, answer.body) == (200, {"done": True})
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


# Connected apps


async def test_apps(edge: Edge, uid: str) -> None:
    assert (await edge.get("/admin/apps?x=1")).body == {"apps": []}
    good = {"application_name": uid, "state": "abc", "code": "123"}
    answer = await edge.post("/admin/apps/authorizations", good)
    assert (answer.status, answer.body["type"]) == (404, "not_found")
    for change in ({"application_name": ""}, {"state": None}, {"code": 5}, {"scope": "all"}):
        answer = await edge.post("/admin/apps/authorizations", good | change)
        assert (answer.status, answer.body["type"]) == (400, "invalid_data")
