"""Further codes of dynamic discounts."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from services.catalog.discounts import discounts, dynamic_codes
from services.catalog.discounts.discounts import DiscountBody, DiscountUpdate
from services.catalog.discounts.dynamic_codes import DynamicCodeBody
from tests.support.client import Client
from tests.support.database import events, rolled_back
from tests.support.factories.discounts import discount_body, make_discount, one
from tests.support.factories.regions import make_region
from tests.support.stack import Stack


def codes(discount: dict[str, Any], code: str = "") -> str:
    return f"/admin/discounts/{discount['id']}/dynamic-codes" + (f"/{code}" if code else "")


async def test_a_code_shares_the_rule_and_runs_out(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    parent = await make_discount(catalog, region, is_dynamic=True, valid_duration="P1DT12H", usage_limit=2)
    body = {"code": f" for-ada-{uid}", "usage_limit": 7, "metadata": {"who": "ada"}}
    code = (await catalog.ok("POST", codes(parent), body))["discount"]
    created_at = datetime.fromisoformat(code["created_at"])
    assert datetime.fromisoformat(code["ends_at"]) - created_at == timedelta(days=1, hours=12)
    own = {name: value for name, value in parent.items() if name not in ("rule", "regions", "parent_discount")}
    assert code == {
        **parent,
        "id": code["id"],
        "code": f"FOR-ADA-{uid.upper()}",
        "parent_discount_id": parent["id"],
        "parent_discount": own,
        "regions": [],
        "starts_at": code["created_at"],
        "ends_at": code["ends_at"],
        "valid_duration": None,
        "created_at": code["created_at"],
        "updated_at": code["created_at"],
        "metadata": {"who": "ada"},
    }
    assert await catalog.get(f"/admin/discounts/code/for-ada-{uid}") == (200, {"discount": code})
    shown = await one(catalog, code, expand="parent_discount.rule,parent_discount.regions")
    assert shown["parent_discount"]["rule"] == {k: v for k, v in parent["rule"].items() if k != "conditions"}
    assert [each["id"] for each in shown["parent_discount"]["regions"]] == [region["id"]]
    forever = await make_discount(catalog, region, is_dynamic=True)
    limits: list[Any] = [0, -1, 1.5, None]
    for n, limit in enumerate(limits):
        sent = {"code": f"ever-{n}-{uid}", "usage_limit": limit}
        made_too = (await catalog.ok("POST", codes(forever), sent, {"fields": "code", "colour": "red"}))["discount"]
        assert (made_too["ends_at"], made_too["usage_limit"]) == (None, None)


async def test_deleting_a_code_answers_its_discount(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    parent = await make_discount(catalog, region, is_dynamic=True)
    other = await make_discount(catalog, region, is_dynamic=True)
    await catalog.ok("POST", codes(parent), {"code": uid})
    assert await catalog.delete(codes(other, uid)) == (200, {"discount": other})
    assert (await catalog.get(f"/admin/discounts/code/{uid}"))[0] == 200
    for _ in range(2):
        assert await catalog.ok("DELETE", codes(parent, uid), query={"expand": "", "colour": "red"}) == {
            "discount": parent
        }
        assert (await catalog.get(f"/admin/discounts/code/{uid}"))[0] == 404
    assert (await catalog.delete(codes({"id": "disc_missing"}, uid)))[0] == 404


async def test_refusals(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    parent = await make_discount(catalog, region, is_dynamic=True)
    code = (await catalog.ok("POST", codes(parent), {"code": uid}))["discount"]
    for path, body, refusal in [
        (codes(parent), {"code": uid}, (422, "duplicate_error")),
        (codes(parent), {}, (400, "invalid_data")),
        (codes(parent), {"code": "  "}, (400, "invalid_data")),
        (codes(parent), {"code": f"x{uid}", "usage_limit": "7"}, (400, "invalid_data")),
        (codes({"id": "disc_missing"}), {"code": f"x{uid}"}, (404, "not_found")),
        (codes(await make_discount(catalog, region)), {"code": f"x{uid}"}, (400, "not_allowed")),
        (codes(code), {"code": f"x{uid}"}, (400, "not_allowed")),
    ]:
        status, answer = await catalog.post(path, body)
        assert (status, answer["type"]) == refusal, (path, body)
    assert (await catalog.get(f"/admin/discounts/code/x{uid}"))[0] == 404


async def test_codes_of_one_discount_are_made_at_once(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    parent = await make_discount(catalog, region, is_dynamic=True)
    sent = [{"code": f"{n}-{uid}"} for n in (1, 1, 2, 3)]
    answers = await asyncio.gather(
        *(catalog.post(codes(parent), body) for body in sent),
        catalog.post(f"/admin/discounts/{parent['id']}", {"rule": {"id": parent["rule_id"], "value": 20}}),
    )
    assert sorted(status for status, _ in answers) == [200, 200, 200, 200, 422]
    answer = await catalog.ok("GET", "/admin/discounts", query={"q": f"-{uid}", "order": "code"})
    assert [each["code"][0] for each in answer["discounts"]] == ["1", "2", "3"]
    assert {each["rule"]["value"] for each in answer["discounts"]} == {20}


async def test_a_change_of_the_discount_is_told_for_its_codes_too(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        parent = await discounts.create_discount(db, DiscountBody(**discount_body(region, is_dynamic=True)))
        code = await dynamic_codes.create_code(db, parent, DynamicCodeBody(code=uid))
        await discounts.update_discount(db, parent, DiscountUpdate(is_disabled=True))
        await dynamic_codes.remove_code(db, parent, uid.upper())
        emitted = [(name, id_, data) for name, id_, data in await events(db) if id_ in (parent, code)]
    assert [(name, id_ == parent) for name, id_, _ in emitted] == [
        ("discount.created", True), ("discount.created", False), ("discount.updated", True),
        ("discount.updated", False), ("discount.deleted", False),
    ]  # fmt: skip
    doc = emitted[3][2]["copies"]["discount"][0]
    assert (doc["id"], doc["related"]["parent_discount"]["is_disabled"]) == (code, True)
