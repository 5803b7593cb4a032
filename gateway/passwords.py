"""Passwords: Argon2id, on threads of their own, so that a sign-in holds up nobody else's request."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from services.chassis.errors import Unavailable

THREADS = 2
MAX_WAITING = 64  # about a second's worth of sign-ins; more are refused rather than kept waiting
# 19 MiB, two passes, one lane: OWASP's first recommendation, about 20 ms. A hash made with other parameters still
# verifies and is replaced at the next sign-in.
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
T = TypeVar("T")


class Passwords:
    """Hashing and verifying for one process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._nobody = HASHER.hash("nobody's password")

    def close(self) -> None:
        """Finish what is being hashed."""
        self._threads.shutdown()

    async def hash(self, password: str) -> str:
        """Raises Unavailable when too many are being hashed."""
        return await self._run(lambda: HASHER.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. Without a hash it takes as long and is false.

        Raises Unavailable when too many are being verified.
        """
        right = await self._run(lambda: verified(password_hash or self._nobody, password))
        return right and password_hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many people are signing in at this moment; try again in a second.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def verified(password_hash: str, password: str) -> bool:
    """Compare, on the calling thread."""
    try:
        return HASHER.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
