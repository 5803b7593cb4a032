"""Products that the tests start from, and what they look at besides answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import Client, Stack


def shirt(uid: str, **more: Any) -> dict[str, Any]:
    """The body of a product with two variants, S and L, of one option."""
    return {
        "title": f"Shirt {uid}",
        "handle": f"shirt-{uid}",
        "options": [{"title": "Size"}],
        "variants": [variant("Small", "S", sku=f"S-{uid}"), variant("Large", "L", sku=f"L-{uid}", price=1500)],
        **more,
    }


def variant(title: str, *values: str, price: int = 1000, **more: Any) -> dict[str, Any]:
    """One of the variants of a new product."""
    return {
        "title": title,
        "manage_inventory": False,
        "prices": [{"currency_code": "eur", "amount": price}],
        "options": [{"value": value} for value in values],
        **more,
    }


async def make(catalog: Client, body: dict[str, Any]) -> dict[str, Any]:
    product: dict[str, Any] = (await catalog.ok("POST", "/admin/products", body))["product"]
    return product


async def one(catalog: Client, product_id: str) -> dict[str, Any]:
    product: dict[str, Any] = (await catalog.ok("GET", f"/admin/products/{product_id}"))["product"]
    return product


async def ids(catalog: Client, **query: Any) -> list[str]:
    """Ids of the products that a list finds, in its order."""
    return await found(catalog, "products", "/admin/products", query | {"fields": "id", "expand": ""})


async def found(catalog: Client, key: str, path: str, query: dict[str, Any]) -> list[str]:
    """Ids of the rows of a list, whose count has to agree."""
    answer = await catalog.ok("GET", path, query=query)
    assert answer["count"] == len(answer[key])
    return [row["id"] for row in answer[key]]


@contextmanager
def statements(stack: Stack) -> Iterator[list[str]]:
    """The statements of the catalog while the block runs, without those of the pool and the relay."""
    counted: list[str] = []
    with stack.statements("catalog") as seen:
        yield counted
    words = ("select", "insert", "update", "delete", "with")
    of_others = ("advisory_unlock_all", "from outbox")  # the pool's and the relay's
    counted += [t for t in seen if t.strip().lower().startswith(words) and not any(o in t for o in of_others)]
