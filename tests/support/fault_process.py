"""Services that die where a test wants them to: a nursery that forks a process of a service for each line it reads.

A line is JSON: `service`, `environment`, and, for one that is to die, `kind` (of saga) and `point`
(fault_injection.py); with `first`, it gets the commands to its service as long as it lives.
The answer is a line with the new process's id. All of them die with the nursery, which ends when its input does.
"""

import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import aio_pika
import orjson

from services.chassis import sagas
from services.chassis.errors import Unavailable
from services.chassis.sagas import Saga, Step
from services.chassis.service import Service, main
from tests.support.waiting import patient_product

SERVICES = ("orders", "payments")  # that have sagas
RESUME_SECONDS = 0.05  # tests do not wait


def die() -> NoReturn:
    """As by kill -9 from outside: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def dying(step: Step, moment: str) -> Step:
    """The step, deadly at that moment."""
    do, compensate, commit = step.do, step.compensate, step.commit

    async def die_before(*_: Any) -> NoReturn:
        die()

    def then(act: Callable[..., Awaitable[Any]], end: Callable[[], None]) -> Callable[..., Awaitable[Any]]:
        async def acted(*arguments: Any) -> Any:
            result = await act(*arguments)
            end()
            return result

        return acted

    def lose_answer() -> None:
        raise Unavailable("The answer was lost.", outcome_unknown=True)

    if moment == "before":
        return replace(step, do=do and die_before, commit=commit and die_before)
    if moment == "after":
        return replace(step, do=do and then(do, die), commit=commit and then(commit, die))
    assert do is not None and compensate is not None, f"{step.name} cannot be compensated"
    return replace(
        step,
        do=then(do, lose_answer),
        compensate=die_before if moment == "compensate:before" else then(compensate, die),
    )


def doom(kind: str, point: str) -> None:
    """Have this process die at that point of the first saga of that kind."""
    forward, compensate = sagas._forward, sagas._compensate
    name, _, moment = point.partition(":")

    def deadly(steps: Sequence[Step]) -> list[Step]:
        return [dying(step, moment) if step.name == name else step for step in steps]

    async def forward_to_death(app: Any, steps: Sequence[Step], saga: Saga) -> Exception | None:
        if saga.kind != kind:
            return await forward(app, steps, saga)
        error = await forward(app, deadly(steps), saga)
        if point == "answer":
            die()
        return error

    async def undo_to_death(app: Any, steps: Sequence[Step], saga: Saga) -> None:
        await compensate(app, deadly(steps) if saga.kind == kind else steps, saga)

    sagas._forward, sagas._compensate = forward_to_death, undo_to_death


def come_first() -> None:
    """Commands come to this process while it lives, not to another one of the service."""
    consume = aio_pika.Queue.consume

    async def consume_first(queue: aio_pika.Queue, receive: Any, **options: Any) -> Any:
        if queue.name.endswith(".commands"):
            options["arguments"] = {"x-priority": 1}
        return await consume(queue, receive, **options)

    setattr(aio_pika.Queue, "consume", consume_first)  # noqa: B010 - mypy knows it as a method


def be(service: Service, environment: dict[str, str], kind: str | None, point: str | None, *, first: bool) -> NoReturn:
    """What a fork does: it is that service until it dies."""
    status = 1
    try:
        os.environ.update(environment)
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))  # what is installed since
        sagas.RESUME_SECONDS = RESUME_SECONDS
        if kind is not None and point is not None:
            doom(kind, point)
        if first:
            come_first()
        sys.argv = [service.name]
        main(service)
        status = 0
    finally:
        os._exit(status)


def nurse() -> None:
    """Fork until the input ends, then end all."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    importlib.import_module("services.payments.stripe_provider")  # imported late by who needs it
    services = {name: importlib.import_module(f"services.{name}.service").SERVICE for name in SERVICES}
    children = []
    for line in sys.stdin.buffer:
        order = orjson.loads(line)
        if (pid := os.fork()) == 0:
            service = services[order["service"]]
            be(service, order["environment"], order["kind"], order["point"], first=order["first"])
        children.append(pid)
        print(pid, flush=True)
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    with patient_product():
        nurse()
