"""Customers over HTTP: accounts and guests, their groups, and the lists."""

import asyncio
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.support.client import Client
from tests.support.stack import Stack

COLUMNS = {
    "id",
    "email",
    "first_name",
    "last_name",
    "billing_address_id",
    "phone",
    "has_account",
    "metadata",
    "created_at",
    "updated_at",
    "deleted_at",
}


async def register(orders: Client, email: str, **more: Any) -> dict[str, Any]:
    body = {"email": email, "first_name": "Jane", "last_name": "Doe", "password": "secret"} | more
    status, answer = await orders.post("/admin/customers", body)
    assert status == 201, answer
    customer: dict[str, Any] = answer["customer"]
    return customer


async def group(orders: Client, name: str) -> str:
    return str((await orders.ok("POST", "/admin/customer-groups", {"name": name}))["customer_group"]["id"])


async def count(stack: Stack, email: str) -> int:
    return int(await stack.pool("orders").fetchval("select count(*) from customers where email = $1", email))


async def test_an_account_is_made(orders: Client, stack: Stack, uid: str) -> None:
    customer = await register(orders, f"Jane-{uid}@Example.COM", phone="123", metadata={"tier": 1, "note": ""})
    assert customer.keys() == COLUMNS
    assert customer["email"] == f"jane-{uid}@example.com"
    assert (customer["first_name"], customer["last_name"], customer["phone"]) == ("Jane", "Doe", "123")
    assert (customer["has_account"], customer["metadata"]) == (True, {"tier": 1, "note": ""})
    stored = await stack.pool("orders").fetchval("select password_hash from customers where id = $1", customer["id"])
    assert PasswordHasher().verify(stored, "secret")
    shown = (await orders.ok("GET", f"/admin/customers/{customer['id']}"))["customer"]
    assert shown == customer | {"orders": [], "shipping_addresses": []}


async def test_without_a_password_it_is_a_guest(orders: Client, uid: str) -> None:
    guest = await register(orders, f"a-{uid}@example.com", password="")
    assert guest["has_account"] is False
    account = await register(orders, f"a-{uid}@example.com")
    assert (account["has_account"], account["id"] == guest["id"]) == (True, False)
    listed = (await orders.ok("GET", "/admin/customers", query={"q": uid}))["customers"]
    assert [customer["id"] for customer in listed] == [guest["id"], account["id"]]


async def test_one_account_per_email(orders: Client, stack: Stack, uid: str) -> None:
    await register(orders, f"jane-{uid}@example.com")
    body = {"email": f"JANE-{uid}@example.com", "first_name": "J", "last_name": "D", "password": "x"}
    status, answer = await orders.post("/admin/customers", body)
    assert (status, answer["type"], answer["code"]) == (422, "duplicate_error", "invalid_request_error")
    assert await count(stack, f"jane-{uid}@example.com") == 1


async def test_one_account_per_email_at_the_same_time(orders: Client, stack: Stack, uid: str) -> None:
    body = {"email": f"j-{uid}@example.com", "first_name": "J", "last_name": "D", "password": "x"}
    answers = await asyncio.gather(*(orders.post("/admin/customers", body) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [201] + [422] * 7
    assert await count(stack, f"j-{uid}@example.com") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"email": None},
        {"email": "nope"},
        {"email": "a@b"},
        {"email": "a b@example.com"},
        {"first_name": None},
        {"last_name": 3},
        {"password": None},
        {"phone": 3},
        {"metadata": [1]},
        {"metadata": "x"},
        {"birthday": "today"},
        {"first_name": "a\0b"},
    ],
)
async def test_bad_customers_are_refused(orders: Client, stack: Stack, uid: str, change: dict[str, Any]) -> None:
    body = {"email": f"bad-{uid}@example.com", "first_name": "J", "last_name": "D", "password": "x"} | change
    status, answer = await orders.post("/admin/customers", body)
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await count(stack, f"bad-{uid}@example.com") == 0


