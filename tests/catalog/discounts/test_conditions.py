"""Conditions of discounts: all kinds, batches, refusals, and what orders hear of those on customer groups."""

import asyncio
from typing import Any

from services.catalog.discounts import conditions as discount_conditions
from services.catalog.discounts.conditions import ConditionBody
from tests.support.client import Client
from tests.support.database import events, reads, rolled_back
from tests.support.factories.discounts import discount_body, make_discount, make_group, one
from tests.support.factories.regions import make_product, make_region
from tests.support.stack import Stack
from tests.support.waiting import until

LISTS = {
    "products": ("products", "/admin/products"),
    "product_types": ("product_types", "/admin/product-types"),
    "product_collections": ("collections", "/admin/collections"),
    "product_tags": ("product_tags", "/admin/product-tags"),
}
RESOURCES = "rule.conditions.products,rule.conditions.customer_groups"


def path_of(discount: dict[str, Any], condition: str = "", tail: str = "") -> str:
    return f"/admin/discounts/{discount['id']}/conditions" + (f"/{condition}" if condition else "") + tail


def conditions(discount: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["operator"], each["type"]) for each in discount["rule"]["conditions"]]


async def products_named(catalog: Client, discount: dict[str, Any]) -> set[str]:
    shown = await one(catalog, discount, expand=RESOURCES)
    return {product["id"] for each in shown["rule"]["conditions"] for product in each["products"]}


async def test_a_condition_of_every_kind(stack: Stack, catalog: Client, orders: Client, uid: str) -> None:
    region, group = await make_region(catalog), await make_group(orders)
    collection = await catalog.ok("POST", "/admin/collections", {"title": f"Summer {uid}"})
    product = await make_product(catalog, [], tags=[{"value": f"gift-{uid}"}], type={"value": f"Mug {uid}"})
    named = {
        "products": product["id"],
        "product_types": product["type_id"],
        "product_collections": collection["collection"]["id"],
        "product_tags": product["tags"][0]["id"],
        "customer_groups": group,
    }
    discount = await make_discount(catalog, region)
    for type_, id_ in named.items():
        body = {"operator": "in", type_: [id_]}
        discount = (await catalog.ok("POST", path_of(discount), body))["discount"]
    assert conditions(discount) == [("in", type_) for type_ in named]
    for condition in discount["rule"]["conditions"]:
        type_, path = condition["type"], path_of(discount, condition["id"])
        shown = (await catalog.ok("GET", path, query={"expand": type_, "fields": "id,type"}))["discount_condition"]
        assert shown.keys() == {"id", "type", type_}
        assert [each["id"] for each in shown[type_]] == [named[type_]]
        if type_ in LISTS:
            plural, list_path = LISTS[type_]
            listed = await catalog.ok("GET", list_path, query={"discount_condition_id": condition["id"]})
            assert ([each["id"] for each in listed[plural]], listed["count"]) == ([named[type_]], 1)
    with stack.statements("catalog") as statements:
        answer = await catalog.get(path)
    rule = {name: value for name, value in discount["rule"].items() if name != "conditions"}
    fields = ("id", "type", "operator", "discount_rule_id", "created_at", "updated_at")
    expected = {name: condition[name] for name in fields} | {"discount_rule": rule}
    assert (answer, len(reads(statements))) == ((200, {"discount_condition": expected}), 1)


async def test_conditions_of_a_new_discount_and_of_its_update(catalog: Client, orders: Client) -> None:
    region, group = await make_region(catalog), await make_group(orders)
    first, second = [(await make_product(catalog, []))["id"] for _ in range(2)]
    discount = await make_discount(
        catalog, region, {"operator": "in", "products": [first]}, {"operator": "not_in", "customer_groups": [group]}
    )
    assert conditions(discount) == [("in", "products"), ("not_in", "customer_groups")]
    kept = discount["rule"]["conditions"][0]["id"]
    rule = {
        "id": discount["rule_id"],
        "conditions": [
            {"id": kept, "operator": "in", "products": [second]},
            {"operator": "not_in", "products": [first]},
        ],
    }
    changed = (await catalog.ok("POST", f"/admin/discounts/{discount['id']}", {"rule": rule}))["discount"]
    assert conditions(changed) == [("in", "products"), ("not_in", "customer_groups"), ("not_in", "products")]
    assert changed["rule"]["conditions"][0]["id"] == kept
    rule["conditions"] = [{"id": changed["rule"]["conditions"][2]["id"], "products": [first]}]
    same = (await catalog.ok("POST", f"/admin/discounts/{discount['id']}", {"rule": rule}))["discount"]
    assert conditions(same) == conditions(changed)
    query = {"expand": "discount_rule.conditions,products.variants"}
    shown = (await catalog.ok("GET", path_of(discount, kept), query=query))["discount_condition"]
    assert [each["id"] for each in shown["discount_rule"]["conditions"]] == [
        each["id"] for each in changed["rule"]["conditions"]
    ]
    assert [len(product["variants"]) for product in shown["products"]] == [1]
    assert await products_named(catalog, discount) == {first, second}
    expanded = await one(catalog, discount, expand=RESOURCES)
    assert [each["id"] for each in expanded["rule"]["conditions"][1]["customer_groups"]] == [group]


