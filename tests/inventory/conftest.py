"""What the tests of inventory share: products to be stocked, asking by command, and books that must balance."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.chassis.commands import call
from services.chassis.keys import BUS
from tests.support.client import Client
from tests.support.commands import Ask
from tests.support.factories.stock import Shop
from tests.support.stack import Stack
from tests.support.waiting import PATIENCE, until

UNBALANCED = """
select coalesce(l.inventory_item_id, b.inventory_item_id) as item, coalesce(l.location_id, b.location_id) as location,
       l.stocked_quantity, l.reserved_quantity, l.incoming_quantity, b.stocked, b.reserved, b.incoming, r.quantity
from inventory_levels l
full join (
    select inventory_item_id, location_id, sum(stocked) as stocked, sum(reserved) as reserved, sum(incoming) as incoming
    from stock_ledger group by 1, 2
) b on b.inventory_item_id = l.inventory_item_id and b.location_id = l.location_id
left join (
    select inventory_item_id, location_id, sum(quantity) as quantity from reservations group by 1, 2
) r on r.inventory_item_id = l.inventory_item_id and r.location_id = l.location_id
where (coalesce(l.stocked_quantity, 0), coalesce(l.reserved_quantity, 0), coalesce(l.incoming_quantity, 0))
    is distinct from (coalesce(b.stocked, 0), coalesce(b.reserved, 0), coalesce(b.incoming, 0))
or coalesce(l.reserved_quantity, 0) <> coalesce(r.quantity, 0)
"""


@pytest.fixture(autouse=True)
async def balanced_books(stack: Stack) -> AsyncIterator[None]:
    """After every test: the ledger adds up to the levels, and reservations to what is reserved."""
    yield
    rows = await stack.pool("inventory").fetch(UNBALANCED)
    assert not [dict(row) for row in rows]


@pytest.fixture
async def ask(stack: Stack) -> Ask:
    """`await ask("reserve", {...}, key=...)`: a command to inventory, as orders sends it."""
    bus = stack.apps["orders"][BUS]

    async def connected() -> bool:
        return all(stack.apps[name][BUS].connected for name in ("orders", "catalog", "inventory"))

    await until(connected)

    async def ask(name: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        return await call(bus, "inventory", name, body, key=key, deadline=PATIENCE)

    return ask


@pytest.fixture
async def shop(catalog: Client, inventory: Client, ask: Ask, uid: str) -> Shop:
    return Shop(catalog, inventory, uid)
