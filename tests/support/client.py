"""JSON requests to the gateway or to one service."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

from tests.support.answers import Answers


@dataclass
class Client:
    """JSON requests to one process: `status, body = await client.post("/admin/x", {...})`."""

    session: aiohttp.ClientSession
    base: str
    headers: Callable[[], dict[str, str]]
    # By address: what the document says, where answers are held against it. Not that of every server of the tests.
    answers: ClassVar[dict[str, Answers]] = {}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Any = None,
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        sent = {} if anonymous else self.headers()
        sent |= headers or {}
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.base + path, json=body, data=raw, params=query, headers=sent
        ) as response:
            is_json = response.content_type == "application/json"
            answer = await response.json() if is_json else await response.text()
            if self.base in self.answers:
                wrong = self.answers[self.base].wrong(method, path, response.status, response.content_type, answer)
                assert wrong is None, f"{method} {path}: the answer is not as /openapi.json declares it: {wrong}"
            return response.status, answer

    async def get(self, path: str, query: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("GET", path, query=query, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("POST", path, body, **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.request("DELETE", path, body, **more)

    async def ok(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        """The body of an answer that has to be 200."""
        status, answer = await self.request(method, path, body, query)
        assert status == 200, (method, path, status, answer)
        return answer
