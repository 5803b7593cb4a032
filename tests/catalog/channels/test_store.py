"""The store: what it is preset to, its currencies, and its providers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.catalog.seed import seed
from services.catalog.service import SERVICE
from services.chassis.migrate import migrate
from tests.support.client import Client
from tests.support.database import reads
from tests.support.servers import new_database
from tests.support.stack import Stack

PRESET = {
    "name": "Mercer Store",
    "default_currency_code": "usd",
    "currencies": ["usd", "eur", "dkk"],
    "swap_link_template": None,
    "payment_link_template": None,
    "invite_link_template": None,
}


@pytest.fixture(autouse=True)
async def preset(catalog: Client) -> AsyncIterator[None]:
    """Every test finds and leaves the store alike."""
    await catalog.ok("POST", "/admin/store", PRESET)
    yield
    await catalog.ok("POST", "/admin/store", PRESET)


async def store_of(catalog: Client) -> dict[str, Any]:
    store: dict[str, Any] = (await catalog.ok("GET", "/admin/store"))["store"]
    return store


def codes(store: dict[str, Any]) -> list[str]:
    return [currency["code"] for currency in store["currencies"]]


async def test_the_store_is_there_from_the_start(stack: Stack, catalog: Client) -> None:
    with stack.statements("catalog") as statements:
        store = await store_of(catalog)
    assert len(reads(statements)) == 1
    assert store["id"].startswith("store_")
    assert (store["name"], store["default_currency"]["code"], codes(store)) == (
        "Mercer Store",
        "usd",
        ["dkk", "eur", "usd"],
    )
    channel = store["default_sales_channel"]
    assert (channel["name"], channel["is_disabled"]) == ("Default Sales Channel", False)
    assert channel["id"] == store["default_sales_channel_id"]
    assert store["payment_providers"] == store["fulfillment_providers"] == [{"id": "manual", "is_installed": True}]
    assert {"key": "tax_inclusive_pricing", "value": True} in store["feature_flags"]


async def test_an_update_answers_with_currencies_only(catalog: Client) -> None:
    body = {"name": "Shop", "swap_link_template": "http://shop.test/{swap_id}", "metadata": {"plan": "gold", "a": "b"}}
    status, answer = await catalog.post("/admin/store", body)
    assert status == 200
    store = answer["store"]
    assert (store["name"], store["swap_link_template"]) == ("Shop", "http://shop.test/{swap_id}")
    assert store["metadata"]["plan"] == "gold"
    assert "default_currency" not in store and "default_sales_channel" not in store and "modules" not in store
    answer = await catalog.ok("POST", "/admin/store", {"swap_link_template": None, "metadata": {"plan": ""}})
    assert answer["store"]["swap_link_template"] is None
    assert answer["store"]["metadata"] == {"a": "b"}
    nulls: dict[str, Any] = {"metadata": None, "default_currency_code": "", "currencies": None}
    for body in (nulls, nulls | {"default_currency_code": None}):
        same = (await catalog.ok("POST", "/admin/store", body))["store"]
        assert same == answer["store"] | {"updated_at": same["updated_at"]}
    await catalog.ok("POST", "/admin/store", {"metadata": {"a": ""}})


async def test_the_default_currency_is_shown_when_it_changes(catalog: Client) -> None:
    answer = await catalog.ok("POST", "/admin/store", {"default_currency_code": "EUR"})
    assert answer["store"]["default_currency"]["code"] == answer["store"]["default_currency_code"] == "eur"
    answer = await catalog.ok("POST", "/admin/store", {"default_currency_code": "eur"})
    assert "default_currency" not in answer["store"]


@pytest.mark.parametrize(
    "body",
    [
        {"currencies": ["eur"]},
        {"currencies": []},
        {"default_currency_code": "sek"},
        {"currencies": ["usd", "zzz"]},
        {"currencies": "usd"},
        {"name": None},
        {"name": "x\0"},
        {"colour": "red"},
    ],
)
async def test_a_wrong_update_changes_nothing(catalog: Client, body: dict[str, Any]) -> None:
    before = await store_of(catalog)
    status, answer = await catalog.post("/admin/store", {"invite_link_template": "changed", **body})
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await store_of(catalog) == before


async def test_currencies_come_and_go(catalog: Client) -> None:
    answer = await catalog.ok("POST", "/admin/store/currencies/SEK")
    assert codes(answer["store"]) == ["dkk", "eur", "sek", "usd"]
    status, refusal = await catalog.post("/admin/store/currencies/sek")
    assert (status, refusal["type"], refusal["code"]) == (422, "duplicate_error", "invalid_request_error")
    for _ in range(2):
        answer = await catalog.ok("DELETE", "/admin/store/currencies/sek")
        assert codes(answer["store"]) == ["dkk", "eur", "usd"]


async def test_refused_currencies(catalog: Client) -> None:
    assert (await catalog.post("/admin/store/currencies/zzz"))[0] == 400
    assert (await catalog.delete("/admin/store/currencies/usd"))[0] == 400
    assert codes(await store_of(catalog)) == ["dkk", "eur", "usd"]


async def test_the_same_currency_added_twice_at_once(catalog: Client) -> None:
    answers = await asyncio.gather(*(catalog.post("/admin/store/currencies/nok") for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200, 422, 422, 422, 422, 422]
    assert codes(await store_of(catalog)).count("nok") == 1


async def test_providers(catalog: Client) -> None:
    assert await catalog.ok("GET", "/admin/store/payment-providers") == {
        "payment_providers": [{"id": "manual", "is_installed": True}]
    }
    assert await catalog.ok("GET", "/admin/store/tax-providers") == {"tax_providers": []}


async def test_an_empty_database_is_filled_once_however_many_start(postgres_url: str) -> None:
    async with new_database(postgres_url, "seed") as url:
        await migrate(url, SERVICE.sql)

        async def start() -> None:
            db = await asyncpg.connect(url)
            async with db.transaction():
                await seed(db)
            await db.close()

        await asyncio.gather(*(start() for _ in range(4)))
        db = await asyncpg.connect(url)
        tables = ("stores", "sales_channels", "shipping_profiles", "currencies", "countries", "store_currencies")
        counts = [await db.fetchval(f"select count(*) from {table}") for table in tables]
        await db.close()
        assert counts == [1, 1, 2, 120, 250, 1]
