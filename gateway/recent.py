"""A bounded memory of things that stay true for a few seconds."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The newest `size` values, each until its time is over. The oldest one makes room for a new one."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._clock = size, clock
        self._held: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        """The value, unless it is too old."""
        held = self._held.get(key)
        return held[1] if held is not None and held[0] > self._clock() else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep `value` for `seconds`."""
        self._held.pop(key, None)  # so that it counts as new
        if len(self._held) >= self._size:
            del self._held[next(iter(self._held))]
        self._held[key] = (self._clock() + seconds, value)

    def pop(self, key: K) -> None:
        """Forget one value."""
        self._held.pop(key, None)

    def drop(self, gone: Callable[[V], bool]) -> None:
        """Forget the values for which `gone` is true."""
        self._held = {key: held for key, held in self._held.items() if not gone(held[1])}

    def __len__(self) -> int:
        return len(self._held)
