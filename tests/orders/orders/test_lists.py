"""Lists of orders: every way of finding them gives the page and the count that a comparison of all orders would."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from services.orders.orders.counts import fold
from tests.support.client import Client
from tests.support.stack import Stack

Row = dict[str, Any]
STATUSES = [
    ("pending", "not_fulfilled", "captured"),
    ("pending", "not_fulfilled", "awaiting"),
    ("pending", "partially_shipped", "captured"),
    ("completed", "shipped", "captured"),
    ("canceled", "canceled", "canceled"),
]
NAMES = ["Ada", "Béatrice", "Cem_Il", "D%", "Åsa\\", "Jo"]
ADD = """
with people as (
    insert into customers (id, email, first_name, last_name, phone, has_account)
    select r ->> 'customer_id', r ->> 'id' || '@c.example', r ->> 'first', r ->> 'last', r ->> 'phone', true
    from jsonb_array_elements($1::text::jsonb) r
    returning id
), places as (
    insert into addresses (id, first_name)
    select 'addr' || (r ->> 'id'), r ->> 'recipient' from jsonb_array_elements($1::text::jsonb) r
    returning id
)
insert into orders (
    id, customer_id, shipping_address_id, email, status, fulfillment_status, payment_status, region_id, currency_code,
    sales_channel_id, total, created_at, updated_at
)
select r ->> 'id', r ->> 'customer_id', case when (r ->> 'sent')::boolean then 'addr' || (r ->> 'id') end,
    r ->> 'email', r ->> 'status', r ->> 'fulfillment_status', r ->> 'payment_status', r ->> 'region_id',
    r ->> 'currency_code',
    r ->> 'sales_channel_id', (r ->> 'total')::bigint, (r ->> 'at')::timestamptz, (r ->> 'at')::timestamptz
