"""Time of the lists of products and variants with many products, and whether their plans read a whole table.

    python tests/bench/product_lists.py load    --database postgresql://.../mercer_catalog --products 100000
    python tests/bench/product_lists.py measure --base http://127.0.0.1:9000 --database postgresql://.../mercer_catalog

`load` fills the catalog's database until it holds that many products, in statements over many rows: each with three
variants of two prices and one option, two images and two of 200 tags, in one of 50 collections, offered in the default
sales channel. The database is one of a stack that can be thrown away.

`measure` asks through the gateway for pages of 50 with variants, prices, options, images and tags (what the API answers
with by default), in turns (each round asks everything once), checks every count against the database, and prints the
median, the 99th percentile and the largest. Then it explains each statement, as a generic plan, and names the large
tables that it reads from end to end.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import orjson

from services.catalog.products import lists as product_lists
from services.catalog.products import variant_lists
from services.chassis.embed import Page, page_text
from services.chassis.params import parse_query

BATCH = 20_000
LARGE = 5_000  # rows of a table that nobody wants to read from end to end
WORDS = (
    "array['Linen','Cotton','Wool','Denim','Silk','Canvas','Leather','Flannel','Velvet','Corduroy','Jersey','Tweed']"
)
THINGS = "array['shirt','jacket','scarf','dress','skirt','coat','hat','glove','sock','belt','bag','shoe','vest','robe']"

SHARED = (
    """
insert into product_collections (id, title, handle)
select 'pcol_bench_' || n, 'Season ' || n, 'season-bench-' || n from generate_series(0, 49) n on conflict do nothing
""",
    """
insert into product_tags (id, value) select 'ptag_bench_' || n, 'bench tag ' || n from generate_series(0, 199) n
on conflict do nothing
""",
)
NUMBERS = f"""
create temporary table numbers on commit drop as
select n, 'prod_bench_' || to_char(n, 'FM00000000') as id, 'bench_' || to_char(n, 'FM00000000') as tail,
    ({WORDS})[1 + n % 12] || ' ' || ({THINGS})[1 + n / 12 % 14] || ' ' || substr(md5(n::text), 1, 6) as title,
    now() - interval '3 years' + make_interval(secs => 94608000.0 * (n + 1) / $3) as at
from generate_series($1, $2 - 1) n
"""
FILL = (
    """
insert into products (
    id, title, description, handle, status, thumbnail, collection_id, profile_id, created_at, updated_at
)
select id, title, 'A ' || lower(title) || ' that lasts, number ' || n || ' of its kind', 'bench-' || n,
    (array['published', 'published', 'published', 'draft'])[1 + n % 4], 'https://cdn.example/' || n || '/0.jpg',
    'pcol_bench_' || n % 50, (select p.id from shipping_profiles p where p.type = 'default' limit 1), at, at
from numbers
""",
    """
insert into product_options (id, product_id, title, created_at) select 'opt_' || tail, id, 'Size', at from numbers
""",
    """
insert into product_variants (id, product_id, title, sku, variant_rank, inventory_quantity, created_at, updated_at)
select 'variant_' || tail || v, id, (array['S', 'M', 'L'])[v], 'BENCH-' || n || '-' || v, v - 1, 5, at, at
from numbers, generate_series(1, 3) v
""",
    """
insert into product_option_values (id, option_id, variant_id, value, created_at)
select 'optval_' || tail || v, 'opt_' || tail, 'variant_' || tail || v, (array['S', 'M', 'L'])[v], at
from numbers, generate_series(1, 3) v
""",
    """
insert into prices (id, variant_id, currency_code, amount, created_at)
select 'ma_' || tail || v || c, 'variant_' || tail || v, c, 1000 + n % 500, at
from numbers, generate_series(1, 3) v, unnest(array['eur', 'usd']) c
""",
    """
insert into variant_availability select 'variant_' || tail || v, n % 9, true from numbers, generate_series(1, 3) v
""",
    """
insert into images (id, url, created_at) select 'img_' || tail || i, 'https://cdn.example/' || n || '/' || i, at
from numbers, generate_series(0, 1) i
""",
    """
