"""What the fulfillment providers in the box offer. The rows of providers say which of them a store has."""

from typing import Any

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "manual": [{"id": "manual-fulfillment"}, {"id": "manual-fulfillment-return", "is_return": True}],
}


def can_calculate(provider_id: str) -> bool:
    """Whether the provider works out a price from the cart. None in the box does."""
    return False
