"""What both exports share: which rows a job's context asks for, and the file's way into the store."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.catalog.batch.csv_files import Sheet
from services.catalog.batch.rows import Job, Stopped, complete
from services.catalog.bodies import MAX_QUANTITY
from services.catalog.files.storage import new_key, storage
from services.chassis.errors import ApiError, InvalidData
from services.chassis.keys import POOL
from services.chassis.params import Filter, Query, Values, check_known, conditions


@dataclass(frozen=True)
class Listing:
    """Which rows to export, as parts of a statement over `{t}` and its arguments."""

    where: str
    order: str
    limit: str
    offset: str
    args: tuple[object, ...]

    def parts(self, t: str) -> dict[str, str]:
        """The parts for the alias `t`."""
        return {
            "where": self.where.format(t=t),
            "order": self.order.format(t=t),
            "limit": self.limit,
            "offset": self.offset,
        }


def stat(what: str, count: int) -> dict[str, str]:
    """How many rows the file will have, for people."""
    message = f"{count} {what}s will be exported"
    return {"key": f"{what}-export-count", "name": f"Number of {what}s to export", "message": message}


def query_from(fields: object, lists: frozenset[str]) -> Query:
    """`filterable_fields`, which is JSON, as the parameters of a list; for those in `lists`, one value is a list of
    one. Raises InvalidData."""
    if not isinstance(fields, dict):
        raise InvalidData("filterable_fields: must be an object.")
    query = {name: parameter(name, value) for name, value in fields.items() if value is not None}
    return {name: [v] if name in lists and isinstance(v, str) else v for name, v in query.items()}


def parameter(name: str, value: object) -> Any:
    """One value as a query string would have it. Raises InvalidData."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list():
            return [parameter(name, one) for one in value]
        case dict():
            return {key: parameter(name, one) for key, one in value.items()}
    raise InvalidData(f"filterable_fields: cannot compare {name} with this.")


def rows_of(context: Mapping[str, Any]) -> tuple[int, int | None]:
    """(how many rows to leave out, how many to take at most). Raises InvalidData."""
    skip, most = context["list_config"]["skip"], context.get("batch_size")
    numbers = {"offset": skip, "limit": context["list_config"]["take"], "batch_size": 0 if most is None else most}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_QUANTITY:
            raise InvalidData(f"{name}: must be a whole number, 0 or more.")
    return skip, most


def sorted_by(context: Mapping[str, Any]) -> tuple[str, str]:
    """The column that the list is sorted by, and `asc` or `desc`."""
    ((name, direction),) = context["list_config"]["order"].items()
    return name, direction.lower()


def listing(job: Job, filters: Mapping[str, Filter], lists: frozenset[str], columns: Iterable[str]) -> Listing:
    """The rows that the job asks for. `limit` is the size of a page, so that it does not matter. Raises InvalidData."""
    query, values = query_from(job.context.get("filterable_fields") or {}, lists), Values()
    check_known(query, filters)
    skip, most = rows_of(job.context)
    name, direction = sorted_by(job.context)
    if name not in columns:
        raise InvalidData(f"order: cannot sort by {name}.")
    where = " and ".join(["{t}.deleted_at is null", *conditions(query, filters, values)])
    return Listing(
        where,
        f"{{t}}.{name} {direction}, {{t}}.id {direction}",
        values.bind(most) + "::bigint",
        values.bind(skip) + "::bigint",
        tuple(values.args),
    )


async def finish(job: Job, sheet: Sheet, name: str, rows: int) -> None:
    """Store the file, and complete the job with it."""
    key = new_key(name, protected=True)
    result = job.result | {"file_key": key, "file_size": await sheet.store(key)}
    if rows:
        result |= {"count": rows, "advancement_count": rows, "progress": 1}
    try:
        async with job.app[POOL].acquire() as db, db.transaction():
            await complete(db, job, result)
    except Stopped:
        with contextlib.suppress(ApiError):
            await storage().delete(key)
        raise
