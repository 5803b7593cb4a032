"""How providers are found."""

from typing import Any

import pytest

from services.chassis import plugins
from services.chassis.errors import InvalidData
from services.payments import providers


class Point:
    def __init__(self, name: str, loaded: Any) -> None:
        self.name, self.loaded = name, loaded

    def load(self) -> Any:
        return self.loaded


def test_installed_providers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one = providers.Manual()

    def points(group: str) -> list[Point]:
        assert group == "mercer.payment_providers"
        return [Point("by_class", providers.System), Point("by_object", one)]

    monkeypatch.setattr(plugins, "entry_points", points)
    found = providers.providers.__wrapped__()
    assert sorted(found) == ["by_class", "by_object", "manual", "system"]
    assert isinstance(found["by_class"], providers.System)
    assert found["by_object"] is one


def test_unknown_provider() -> None:
    with pytest.raises(InvalidData, match="nobody"):
        providers.provider("nobody")
