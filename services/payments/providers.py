"""Payment providers: who moves the money.

A provider is found under its id through the entry points of the group `mercer.payment_providers` (an object of this
protocol, or something that makes one when called); `system` and `manual` are in the box.

A provider that talks to somebody else's server says `remote = True`. It is then called outside of any transaction, by a
recorded saga that is resumed after a crash (operations.py), so it can be asked the same thing twice: `key` is the same
then, and names the operation to the other side. It raises NotAllowed or InvalidData when it is certain that nothing
happened, and any other exception when it is not. What it returns becomes the payment's `data`.
"""

from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

from services.chassis.errors import InvalidData

GROUP = "mercer.payment_providers"

Row = dict[str, Any]  # a payment as the API shows it
Data = dict[str, Any]


class Provider(Protocol):
    """How to reach one payment provider."""

    remote: bool

    async def authorise(self, payment: Row, key: str) -> Data:
        """Make sure of `payment["amount"]`; `payment["data"]` is what the caller gave."""
        ...

    async def capture(self, payment: Row, key: str) -> Data:
        """Take the whole amount."""
        ...

    async def cancel(self, payment: Row, key: str) -> Data:
        """Give up the authorization."""
        ...

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        """Give back `amount`."""
        ...


class System:
    """Money that is settled outside of this system: nothing to do, nothing to remember."""

    remote = False

    async def authorise(self, payment: Row, key: str) -> Data:
        return {}

    async def capture(self, payment: Row, key: str) -> Data:
        return {}

    async def cancel(self, payment: Row, key: str) -> Data:
        return {}

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        return {}


class Manual:
    """Money that staff collect; the state is kept in `data`."""

    remote = False

    async def authorise(self, payment: Row, key: str) -> Data:
        return {"status": "authorized"}

    async def capture(self, payment: Row, key: str) -> Data:
        return {"status": "captured"}

    async def cancel(self, payment: Row, key: str) -> Data:
        return {"status": "canceled"}

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        data: Data = payment["data"]
        return data


@cache
def providers() -> dict[str, Provider]:
    """All installed providers by id."""
    found: dict[str, Provider] = {"system": System(), "manual": Manual()}
    for point in entry_points(group=GROUP):
        loaded = point.load()
        found[point.name] = loaded() if callable(loaded) else loaded
    return found


def provider(provider_id: str) -> Provider:
    """Raises InvalidData for one that is not installed."""
    if provider_id not in providers():
        raise InvalidData(f"There is no payment provider {provider_id} here.")
    return providers()[provider_id]
