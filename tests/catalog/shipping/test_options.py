"""Shipping options: prices with tax in lists, requirements, and refusals."""

import asyncio
from typing import Any

import pytest

from services.catalog.shipping import options as shipping_options
from services.catalog.shipping.options import ShippingOptionBody, ShippingOptionUpdate
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.regions import OPTION, another_region, make_option, make_product, make_region
from tests.support.stack import Stack

MIN, MAX = {"type": "min_subtotal", "amount": 1000}, {"type": "max_subtotal", "amount": 9000}


async def options_of(catalog: Client, **query: str) -> list[dict[str, Any]]:
    options: list[dict[str, Any]] = (await catalog.ok("GET", "/admin/shipping-options", query=query))[
        "shipping_options"
    ]
    return options


async def test_an_option_as_created(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(
        catalog, region, name="Express", requirements=[MAX, MIN], admin_only=True, metadata={"a": "b"}
    )
    assert option["id"].startswith("so_") and option["requirements"][0]["id"].startswith("sor_")
    assert option == {
        "id": option["id"],
        "created_at": option["created_at"],
        "updated_at": option["created_at"],
        "deleted_at": None,
        "name": "Express",
        "region_id": region["id"],
        "profile_id": option["profile"]["id"],
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": 500,
        "is_return": False,
        "admin_only": True,
        "includes_tax": False,
        "data": {"id": "manual-fulfillment"},
        "metadata": {"a": "b"},
        "region": {key: value for key, value in region.items() if not isinstance(value, list) and key != "currency"},
        "profile": option["profile"],
        "requirements": [
            {
                "id": requirement["id"],
                "shipping_option_id": option["id"],
                "type": type_,
                "amount": amount,
                "deleted_at": None,
            }
            for requirement, type_, amount in zip(
                option["requirements"], ("min_subtotal", "max_subtotal"), (1000, 9000), strict=True
            )
        ],
    }
    assert (option["profile"]["type"], option["profile"]["name"]) == ("default", "Default Shipping Profile")
    with stack.statements("catalog") as statements:
        answer = await catalog.get(f"/admin/shipping-options/{option['id']}")
    assert (answer, len(reads(statements))) == ((200, {"shipping_option": option}), 1)


async def test_a_list_shows_prices_with_tax(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=19)
    net = await make_option(catalog, region, amount=500)
    gross = await make_option(catalog, region, amount=1190, includes_tax=True)
    with stack.statements("catalog") as statements:
        answer = await catalog.ok("GET", "/admin/shipping-options", query={"region_id": region["id"]})
    assert len(reads(statements)) == 1
    rates = [{"rate": 19, "name": "default", "code": "default"}]
    assert answer == {
        "shipping_options": [
            gross | {"price_incl_tax": 1190, "tax_amount": 190, "tax_rates": rates},
            net | {"price_incl_tax": 595, "tax_amount": 95, "tax_rates": rates},
        ],
        "count": 2,
        "offset": 0,
        "limit": 50,
    }


@pytest.mark.parametrize(
    ("rate", "amount", "includes_tax", "tax"),
    [(12.5, 900, False, 113), (8.875, 333, False, 30), (20, 1099, True, 183), (0, 500, True, 0), (50, 1, False, 1)],
)
async def test_taxes_are_rounded_half_up(
    catalog: Client, rate: float, amount: int, includes_tax: bool, tax: int
) -> None:
    region = await make_region(catalog, tax_rate=rate)
    await make_option(catalog, region, amount=amount, includes_tax=includes_tax)
    (shown,) = await options_of(catalog, region_id=region["id"])
    assert (shown["tax_amount"], shown["price_incl_tax"]) == (tax, amount if includes_tax else amount + tax)


async def test_rates_of_the_option_replace_that_of_the_region(catalog: Client) -> None:
    region = await make_region(catalog, tax_rate=19)
    option = await make_option(catalog, region)
    for code, rate in (("a", 7), ("b", 2.5)):
        body = {"code": code, "name": code, "region_id": region["id"], "rate": rate, "shipping_options": [option["id"]]}
        await catalog.ok("POST", "/admin/tax-rates", body)
    (shown,) = await options_of(catalog, region_id=region["id"])
    assert (shown["tax_amount"], shown["price_incl_tax"]) == (48, 548)
    assert shown["tax_rates"] == [{"rate": 7, "name": "a", "code": "a"}, {"rate": 2.5, "name": "b", "code": "b"}]


async def test_without_automatic_taxes_there_are_none(catalog: Client) -> None:
    region = await make_region(catalog)
    await make_option(catalog, region)
    await catalog.ok("POST", f"/admin/regions/{region['id']}", {"automatic_taxes": False})
    (shown,) = await options_of(catalog, region_id=region["id"])
    assert (shown["tax_amount"], shown["price_incl_tax"], shown["tax_rates"]) == (0, 500, [])


async def test_lists_are_filtered_and_ordered(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    a = (await make_option(catalog, region, name=f"A {uid}", amount=3))["id"]
    b = (await make_option(catalog, region, name=f"B {uid}", amount=2, is_return=True))["id"]
    c = (await make_option(catalog, region, name=f"C {uid}", amount=1, admin_only=True))["id"]
    for query, ids in [
        ({"q": uid}, [c, b, a]),
        ({"q": f"a {uid}".upper()}, [a]),
        ({"name": f"B {uid}"}, [b]),
        ({"name": uid}, []),
        ({"id": a}, [a]),
        ({"id[]": a, "order": "amount"}, [a]),
        ({"region_id": region["id"], "is_return": "true"}, [b]),
        ({"region_id": region["id"], "is_return": "false", "admin_only": "false"}, [a]),
        ({"q": uid, "order": "-amount", "limit": "1", "offset": "1"}, [b]),
        ({"q": uid, "created_at[lt]": "2020-01-01"}, []),
        ({"q": uid, "updated_at[gt]": "2020-01-01", "deleted_at[gt]": "2020-01-01"}, []),
    ]:
        assert [option["id"] for option in await options_of(catalog, **query)] == ids, query
    status, answer = await catalog.get("/admin/shipping-options", {"is_return": "maybe"})
    assert (status, answer["type"]) == (400, "invalid_data")
    (shown,) = await options_of(catalog, id=a, fields="name", expand="requirements")
    assert shown.keys() == {"id", "created_at", "name", "requirements", "price_incl_tax", "tax_amount", "tax_rates"}


async def test_every_relation_can_be_expanded(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region, requirements=[MIN, MAX], profile_id="")
    product = await make_product(catalog, [])
    rate = {"code": "r", "name": "R", "rate": 5, "region_id": region["id"]}
    rate = (await catalog.ok("POST", "/admin/tax-rates", rate))["tax_rate"]
    plain = {key: value for key, value in option.items() if key not in ("region", "profile", "requirements")}

    async def shown(expand: str) -> dict[str, Any]:
        (row,) = await options_of(catalog, id=option["id"], expand=expand)
        return row

    provider = {"id": "manual", "is_installed": True}
    assert (await shown("provider"))["provider"] == provider
    with stack.statements("catalog") as statements:
        row = await shown("requirements.shipping_option.provider")
    assert len(reads(statements)) == 1
    assert [each.pop("shipping_option") for each in row["requirements"]] == [plain | {"provider": provider}] * 2
    assert row["requirements"] == option["requirements"]
    row = await shown("region.tax_rates,region.countries.region,region.tax_provider")
    assert [each["id"] for each in row["region"]["tax_rates"]] == [rate["id"]]
    assert row["region"]["tax_provider"] is None
    assert [each["region"]["id"] for each in row["region"]["countries"]] == [region["id"]]
    row = await shown("profile.products,profile.shipping_options.requirements")
    assert {key: row["profile"][key] for key in option["profile"]} == option["profile"]
    assert product["id"] in [each["id"] for each in row["profile"]["products"]]
    (again,) = [each for each in row["profile"]["shipping_options"] if each["id"] == option["id"]]
    assert again == plain | {"requirements": option["requirements"]}


async def test_one_option_is_whole_whatever_is_asked(catalog: Client) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region)
    path = f"/admin/shipping-options/{option['id']}"
    queries: list[dict[str, str]] = [{}, {"expand": ""}, {"fields": "name", "colour": "red"}]
    for query in queries:
        assert await catalog.ok("GET", path, query=query) == {"shipping_option": option}
    body: dict[str, Any] = {"requirements": [], "metadata": None}
    same = (await catalog.ok("POST", path, body))["shipping_option"]
    assert same == option | {"updated_at": same["updated_at"]}
    await catalog.ok("DELETE", f"/admin/regions/{region['id']}")
    assert (await catalog.ok("GET", path))["shipping_option"]["region"] is None


async def test_an_update_keeps_adds_and_removes_requirements(catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog), requirements=[MIN, MAX], metadata={"a": "1"})
    path = f"/admin/shipping-options/{option['id']}"
    first, second = option["requirements"]
    body = {
        "name": "Slow",
        "amount": 0,
        "admin_only": True,
        "includes_tax": True,
        "metadata": {"a": "", "b": "2"},
        "requirements": [
            {"id": first["id"], "type": "max_subtotal", "amount": 7},
            {"type": "min_subtotal", "amount": 5},
        ],
    }
    answer = (await catalog.ok("POST", path, body))["shipping_option"]
    assert {key: answer[key] for key in ("name", "amount", "admin_only", "includes_tax", "metadata")} == {
        "name": "Slow",
        "amount": 0,
        "admin_only": True,
        "includes_tax": True,
        "metadata": {"b": "2"},
    }
    added, kept = answer["requirements"]
    assert kept == first | {"type": "max_subtotal", "amount": 7}
    assert (added["type"], added["amount"]) == ("min_subtotal", 5)
    assert added["id"] not in (first["id"], second["id"])
    swapped = [
        {"id": kept["id"], "type": "min_subtotal", "amount": 1},
        {"id": added["id"], "type": "max_subtotal", "amount": 2},
    ]
    answer = (await catalog.ok("POST", path, {"requirements": swapped}))["shipping_option"]
    assert [r["id"] for r in answer["requirements"]] == [kept["id"], added["id"]]
    answer = (await catalog.ok("POST", path, {"requirements": []}))["shipping_option"]
    assert (answer["requirements"], answer["name"]) == ([], "Slow")


