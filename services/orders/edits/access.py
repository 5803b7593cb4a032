"""Order edits as actions find them: under the lock of their order, with what may be done to them when."""

from collections.abc import Mapping
from typing import Any

from services.chassis.db import Db
from services.chassis.errors import NotAllowed, NotFound
from services.orders import status
from services.orders.orders.orders import access_order
from services.orders.resources import PLAIN_EDIT

STATUS = PLAIN_EDIT.columns["status"].format(t="e")
ACTIVE = ("created", "requested")

ORDER_OF = "select order_id from order_edits where id = $1"
FIND_EDIT = f"select e.*, {STATUS} as status from order_edits e where e.id = $1"  # noqa: S608 - the text is ours


async def access_edit(
    db: Db, edit_id: str, operation: str, saga_id: str = ""
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The edit and its order, which is locked, and with it all that is done to its edits.

    Raises NotFound, and Conflict while a saga that the operation waits for is under way (orders.access_order).
    """
    order_id = await db.fetchval(ORDER_OF, edit_id)
    if order_id is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    order = await access_order(db, order_id, operation, saga_id)
    # A statement of its own after the lock: one that had to wait for the lock would still see what was before.
    edit = await db.fetchrow(FIND_EDIT, edit_id)
    if edit is None:
        raise NotFound(f"There is no order edit {edit_id}.")
    return edit, order


def check_active(edit_status: str, order_status: str, action: str) -> None:
    """Raises NotAllowed for an edit that has come to its end, and one of a canceled order. `action` completes "cannot
    be ..."."""
    if edit_status not in ACTIVE:
        raise NotAllowed(f"A {edit_status} order edit cannot be {action}.")
    status.check_alive(order_status, "edited")
