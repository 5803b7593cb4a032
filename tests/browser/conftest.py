"""A Chromium of the machine's own, driven by Playwright. Where one of the two is missing, these tests are skipped."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.environment import chromium
from tests.support.stack import Stack

# Only this page is to be fetched, and by plain HTTP.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
async def browser(stack: Stack) -> AsyncIterator[Any]:
    """One browser for all tests."""
    playwright = pytest.importorskip("playwright.async_api", reason="the group `browser` is not installed")
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium on the PATH")
    async with playwright.async_playwright() as started:
        opened = await started.chromium.launch(executable_path=program, args=[*OPTIONS])
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: Any, stack: Stack) -> AsyncIterator[Any]:
    """/docs of the running product, loaded. Nothing may go wrong in its scripts while the test runs."""
    context = await browser.new_context(viewport={"width": 1300, "height": 1000})
    opened = await context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.set_default_timeout(60_000)
    await opened.goto(f"{stack.urls['gateway']}/docs")
    await opened.locator(".opblock-tag").first.wait_for()
    yield opened
    await context.close()
    assert errors == []
