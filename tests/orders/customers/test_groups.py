"""Customer groups over HTTP: names, members, lists."""

import asyncio
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.customers import customer, make
from tests.support.stack import Stack


async def members(orders: Client, group_id: str) -> list[str]:
    page = await orders.ok("GET", f"/admin/customer-groups/{group_id}/customers")
    assert (page["limit"], page["offset"], page["count"]) == (50, 0, len(page["customers"]))
    return sorted(c["id"] for c in page["customers"])


async def test_make_read_rename_delete(orders: Client, uid: str) -> None:
    gold = await make(orders, f"Gold {uid}", metadata={"level": 3, "color": "yellow"})
    assert gold == {
        "id": gold["id"],
        "name": f"Gold {uid}",
        "metadata": {"level": 3, "color": "yellow"},
        "created_at": gold["created_at"],
        "updated_at": gold["created_at"],
        "deleted_at": None,
    }
    path = f"/admin/customer-groups/{gold['id']}"
    assert await orders.ok("GET", path) == {"customer_group": gold}
    changes = {"name": f"Golden {uid}", "metadata": {"color": "", "perks": ["tea"]}}
    renamed = (await orders.ok("POST", path, changes))["customer_group"]
    assert (renamed["name"], renamed["metadata"]) == (f"Golden {uid}", {"level": 3, "perks": ["tea"]})
    assert await orders.ok("GET", path, query={"fields": "name"}) == {
        "customer_group": {"id": gold["id"], "name": f"Golden {uid}"}
    }
    deleted = {"id": gold["id"], "object": "customer_group", "deleted": True}
    assert await orders.ok("DELETE", path) == deleted
    assert await orders.ok("DELETE", path) == deleted
    for status, answer in (await orders.get(path), await orders.post(path, {"name": "x"})):
        assert (status, answer["type"]) == (404, "not_found")
    assert (await make(orders, f"Golden {uid}"))["id"] != gold["id"]


async def test_names_are_unique(orders: Client, uid: str) -> None:
    await make(orders, f"Gold {uid}")
    silver = await make(orders, f"Silver {uid}")
    for path in ("/admin/customer-groups", f"/admin/customer-groups/{silver['id']}"):
        status, answer = await orders.post(path, {"name": f"Gold {uid}"})
        assert (status, answer["type"], answer["code"]) == (422, "duplicate_error", "invalid_request_error")
    page = await orders.ok("GET", "/admin/customer-groups", query={"q": uid, "order": "name"})
    assert [g["name"] for g in page["customer_groups"]] == [f"Gold {uid}", f"Silver {uid}"]


@pytest.mark.parametrize(
    "body", [{}, {"name": 7}, {"name": None}, {"name": "x", "metadata": "y"}, {"name": "x", "a": 1}]
)
async def test_bad_groups_are_refused(orders: Client, body: dict[str, Any]) -> None:
    status, answer = await orders.post("/admin/customer-groups", body)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_lists(orders: Client, stack: Stack, uid: str) -> None:
    gold, silver = await make(orders, f"Gold {uid}"), await make(orders, f"Silver {uid}")

    async def found(**query: Any) -> list[str]:
        page = await orders.ok("GET", "/admin/customer-groups", query={"q": uid} | query)
        assert page["limit"] == int(query.get("limit", 10))
        return [g["id"] for g in page["customer_groups"]]

    assert await found() == [silver["id"], gold["id"]]
    assert await found(order="name") == [gold["id"], silver["id"]]
    assert await found(limit="1", offset="1") == [gold["id"]]
    assert await found(id=gold["id"]) == [gold["id"]]
    assert await found(**{"id[]": silver["id"]}) == [silver["id"]]
    assert await found(**{"name[]": f"Silver {uid}"}) == [silver["id"]]
    assert await found(q=f"GOLD {uid}") == [gold["id"]]
    assert await found(**{"created_at[gte]": "2100-01-01"}) == []
    assert await found(discount_condition_id="discon_missing") == []
    await stack.pool("orders").execute(
        "insert into copies (kind, id, sequence, body) "
        "values ('discount_condition', $1, 1, jsonb_build_object('customer_groups', jsonb_build_array($2::text)))",
        f"discon_{uid}",
        gold["id"],
    )
    assert await found(discount_condition_id=f"discon_{uid}") == [gold["id"]]
    page = await orders.ok("GET", "/admin/customer-groups", query={"q": uid, "fields": "name", "expand": "customers"})
    assert page["customer_groups"][0] == {
        "id": silver["id"],
        "name": silver["name"],
        "created_at": silver["created_at"],
        "customers": [],
    }


