# ruff: noqa: S608 - the SQL is made of declared names, with values as parameters
"""Lists of orders, fast however many there are (docs/adr/0008-lists-at-size.md). One statement each, its count exact.

Filters by what orders are counted under (`TALLIED`) are counted in `order_counts`, which also tells on which days the
orders of a deep page were made: only those are looked at. Free text is looked up in `contacts`, which a
customer's orders share, by a trigram index. Everything else follows the index of its column. A page is found as ids;
only its own rows are read.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from services.chassis.db import Db
from services.chassis.embed import LARGE_PAGE, Resource, Selection, aliases, object_sql, order_by
from services.chassis.errors import InvalidData
from services.chassis.params import (
    NUMBER,
    TEXT,
    WHOLE_NUMBER,
    Bind,
    Filter,
    Query,
    Values,
    check_known,
    choices,
    dates,
    described,
    integer,
    moment,
    number,
    text,
    texts,
    word,
)
from services.chassis.queries import PAGING, Parameters, schemas_of_list
from services.chassis.search import contains
from services.orders import status
from services.orders.reads import ORDER, ORDER_ROWS, order_view

LIMIT = 50
NEWEST_FIRST, OLDEST_FIRST = "{t}.created_at desc, {t}.id desc", "{t}.created_at asc, {t}.id asc"
# So many rows are sorted rather than hoped for along the index of the order of the list.
FEW = 20_000


def display_id(name: str, value: Any, bind: Bind) -> str:
    """The number that people see. Raises InvalidData when it is none."""
    if not re.fullmatch(r"\d{1,18}", word(name, value)):
        raise InvalidData(f"{name}: must be a whole number.")
    return f"{{t}}.display_id = {bind(int(value))}::bigint"


TALLIED: dict[str, Filter] = {
    "region_id": texts("{t}.region_id"),
    "currency_code": text("{t}.currency_code"),
    "status": choices("{t}.status", status.ORDER_STATUSES),
    "fulfillment_status": choices("{t}.fulfillment_status", status.FULFILLMENT_STATUSES),
    "payment_status": choices("{t}.payment_status", status.PAYMENT_STATUSES),
    "sales_channel_id": texts("{t}.sales_channel_id", array_only=True),
}
FILTERS: dict[str, Filter] = {
    "id": text("{t}.id"),
    "display_id": described(Filter(display_id, WHOLE_NUMBER), "The number that people see."),
    "cart_id": text("{t}.cart_id"),
    "customer_id": text("{t}.customer_id"),
    "email": text("{t}.email"),
    "tax_rate": Filter(lambda name, value, bind: f"{{t}}.tax_rate = {bind(number(name, value))}::float8", NUMBER),
    **TALLIED,
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "canceled_at": dates("{t}.canceled_at"),
}


@dataclass(frozen=True)
class OrdersPage:
    """A checked list request: its statement, which answers (JSON text of the rows, number of all matches)."""

    sql: str
    args: tuple[object, ...]
    limit: int
    offset: int


@dataclass(frozen=True)
class Lookup:
    """How the orders of a list are looked up: SQL of the `ids` of the page and of the `count`, which may both name the
    `ctes`."""

    ids: str
    count: str
    ctes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListRequest:
    """The query string of a list, taken apart. The parts are SQL over `{t}`, placeholders included."""

    where: str
    tallied: str
    dates: Mapping[str, str]
    order: str
    limit: str
    offset: str
    max_rows: int | None  # no more than this many rows up to the end of the page

    def page(self, source: str, where: str, order: str) -> str:
        """SQL of the ids of the page out of the rows of `source`, which calls them t0, where `where` holds."""
        part = f"order by {order} limit {self.limit} offset {self.offset}"
        if self.max_rows is None:
            return f"select t0.id from {source} where {where} {part}"
        # Generic plans take a limit that is a parameter for a tenth of the table.
        keys = ", ".join(sorted({key.split()[0] for key in order.split(", ")} | {"t0.id"}))
        few = f"select {keys} from {source} where {where} order by {order} limit {self.max_rows}"
        return f"select t0.id from ({few}) t0 {part}"


def orders_page(query: Query, *_path: str) -> OrdersPage:
    """Check a list's query string before any connection is taken. Raises InvalidData."""
    view = order_view(query, totals=False)
    check_known(query, ("q", *PAGING, *FILTERS))
    values = Values()
    limit, offset = integer(query, "limit", LIMIT), integer(query, "offset", 0)
    conditions = {name: build(name, query[name], values.bind) for name, build in FILTERS.items() if name in query}
    request = ListRequest(
        where=" and ".join(conditions.values()) or "true",
        tallied=" and ".join(sql for name, sql in conditions.items() if name in TALLIED) or "true",
        dates={"created_at": conditions["created_at"]} if "created_at" in conditions else {},
        order=order_by(ORDER, query, NEWEST_FIRST),
        limit=f"{values.bind(limit)}::bigint",
        offset=f"{values.bind(offset)}::bigint",
        # Rounded up to a power of two, so that there are few texts.
        max_rows=1 << max(limit + offset - 1, 0).bit_length() if limit + offset <= LARGE_PAGE else None,
    )
    if query.get("q", "") != "":
        lookup = by_text(request, word("q", query["q"]), values.bind)
    elif conditions.keys() <= TALLIED.keys() | {"created_at"}:
        lookup = by_count(request, *edges(query.get("created_at")), values.bind)
    else:
        lookup = by_index(request)
    return OrdersPage(page_sql(view.order, view.chosen, lookup, request.order), tuple(values.args), limit, offset)


