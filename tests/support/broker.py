"""A wire to the broker that can be cut, and what is in its queues."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import aio_pika.exceptions
from aio_pika.abc import AbstractChannel

from services.chassis.bus import Bus
from tests.support.waiting import until

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
MakeBus = Callable[..., Awaitable[Bus]]


class Wire:
    """A TCP connection to the broker that passes through the test, so that it can be cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.up = True
        self._bytes_left: dict[str, int] = {}  # by direction ("to" the broker, "from" it), before the wire breaks

    @property
    def url(self) -> str:
        netloc = f"{self._target.username}:{self._target.password}@127.0.0.1:{self.port}"
        return self._target._replace(netloc=netloc).geturl()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self, *, up: bool = True) -> None:
        """Break what is connected; with `up=False` refuse new connections until it is True."""
        self.up, self._bytes_left = up, {}
        for writer in self._writers:
            writer.transport.abort()

    def break_after(self, direction: str, count: int) -> None:
        """Break what is connected when more than so many bytes have gone `to` the broker, or come `from` it."""
        self._bytes_left[direction] = count

    async def close(self) -> None:
        self.cut(up=False)
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        pair = {writer, back}
        self._writers |= pair
        await asyncio.gather(self._pass(reader, back, "to"), self._pass(there, writer, "from"))
        self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1024):
                if direction in self._bytes_left:
                    self._bytes_left[direction] -= len(chunk)
                    if self._bytes_left[direction] < 0:
                        self.cut()
                        break
                writer.write(chunk)
                await writer.drain()
        writer.close()


async def queue_counts(probe: AbstractChannel, queue: str) -> tuple[int, int] | None:
    """How many messages are ready in a queue, and how many consume it; None when there is no such queue."""
    connection = probe._connection  # type: ignore[attr-defined]
    async with connection.channel() as channel:
        try:
            declared = await channel.declare_queue(queue, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return None
        return declared.declaration_result.message_count or 0, declared.declaration_result.consumer_count or 0


async def connected(bus: Bus) -> None:
    async def is_connected() -> bool:
        return bus.connected

    await until(is_connected)