@pytest.mark.parametrize("query", [{"name": "x"}, {"expand": "shoes"}, {"fields": "x"}, {"order": "x"}, {"a": "x"}])
async def test_bad_lists_are_refused(orders: Client, query: dict[str, str]) -> None:
    status, answer = await orders.get("/admin/customer-groups", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_members_join_and_leave(orders: Client, uid: str) -> None:
    club = await make(orders, f"Club {uid}")
    one, two = await customer(orders, f"one-{uid}@example.com"), await customer(orders, f"two-{uid}@example.com")
    path = f"/admin/customer-groups/{club['id']}"
    batch = f"{path}/customers/batch"
    both = {"customer_ids": [{"id": one}, {"id": two}]}
    assert await orders.ok("POST", batch, both) == {"customer_group": club}
    assert await orders.ok("POST", batch, both) == {"customer_group": club}
    assert await members(orders, club["id"]) == sorted((one, two))
    shown = (await orders.ok("GET", path, query={"expand": "customers"}))["customer_group"]
    assert sorted(c["id"] for c in shown["customers"]) == sorted((one, two))
    page = await orders.ok("GET", f"{path}/customers", query={"q": f"one-{uid}", "limit": "1"})
    assert (page["count"], page["limit"], page["offset"]) == (1, 1, 0)
    assert [(c["id"], c["groups"]) for c in page["customers"]] == [(one, [club])]
    left = {"customer_ids": [{"id": one}, {"id": "cus_missing"}]}
    assert await orders.ok("DELETE", batch, left) == {"customer_group": club}
    assert await members(orders, club["id"]) == [two]
    await orders.ok("DELETE", path)
    shown = (await orders.ok("GET", f"/admin/customers/{two}", query={"expand": "groups"}))["customer"]
    assert shown["groups"] == []


async def test_all_join_or_none(orders: Client, uid: str) -> None:
    club, one = await make(orders, f"Club {uid}"), await customer(orders, f"one-{uid}@example.com")
    batch = f"/admin/customer-groups/{club['id']}/customers/batch"
    status, answer = await orders.post(batch, {"customer_ids": [{"id": one}, {"id": "cus_missing"}]})
    assert (status, answer["type"]) == (404, "not_found")
    assert await members(orders, club["id"]) == []


async def test_unknown_groups_and_bad_batches(orders: Client, uid: str) -> None:
    one = await customer(orders, f"one-{uid}@example.com")
    batch = "/admin/customer-groups/cgrp_missing/customers/batch"
    for send in (orders.post, orders.delete):
        assert (await send(batch, {"customer_ids": [{"id": one}]}))[0] == 404
        for body in ({"customer_ids": one}, {"customer_ids": [one]}, {}, {"customer_ids": [{"id": one, "x": 1}]}):
            status, answer = await send(batch, body)
            assert (status, answer["type"]) == (400, "invalid_data")
    assert await members(orders, "cgrp_missing") == []
    assert (await orders.get("/admin/customer-groups/x/customers", {"order": "nothing"}))[0] == 400


async def test_batches_at_the_same_time(orders: Client, uid: str) -> None:
    club = await make(orders, f"Club {uid}")
    ids = [await customer(orders, f"{n}-{uid}@example.com") for n in range(4)]
    batch = f"/admin/customer-groups/{club['id']}/customers/batch"
    bodies = [{"customer_ids": [{"id": id_} for id_ in (ids if n % 2 else ids[::-1])]} for n in range(8)]
    answers = await asyncio.gather(*(orders.post(batch, body) for body in bodies))
    assert [status for status, _ in answers] == [200] * 8
    assert await members(orders, club["id"]) == sorted(ids)


async def test_members_are_found_as_customers_are(orders: Client, uid: str) -> None:
    club, other = await make(orders, f"Club {uid}"), await make(orders, f"Other {uid}")
    ids = [await customer(orders, f"{name}-{uid}@example.com") for name in ("b", "a")]
    path = f"/admin/customer-groups/{club['id']}/customers"
    await orders.ok("POST", f"{path}/batch", {"customer_ids": [{"id": id_} for id_ in ids]})

    async def found(**query: str) -> list[str]:
        return [each["id"] for each in (await orders.ok("GET", path, query=query))["customers"]]

    assert await found(order="email") == ids[::-1]
    assert await found(order="-email", fields="id", limit="1") == ids[:1]
    assert await found(has_account="false") == []
    assert await found(**{"created_at[lt]": "2020-01-01"}) == []
    # Whose members they are stands in the path.
    assert await found(**{"groups[]": other["id"], "order": "email"}) == ids[::-1]


async def test_a_name_is_never_null(orders: Client, uid: str) -> None:
    club = await make(orders, f"Club {uid}")
    path = f"/admin/customer-groups/{club['id']}"
    status, answer = await orders.post(path, {"name": None, "metadata": {"a": 1}})
    assert (status, answer["type"]) == (400, "invalid_data")
    assert await orders.ok("GET", path) == {"customer_group": club}
