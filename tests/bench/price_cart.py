"""Time of the command `price_cart` for 1, 10 and 100 lines, on a catalog of any size.

    python tests/bench/price_cart.py --base http://127.0.0.1:9000 --database postgresql://.../mercer_catalog

The database holds what `product_lists.py load` put there. A region with its own tax rate, a shipping option and a
discount of ten per cent for half of the products are made through the API; then the command's handler is run on one
connection, as the service runs it, in turns. Every cart has lines of different products, a shipping method and the
discount. It also prints how many statements one cart takes, and how much of the time the database took.
"""

import argparse
import asyncio
import statistics
import time
from typing import Any
from uuid import uuid4

import aiohttp

from services.catalog.pricing.carts import price_cart
from services.chassis.db import create_pool

SIZES = (1, 10, 100)
LOGIN = {"email": "admin@example.com", "password": "supersecret"}
VARIANTS = "select v.id from product_variants v where v.id like 'variant\\_bench\\_%1' order by md5(v.id) limit $1"
PRODUCTS = "select v.product_id as id from product_variants v where v.id = any($1)"


class Counting:
    """A connection that counts its statements and their time."""

    def __init__(self, db: Any) -> None:
        self.db, self.statements, self.milliseconds = db, 0, 0.0

    async def timed(self, call: Any, *args: object) -> Any:
        started = time.perf_counter()
        value = await call(*args)
        self.statements += 1
        self.milliseconds += 1000 * (time.perf_counter() - started)
        return value

    async def execute(self, query: str, *args: object) -> str:
        return str(await self.timed(self.db.execute, query, *args))

    async def fetch(self, query: str, *args: object) -> list[Any]:
        return list(await self.timed(self.db.fetch, query, *args))

    async def fetchrow(self, query: str, *args: object) -> Any:
        return await self.timed(self.db.fetchrow, query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        return await self.timed(self.db.fetchval, query, *args)


async def make(base: str, product_ids: list[str]) -> tuple[str, str, str]:
    """(region, shipping option, code of a discount), made through the API."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{base}/admin/auth/token", json=LOGIN) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}

        async def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
            async with session.request(method, f"{base}/admin/{path}", json=body, headers=headers) as answer:
                if answer.status != 200:
                    raise SystemExit(f"{path}: {answer.status} {await answer.text()}")
                return await answer.json()

        code = uuid4().hex[:12].upper()
        region = {
            "name": f"Bench {code}",
            "currency_code": "usd",
            "tax_rate": 19,
            "payment_providers": ["manual"],
            "fulfillment_providers": ["manual"],
            "countries": [],
        }
        region_id = (await ask("POST", "regions", region))["region"]["id"]
        rate = {"name": "Reduced", "code": "reduced", "rate": 7, "region_id": region_id, "products": product_ids[1::3]}
        await ask("POST", "tax-rates", rate)
        option = {
            "name": "Standard",
            "region_id": region_id,
            "provider_id": "manual",
            "data": {"id": "manual-fulfillment"},
            "price_type": "flat_rate",
            "amount": 500,
        }
        option_id = (await ask("POST", "shipping-options", option))["shipping_option"]["id"]
        rule = {"type": "percentage", "value": 10, "allocation": "total"}
        conditions = [{"operator": "in", "products": product_ids[::2]}]
        await ask(
            "POST", "discounts", {"code": code, "regions": [region_id], "rule": {**rule, "conditions": conditions}}
        )
        return region_id, option_id, code


async def measure(base: str, url: str, rounds: int) -> None:
    """Print the times."""
    pool = await create_pool(url, 2, "bench")
    variants = [row["id"] for row in await pool.fetch(VARIANTS, max(SIZES))]
    if len(variants) < max(SIZES):
        raise SystemExit("There are not enough products: run product_lists.py load first.")
    products = [row["id"] for row in await pool.fetch(PRODUCTS, variants)]
    region_id, option_id, code = await make(base, products)
    carts = {
        size: {
            "region_id": region_id,
            "discount_codes": [code],
            "items": [
                {"id": f"item_{n}", "variant_id": v, "quantity": 1 + n % 3} for n, v in enumerate(variants[:size])
            ],
            "shipping_methods": [{"id": "sm_1", "option_id": option_id}],
        }
        for size in SIZES
    }
    times: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    async with pool.acquire() as connection:
        for turn in range(rounds + 3):
            for size, cart in carts.items():
                db = Counting(connection)
                started = time.perf_counter()
                priced = await price_cart(db, cart)
                taken = 1000 * (time.perf_counter() - started)
                if len(priced["items"]) != size or not priced["discounts"] or db.statements != 1:
                    raise SystemExit(f"{size} lines: {db.statements} statements, {priced['discounts']}")
                if turn >= 3:
                    times[size].append((taken, db.milliseconds))
    total = await pool.fetchval("select count(*) from products")
    await pool.close()
    print(f"{total} products, {rounds} rounds, one statement each: median, 99th percentile in ms (of it the database)")
    for size, pairs in times.items():
        whole, database = zip(*pairs, strict=True)
        high = statistics.quantiles(whole, n=100)[98]
        print(f"  {size:3} lines {statistics.median(whole):8.1f} {high:8.1f}   ({statistics.median(database):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="URL of the gateway")
    parser.add_argument("--database", required=True, help="URL of the catalog's database")
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    asyncio.run(measure(given.base, given.database, given.rounds))


if __name__ == "__main__":
    main()
