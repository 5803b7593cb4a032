"""Shipping profiles: products and options move between them."""

import asyncio
from typing import Any

import pytest

from services.catalog.shipping import profiles as shipping_profiles
from services.catalog.shipping.profiles import ShippingProfileUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import make_option, make_product, make_region
from tests.support.stack import Stack


async def make_profile(catalog: Client, **more: Any) -> dict[str, Any]:
    body = {"name": "Bulky", "type": "custom", **more}
    profile: dict[str, Any] = (await catalog.ok("POST", "/admin/shipping-profiles", body))["shipping_profile"]
    return profile


async def profile_of(catalog: Client, id_: str) -> dict[str, Any]:
    profile: dict[str, Any] = (await catalog.ok("GET", f"/admin/shipping-profiles/{id_}"))["shipping_profile"]
    return profile


async def seeded(catalog: Client, type_: str) -> dict[str, Any]:
    profiles = (await catalog.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    return next(profile for profile in profiles if profile["type"] == type_)


async def test_two_are_there_from_the_start(stack: Stack, catalog: Client) -> None:
    with stack.statements("catalog") as statements:
        body = await catalog.ok("GET", "/admin/shipping-profiles", query={"bogus": "ignored"})
    assert len(reads(statements)) == 1
    assert body.keys() == {"shipping_profiles"}
    assert [(p["name"], p["type"]) for p in body["shipping_profiles"][:2]] == [
        ("Default Shipping Profile", "default"),
        ("Gift Card Profile", "gift_card"),
    ]


async def test_a_list_has_ten_at_most(catalog: Client) -> None:
    for _ in range(9):
        await make_profile(catalog)
    assert len((await catalog.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]) == 10


async def test_a_profile_is_created_without_contents(catalog: Client) -> None:
    profile = await make_profile(catalog, metadata={"truck": "big"})
    assert profile == {
        "id": profile["id"],
        "created_at": profile["created_at"],
        "updated_at": profile["created_at"],
        "deleted_at": None,
        "name": "Bulky",
        "type": "custom",
        "metadata": {"truck": "big"},
    }
    assert await profile_of(catalog, profile["id"]) == profile | {"products": [], "shipping_options": []}


async def test_contents_move_and_are_shown(stack: Stack, catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog))
    product = await make_product(catalog, [])
    bulky = await make_profile(catalog)
    body = {"name": "Huge", "products": [product["id"]], "shipping_options": [option["id"]], "metadata": {"a": "b"}}
    answer = (await catalog.ok("POST", f"/admin/shipping-profiles/{bulky['id']}", body))["shipping_profile"]
    plain = bulky | {"name": "Huge", "metadata": {"a": "b"}, "updated_at": answer["updated_at"]}
    assert {key: answer[key] for key in plain} == plain
    (shown,) = answer["products"]
    assert (shown["id"], shown["profile_id"], shown["profile"], shown["profiles"]) == (
        product["id"],
        bulky["id"],
        plain,
        [plain],
    )
    assert [(o["id"], o["profile_id"]) for o in answer["shipping_options"]] == [(option["id"], bulky["id"])]
    with stack.statements("catalog") as statements:
        assert await profile_of(catalog, bulky["id"]) == answer
    assert len(reads(statements)) == 1
    path = f"/admin/shipping-profiles/{bulky['id']}"
    assert await catalog.ok("GET", path, query={"expand": "", "colour": "red"}) == {"shipping_profile": answer}
    nulls = dict.fromkeys(("products", "shipping_options", "metadata"))
    same = (await catalog.ok("POST", path, nulls))["shipping_profile"]
    assert (same["metadata"], same["shipping_options"]) == (answer["metadata"], answer["shipping_options"])
    default = await seeded(catalog, "default")
    await catalog.ok("POST", f"/admin/shipping-profiles/{default['id']}", {"products": [product["id"]]})
    left = await profile_of(catalog, bulky["id"])
    assert (left["products"], len(left["shipping_options"])) == ([], 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "X"},
        {"type": "custom"},
        {"name": "X", "type": "strange"},
        {"name": "X", "type": "custom", "products": []},
    ],
)
async def test_a_wrong_profile_is_refused(catalog: Client, body: dict[str, Any]) -> None:
    status, refusal = await catalog.post("/admin/shipping-profiles", body)
    assert (status, refusal["type"]) == (400, "invalid_data")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "strange"}, 400),
        ({"name": None}, 400),
        ({"products": ["prod_missing"]}, 404),
        ({"shipping_options": ["so_missing"]}, 404),
        ({"products": [{"id": "x"}]}, 400),
    ],
)
async def test_a_refused_update_changes_nothing(catalog: Client, body: dict[str, Any], status: int) -> None:
    profile = await make_profile(catalog)
    before = await profile_of(catalog, profile["id"])
    answered, _ = await catalog.post(f"/admin/shipping-profiles/{profile['id']}", {"name": "changed", **body})
    assert (answered, await profile_of(catalog, profile["id"])) == (status, before)


