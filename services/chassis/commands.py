"""Commands: asking another service to do something now, and getting its answer or its typed error.

The caller makes the key before it calls, so that it can ask again after a timeout: the same key and body get the same
answer, whatever happened to the first. Without a key a command can be executed twice: only what changes nothing goes
without. A command that has waited past its deadline is not executed; the clocks of the machines are taken to agree.

A handler runs in one transaction with the row of its key, and must not call another service there. What talks to the
outside (a payment provider) is declared as `Outside(handler)`: it gets the application instead of a connection, opens
its own short transactions, and must itself be idempotent by key, because it runs again when it was cut off.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import aio_pika
import asyncpg
import orjson
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, HeadersType
from aiohttp import web
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, ValidationError

from services.chassis import command_replies
from services.chassis.bus import Bus
from services.chassis.command_replies import prune, tombstone
from services.chassis.db import Db
from services.chassis.errors import ApiError, InvalidData, NotAllowed, Unavailable, error_from
from services.chassis.http import complaints
from services.chassis.keys import BUS

__all__ = ["CommandHandler", "Outside", "call", "notify", "notify_until_heard", "prune", "run_commands", "tombstone"]

log = structlog.get_logger()

PREFETCH = 16
AGAIN_SECONDS = 2.0
ROUNDS = 3  # times a transaction is tried when the database breaks a deadlock
# A service that restarts finds what was asked meanwhile. After this time without a consumer the queue goes away, and
# who asks then is refused at once, knowing that nothing happened, instead of waiting for a timeout.
QUEUE_MILLISECONDS = 15_000

COMMAND_SECONDS = Histogram(
    "mercer_command_seconds",
    "Time to execute a command",
    ["name", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

Reply = dict[str, Any]
Transactional = Callable[[Db, dict[str, Any]], Awaitable[Reply]]


class CommandBody(BaseModel):
    """Base of what comes with a command. Properties that a newer caller adds are left alone."""

    model_config = ConfigDict(strict=True)


Model = TypeVar("Model", bound=CommandBody)


def checked(model: type[Model], body: dict[str, Any]) -> Model:
    """The body as `model`. Raises InvalidData."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise InvalidData(complaints(error)) from None


@dataclass(frozen=True)
class Outside:
    """A command that opens its own transactions: `handler(app, body, key)`."""

    handler: Callable[[web.Application, dict[str, Any], str | None], Awaitable[Reply]]


CommandHandler = Transactional | Outside


class TooLateError(Exception):
    """The caller has stopped waiting."""


async def call(
    bus: Bus, service: str, name: str, body: dict[str, Any], *, key: str | None = None, deadline: float = 5.0
) -> Reply:
    """Have `service` execute a command. Never call this inside a transaction.

    Raises the ApiError that the handler raised, or Unavailable, whose `outcome_unknown` is False when the command was
    certainly not executed.
    """
    context = structlog.contextvars.get_contextvars()
    headers: HeadersType = {"deadline": int((time.time() + deadline) * 1000)}
    for header, value in (("key", key), ("request_id", context.get("request_id")), ("actor", context.get("actor"))):
        if value is not None:
            headers[header] = value
    message = aio_pika.Message(
        orjson.dumps(body, option=orjson.OPT_SORT_KEYS),  # sorted: equal bodies are equal bytes
        content_type="application/json",
        type=name,
        headers=headers,
        expiration=deadline,
    )
    answer = orjson.loads(await bus.request(f"{bus.namespace}.{service}.commands", message, deadline))
    if error := answer.get("error"):
        raise error_from(error["status"], error)
    reply: Reply = answer["reply"]
    return reply


async def notify(
    app: web.Application, service: str, name: str, body: dict[str, Any], *, deadline: float = 2.0
) -> Reply:
    """Have `service` hear at once of what is committed here. Best effort: the event says the same, and heals it.

    Returns the reply; an empty one when the other service did not answer.
    """
    try:
        return await call(app[BUS], service, name, body, deadline=deadline)
    except ApiError as error:
        log.warning("not notified, the event brings it later", service=service, command=name, reason=error.message)
        return {}


