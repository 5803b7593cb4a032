"""Regions: their own data, their countries and providers, and who hears of a change."""

import asyncio
from typing import Any

import pytest

from services.catalog.regions import links as region_links
from services.catalog.regions import regions
from services.catalog.regions.regions import RegionBody, RegionUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import REGION, another_region, make_option, make_region
from tests.support.factories.shops import free_countries
from tests.support.stack import Stack

MANUAL = [{"id": "manual", "is_installed": True}]


def countries(region: dict[str, Any]) -> list[str]:
    return [country["iso_2"] for country in region["countries"]]


async def regions_of(catalog: Client) -> list[dict[str, Any]]:
    regions: list[dict[str, Any]] = (await catalog.ok("GET", "/admin/regions", query={"limit": "200"}))["regions"]
    return regions


async def test_a_region_as_created(catalog: Client) -> None:
    region = await make_region(
        catalog, name="Nordics", currency_code="DKK", tax_rate=25, tax_code="MOMS", countries=["SE"], metadata={"a": 1}
    )
    assert region == {
        "id": region["id"],
        "created_at": region["created_at"],
        "updated_at": region["created_at"],
        "deleted_at": None,
        "name": "Nordics",
        "currency_code": "dkk",
        "tax_rate": 25,
        "tax_code": "MOMS",
        "gift_cards_taxable": True,
        "automatic_taxes": True,
        "includes_tax": False,
        "tax_provider_id": None,
        "metadata": {"a": 1},
        "countries": [
            {
                "id": 215,
                "iso_2": "se",
                "iso_3": "swe",
                "num_code": 752,
                "name": "SWEDEN",
                "display_name": "Sweden",
                "region_id": region["id"],
            }
        ],
        "currency": {
            "code": "dkk",
            "symbol": "Dkr",
            "symbol_native": "kr",
            "name": "Danish Krone",
            "includes_tax": False,
        },
        "payment_providers": MANUAL,
        "fulfillment_providers": MANUAL,
    }
    assert region["id"].startswith("reg_")


@pytest.mark.parametrize(
    ("code", "country"),
    [
        ("af", (1, "AFG", 4, "Afghanistan")),
        ("dk", (60, "DNK", 208, "Denmark")),
        ("us", (236, "USA", 840, "United States")),
        ("xk", (119, "XKX", 900, "Kosovo")),
        ("zw", (249, "ZWE", 716, "Zimbabwe")),
        ("ax", (250, "ALA", 248, "Åland Islands")),
    ],
)
async def test_countries_have_the_ids_that_clients_know(
    catalog: Client, code: str, country: tuple[int, str, int, str]
) -> None:
    shown = (await make_region(catalog, countries=[code]))["countries"][0]
    assert (shown["id"], shown["iso_3"].upper(), shown["num_code"], shown["display_name"]) == country
    assert shown["name"] == country[3].upper()


