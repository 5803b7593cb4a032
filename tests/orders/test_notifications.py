"""Notifications over HTTP. There is no provider yet, so the rows are put there by hand."""

import pytest

from tests.conftest import Client, Stack


async def test_lists(orders: Client, stack: Stack, uid: str) -> None:
    add = """
    insert into notifications (id, event_name, resource_type, resource_id, "to", parent_id, provider_id)
    values ($1, $2, 'order', $3, $4, $5, 'smtp')
    """
    first, again = f"noti_{uid}1", f"noti_{uid}2"
    await stack.pool("orders").execute(add, first, "order.placed", uid, f"a-{uid}@example.com", None)
    await stack.pool("orders").execute(add, again, "order.placed", uid, f"b-{uid}@example.com", first)

    async def found(**query: str) -> list[str]:
        page = await orders.ok("GET", "/admin/notifications", query={"resource_id": uid} | query)
        assert (page["limit"], page["offset"], page["count"]) == (50, 0, len(page["notifications"]))
        return sorted(notification["id"] for notification in page["notifications"])

    assert await found() == [first]
    assert await found(include_resends="true") == [first, again]
    assert await found(include_resends="true", to=f"x@example.com,b-{uid}@example.com") == [again]
    assert await found(event_name="order.canceled,order.placed", resource_type="order,claim") == [first]
    assert await found(event_name="order.canceled") == []
    page = await orders.ok("GET", "/admin/notifications", query={"resource_id": uid})
    assert [resend["id"] for resend in page["notifications"][0]["resends"]] == [again]
    query = {"resource_id": uid, "fields": "id,to", "expand": ""}
    page = await orders.ok("GET", "/admin/notifications", query=query)
    assert page["notifications"][0].keys() == {"id", "to", "created_at"}
    status, answer = await orders.post(f"/admin/notifications/{first}/resend", {"to": "c@example.com"})
    assert (status, answer["type"]) == (400, "not_allowed")


@pytest.mark.parametrize("query", [{"limit": "ten"}, {"include_resends": "maybe"}, {"order": "to"}, {"to[]": "x"}])
async def test_bad_lists_are_refused(orders: Client, query: dict[str, str]) -> None:
    status, answer = await orders.get("/admin/notifications", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_resend(orders: Client) -> None:
    path = "/admin/notifications/noti_missing/resend"
    for body, status, type_ in (({"to": "a@example.com"}, 404, "not_found"), ({"to": 5}, 400, "invalid_data")):
        got, answer = await orders.post(path, body)
        assert (got, answer["type"]) == (status, type_)
