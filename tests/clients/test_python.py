"""The client that openapi-python-client makes."""

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served, Sold
from tests.support.stack import EMAIL, PASSWORD, Stack

NAME = "generated_mercer_client"


async def generate(served: Served, folder: Path) -> None:
    """Make the package; a warning means that something was left out."""
    # It formats what it writes with the ruff beside it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    options = ("--path", str(served.path), "--output-path", str(folder / NAME), "--meta", "none", "--fail-on-warning")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openapi_python_client", "generate", *options),
        env=os.environ | {"PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def part(name: str) -> Any:
    return importlib.import_module(f"{NAME}.{name}")


async def test_it_has_every_operation_and_walks_through_the_product(
    served: Served, sold: Sold, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await generate(served, tmp_path)
    modules = sorted(path.stem for path in (tmp_path / NAME / "api").glob("*/*.py") if path.stem != "__init__")
    assert modules == served.operation_ids
    monkeypatch.syspath_prepend(str(tmp_path))

    base, models = stack.urls["gateway"], part("models")
    credentials = models.GatewaySignInBody(email=EMAIL, password=PASSWORD)
    async with part("client").Client(base) as visitor:
        token = (await part("api.auth.post_auth_token").asyncio(client=visitor, body=credentials)).access_token
    async with part("client").AuthenticatedClient(base, token) as client:
        await walk(client, sold)


async def walk(client: Any, sold: Sold) -> None:
    """List orders, get one, write a draft, be refused."""
    models = part("models")
    listed = await part("api.orders.get_orders").asyncio(client=client, limit=1, id=sold.order["id"])
    assert (listed.count, [order.id for order in listed.orders]) == (1, [sold.order["id"]])

    order = (await part("api.orders.get_orders_id").asyncio(sold.order["id"], client=client)).order
    assert order.total == sold.order["total"]
    assert [line.quantity for line in order.items] == [2]

    body = models.OrdersDraftBody.from_dict(sold.draft)
    draft = (await part("api.draft_orders.post_draft_orders").asyncio(client=client, body=body)).draft_order
    assert draft.status == "open"
    assert draft.cart.email == sold.draft["email"]

    refused = await part("api.orders.get_orders_id").asyncio("order_nobody", client=client)
    assert isinstance(refused, models.Error)
    assert refused.type_ == "not_found"
