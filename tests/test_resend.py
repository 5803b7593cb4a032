"""`python -m services.NAME resend KIND`, and `python -m gateway resend user`: copies of rows that nobody touches get
the shape that is sent today."""

import asyncio
import os
import sys

from tests.support.client import Client
from tests.support.factories.shops import set_up
from tests.support.processes import ROOT, environment
from tests.support.stack import SECRET, Stack
from tests.support.waiting import until

AGED = "update copies set body = body - $3::text where kind = $1 and id = $2 returning true"
NEW_AGAIN = "select body ? $3::text from copies where kind = $1 and id = $2"


async def resent(stack: Stack, service: str, *kinds: str) -> tuple[int | None, str]:
    """The status of the command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway" if service == "gateway" else f"services.{service}", "resend", *kinds),
        cwd=ROOT,
        env=os.environ | environment(stack, service, 0) | {"MERCER_SESSION_SECRET": SECRET[::-1]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()
    return process.returncode, printed.decode()


async def check_resend(stack: Stack, owner: str, column: str, rows: list[tuple[str, str, str]]) -> None:
    """Copies (service, kind, id) that lack the column get it when their owner sends these kinds again."""

    async def all_are(statement: str) -> bool:
        found = [await stack.pool(service).fetchval(statement, kind, id_, column) for service, kind, id_ in rows]
        return all(found)

    await until(lambda: all_are(NEW_AGAIN))
    assert await all_are(AGED)
    assert not await all_are(NEW_AGAIN)
    status, printed = await resent(stack, owner, *sorted({kind for _, kind, _ in rows}))
    assert status == 0, printed
    await until(lambda: all_are(NEW_AGAIN))


async def test_copies_get_the_shape_of_today(api: Client, stack: Stack) -> None:
    shop = await set_up(api)
    rows = [
        ("orders", "product", shop.product),
        ("orders", "variant", shop.small),
        ("inventory", "variant", shop.small),
    ]
    await check_resend(stack, "catalog", "material", rows)


async def test_copies_of_users_get_the_shape_of_today(api: Client, stack: Stack, uid: str) -> None:
    body = {"email": f"{uid}@example.com", "password": "secret"}
    user_id = (await api.ok("POST", "/admin/users", body))["user"]["id"]
    await check_resend(stack, "gateway", "role", [("orders", "user", user_id), ("catalog", "user", user_id)])


async def test_kinds_that_are_not_there_are_named(stack: Stack) -> None:
    for kinds in ((), ("product", "nothing")):
        status, printed = await resent(stack, "catalog", *kinds)
        assert status == 1
        assert "product, region" in printed