async def test_resources_are_replaced_added_and_removed(catalog: Client) -> None:
    region = await make_region(catalog)
    first, second, third = [(await make_product(catalog, []))["id"] for _ in range(3)]
    discount = await make_discount(catalog, region, {"operator": "in", "products": [first]})
    condition = discount["rule"]["conditions"][0]["id"]
    path = path_of(discount, condition)

    def refs(*ids: str) -> dict[str, Any]:
        return {"resources": [{"id": id_} for id_ in ids]}

    await catalog.ok("POST", path, {"products": [second]})
    assert await products_named(catalog, discount) == {second}
    answer = await catalog.ok("POST", path + "/batch", refs(second, third), query={"expand": RESOURCES})
    assert {each["id"] for each in answer["discount"]["rule"]["conditions"][0]["products"]} == {second, third}
    await catalog.ok("DELETE", path + "/batch", refs(second, first, "prod_missing"))
    assert await products_named(catalog, discount) == {third}
    for method, body, status in [
        ("POST", refs(first, "prod_missing"), 404),
        ("POST", refs(), 400),
        ("DELETE", refs(), 400),
        ("POST", {}, 400),
        ("POST", {"resources": [third]}, 400),
    ]:
        assert (await catalog.request(method, path + "/batch", body))[0] == status
    assert await products_named(catalog, discount) == {third}


async def test_a_condition_is_deleted_for_good(catalog: Client) -> None:
    region = await make_region(catalog)
    product = await make_product(catalog, [])
    discount = await make_discount(catalog, region, {"operator": "in", "products": [product["id"]]})
    path = path_of(discount, discount["rule"]["conditions"][0]["id"])
    other = await make_discount(catalog, region)
    assert (await catalog.delete(path_of(other, path.rsplit("/", 1)[1])))[0] == 404
    assert (await catalog.delete(path_of({"id": "disc_missing"}, path.rsplit("/", 1)[1])))[0] == 404
    assert await one(catalog, discount) == discount
    answer = await catalog.ok("DELETE", path, query={"expand": "", "fields": "code"})
    assert answer == {
        "id": path.rsplit("/", 1)[1],
        "object": "discount-condition",
        "deleted": True,
        "discount": {"id": discount["id"], "code": discount["code"]},
    }
    again = await catalog.ok("DELETE", path)
    assert again["discount"]["rule"]["conditions"] == []
    assert (await catalog.get(path))[0] == 404


