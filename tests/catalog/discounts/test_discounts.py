"""Discounts: what they are, how they change and are found, and refusals."""

import asyncio
import secrets
from typing import Any

import pytest

from services.catalog.discounts import discounts, regions
from services.catalog.discounts.discounts import DiscountBody, DiscountUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.discounts import TEN_PERCENT, discount_body, make_discount, one
from tests.support.factories.regions import another_region, make_region
from tests.support.stack import Stack

DISCOUNTS = "/admin/discounts"


async def test_a_discount_as_created(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    body = discount_body(region, code=f" summer-{uid} ", metadata={"team": "web"}, usage_limit=5)
    discount = (await catalog.ok("POST", DISCOUNTS, body))["discount"]
    assert {name: value for name, value in discount.items() if name not in ("rule", "regions")} == {
        "id": discount["id"],
        "code": f"SUMMER-{uid.upper()}",
        "rule_id": discount["rule"]["id"],
        "is_dynamic": False,
        "is_disabled": False,
        "parent_discount": None,
        "parent_discount_id": None,
        "starts_at": discount["created_at"],
        "ends_at": None,
        "valid_duration": None,
        "usage_limit": 5,
        "usage_count": 0,
        "created_at": discount["created_at"],
        "updated_at": discount["created_at"],
        "deleted_at": None,
        "metadata": {"team": "web"},
    }
    assert (discount["id"][:5], discount["rule_id"][:4]) == ("disc_", "dru_")
    assert [each["id"] for each in discount["regions"]] == [region["id"]]
    stamps = dict.fromkeys(("created_at", "updated_at"), discount["created_at"])
    assert discount["rule"] == {
        "id": discount["rule_id"], "description": None, **TEN_PERCENT, "conditions": [], "metadata": None,
        "deleted_at": None, **stamps,
    }  # fmt: skip
    with stack.statements("catalog") as statements:
        answer = await catalog.get(f"{DISCOUNTS}/{discount['id']}")
    assert (answer, len(reads(statements))) == ((200, {"discount": discount}), 1)
    assert await catalog.get(f"{DISCOUNTS}/code/summer-{uid}") == (200, {"discount": discount})
    assert await one(catalog, discount, fields="code", expand="") == {
        "id": discount["id"],
        "code": f"SUMMER-{uid.upper()}",
    }


async def test_update(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    usd = await another_region(catalog, currency_code="usd", countries=["us"])
    discount = await make_discount(catalog, region, usage_limit=5, ends_at="2099-01-01", metadata={"a": 1, "b": 2})
    body = {
        "code": f"winter-{uid}",
        "rule": {"id": discount["rule_id"], "description": "Winter", "value": 15, "allocation": "item"},
        "is_disabled": True,
        "starts_at": "2022-12-01T00:00:00.000Z",
        "ends_at": None,
        "usage_limit": None,
        "regions": [usd["id"]],
        "metadata": {"a": "", "c": 3},
    }
    changed = (await catalog.ok("POST", f"{DISCOUNTS}/{discount['id']}", body))["discount"]
    assert changed == await one(catalog, discount)
    names = ("code", "is_disabled", "starts_at", "ends_at", "usage_limit", "metadata")
    assert {name: changed[name] for name in names} == {
        "code": f"WINTER-{uid.upper()}",
        "is_disabled": True,
        "starts_at": "2022-12-01T00:00:00.000Z",
        "ends_at": None,
        "usage_limit": None,
        "metadata": {"b": 2, "c": 3},
    }
    assert {name: changed["rule"][name] for name in ("description", "type", "value", "allocation")} == {
        "description": "Winter",
        "type": "percentage",
        "value": 15,
        "allocation": "item",
    }
    assert [each["id"] for each in changed["regions"]] == [usd["id"]]
    nothings: list[dict[str, Any]] = [{}, {"regions": None, "metadata": None, "rule": None}]
    for nothing in nothings:
        same = (await catalog.ok("POST", f"{DISCOUNTS}/{discount['id']}", nothing))["discount"]
        assert same | {"updated_at": ""} == changed | {"updated_at": ""}


async def test_a_deleted_code_can_be_used_again(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, code=f"again-{uid}")
    path, body = f"{DISCOUNTS}/{discount['id']}", discount_body(region, code=f"AGAIN-{uid}")
    status, refusal = await catalog.post(DISCOUNTS, body)
    assert (status, refusal["type"], refusal["code"]) == (422, "duplicate_error", "invalid_request_error")
    gone = 200, {"id": discount["id"], "object": "discount", "deleted": True}
    assert await catalog.delete(path) == gone == await catalog.delete(path)
    for missing in (path, f"{DISCOUNTS}/code/again-{uid}"):
        assert (await catalog.get(missing))[0] == 404
    assert (await catalog.post(path, {}))[0] == 404
    assert (await catalog.post(DISCOUNTS, body))[0] == 200


async def test_a_code_is_taken_once_whoever_comes_first(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    body = discount_body(region, code=f"race-{uid}")
    statuses = [status for status, _ in await asyncio.gather(*(catalog.post(DISCOUNTS, body) for _ in range(6)))]
    assert sorted(statuses) == [200] + [422] * 5
    other = await make_discount(catalog, region)
    assert (await catalog.post(f"{DISCOUNTS}/{other['id']}", {"code": f"race-{uid}"}))[0] == 422
    assert await one(catalog, other) == other


FIXED = {"type": "fixed"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": None}, 400),
        ({"code": " "}, 400),
        ({"code": secrets.token_hex(2000)}, 400),
        ({"regions": None}, 400),
        ({"regions": []}, 400),
        ({"regions": ["reg_missing"]}, 404),
        ({"rule": {"value": 101}}, 400),
        ({"rule": {"value": 10.5}}, 400),
        ({"rule": {"value": "10"}}, 400),
        ({"rule": {"value": -1}}, 400),
        ({"rule": FIXED | {"value": 2**63}}, 400),
        ({"rule": {"type": "half"}}, 400),
        ({"rule": {"allocation": "each"}}, 400),
        ({"rule": {"colour": "red"}}, 400),
        ({"starts_at": "2030-01-02T00:00:00.000Z", "ends_at": "2030-01-01T00:00:00.000Z"}, 400),
        ({"ends_at": "soon"}, 400),
        ({"usage_limit": 0}, 400),
        ({"usage_limit": 2**31}, 400),
        ({"valid_duration": "two days"}, 400),
        ({"valid_duration": "P"}, 400),
        ({"colour": "red"}, 400),
    ],
)
async def test_create_refusals(catalog: Client, uid: str, body: dict[str, Any], status: int) -> None:
    region = await make_region(catalog)
    sent = discount_body(region, **{"code": uid} | body)
    sent["rule"] = TEN_PERCENT | body.get("rule", {})
    assert (await catalog.post(DISCOUNTS, sent))[0] == status
    assert (await catalog.ok("GET", DISCOUNTS, query={"q": uid}))["discounts"] == []


async def test_update_refusals_change_nothing(catalog: Client) -> None:
    region = await make_region(catalog)
    usd = await another_region(catalog, currency_code="usd", countries=["us"])
    discount = await make_discount(catalog, region, starts_at="2022-01-01T00:00:00.000Z")
    other = await make_discount(catalog, region, rule=FIXED)
    rule = {"id": discount["rule_id"]}
    for body, status in [
        ({"regions": [region["id"], "reg_missing"]}, 404),
        ({"ends_at": "2021-01-01T00:00:00.000Z"}, 400),
        ({"rule": {"value": 20}}, 400),
        ({"rule": rule | {"value": 101}}, 400),
        ({"rule": rule | {"type": "fixed"}}, 400),
        ({"rule": {"id": other["rule_id"], "value": 1}}, 400),
        ({"code": None}, 400),
        ({"is_disabled": None}, 400),
        ({"is_dynamic": True}, 400),
        ({"is_disabled": True, "code": other["code"]}, 422),
    ]:
        assert (await catalog.post(f"{DISCOUNTS}/{discount['id']}", body))[0] == status, body
    assert (await catalog.post(f"{DISCOUNTS}/{other['id']}", {"regions": [region["id"], usd["id"]]}))[0] == 400
    assert (await one(catalog, discount), await one(catalog, other)) == (discount, other)


async def test_regions_come_and_go(catalog: Client) -> None:
    region = await make_region(catalog)
    usd = await another_region(catalog, currency_code="usd", countries=["us"])
    discount = await make_discount(catalog, region)
    fixed = await make_discount(catalog, region, rule=FIXED)
    path = f"{DISCOUNTS}/{discount['id']}/regions/"

    async def changed(method: str, region_id: str) -> list[str]:
        answer = await catalog.ok(method, path + region_id)
        return sorted(each["id"] for each in answer["discount"]["regions"])

    both = sorted([region["id"], usd["id"]])
    assert await changed("POST", usd["id"]) == both == await changed("POST", usd["id"])
    assert await changed("DELETE", region["id"]) == [usd["id"]] == await changed("DELETE", region["id"])
    assert await changed("DELETE", "reg_missing") == [usd["id"]]
    whole = {"discount": await one(catalog, discount)}
    for method in ("POST", "DELETE"):
        region_id = usd["id"] if method == "POST" else "reg_missing"
        assert await catalog.ok(method, path + region_id, query={"fields": "code", "colour": "red"}) == whole
    assert (await catalog.post(path + "reg_missing"))[0] == 404
    assert (await catalog.post(f"{DISCOUNTS}/disc_missing/regions/{usd['id']}"))[0] == 404
    assert (await catalog.delete(f"{DISCOUNTS}/disc_missing/regions/{usd['id']}"))[0] == 404
    status, refusal = await catalog.post(f"{DISCOUNTS}/{fixed['id']}/regions/{usd['id']}")
    assert (status, refusal["type"]) == (400, "invalid_data")
    assert await one(catalog, fixed) == fixed


async def test_a_fixed_discount_never_gets_two_regions(catalog: Client) -> None:
    region = await make_region(catalog)
    usd = await another_region(catalog, currency_code="usd", countries=["us"])
    fixed = await make_discount(catalog, region, rule=FIXED)
    path = f"{DISCOUNTS}/{fixed['id']}"
    await catalog.ok("DELETE", f"{path}/regions/{region['id']}")
    adding = (catalog.post(f"{path}/regions/{each['id']}") for each in (region, usd) * 3)
    statuses = {status for status, _ in await asyncio.gather(*adding)}
    assert statuses == {200, 400}
    assert len((await one(catalog, fixed))["regions"]) == 1


async def test_list(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    first = await make_discount(catalog, region, code=f"{uid}-a")
    second = await make_discount(
        catalog, region, code=f"{uid}-b", rule=FIXED | {"allocation": "item"}, is_disabled=True
    )
    third = await make_discount(catalog, region, code=f"{uid}-c", rule={"type": "free_shipping"}, is_dynamic=True)

    async def codes(**query: str) -> list[str]:
        answer = await catalog.ok("GET", DISCOUNTS, query={"q": uid, "fields": "code", "expand": ""} | query)
        return [each["code"][-1] for each in answer["discounts"]]

    with stack.statements("catalog") as statements:
        answer = await catalog.get(DISCOUNTS, {"q": uid.upper()})
    assert len(reads(statements)) == 1
    assert answer == (200, {"discounts": [third, second, first], "count": 3, "offset": 0, "limit": 20})
    assert await codes(order="code", limit="2") == ["A", "B"]
    assert await codes(order="-code", limit="2", offset="1") == ["B", "A"]
    assert await codes(**{"rule[type]": "fixed"}) == ["B"]
    assert await codes(**{"rule[allocation]": "total"}) == ["C", "A"]
    assert await codes(**{"rule[allocation]": "total", "rule[type]": "percentage"}) == ["A"]
    assert (await codes(is_dynamic="true"), await codes(is_disabled="false")) == (["C"], ["C", "A"])
    assert await codes(**{"created_at[lt]": "2020-01-01"}) == []
    assert await codes(**{"created_at[gt]": "2020-01-01", "updated_at[gt]": "2020-01-01"}) == ["C", "B", "A"]
    for query in (
        {"rule[type]": "half"}, {"rule[colour]": "red"}, {"rule": "fixed"}, {"order": "bogus"}, {"expand": "bogus"},
        {"is_dynamic": "maybe"}, {"colour": "red"},
    ):  # fmt: skip
        status, refusal = await catalog.get(DISCOUNTS, query)
        assert (status, refusal["type"]) == (400, "invalid_data"), query


async def test_every_change_is_told_with_the_discount_as_it_is(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        discount_id = await discounts.create_discount(db, DiscountBody(**discount_body(region)))
        await discounts.update_discount(db, discount_id, DiscountUpdate(is_disabled=True))
        await regions.remove_region(db, discount_id, region["id"])
        await regions.remove_region(db, discount_id, region["id"])
        await discounts.remove_discount(db, discount_id)
        await discounts.remove_discount(db, discount_id)
        emitted = [event for event in await events(db) if event[1] == discount_id]
    assert [name for name, _, _ in emitted] == [
        "discount.created", "discount.updated", "discount.updated", "discount.deleted"
    ]  # fmt: skip
    docs = [data["copies"]["discount"][0] for _, _, data in emitted]
    assert [doc["body"]["is_disabled"] for doc in docs] == [False, True, True, True]
    assert [[each["id"] for each in doc["related"]["regions"]] for doc in docs] == [
        [region["id"]], [region["id"]], [], []
    ]  # fmt: skip
    assert (docs[-1]["body"]["deleted_at"] is not None, docs[0]["body"]["deleted_at"]) == (True, None)
    assert docs[0]["related"]["rule"] == docs[0]["related"]["rule"] | TEN_PERCENT
    assert docs[0]["related"]["parent_discount"] is None
