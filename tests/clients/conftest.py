"""Clients that others' generators make of the document, each of which then walks through the running product."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.answers import kept_document
from tests.support.client import Client
from tests.support.factories.shops import place, set_up
from tests.support.stack import Stack


@dataclass(frozen=True)
class Served:
    """The document as the gateway serves it, and as a file."""

    document: dict[str, Any]
    path: Path

    @property
    def operation_ids(self) -> list[str]:
        """Sorted."""
        items = self.document["paths"].values()
        return sorted(operation["operationId"] for item in items for operation in item.values())


@pytest.fixture
async def served(stack: Stack, tmp_path: Path) -> Served:
    visitor = Client(stack.session, stack.urls["gateway"], dict)
    document = await kept_document(lambda: visitor.ok("GET", "/openapi.json"))
    path = tmp_path / "openapi.json"
    path.write_bytes(orjson.dumps(document))
    return Served(document, path)


@dataclass(frozen=True)
class Sold:
    """An order, and the body of a draft."""

    order: dict[str, Any]
    draft: dict[str, Any]


@pytest.fixture
async def sold(api: Client) -> Sold:
    shop = await set_up(api)
    return Sold(await place(api, shop), shop.draft())
