"""Commands to a service, as another one sends them."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.chassis.errors import ApiError

Ask = Callable[..., Awaitable[dict[str, Any]]]


async def outcome(work: Awaitable[Any]) -> str:
    try:
        await work
    except ApiError as error:
        return error.code or error.type
    return "ok"