insert into product_images (product_id, image_id, position) select id, 'img_' || tail || i, i
from numbers, generate_series(0, 1) i
""",
    """
insert into product_tag_links (product_id, tag_id, position) select id, 'ptag_bench_' || (n + i * 7) % 200, i
from numbers, generate_series(0, 1) i
""",
    """
insert into product_sales_channels (product_id, sales_channel_id) select numbers.id, default_sales_channel_id
from numbers, stores
""",
)


async def load(url: str, wanted: int) -> None:
    """Add products until there are `wanted` of ours."""
    db = await asyncpg.connect(url, command_timeout=3600)
    try:
        for statement in SHARED:
            await db.execute(statement)
        first = await db.fetchval("select count(*)::int from products where id like 'prod\\_bench\\_%'")
        started = time.monotonic()
        for low in range(first, wanted, BATCH):
            high = min(low + BATCH, wanted)
            async with db.transaction():
                await db.execute(NUMBERS.replace("$1", str(low)).replace("$2", str(high)).replace("$3", str(wanted)))
                for statement in FILL:
                    await db.execute(statement)
            print(f"{high} products after {time.monotonic() - started:.0f} s", flush=True)
        await db.execute("vacuum analyze")
        print(f"loaded and vacuumed after {time.monotonic() - started:.0f} s")
    finally:
        await db.close()


Case = tuple[str, str, dict[str, str], str]
LIVE = "t.deleted_at is null"


async def cases(db: Any) -> list[Case]:
    """(name, path, query, statement of its count)."""
    total = await db.fetchval("select count(*) from products where deleted_at is null")
    row = await db.fetchrow(
        "select title, right(title, 6) as word from products where id like 'prod\\_bench\\_%' "
        "order by created_at desc offset $1 limit 1",
        total // 3,
    )

    def products(name: str, query: dict[str, str], where: str) -> Case:
        return name, "products", query, f"select count(*) from products t where {LIVE} and ({where})"

    def variants(name: str, query: dict[str, str], where: str) -> Case:
        return (
            name,
            "variants",
            {"limit": "50", **query},
            f"select count(*) from product_variants t where {LIVE} and ({where})",
        )

    def searched(word: str) -> str:
        return (
            f"title ilike '%{word}%' or description ilike '%{word}%' or exists (select from product_variants v "
            "where v.product_id = t.id and v.deleted_at is null "
            f"and (v.title ilike '%{word}%' or v.sku ilike '%{word}%')) "
            f"or exists (select from product_collections c where c.id = t.collection_id and c.deleted_at is null "
            f"and c.title ilike '%{word}%')"
        )

    def of(word: str) -> str:
        return (
            f"title ilike '%{word}%' or sku ilike '%{word}%' or exists "
            f"(select from products p where p.id = t.product_id and p.title ilike '%{word}%')"
        )

    return [
        products("first page", {}, "true"),
        products(f"deep page, offset {total // 2}", {"offset": str(total // 2)}, "true"),
        products("status", {"status[]": "draft"}, "status = 'draft'"),
        products("a collection", {"collection_id[]": "pcol_bench_7"}, "collection_id = 'pcol_bench_7'"),
        products(
            "a tag",
            {"tags[]": "ptag_bench_7"},
            "id in (select product_id from product_tag_links where tag_id = 'ptag_bench_7')",
        ),
        products("a title", {"title": row["title"]}, f"title = '{row['title']}'"),
        products("created_at", {"created_at[gt]": "2026-06-01"}, "created_at > '2026-06-01'"),
        products("order=title", {"order": "title"}, "true"),
        products("q, one product", {"q": row["word"]}, searched(row["word"])),
        products("q, a SKU", {"q": "bench-4711-2"}, searched("bench-4711-2")),
        products("q, nothing", {"q": "nothing like it"}, searched("nothing like it")),
        products("q, every 168th", {"q": "linen shirt"}, searched("linen shirt")),
        products("q, every 12th", {"q": "linen"}, searched("linen")),
        products("q, all", {"q": "number"}, searched("number")),
        products("q, two characters", {"q": "zz"}, searched("zz")),
        variants("variants, first page", {}, "true"),
        variants("variants, deep page", {"offset": str(total)}, "true"),
        variants("variants, in stock", {"inventory_quantity[gt]": "5"}, "inventory_quantity > 5"),
        variants("variants, q, one product", {"q": row["word"]}, of(row["word"])),
        variants("variants, q, a SKU", {"q": "bench-4711-2"}, of("bench-4711-2")),
        variants("variants, q, every 168th", {"q": "linen shirt"}, of("linen shirt")),
        variants("variants, q, nothing", {"q": "nothing like it"}, of("nothing like it")),
    ]


async def measure(base: str, url: str, rounds: int, only: str) -> None:
    """Print the times of every case, and what its plan reads from end to end."""
    db = await asyncpg.connect(url, command_timeout=600)
    asked = [case for case in await cases(db) if only in case[0]]
    async with aiohttp.ClientSession() as session:
        login = {"email": "admin@example.com", "password": "supersecret"}
        async with session.post(f"{base}/admin/auth/token", json=login) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}

        async def ask(path: str, query: dict[str, str]) -> tuple[float, Any]:
            started = time.perf_counter()
            async with session.get(f"{base}/admin/{path}", params=query, headers=headers) as answer:
                body = await answer.read()
            taken = 1000 * (time.perf_counter() - started)
            if answer.status != 200:
                raise SystemExit(f"{path} {query}: {answer.status} {body[:300]!r}")
            return taken, orjson.loads(body)

        for name, path, query, statement in asked:
            found, count = (await ask(path, query))[1], await db.fetchval(statement)
            if found["count"] != count:
                raise SystemExit(f"{name}: the count is {found['count']}, the database has {count}")
        times: dict[str, list[float]] = {name: [] for name, *_ in asked}
        for _ in range(rounds):
            for name, path, query, _ in asked:
                times[name].append((await ask(path, query))[0])
    total = await db.fetchval("select count(*) from products")
    print(f"{total} products, {rounds} rounds: median, 99th percentile, largest in ms; what is read from end to end")
    for name, path, query, _ in asked:
        taken = sorted(times[name])
        high = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
        whole = ", ".join(sorted(await scanned(db, page_of(path, query)))) or "no large table"
        print(f"  {name:28} {statistics.median(taken):8.1f} {min(high, taken[-1]):8.1f} {taken[-1]:8.1f}   {whole}")
    await db.close()


def page_of(path: str, query: dict[str, str]) -> Page:
    """The page that the service makes of the request."""
    parsed = parse_query(query.items())
    if path == "variants":
        asked = variant_lists.read_all(parsed)
        return replace(asked.page, resource=variant_lists.face(asked, asked.context))
    return product_lists.read_products(parsed)


async def scanned(db: Any, page: Page) -> set[str]:
    """The large tables that the generic plan of a page scans sequentially."""
    await db.execute("set plan_cache_mode = force_generic_plan")
    await db.execute("set jit = off")
    args = [*page.args, page.limit, page.offset]
    await db.execute(f"prepare page as {page_text(page)}")
    texts = [None if arg is None else as_text(arg) for arg in args]
    given = await db.fetchval("select string_agg(quote_nullable(arg), ', ') from unnest($1::text[]) arg", texts)
    plan = orjson.loads(await db.fetchval(f"explain (format json) execute page({given})"))
    await db.execute("deallocate page")
    large = {row["relname"] for row in await db.fetch("select relname from pg_class where reltuples > $1", LARGE)}
    return {node["Relation Name"] for node in nodes(plan[0]["Plan"]) if node["Node Type"] == "Seq Scan"} & large


def as_text(value: object) -> str:
    """As Postgres reads it."""
    if isinstance(value, list):
        return "{" + ",".join(orjson.dumps(str(item)).decode() for item in value) + "}"
    return str(value)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "measure"))
    parser.add_argument("--base", help="URL of the gateway")
    parser.add_argument("--database", required=True, help="URL of the catalog's database")
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="part of the names of the cases to measure")
    given = parser.parse_args()
    if given.what == "load":
        asyncio.run(load(given.database, given.products))
    else:
        asyncio.run(measure(given.base, given.database, given.rounds, given.only))


if __name__ == "__main__":
    main()
