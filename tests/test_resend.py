"""`python -m services.NAME resend KIND`: copies of rows that nobody touches get the shape that is sent today."""

import asyncio
import os
import sys

from tests.support.client import Client
from tests.support.factories.shops import set_up
from tests.support.processes import ROOT, environment
from tests.support.stack import Stack
from tests.support.waiting import until

AGED = "update copies set body = body - 'material' where kind = $1 and id = $2 returning true"
NEW_AGAIN = "select body ? 'material' from copies where kind = $1 and id = $2"


async def resent(stack: Stack, service: str, *kinds: str) -> tuple[int | None, str]:
    """The status of the command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{service}", "resend", *kinds),
        cwd=ROOT,
        env=os.environ | environment(stack, service, 0),
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()
    return process.returncode, printed.decode()


async def test_copies_get_the_shape_of_today(api: Client, stack: Stack) -> None:
    shop = await set_up(api)
    rows = [
        ("orders", "product", shop.product),
        ("orders", "variant", shop.small),
        ("inventory", "variant", shop.small),
    ]

    async def all_are(statement: str) -> bool:
        found = [await stack.pool(service).fetchval(statement, kind, id_) for service, kind, id_ in rows]
        return all(found)

    await until(lambda: all_are(NEW_AGAIN))
    assert await all_are(AGED)
    assert not await all_are(NEW_AGAIN)
    status, printed = await resent(stack, "catalog", "product", "variant")
    assert status == 0, printed
    await until(lambda: all_are(NEW_AGAIN))


async def test_kinds_that_are_not_there_are_named(stack: Stack) -> None:
    for kinds in ((), ("product", "nothing")):
        status, printed = await resent(stack, "catalog", *kinds)
        assert status == 1
        assert "product, region" in printed
