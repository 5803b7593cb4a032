"""The long run: `python -m tests.fuzz.run --base http://127.0.0.1:9000 --examples 80`, on a shop made for it.

It creates, changes and deletes whatever there is: never run it on a shop that somebody needs. Exit status 1 when
something is wrong.
"""

import argparse
import asyncio
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import aiohttp

from tests.fuzz.fuzzing import Report, fuzz, served, summary
from tests.support.client import Client
from tests.support.factories.shops import place, set_up
from tests.support.stack import EMAIL, PASSWORD


async def prepare(base: str, email: str, password: str) -> str:
    """A shop with orders; returns the token to ask with."""
    async with aiohttp.ClientSession() as session:
        visitor = Client(session, base, dict)
        sent = {"email": email, "password": password}
        token = str((await visitor.ok("POST", "/admin/auth/token", sent))["access_token"])
        api = Client(session, base, lambda: {"Authorization": f"Bearer {token}"})
        shop = await set_up(api)
        for _ in range(5):
            await place(api, shop)
        await api.ok("POST", "/admin/draft-orders", shop.draft())
    return token


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="http://127.0.0.1:9000")
    parser.add_argument("--email", default=EMAIL)
    parser.add_argument("--password", default=PASSWORD)
    parser.add_argument("--examples", type=int, default=80, help="requests of every operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    started = time.monotonic()
    token = asyncio.run(prepare(given.base, given.email, given.password))
    report, document = Report(), served(given.base)
    with ProcessPoolExecutor(given.jobs) as pool:
        shares = [
            pool.submit(
                fuzz, given.base, token, document, examples=given.examples, seed=given.seed + n, share=(n, given.jobs)
            )
            for n in range(given.jobs)
        ]
        for share in shares:
            report.add(share.result())
    print(summary(report))
    print(f"\n{time.monotonic() - started:.0f} s")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
