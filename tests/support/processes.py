"""Services as processes of their own, beside those that the tests run in their event loop."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from deploy.processes import Ports
from tests.support.client import Client
from tests.support.stack import SECRET, Stack
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, which could take it before the process does."""
    return Ports("20000-32767").take()


def environment(stack: Stack, service: str, port: int) -> dict[str, str]:
    """What a process of a service is told, to be one of this worker's."""
    return {
        "MERCER_PORT": str(port),
        "MERCER_DATABASE_URL": stack.databases[service],
        "MERCER_RABBITMQ_URL": stack.rabbitmq_url,
        "MERCER_SECRET": SECRET,
        "MERCER_NAMESPACE": stack.namespace,
        "MERCER_RESERVE_STOCK": "manual",
        "MERCER_COMMAND_DEADLINE": str(PATIENCE),
        "MERCER_LOG_LEVEL": "error",
    }


async def until_ready(client: Client) -> None:
    """Wait until the process answers and has found the broker."""

    async def ready() -> bool:
        try:
            _, body = await client.get("/health")
        except aiohttp.ClientError:
            return False
        return bool(body["broker"] == "ok")

    await until(ready)


@asynccontextmanager
async def another(stack: Stack, service: str) -> AsyncIterator[tuple[Client, asyncio.subprocess.Process]]:
    """A second process of a service, beside the one of the tests."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", cwd=ROOT, env=os.environ | environment(stack, service, port)
    )
    client = Client(stack.session, f"http://127.0.0.1:{port}", stack.service(service).headers)
    try:
        await until_ready(client)
        yield client, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
