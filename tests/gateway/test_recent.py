"""A bounded memory. Pure: the clock is given."""

from gateway.recent import Recent


def test_recent() -> None:
    now = 0.0
    recent: Recent[str, int] = Recent(2, lambda: now)
    recent.put("a", 1, 5)
    recent.put("b", 2, 5)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, 2, None)
    recent.put("a", 3, 10)  # new again
    recent.put("c", 4, 5)
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (3, None, 4, 2)
    now = 5.0
    assert (recent.get("a"), recent.get("c")) == (3, None)
    recent.drop(lambda value: value == 3)
    assert recent.get("a") is None