async def test_required_properties(orders: Client, uid: str) -> None:
    status, answer = await orders.post("/admin/customers", {"email": f"half-{uid}@example.com"})
    assert (status, answer["type"]) == (400, "invalid_data")
    assert all(name in answer["message"] for name in ("first_name", "last_name", "password"))


async def test_update_merges(orders: Client, stack: Stack, uid: str) -> None:
    customer = await register(orders, f"jane-{uid}@example.com", phone="1", metadata={"source": "fair", "tier": 1})
    fair = await group(orders, f"Fair {uid}")
    path = f"/admin/customers/{customer['id']}"
    body = {
        "first_name": "Janet",
        "last_name": None,
        "password": "new",
        "metadata": {"tier": 2, "source": "", "note": "vip"},
        "groups": [{"id": fair}],
    }
    changed = (await orders.ok("POST", path, body))["customer"]
    assert changed == customer | {
        "first_name": "Janet",
        "last_name": None,
        "metadata": {"tier": 2, "note": "vip"},
        "updated_at": changed["updated_at"],
        "orders": [],
        "shipping_addresses": [],
    }
    stored = await stack.pool("orders").fetchval("select password_hash from customers where id = $1", customer["id"])
    assert PasswordHasher().verify(stored, "new")
    shown = (await orders.ok("GET", path, query={"expand": "groups"}))["customer"]
    assert [g["id"] for g in shown["groups"]] == [fair]
    emptied = (await orders.ok("POST", path, {"groups": []}, query={"expand": "groups"}))["customer"]
    assert (emptied["groups"], emptied["first_name"]) == ([], "Janet")


async def test_groups_are_replaced_or_refused_as_a_whole(orders: Client, uid: str) -> None:
    customer = await register(orders, f"jane-{uid}@example.com")
    first, second = await group(orders, f"A {uid}"), await group(orders, f"B {uid}")
    path, seen = f"/admin/customers/{customer['id']}", {"expand": "groups"}
    await orders.ok("POST", path, {"groups": [{"id": first}]})
    bad = {"first_name": "X", "groups": [{"id": second}, {"id": "cgrp_missing"}]}
    status, answer = await orders.post(path, bad)
    assert (status, answer["type"]) == (404, "not_found")
    shown = (await orders.ok("GET", path, query=seen))["customer"]
    assert (shown["first_name"], [g["id"] for g in shown["groups"]]) == ("Jane", [first])
    replaced = (await orders.ok("POST", path, {"groups": [{"id": second}, {"id": second}]}, query=seen))["customer"]
    assert [g["id"] for g in replaced["groups"]] == [second]


async def test_the_email_of_an_account_stays(orders: Client, uid: str) -> None:
    customer = await register(orders, f"jane-{uid}@example.com")
    status, answer = await orders.post(f"/admin/customers/{customer['id']}", {"email": f"x-{uid}@example.com"})
    assert (status, answer["type"]) == (400, "invalid_data")
    shown = (await orders.ok("GET", f"/admin/customers/{customer['id']}"))["customer"]
    assert shown["email"] == f"jane-{uid}@example.com"


async def test_the_email_of_a_guest_changes_unless_taken(orders: Client, uid: str) -> None:
    one = await register(orders, f"one-{uid}@example.com", password="")
    two = await register(orders, f"two-{uid}@example.com", password="")
    moved = (await orders.ok("POST", f"/admin/customers/{one['id']}", {"email": f"Three-{uid}@example.com"}))[
        "customer"
    ]
    assert moved["email"] == f"three-{uid}@example.com"
    status, answer = await orders.post(f"/admin/customers/{two['id']}", {"email": f"three-{uid}@example.com"})
    assert (status, answer["type"]) == (422, "duplicate_error")


@pytest.mark.parametrize("body", [{"birthday": "x"}, {"groups": [{}]}, {"groups": "x"}, {"email": "x"}, {"phone": 1}])
async def test_bad_updates_are_refused_before_the_id_is_looked_up(orders: Client, body: dict[str, Any]) -> None:
    status, answer = await orders.post("/admin/customers/cus_missing", body)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_unknown_customers(orders: Client) -> None:
    assert (await orders.get("/admin/customers/cus_missing"))[0] == 404
    status, answer = await orders.post("/admin/customers/cus_missing", {"first_name": "A"})
    assert (status, answer["type"]) == (404, "not_found")


