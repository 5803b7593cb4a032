"""Return reasons over HTTP: groups of one level, values that are unique among the living."""

import asyncio
from typing import Any

from tests.support.client import Client

PATH = "/admin/return-reasons"


async def create_reason(api: Client, value: str, **more: Any) -> dict[str, Any]:
    reason: dict[str, Any] = (await api.ok("POST", PATH, {"value": value, "label": value.title()} | more))[
        "return_reason"
    ]
    return reason


async def shown(api: Client, reason_id: str) -> dict[str, Any]:
    reason: dict[str, Any] = (await api.ok("GET", f"{PATH}/{reason_id}"))["return_reason"]
    return reason


async def test_a_reason_and_what_it_groups(api: Client, uid: str) -> None:
    group = await create_reason(api, f"size-{uid}", description="It did not fit", metadata={"team": "fit"})
    assert group == {
        "id": group["id"],
        "value": f"size-{uid}",
        "label": f"Size-{uid.title()}",
        "description": "It did not fit",
        "parent_return_reason_id": None,
        "created_at": group["created_at"],
        "updated_at": group["created_at"],
        "deleted_at": None,
        "parent_return_reason": None,
        "return_reason_children": [],
    }
    small = await create_reason(api, f"small-{uid}", parent_return_reason_id=group["id"])
    own = {name: group[name] for name in group if name not in ("parent_return_reason", "return_reason_children")}
    assert small["parent_return_reason"] == own | {"metadata": {"team": "fit"}}
    big = await create_reason(api, f"big-{uid}", parent_return_reason_id=group["id"], metadata={"n": 1})
    children = (await shown(api, group["id"]))["return_reason_children"]
    assert [(child["id"], child["metadata"]) for child in children] == [(small["id"], None), (big["id"], {"n": 1})]
    listed = (await api.ok("GET", PATH))["return_reasons"]
    assert [r for r in listed if r["id"] in (group["id"], small["id"], big["id"])] == [await shown(api, group["id"])]


async def test_an_update_changes_what_is_sent(api: Client, uid: str) -> None:
    reason = await create_reason(api, f"a-{uid}", metadata={"a": 1, "b": 2})
    path = f"{PATH}/{reason['id']}"
    after = (await api.ok("POST", path, {"label": "B", "metadata": {"a": "", "c": 3}}))["return_reason"]
    assert after == reason | {"label": "B", "updated_at": after["updated_at"]}
    assert after["updated_at"] > reason["updated_at"]
    child = await create_reason(api, f"c-{uid}", parent_return_reason_id=reason["id"])
    assert child["parent_return_reason"]["metadata"] == {"b": 2, "c": 3}
    await api.ok("POST", path, {"value": f"a-{uid}", "description": ""})
    assert (await shown(api, reason["id"]))["description"] == ""
    await api.ok("POST", path, {"description": None})
    assert (await shown(api, reason["id"]))["description"] is None


async def test_deleting_a_group_deletes_its_reasons(api: Client, uid: str) -> None:
    group = await create_reason(api, f"g-{uid}")
    child = await create_reason(api, f"c-{uid}", parent_return_reason_id=group["id"])
    gone = await api.ok("DELETE", f"{PATH}/{group['id']}")
    assert gone == {"id": group["id"], "object": "return_reason", "deleted": True}
    for reason_id in (group["id"], child["id"]):
        for method in ("GET", "POST", "DELETE"):
            status, answer = await api.request(method, f"{PATH}/{reason_id}", {} if method == "POST" else None)
            assert (status, answer["type"]) == (404, "not_found")
    await create_reason(api, f"c-{uid}")  # the value is free again


async def test_refusals_change_nothing(api: Client, uid: str) -> None:
    group = await create_reason(api, f"g-{uid}")
    leaf = await create_reason(api, f"l-{uid}", parent_return_reason_id=group["id"])
    before = (await api.ok("GET", PATH))["return_reasons"]
    new = {"value": f"n-{uid}", "label": "N"}
    for path, body, status, type_ in (
        (PATH, new | {"value": f"g-{uid}"}, 422, "duplicate_error"),
        (PATH, new | {"value": f"l-{uid}"}, 422, "duplicate_error"),
        (PATH, {"value": f"n-{uid}"}, 400, "invalid_data"),
        (PATH, {"label": "N"}, 400, "invalid_data"),
        (PATH, new | {"label": 7}, 400, "invalid_data"),
        (PATH, new | {"colour": "red"}, 400, "invalid_data"),
        (PATH, new | {"metadata": [1]}, 400, "invalid_data"),
        (PATH, new | {"parent_return_reason_id": leaf["id"]}, 400, "invalid_data"),
        (PATH, new | {"parent_return_reason_id": "rr_missing"}, 404, "not_found"),
        (f"{PATH}/{leaf['id']}", {"value": f"g-{uid}"}, 422, "duplicate_error"),
        (f"{PATH}/{leaf['id']}", {"parent_return_reason_id": None}, 400, "invalid_data"),
        (f"{PATH}/{leaf['id']}", {"label": 7}, 400, "invalid_data"),
        (f"{PATH}/{leaf['id']}", {"label": None}, 400, "invalid_data"),
        (f"{PATH}/{leaf['id']}", {"value": None}, 400, "invalid_data"),
        (f"{PATH}/rr_missing", {"label": "x"}, 404, "not_found"),
    ):
        got, answer = await api.post(path, body)
        assert (got, answer["type"]) == (status, type_), body
        assert status != 422 or answer["code"] == "invalid_request_error"
    assert (await api.ok("GET", PATH))["return_reasons"] == before


async def test_one_of_many_gets_the_value(api: Client, uid: str) -> None:
    answers = await asyncio.gather(*(api.post(PATH, {"value": f"v-{uid}", "label": "V"}) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200] + [422] * 5
    others = [await create_reason(api, f"{n}-{uid}") for n in range(4)]
    bodies = [api.post(f"{PATH}/{other['id']}", {"value": f"w-{uid}"}) for other in others]
    assert sorted(status for status, _ in await asyncio.gather(*bodies)) == [200] + [422] * 3


async def test_no_child_outlives_its_group(api: Client, uid: str) -> None:
    group = await create_reason(api, f"g-{uid}")
    body = {"label": "C", "parent_return_reason_id": group["id"]}
    answers = await asyncio.gather(
        *(api.post(PATH, body | {"value": f"c{n}-{uid}"}) for n in range(4)),
        api.request("DELETE", f"{PATH}/{group['id']}"),
    )
    assert {status for status, _ in answers} <= {200, 404}
    for status, answer in answers[:-1]:
        if status == 200:
            assert (await api.get(f"{PATH}/{answer['return_reason']['id']}"))[0] == 404