@lru_cache(maxsize=2000)
def page_sql(resource: Resource, chosen: Selection, lookup: Lookup, order: str) -> str:
    """The statement: the rows of the page, and the count."""
    row = object_sql(resource, chosen.tree, "t0", aliases(), chosen.fields)
    # `offset 0` keeps the planner from reading all orders to join them with a page of unknown size.
    rows = (
        f"select coalesce(json_agg(r.o), '[]'::json)::text from (select {row} as o "
        f"from ({lookup.ids}) page, lateral (select * from orders o where o.id = page.id offset 0) t0 "
        f"order by {order.format(t='t0')}) r"
    )
    ctes = f"with {', '.join(lookup.ctes)} " if lookup.ctes else ""
    return f"{ctes}select ({rows}), ({lookup.count})"


ORDERS = Parameters(
    orders_page,
    {
        "q": TEXT | {"description": "A part of a number, an email, or a name of the customer or the recipient."},
        **schemas_of_list(FILTERS, LIMIT),
    },
    ORDER_ROWS,
)


async def orders_json(db: Db, page: OrdersPage) -> str:
    """`{"orders": [...], "count": n, "offset": n, "limit": n}` as JSON text."""
    rows, count = await db.fetchrow(page.sql, *page.args)
    return f'{{"orders":{rows},"count":{count},"offset":{page.offset},"limit":{page.limit}}}'


# By the index of a column


def by_index(request: ListRequest) -> Lookup:
    """The planner chooses the way: columns that few orders share, and times, have an index."""
    where, order = request.where.format(t="t0"), request.order.format(t="t0")
    return Lookup(
        request.page("orders t0", where, order),
        f"select count(*) from orders t0 where {where}",
    )


# By counts


def edges(created_at: Any) -> tuple[datetime | None, datetime | None]:
    """The latest lower and the earliest upper bound of the filter `created_at`, which has been checked."""
    bounds = created_at or {}
    low = [moment("created_at", bounds[name]) for name in ("gt", "gte") if name in bounds]
    high = [moment("created_at", bounds[name]) for name in ("lt", "lte") if name in bounds]
    return max(low, default=None), min(high, default=None)


