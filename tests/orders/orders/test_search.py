"""`q` of the orders' list follows what it finds orders by: customers, recipients and emails change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.factories.shops import ADDRESS, Shop, place
from tests.support.stack import Stack
from tests.support.waiting import until

Order = dict[str, Any]
ADD = """
insert into orders (
    id, customer_id, shipping_address_id, email, status, fulfillment_status, payment_status, region_id, currency_code
)
select $1, $2, shipping_address_id, email, 'pending', 'not_fulfilled', 'captured', region_id, currency_code
from orders where id = $3
"""


async def matching(api: Client, text: str) -> set[str]:
    page = await api.ok("GET", "/admin/orders", query={"q": text, "fields": "id", "expand": "", "limit": "200"})
    ids = {order["id"] for order in page["orders"]}
    assert page["count"] == len(page["orders"]) == len(ids)
    return ids


async def test_a_customer_is_found_by_their_present_names(
    api: Client, ordered: Callable[..., Awaitable[Order]], uid: str
) -> None:
    mail = f"renamed-{uid}@example.com"
    first, second, other = [await ordered(email=mail), await ordered(email=mail), await ordered()]
    path = f"/admin/customers/{first['customer_id']}"
    assert second["customer_id"] == first["customer_id"]
    await api.ok("POST", path, {"first_name": f"Zoë{uid}", "phone": f"77{uid}"})
    both = {first["id"], second["id"]}
    assert await matching(api, f"zoë{uid}") == await matching(api, f"77{uid}") == both
    await api.ok("POST", path, {"first_name": f"Yara{uid}", "last_name": f"O'Neil{uid}"})
    assert await matching(api, f"zoë{uid}") == set()
    assert await matching(api, f"yara{uid}") == await matching(api, f"NEIL{uid}") == both
    assert await matching(api, f"77{uid}") == both
    # Each text by itself: no order is found by the end of one and the beginning of another.
    assert await matching(api, f"yara{uid}o'neil") == await matching(api, f"yara{uid} o'neil") == set()
    assert other["id"] not in await matching(api, uid)


async def test_an_order_is_found_by_its_present_email_and_recipient(api: Client, shop: Shop, uid: str) -> None:
    address = ADDRESS | {"first_name": f"Rita{uid}"}
    order = await place(api, shop, email=f"old-{uid}@example.com", shipping_address=address)
    twin = await place(api, shop, email=f"old-{uid}@example.com", shipping_address=address)
    both = {order["id"], twin["id"]}
    assert await matching(api, f"rita{uid}") == await matching(api, f"old-{uid}") == both
    sent = {"email": f"new-{uid}@example.com", "shipping_address": {"first_name": f"Sara{uid}", "country_code": "de"}}
    await api.ok("POST", f"/admin/orders/{order['id']}", sent)
    assert await matching(api, f"sara{uid}") == await matching(api, f"new-{uid}") == {order["id"]}
    assert await matching(api, f"rita{uid}") == await matching(api, f"old-{uid}") & {twin["id"]} == {twin["id"]}
    # The customer's own email is not searched, only the order's.
    assert await matching(api, f"old-{uid}") == {twin["id"]}
    without = {"shipping_address": {"first_name": None, "country_code": "de"}}
    await api.ok("POST", f"/admin/orders/{order['id']}", without)
    assert await matching(api, f"sara{uid}") == set()
    assert await matching(api, f"new-{uid}") == {order["id"]}


async def test_an_order_that_is_sent_somewhere_later_is_found(api: Client, shop: Shop, uid: str) -> None:
    draft = shop.draft(email=f"later-{uid}@example.com")
    del draft["shipping_address"]
    created = (await api.ok("POST", "/admin/draft-orders", draft))["draft_order"]
    order = (await api.ok("POST", f"/admin/draft-orders/{created['id']}/pay"))["order"]
    number = str(order["display_id"])
    assert await matching(api, f"later-{uid}") == set()
    assert order["id"] not in await matching(api, number)
    query = {"q": "", "email": order["email"], "fields": "id", "expand": ""}
    page = await api.ok("GET", "/admin/orders", query=query)
    assert [each["id"] for each in page["orders"]] == [order["id"]]  # nothing is looked for
    address = {"first_name": "Tom", "country_code": "de"}
    await api.ok("POST", f"/admin/orders/{order['id']}", {"shipping_address": address})
    assert await matching(api, f"later-{uid}") == {order["id"]}
    assert order["id"] in await matching(api, number)


@pytest.mark.parametrize("renamed_first", [False, True])
async def test_an_order_that_comes_while_its_customer_is_renamed(
    ordered: Callable[..., Awaitable[Order]], api: Client, stack: Stack, uid: str, renamed_first: bool
) -> None:
    """It keeps no name from before: the later of the two waits for the other."""
    order = await ordered()
    body = {"email": f"own-{uid}@example.com", "first_name": "N", "last_name": "N", "password": "x"}
    owner = (await api.post("/admin/customers", body))[1]["customer"]["id"]
    pool = stack.pool("orders")
    come = (ADD, f"order_{uid}", owner, order["id"])
    rename = ("update customers set first_name = $2 where id = $1", owner, f"Nina{uid}")
    first, second = (rename, come) if renamed_first else (come, rename)
    async with pool.acquire() as later:
        async with pool.acquire() as db, db.transaction():
            await db.execute(*first)
            pid = later.get_server_pid()
            waiting = asyncio.create_task(later.execute(*second))

            async def settled() -> bool:
                waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = $1"
                return waiting.done() or await pool.fetchval(waits, pid) is True

            await until(settled)
            assert not waiting.done()
        await waiting
    assert await matching(api, f"nina{uid}") == {f"order_{uid}"}


async def test_orders_of_a_new_customer_do_not_wait_for_each_other(
    ordered: Callable[..., Awaitable[Order]], api: Client, stack: Stack, uid: str
) -> None:
    order = await ordered()
    body = {"email": f"own-{uid}@example.com", "first_name": f"Nora{uid}", "last_name": "N", "password": "x"}
    owner = (await api.post("/admin/customers", body))[1]["customer"]["id"]
    pool = stack.pool("orders")
    async with pool.acquire() as db, pool.acquire() as other, db.transaction(), other.transaction():
        await db.execute(ADD, f"order_{uid}_1", owner, order["id"])
        await other.execute(ADD, f"order_{uid}_2", owner, order["id"])
    assert await matching(api, f"nora{uid}") == {f"order_{uid}_1", f"order_{uid}_2"}
