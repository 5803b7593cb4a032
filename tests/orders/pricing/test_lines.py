"""Writing the rows of lines and shipping methods (services/orders/pricing/lines.py)."""

import pytest

from services.orders.pricing.lines import LINES, METHODS, Table
from tests.support.stack import Stack

COLUMNS = "select array_agg(column_name::text) from information_schema.columns where table_name = $1"
COUNTERS = {"fulfilled_quantity", "shipped_quantity", "returned_quantity"}


@pytest.mark.parametrize(
    ("table", "others"), [(LINES, COUNTERS | {"updated_at"}), (METHODS, set[str]())], ids=["lines", "methods"]
)
async def test_all_columns_are_named(stack: Stack, table: Table, others: set[str]) -> None:
    """What is not written with the rows is counted, or made by the database."""
    named = {"id", *table.owners, *table.columns}
    columns = set(await stack.pool("orders").fetchval(COLUMNS, table.name))
    assert columns == named | others | {"position", "created_at"}
