"""Lines of draft orders over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.drafts import ID, Draft, make, shown
from tests.support.factories.shops import Shop


def lines(draft: Draft) -> list[tuple[Any, ...]]:
    return [(i["title"], i["unit_price"], i["quantity"], i["has_shipping"]) for i in draft["cart"]["items"]]


async def add(api: Client, draft: Draft, **item: Any) -> Draft:
    answer: Draft = (await api.ok("POST", ID.format(draft["id"]) + "/line-items", item))["draft_order"]
    return answer


async def change(api: Client, draft: Draft, at: int, **item: Any) -> Draft:
    path = f"{ID.format(draft['id'])}/line-items/{draft['cart']['items'][at]['id']}"
    answer: Draft = (await api.ok("POST", path, item))["draft_order"]
    return answer


async def test_equal_lines_are_merged(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    title = draft["cart"]["items"][0]["title"]
    draft = await add(api, draft, variant_id=shop.small, quantity=3)
    assert lines(draft) == [(title, 1000, 5, False)]
    assert draft["cart"]["shipping_methods"] == []
    assert draft["cart"]["total"] == 5000
    draft = await add(api, draft, variant_id=shop.small, quantity=1, metadata={"gift": True})
    draft = await add(api, draft, variant_id=shop.small, quantity=1, unit_price=777)
    draft = await add(api, draft, variant_id=shop.small, quantity=1, unit_price=777)
    assert [line[1:3] for line in lines(draft)] == [(1000, 5), (1000, 1), (777, 1), (777, 1)]
    for _ in range(2):
        draft = await add(api, draft, title="Engraving", unit_price=500, quantity=1)
    assert [line[:3] for line in lines(draft)][4:] == [("Engraving", 500, 1)] * 2
    assert draft["cart"]["subtotal"] == 5000 + 1000 + 777 * 2 + 1000
    assert "order" not in draft
    assert (await shown(api, draft))["cart"] == draft["cart"]


async def test_a_custom_line_keeps_the_shipping(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    draft = await add(api, draft, quantity=3)
    assert lines(draft)[1] == ("Custom item", 0, 3, True)
    assert len(draft["cart"]["shipping_methods"]) == 1


async def test_change(api: Client, shop: Shop) -> None:
    items = [
        {"variant_id": shop.small, "quantity": 1, "metadata": {"a": 1, "b": 2}},
        {"title": "Wrap", "unit_price": 100, "quantity": 1},
    ]
    draft = await make(api, shop, items=items)
    shirt = draft["cart"]["items"][0]["title"]
    draft = await change(api, draft, 1, title="Big wrap", unit_price=450, quantity=2)
    assert lines(draft) == [(shirt, 1000, 1, True), ("Big wrap", 450, 2, True)]
    assert draft["cart"]["shipping_methods"] == []
    draft = await change(api, draft, 0, quantity=7, metadata={"a": "", "c": 3})
    assert lines(draft)[0] == (shirt, 1000, 7, True)
    assert draft["cart"]["items"][0]["metadata"] == {"b": 2, "c": 3}
    draft = await change(api, draft, 0, unit_price=-3)
    assert lines(draft)[0][1] == 0
    draft = await change(api, draft, 0, quantity=0)
    assert lines(draft) == [("Big wrap", 450, 2, False)]
    assert draft["cart"]["total"] == 900


async def test_take_out(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    path = ID.format(draft["id"]) + "/line-items/"
    before = await shown(api, draft)
    untouched = (await api.ok("DELETE", path + "item_missing"))["draft_order"]
    assert untouched["cart"] == before["cart"]
    emptied = (await api.ok("DELETE", path + draft["cart"]["items"][0]["id"]))["draft_order"]
    assert (emptied["cart"]["items"], emptied["cart"]["shipping_methods"], emptied["cart"]["total"]) == ([], [], 0)


@pytest.mark.parametrize(
    ("item", "status", "kind"),
    [
        ({"quantity": "many"}, 400, "invalid_data"),
        ({"quantity": 0}, 400, "invalid_data"),
        ({}, 400, "invalid_data"),
        ({"variant_id": "variant_missing", "quantity": 1}, 400, "invalid_data"),
        ({"quantity": 1, "surprise": 1}, 400, "invalid_data"),
        ({"quantity": 2**31 - 1, "unit_price": 2**53 - 1}, 400, "invalid_data"),
    ],
)
async def test_refused_lines_change_nothing(
    api: Client, shop: Shop, item: dict[str, Any], status: int, kind: str
) -> None:
    draft = await make(api, shop)
    got, answer = await api.post(ID.format(draft["id"]) + "/line-items", item)
    assert (got, answer["type"]) == (status, kind), answer
    assert await shown(api, draft) == draft


async def test_unknown_lines(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    for body in ({"quantity": 1}, {"quantity": -1}):
        status, answer = await api.post(ID.format(draft["id"]) + "/line-items/item_missing", body)
        assert (status, answer["type"]) == (400, "invalid_data")
    missing = ID.format("dorder_missing") + "/line-items"
    assert (await api.post(missing, {"quantity": 1}))[0] == 404
    assert (await api.post(missing + "/item_missing", {"quantity": 1}))[0] == 404
    assert (await api.delete(missing + "/item_missing"))[0] == 404
    assert await shown(api, draft) == draft


async def test_a_paid_draft_is_closed(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    path = ID.format(draft["id"])
    await api.ok("POST", path + "/pay")
    before = await shown(api, draft)
    line = draft["cart"]["items"][0]["id"]
    answers = [
        await api.post(path, {"email": "late@example.com"}),
        await api.post(path + "/line-items", {"title": "x", "quantity": 1}),
        await api.post(f"{path}/line-items/{line}", {"quantity": 5}),
        await api.delete(f"{path}/line-items/{line}"),
    ]
    assert [(status, answer["type"]) for status, answer in answers] == [(400, "not_allowed")] * 4
    assert await shown(api, draft) == before


async def test_lines_added_at_once_are_all_there(api: Client, shop: Shop) -> None:
    draft = await make(api, shop)
    path = ID.format(draft["id"]) + "/line-items"
    answers = await asyncio.gather(*(api.post(path, {"variant_id": shop.small, "quantity": 1}) for _ in range(4)))
    assert {status for status, _ in answers} <= {200, 409}
    done = sum(status == 200 for status, _ in answers)
    assert done >= 1
    now = await shown(api, draft)
    assert [line[1:3] for line in lines(now)] == [(1000, 2 + done)]
    assert now["cart"]["subtotal"] == 1000 * (2 + done)
