"""What the tests of mails to customers ask: which notifications there are about something."""

from typing import Any

from tests.support.client import Client
from tests.support.stack import Stack
from tests.support.waiting import until


async def notifications_of(api: Client, resource_id: str, **query: str) -> list[dict[str, Any]]:
    """The notifications about something, the oldest first."""
    fields = "id,event_name,resource_type,resource_id,customer_id,to,parent_id,provider_id,data"
    query_string = {"resource_id": resource_id, "fields": fields} | query
    page = await api.ok("GET", "/admin/notifications", query=query_string)
    return list(reversed(page["notifications"]))


async def sent(api: Client, resource_id: str, event_name: str) -> dict[str, Any]:
    """The notification about an event, once it was sent."""

    async def sent_rows() -> Any:
        rows = await notifications_of(api, resource_id, event_name=event_name)
        return rows and rows[0]["data"]["status"] == "sent" and rows

    rows = await until(sent_rows)
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    return row


async def received(stack: Stack, heard: list[dict[str, Any]], name: str, subject: str) -> None:
    """Wait until this service has taken its own event."""

    async def taken() -> bool:
        ids = [event["id"] for event in heard if (event["type"], event["subject"]) == (name, subject)]
        query = "select true from inbox where message_id = any($1::text[])"
        return bool(ids and await stack.pool("orders").fetchval(query, ids))

    await until(taken)
