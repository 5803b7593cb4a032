"""A few requests of every operation, made up from the served document; the long run is tests/fuzz/run.py."""

import asyncio

import pytest

from tests.fuzz.fuzzing import fuzz, summary
from tests.support.answers import kept_document
from tests.support.client import Client
from tests.support.factories.shops import place, set_up
from tests.support.stack import Stack


# The services, in this process's other thread, draw random numbers meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
async def test_no_request_breaks_anything(stack: Stack, api: Client) -> None:
    shop = await set_up(api)
    await place(api, shop)
    token = api.headers()["Authorization"].removeprefix("Bearer ")
    document = await kept_document(lambda: api.ok("GET", "/openapi.json"))
    report = await asyncio.to_thread(fuzz, stack.urls["gateway"], token, document, examples=2, seed=7)
    assert report.failures == {}, summary(report)
    assert report.requests >= 2 * 200
    assert len(report.succeeded) >= 80, "most requests should get past the first check"
