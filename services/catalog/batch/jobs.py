"""Batch jobs: create, find, confirm, cancel. `runner.py` does them; whoever created a job is who sees it.

created -> pre_processed -> confirmed (at once, unless it is a dry run) -> processing -> completed, or failed, or
canceled. Rules: docs/behaviour/catalog.md, "Batch jobs".
"""

import asyncio
from dataclasses import replace
from typing import Any, Literal

import orjson
import structlog
from aiohttp import web

from services.catalog import remote
from services.catalog.batch.rows import FORGET
from services.catalog.batch.runner import wake
from services.chassis import copies
from services.chassis.consumers import Listener
from services.chassis.copies import on_copies
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import One, Page, Relation, Resource, Selection, Value, cols, one_json, page_json
from services.chassis.errors import ApiError, InvalidData, NotAllowed, NotFound
from services.chassis.http import Body, actor, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.keys import POOL
from services.chassis.operations import get, post
from services.chassis.outbox import emit
from services.chassis.params import Bind, Filter, Query, dates, described, texts
from services.chassis.queries import Parameters, page
from services.chassis.schemas import Json, Rows, page_of

log = structlog.get_logger()

TYPES = ("product-export", "product-import", "price-list-import", "order-export")
LIST_LIMIT = 50
PRODUCT_RELATIONS = (
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
)
ORDER_RELATIONS = ("customer", "shipping_address", "sales_channel")
ORDER_FIELDS = (
    "id",
    "display_id",
    "status",
    "created_at",
    "fulfillment_status",
    "payment_status",
    "subtotal",
    "shipping_total",
    "discount_total",
    "gift_card_total",
    "refunded_total",
    "tax_total",
    "total",
    "currency_code",
    "region_id",
)
LIST_PARAMETERS = frozenset({"limit", "offset", "order", "fields", "expand"})

COLUMNS = cols(
    "id type created_by context result pre_processed_at@ confirmed_at@ processing_at@ completed_at@ canceled_at@"
    " failed_at@ created_at@ updated_at@ deleted_at@"
)
USER = Resource("copies", document=True)
RELATIONS: dict[str, Relation] = {"created_by_user": One(USER, "{t}.kind = 'user' and {t}.id = {p}.created_by")}


def shaped(dry_run: str) -> Resource:
    """Jobs with their status, which nobody chooses, and `dry_run`."""
    more = f"r || jsonb_build_object('status', batch_job_status(r), 'dry_run', {dry_run})"
    return Resource("batch_jobs", COLUMNS, RELATIONS, shape=f"(select {more} from (select {{row}} as r) x)")  # noqa: S608


JOB = shaped("{t}.dry_run")
# As clients know it: a list never says that a job was a dry run.
LISTED_JOB = shaped("false")
# What the documentation shows.
ANY_JOB = Resource(
    "batch_jobs",
    {name: of for name, of in COLUMNS.items() if name not in ("context", "result")}
    | {"status": "batch_job_status(to_jsonb({t}))", "dry_run": "{t}.dry_run"},
    RELATIONS
    | {
        "context": Value("{p}.context", shows=dict),
        "result": Value("{p}.result", shows=Json({"type": ["object", "null"]})),
    },
)
WHOLE = Selection(tuple(COLUMNS), ())
OWN = "{t}.created_by = $1 and {t}.deleted_at is null"


def dates_or_null(sql: str) -> Filter:
    """Dates as everywhere, or the word null for those that have none."""
    compare = dates(sql)

    def condition(name: str, value: Any, bind: Bind) -> str:
        return f"{sql} is null" if value == "null" else compare(name, value, bind)

    return Filter(condition, compare.schema)


FILTERS: dict[str, Filter] = {
    "id": texts("{t}.id", array_only=True),
    "type": texts("{t}.type", array_only=True),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
} | {
    name: described(dates_or_null(f"{{t}}.{name}"), f"`{name}=null` finds jobs that have none.")
    for name in ("pre_processed_at", "confirmed_at", "completed_at", "failed_at", "canceled_at")
}


class BatchJobBody(Body):
    type: str
    """product-export, order-export, product-import or price-list-import."""
    context: dict[str, Any]
    """Of an export: `filterable_fields`, `order`, `limit`, `offset`, `fields` and `expand` as in the list of products
    or orders, and `batch_size`, how many rows at most. Of an import: `fileKey`, the key of an upload, and
    `price_list_id` where it imports prices of a price list."""
    dry_run: bool = False
    """Whether the job waits for somebody to confirm it, when it is known what it would do."""


