"""The requests that the API's documentation shows, as they are written there: what follows `curl` is data here.

Queries go out as they stand, without any more encoding, signed with an API token as a bearer.
"""

import secrets
from typing import Any

import pytest
from yarl import URL

from tests.support.client import Client
from tests.support.factories.shops import ADDRESS, Shop, place, set_up
from tests.support.stack import Stack

RELATIONS = {"variants", "options", "images", "tags", "type", "collection", "sales_channels", "categories", "profiles"}
COLUMNS = {"id", "created_at", "updated_at", "deleted_at", "title", "handle", "status", "is_giftcard", "metadata"}


@pytest.fixture(scope="module")
async def shop(api: Client) -> Shop:
    made = await set_up(api)
    collection = await api.ok("POST", "/admin/collections", {"title": "Shirts", "handle": f"s-{secrets.token_hex(4)}"})
    await api.ok("POST", f"/admin/products/{made.product}", {"collection_id": collection["collection"]["id"]})
    for title in ("Shirt", "Blue Shirt"):
        await api.ok("POST", "/admin/products", {"title": title, "handle": f"shirt-{secrets.token_hex(4)}"})
    return made


class Curl:
    """Sends what an example says to the gateway, with the API token of a user."""

    def __init__(self, stack: Stack, token: str) -> None:
        self._stack, self._headers = stack, {"Authorization": f"Bearer {token}"}

    async def __call__(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        url = URL(self._stack.urls["gateway"] + path, encoded=True)
        async with self._stack.session.request(method, url, json=body, headers=self._headers) as response:
            return response.status, await response.json()

    async def products(self, query: str) -> list[dict[str, Any]]:
        status, answer = await self(f"/admin/products{query}")
        assert status == 200, answer
        assert answer.keys() == {"products", "count", "offset", "limit"}
        found: list[dict[str, Any]] = answer["products"]
        return found


@pytest.fixture(scope="module")
async def curl(stack: Stack, api: Client, shop: Shop) -> Curl:
    token = secrets.token_hex(20)
    user = await api.ok("POST", "/admin/users", {"email": f"{token}@example.com", "password": "supersecret"})
    await api.ok("POST", f"/admin/users/{user['user']['id']}", {"api_token": token, "role": "admin"})
    return Curl(stack, token)


def of(product: dict[str, Any], shown: set[str]) -> set[str]:
    """Those of the keys that the product has."""
    return product.keys() & shown


async def test_expand(curl: Curl, shop: Shop) -> None:
    for query, relations in (
        ("?expand=collection", {"collection"}),
        ("?expand=variants,collection", {"variants", "collection"}),
        ("?expand", set()),
    ):
        products = {product["id"]: product for product in await curl.products(query)}
        assert {frozenset(of(product, RELATIONS)) for product in products.values()} == {frozenset(relations)}
        assert products[shop.product].keys() >= COLUMNS
        if relations:
            assert products[shop.product]["collection"]["title"] == "Shirts"


async def test_fields(curl: Curl, shop: Shop) -> None:
    for query, columns in (
        ("?fields=title", {"title"}),
        ("?fields=title&expand", {"title"}),
        ("?fields=title,handle", {"title", "handle"}),
        ("?fields", set()),
        ("?fields&expand", set()),
    ):
        for product in await curl.products(query):
            assert of(product, COLUMNS) == columns | {"id", "created_at"}
            assert bool(of(product, RELATIONS)) == ("expand" not in query)


async def test_strings(curl: Curl) -> None:
    assert {p["title"] for p in await curl.products("?title=Shirt")} == {"Shirt"}
    assert {p["title"] for p in await curl.products("?title=Blue%20Shirt")} == {"Blue Shirt"}
    assert {p["title"] for p in await curl.products("?title=Blue+Shirt")} == {"Blue Shirt"}


async def test_numbers_booleans_and_pages(curl: Curl) -> None:
    everything = [product["id"] for product in await curl.products("")]
    assert [product["id"] for product in await curl.products("?offset=1")] == everything[1:50] or len(everything) == 50
    assert [product["id"] for product in await curl.products("?limit=5")] == everything[:5]
    assert all(product["is_giftcard"] for product in await curl.products("?is_giftcard=true"))


async def test_dates_lists_and_objects(curl: Curl, shop: Shop) -> None:
    assert await curl.products("?created_at[lt]=2023-02-17") == []
    assert await curl.products("?created_at[lt]=2023-02-17T07:22:30Z") == []
    assert await curl.products("?created_at[lt]=2023-02-17&created_at[gt]=2022-09-17") == []
    none = "?sales_channel_id[]=sc_01GPGVB42PZ7N3YQEP2WDM7PC7&sales_channel_id[]=sc_234PGVB42PZ7N3YQEP2WDM7PC7"
    assert await curl.products(none) == []
    assert await curl.products(none.replace("[]", "[0]", 1).replace("[]", "[1]", 1)) == []
    for name in ("sales_channel_id[]", "sales_channel_id[0]"):
        assert shop.product in {product["id"] for product in await curl.products(f"?{name}={shop.channel}&limit=200")}


async def test_apps_and_variants(curl: Curl, shop: Shop) -> None:
    assert await curl("/admin/apps") == (200, {"apps": []})
    status, answer = await curl(f"/admin/products/{shop.product}/variants")
    assert (status, answer["count"], answer["offset"], answer["limit"]) == (200, 2, 0, 100)
    assert {variant["id"] for variant in answer["variants"]} == {shop.small, shop.large}


async def test_create_a_fulfillment(curl: Curl, api: Client, shop: Shop) -> None:
    order = await place(api, shop)
    body = {
        "no_notification": True,
        "metadata": {},
        "items": [{"item_id": order["items"][0]["id"], "quantity": 1}],
    }
    status, answer = await curl(f"/admin/orders/{order['id']}/fulfillment", "POST", body)
    assert status == 200, answer
    assert [item["quantity"] for item in answer["order"]["fulfillments"][0]["items"]] == [1]
    status, answer = await curl("/admin/orders//fulfillment", "POST", body)
    assert status == 404, "as it is written, without the order's id"


async def test_create_a_draft_order(curl: Curl, shop: Shop) -> None:
    body = {
        "email": "user@example.com",
        "region_id": shop.region,
        "no_notification_order": True,
        "status": "open",
        "metadata": {},
        "discounts": [],
        "shipping_methods": [{"option_id": shop.shipping_option, "data": {}, "price": 0}],
        "items": [{"variant_id": shop.small, "unit_price": 0, "title": "string", "quantity": 1, "metadata": {}}],
        "billing_address": ADDRESS,
        "shipping_address": ADDRESS,
    }
    status, answer = await curl("/admin/draft-orders", "POST", body)
    assert status == 200, answer
    assert answer["draft_order"]["status"] == "open"
    assert answer["draft_order"]["cart"]["email"] == "user@example.com"