async def test_refusals_change_nothing(catalog: Client, uid: str) -> None:
    region = await make_region(catalog)
    product = await make_product(catalog, [], tags=[{"value": f"tag-{uid}"}])
    body = {"products": [product["id"]]}
    discount = await make_discount(catalog, region, body | {"operator": "in"})
    other = await make_discount(catalog, region)
    condition, tags = discount["rule"]["conditions"][0]["id"], [product["tags"][0]["id"]]
    refs, rule = {"resources": [{"id": product["id"]}]}, {"id": discount["rule_id"]}
    for method, path, sent, status in [
        ("POST", path_of(discount), body, 400),
        ("POST", path_of(discount), {"operator": "in"}, 400),
        ("POST", path_of(discount), {"operator": "in", "products": []}, 400),
        ("POST", path_of(discount), body | {"operator": "maybe"}, 400),
        ("POST", path_of(discount), body | {"operator": "not_in", "product_tags": tags}, 400),
        ("POST", path_of(discount), {"operator": "not_in", "products": ["prod_missing"]}, 404),
        ("POST", path_of(discount), {"operator": "in", "product_types": ["ptyp_missing"]}, 404),
        ("POST", path_of(discount), {"operator": "in", "product_tags": ["ptag_missing"]}, 404),
        ("POST", path_of(discount), {"operator": "in", "product_collections": ["pcol_missing"]}, 404),
        ("POST", path_of(discount), {"operator": "in", "customer_groups": ["cgrp_missing"]}, 404),
        ("POST", path_of(discount), body | {"operator": "in"}, 422),
        ("POST", path_of({"id": "disc_missing"}), body | {"operator": "in"}, 404),
        ("POST", path_of(discount, condition), {}, 400),
        ("POST", path_of(discount, condition), {"product_tags": tags}, 400),
        ("POST", path_of(discount, condition), body | {"operator": "not_in"}, 400),
        ("POST", path_of(discount, condition), {"products": ["prod_missing"]}, 404),
        ("POST", path_of(discount, "discon_missing"), body, 404),
        ("POST", path_of(other, condition), body, 400),
        ("GET", path_of(other, condition), None, 400),
        ("GET", path_of(discount, "discon_missing"), None, 404),
        ("GET", path_of({"id": "disc_missing"}, condition), None, 404),
        ("POST", path_of(other, condition, "/batch"), refs, 400),
        ("DELETE", path_of(other, condition, "/batch"), refs, 400),
        ("DELETE", path_of(discount, "discon_missing", "/batch"), refs, 404),
        ("POST", path_of(discount, condition, "/batch"), {"resources": [{"id": "prod_missing"}]}, 404),
        ("POST", "/admin/discounts/" + discount["id"], {"rule": rule | {"conditions": [{"operator": "in"}]}}, 400),
        (
            "POST",
            "/admin/discounts/" + discount["id"],
            {"rule": rule | {"value": 20, "conditions": [body | {"id": "discon_missing", "operator": "in"}]}},
            404,
        ),
    ]:
        assert (await catalog.request(method, path, sent))[0] == status, (method, path, sent)
    assert (await one(catalog, discount), await one(catalog, other)) == (discount, other)
    assert await products_named(catalog, discount) == {product["id"]}
    created = discount_body(region, {"operator": "in", "customer_groups": ["cgrp_missing"]})
    assert (await catalog.post("/admin/discounts", created))[0] == 404
    assert (await catalog.get(f"/admin/discounts/code/{created['code']}"))[0] == 404


async def test_one_condition_of_a_kind_whoever_comes_first(catalog: Client) -> None:
    region = await make_region(catalog)
    product = await make_product(catalog, [])
    discount = await make_discount(catalog, region)
    body = {"operator": "in", "products": [product["id"]]}
    answers = await asyncio.gather(*(catalog.post(path_of(discount), body) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200] + [422] * 4
    assert conditions(await one(catalog, discount)) == [("in", "products")]


async def test_orders_know_which_groups_a_condition_names(stack: Stack, catalog: Client, orders: Client) -> None:
    region, group = await make_region(catalog), await make_group(orders)
    discount = await make_discount(catalog, region, {"operator": "in", "customer_groups": [group]})
    condition = discount["rule"]["conditions"][0]["id"]

    async def named() -> list[str]:
        query = {"discount_condition_id": condition}
        answer = await orders.ok("GET", "/admin/customer-groups", query=query)
        return [each["id"] for each in answer["customer_groups"]]

    await until(lambda: is_(named, [group]))
    await catalog.ok("DELETE", path_of(discount, condition))
    await until(lambda: is_(named, []))


async def is_(read: Any, value: Any) -> bool:
    return bool(await read() == value)


async def test_a_deleted_group_is_not_shown(stack: Stack, catalog: Client, orders: Client) -> None:
    region, group = await make_region(catalog), await make_group(orders)
    discount = await make_discount(catalog, region, {"operator": "in", "customer_groups": [group]})
    await orders.ok("DELETE", f"/admin/customer-groups/{group}")

    async def shown() -> list[Any]:
        shown = await one(catalog, discount, expand=RESOURCES)
        groups: list[Any] = shown["rule"]["conditions"][0]["customer_groups"]
        return groups

    await until(lambda: is_(shown, []))


async def test_a_change_is_told_to_all_that_share_the_rule(stack: Stack, catalog: Client, orders: Client) -> None:
    region, group = await make_region(catalog), await make_group(orders)
    discount = await make_discount(catalog, region, {"operator": "in", "customer_groups": [group]}, is_dynamic=True)
    path = f"/admin/discounts/{discount['id']}/dynamic-codes"
    code = (await catalog.ok("POST", path, {"code": f"for-{discount['code']}"}))["discount"]
    async with rolled_back(stack) as db:
        body = ConditionBody(operator="not_in", customer_groups=[group])
        await discount_conditions.add_condition(db, code["id"], body)
        copies = {id_: data["copies"] for name, id_, data in await events(db) if name == "discount.updated"}
    assert copies.keys() >= {discount["id"], code["id"]}
    assert "discount_condition" not in copies[code["id"]]
    docs = [doc["body"] for doc in copies[discount["id"]]["discount_condition"]]
    assert sorted(body["operator"] for body in docs) == ["in", "not_in"]
    assert {tuple(body["customer_groups"]) for body in docs} == {(group,)}
