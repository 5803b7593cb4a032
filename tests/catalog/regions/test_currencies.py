"""Currencies: the list, its filters, and the tax flag."""

import pytest

from services.catalog.regions import currencies
from services.catalog.regions.currencies import CurrencyUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import make_region
from tests.support.stack import Stack

KRONE = {"code": "dkk", "symbol": "Dkr", "symbol_native": "kr", "name": "Danish Krone", "includes_tax": False}


async def test_a_currency_is_found_by_its_code(catalog: Client) -> None:
    status, body = await catalog.get("/admin/currencies", {"code": "dkk"})
    assert (status, body) == (200, {"currencies": [KRONE], "count": 1, "offset": 0, "limit": 20})


async def test_a_list_is_one_statement(stack: Stack, catalog: Client) -> None:
    with stack.statements("catalog") as statements:
        await catalog.ok("GET", "/admin/currencies", query={"q": "krone", "order": "-name", "limit": "5"})
    assert len(reads(statements)) == 1


async def test_search_looks_at_code_and_name(catalog: Client) -> None:
    answer = await catalog.ok("GET", "/admin/currencies", query={"q": "Kron"})
    assert {c["code"] for c in answer["currencies"]} == {"dkk", "nok", "sek"}
    assert "zar" in {
        c["code"] for c in (await catalog.ok("GET", "/admin/currencies", query={"q": "ZAR"}))["currencies"]
    }


async def test_all_120_are_there_in_order(catalog: Client) -> None:
    page = await catalog.ok("GET", "/admin/currencies", query={"order": "-code", "limit": "2", "offset": "1"})
    assert (page["count"], [c["code"] for c in page["currencies"]]) == (120, ["zmk", "zar"])


async def test_the_tax_flag_is_set_and_filtered(catalog: Client) -> None:
    status, body = await catalog.post("/admin/currencies/JPY", {"includes_tax": True})
    assert (status, body["currency"]["code"], body["currency"]["includes_tax"]) == (200, "jpy", True)
    answer = await catalog.ok("GET", "/admin/currencies", query={"includes_tax": "true", "code": "jpy"})
    assert answer["count"] == 1
    await catalog.ok("POST", "/admin/currencies/jpy", {"includes_tax": False})
    answer = await catalog.ok("GET", "/admin/currencies", query={"includes_tax": "true", "code": "jpy"})
    assert answer["count"] == 0


async def test_an_empty_body_changes_nothing(catalog: Client) -> None:
    assert (await catalog.post("/admin/currencies/dkk"))[1] == {"currency": KRONE}


@pytest.mark.parametrize("body", [{"includes_tax": "yes"}, {"includes_tax": None}, {"code": "yen"}, []])
async def test_a_wrong_body_is_refused(catalog: Client, body: object) -> None:
    status, answer = await catalog.post("/admin/currencies/dkk", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert (await catalog.ok("GET", "/admin/currencies", query={"code": "dkk"}))["currencies"] == [KRONE]


@pytest.mark.parametrize("query", [{"bogus": "1"}, {"fields": "code"}, {"order": "bogus"}, {"includes_tax": "1"}])
async def test_a_wrong_query_is_refused(catalog: Client, query: dict[str, str]) -> None:
    status, answer = await catalog.get("/admin/currencies", query)
    assert (status, answer["type"]) == (400, "invalid_data")


@pytest.mark.parametrize("code", ["zzz", "%00"])
async def test_an_unknown_code_is_not_found(catalog: Client, code: str) -> None:
    status, answer = await catalog.post(f"/admin/currencies/{code}", {"includes_tax": True})
    assert (status, answer["type"]) == (404, "not_found")


async def test_regions_that_show_the_currency_are_announced(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, currency_code="dkk")
    async with rolled_back(stack) as db:
        await currencies.update_currency(db, "dkk", CurrencyUpdate(includes_tax=True))
        sent = {aggregate: data for name, aggregate, data in await events(db) if name == "region.updated"}
    shown = sent[region["id"]]["copies"]["region"][0]
    assert shown["related"]["currency"] == KRONE | {"includes_tax": True}