def create(**more: Any) -> dict[str, Any]:
    return {**OPTION, **more}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        (create(region_id="reg_missing"), 404),
        (create(profile_id="sp_missing"), 404),
        (create(provider_id="pigeon"), 400),
        (create(price_type="free"), 400),
        (create(amount=None), 400),
        (create(amount=-5), 400),
        (create(amount=1.5), 400),
        (create(amount=2**63), 400),
        (create(price_type="calculated"), 400),
        (create(data="x"), 400),
        (create(data={"a": "\0"}), 400),
        (create(requirements=[{"type": "weight", "amount": 1}]), 400),
        (create(requirements=[MIN, MIN]), 400),
        (create(requirements=[{"type": "min_subtotal", "amount": 9001}, MAX]), 400),
        (create(requirements=[{"id": "sor_1", **MIN}]), 400),
        (create(colour="red"), 400),
    ],
)
async def test_a_refused_option_leaves_nothing(catalog: Client, body: dict[str, Any], status: int) -> None:
    region = await make_region(catalog)
    answered, refusal = await catalog.post("/admin/shipping-options", {"region_id": region["id"], **body})
    assert (answered, refusal["type"]) == (status, "not_found" if status == 404 else "invalid_data")
    assert await options_of(catalog, region_id=region["id"]) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"requirements": None},
        {"requirements": [], "price_type": "calculated"},
        {"requirements": [], "is_return": True},
        {"requirements": [], "amount": None},
        {"requirements": [], "amount": -1},
        {"requirements": [], "region_id": "reg_x"},
        {"requirements": [{"id": "sor_missing", **MIN}]},
        {"requirements": [MIN, MIN]},
        {"requirements": [MAX, {"type": "min_subtotal", "amount": 9001}]},
    ],
)
async def test_a_refused_update_changes_nothing(catalog: Client, body: dict[str, Any]) -> None:
    region = await make_region(catalog)
    option = await make_option(catalog, region, requirements=[MIN])
    status, refusal = await catalog.post(f"/admin/shipping-options/{option['id']}", {"name": "changed", **body})
    assert (status, refusal["type"]) == (400, "invalid_data")
    assert await catalog.ok("GET", f"/admin/shipping-options/{option['id']}") == {"shipping_option": option}