async def notify_until_heard(app: web.Application, service: str, name: str, body: dict[str, Any]) -> None:
    """Notify a service once, when a process starts, however long it takes: an event of the very first start may come
    before the other service listens at all. For a service's `workers`."""
    while True:
        try:
            await call(app[BUS], service, name, body, deadline=AGAIN_SECONDS)
        except ApiError as error:
            log.info("not heard yet", service=service, command=name, reason=error.message)
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


async def run_commands(
    pool: asyncpg.Pool, bus: Bus, commands: Mapping[str, CommandHandler], app: web.Application | None = None
) -> None:
    """Execute what others ask until cancelled; what is under way is finished first. `app` is for `Outside` commands."""

    async def declare(channel: AbstractChannel) -> AbstractQueue:
        name = f"{bus.namespace}.{bus.service}.commands"
        return await channel.declare_queue(name, durable=True, arguments={"x-expires": QUEUE_MILLISECONDS})

    async def receive(message: AbstractIncomingMessage) -> None:
        headers = message.headers
        known = message.type if message.type in commands else "unknown"
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(
            request_id=headers.get("request_id"), actor=headers.get("actor"), command=message.type
        ):
            status, answer = await _answer(pool, app, commands, message)
            COMMAND_SECONDS.labels(known, status).observe(time.perf_counter() - started)
            if answer is not None and message.reply_to:
                reply = aio_pika.Message(answer, correlation_id=message.correlation_id, content_type="application/json")
                try:
                    await bus.publish("", message.reply_to, reply)
                except Unavailable:
                    log.warning("answer lost, the caller finds out by asking again")
        await message.ack()

    subscription = await bus.subscribe(declare, receive, PREFETCH)
    try:
        await asyncio.Event().wait()
    finally:
        await bus.unsubscribe(subscription)


async def _answer(
    pool: asyncpg.Pool,
    app: web.Application | None,
    commands: Mapping[str, CommandHandler],
    message: AbstractIncomingMessage,
) -> tuple[int, bytes | None]:
    """Execute the command. Returns the status, for the metrics, and the answer; none to who has stopped waiting."""
    try:
        return 200, orjson.dumps({"reply": await _execute(pool, app, commands, message)})
    except TooLateError:
        log.warning("command came too late, not executed")
        return 504, None
    except ApiError as refusal:
        error = refusal
    except Exception:
        log.exception("command failed")
        error = ApiError(f"{message.type} could not be executed; the reason was logged.")
    return error.status, orjson.dumps({"error": error.body() | {"status": error.status}})


async def _execute(
    pool: asyncpg.Pool,
    app: web.Application | None,
    commands: Mapping[str, CommandHandler],
    message: AbstractIncomingMessage,
) -> Reply:
    headers: dict[str, Any] = message.headers
    name, key, deadline = message.type or "", headers.get("key"), headers.get("deadline", math.inf)
    handler = commands.get(name)
    if handler is None:
        raise NotAllowed(f"There is no command {name} here.")
    try:
        body = orjson.loads(message.body)
    except ValueError:
        raise InvalidData(f"The body of {name} is not JSON.") from None
    if isinstance(handler, Outside):
        assert app is not None, "run_commands needs the application for Outside commands"
        _check_deadline(deadline)
        return await _once(pool, name, key, message.body, partial(handler.handler, app, body, key))
    for left in reversed(range(ROUNDS)):
        try:
            async with pool.acquire() as db, db.transaction():
                _check_deadline(deadline)
                return await _once(db, name, key, message.body, partial(handler, db, body))
        except asyncpg.TransactionRollbackError:
            if not left:
                raise
    raise AssertionError("unreachable")


def _check_deadline(milliseconds: float) -> None:
    if time.time() * 1000 > milliseconds:
        raise TooLateError


async def _once(db: Db, name: str, key: str | None, body: bytes, execute: Callable[[], Awaitable[Reply]]) -> Reply:
    """The reply of `execute`, or the one that the key has got already."""
    if key is None:
        return await execute()
    reply = await command_replies.claim(db, key, name, body)
    if reply is None:
        reply = await execute()
        await command_replies.store(db, key, reply)
    return reply