from jsonb_array_elements($1::text::jsonb) r
where (select count(*) from people) = (select count(*) from places)
returning id, display_id
"""


async def add(stack: Stack, rows: list[Row]) -> None:
    """Put the orders there as a placement does, in one statement."""
    numbers = await stack.pool("orders").fetch(ADD, orjson.dumps(rows).decode())
    by_id = {row["id"]: row["display_id"] for row in numbers}
    for row in rows:
        row["display_id"] = by_id[row["id"]]


@pytest.fixture(scope="module")
async def many(stack: Stack) -> list[Row]:
    """400 orders of one region, most of them of five days, many at the same moment."""
    dice, unique = random.Random(8), random.Random().randrange(10**9)
    start = datetime(2031, 3, 1, 22, 30, tzinfo=UTC)
    rows = []
    for n in range(400):
        status, fulfillment, payment = dice.choice(STATUSES)
        at = start + timedelta(minutes=dice.randrange(5 * 48) * 30)
        rows.append(
            {
                "id": f"order_{unique}_{n:03}",
                "customer_id": f"cus_{unique}_{n:03}",
                "sent": n % 7 != 0,
                "email": f"{dice.choice(['ann', 'Bob', 'c_c'])}.{n % 30}x{unique}@Shop.example",
                "status": status,
                "fulfillment_status": fulfillment,
                "payment_status": payment,
                "region_id": f"reg_{unique}",
                "currency_code": dice.choice(["eur", "usd"]),
                "sales_channel_id": dice.choice([f"sc_{unique}_a", f"sc_{unique}_b", None]),
                "total": dice.randrange(20),
                "first": dice.choice(NAMES),
                "last": dice.choice([*NAMES, "Quite Long-Name"]),
                "phone": f"+49 {n:04}",
                "recipient": dice.choice(NAMES),
                "at": at.isoformat(),
            }
        )
    await add(stack, rows)
    return rows


async def listed(orders: Client, query: list[tuple[str, str]]) -> tuple[int, list[str]]:
    page = await orders.ok("GET", "/admin/orders", query=[*query, ("fields", "id"), ("expand", "")])
    return page["count"], [order["id"] for order in page["orders"]]


def newest_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["at"], row["id"]), reverse=True)


@pytest.mark.parametrize("folded", [False, True])
async def test_filters_of_all_kinds_together(orders: Client, stack: Stack, many: list[Row], folded: bool) -> None:
    if folded:
        await fold(stack.pool("orders"))
    region, channel = many[0]["region_id"], next(r["sales_channel_id"] for r in many if r["sales_channel_id"])
    low, high = "2031-03-02T10:30:00Z", "2031-03-04T23:00:00Z"
    conditions: list[tuple[list[tuple[str, str]], Any]] = [
        ([], lambda r: True),
        ([("status[]", "pending")], lambda r: r["status"] == "pending"),
        ([("status[]", "pending"), ("status[]", "canceled")], lambda r: r["status"] in ("pending", "canceled")),
        ([("fulfillment_status[]", "shipped")], lambda r: r["fulfillment_status"] == "shipped"),
        ([("payment_status[]", "refunded")], lambda r: False),
        ([("sales_channel_id[]", channel), ("currency_code", "eur")],
         lambda r: (r["sales_channel_id"], r["currency_code"]) == (channel, "eur")),
        ([("created_at[gte]", low)], lambda r: r["at"] >= "2031-03-02T10:30:00+00:00"),
        ([("created_at[gt]", low), ("created_at[lte]", high), ("status[]", "pending")],
         lambda r: "2031-03-02T10:30:00+00:00" < r["at"] <= "2031-03-04T23:00:00+00:00" and r["status"] == "pending"),
        ([("created_at[lt]", high)], lambda r: r["at"] < "2031-03-04T23:00:00+00:00"),
        ([("created_at[gte]", "2031-03-03"), ("created_at[lt]", "2031-03-04")],
         lambda r: r["at"].startswith("2031-03-03")),
        ([("created_at[gte]", "2031-03-03T01:00:00Z"), ("created_at[lt]", "2031-03-03T05:00:00Z")],
         lambda r: "2031-03-03T01" <= r["at"] < "2031-03-03T05"),
        ([("created_at[gt]", high), ("created_at[lt]", low)], lambda r: False),
        ([("email", many[5]["email"])], lambda r: r["email"] == many[5]["email"]),
        ([("customer_id", many[6]["customer_id"])], lambda r: r["customer_id"] == many[6]["customer_id"]),
        ([("display_id", str(many[7]["display_id"]))], lambda r: r is many[7]),
    ]  # fmt: skip
    for query, condition in conditions:
        expected = [row["id"] for row in newest_first([row for row in many if condition(row)])]
        sent_query = [("region_id", region), *query]
        for offset, limit in ((0, 50), (37, 11), (max(len(expected) - 3, 0), 50), (12_000, 5)):
            paging = [("offset", str(offset)), ("limit", str(limit))]
            page = await listed(orders, [*sent_query, *paging])
            assert page == (len(expected), expected[offset : offset + limit]), (query, offset)
        page = await listed(orders, [*sent_query, ("order", "created_at"), ("limit", "13"), ("offset", "4")])
        assert page == (len(expected), expected[::-1][4:17]), query
        by_number = sorted((r for r in many if condition(r)), key=lambda r: -r["display_id"])
        page = await listed(orders, [*sent_query, ("order", "-display_id"), ("limit", "13"), ("offset", "4")])
        assert page == (len(expected), [row["id"] for row in by_number][4:17]), query


async def test_deep_pages(orders: Client, many: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the pages whose end is known to be near, the counts tell where to look; nothing is asked for twice or
    left out when one reads on and on."""
    monkeypatch.setattr("services.orders.orders.lists.LARGE_PAGE", 0)
    monkeypatch.setattr("services.orders.orders.lists.FEW", 50)
    for query, order in (([], "created_at"), ([("status[]", "pending")], "-total"), ([], "-updated_at")):
        sent_query = [("region_id", many[0]["region_id"]), *query, ("order", order), ("limit", "23")]
        rows = [row for row in many if not query or row["status"] == "pending"]
        key = "total" if order == "-total" else "at"
        ordered = sorted(rows, key=lambda r: (r[key], r["id"]), reverse=order.startswith("-"))
        read: list[str] = []
        while page := (await listed(orders, [*sent_query, ("offset", str(len(read)))]))[1]:
            read += page
        assert read == [row["id"] for row in ordered]


async def test_deep_pages_of_everything(orders: Client, stack: Stack, many: list[Row]) -> None:
    everything = await stack.pool("orders").fetch("select id from orders order by created_at desc, id desc")
    rows = [row["id"] for row in everything]
    for offset in (0, 7, 100, len(rows) - 5, len(rows)):
        assert await listed(orders, [("offset", str(offset)), ("limit", "20")]) == (
            len(rows),
            rows[offset : offset + 20],
        )
    # So far behind that it is sought by its day.
    assert await listed(orders, [("offset", "999999"), ("limit", "20")]) == (len(rows), [])


