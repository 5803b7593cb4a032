"""Publishable API keys."""

from typing import Any

import pytest

from tests.support.client import Client
from tests.support.database import statements
from tests.support.factories.products import listed_ids
from tests.support.stack import Stack

PATH = "/admin/publishable-api-keys"


async def make_key(catalog: Client, title: str) -> dict[str, Any]:
    key: dict[str, Any] = (await catalog.ok("POST", PATH, {"title": title}))["publishable_api_key"]
    return key


async def test_create_rename_revoke_delete(catalog: Client, uid: str) -> None:
    key = await make_key(catalog, f"Web {uid}")
    path = f"{PATH}/{key['id']}"
    assert key["id"].startswith("pk_")
    assert (key["title"], key["created_by"], key["revoked_by"], key["revoked_at"]) == (
        f"Web {uid}",
        "usr_test",
        None,
        None,
    )
    assert (await catalog.ok("GET", path))["publishable_api_key"] == key
    assert (await catalog.ok("POST", path, {"title": "Site"}))["publishable_api_key"]["title"] == "Site"
    old_path = path.replace("api-keys", "api-key")
    assert (await catalog.ok("POST", old_path, {"title": "Old"}))["publishable_api_key"]["title"] == "Old"
    revoked = (await catalog.ok("POST", f"{path}/revoke"))["publishable_api_key"]
    assert revoked["revoked_by"] == "usr_test" and revoked["revoked_at"] is not None
    status, answer = await catalog.post(f"{path}/revoke")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert (await catalog.ok("GET", path))["publishable_api_key"] == revoked
    assert (await catalog.ok("POST", path, {"title": "Late"}))["publishable_api_key"]["title"] == "Late"
    assert await catalog.ok("DELETE", path) == {"id": key["id"], "object": "publishable_api_key", "deleted": True}
    assert (await catalog.get(path))[0] == 404


async def test_refusals(catalog: Client, uid: str) -> None:
    key = await make_key(catalog, f"Web {uid}")
    path, missing = f"{PATH}/{key['id']}", f"{PATH}/pk_missing"
    for where, body, status in (
        (PATH, {}, 400),
        (PATH, {"title": 5}, 400),
        (path, {"title": None}, 400),
        (path, {"name": "x"}, 400),
        (f"{path}/sales-channels/batch", {"sales_channel_ids": ["sc_x"]}, 400),
        (f"{path}/sales-channels/batch", {}, 400),
        (missing, {"title": "x"}, 404),
        (f"{missing}/revoke", None, 404),
        (f"{missing}/sales-channels/batch", {"sales_channel_ids": [{"id": "sc_x"}]}, 404),
    ):
        assert (await catalog.post(where, body))[0] == status, (where, body)
    assert (await catalog.delete(missing))[0] == 404
    assert (await catalog.delete(f"{missing}/sales-channels/batch", {"sales_channel_ids": []}))[0] == 404
    assert (await catalog.ok("GET", path))["publishable_api_key"] == key


async def test_channels_of_a_key(stack: Stack, catalog: Client, uid: str) -> None:
    key = await make_key(catalog, f"Web {uid}")
    path = f"{PATH}/{key['id']}/sales-channels"
    web = (await catalog.ok("POST", "/admin/sales-channels", {"name": f"Web {uid}"}))["sales_channel"]
    kiosk = (await catalog.ok("POST", "/admin/sales-channels", {"name": "K", "description": f"Kiosk {uid}"}))[
        "sales_channel"
    ]

    async def channels(**query: str) -> list[Any]:
        with statements(stack) as read:
            answer = await catalog.ok("GET", path, query=query)
        assert len(read) == 1 and answer.keys() == {"sales_channels"}
        return list(answer["sales_channels"])

    both = {"sales_channel_ids": [{"id": web["id"]}, {"id": kiosk["id"]}, {"id": "sc_missing"}]}
    for _ in range(2):
        assert (await catalog.ok("POST", f"{path}/batch", both))["publishable_api_key"] == key
    assert await channels() == [web, kiosk]
    assert await channels(q=f"KIOSK {uid}") == [kiosk]
    await catalog.ok("DELETE", f"{path}/batch", {"sales_channel_ids": [{"id": kiosk["id"]}]})
    assert await channels() == [web]
    await catalog.ok("DELETE", f"/admin/sales-channels/{web['id']}")
    assert await channels() == []


async def test_lists(catalog: Client, uid: str) -> None:
    first, second = await make_key(catalog, f"One {uid}"), await make_key(catalog, f"Two {uid}")
    await catalog.ok("POST", f"{PATH}/{first['id']}/revoke")

    async def ids(**query: str) -> list[str]:
        return await listed_ids(catalog, "publishable_api_keys", PATH, {"q": uid, **query})

    one, two = first["id"], second["id"]
    assert await ids() == [two, one]
    assert await ids(q=f"ONE {uid}") == [one]
    assert await ids(order="title") == [one, two]
    assert await ids(**{"revoked_at[gt]": "2020-01-01"}) == [one]
    assert await ids(**{"created_at[lt]": second["created_at"]}) == [one]
    assert await ids(**{"updated_at[lt]": "2020-01-01"}) == []
    row = (await catalog.ok("GET", PATH, query={"q": f"One {uid}", "fields": "title"}))["publishable_api_keys"][0]
    assert row.keys() == {"id", "created_at", "title"}


@pytest.mark.parametrize("query", ["colour=red", "limit=x", "expand=nonsense", "fields=nonsense"])
async def test_queries_that_are_refused(catalog: Client, query: str) -> None:
    status, answer = await catalog.get(f"{PATH}?{query}")
    assert (status, answer["type"]) == (400, "invalid_data")