LOCK_JOB = """
select created_by, batch_job_status(to_jsonb(j)) as status
from batch_jobs j where id = $1 and deleted_at is null for no key update
"""
INSERT_JOB = "insert into batch_jobs (id, type, dry_run, created_by, context) values ($1, $2, $3, $4, $5::text::jsonb)"
CONFIRM_JOB = """
update batch_jobs set confirmed_at = now(), leased_until = '-infinity', updated_at = now() where id = $1
"""
# Who works on the job finds out before anything is applied.
CANCEL_JOB = "update batch_jobs set canceled_at = now(), leased_by = null, updated_at = now() where id = $1"


UNDER_WAY = """
select completed_at is null and canceled_at is null and failed_at is null
    and (pre_processed_at is null or confirmed_at is not null)
from batch_jobs where id = $1
"""
PAUSES = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4, 0.5)  # seconds

# Actions


async def access_job(db: Db, job_id: str, user_id: str) -> str:
    """The job's status; it is locked until the commit. Raises NotFound, or NotAllowed for somebody else's."""
    row = await db.fetchrow(LOCK_JOB, job_id)
    if row is None:
        raise NotFound(f"There is no batch job {job_id}.")
    check_own(row["created_by"], user_id)
    status: str = row["status"]
    return status


def check_own(created_by: str, user_id: str) -> None:
    """Raises NotAllowed for a job of another user."""
    if created_by != user_id:
        raise NotAllowed("This batch job belongs to another user.")


async def create_job(db: Db, body: BatchJobBody, user_id: str) -> str:
    """A new job, which the runner finds. Raises NotFound or InvalidData."""
    if body.type not in TYPES:
        raise NotFound(f"There are no batch jobs of type {body.type}.")
    if body.type == "price-list-import":
        await check_price_list(db, body.context.get("price_list_id"))
    job_id = new_id("batch")
    context = stored_context(body.type, body.context)
    await db.execute(INSERT_JOB, job_id, body.type, body.dry_run, user_id, json_text(context))
    await emit(db, "batch.created", job_id, {"id": job_id})
    await wake(db)
    return job_id


async def check_price_list(db: Db, list_id: object) -> None:
    """Raises InvalidData for what is no id, NotFound for the id of no price list."""
    if not isinstance(list_id, str) or not list_id:
        raise InvalidData("context.price_list_id: must be the id of a price list.")
    if not await db.fetchval("select true from price_lists where id = $1", list_id):
        raise NotFound(f"There is no price list {list_id}.")


def stored_context(type_: str, context: dict[str, Any]) -> dict[str, Any]:
    """An export's context as it is kept: how to list becomes `list_config`. An import's stays as it is."""
    if not type_.endswith("-export"):
        return context
    relations, fields = (PRODUCT_RELATIONS, ()) if type_ == "product-export" else (ORDER_RELATIONS, ORDER_FIELDS)
    order = context.get("order")
    by = order.removeprefix("-") if isinstance(order, str) and order else "created_at"
    down = order.startswith("-") if isinstance(order, str) and order else True
    config: dict[str, Any] = {
        "skip": context.get("offset", 0),
        "take": context.get("limit", LIST_LIMIT),
        "order": {by: "DESC" if down else "ASC"},
        "relations": split(context["expand"]) if "expand" in context else list(relations),
    }
    select = [*split(context["fields"]), "created_at", "id"] if "fields" in context else list(fields)
    if select:
        config["select"] = list(dict.fromkeys(select))
    return {name: value for name, value in context.items() if name not in LIST_PARAMETERS} | {"list_config": config}


def split(names: object) -> list[str]:
    """`a,b` as a list. Raises InvalidData for what is no text."""
    if not isinstance(names, str):
        raise InvalidData("context: fields and expand must be texts, names joined by commas.")
    return [name.strip() for name in names.split(",") if name.strip()]


async def confirm_job(db: Db, job_id: str, user_id: str) -> None:
    """Let a dry run become earnest. Raises NotFound or NotAllowed."""
    status = await access_job(db, job_id, user_id)
    if status != "pre_processed":
        raise NotAllowed(f"Only a batch job that is pre_processed can be confirmed; this one is {status}.")
    await db.execute(CONFIRM_JOB, job_id)
    await emit(db, "batch.confirmed", job_id, {"id": job_id})
    await wake(db)


async def cancel_job(db: Db, job_id: str, user_id: str) -> None:
    """Stop the job, whatever it is at; nothing of it stays. Raises NotFound, or NotAllowed when it is completed."""
    if await access_job(db, job_id, user_id) == "completed":
        raise NotAllowed("The batch job is completed; it cannot be canceled any more.")
    await db.execute(CANCEL_JOB, job_id)
    await db.execute(FORGET, job_id)
    await emit(db, "batch.canceled", job_id, {"id": job_id})


