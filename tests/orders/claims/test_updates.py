"""Changing claims over HTTP: images, tags, notes, reasons, shipping methods, metadata, who is notified."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.claims import Row, again, claim, claimed, path_of, refund_of, replacement, shipped, shown
from tests.support.factories.shops import Shop
from tests.support.stack import Stack, listening
from tests.support.waiting import until


@pytest.fixture
async def order(api: Client, shop: Shop) -> Row:
    return await shipped(api, shop)


@pytest.fixture
async def created(api: Client, shop: Shop, order: Row, uid: str) -> Row:
    """A replacement for one of the small variant, with two images and two tags."""
    items = claimed(order, (1000, 1), tags=[f"old {uid}", f"kept {uid}"], images=["front", "back"], note="First")
    return await claim(api, order, replacement(shop, order, claim_items=items, metadata={"ticket": 1, "agent": "Lee"}))


async def update(api: Client, order: Row, created: Row, body: Row) -> Row:
    await api.ok("POST", f"{path_of(order)}/claims/{created['id']}", body)
    return await again(api, order, created)


def details(item: Row) -> tuple[list[str], list[str]]:
    """What its images and its tags say."""
    return [image["url"] for image in item["images"]], sorted(tag["value"] for tag in item["tags"])


async def test_everything_at_once(api: Client, stack: Stack, order: Row, created: Row, uid: str) -> None:
    (old,) = created["claim_items"]
    kept = {tag["value"]: tag for tag in old["tags"]}[f"kept {uid}"]
    front = old["images"][0]
    change = {
        "id": old["id"],
        "note": "Second",
        "reason": "wrong_item",
        "metadata": {"shelf": "b"},
        "images": [{"url": "side"}, {"id": front["id"], "url": "not changed"}],
        "tags": [{"value": f" KEPT {uid}"}, {"value": f"new {uid}"}, {"value": f"New {uid} "}],
    }
    body = {
        "no_notification": True,
        "metadata": {"ticket": 2, "agent": "", "priority": "high"},
        "claim_items": [change],
    }
    async with listening(stack, "claim.updated", "claim_item.updated") as heard:
        now = await update(api, order, created, body)

        async def emitted() -> Any:
            return {event["type"]: event["data"] for event in heard} if len(heard) == 2 else None

        assert await until(emitted) == {
            "claim.updated": {"id": created["id"], "order_id": order["id"], "no_notification": True},
            "claim_item.updated": {"id": old["id"], "claim_order_id": created["id"]},
        }
    assert (now["no_notification"], now["metadata"]) == (True, {"ticket": 2, "priority": "high"})
    (item,) = now["claim_items"]
    names = ("id", "note", "reason", "metadata", "quantity", "item_id")
    assert {name: item[name] for name in names} == {name: {**old, **change}[name] for name in names}
    assert details(item) == (["front", "side"], [f"kept {uid}", f"new {uid}"])
    assert item["images"][0] == front
    assert kept in item["tags"]


async def test_what_is_not_sent_stays(api: Client, order: Row, created: Row, uid: str) -> None:
    (old,) = created["claim_items"]
    now = await update(api, order, created, {})
    assert {**now, "updated_at": created["updated_at"]} == created
    change = {"id": old["id"], "note": "", "images": [{"id": i["id"]} for i in old["images"]]}
    now = await update(
        api, order, created, {"claim_items": [change | {"tags": [{"id": t["id"]} for t in old["tags"]]}]}
    )
    assert {**now["claim_items"][0], "updated_at": old["updated_at"]} == old
    now = await update(api, order, created, {"claim_items": [{"id": old["id"], "images": [], "tags": []}]})
    assert details(now["claim_items"][0]) == ([], [])
    now = await update(
        api, order, created, {"claim_items": [{"id": old["id"], "images": [], "tags": [], "metadata": {"a": 1}}]}
    )
    change = {"id": old["id"], "images": [], "tags": [], "metadata": {"a": "", "b": [2]}}
    now = await update(api, order, created, {"claim_items": [change], "metadata": None})
    assert (now["claim_items"][0]["metadata"], now["metadata"]) == ({"b": [2]}, {"ticket": 1, "agent": "Lee"})


async def test_who_is_notified_can_be_left_open_again(api: Client, order: Row, created: Row) -> None:
    assert (await update(api, order, created, {"no_notification": False}))["no_notification"] is False
    assert (await update(api, order, created, {"metadata": {}}))["no_notification"] is False
    assert (await update(api, order, created, {"no_notification": None}))["no_notification"] is None


async def test_other_methods_take_the_place_of_those_before(api: Client, shop: Shop, order: Row, created: Row) -> None:
    own = order["shipping_methods"][0]["id"]
    option = shop.shipping_option
    new = [{"option_id": option, "price": 90, "data": {"speed": "fast"}}, {"option_id": option}, {"id": own}]
    now = await update(api, order, created, {"shipping_methods": new})
    assert [(m["price"], m["data"], m["order_id"]) for m in now["shipping_methods"]] == [
        (500, {}, order["id"]),
        (90, {"speed": "fast"}, None),
        (500, {}, None),
    ]
    fast = next(m["id"] for m in now["shipping_methods"] if m["price"] == 90)
    now = await update(api, order, created, {"shipping_methods": [{"id": fast}]})
    assert [m["id"] for m in now["shipping_methods"]] == [fast]
    assert [m["id"] for m in (await shown(api, order))["shipping_methods"]] == [own]
    assert (await update(api, order, created, {"shipping_methods": []}))["shipping_methods"] == []
    assert [m["id"] for m in (await shown(api, order))["shipping_methods"]] == [own]


async def test_refused_changes_change_nothing(api: Client, shop: Shop, order: Row, created: Row, uid: str) -> None:
    other = await claim(api, order, refund_of(order, (1000, 1), refund_amount=0))
    elsewhere = await shipped(api, shop)
    item, tag = created["claim_items"][0]["id"], created["claim_items"][0]["tags"][0]["id"]
    image = created["claim_items"][0]["images"][0]["id"]
    none: Row = {"images": [], "tags": []}

    def items(**more: Any) -> Row:
        return {"claim_items": [{"id": item} | none | more], "metadata": {"changed": True}}

    before = await shown(api, order)
    path = f"{path_of(order)}/claims/{created['id']}"
    for body, expected, type_ in (
        ({"claim_items": [{"id": item, "images": []}]}, 400, "invalid_data"),
        ({"claim_items": [{"id": item, "tags": []}]}, 400, "invalid_data"),
        ({"claim_items": [none]}, 400, "invalid_data"),
        (items(id="citm_x"), 404, "not_found"),
        (items(id=other["claim_items"][0]["id"]), 404, "not_found"),
        (items(reason="bored"), 400, "invalid_data"),
        (items(quantity=1), 400, "invalid_data"),
        (items(images=[{}]), 400, "invalid_data"),
        (items(images=[{"id": "cimg_x"}]), 400, "invalid_data"),
        (items(images=[{"id": "cimg_x", "url": "u"}]), 400, "invalid_data"),
        (items(tags=[{}]), 400, "invalid_data"),
        (items(tags=[{"id": "ctag_x"}]), 400, "invalid_data"),
        (items(tags=[{"id": tag}, {"id": "ctag_x", "value": uid}]), 400, "invalid_data"),
        ({"claim_items": [{"id": item} | none, {"id": item} | none]}, 400, "invalid_data"),
        ({"type": "refund"}, 400, "invalid_data"),
        ({"metadata": {"a": 1}, "shipping_methods": [{}]}, 404, "not_found"),
        ({"metadata": {"a": 1}, "shipping_methods": [{"option_id": "so_x"}]}, 404, "not_found"),
        ({"metadata": {"a": 1}, "shipping_methods": [{"id": "sm_x"}]}, 404, "not_found"),
        ({"shipping_methods": [{"id": elsewhere["shipping_methods"][0]["id"]}]}, 404, "not_found"),
        ({"shipping_methods": [{"option_id": shop.shipping_option, "price": -1}]}, 400, "invalid_data"),
    ):
        status, answer = await api.post(path, body)
        assert (status, answer["type"]) == (expected, type_), body
    foreign = {"claim_items": [{"id": other["claim_items"][0]["id"], "images": [{"id": image}], "tags": []}]}
    status, answer = await api.post(f"{path_of(order)}/claims/{other['id']}", foreign)
    assert (status, answer["type"]) == (400, "invalid_data")
    for wrong in (f"{path_of(order)}/claims/claim_x", f"{path_of(elsewhere)}/claims/{created['id']}"):
        status, answer = await api.post(wrong, {"metadata": {"a": 1}})
        assert (status, answer["type"]) == (404, "not_found")
    assert await shown(api, order) == before
    await api.ok("POST", f"{path}/cancel")
    before = await shown(api, order)
    status, answer = await api.post(path, {"no_notification": False})
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await shown(api, order) == before


async def test_tags_that_are_new_to_two_at_once(api: Client, stack: Stack, order: Row, uid: str) -> None:
    """One row for each, whoever is first; in whatever order they are named."""
    names = [f"{n} {uid}" for n in range(12)]
    created = [await claim(api, order, refund_of(order, (1000, 1), refund_amount=0)) for _ in range(3)]
    others = [await shipped_like(api, order) for _ in range(2)]
    pairs = [(order, each) for each in created]
    for other in others:
        pairs.append((other, await claim(api, other, refund_of(other, (1000, 1), refund_amount=0))))

    async def tag(order_: Row, each: Row, values: list[str]) -> Any:
        change = {"id": each["claim_items"][0]["id"], "images": [], "tags": [{"value": value} for value in values]}
        return await api.post(f"{path_of(order_)}/claims/{each['id']}", {"claim_items": [change]})

    answers = await asyncio.gather(
        *(tag(order_, each, names if n % 2 else names[::-1]) for n, (order_, each) in enumerate(pairs))
    )
    assert [status for status, _ in answers] == [200] * len(pairs)
    tag_lists = [(await again(api, of, each))["claim_items"][0]["tags"] for of, each in pairs]
    assert all(sorted(t["value"] for t in tags) == sorted(names) for tags in tag_lists)
    assert len({t["id"] for tags in tag_lists for t in tags}) == len(names)


async def shipped_like(api: Client, order: Row) -> Row:
    """Another order of the same things."""
    variants = [{"variant_id": line["variant_id"], "quantity": line["quantity"]} for line in order["items"]]
    body = {
        "email": order["email"],
        "region_id": order["region_id"],
        "items": variants,
        "shipping_methods": [{"option_id": order["shipping_methods"][0]["shipping_option_id"]}],
    }
    draft = (await api.ok("POST", "/admin/draft-orders", body))["draft_order"]
    placed = (await api.ok("POST", f"/admin/draft-orders/{draft['id']}/pay"))["order"]
    lines = [{"item_id": line["id"], "quantity": line["quantity"]} for line in placed["items"]]
    order_: Row = (await api.ok("POST", f"{path_of(placed)}/fulfillment", {"items": lines}))["order"]
    return order_
