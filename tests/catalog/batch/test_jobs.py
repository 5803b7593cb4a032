"""Batch jobs: who sees them, and which life they have."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.chassis.http import ACTOR_HEADER, sign_actor
from tests.support.batch_jobs import create, done, get, kept_in, reached
from tests.support.client import Client
from tests.support.factories.products import make, shirt
from tests.support.stack import SECRET, Stack
from tests.support.waiting import until

DATES = ("pre_processed_at", "confirmed_at", "processing_at", "completed_at", "canceled_at", "failed_at")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


@pytest.fixture
def other(catalog: Client) -> Client:
    """Another user."""
    return Client(catalog.session, catalog.base, lambda: {ACTOR_HEADER: sign_actor(SECRET, "usr_other", "admin")})


def export(uid: str) -> dict[str, Any]:
    """The context of an export of nothing."""
    return {"filterable_fields": {"title": f"None {uid}"}}


async def test_a_new_job(catalog: Client, uid: str) -> None:
    body = {"type": "product-export", "context": export(uid)}
    status, answer = await catalog.post("/admin/batch-jobs", body)
    job = answer["batch_job"]
    assert status == 201
    assert job == {
        "id": job["id"],
        "type": "product-export",
        "status": "created",
        "dry_run": False,
        "created_by": "usr_test",
        "context": {
            "filterable_fields": {"title": f"None {uid}"},
            "list_config": {
                "skip": 0,
                "take": 50,
                "order": {"created_at": "DESC"},
                "relations": [
                    "categories",
                    "collection",
                    "images",
                    "options",
                    "options.values",
                    "profiles",
                    "sales_channels",
                    "tags",
                    "type",
                    "variants",
                    "variants.options",
                    "variants.prices",
                    "variants.prices.region",
                ],
            },
        },
        "result": None,
        "created_at": job["created_at"],
        "updated_at": job["created_at"],
        "deleted_at": None,
        **dict.fromkeys(DATES),
    }


async def test_how_to_list_is_kept_apart(catalog: Client) -> None:
    context = {"order": "-title", "limit": 2, "offset": 1, "fields": "title", "expand": "variants", "batch_size": 7}
    job = await get(catalog, await create(catalog, "product-export", context | {"colour": 1}, dry_run=True))
    assert {name: job["context"][name] for name in ("list_config", "batch_size", "colour")} == {
        "list_config": {
            "skip": 1,
            "take": 2,
            "order": {"title": "DESC"},
            "select": ["title", "created_at", "id"],
            "relations": ["variants"],
        },
        "batch_size": 7,
        "colour": 1,
    }
    assert job["context"].keys() <= {"list_config", "batch_size", "colour", "shape"}


async def test_a_job_goes_through_by_itself(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid))
    assert (job["status"], job["dry_run"]) == ("completed", False)
    assert [name for name in DATES if job[name]] == [
        "pre_processed_at",
        "confirmed_at",
        "processing_at",
        "completed_at",
    ]


async def test_a_dry_run_waits_to_be_confirmed(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid), dry_run=True)
    assert [name for name in DATES if job[name]] == ["pre_processed_at"]
    assert job["result"] == {
        "stat_descriptors": [
            {
                "key": "product-export-count",
                "name": "Number of products to export",
                "message": "0 products will be exported",
            }
        ]
    }
    answer = await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
    assert answer["batch_job"]["status"] == "confirmed"
    job = await reached(catalog, job["id"], "completed")
    assert (job["dry_run"], job["confirmed_at"] is not None) == (True, True)


async def test_only_a_pre_processed_job_can_be_confirmed(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid))
    status, answer = await catalog.post(f"/admin/batch-jobs/{job['id']}/confirm")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await get(catalog, job["id"]) == job


async def test_a_job_is_confirmed_once(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid), dry_run=True)
    answers = await asyncio.gather(*(catalog.post(f"/admin/batch-jobs/{job['id']}/confirm") for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400]
    assert (await reached(catalog, job["id"], "completed"))["status"] == "completed"


async def test_cancel(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid), dry_run=True)
    canceled = (await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/cancel"))["batch_job"]
    assert canceled == job | {
        "status": "canceled",
        "canceled_at": canceled["canceled_at"],
        "updated_at": canceled["updated_at"],
    }
    assert canceled["canceled_at"] is not None
    assert (await catalog.post(f"/admin/batch-jobs/{job['id']}/confirm"))[0] == 400
    assert (await catalog.post(f"/admin/batch-jobs/{job['id']}/cancel"))[0] == 200


async def test_a_completed_job_cannot_be_canceled(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid))
    status, answer = await catalog.post(f"/admin/batch-jobs/{job['id']}/cancel")
    assert (status, answer["type"]) == (400, "not_allowed")
    assert await get(catalog, job["id"]) == job


async def test_a_failed_job_can_be_canceled(catalog: Client, uid: str) -> None:
    job = await done(catalog, "product-export", {"filterable_fields": {"colour": "red"}})
    assert (job["status"], job["result"]) == ("failed", {"errors": ["Unknown parameter: colour."]})
    canceled = (await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/cancel"))["batch_job"]
    dates = {name: canceled[name] for name in ("canceled_at", "updated_at")}
    assert canceled == job | dates  # it has failed all the same
    assert canceled["canceled_at"] is not None


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({"order": "nope"}, "order: cannot sort by nope."),
        ({"fields": "nope"}, "fields: there is no field nope."),
        ({"expand": "nope"}, "expand: there is no relation nope."),
        ({"limit": "x"}, "limit: must be a whole number, 0 or more."),
        ({"offset": -1}, "offset: must be a whole number, 0 or more."),
        ({"batch_size": 1.5}, "batch_size: must be a whole number, 0 or more."),
        ({"filterable_fields": {"created_at": "x"}}, "created_at: compare it with"),
        ({"filterable_fields": {"status": ["sold"]}}, "status: must be of draft, proposed, published, rejected."),
        ({"filterable_fields": []}, None),
        ({"filterable_fields": "x"}, "filterable_fields: must be an object."),
    ],
)
async def test_an_export_of_what_there_is_not_fails(catalog: Client, context: Any, error: str | None) -> None:
    job = await done(catalog, "product-export", context, dry_run=True)
    if error is None:  # an empty list says as little as an empty object
        assert job["status"] == "pre_processed"
    else:
        assert job["status"] == "failed"
        assert job["result"]["errors"][0].startswith(error)
        assert [name for name in DATES if job[name]] == ["failed_at"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "invalid_data")),
        ({"type": 1, "context": {}}, (400, "invalid_data")),
        ({"type": "product-export"}, (400, "invalid_data")),
        ({"type": "product-export", "context": []}, (400, "invalid_data")),
        ({"type": "product-export", "context": {}, "dry_run": "yes"}, (400, "invalid_data")),
        ({"type": "product-export", "context": {}, "colour": "red"}, (400, "invalid_data")),
        ({"type": "product-export", "context": {"fields": 1}}, (400, "invalid_data")),
        ({"type": "world-export", "context": {}}, (404, "not_found")),
        ({"type": "price-list-import", "context": {"fileKey": "x"}}, (400, "invalid_data")),
        ({"type": "price-list-import", "context": {"price_list_id": 5}}, (400, "invalid_data")),
        ({"type": "price-list-import", "context": {"price_list_id": "pl_missing"}}, (404, "not_found")),
    ],
)
async def test_bad_jobs_are_refused(catalog: Client, stack: Stack, body: Any, expected: tuple[int, str]) -> None:
    before = await stack.pool("catalog").fetchval("select count(*) from batch_jobs")
    status, answer = await catalog.post("/admin/batch-jobs", body)
    assert (status, answer["type"]) == expected
    assert await stack.pool("catalog").fetchval("select count(*) from batch_jobs") == before


async def test_a_job_is_its_creators(catalog: Client, other: Client, uid: str) -> None:
    job = await done(catalog, "product-export", export(uid), dry_run=True)
    path = f"/admin/batch-jobs/{job['id']}"
    for answer in (await other.get(path), await other.post(f"{path}/confirm"), await other.post(f"{path}/cancel")):
        assert (answer[0], answer[1]["type"]) == (400, "not_allowed")
    listed = await other.ok("GET", "/admin/batch-jobs", query={"id[]": job["id"]})
    assert listed == {"batch_jobs": [], "count": 0, "offset": 0, "limit": 10}
    assert await get(catalog, job["id"]) == job


async def test_unknown_jobs(catalog: Client) -> None:
    path = "/admin/batch-jobs/batch_missing"
    for answer in (
        await catalog.get(path),
        await catalog.post(f"{path}/confirm"),
        await catalog.post(f"{path}/cancel"),
    ):
        assert (answer[0], answer[1]["type"]) == (404, "not_found")


async def test_list(catalog: Client, uid: str) -> None:
    waiting = await done(catalog, "product-export", export(uid), dry_run=True)
    over = await done(catalog, "order-export", {"filterable_fields": {"email": f"{uid}@example.com"}})
    both = [("id[]", waiting["id"]), ("id[]", over["id"])]

    async def ids(*query: tuple[str, str]) -> list[str]:
        answer = await catalog.ok("GET", "/admin/batch-jobs", query=[*both, *query])
        assert answer["count"] == len(answer["batch_jobs"])
        return [job["id"] for job in answer["batch_jobs"]]

    assert await ids() == [over["id"], waiting["id"]]
    assert await ids(("order", "created_at")) == [waiting["id"], over["id"]]
    assert await ids(("type[]", "order-export")) == [over["id"]]
    assert await ids(("type[]", "nope")) == []
    assert await ids(("completed_at", "null")) == [waiting["id"]]
    assert await ids(("completed_at[gt]", "2020-01-01")) == [over["id"]]
    assert await ids(("confirmed_at", "null")) == [waiting["id"]]
    assert await ids(("pre_processed_at[lt]", "2020-01-01")) == []
    assert await ids(("failed_at", "null"), ("canceled_at", "null")) == [over["id"], waiting["id"]]
    assert await ids(("created_at[gt]", "2020-01-01"), ("updated_at[gt]", "2020-01-01")) == [over["id"], waiting["id"]]
    page = await catalog.ok("GET", "/admin/batch-jobs", query=[*both, ("limit", "1"), ("offset", "1")])
    # A list does not tell dry runs from others (docs/behaviour/catalog.md, "Batch jobs").
    assert page == {"batch_jobs": [waiting | {"dry_run": False}], "count": 2, "offset": 1, "limit": 1}


async def test_fields_of_a_list(catalog: Client, uid: str) -> None:
    """The status tells what the dates that are shown say."""
    job = await done(catalog, "product-export", export(uid))

    async def shown(**query: str) -> Any:
        return (await catalog.ok("GET", "/admin/batch-jobs", query={"id[]": job["id"], **query}))["batch_jobs"]

    always = {"id": job["id"], "created_at": job["created_at"], "dry_run": False}
    assert await shown(fields="type", expand="") == [always | {"type": "product-export", "status": "created"}]
    assert await shown(fields="completed_at") == [always | {"completed_at": job["completed_at"], "status": "completed"}]


@pytest.mark.parametrize(
    "query",
    [
        {"id": "batch_x"},
        {"type": "product-export"},
        {"colour": "red"},
        {"status[]": "failed"},
        {"created_by": "x"},
        {"created_at": "null"},
        {"canceled_at": "x"},
        {"fields": "status"},
        {"fields": "nope"},
        {"order": "nope"},
        {"expand": "nope"},
        {"limit": "-1"},
    ],
)
async def test_bad_queries(catalog: Client, query: dict[str, str]) -> None:
    status, answer = await catalog.get("/admin/batch-jobs", query)
    assert (status, answer["type"]) == (400, "invalid_data")


async def test_who_created_a_job(api: Client, uid: str) -> None:
    me = (await api.ok("GET", "/admin/auth"))["user"]
    job_id = await create(api, "product-export", export(uid), dry_run=True)
    (job,) = (await api.ok("GET", "/admin/batch-jobs", query={"id[]": job_id, "expand": "created_by_user"}))[
        "batch_jobs"
    ]
    assert job["created_by"] == me["id"]
    assert {name: job["created_by_user"][name] for name in ("id", "email")} == {"id": me["id"], "email": me["email"]}


async def test_the_same_request_is_answered_again(catalog: Client, stack: Stack, uid: str) -> None:
    body, headers = {"type": "product-export", "context": export(uid)}, {"Idempotency-Key": uid}
    answers = await asyncio.gather(*(catalog.post("/admin/batch-jobs", body, headers=headers) for _ in range(4)))
    assert len({answer["batch_job"]["id"] for _, answer in answers}) == 1
    assert {status for status, _ in answers} == {201}
    counted = "select count(*) from batch_jobs where context #>> '{filterable_fields,title}' = $1"
    assert await stack.pool("catalog").fetchval(counted, f"None {uid}") == 1


async def test_events(catalog: Client, stack: Stack, uid: str) -> None:
    await make(catalog, shirt(uid))
    job = await done(catalog, "product-export", {"filterable_fields": {"title": f"Shirt {uid}"}})

    async def sequence() -> bool:
        sequence = "select sequence from event_sequences where aggregate = $1"
        return bool(await stack.pool("catalog").fetchval(sequence, job["id"]) == 3)  # created, pre_processed, completed

    await until(sequence)