@pytest.mark.parametrize(
    "q",
    ["ann", "ANN.", "bob.1", "c_c", "béa", "BÉATRICE", "_il", "d%", "%", "sa\\", "jo", "j", "long-n", "te lo", "+49 00",
     "shop.example", "no such thing", "'", "%%%"],
)  # fmt: skip
async def test_free_text(orders: Client, many: list[Row], q: str) -> None:
    def matches(row: Row) -> bool:
        texts = (row["email"], row["recipient"], row["first"], row["last"], row["phone"])
        return row["sent"] and any(q.lower() in text.lower() for text in texts)

    expected = [row["id"] for row in newest_first([row for row in many if matches(row)])]
    sent_query = [("region_id", many[0]["region_id"]), ("q", q)]
    assert await listed(orders, [*sent_query, ("limit", "400")]) == (len(expected), expected)
    assert await listed(orders, [*sent_query, ("limit", "9"), ("offset", "5")]) == (len(expected), expected[5:14])
    pending = [row["id"] for row in newest_first([r for r in many if matches(r) and r["status"] == "pending"])]
    assert await listed(orders, [*sent_query, ("status[]", "pending"), ("limit", "400")]) == (len(pending), pending)


async def test_free_text_that_is_a_number(orders: Client, many: list[Row]) -> None:
    sent, unsent = many[1], many[7]
    query = [("region_id", sent["region_id"]), ("limit", "400")]
    page = await listed(orders, [*query, ("q", str(sent["display_id"]))])
    assert sent["id"] in page[1]
    assert unsent["id"] not in (await listed(orders, [*query, ("q", str(unsent["display_id"]))]))[1]
    assert sent["id"] not in (await listed(orders, [*query, ("q", f"00{sent['display_id']}9999")]))[1]
    assert await listed(orders, [*query, ("q", "9" * 40)]) == (0, [])


async def test_counts_hold_while_orders_change(orders: Client, stack: Stack, uid: str) -> None:
    """Orders come, change and go while counts are folded and read: no answer shows anything in between."""
    pool, region = stack.pool("orders"), f"reg_{uid}"
    base = {"sent": True, "currency_code": "eur", "sales_channel_id": None, "total": 1, "region_id": region}
    names = {"first": "A", "last": "B", "phone": "1", "recipient": "C", "at": "2032-01-01T00:00:00Z"}
    rows = [
        base | names | dict(zip(("status", "fulfillment_status", "payment_status"), STATUSES[n % 2], strict=True))
        | {"id": f"order_{uid}_{n}", "customer_id": f"cus_{uid}_{n}", "email": f"{n}@{uid}.example"}
        for n in range(60)
    ]  # fmt: skip
    await add(stack, rows[:30])
    done = asyncio.Event()

    async def change(n: int) -> None:
        for status in ("completed", "archived", "canceled", "pending"):
            await pool.execute("update orders set status = $2 where id = $1", f"order_{uid}_{n}", status)

    async def folding() -> int:
        times = 0
        while not done.is_set():
            await asyncio.gather(fold(pool), fold(pool))
            times += 1
        return times

    async def reading() -> int:
        times = 0
        while not done.is_set():
            count, ids = await listed(orders, [("region_id", region), ("limit", "100")])
            assert count == len(ids)
            assert 30 <= count <= 60
            times += 1
        return times

    watchers = [asyncio.create_task(work()) for work in (folding, reading)]
    await asyncio.gather(*(change(n) for n in range(30)), add(stack, rows[30:45]), add(stack, rows[45:]))
    done.set()
    assert all([await watcher for watcher in watchers])
    gone = await pool.execute("delete from orders where region_id = $1 and id like '%5'", region)
    assert gone == "DELETE 6"
    for _ in range(2):
        assert (await listed(orders, [("region_id", region)]))[0] == 54
        for status in ("pending", "completed"):
            real = await pool.fetchval(
                "select count(*) from orders where region_id = $1 and status = $2", region, status
            )
            assert (await listed(orders, [("region_id", region), ("status[]", status)]))[0] == real
        await fold(pool)
    left = await pool.fetch("select orders, folded from order_counts where region_id = $1", region)
    assert [(row["orders"], row["folded"]) for row in sorted(left)] == [(24, True), (30, True)]


async def test_a_list_is_one_statement(orders: Client, stack: Stack, many: list[Row]) -> None:
    for query in ([], [("q", "ann")], [("status[]", "pending")], [("offset", "50000")], [("order", "email")]):
        await orders.ok("GET", "/admin/orders", query=query)
        with stack.statements("orders") as sent:
            await orders.ok("GET", "/admin/orders", query=query)
        assert len([text for text in sent if "order_counts c where not folded" not in text]) == 1