async def test_missing_profiles(catalog: Client) -> None:
    path = "/admin/shipping-profiles/sp_missing"
    assert (await catalog.get(path))[0] == (await catalog.post(path, {"name": "x"}))[0] == 404
    assert await catalog.delete(path) == (200, {"id": "sp_missing", "object": "shipping_profile", "deleted": True})


async def test_a_deleted_profile_is_gone_and_its_options_stay(catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog))
    bulky = await make_profile(catalog)
    path = f"/admin/shipping-profiles/{bulky['id']}"
    await catalog.ok("POST", path, {"shipping_options": [option["id"]]})
    for _ in range(2):
        assert await catalog.delete(path) == (200, {"id": bulky["id"], "object": "shipping_profile", "deleted": True})
    assert (await catalog.get(path))[0] == 404
    kept = (await catalog.ok("GET", f"/admin/shipping-options/{option['id']}"))["shipping_option"]
    assert kept["profile_id"] == bulky["id"]


@pytest.mark.parametrize("type_", ["default", "gift_card"])
async def test_the_last_profile_that_products_need_stays(catalog: Client, type_: str) -> None:
    profile = await seeded(catalog, type_)
    path = f"/admin/shipping-profiles/{profile['id']}"
    status, refusal = await catalog.delete(path)
    assert (status, refusal["type"]) == (400, "not_allowed")
    assert (await catalog.post(path, {"type": "custom"}))[0] == 400
    assert (await profile_of(catalog, profile["id"]))["type"] == type_


async def test_of_two_default_profiles_deleted_at_once_one_stays(stack: Stack, catalog: Client) -> None:
    first, second = await seeded(catalog, "default"), await make_profile(catalog, type="default")
    answers = await asyncio.gather(*(catalog.delete(f"/admin/shipping-profiles/{p['id']}") for p in (first, second)))
    assert sorted(status for status, _ in answers) == [200, 400]
    # Other tests know the first one.
    await stack.pool("catalog").execute("update shipping_profiles set deleted_at = null where id = $1", first["id"])
    # Others heard that it is gone, and the tests to come need it.
    await catalog.ok("POST", f"/admin/shipping-profiles/{first['id']}", {"name": first["name"]})
    await catalog.ok("DELETE", f"/admin/shipping-profiles/{second['id']}")


async def test_moves_at_once_end_with_one_owner(catalog: Client) -> None:
    region = await make_region(catalog)
    options = [(await make_option(catalog, region))["id"] for _ in range(3)]
    profiles = [(await make_profile(catalog))["id"] for _ in range(4)]
    answers = await asyncio.gather(
        *(
            catalog.post(f"/admin/shipping-profiles/{id_}", {"shipping_options": options[:: 1 if n % 2 else -1]})
            for n, id_ in enumerate(profiles * 2)
        )
    )
    assert {status for status, _ in answers} == {200}
    owned = [len((await profile_of(catalog, id_))["shipping_options"]) for id_ in profiles]
    assert sorted(owned) == [0, 0, 0, 3]


async def test_changes_are_announced_with_what_shows_them(stack: Stack, catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog))
    product = await make_product(catalog, [])
    bulky = await make_profile(catalog)
    async with rolled_back(stack) as db:
        body = ShippingProfileUpdate(shipping_options=[option["id"]], products=[product["id"]])
        await shipping_profiles.update_profile(db, bulky["id"], body)
        sent = await events(db)
    assert [(name, aggregate) for name, aggregate, _ in sent] == [
        ("shipping_profile.updated", bulky["id"]),
        ("shipping_option.updated", option["id"]),
        ("product.updated", product["id"]),
    ]
    assert sent[1][2]["copies"]["shipping_option"][0]["related"]["profile"]["id"] == bulky["id"]
    related = sent[2][2]["copies"]["product"][0]["related"]
    assert related["profile"]["id"] == related["profiles"][0]["id"] == related["profile_id"] == bulky["id"]
