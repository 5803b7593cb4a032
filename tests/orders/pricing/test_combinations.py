"""Taxes, tax-inclusive prices, discounts, gift cards and shipping, combined, to the unit as the reference has them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.total_combinations import drawn, play

RECORDED = json.loads(Path(__file__).with_name("combinations.json").read_text())


@pytest.mark.parametrize("recorded", RECORDED, ids=range(len(RECORDED)))
async def test_what_it_costs(api: Client, recorded: dict[str, Any]) -> None:
    assert await play(api, recorded["combo"]) == recorded["costs"]


def test_every_kind_of_cost_occurs() -> None:
    """The combinations are those that the module draws, and each thing that costs or saves is among them."""
    combos = [recorded["combo"] for recorded in RECORDED]
    assert combos == drawn(len(combos))
    kept = [recorded["costs"]["order"] for recorded in RECORDED]
    for name in ("discount_total", "item_tax_total", "shipping_tax_total", "shipping_total"):
        assert {bool(each[name]) for each in kept} == {True, False}
    assert {combo["includes_tax"] for combo in combos} == {True, False}
    assert any(combo["cards"] and combo["discounts"] and combo["includes_tax"] for combo in combos)
    assert any(combo["product_rate"] and combo["discounts"] and combo["includes_tax"] for combo in combos)
