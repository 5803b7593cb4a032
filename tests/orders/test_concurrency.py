"""What may be done while a saga is under way (services/orders/concurrency.py): the table, row by row, against the
functions by which operations get at an order, with a saga of each kind in turn.
"""

import ast
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from services.chassis.db import Db
from services.chassis.errors import Conflict
from services.chassis.sagas import begin
from services.orders.concurrency import KINDS, TABLE, WAITS_FOR
from services.orders.drafts.parts import access_draft
from services.orders.edits.access import access_edit
from services.orders.fulfillments.owners import CLAIM, ORDER, SWAP, access_owner
from services.orders.orders.orders import access_order, check_free
from services.orders.orders.reservations import access_line
from services.orders.returns.receipts import access_return
from services.orders.service import SERVICE
from services.orders.swaps.carts import access_cart
from tests.support.stack import Stack

Access = Callable[[Db, str], Awaitable[Any]]

ROWS = """
insert into customers (id, email) values ('c', 'c@example.com');
insert into carts (id, currency_code, region_id, type)
values ('c', 'eur', 'r', 'swap'), ('d', 'eur', 'r', 'draft_order');
insert into draft_orders (id, cart_id) values ('d', 'd');
insert into orders (id, customer_id, email, currency_code, region_id) values ('o', 'c', 'c@example.com', 'eur', 'r');
insert into swaps (id, order_id, cart_id) values ('s', 'o', 'c');
insert into claims (id, order_id, type) values ('c', 'o', 'refund');
insert into returns (id, order_id, refund_amount) values ('r', 'o', 0);
insert into order_edits (id, order_id, created_by) values ('e', 'o', 'usr_test');
insert into line_items (id, order_id, title, unit_price, quantity) values ('l', 'o', 'Wrap', 1, 1);
"""


# How the operations get at what they are about.
ACCESS: list[tuple[Access, str]] = [
    (lambda db, operation: access_draft(db, "d", operation), "change_draft delete_draft pay_draft"),
    (
        lambda db, operation: access_order(db, "o", operation),
        "update_order complete_order archive_order add_shipping_method capture refund cancel_order create_return "
        "create_swap create_claim create_edit end_saga",
    ),
    (
        lambda db, operation: access_owner(db, ORDER, "o", "o", operation),
        "fulfill_order dispatch_order write_fulfillments ship cancel_fulfillment end_saga",
    ),
    (
        lambda db, operation: access_owner(db, SWAP, "o", "s", operation),
        "fulfill_swap process_swap_payment cancel_swap write_fulfillments ship cancel_fulfillment end_saga",
    ),
    (
        lambda db, operation: access_owner(db, CLAIM, "o", "c", operation),
        "fulfill_claim update_claim cancel_claim write_fulfillments ship cancel_fulfillment end_saga",
    ),
    (lambda db, operation: access_cart(db, "c", operation), "change_swap_cart complete_swap"),
    (lambda db, operation: access_return(db, "r", operation), "receive_return cancel_return"),
    (
        lambda db, operation: access_edit(db, "e", operation),
        "describe_edit change_edit cancel_edit delete_edit request_edit confirm_edit",
    ),
    (lambda db, operation: check_free(db, "o", operation), "replace_lines"),
    (lambda db, operation: access_line(db, "l"), "reserve_line"),
]
# The functions that look into the table. What they look for is named where they are called.
LOOKING = {"access_draft", "access_order", "access_owner", "access_cart", "access_return", "access_edit", "check_free"}


@pytest.fixture
async def db(stack: Stack) -> AsyncIterator[Db]:
    """A connection whose transaction, with an order and all that an order can have, is rolled back."""
    async with stack.pool("orders").acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(ROWS)
        yield connection
        await transaction.rollback()


async def waits(db: Db, operation: str) -> bool:
    """Whether the operation is refused, wherever it begins."""
    answers = set()
    for access, operations in ACCESS:
        if operation in operations.split():
            try:
                await access(db, operation)
                answers.add(False)
            except Conflict:
                answers.add(True)
    assert len(answers) == 1, answers
    return answers.pop()


def test_every_cell_is_a_dot_or_its_columns_letters() -> None:
    columns, *rows = [line.split() for line in TABLE.splitlines() if line]
    assert columns == list(KINDS)
    for operation, *cells in rows:
        assert len(cells) == len(columns), operation
        assert all(cell in (".", column) for column, cell in zip(columns, cells, strict=True)), operation
    assert len(WAITS_FOR) == len(rows)


def test_every_kind_of_saga_has_a_column() -> None:
    assert set(KINDS.values()) == set(SERVICE.sagas)


def test_every_row_is_of_an_operation_and_every_operation_has_a_row() -> None:
    named: set[object] = set()
    for path in SERVICE.folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(name), args=args) if name in LOOKING:
                    named |= {arg.value for arg in args if isinstance(arg, ast.Constant)}
                case ast.Subscript(value=ast.Name("WAITS_FOR"), slice=ast.Constant(operation)):
                    named.add(operation)
    assert named == set(WAITS_FOR)


@pytest.mark.parametrize("operation", WAITS_FOR)
async def test_row(db: Db, operation: str) -> None:
    assert not await waits(db, operation)
    for kind in KINDS.values():
        saga = await begin(db, kind, "d", {"order_id": "o"})
        assert await waits(db, operation) == (kind in WAITS_FOR[operation]), kind
        await db.execute("update sagas set status = 'compensating' where id = $1", saga.id)
        assert await waits(db, operation) == (kind in WAITS_FOR[operation]), kind
        await db.execute("update sagas set status = 'compensated' where id = $1", saga.id)
        await begin(db, kind, "another", {"order_id": "another"})
    assert not await waits(db, operation)


async def test_a_saga_does_not_wait_for_itself(db: Db) -> None:
    saga = await begin(db, "return_now", "r", {"order_id": "o"})
    await access_order(db, "o", "create_return", saga.id)
    with pytest.raises(Conflict, match=r"Another request \(return now\) is at work on this order"):
        await access_order(db, "o", "create_return", "saga_other")
