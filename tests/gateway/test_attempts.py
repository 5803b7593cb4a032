"""How often one may try. Pure: the clock is given."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.attempts import (
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    Attempts,
    TooManyAttempts,
    client_address,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def guesses(attempts: Attempts, email: str, address: str) -> int:
    """How many wrong passwords one can try now."""
    for count in range(1000):
        try:
            attempts.begin_sign_in(email, address)
        except TooManyAttempts:
            return count
    return 1000


def test_wrong_passwords_slow_down(attempts: Attempts, clock: Clock) -> None:
    assert guesses(attempts, "a@b.co", "1.1.1.1") == PER_ACCOUNT_AND_ADDRESS.burst
    with pytest.raises(TooManyAttempts) as refusal:
        attempts.begin_sign_in("a@b.co", "1.1.1.1")
    assert (refusal.value.status, refusal.value.seconds) == (429, PER_ACCOUNT_AND_ADDRESS.seconds)
    clock.now += PER_ACCOUNT_AND_ADDRESS.seconds
    assert guesses(attempts, "a@b.co", "1.1.1.1") == 1
    clock.now += 3600
    assert guesses(attempts, "a@b.co", "1.1.1.1") == PER_ACCOUNT_AND_ADDRESS.burst


def test_right_passwords_cost_nothing(attempts: Attempts) -> None:
    for _ in range(500):
        attempts.right("a@b.co", "1.1.1.1", attempts.begin_sign_in("a@b.co", "1.1.1.1"))
    assert guesses(attempts, "a@b.co", "1.1.1.1") == PER_ACCOUNT_AND_ADDRESS.burst


def test_one_address_cannot_try_all_accounts(attempts: Attempts) -> None:
    assert sum(guesses(attempts, f"{n}@b.co", "1.1.1.1") for n in range(50)) == PER_ADDRESS.burst
    assert guesses(attempts, "49@b.co", "2.2.2.2") == PER_ACCOUNT_AND_ADDRESS.burst


def test_an_attack_from_everywhere_does_not_keep_the_owner_out(attempts: Attempts) -> None:
    attempts.right("a@b.co", "1.1.1.1", attempts.begin_sign_in("a@b.co", "1.1.1.1"))
    assert sum(guesses(attempts, "a@b.co", f"6.6.6.{n}") for n in range(50)) == PER_ACCOUNT.burst
    assert guesses(attempts, "a@b.co", "7.7.7.7") == 0
    attempts.begin_sign_in("a@b.co", "1.1.1.1")


def test_memory_is_bounded(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.attempts.MAX_BUCKETS", 100)
    for n in range(1000):
        attempts.begin_sign_in(f"{n}@b.co", f"6.6.{n // 100}.{n % 100}")
    assert len(attempts._buckets) == 100


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", "6.6.6.6", "9.9.9.9"),  # anybody can say anything
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
    ],
)
def test_client_address(peer: str, forwarded: str, address: str) -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    request = request.clone(remote=peer)
    assert client_address(request, [ip_network("10.0.0.0/8")]) == address