async def test_one_requirement_is_not_named_twice(catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog), requirements=[MIN])
    id_ = option["requirements"][0]["id"]
    body = {"requirements": [{"id": id_, **MIN}, {"id": id_, **MAX}]}
    assert (await catalog.post(f"/admin/shipping-options/{option['id']}", body))[0] == 400


async def test_requirements_of_another_option_are_not_taken(catalog: Client) -> None:
    region = await make_region(catalog)
    mine, theirs = await make_option(catalog, region), await make_option(catalog, region, requirements=[MIN])
    body = {"requirements": [{"id": theirs["requirements"][0]["id"], **MAX}]}
    assert (await catalog.post(f"/admin/shipping-options/{mine['id']}", body))[0] == 400
    assert await catalog.ok("GET", f"/admin/shipping-options/{theirs['id']}") == {"shipping_option": theirs}


async def test_the_provider_must_be_of_the_region(catalog: Client) -> None:
    await make_region(catalog)
    bare = await another_region(catalog, countries=["fr"], fulfillment_providers=[])
    assert (await catalog.post("/admin/shipping-options", create(region_id=bare["id"])))[0] == 400


async def test_a_deleted_option_is_gone(catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog))
    path = f"/admin/shipping-options/{option['id']}"
    for _ in range(2):
        assert await catalog.delete(path) == (200, {"id": option["id"], "object": "shipping-option", "deleted": True})
    assert (await catalog.get(path))[0] == (await catalog.post(path, {"requirements": []}))[0] == 404
    assert await options_of(catalog, id=option["id"]) == []
    assert (await catalog.delete("/admin/shipping-options/so_missing"))[0] == 200


