"""Median time of GET /admin/orders with many orders: first page, deep page, every filter; the exact count is in each.

    python tests/bench/order_lists.py load  --database postgresql://.../mercer_orders --orders 1000000
    python tests/bench/order_lists.py measure --base http://127.0.0.1:9000 --database postgresql://.../mercer_orders

`load` fills the orders service's database until it holds that many orders, in statements over many rows, through the
same triggers as the service's own: customers, addresses, lines with tax lines, shipping methods, payments, and the
copies of the catalog that an answer shows. The orders are spread evenly over three years, three regions, three sales
channels and ten combinations of the three statuses. The database is one of a stack that can be thrown away.

`measure` asks through the gateway, in turns (each round asks everything once), and checks every count against one made
by the database of all rows. On two databases, 10,000 and 1,000,000 orders, it tells what size costs.
"""

import argparse
import asyncio
import statistics
import time
from typing import Any

import aiohttp
import asyncpg

BATCH = 50_000
YEARS_IN_SECONDS = 3 * 365 * 86400
FIRST = "array['Ada','Ben','Cleo','Dora','Emil','Fay','Gus','Hanna','Ivo','Jo','Kim','Lars','Mia','Nils','Olga','Per']"

COPIES = """
insert into copies (kind, id, sequence, body, related)
select 'region', 'reg_bench_' || n, 1,
    jsonb_build_object('id', 'reg_bench_' || n, 'name', 'Region ' || n, 'currency_code', 'eur', 'tax_rate', 20),
    '{"countries": [{"iso_2": "de"}], "currency": {"code": "eur"}, "tax_rates": []}'::jsonb
from generate_series(0, 2) n
union all
select 'sales_channel', 'sc_bench_' || n, 1, jsonb_build_object('id', 'sc_bench_' || n, 'name', 'Channel ' || n), '{}'
from generate_series(0, 2) n
union all
select 'shipping_option', 'so_bench', 1, '{"id": "so_bench", "name": "Standard", "amount": 500}', '{}'
union all
select 'product', 'prod_bench_' || n, 1, jsonb_build_object('id', 'prod_bench_' || n, 'title', 'Shirt ' || n),
    '{"profiles": [], "profile": null, "profile_id": null}'
from generate_series(0, 199) n
union all
select 'variant', 'variant_bench_' || n, 1,
    jsonb_build_object('id', 'variant_bench_' || n, 'title', 'M', 'product_id', 'prod_bench_' || n), '{}'
from generate_series(0, 199) n
on conflict do nothing
"""
# One customer for every five orders. $1 first, $2 after the last number.
CUSTOMERS = f"""
insert into customers (id, email, first_name, last_name, phone, has_account, created_at)
select 'cus_bench_' || to_char(n, 'FM00000000'),
    lower(({FIRST})[1 + n % 16]) || '.' || substr(md5(n::text), 1, 6) || n || '@shop' || n % 97 || '.example',
    ({FIRST})[1 + n % 16], initcap(translate(substr(md5('l' || n % 2000), 1, 8), '0123456789', 'ghijklmnop')),
    '+49' || to_char(1000000 + n, 'FM0000000'), n % 2 = 0, now() - interval '3 years'
from generate_series($1::int / 5, ($2::int - 1) / 5) n
on conflict do nothing
"""
NUMBERS = f"""
create temporary table numbers on commit drop as
select n, 'order_bench_' || to_char(n, 'FM00000000') as id, 'cus_bench_' || to_char(n / 5, 'FM00000000') as customer_id,
    now() - interval '3 years' + make_interval(secs => {YEARS_IN_SECONDS}::float8 * (n + 1) / $3::int) as at,
    (hashint4(n) & 2147483647) % 1000 as dice
from generate_series($1::int, $2::int - 1) n
"""
ADDRESSES = """
insert into addresses (
    id, first_name, last_name, address_1, city, country_code, postal_code, created_at, updated_at
)
select kind || n, c.first_name, c.last_name, n || ' Main St', 'Berlin', 'de', '10115', at, at
from numbers join customers c on c.id = customer_id, unnest(array['addr_bench_s', 'addr_bench_b']) kind
"""
ORDERS = """
insert into orders (
    id, display_id, status, fulfillment_status, payment_status, customer_id, email, region_id, currency_code,
    sales_channel_id, billing_address_id, shipping_address_id, canceled_at, subtotal, shipping_total, item_tax_total,
    shipping_tax_total, tax_total, total, paid_total, refundable_amount, created_at, updated_at
)
select numbers.id, nextval('orders_display_id'), s.status, s.fulfillment, s.payment, customer_id, c.email,
    'reg_bench_' || n % 3, 'eur', 'sc_bench_' || n / 3 % 3, 'addr_bench_b' || n, 'addr_bench_s' || n,
    case when s.status = 'canceled' then at end, 1000 + dice, 500, 200, 100, 300, 1800 + dice, 1800 + dice, 1800 + dice,
    at, at + interval '1 day'
from numbers join customers c on c.id = customer_id
join (values
    (0, 700, 'completed', 'shipped', 'captured'), (700, 800, 'pending', 'not_fulfilled', 'captured'),
    (800, 850, 'pending', 'partially_shipped', 'captured'), (850, 900, 'canceled', 'canceled', 'canceled'),
    (900, 930, 'completed', 'returned', 'refunded'),
    (930, 960, 'completed', 'partially_returned', 'partially_refunded'),
    (960, 980, 'archived', 'shipped', 'captured'), (980, 990, 'pending', 'fulfilled', 'captured'),
    (990, 998, 'pending', 'not_fulfilled', 'awaiting'), (998, 1000, 'pending', 'requires_action', 'captured')
) s (low, high, status, fulfillment, payment) on dice >= s.low and dice < s.high
order by n
"""
LINES = """
insert into line_items (
    id, order_id, title, description, variant_id, product_id, unit_price, quantity, subtotal, tax_total, total,
    original_tax_total, original_total, refundable, created_at, updated_at
)
select 'item_bench_' || l || '_' || n, id, 'Shirt', 'M', 'variant_bench_' || (n + l) % 200,
    'prod_bench_' || (n + l) % 200, 500, 1, 500, 100, 600, 100, 600, 600, at, at
from numbers, generate_series(1, 2) l
"""
PARTS = (
    """
insert into line_item_tax_lines (id, item_id, rate, name, code, frozen)
select 'litl_bench_' || l || '_' || n, 'item_bench_' || l || '_' || n, 20, 'default', 'default', true
from numbers, generate_series(1, 2) l
""",
    """
insert into shipping_methods (
    id, order_id, shipping_option_id, profile_id, provider_id, price, subtotal, tax_total, total, original_tax_total,
    original_total, created_at
)
select 'sm_bench_' || n, id, 'so_bench', 'sp_bench', 'manual', 500, 500, 100, 600, 100, 600, at from numbers
""",
    """
insert into shipping_method_tax_lines (id, shipping_method_id, rate, name, code, frozen)
select 'smtl_bench_' || n, 'sm_bench_' || n, 20, 'default', 'default', true from numbers
""",
    """
insert into payments (
    id, order_id, amount, currency_code, provider_id, captured_at, created_at, updated_at
)
select 'pay_bench_' || n, id, 1800 + dice, 'eur', 'system', at, at, at from numbers
""",
)


