"""What a payment provider is: an object of the protocol `Provider`, found as providers.py says.

A provider that talks to somebody else's server says `remote = True`. It is then called outside of any transaction, by a
recorded saga that is resumed after a crash (operations.py), so it can be asked the same thing twice: `key` is the same
then, and names the operation to the other side. It raises NotAllowed or InvalidData when it is certain that nothing
happened, and any other exception when it is not. What it returns becomes the payment's `data`.

One that has a method `close` is closed when the process ends. One whose server forgets keys has a method
`find_authorized`: given a payment, the data of what was authorized for it, or None. That is asked first when a saga is
resumed.
"""

from typing import Any, Protocol

Row = dict[str, Any]  # a payment as the API shows it
Data = dict[str, Any]


class Provider(Protocol):
    remote: bool

    async def authorize(self, payment: Row, key: str) -> Data:
        """Make sure of `payment["amount"]`; `payment["data"]` is what the caller gave."""
        ...

    async def capture(self, payment: Row, key: str) -> Data:
        """Take the whole amount, which was authorized before."""
        ...

    async def cancel(self, payment: Row, key: str) -> Data:
        """Give up the authorization. What was captured stays: `refund` may be asked to give it back later. A provider
        that cannot do this to a captured payment refuses."""
        ...

    async def refund(self, payment: Row, amount: int, key: str) -> Data:
        """Give back `amount`, which is no more than was captured and not given back yet."""
        ...