async def test_updates_at_once_leave_one_requirement_of_a_type(catalog: Client) -> None:
    option = await make_option(catalog, await make_region(catalog))
    path = f"/admin/shipping-options/{option['id']}"
    answers = await asyncio.gather(*(catalog.post(path, {"requirements": [MIN, MAX]}) for _ in range(6)))
    assert {status for status, _ in answers} == {200}
    final = (await catalog.ok("GET", path))["shipping_option"]["requirements"]
    assert [r["type"] for r in final] == ["min_subtotal", "max_subtotal"]


async def test_changes_are_announced(stack: Stack, catalog: Client) -> None:
    region = await make_region(catalog)
    async with rolled_back(stack) as db:
        id_ = await shipping_options.create_option(
            db, ShippingOptionBody.model_validate(create(region_id=region["id"], requirements=[MIN]))
        )
        await shipping_options.update_option(db, id_, ShippingOptionUpdate(requirements=[], name="Slow"))
        await shipping_options.remove_option(db, id_)
        await shipping_options.remove_option(db, id_)
        sent = await events(db)
    names = [f"shipping_option.{what}" for what in ("created", "updated", "deleted")]
    assert [(name, aggregate) for name, aggregate, _ in sent] == [(name, id_) for name in names]
    created, updated, removed = (data["copies"]["shipping_option"][0] for _, _, data in sent)
    assert (created["related"]["requirements"][0]["amount"], updated["related"]["requirements"]) == (1000, [])
    assert created["related"]["region"]["id"] == region["id"]
    assert created["related"]["profile"]["type"] == "default"
    assert (updated["body"]["name"], updated["body"]["deleted_at"]) == ("Slow", None)
    assert removed["body"]["deleted_at"] is not None
