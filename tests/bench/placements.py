"""64 clients at once place orders for the last 100 units of 5 variants, 20 times: is exactly what is there sold?

    python tests/bench/placements.py --base http://127.0.0.1:9000

The stack reserves on placement (the default). In each round there are five new variants, 100 units of each at two
locations of the store's sales channel. Every client makes draft orders of one to five units of one variant, or of two,
and pays them through the gateway; when that is refused, it tries one unit, until one unit of every variant has been
refused. Then it is counted, through the API: units sold per variant, reservations, reserved stock, orders, and drafts
that are neither open nor an order. Anything but 100 of each, with nothing in between, ends the run with an error.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

LOGIN = {"email": "admin@example.com", "password": "supersecret"}
VARIANTS, UNITS = 5, 100
SHELVES = (60, 40)  # at two locations


@dataclass
class Api:
    """The gateway, logged in."""

    session: aiohttp.ClientSession
    base: str
    headers: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None, query: Any = None) -> tuple[int, Any]:
        async with self.session.request(
            method, f"{self.base}/admin/{path}", json=body, params=query, headers=self.headers
        ) as answer:
            return answer.status, await answer.json()

    async def ok(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        status, answer = await self.ask(method, path, body, query)
        if status != 200:
            raise SystemExit(f"{method} {path}: {status} {answer}")
        return answer


@dataclass
class Round:
    """The variants that are for sale, with their items, and what came of it."""

    region: str
    option: str
    items: dict[str, str]  # inventory item of each variant
    orders: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


async def set_up(api: Api) -> Round:
    """A region, a shipping option, five variants, and their stock."""
    tag = uuid4().hex[:8]
    store = (await api.ok("GET", "store"))["store"]
    region = {
        "name": f"Sale {tag}",
        "currency_code": store["default_currency_code"],
        "tax_rate": 0,
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
        "countries": [],
    }
    region_id = (await api.ok("POST", "regions", region))["region"]["id"]
    option = {
        "name": "Standard",
        "region_id": region_id,
        "provider_id": "manual",
        "data": {"id": "manual-fulfillment"},
        "price_type": "flat_rate",
        "amount": 500,
    }
    option_id = (await api.ok("POST", "shipping-options", option))["shipping_option"]["id"]
    product = {
        "title": f"Last ones {tag}",
        "options": [{"title": "Colour"}],
        "variants": [
            {
                "title": f"Colour {n}",
                "prices": [{"currency_code": store["default_currency_code"], "amount": 1000}],
                "options": [{"value": f"{n}"}],
            }
            for n in range(VARIANTS)
        ],
    }
    variants = [v["id"] for v in (await api.ok("POST", "products", product))["product"]["variants"]]
    items = {v: (await api.ok("GET", f"variants/{v}/inventory"))["variant"]["inventory"][0]["id"] for v in variants}
    for n, quantity in enumerate(SHELVES):
        location = (await api.ok("POST", "stock-locations", {"name": f"Depot {n} {tag}"}))["stock_location"]["id"]
        channel = store["default_sales_channel_id"]
        await api.ok("POST", f"sales-channels/{channel}/stock-locations", {"location_id": location})
        for item in items.values():
            level = {"location_id": location, "stocked_quantity": quantity}
            await api.ok("POST", f"inventory-items/{item}/location-levels", level)
    return Round(region_id, option_id, items)


async def client(api: Api, sale: Round, dice: random.Random) -> None:
    """Buy until there is nothing left to buy. Who is refused one unit tells the others, when theirs are under way."""
    while left := sorted(sale.items.keys() - sale.gone):
        wanted = dice.sample(left, dice.choice((1, min(2, len(left)))))
        if await buy(api, sale, {variant: dice.randint(1, 5) for variant in wanted}):
            continue
        for variant in wanted:
            if not await buy(api, sale, {variant: 1}):
                sale.gone.add(variant)


async def buy(api: Api, sale: Round, wanted: dict[str, int]) -> bool:
    """Make a draft order and pay it. Whether it became an order."""
    draft = {
        "email": f"{uuid4().hex[:12]}@example.com",
        "region_id": sale.region,
        "items": [{"variant_id": variant, "quantity": quantity} for variant, quantity in wanted.items()],
        "shipping_methods": [{"option_id": sale.option}],
    }
    draft_id = (await api.ok("POST", "draft-orders", draft))["draft_order"]["id"]
    started = time.perf_counter()
    status, answer = await api.ask("POST", f"draft-orders/{draft_id}/pay")
    sale.times.append(1000 * (time.perf_counter() - started))
    if status == 200:
        sale.orders.append(answer["order"]["id"])
        return True
    if (status, answer.get("code")) != (400, "insufficient_inventory"):
        sale.wrong[f"{status} {answer}"] += 1
    sale.refused.append(draft_id)
    return False


async def counted(api: Api, sale: Round) -> dict[str, Any]:
    """What was sold, by everything that says so."""
    sold: Counter[str] = Counter()
    for order_id in sale.orders:
        query = {"expand": "items", "fields": "id,status,payment_status"}
        order = (await api.ok("GET", f"orders/{order_id}", query=query))["order"]
        if (order["status"], order["payment_status"]) != ("pending", "captured"):
            sale.wrong[f"order {order['status']} {order['payment_status']}"] += 1
        for line in order["items"]:
            sold[line["variant_id"]] += line["quantity"]
    for draft_id in sale.refused:
        draft = (await api.ok("GET", f"draft-orders/{draft_id}"))["draft_order"]
        if (draft["status"], draft["order_id"]) != ("open", None):
            sale.wrong[f"refused draft {draft['status']} {draft['order_id']}"] += 1
    reserved, levels = Counter[str](), Counter[str]()
    for variant, item in sale.items.items():
        found = (await api.ok("GET", f"inventory-items/{item}"))["inventory_item"]
        levels[variant] = sum(level["reserved_quantity"] for level in found["location_levels"])
        if any(level["available_quantity"] < 0 for level in found["location_levels"]):
            sale.wrong["more reserved than there is"] += 1
        query = {"inventory_item_id[]": item, "limit": "1000"}
        rows = (await api.ok("GET", "reservations", query=query))["reservations"]
        reserved[variant] = sum(row["quantity"] for row in rows)
    return {"sold": sold, "reservations": reserved, "levels": levels}


async def run(base: str, clients: int, rounds: int, seed: int) -> int:
    """Returns how many rounds went wrong."""
    failed = 0
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
        for number in range(1, rounds + 1):
            # For each round, because a login ends after a day and a token sooner.
            async with session.post(f"{base}/admin/auth/token", json=LOGIN) as answer:
                token = (await answer.json())["access_token"]
            api = Api(session, base, {"Authorization": f"Bearer {token}"})
            sale = await set_up(api)
            started = time.perf_counter()
            dice = [random.Random(f"{seed}/{number}/{n}") for n in range(clients)]
            await asyncio.gather(*(client(api, sale, each) for each in dice))
            taken = time.perf_counter() - started
            found = await counted(api, sale)
            right = Counter(dict.fromkeys(sale.items, UNITS))
            bad = [name for name, units in found.items() if units != right]
            failed += bool(bad or sale.wrong)
            print(
                f"round {number}: {[found['sold'][v] for v in sale.items]} sold in {len(sale.orders)} orders, "
                f"{len(sale.refused)} refused, {taken:.1f} s; paying took {statistics.median(sale.times):.0f} ms, "
                f"at most {max(sale.times):.0f} ms {'; '.join([*bad, *sale.wrong])}",
                flush=True,
            )
    print(f"{rounds - failed} of {rounds} rounds: exactly {UNITS} of {VARIANTS} variants sold to {clients} clients")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="URL of the gateway")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(min(asyncio.run(run(given.base, given.clients, given.rounds, given.seed)), 1))


if __name__ == "__main__":
    main()
