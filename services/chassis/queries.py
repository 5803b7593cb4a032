"""What the query string of an operation may say, declared once: for the reader of a request and for the documentation.

    ORDERS = page(ORDER, FILTERS, limit=50, expand=DEFAULT)      # a list: filters, limit, offset, order, expand, fields
    SHOWN = one(ORDER, expand=DEFAULT)                           # one row: expand and fields
    PREVIEW = Parameters(read_preview, {"force": FLAG})          # anything else

The parameters of a page or a row say what its answer has, too: `rows` (chassis/schemas.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.chassis.embed import Page, Resource, Selection, Tree, one_query, page_query
from services.chassis.params import TEXT, WHOLE_NUMBER, Filter, Query, Schema, check_known
from services.chassis.schemas import Rows

T = TypeVar("T")
PAGING = ("limit", "offset", "order", "expand", "fields")
GENERAL: Mapping[str, Schema] = {
    "limit": WHOLE_NUMBER | {"description": "How many rows to answer at most."},
    "offset": WHOLE_NUMBER | {"description": "How many rows to pass over.", "default": 0},
    "order": TEXT | {"description": "A column to sort by, `-` before it for the largest first: `-created_at`."},
    "expand": TEXT | {"description": "Relations to answer with, separated by commas, in place of those by default."},
    "fields": TEXT
    | {"description": "Columns to answer with, separated by commas; `+name`, `-name` change what is usual."},
}


@dataclass(frozen=True, eq=False)
class Parameters(Generic[T]):
    """`read(query, *path)` makes one value of a query string and the ids in the path, before any connection is taken,
    and raises InvalidData. `schemas` are its parameters by name; a list is sent as `name[]=`, a comparison as
    `name[gt]=`. `rows` is what an answer shows of a page or a row that is read so."""

    read: Callable[..., T]
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    rows: Rows | None = None


def schemas_of_list(filters: Mapping[str, Filter], limit: int, knows: Iterable[str] = PAGING) -> dict[str, Schema]:
    """The parameters of a list by name: its filters, and of the general ones those that it `knows`."""
    general = {name: GENERAL[name] | ({"default": limit} if name == "limit" else {}) for name in knows}
    return {name: filter_.schema for name, filter_ in filters.items()} | general


def read_nothing(query: Query, *_path: str) -> None:
    check_known(query, ())


NOTHING = Parameters(read_nothing)  # any parameter is refused


def page(
    resource: Resource,
    filters: Mapping[str, Filter],
    *,
    limit: int,
    fields: tuple[str, ...] | None = None,
    expand: Tree = (),
    where: str | Callable[[Query], str] = "true",
    order: str = "{t}.created_at desc, {t}.id desc",
    knows: Iterable[str] = PAGING,
) -> Parameters[Page]:
    """A list. `where` always holds, its `$1`... are the ids in the path; it may depend on what was sent."""
    known = tuple(knows)

    def read(query: Query, *path: str) -> Page:
        return page_query(
            resource,
            query,
            filters,
            limit=limit,
            fields=fields,
            expand=expand,
            where=where if isinstance(where, str) else where(query),
            args=path,
            order=order,
            knows=known,
        )

    narrowed = "fields" in known or (fields is not None and set(fields) < set(resource.columns))
    rows = Rows((resource,), expand, narrowed=narrowed)
    return Parameters(read, schemas_of_list(filters, limit, known), rows)


def one(resource: Resource, *, fields: tuple[str, ...] | None = None, expand: Tree = ()) -> Parameters[Selection]:
    """One row, with `expand` and `fields`."""

    def read(query: Query, *_path: str) -> Selection:
        return one_query(resource, query, fields=fields, expand=expand)

    return Parameters(
        read, {name: GENERAL[name] for name in ("expand", "fields")}, Rows((resource,), expand, narrowed=True)
    )
