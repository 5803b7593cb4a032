"""Order edits as tests make them, and what they look at."""

from typing import Any

from tests.support.client import Client

Row = dict[str, Any]
TOTALS = ("subtotal", "discount_total", "shipping_total", "tax_total", "total", "difference_due")


def path_of(edit: Row, *more: str) -> str:
    return "/".join(("/admin/order-edits", edit["id"], *more))


def line(owner: Row, price: int, n: int = 0) -> str:
    """Id of the n-th line of an order or an edit with this price."""
    return str([item["id"] for item in owner["items"] if item["unit_price"] == price][n])


def lines(owner: Row) -> list[tuple[int, int]]:
    """(price, quantity) of the lines of an order or an edit."""
    return [(item["unit_price"], item["quantity"]) for item in owner["items"]]


def totals(edit: Row) -> tuple[int, ...]:
    """Subtotal, discount, shipping, tax, total and difference due."""
    return tuple(edit[name] for name in TOTALS)


def changes(edit: Row) -> list[tuple[str, str | None, str | None]]:
    """(type, line, line of the order) of each change."""
    return [(c["type"], c["line_item_id"], c["original_line_item_id"]) for c in edit["changes"]]


async def begun(api: Client, order: Row, **more: Any) -> Row:
    """A new edit of the order."""
    edit: Row = (await api.ok("POST", "/admin/order-edits", {"order_id": order["id"]} | more))["order_edit"]
    return edit


async def added(api: Client, edit: Row, variant: str, quantity: int = 1, **more: Any) -> Row:
    """The edit with a line more."""
    body = {"variant_id": variant, "quantity": quantity} | more
    after: Row = (await api.ok("POST", path_of(edit, "items"), body))["order_edit"]
    return after


async def resized(api: Client, edit: Row, price: int, quantity: int) -> Row:
    """The edit with another quantity of the line with this price."""
    path = path_of(edit, "items", line(edit, price))
    after: Row = (await api.ok("POST", path, {"quantity": quantity}))["order_edit"]
    return after


async def removed(api: Client, edit: Row, price: int) -> Row:
    """The edit without the line with this price."""
    after: Row = (await api.ok("DELETE", path_of(edit, "items", line(edit, price))))["order_edit"]
    return after


async def done(api: Client, edit: Row, what: str, body: Any = None) -> Row:
    """The edit after `request`, `confirm` or `cancel`."""
    after: Row = (await api.ok("POST", path_of(edit, what), body))["order_edit"]
    return after


async def shown(api: Client, edit: Row) -> Row:
    answer: Row = (await api.ok("GET", path_of(edit)))["order_edit"]
    return answer


async def order_now(api: Client, order: Row) -> Row:
    answer: Row = (await api.ok("GET", f"/admin/orders/{order['id']}"))["order"]
    return answer