async def learn_user(app: web.Application, user_id: str) -> None:
    """Fetch the user's row when it was never seen here, best effort: an event brings it later."""
    if not await copies.missing(app[POOL], "user", [user_id]):
        return
    try:
        users = await remote.users(app, [user_id])
    except ApiError as error:
        log.info("user not known yet", user=user_id, error=error.message)
    else:
        await copies.store(app[POOL], "user", users)


async def give_time(app: web.Application, job_id: str) -> None:
    """Wait a moment for the job, so that a small one is over when its client asks for the first time."""
    for pause in PAUSES:
        await asyncio.sleep(pause)
        if not await is_under_way(app, job_id):
            return


async def is_under_way(app: web.Application, job_id: str) -> bool:
    """Whether there is something left to do for it."""
    return bool(await app[POOL].fetchval(UNDER_WAY, job_id))


async def job_json(db: Db, job_id: str) -> str:
    """`{"batch_job": ...}`. Raises NotFound."""
    text = await one_json(db, JOB, WHOLE, "{t}.id = $1 and {t}.deleted_at is null", job_id)
    if text is None:
        raise NotFound(f"There is no batch job {job_id}.")
    return f'{{"batch_job":{text}}}'


# Handlers

PAGE = page(LISTED_JOB, FILTERS, limit=10, where=OWN)


def read_jobs(query: Query, *_path: str) -> Page:
    """The page that a request asks for. Who asks, its $1, a query string does not say."""
    return PAGE.read(query, "")


async def get_batch_jobs(request: web.Request, jobs: Page) -> web.Response:
    own = replace(jobs, args=(actor(request), *jobs.args[1:]))
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "batch_jobs", own))


async def post_batch_jobs(request: web.Request, body: BatchJobBody) -> web.Response:
    async with transaction(request) as db:
        job_id = await create_job(db, body, actor(request))
        answer = json_bytes(request, await job_json(db, job_id), status=201)
    await learn_user(request.app, actor(request))
    await give_time(request.app, job_id)
    return answer


async def get_batch_job(request: web.Request, job_id: str) -> web.Response:
    async with reading(request) as db:
        text = await job_json(db, job_id)
    check_own(orjson.loads(text)["batch_job"]["created_by"], actor(request))
    return json_bytes(request, text)


async def post_confirm(request: web.Request, job_id: str) -> web.Response:
    return await changed(request, job_id, "confirm")


async def post_cancel(request: web.Request, job_id: str) -> web.Response:
    return await changed(request, job_id, "cancel")


async def changed(request: web.Request, job_id: str, what: Literal["confirm", "cancel"]) -> web.Response:
    async with transaction(request) as db:
        await (confirm_job if what == "confirm" else cancel_job)(db, job_id, actor(request))
        answer = json_bytes(request, await job_json(db, job_id))
    await give_time(request.app, job_id)
    return answer


LISTED = Rows((ANY_JOB,), narrowed=True)
ANSWER = {"batch_job": ANY_JOB}

OPERATIONS = [
    get(
        "/admin/batch-jobs",
        get_batch_jobs,
        "List batch jobs",
        description="Those that the user who asks has created, the newest first. A list never says that a job is a "
        "dry run.",
        query=Parameters(read_jobs, PAGE.schemas, LISTED),
        answer=page_of("batch_jobs", LISTED),
        asks_others=True,
    ),
    post(
        "/admin/batch-jobs",
        post_batch_jobs,
        "Create a batch job",
        description="It is done beside the requests, whole or not at all, and its `status` tells how far it is; a "
        "small one is over soon after the answer. `result` then has the `file_key` of an export, to make a download "
        "URL of, or the `errors` that a file has. Columns are separated by semicolons, in files that are imported "
        "also by commas.",
        body=BatchJobBody,
        example={"type": "product-export", "context": {"filterable_fields": {"status": ["published"]}}},
        answer=ANSWER,
        status=201,
        errors=(NotFound, InvalidData),
        asks_others=True,
    ),
    get(
        "/admin/batch-jobs/{id}",
        get_batch_job,
        "Get a batch job",
        description="Refused with 400 for a job of another user.",
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
    post(
        "/admin/batch-jobs/{id}/confirm",
        post_confirm,
        "Confirm a batch job",
        description="Lets a dry run be done in earnest. Refused with 400 unless the job is pre_processed, and for a "
        "job of another user.",
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
    post(
        "/admin/batch-jobs/{id}/cancel",
        post_cancel,
        "Cancel a batch job",
        description="Stops the job, whatever it is at; nothing of it stays. Refused with 400 when it is completed, "
        "and for a job of another user.",
        answer=ANSWER,
        errors=(NotFound, NotAllowed),
        asks_others=True,
    ),
]
# Who created a job is shown from copies of the gateway's users.
LISTENERS: dict[str, Listener] = {
    **dict.fromkeys(("user.created", "user.updated", "user.deleted"), on_copies),
    **copies.resent("user"),
}
