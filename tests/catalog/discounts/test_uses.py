"""Uses of discounts: counted once per order, never over the limit, given back when an order is not placed."""

import asyncio
from typing import Any

import pytest

from services.catalog.discounts.uses import unuse_discounts, use_discounts
from services.chassis.commands import call
from services.chassis.errors import ApiError, NotAllowed
from services.chassis.ids import new_id
from services.chassis.keys import BUS
from services.orders import remote
from tests.support.client import Client
from tests.support.database import events, rolled_back
from tests.support.factories.discounts import make_discount, one
from tests.support.factories.regions import make_region
from tests.support.factories.shops import Shop, set_up
from tests.support.stack import Stack
from tests.support.waiting import until


def use(order_id: str, *discounts: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": order_id, "discount_ids": sorted(discount["id"] for discount in discounts)}


async def count(catalog: Client, discount: dict[str, Any]) -> int:
    count: int = (await one(catalog, discount))["usage_count"]
    return count


async def test_an_order_uses_a_discount_once(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    limited, free = [await make_discount(catalog, region, usage_limit=limit) for limit in (1, None)]
    async with rolled_back(stack) as db:
        for _ in range(2):
            assert await use_discounts(db, use("order_1", limited, free)) == {}
        assert await use_discounts(db, use("order_2", free) | {"discount_ids": [free["id"], "disc_missing"]}) == {}
        emitted = [
            (data["id"], data["copies"]["discount"][0]["body"]["usage_count"])
            for name, id_, data in await events(db)
            if name == "discount.updated" and id_ in (limited["id"], free["id"])
        ]
        assert sorted(emitted) == sorted([(limited["id"], 1), (free["id"], 1), (free["id"], 2)])
        assert await unuse_discounts(db, use("order_1", limited, free) | {"compensates": None}) == {}
        assert await unuse_discounts(db, use("order_1", limited, free) | {"compensates": None}) == {}
        rows = await db.fetch("select id, usage_count from discounts where id in ($1, $2)", limited["id"], free["id"])
        assert {row["id"]: row["usage_count"] for row in rows} == {limited["id"]: 0, free["id"]: 1}


async def test_all_discounts_of_an_order_or_none(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    limited, free = [await make_discount(catalog, region, usage_limit=limit) for limit in (1, None)]
    bus = stack.apps["orders"][BUS]
    await call(bus, "catalog", "use_discounts", use(new_id("order"), limited), key=new_id("key"))
    with pytest.raises(ApiError) as refusal:
        await call(bus, "catalog", "use_discounts", use(new_id("order"), limited, free), key=new_id("key"))
    assert (refusal.value.status, refusal.value.type) == (400, "not_allowed")
    assert limited["code"] in refusal.value.message
    assert (await count(catalog, limited), await count(catalog, free)) == (1, 0)


async def test_the_limit_holds_when_many_orders_come_at_once(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region, usage_limit=3)
    bus = stack.apps["orders"][BUS]

    async def attempt() -> bool:
        try:
            await call(bus, "catalog", "use_discounts", use(new_id("order"), discount), key=new_id("key"))
        except ApiError as refusal:
            assert refusal.type == "not_allowed"
            return False
        return True

    assert sum(await asyncio.gather(*(attempt() for _ in range(10)))) == 3
    assert await count(catalog, discount) == 3


async def test_an_undo_that_comes_first_wins(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    discount = await make_discount(catalog, region)
    bus, body, key = stack.apps["orders"][BUS], use(new_id("order"), discount), new_id("key")
    await call(bus, "catalog", "unuse_discounts", body | {"compensates": key}, key=new_id("key"))
    with pytest.raises(ApiError) as refusal:
        await call(bus, "catalog", "use_discounts", body, key=key)
    assert (refusal.value.status, await count(catalog, discount)) == (409, 0)


# Through orders


async def sold(api: Client, **more: Any) -> tuple[Shop, dict[str, Any]]:
    shop = await set_up(api)
    return shop, await make_discount(api, {"id": shop.region}, **more)


async def drafts_of(api: Client, shop: Shop, discount: dict[str, Any], number: int) -> list[str]:
    body = shop.draft(discounts=[{"code": discount["code"]}])
    return [(await api.ok("POST", "/admin/draft-orders", body))["draft_order"]["id"] for _ in range(number)]


async def test_a_placed_order_is_counted(api: Client) -> None:
    shop, discount = await sold(api, usage_limit=1)
    (draft,) = await drafts_of(api, shop, discount, 1)
    assert await count(api, discount) == 0
    order = (await api.ok("POST", f"/admin/draft-orders/{draft}/pay"))["order"]
    assert (order["discount_total"], await count(api, discount)) == (200, 1)

    async def shown() -> bool:
        shown = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
        return bool(shown["discounts"][0]["usage_count"] == 1)

    await until(shown)
    status, refusal = await api.post("/admin/draft-orders", shop.draft(discounts=[{"code": discount["code"]}]))
    assert (status, refusal["type"]) == (400, "not_allowed")


async def test_orders_placed_at_once_share_what_is_left(api: Client) -> None:
    shop, discount = await sold(api, usage_limit=2)
    drafts = await drafts_of(api, shop, discount, 5)
    answers = await asyncio.gather(*(api.post(f"/admin/draft-orders/{draft}/pay") for draft in drafts))
    assert sorted(status for status, _ in answers) == [200, 200, 400, 400, 400]
    assert {answer["type"] for status, answer in answers if status == 400} == {"not_allowed"}
    assert await count(api, discount) == 2
    # Those that came too late are drafts as before, and can be paid without it.
    late = next(draft for draft, (status, _) in zip(drafts, answers, strict=True) if status == 400)
    await api.ok("POST", f"/admin/draft-orders/{late}", {"discounts": []})
    order = (await api.ok("POST", f"/admin/draft-orders/{late}/pay"))["order"]
    assert (order["discount_total"], await count(api, discount)) == (0, 2)


async def test_an_order_that_is_not_placed_gives_its_use_back(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, discount = await sold(api, usage_limit=1)
    (draft,) = await drafts_of(api, shop, discount, 1)

    async def refuse(*_: Any) -> Any:
        raise NotAllowed("The card was declined.")

    with monkeypatch.context() as patched:
        patched.setattr(remote, "authorize", refuse)
        status, _ = await api.post(f"/admin/draft-orders/{draft}/pay")
    assert (status, await count(api, discount)) == (400, 0)
    await api.ok("POST", f"/admin/draft-orders/{draft}/pay")
    assert await count(api, discount) == 1


async def test_a_draft_keeps_a_discount_that_has_ended(api: Client) -> None:
    shop, discount = await sold(api)
    (draft,) = await drafts_of(api, shop, discount, 1)
    await api.ok("POST", f"/admin/discounts/{discount['id']}", {"is_disabled": True})
    path = f"/admin/draft-orders/{draft}"
    added = await api.ok("POST", path + "/line-items", {"variant_id": shop.large, "quantity": 1})
    assert added["draft_order"]["cart"]["discount_total"] == 350
    assert (await api.post(path, {"discounts": [{"code": discount["code"]}]}))[0] == 400
    order = (await api.ok("POST", path + "/pay"))["order"]
    assert (order["discount_total"], await count(api, discount)) == (350, 1)


async def test_changes_and_uses_of_one_family_do_not_block_each_other(stack: Stack, catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    parent = await make_discount(catalog, region, is_dynamic=True)
    path, bus = f"/admin/discounts/{parent['id']}", stack.apps["orders"][BUS]
    codes = [(await catalog.ok("POST", path + "/dynamic-codes", {"code": f"{n}-{uid}"}))["discount"] for n in range(3)]
    family = [parent, *codes]
    rule = {"id": parent["rule_id"]}
    await asyncio.gather(
        *(
            call(bus, "catalog", "use_discounts", use(new_id("order"), *reversed(family)), key=new_id("key"))
            for _ in range(5)
        ),
        *(catalog.ok("POST", f"/admin/discounts/{each['id']}", {"rule": rule | {"value": 20}}) for each in family),
        *(catalog.ok("POST", path + "/dynamic-codes", {"code": f"new-{n}-{uid}"}) for n in range(3)),
    )
    assert [await count(catalog, each) for each in family] == [5, 5, 5, 5]
    assert {(await one(catalog, each))["rule"]["value"] for each in family} == {20}


async def test_a_draft_keeps_its_discount_when_the_code_is_another(api: Client) -> None:
    shop = await set_up(api)
    discount = await make_discount(api, {"id": shop.region})
    body = shop.draft(discounts=[{"code": discount["code"]}])
    path = f"/admin/draft-orders/{(await api.ok('POST', '/admin/draft-orders', body))['draft_order']['id']}"
    await api.ok("POST", f"/admin/discounts/{discount['id']}", {"code": f"new-{discount['code']}"})
    for changes in ({"email": "new@example.com"}, {}):
        draft = (await api.ok("POST", path, changes))["draft_order"]
        assert draft["cart"]["discount_total"] == 200
    await api.ok("POST", f"{path}/line-items", {"variant_id": shop.large, "quantity": 1})
    cart = (await api.ok("GET", path))["draft_order"]["cart"]
    assert (cart["discount_total"], [d["id"] for d in cart["discounts"]]) == (350, [discount["id"]])
    order = (await api.ok("POST", f"{path}/pay"))["order"]
    assert (order["discount_total"], [d["id"] for d in order["discounts"]]) == (350, [discount["id"]])