async def test_lists(orders: Client, uid: str) -> None:
    anna = await register(orders, f"a-{uid}@example.com", first_name=f"Anna{uid}", last_name="Zeta")
    bert = await register(orders, f"b-{uid}@example.com", first_name="Bert", last_name=f"Younger{uid}", password="")

    async def found(**query: str) -> list[str]:
        page = await orders.ok("GET", "/admin/customers", query={"q": uid} | query)
        assert page.keys() == {"customers", "count", "offset", "limit"}
        return [customer["id"] for customer in page["customers"]]

    assert await found(order="email") == [anna["id"], bert["id"]]
    assert await found(order="-first_name") == [bert["id"], anna["id"]]
    assert await found(q=f"YOUNGER{uid}") == [bert["id"]]
    assert await found(q=f"anna{uid}") == [anna["id"]]
    assert await found(q=f"%{uid}") == []
    assert await found(has_account="true") == [anna["id"]]
    assert await found(has_account="false") == [bert["id"]]
    assert await found(**{"created_at[lt]": bert["created_at"]}) == [anna["id"]]
    assert await found(**{"updated_at[gt]": "2000-01-01", "created_at[gte]": bert["created_at"]}) == [bert["id"]]
    page = await orders.ok("GET", "/admin/customers", query={"q": uid, "order": "email", "limit": "1", "offset": "1"})
    assert ([c["id"] for c in page["customers"]], page["count"]) == ([bert["id"]], 2)
    page = await orders.ok("GET", "/admin/customers", query={"q": uid, "expand": "groups", "fields": "email"})
    assert page["customers"][0].keys() == COLUMNS | {"groups"}


async def test_a_list_by_groups_shows_those_groups(orders: Client, uid: str) -> None:
    customer = await register(orders, f"jane-{uid}@example.com")
    await register(orders, f"joe-{uid}@example.com")
    first, second = await group(orders, f"A {uid}"), await group(orders, f"B {uid}")
    await orders.ok("POST", f"/admin/customers/{customer['id']}", {"groups": [{"id": first}, {"id": second}]})
    page = await orders.ok("GET", "/admin/customers", query={"groups[]": second})
    assert page["count"] == 1
    assert [(c["id"], [g["id"] for g in c["groups"]]) for c in page["customers"]] == [(customer["id"], [second])]


@pytest.mark.parametrize(
    "query",
    [
        {"shoe_size": "42"},
        {"limit": "ten"},
        {"limit": "-1"},
        {"order": "shoe_size"},
        {"order": "password_hash"},
        {"expand": "shoes"},
        {"fields": "password_hash"},
        {"groups": "cgrp_1"},
        {"has_account": "perhaps"},
        {"created_at": "2020-01-01"},
        {"created_at[gt]": "yesterday"},
    ],
)
async def test_bad_lists_are_refused(orders: Client, query: dict[str, str]) -> None:
    status, answer = await orders.get("/admin/customers", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_an_email_is_never_null(orders: Client, uid: str) -> None:
    guest = await register(orders, f"a-{uid}@example.com", password="")
    path = f"/admin/customers/{guest['id']}"
    status, answer = await orders.post(path, {"email": None, "phone": "1"})
    assert (status, answer["type"]) == (400, "invalid_data")
    kept = (await orders.ok("GET", path))["customer"]
    assert (kept["email"], kept["phone"]) == (guest["email"], None)


async def test_an_empty_expand_is_none(orders: Client, uid: str) -> None:
    path = f"/admin/customers/{(await register(orders, f'a-{uid}@example.com'))['id']}"
    for shown in (
        await orders.ok("GET", path, query={"expand": ""}),
        await orders.ok("POST", path, {}, query={"expand": ""}),
    ):
        assert shown["customer"].keys() == COLUMNS | {"orders", "shipping_addresses"}
