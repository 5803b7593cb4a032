"""The connection to RabbitMQ: made in the background, made again when lost, and what is sent over it.

A service starts and serves reads while the broker is down, so nothing here waits for a connection: what is published
without one is refused at once. One loop owns the connection; when any part of it fails (the connection, a channel, a
consumer that the broker cancelled) it throws all of it away and opens everything afresh. aio-pika's `connect_robust`
was passed over: it restores object by object, and a publish in between waits for an unknown time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

import aio_pika
import structlog
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError
from yarl import URL

from services.chassis.errors import Unavailable
from services.chassis.tasks import end

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts to connect
CONNECT_SECONDS = CONFIRM_SECONDS = STOP_SECONDS = 10.0
HEARTBEAT_SECONDS = 20
REPLY_TO = "amq.rabbitmq.reply-to"  # the broker's name for "to whoever asked", without a queue in between

Declare = Callable[[AbstractChannel], Awaitable[AbstractQueue]]
Receive = Callable[[AbstractIncomingMessage], Awaitable[None]]


def cancelled() -> bool:
    """Whether the running task is asked to stop. aiormq also uses CancelledError to say that a connection closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Subscription:
    """A queue being consumed, over one connection after another. Each message has its own task, which outlives them."""

    def __init__(self, declare: Declare, receive: Receive, prefetch: int) -> None:
        self._declare, self._receive, self._prefetch = declare, receive, prefetch
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._running: set[asyncio.Task[None]] = set()

    async def open(self, connection: AbstractConnection, lost: asyncio.Event) -> None:
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(lambda *_: lost.set())
        await channel.set_qos(prefetch_count=self._prefetch)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda *_: lost.set())
        self._queue = await self._declare(channel)
        self._tag = await self._queue.consume(self._start)

    async def _start(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._handle(message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        try:
            await self._receive(message)
        except Exception as error:
            log.warning("not acknowledged, it will come again", exc_info=error)

    async def stop(self) -> None:
        """Take no more messages and finish those under way; what takes too long goes back to the queue."""
        if self._queue is not None and not self._queue.channel.is_closed:
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                await self._queue.cancel(self._tag, timeout=2)
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_SECONDS)
        for task in self._running:
            task.cancel()


class Bus:
    """What one process has to do with the broker. `start` returns at once, see `connected`."""

    def __init__(self, url: str, namespace: str, service: str) -> None:
        self.namespace, self.service = namespace, service
        self.events, self.dead = f"{namespace}.events", f"{namespace}.dead"
        self.connected = False
        self._url = URL(url) % {"name": f"{namespace}.{service}", "heartbeat": HEARTBEAT_SECONDS, **URL(url).query}
        self._channel: AbstractChannel | None = None
        self._connection: AbstractConnection | None = None
        self._lost = asyncio.Event()
        self._replies: dict[str, asyncio.Future[bytes | None]] = {}
        self._subscriptions: list[Subscription] = []
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep_connected(), name="bus")

    async def close(self) -> None:
        if self._keeper is not None:
            await end(self._keeper, STOP_SECONDS)

    async def subscribe(self, declare: Declare, receive: Receive, prefetch: int) -> Subscription:
        """Consume the queue that `declare` makes, now or as soon as there is a connection, until `unsubscribe`."""
        subscription = Subscription(declare, receive, prefetch)
        self._subscriptions.append(subscription)
        if self.connected and self._connection is not None:
            try:
                await subscription.open(self._connection, self._lost)
            except (*CONNECTION_EXCEPTIONS, asyncio.CancelledError):
                if cancelled():
                    raise
                self._lost.set()
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        await subscription.stop()

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = False) -> None:
        """Returns when the broker has taken over the message. Raises Unavailable, at once when there is no broker."""
        channel = self._channel
        if channel is None or channel.is_closed:
            raise Unavailable("The message broker cannot be reached right now; try again later.")
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                target = await channel.get_exchange(exchange, ensure=False)
                await target.publish(message, routing_key, mandatory=mandatory)
        except PublishError:
            raise Unavailable(f"Nobody listens to {routing_key} right now; try again later.") from None
        except (*CONNECTION_EXCEPTIONS, TimeoutError, asyncio.CancelledError) as error:
            if cancelled():
                raise
            raise Unavailable("The message broker was lost while sending.", outcome_unknown=True) from error

    async def request(self, queue: str, message: Message, seconds: float) -> bytes:
        """Send to `queue` and wait for the answer. Raises Unavailable, which says whether it may have arrived."""
        message.reply_to, message.correlation_id = REPLY_TO, uuid4().hex
        reply: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._replies[message.correlation_id] = reply
        try:
            async with asyncio.timeout(seconds):
                await self.publish("", queue, message, mandatory=True)
                body = await reply
        except TimeoutError:
            raise Unavailable(f"No answer from {queue} in {seconds:g} s.", outcome_unknown=True) from None
        finally:
            del self._replies[message.correlation_id]
        if body is None:
            raise Unavailable("The message broker was lost while waiting for an answer.", outcome_unknown=True)
        return body

    async def _keep_connected(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._hold_connection()
                pause = FIRST_PAUSE
            except (*CONNECTION_EXCEPTIONS, TimeoutError, asyncio.CancelledError) as error:
                if cancelled():
                    raise
                log.warning("broker not reached", error=repr(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hold_connection(self) -> None:
        """The life of one connection, until it is lost."""
        self._lost = lost = asyncio.Event()
        connection = self._connection = await aio_pika.connect(self._url, timeout=CONNECT_SECONDS)
        try:
            connection.close_callbacks.add(lambda *_: lost.set())
            await self._open_channel(connection, lost)
            for subscription in self._subscriptions:
                await subscription.open(connection, lost)
            self.connected = True
            log.info("broker connected")
            await lost.wait()
            log.warning("broker connection lost")
        finally:
            self.connected, self._channel = False, None
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_result(None)
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                await asyncio.wait_for(connection.close(), 5)

    async def _open_channel(self, connection: AbstractConnection, lost: asyncio.Event) -> None:
        """The channel for all that is sent. Answers can only come back on the channel that asked."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda *_: lost.set())
        await channel.declare_exchange(self.events, ExchangeType.TOPIC, durable=True)
        await channel.declare_exchange(self.dead, ExchangeType.DIRECT, durable=True)
        replies = await channel.get_queue(REPLY_TO, ensure=False)
        await replies.consume(self._take_reply, no_ack=True)
        self._channel = channel

    async def _take_reply(self, message: AbstractIncomingMessage) -> None:
        reply = self._replies.get(message.correlation_id or "")
        if reply is not None and not reply.done():
            reply.set_result(message.body)