def by_count(request: ListRequest, low: datetime | None, high: datetime | None, bind: Bind) -> Lookup:
    """The orders are counted without being looked at, but for those of the days on which the period begins and ends;
    of a page in the order of time, only those of its days are looked at."""
    ctes = [f"counted as ({counted(request, low, high, bind)})"]
    total = "select coalesce(sum(n), 0)::bigint from counted"
    order = request.order.format(t="t0")
    in_time = request.order in (NEWEST_FIRST, OLDEST_FIRST)
    if in_time and (request.tallied != "true" or request.max_rows is None):
        ctes += days(request)
        # The conditions once more: a kind is a digest, which two could share.
        conditions = " and ".join(sql.format(t="o") for sql in (request.tallied, *request.dates.values()))
        ids = f"""
        select o.id from (select distinct kind, day from counted where day in (select day from days)) k, lateral (
            select o.id, o.created_at from orders o where o.kind = k.kind
                and o.created_at >= k.day::timestamp at time zone 'UTC'
                and o.created_at < (k.day + 1)::timestamp at time zone 'UTC' and {conditions}
            order by {request.order.format(t="o")} limit (select rest + {request.limit} from skipped)
        ) o
        order by {request.order.format(t="o")} limit {request.limit} offset (select rest from skipped)
        """
        return Lookup(ids, total, tuple(ctes))
    where = request.where.format(t="t0")
    along = request.page("orders t0", where, order)
    if in_time or request.tallied == "true":
        return Lookup(along, total, tuple(ctes))
    # Few of them are sorted; many are soon met along the index of the order.
    kinds = f"t0.kind = any(array(select distinct kind from counted)) and {where}"
    ids = (
        f"select id from ({along}) a where ({total}) > {FEW} union all "
        f"select id from ({request.page('orders t0', kinds, order)}) b where ({total}) <= {FEW}"
    )
    return Lookup(ids, total, tuple(ctes))


def counted(request: ListRequest, low: datetime | None, high: datetime | None, bind: Bind) -> str:
    """SQL of (kind, day, n): how many orders that match were made on each day."""
    whole, parts = [request.tallied.format(t="c")], []
    where = request.where.format(t="t0")
    edge = "select t0.kind, {day} as day, count(*) as n from orders t0 where {where} and {part} group by 1"
    if low is not None:
        day = f"{bind(low.date())}::date"
        whole.append(f"c.day > {day}")
        parts.append(edge.format(day=day, where=where, part=f"t0.created_at < {bind(midnight(low, 1))}::timestamptz"))
    if high is not None:
        day = f"{bind(high.date())}::date"
        whole.append(f"c.day < {day}")
        if low is None or low.date() != high.date():
            part = f"t0.created_at >= {bind(midnight(high, 0))}::timestamptz"
            parts.append(edge.format(day=day, where=where, part=part))
    rows = f"select c.kind, c.day, c.orders as n from order_counts c where {' and '.join(whole)}"
    return " union all ".join([rows, *parts])


def midnight(at: datetime, days_on: int) -> datetime:
    """The beginning of its day (UTC), or of a later one."""
    day: date = at.date()
    try:
        day += timedelta(days=days_on)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def days(request: ListRequest) -> Iterable[str]:
    """The CTEs `days`, those of the orders of the page, and `skipped`, how many orders of the first of them come
    before the page, with the CTE that they are made of."""
    direction = "desc" if request.order == NEWEST_FIRST else "asc"
    running = f"""
    running as (
        select day, sum(n) over (order by day {direction}) as upto, n
        from (select day, sum(n) as n from counted group by day having sum(n) > 0) d
    )"""
    of_page = f"upto > {request.offset} and upto - n < {request.offset} + {request.limit}"
    days_sql = f"days as (select * from running where {of_page})"
    skipped_sql = f"skipped as (select coalesce({request.offset} - min(upto - n), 0)::bigint as rest from days)"
    return running, days_sql, skipped_sql


# By free text


def by_text(request: ListRequest, text: str, bind: Bind) -> Lookup:
    """The text is looked for in the email, the recipient's first name, and the customer's names and phone, all of which
    `contacts` holds; or it is exactly the number. Only orders that are sent somewhere match, and only those have a
    contact."""
    keys = sorted({key.split()[0].removeprefix("{t}.") for key in request.order.split(", ")} | {"id"})
    each = f"select {', '.join(f'o.{key}' for key in keys)} from orders o where {request.where.format(t='o')}"
    ways = [
        f"select o.* from contacts k, lateral ({each} and o.contact_id = k.id offset 0) o "
        f"where {contains(bind, text, 'k.text')}"
    ]
    if re.fullmatch(r"[1-9]\d{0,9}", text):
        ways.append(f"{each} and o.contact_id is not null and o.display_id = {bind(int(text))}::bigint")
    matched = f"matched as materialized ({' union '.join(ways)})"
    order = request.order.format(t="t0")
    return Lookup(request.page("matched t0", "true", order), "select count(*) from matched", (matched,))