async def test_reads_are_one_statement(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    with stack.statements("catalog") as statements:
        status, body = await catalog.get(f"/admin/regions/{region['id']}")
    assert (status, body, len(reads(statements))) == (200, {"region": region}, 1)
    with stack.statements("catalog") as statements:
        status, body = await catalog.get("/admin/regions")
    assert (status, body, len(reads(statements))) == (
        200,
        {"regions": [region], "count": 1, "offset": 0, "limit": 50},
        1,
    )


async def test_fields_and_expand(catalog: Client) -> None:
    region = await make_region(catalog)
    path = f"/admin/regions/{region['id']}"
    body = await catalog.ok("GET", path, query={"fields": "name", "expand": "currency"})
    assert body["region"] == {"id": region["id"], "name": region["name"], "currency": region["currency"]}
    body = await catalog.ok("GET", "/admin/regions", query={"fields": "name", "expand": ""})
    assert body["regions"] == [{key: region[key] for key in ("id", "created_at", "name")}]


@pytest.mark.parametrize("query", [{"expand": "tax_rates"}, {"fields": "bogus"}, {"limit": "few"}, {"colour": "red"}])
async def test_a_wrong_query_is_refused(catalog: Client, query: dict[str, str]) -> None:
    status, answer = await catalog.get("/admin/regions", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_lists_are_filtered_and_ordered(catalog: Client, uid: str) -> None:
    a = await make_region(catalog, name=f"B {uid}")
    b = await another_region(catalog, name=f"A {uid}", countries=["fr"])
    for query, shown in [
        ({}, [b, a]),
        ({"order": "name"}, [b, a]),
        ({"order": "-name"}, [a, b]),
        ({"q": f"a {uid}".upper()}, [b]),
        ({"limit": "1", "offset": "1"}, [a]),
        ({"created_at[gt]": "2020-01-01"}, [b, a]),
        ({"created_at[lt]": "2020-01-01"}, []),
    ]:
        assert (await catalog.ok("GET", "/admin/regions", query=query))["regions"] == shown, query


async def test_an_update_replaces_lists_and_merges_metadata(catalog: Client) -> None:
    region = await make_region(catalog, countries=["de", "fr"], metadata={"a": "1", "b": "2"}, tax_code="X")
    body = {
        "name": "Renamed",
        "currency_code": "USD",
        "tax_rate": 12.5,
        "tax_code": None,
        "automatic_taxes": False,
        "gift_cards_taxable": False,
        "includes_tax": True,
        "tax_provider_id": None,
        "countries": ["fr", "it"],
        "payment_providers": [],
        "fulfillment_providers": [],
        "metadata": {"a": "", "c": {"d": 3}},
    }
    status, answer = await catalog.post(f"/admin/regions/{region['id']}", body)
    assert status == 200
    updated = answer["region"]
    assert updated["updated_at"] > region["updated_at"]
    assert countries(updated) == ["fr", "it"]
    assert updated["currency"]["code"] == "usd"
    assert updated["metadata"] == {"b": "2", "c": {"d": 3}}
    same = body.keys() - {"countries", "currency_code", "metadata"}
    assert {key: updated[key] for key in same} == {key: body[key] for key in same}
    nulls = ("metadata", "currency_code", "countries", "payment_providers", "fulfillment_providers")
    answer = await catalog.ok("POST", f"/admin/regions/{region['id']}", dict.fromkeys(nulls))
    assert answer["region"] == updated | {"updated_at": answer["region"]["updated_at"]}


NEW = {"name": "R", **REGION, "countries": ["gb"]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({**NEW, "name": None}, 400),
        ({**NEW, "currency_code": "gbp"}, 400),
        ({**NEW, "currency_code": "zzz"}, 400),
        ({**NEW, "tax_rate": 100.5}, 400),
        ({**NEW, "tax_rate": -1}, 400),
        ({**NEW, "tax_rate": "ten"}, 400),
        ({**NEW, "tax_rate": 1e400}, 400),
        ({**NEW, "countries": ["zz"]}, 400),
        ({**NEW, "countries": ["gb", ""]}, 400),
        ({**NEW, "countries": ["gb", "de"]}, 422),
        ({**NEW, "payment_providers": ["stripe"]}, 400),
        ({**NEW, "fulfillment_providers": ["manual", "pigeon"]}, 400),
        ({**NEW, "metadata": {"a": "\0"}}, 400),
        ({**NEW, "automatic_taxes": True}, 400),
    ],
)
async def test_a_refused_region_leaves_nothing(catalog: Client, body: dict[str, Any], status: int) -> None:
    await make_region(catalog)
    before = await regions_of(catalog)
    answered, refusal = await catalog.post("/admin/regions", body)
    assert (answered, refusal["type"]) == (status, "duplicate_error" if status == 422 else "invalid_data")
    assert await regions_of(catalog) == before
    await another_region(catalog, countries=["gb"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tax_provider_id": "nobody"}, 400),
        ({"tax_rate": 101}, 400),
        ({"name": None}, 400),
        ({"includes_tax": None}, 400),
        ({"currency_code": "gbp"}, 400),
        ({"countries": ["fr", "xx"]}, 400),
        ({"countries": ["it"]}, 422),
        ({"payment_providers": ["stripe"]}, 400),
        ({"colour": "red"}, 400),
    ],
)
async def test_a_refused_update_changes_nothing(catalog: Client, body: dict[str, Any], status: int) -> None:
    region = await make_region(catalog)
    await another_region(catalog, countries=["it"])
    before = await regions_of(catalog)
    answered, _ = await catalog.post(f"/admin/regions/{region['id']}", {"name": "changed", **body})
    assert (answered, await regions_of(catalog)) == (status, before)


async def test_a_deleted_region_is_gone_and_its_countries_are_free(catalog: Client) -> None:
    region = await make_region(catalog)
    path = f"/admin/regions/{region['id']}"
    assert await catalog.delete(path) == (200, {"id": region["id"], "object": "region", "deleted": True})
    assert (await catalog.get(path))[0] == (await catalog.delete(path))[0] == 404
    assert await regions_of(catalog) == []
    await another_region(catalog)


async def test_missing_regions_are_not_found(catalog: Client) -> None:
    path = "/admin/regions/reg_missing"
    for status, answer in [
        await catalog.get(path),
        await catalog.post(path, {}),
        await catalog.delete(path),
        await catalog.get(path + "/fulfillment-options"),
        await catalog.post(path + "/countries", {"country_code": "mx"}),
        await catalog.delete(path + "/countries/mx"),
        await catalog.post(path + "/payment-providers", {"provider_id": "manual"}),
        await catalog.delete(path + "/payment-providers/manual"),
        await catalog.post(path + "/fulfillment-providers", {"provider_id": "manual"}),
        await catalog.delete(path + "/fulfillment-providers/manual"),
    ]:
        assert (status, answer["type"]) == (404, "not_found")


async def test_countries_join_and_leave(catalog: Client) -> None:
    region = await make_region(catalog)
    other = await another_region(catalog, countries=["fr"])
    path = f"/admin/regions/{region['id']}/countries"
    for _ in range(2):
        answer = await catalog.ok("POST", path, {"country_code": "IT"})
        assert countries(answer["region"]) == ["de", "it"]
    assert (await catalog.post(path, {"country_code": "fr"}))[0] == 422
    assert (await catalog.post(path, {"country_code": "xx"}))[0] == 400
    assert (await catalog.post(path, {}))[0] == 400
    for code in ("it", "it", "FR", "xx"):
        answer = await catalog.ok("DELETE", f"{path}/{code}")
        assert countries(answer["region"]) == ["de"]
    assert countries((await catalog.ok("GET", f"/admin/regions/{other['id']}"))["region"]) == ["fr"]


async def test_a_country_goes_to_one_of_those_who_want_it_at_once(catalog: Client) -> None:
    await free_countries(catalog)
    bodies = [NEW | {"name": f"R{n}", "countries": ["de", "fr"] if n % 2 else ["fr", "de"]} for n in range(8)]
    answers = await asyncio.gather(*(catalog.post("/admin/regions", body) for body in bodies))
    assert sorted(status for status, _ in answers) == [200] + [422] * 7
    assert len(await regions_of(catalog)) == 1


async def test_updates_at_once_do_not_block_each_other(catalog: Client) -> None:
    region = await make_region(catalog, countries=["de", "fr"])
    path = f"/admin/regions/{region['id']}"
    bodies: list[dict[str, Any]] = [{"countries": ["fr", "de"]}, {"countries": ["de"]}, {"tax_rate": 7}, {"name": "x"}]
    answers = await asyncio.gather(*(catalog.post(path, body) for body in bodies * 3))
    assert {status for status, _ in answers} == {200}


@pytest.mark.parametrize("kind", ["payment", "fulfillment"])
async def test_providers_join_and_leave(catalog: Client, kind: str) -> None:
    region = await make_region(catalog, payment_providers=[], fulfillment_providers=[])
    path, key = f"/admin/regions/{region['id']}/{kind}-providers", f"{kind}_providers"
    for _ in range(2):
        answer = await catalog.ok("POST", path, {"provider_id": "manual"})
        assert answer["region"][key] == MANUAL
    assert (await catalog.post(path, {"provider_id": "pigeon"}))[0] == 404
    assert (await catalog.post(path, {}))[0] == 400
    for _ in range(2):
        answer = await catalog.ok("DELETE", f"{path}/manual")
        assert answer["region"][key] == []


async def test_fulfillment_options_are_those_of_the_providers(catalog: Client) -> None:
    region = await make_region(catalog, fulfillment_providers=[])
    path = f"/admin/regions/{region['id']}"
    assert await catalog.ok("GET", path + "/fulfillment-options") == {"fulfillment_options": []}
    await catalog.ok("POST", path, {"fulfillment_providers": ["manual"]})
    assert await catalog.ok("GET", path + "/fulfillment-options") == {
        "fulfillment_options": [
            {
                "provider_id": "manual",
                "options": [{"id": "manual-fulfillment"}, {"id": "manual-fulfillment-return", "is_return": True}],
            }
        ]
    }


async def test_a_new_region_is_announced_with_its_countries(stack: Stack, catalog: Client) -> None:
    await free_countries(catalog)
    async with rolled_back(stack) as db:
        region_id = await regions.create_region(db, RegionBody.model_validate(NEW | {"countries": ["fr", "de"]}))
        sent = await events(db)
    assert [(name, aggregate) for name, aggregate, _ in sent] == [
        ("region.created", region_id),
        ("country.updated", "countries"),
    ]
    doc = sent[0][2]["copies"]["region"][0]
    assert (doc["id"], doc["body"]["id"], doc["body"]["tax_rate"]) == (region_id, region_id, 19)
    assert [country["iso_2"] for country in doc["related"]["countries"]] == ["fr", "de"]
    assert doc["related"]["payment_providers"] == doc["related"]["fulfillment_providers"] == MANUAL
    assert (doc["related"]["currency"]["code"], doc["related"]["tax_rates"]) == ("eur", [])
    moved = {doc["id"]: doc["body"]["region_id"] for doc in sent[1][2]["copies"]["country"]}
    assert moved == {"de": region_id, "fr": region_id}


async def test_a_changed_region_is_announced_with_what_shows_it(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region)
    async with rolled_back(stack) as db:
        await regions.update_region(db, region["id"], RegionUpdate(tax_rate=7))
        sent = await events(db)
    assert [(name, aggregate) for name, aggregate, _ in sent] == [
        ("region.updated", region["id"]),
        ("shipping_option.updated", option["id"]),
    ]
    assert sent[0][2]["copies"]["region"][0]["body"]["tax_rate"] == 7
    assert sent[1][2]["copies"]["shipping_option"][0]["related"]["region"]["tax_rate"] == 7


async def test_what_changes_nothing_is_not_announced(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        await region_links.add_country(db, region["id"], "de")
        await region_links.remove_country(db, region["id"], "fr")
        await region_links.change_provider(db, region["id"], region_links.ADD_PAYMENT, "manual")
        assert await events(db) == []


async def test_a_deleted_region_is_announced(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        await regions.remove_region(db, region["id"])
        sent = await events(db)
    assert [(name, aggregate) for name, aggregate, _ in sent] == [
        ("region.deleted", region["id"]),
        ("country.updated", "countries"),
    ]
    assert sent[0][2]["copies"]["region"][0]["body"]["deleted_at"] is not None
    assert sent[1][2]["copies"]["country"][0]["body"]["region_id"] is None


async def test_a_region_is_made_once_for_one_idempotency_key(catalog: Client, uid: str) -> None:
    await free_countries(catalog)
    await catalog.ok("POST", "/admin/store", {"currencies": ["usd", "eur", "dkk"]})
    headers = {"Idempotency-Key": uid}
    first = await catalog.post("/admin/regions", NEW, headers=headers)
    assert first[0] == 200
    assert await catalog.post("/admin/regions", NEW, headers=headers) == first
    assert (await catalog.post("/admin/regions", NEW | {"name": "other"}, headers=headers))[0] == 409
    assert len(await regions_of(catalog)) == 1