async def load(url: str, wanted: int) -> None:
    """Add orders until there are `wanted` of ours."""
    db = await asyncpg.connect(url, command_timeout=600)
    try:
        await db.execute(COPIES)
        first = await db.fetchval("select count(*)::int from orders where id like 'order\\_bench\\_%'")
        started = time.monotonic()
        for low in range(first, wanted, BATCH):
            high = min(low + BATCH, wanted)
            async with db.transaction():
                await db.execute(CUSTOMERS, low, high)
                await db.execute(NUMBERS.replace("$1", str(low)).replace("$2", str(high)).replace("$3", str(wanted)))
                for statement in (ADDRESSES, ORDERS, LINES, *PARTS):
                    await db.execute(statement)
            print(f"{high} orders after {time.monotonic() - started:.0f} s", flush=True)
        await db.execute("vacuum analyze")
        print(f"loaded and vacuumed after {time.monotonic() - started:.0f} s")
    finally:
        await db.close()


async def cases(db: Any) -> list[tuple[str, dict[str, str], str]]:
    """(name, query, the condition of its count)."""
    total = await db.fetchval("select count(*) from orders")
    row = await db.fetchrow(
        "select o.email, o.customer_id, o.display_id, c.last_name "
        "from orders o join customers c on c.id = o.customer_id order by o.created_at desc offset $1 limit 1",
        total // 3,
    )
    deep = str(total // 2)
    day = (await db.fetchval("select (now() - interval '200 days')::date")).isoformat()
    later = (await db.fetchval("select (now() - interval '20 days')::date")).isoformat()
    last = f"exists (select from customers c where c.id = o.customer_id and c.last_name = '{row['last_name']}')"
    named = (
        "exists (select from customers c, addresses a where c.id = o.customer_id and a.id = o.shipping_address_id and "
        "concat_ws('/', o.email, a.first_name, c.first_name, c.last_name, c.phone) ilike '%{}%')"
    )
    return [
        ("first page", {}, "true"),
        (f"deep page, offset {deep}", {"offset": deep}, "true"),
        ("last page", {"offset": str(total - 50)}, "true"),
        ("status pending", {"status[]": "pending"}, "status = 'pending'"),
        (
            "status completed, deep",
            {"status[]": "completed", "offset": str(int(deep) // 2)},
            "status = 'completed'",
        ),
        ("status requires_action (none)", {"status[]": "requires_action"}, "status = 'requires_action'"),
        (
            "fulfillment_status requires_action",
            {"fulfillment_status[]": "requires_action"},
            "fulfillment_status = 'requires_action'",
        ),
        ("payment_status captured", {"payment_status[]": "captured"}, "payment_status = 'captured'"),
        ("payment_status awaiting", {"payment_status[]": "awaiting"}, "payment_status = 'awaiting'"),
        (
            "two statuses",
            {"status[]": "pending", "payment_status[]": "captured", "offset": "1000"},
            "status = 'pending' and payment_status = 'captured'",
        ),
        ("email", {"email": row["email"]}, f"email = '{row['email']}'"),
        ("customer_id", {"customer_id": row["customer_id"]}, f"customer_id = '{row['customer_id']}'"),
        ("region_id", {"region_id": "reg_bench_1"}, "region_id = 'reg_bench_1'"),
        ("sales_channel_id", {"sales_channel_id[]": "sc_bench_2"}, "sales_channel_id = 'sc_bench_2'"),
        (
            "created_at range",
            {"created_at[gte]": day, "created_at[lt]": later},
            f"created_at >= '{day}' and created_at < '{later}'",
        ),
        (
            "created_at range and status",
            {"created_at[gt]": day, "status[]": "pending"},
            f"created_at > '{day}' and status = 'pending'",
        ),
        ("q, an email", {"q": row["email"]}, f"email = '{row['email']}'"),
        ("q, a last name", {"q": row["last_name"].lower()}, last),
        ("q, a first name", {"q": "ada"}, named.format("ada")),
        ("q, two letters", {"q": "ad"}, named.format("ad")),
        ("q, every email", {"q": "example"}, named.format("example")),
        ("q, a number", {"q": str(row["display_id"])}, f"display_id = {row['display_id']}"),
        ("order=created_at", {"order": "created_at"}, "true"),
        ("order=-display_id, deep", {"order": "-display_id", "offset": deep}, "true"),
        ("order=email", {"order": "email"}, "true"),
        ("order=-updated_at", {"order": "-updated_at"}, "true"),
        ("order=-total", {"order": "-total"}, "true"),
        ("order=-display_id, status pending", {"order": "-display_id", "status[]": "pending"}, "status = 'pending'"),
    ]


async def measure(base: str, url: str, rounds: int) -> None:
    """Print the median of every case."""
    db = await asyncpg.connect(url, command_timeout=600)
    asked = await cases(db)
    async with aiohttp.ClientSession() as session:
        login = {"email": "admin@example.com", "password": "supersecret"}
        async with session.post(f"{base}/admin/auth/token", json=login) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}

        async def ask(query: dict[str, str]) -> tuple[float, dict[str, Any]]:
            started = time.perf_counter()
            async with session.get(f"{base}/admin/orders", params=query, headers=headers) as answer:
                body = await answer.read()
                seconds = time.perf_counter() - started
                if answer.status != 200:
                    raise SystemExit(f"{query}: {answer.status} {body[:300]!r}")
                found: dict[str, Any] = await answer.json()
            return seconds * 1000, found

        times: dict[str, list[float]] = {name: [] for name, _, _ in asked}
        for name, query, condition in asked:
            _, found = await ask(query)
            count = await db.fetchval(f"select count(*) from orders o where {condition}")
            if found["count"] != count:
                raise SystemExit(f"{name}: the count is {found['count']}, the database has {count}")
            if len(found["orders"]) != max(min(50, count - int(query.get("offset", 0))), 0):
                raise SystemExit(f"{name}: {len(found['orders'])} orders on the page")
        for _ in range(rounds):
            for name, query, _ in asked:
                times[name].append((await ask(query))[0])
    total = await db.fetchval("select count(*) from orders")
    await db.close()
    print(f"{total} orders, {rounds} rounds: median (largest) in ms")
    for name, taken in times.items():
        print(f"  {name:40} {statistics.median(taken):8.1f} ({max(taken):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "measure"))
    parser.add_argument("--base", help="URL of the gateway")
    parser.add_argument("--database", required=True, help="URL of the orders service's database")
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    if given.what == "load":
        asyncio.run(load(given.database, given.orders))
    else:
        asyncio.run(measure(given.base, given.database, given.rounds))


if __name__ == "__main__":
    main()
