"""A payment provider on the other side of a network."""

import asyncio

from services.payments.provider_protocol import Data, Row


class Far:
    """A provider on the other side of a network: slow, sometimes unwilling, sometimes silent."""

    remote = True

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None

    async def _answer(self, name: str, payment: Row, key: str) -> Data:
        self.requests.append((name, payment["id"], key))
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return {"last": name}

    async def authorize(self, payment: Row, key: str) -> Data:
        return await self._answer("authorize", payment, key)

    async def capture(self, payment: Row, key: str) -> Data:
        return await self._answer("capture", payment, key)

    async def cancel(self, payment: Row, key: str) -> Data:
        return await self._answer("cancel", payment, key)

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        return await self._answer(f"refund {amount}", payment, key)
