"""/docs in a browser: every operation opens at once, and what it says can be tried there."""

import json
import time
from typing import Any

import pytest

from tests.support.answers import kept_document, unfolded
from tests.support.client import Client
from tests.support.factories.shops import place, set_up
from tests.support.stack import EMAIL, PASSWORD, Stack

# On a quiet machine the slowest takes well below 2 s; the suite runs on busy ones, too.
AT_MOST = 20.0
LARGEST = 20
LISTS = ("orders", "products", "customers")


@pytest.fixture(scope="module")
async def document(stack: Stack) -> Any:
    visitor = Client(stack.session, stack.urls["gateway"], dict)
    return await kept_document(lambda: visitor.ok("GET", "/openapi.json"))


def chosen(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations with the largest answers, and one of each tag."""
    schemas = document["components"]["schemas"]
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    operations.sort(key=lambda operation: unfolded(operation["responses"], schemas), reverse=True)
    tags = {operation["tags"][0]: operation for operation in reversed(operations[LARGEST:])}
    return operations[:LARGEST] + list(tags.values())


def tag_of(page: Any, operation: dict[str, Any]) -> Any:
    """The line that shows and hides the operations of a noun. Of a hundred lines the page has only those in sight."""
    return page.locator(f".opblock-tag[data-tag='{operation['tags'][0]}']")


async def open_operation(page: Any, operation: dict[str, Any]) -> Any:
    """The operation's part of the page, once its parameters and answers can be read."""
    await tag_of(page, operation).click()
    block = page.locator(f".opblock[id$='-{operation['operationId']}']")
    await block.locator(".opblock-summary-control").click()
    await block.locator("tr.response[data-code^='2']").first.wait_for()
    return block


async def try_out(page: Any, operation: dict[str, Any], body: Any = None) -> Any:
    """The JSON that the operation answers, with untouched fields but for the body."""
    block = await open_operation(page, operation)
    await block.locator(".try-out__btn").click()
    if body is not None:
        await block.locator("textarea.body-param__text").fill(json.dumps(body))
    await block.locator(".btn.execute").click()
    answer = block.locator(".live-responses-table tr.response")
    await answer.wait_for()
    assert (await answer.locator(".response-col_status").inner_text()).strip().startswith("200")
    return json.loads(await answer.locator("pre.microlight, .highlight-code pre").first.inner_text())


async def test_any_operation_opens_at_once(page: Any, document: Any) -> None:
    seconds = {}
    for operation in chosen(document):
        started = time.perf_counter()
        block = await open_operation(page, operation)
        seconds[operation["operationId"]] = time.perf_counter() - started
        assert operation["summary"] in await block.locator(".opblock-summary").inner_text()
        assert await block.locator(".parameters tbody tr").count() == len(operation.get("parameters", ()))
        await block.locator(".opblock-summary-control").click()
        await tag_of(page, operation).click()
    slowest = sorted(seconds, key=seconds.__getitem__)[-5:]
    print(f"{len(seconds)} operations, slowest: {', '.join(f'{name} {seconds[name]:.2f} s' for name in slowest)}")
    assert seconds[slowest[-1]] < AT_MOST


@pytest.mark.parametrize("noun", LISTS)
async def test_a_list_can_be_tried_with_untouched_fields(page: Any, document: Any, api: Client, noun: str) -> None:
    """Signed in on the page itself: no filter is filled in, so the list is the one that is there."""
    await place(api, await set_up(api))
    paths = document["paths"]
    await try_out(page, paths["/admin/auth"]["post"], {"email": EMAIL, "password": PASSWORD})
    tried = await try_out(page, paths[f"/admin/{noun}"]["get"])
    listed = await api.ok("GET", f"/admin/{noun}")
    assert tried["count"] == listed["count"] > 0
    assert [row["id"] for row in tried[noun]] == [row["id"] for row in listed[noun]]
