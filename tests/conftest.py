"""The whole product in the test's own event loop, on real Postgres and RabbitMQ.

Every xdist worker has its own databases, copied from templates that are made once per state of the migrations, and its
own names on the broker. Tests share the worker's databases: they make their own records (see `uid`) and
assert on those.
"""

import contextlib
import importlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from hypothesis import settings
from pydantic import SecretStr

from tests.support.answers import Answers, kept_document
from tests.support.client import Client
from tests.support.servers import template, url_of_server, with_database
from tests.support.stack import (
    EMAIL,
    PASSWORD,
    SECRET,
    SERVICES,
    Stack,
    drop_queues,
    make_gateway,
    only_declared,
    serve,
)
from tests.support.waiting import PATIENCE, in_time, patient_product

ROOT = Path(__file__).parent.parent
SERVERS = {"postgres_url", "rabbitmq_url", "s3_url"}  # the fixtures that stand for them

# The same examples every time: a change fails for what it changed. `--hypothesis-profile=explore` looks further.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The superuser's URL of the server that `make test` started."""
    return url_of_server("MERCER_POSTGRES_URL")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The URL of the broker that `make test` started."""
    return url_of_server("MERCER_RABBITMQ_URL")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `unit` what needs no server, which the fixtures tell."""
    for item in items:
        if not SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.unit)


@pytest.fixture(scope="session")
async def databases(postgres_url: str) -> AsyncIterator[dict[str, str]]:
    """URLs of this worker's five databases, dropped at the end."""
    admin = await asyncpg.connect(postgres_url)
    urls, made = {}, []
    try:
        for name in (*SERVICES, "gateway"):
            folder = ROOT / name if name == "gateway" else ROOT / "services" / name
            database = f"mercer_test_{secrets.token_hex(4)}_{name}"
            await admin.execute(f"create database {database} template {await template(postgres_url, admin, folder)}")
            made.append(database)
            urls[name] = with_database(postgres_url, database)
        yield urls
    finally:
        for database in made:
            await admin.execute(f"drop database if exists {database} with (force)")
        await admin.close()


@pytest.fixture(scope="session")
def patient() -> Iterator[None]:
    """The product waits as long as the tests do."""
    with patient_product():
        yield


@pytest.fixture(scope="session")
async def stack(databases: dict[str, str], rabbitmq_url: str, patient: None) -> AsyncIterator[Stack]:
    """Four services and the gateway, started once per worker."""
    from services.chassis.service import make_app

    namespace = f"t{secrets.token_hex(4)}"
    apps, urls, runners, settings = {}, {}, [], {}
    async with aiohttp.ClientSession() as session, only_declared(rabbitmq_url, namespace):
        try:
            for name in SERVICES:
                service = importlib.import_module(f"services.{name}.service").SERVICE
                settings[name] = service.settings(
                    port=0,
                    database_url=SecretStr(databases[name]),
                    rabbitmq_url=SecretStr(rabbitmq_url),
                    secret=SecretStr(SECRET),
                    namespace=namespace,
                    reserve_stock="manual",
                    command_deadline=PATIENCE,
                )
                apps[name] = make_app(service, settings[name])
                runner, urls[name] = await serve(apps[name])
                runners.append(runner)
            apps["gateway"] = await make_gateway(databases["gateway"], rabbitmq_url, namespace, urls)
            runner, urls["gateway"] = await serve(apps["gateway"])
            runners.append(runner)
            if os.environ.get("MERCER_CHECK_ANSWERS"):

                async def served() -> dict[str, Any]:
                    async with session.get(f"{urls['gateway']}/openapi.json") as response:
                        document: dict[str, Any] = await response.json()
                        return document

                answers = Answers(await kept_document(served))
                Client.answers |= dict.fromkeys(urls.values(), answers)
            yield Stack(apps, urls, databases, namespace, session, settings)
        finally:
            for runner in reversed(runners):
                async with in_time():
                    await runner.cleanup()
            await drop_queues(rabbitmq_url, namespace)


@pytest.fixture(scope="session")
async def api(stack: Stack) -> Client:
    """A client of the gateway, signed in as the admin user."""
    visitor = Client(stack.session, stack.urls["gateway"], dict)
    token = (await visitor.ok("POST", "/admin/auth/token", {"email": EMAIL, "password": PASSWORD}))["access_token"]
    return Client(stack.session, stack.urls["gateway"], lambda: {"Authorization": f"Bearer {token}"})


@pytest.fixture
def orders(stack: Stack) -> Client:
    return stack.service("orders")


@pytest.fixture
def catalog(stack: Stack) -> Client:
    return stack.service("catalog")


@pytest.fixture
def payments(stack: Stack) -> Client:
    return stack.service("payments")


@pytest.fixture
def inventory(stack: Stack) -> Client:
    return stack.service("inventory")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Any]:
    """Where processes of services that are to die come from; started when the first test asks for it."""
    from tests.support.fault_injection import Nursery

    with contextlib.closing(Nursery()) as made:
        yield made


@pytest.fixture
def kill(stack: Stack, nursery: Any) -> Any:
    """kill -9 of a service between two steps of a saga, and its restart: see tests/support/fault_injection.py."""
    from tests.support.fault_injection import Kill

    return Kill(stack, nursery)


@pytest.fixture
async def stripe() -> AsyncIterator[Any]:
    """The payment provider `stripe`, and the server that it speaks to: tests/support/fake_stripe.py."""
    from tests.support.fake_stripe import installed_stripe

    async with installed_stripe() as stand_in:
        yield stand_in


@pytest.fixture
async def carrier(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A carrier: its server, and its provider as an installed package: tests/support/factories/carriers.py."""
    from tests.support.factories.carriers import installed_carrier

    async with installed_carrier(stack, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def uid() -> str:
    """A text that no other test uses."""
    return secrets.token_hex(4)
