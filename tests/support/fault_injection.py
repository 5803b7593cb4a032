"""kill -9 of a service between the steps of a saga, and its restart (tests/faults/test_money.py shows how to use it).

    @pytest.mark.parametrize("point", points(REFUND))
    async def test_x(kill: Kill, order: Order, point: str) -> None:
        await kill("orders", "refund", point, f"/admin/orders/{order['id']}/refund", body)
        ... the flow is finished or compensated, in all services ...

The points of a saga, for each of its steps:

    STEP:before       the results of the steps before it are recorded, it was not begun
    STEP:after        it was done, its result is not recorded; of the last step: its rows are written, not committed
    STEP:compensate:before  it was done, its answer is lost, the saga has turned back, nothing is compensated yet
    STEP:compensate:after   it was compensated, which is not recorded
    answer            all is done and committed, who asked has no answer
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import uuid4

import aiohttp
import orjson

from services.chassis.sagas import Step
from tests.support.client import Client
from tests.support.processes import ROOT, environment, free_port, until_ready
from tests.support.stack import Stack
from tests.support.waiting import PATIENCE, in_time

EXPIRE = """
update sagas set leased_until = clock_timestamp() - interval '1 second'
where status in ('running', 'compensating') and (leased_by is null or $1)
"""
RUNNING = "select count(*) from sagas where status in ('running', 'compensating')"


def points(steps: Sequence[Step], *only: str) -> list[str]:
    """All points of a saga's steps at which its process can die. `only` names the steps to look at, if not all."""
    names = []
    for step in steps:
        moments = ["before", "after", *(["compensate:before", "compensate:after"] if step.compensate else [])]
        names += [f"{step.name}:{moment}" for moment in moments if not only or step.name in only]
    return [*names, "answer"]


def compensated(point: str) -> bool:
    """Whether the flow that died there is compensated by the restart, not finished."""
    return ":compensate:" in point


class Nursery:
    """The process that forks the doomed ones (fault_process.py): it has imported everything, once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def fork(self, process: dict[str, Any]) -> int:
        """Forks a process that serves so, and returns its id."""
        requests, replies = self._pipes
        requests.write(orjson.dumps(process) + b"\n")
        requests.flush()
        return int(replies.readline())

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._process.wait(PATIENCE)

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@dataclass
class Kill:
    """`await kill(service, kind, point, path, body)`: a POST to a process that dies of it; then the restart.

    Returns the Idempotency-Key that the request had: sent again with it, it is answered, not done again.
    """

    stack: Stack
    nursery: Nursery
    environment: dict[str, str] = field(default_factory=dict)  # of the doomed, besides that of all processes

    async def __call__(self, service: str, kind: str, point: str, path: str, body: Any = None) -> str:
        key = uuid4().hex
        async with self.process(service, kind, point) as (doomed, pid):
            try:
                answer = await doomed.post(path, body, headers={"Idempotency-Key": key})
            except aiohttp.ClientError:
                pass
            else:
                raise AssertionError(f"{kind} did not come to {point}: {answer}")
            await gone(pid)
        await self.restart(service)
        return key

    async def restart(self, service: str) -> None:
        """Start it again, and wait until it has finished or compensated what the dead one left."""
        pool = self.stack.pool(service)
        await pool.execute(EXPIRE, True)  # as time would
        async with self.process(service), in_time():
            while await pool.fetchval(RUNNING):
                await asyncio.sleep(0.02)
                await pool.execute(EXPIRE, False)

    @asynccontextmanager
    async def process(
        self, service: str, kind: str | None = None, point: str | None = None, *, first: bool = False
    ) -> AsyncIterator[tuple[Client, int]]:
        """A process of the service, beside the one of the tests: a client of it and its id. Killed at the end.

        With `first`, what others command the service comes to it, as long as it lives."""
        port = free_port()
        settings = {
            "service": service,
            "environment": environment(self.stack, service, port) | self.environment,
            "kind": kind,
            "point": point,
            "first": first,
        }
        pid = await asyncio.to_thread(self.nursery.fork, settings)
        client = Client(self.stack.session, f"http://127.0.0.1:{port}", self.stack.service(service).headers)
        try:
            await until_ready(client)
            yield client, pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await gone(pid)


async def gone(pid: int) -> None:
    """Wait until the process is no more."""
    async with in_time():
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await asyncio.sleep(0.01)
