"""Price lists: create, change, delete, find; whom they are for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.chassis.errors import Unavailable
from tests.support.client import Client
from tests.support.database import reads
from tests.support.factories.price_lists import Json, amounts, connected, euros, make_group, make_list, the_list
from tests.support.factories.regions import make_product, make_region
from tests.support.stack import Stack
from tests.support.waiting import until


@pytest.fixture
async def variant(catalog: Client) -> Json:
    """Of 10.00."""
    variant: Json = (await make_product(catalog, [{"currency_code": "eur", "amount": 1000}]))["variants"][0]
    return variant


@pytest.fixture
async def vip(stack: Stack, orders: Client) -> AsyncIterator[Json]:
    """A group of customers."""
    yield await make_group(stack, orders)


async def names_of(catalog: Client, uid: str, **query: Any) -> list[str]:
    """Names of the lists that a query finds among those of the test."""
    answer = await catalog.ok("GET", "/admin/price-lists", query={"q": uid} | query)
    assert answer["count"] == len(answer["price_lists"])
    return [price_list["name"].split()[0] for price_list in answer["price_lists"]]


async def count(stack: Stack) -> tuple[int, int, int]:
    """Price lists, prices, groups of lists."""
    row = await stack.pool("catalog").fetchrow(
        "select (select count(*) from price_lists), (select count(*) from prices),"
        " (select count(*) from price_list_customer_groups)"
    )
    return tuple(row)


async def test_a_list_as_created(stack: Stack, catalog: Client, variant: Json, vip: Json, uid: str) -> None:
    region = await make_region(catalog)
    body = {
        "name": f"Black Friday {uid}",
        "description": "Everything cheaper",
        "type": "override",
        "starts_at": "2022-11-24",
        "ends_at": "2099-11-28T01:00:00+01:00",
        "includes_tax": True,
        "customer_groups": [{"id": vip["id"]}],
        "prices": [
            {"variant_id": variant["id"], "currency_code": "EUR", "amount": 799, "min_quantity": 10},
            {"variant_id": variant["id"], "region_id": region["id"], "amount": 899, "max_quantity": 5},
        ],
    }
    price_list = (await catalog.ok("POST", "/admin/price-lists", body))["price_list"]
    shown = {key: value for key, value in variant.items() if key in price_list["prices"][0]["variant"]}
    price = {
        "created_at": price_list["created_at"],
        "updated_at": price_list["created_at"],
        "deleted_at": None,
        "currency_code": "eur",
        "price_list_id": price_list["id"],
        "variant_id": variant["id"],
        "variant": shown,
        "variants": [shown],
    }
    assert price_list == {
        "id": price_list["id"],
        "created_at": price_list["created_at"],
        "updated_at": price_list["created_at"],
        "deleted_at": None,
        "name": f"Black Friday {uid}",
        "description": "Everything cheaper",
        "type": "override",
        "status": "draft",
        "starts_at": "2022-11-24T00:00:00.000Z",
        "ends_at": "2099-11-28T00:00:00.000Z",
        "includes_tax": True,
        "customer_groups": [vip],
        "prices": [
            price
            | {
                "id": price_list["prices"][0]["id"],
                "amount": 799,
                "region_id": None,
                "min_quantity": 10,
                "max_quantity": None,
            },
            price
            | {
                "id": price_list["prices"][1]["id"],
                "amount": 899,
                "region_id": region["id"],
                "min_quantity": None,
                "max_quantity": 5,
            },
        ],
    }
    with stack.statements("catalog") as statements:
        assert await catalog.get(f"/admin/price-lists/{price_list['id']}") == (200, {"price_list": price_list})
    assert len(reads(statements)) == 1
    assert price_list["id"].startswith("pl_")


async def test_an_update_changes_what_it_names(catalog: Client, variant: Json, vip: Json, uid: str) -> None:
    price_list = await make_list(
        catalog,
        euros(variant["id"], 900, min_quantity=2),
        euros(variant["id"], 800),
        starts_at="2022-01-01",
        customer_groups=[{"id": vip["id"]}],
    )
    path, first = f"/admin/price-lists/{price_list['id']}", price_list["prices"][0]["id"]
    renamed = (await catalog.ok("POST", path, {"name": uid}))["price_list"]
    assert renamed == price_list | {"name": uid, "updated_at": renamed["updated_at"]}
    body = {
        "description": "d2",
        "type": "override",
        "status": "draft",
        "starts_at": None,
        "ends_at": "2099-01-01",
        "includes_tax": True,
        "customer_groups": [],
        "prices": [
            {"id": first, "variant_id": variant["id"], "amount": 888, "max_quantity": 9},
            {"variant_id": variant["id"], "currency_code": "usd", "amount": 5},
        ],
    }
    changed = (await catalog.ok("POST", path, body))["price_list"]
    assert (
        changed.items()
        >= {
            "name": uid,
            "description": "d2",
            "type": "override",
            "status": "draft",
            "starts_at": None,
            "ends_at": "2099-01-01T00:00:00.000Z",
            "includes_tax": True,
            "customer_groups": [],
        }.items()
    )
    assert [(p["amount"], p["currency_code"], p["min_quantity"], p["max_quantity"]) for p in changed["prices"]] == [
        (888, "eur", 2, 9),
        (800, "eur", None, None),
        (5, "usd", None, None),
    ]
    assert changed["prices"][0]["id"] == first
    assert (await catalog.ok("POST", path, {"customer_groups": [{"id": vip["id"]}]}))["price_list"][
        "customer_groups"
    ] == [vip]


async def test_deleting_a_list_deletes_its_prices(stack: Stack, catalog: Client, variant: Json) -> None:
    before = await count(stack)
    price_list = await make_list(catalog, euros(variant["id"], 900))
    path = f"/admin/price-lists/{price_list['id']}"
    for _ in range(2):
        assert await catalog.delete(path) == (200, {"id": price_list["id"], "object": "price-list", "deleted": True})
        assert await count(stack) == before
    for answer in (await catalog.get(path), await catalog.post(path, {"name": "x"})):
        assert (answer[0], answer[1]["type"]) == (404, "not_found")
    shown = (await catalog.ok("GET", f"/admin/variants/{variant['id']}"))["variant"]
    assert [price["amount"] for price in shown["prices"]] == [1000]


async def test_finding_lists(catalog: Client, variant: Json, vip: Json, uid: str) -> None:
    alpha = await make_list(catalog, euros(variant["id"], 10), name=f"Alpha {uid}")
    beta = await make_list(
        catalog, name="Beta", description=f"Is {uid}", type="override", customer_groups=[{"id": vip["id"]}]
    )
    await make_list(catalog, name=f"Gamma {uid}", status="draft")
    assert await names_of(catalog, uid) == ["Gamma", "Beta", "Alpha"]
    assert await names_of(catalog, uid.upper(), order="name") == ["Alpha", "Beta", "Gamma"]
    assert await names_of(catalog, uid, order="-name", status="draft") == ["Gamma"]
    assert await names_of(catalog, uid, **{"status[]": ["active", "draft"], "type[]": "sale"}) == ["Gamma", "Alpha"]
    assert await names_of(catalog, uid, **{"customer_groups[]": vip["id"]}) == ["Beta"]
    assert await names_of(catalog, vip["name"]) == ["Beta"]
    assert await names_of(catalog, uid, id=alpha["id"]) == ["Alpha"]
    assert await names_of(catalog, uid, name=f"Gamma {uid}") == ["Gamma"]
    assert await names_of(catalog, uid, **{"created_at[gt]": "2020-01-01", "updated_at[lt]": "2020-01-01"}) == []
    assert await names_of(catalog, uid, **{"deleted_at[gt]": "2020-01-01"}) == []
    page = await catalog.ok("GET", "/admin/price-lists", query={"q": uid, "limit": 1, "offset": 1, "order": "name"})
    bare = {key: value for key, value in beta.items() if key != "prices"}
    assert page == {"price_lists": [bare], "count": 3, "offset": 1, "limit": 1}
    (row,) = (await catalog.ok("GET", "/admin/price-lists", query={"id": beta["id"]}))["price_lists"]
    assert row == {key: value for key, value in bare.items() if key != "customer_groups"}
    query = {"id": alpha["id"], "expand": "prices.variants", "fields": "name"}
    (row,) = (await catalog.ok("GET", "/admin/price-lists", query=query))["price_lists"]
    (price,) = alpha["prices"]
    priced = {key: value for key, value in price.items() if key not in ("variant", "variant_id")}
    assert row == {key: alpha[key] for key in ("id", "created_at", "name")} | {"prices": [priced]}
    query["expand"] = "prices.currency,prices.region,prices.price_list"
    ((shown,),) = [
        each["prices"] for each in (await catalog.ok("GET", "/admin/price-lists", query=query))["price_lists"]
    ]
    assert (shown["currency"]["code"], shown["region"], shown["price_list"]["id"]) == ("eur", None, alpha["id"])
    assert (await catalog.ok("GET", "/admin/price-lists", query={"id": "pl_missing"}))["limit"] == 10


@pytest.mark.parametrize(
    "query", ["colour=red", "type[]=cheap", "status[]=soon", "customer_groups=x", "expand=nonsense", "order=nonsense"]
)
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"/admin/price-lists?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")


PRICE = {"variant_id": "", "currency_code": "eur", "amount": 5}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": None}, 400),
        ({"description": None}, 400),
        ({"type": "cheap"}, 400),
        ({"status": "soon"}, 400),
        ({"prices": None}, 400),
        ({"starts_at": "not a date"}, 400),
        ({"ends_at": 5}, 400),
        ({"includes_tax": "yes"}, 400),
        ({"colour": "red"}, 400),
        ({"prices": [{"variant_id": "", "amount": 5}]}, 400),
        ({"prices": [PRICE | {"region_id": "reg_x"}]}, 400),
        ({"prices": [PRICE | {"amount": "5"}]}, 400),
        ({"prices": [PRICE | {"amount": 5.5}]}, 400),
        ({"prices": [PRICE | {"amount": 2**53}]}, 400),
        ({"prices": [PRICE | {"min_quantity": 2**31}]}, 400),
        ({"prices": [{"currency_code": "eur", "amount": 5}]}, 400),
        ({"prices": [PRICE, PRICE | {"currency_code": "zzz"}]}, 404),
        ({"prices": [{"variant_id": "", "region_id": "reg_missing", "amount": 5}]}, 404),
        ({"prices": [PRICE, PRICE | {"variant_id": "variant_missing"}]}, 404),
        ({"customer_groups": [{"id": "cgrp_missing"}]}, 404),
    ],
)
async def test_refusals_change_nothing(stack: Stack, catalog: Client, variant: Json, change: Json, status: int) -> None:
    await connected(stack)
    price_list = await make_list(catalog, euros(variant["id"], 900))
    before = await count(stack)
    prices = [
        p | {"variant_id": p["variant_id"] or variant["id"]} if "variant_id" in p else p
        for p in change.get("prices") or []
    ]
    change = change | ({"prices": prices} if prices else {})
    body = {"name": "n", "description": "d", "type": "sale", "prices": []} | change
    refused, answer = await catalog.post("/admin/price-lists", body)
    assert (refused, answer["type"]) == (status, "not_found" if status == 404 else "invalid_data")
    if change != {"prices": None}:
        refused, answer = await catalog.post(f"/admin/price-lists/{price_list['id']}", {"description": "no"} | change)
        assert (refused, answer["type"]) == (status, "not_found" if status == 404 else "invalid_data")
    assert await count(stack) == before
    assert await the_list(catalog, price_list["id"]) == price_list


async def test_groups_that_cannot_be_asked_for(stack: Stack, catalog: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: Any, **__: Any) -> Any:
        raise Unavailable("no broker")

    before = await count(stack)
    monkeypatch.setattr("services.catalog.remote.send", unreachable)
    body = {"name": "n", "description": "d", "type": "sale", "prices": []}
    assert (await catalog.post("/admin/price-lists", body | {"customer_groups": [{"id": "cgrp_x"}]}))[0] == 503
    assert await count(stack) == before
    price_list = (await catalog.ok("POST", "/admin/price-lists", body))["price_list"]
    assert (await catalog.get(f"/admin/price-lists/{price_list['id']}"))[0] == 200


async def test_a_group_that_is_deleted_is_not_shown(stack: Stack, catalog: Client, orders: Client, vip: Json) -> None:
    price_list = await make_list(catalog, customer_groups=[{"id": vip["id"]}])
    assert price_list["customer_groups"] == [vip]
    await orders.ok("DELETE", f"/admin/customer-groups/{vip['id']}")

    async def gone() -> bool:
        return not (await the_list(catalog, price_list["id"]))["customer_groups"]

    await until(gone)


async def test_updates_at_once_all_count(catalog: Client, variant: Json) -> None:
    price_list = await make_list(catalog)
    path = f"/admin/price-lists/{price_list['id']}"
    bodies = [{"prices": [euros(variant["id"], n)]} for n in range(8)]
    answers = await asyncio.gather(*(catalog.post(path, body) for body in bodies))
    assert [status for status, _ in answers] == [200] * 8
    assert sorted(amounts(await the_list(catalog, price_list["id"]))) == list(range(8))


async def test_a_list_and_its_deletion_at_once(stack: Stack, catalog: Client, variant: Json) -> None:
    before = await count(stack)
    price_list = await make_list(catalog, euros(variant["id"], 1))
    path = f"/admin/price-lists/{price_list['id']}"
    answers = await asyncio.gather(
        *(catalog.post(path, {"prices": [euros(variant["id"], n)]}) for n in range(4)),
        catalog.delete(path),
        catalog.delete(path),
    )
    assert {status for status, _ in answers[:4]} <= {200, 404}
    assert [status for status, _ in answers[4:]] == [200, 200]
    assert await count(stack) == before


async def test_a_renamed_group_is_shown_with_its_new_name(
    catalog: Client, orders: Client, stack: Stack, uid: str
) -> None:
    group = await make_group(stack, orders)
    price_list = await make_list(catalog, customer_groups=[{"id": group["id"]}])
    await orders.ok("POST", f"/admin/customer-groups/{group['id']}", {"name": f"Gold {uid}"})

    async def renamed() -> bool:
        return [g["name"] for g in (await the_list(catalog, price_list["id"]))["customer_groups"]] == [f"Gold {uid}"]

    await until(renamed)
