"""One SELECT that answers a read, as JSON text: a resource, its columns and its relations, declared once as data.

    ORDER = Resource("orders", cols("id status created_at@"), {
        "items": Many(LINE_ITEM, "{t}.order_id = {p}.id", order="{t}.created_at, {t}.id"),
        "customer": One(CUSTOMER, "{t}.id = {p}.customer_id"),
    })

`{t}` is the alias of the relation's own table, `{p}` that of its parent. The text of a statement is a pure function of
(resource, columns, relations, filters), so it is cached here and its plan is kept by the connection. Idea: PostgREST's
resource embedding (docs/adr/0002-one-statement-reads.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from services.chassis.db import Db
from services.chassis.errors import InvalidData
from services.chassis.params import Filter, Query, Values, check_known, conditions, integer, word

Tree = tuple[tuple[str, "Tree"], ...]  # relations by name, sorted: hashable, so that statements can be cached
LARGE_PAGE = 10_000
MAX_DEPTH = 12  # levels of relations; a bound, so that a hostile text cannot exhaust the stack
MAX_ROUNDS = 2  # how often one path may list rows of the same table: each time multiplies the rows of the answer
STAMP = """to_char({t}.%s, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def cols(names: str = "", **expressions: str) -> dict[str, str]:
    """Columns by name -> SQL over `{t}`. A trailing `@` marks a timestamptz; expressions are given by keyword."""
    plain = {n.rstrip("@"): STAMP % n[:-1] if n.endswith("@") else "{t}." + n for n in names.split()}
    return plain | expressions


@dataclass(frozen=True, eq=False, repr=False)
class Resource:
    """Rows of one table as the API shows them.

    With `document`, the table is `copies` and a row is shown as its `body` (see chassis/copies.py); its relations may
    then be `Nested`, too. `table` may be any FROM item. `always` are relations that a row never comes without; `omit`
    names keys that are left out of a row, each with the SQL condition over `{t}` for it. `shape` is SQL around `{row}`,
    the row as jsonb, for keys that some rows have together: "{row} || case when {t}.paid then ... else '{}' end".

    Relations in a circle, such as the way from a line back to its order, are put into `relations` once all of them are
    declared, before the first read.

    `called` is what the documentation goes by where `table` says nothing of the rows, as if it were a table.
    """

    table: str
    columns: Mapping[str, str] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    document: bool = False
    always: Tree = ()
    omit: Mapping[str, str] = field(default_factory=dict)
    shape: str = ""
    called: str = ""

    def __repr__(self) -> str:
        # Without its relations: those lead to all other resources, which a traceback that shows values would all print.
        return f"Resource({self.table})"


@dataclass(frozen=True, eq=False)
class Many:
    """A list of rows. `order` is needed: a list without one is not repeatable. `also` are relations shown with it."""

    to: Resource
    on: str
    order: str = "{t}.created_at, {t}.id"
    also: Mapping[str, One | Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class One:
    """A row, or null where there is none."""

    to: Resource
    on: str


@dataclass(frozen=True, eq=False)
class Value:
    """Any expression over the parent `{p}`. Where its type in Postgres does not tell what the JSON looks like, `shows`
    does, as a declared answer (schemas.py)."""

    sql: str
    shows: Any = None


@dataclass(frozen=True, eq=False)
class Nested:
    """A relation that a copy brought along: `related ->> name`. `also` are further keys shown with it."""

    also: tuple[str, ...] = ()


Relation = Many | One | Value | Nested


@dataclass(frozen=True)
class Selection:
    """Which columns and relations of a resource an answer has."""

    fields: tuple[str, ...]
    tree: Tree


def tree(paths: Iterable[str]) -> Tree:
    """{"items.variant", "region"} -> (("items", (("variant", ()),)), ("region", ()))."""
    nodes: dict[str, Any] = {}
    for path in paths:
        node = nodes
        for part in path.split("."):
            node = node.setdefault(part, {})

    def freeze(node: dict[str, Any]) -> Tree:
        return tuple((name, freeze(node[name])) for name in sorted(node))

    return freeze(nodes)


@lru_cache(maxsize=2000)
def merge(a: Tree, b: Tree) -> Tree:
    """The relations that either has, with what either has below them."""
    left, right = dict(a), dict(b)
    return tuple((name, merge(left.get(name, ()), right.get(name, ()))) for name in sorted({**left, **right}))


def check_tree(resource: Resource, relations: Tree, path: str = "", listed: tuple[str, ...] = ()) -> None:
    """Raises InvalidData for a relation that the resource does not have, or a path that goes round in circles.

    `listed` are the tables of the lists on the path so far.
    """
    for name, below in relations:
        relation = resource.relations.get(name)
        if relation is None or (below and not isinstance(relation, Many | One)):
            raise InvalidData(f"expand: there is no relation {path}{name}.")
        if isinstance(relation, Many | One):
            inside = (*listed, relation.to.table) if isinstance(relation, Many) else listed
            tree_or_copy = relation.to.table == resource.table or relation.to.document
            if not tree_or_copy and inside.count(relation.to.table) > MAX_ROUNDS:
                raise InvalidData(f"expand: {path}{name} goes round in circles.")
            check_tree(relation.to, below, f"{path}{name}.", inside)


def expanded(resource: Resource, query: Query, defaults: Tree) -> Tree:
    """The relations that `expand` asks for; the defaults without it, none when it is empty. Raises InvalidData."""
    if "expand" not in query:
        return defaults
    paths = [p.strip() for p in word("expand", query["expand"]).split(",") if p.strip()]
    if any(path.count(".") > MAX_DEPTH for path in paths):
        raise InvalidData("expand: is nested too deeply.")
    requested = tree(paths)
    check_tree(resource, requested)
    return requested


def without(relations: Tree, *path: str) -> Tree:
    """The relations without those below `path`, which are accepted and not shown."""
    name, *rest = path
    return tuple((n, (without(b, *rest) if rest else ()) if n == name else b) for n, b in relations)


def selected(
    resource: Resource, query: Query, defaults: tuple[str, ...], always: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The columns that `fields` asks for, `id` and `always` added; `+name` and `-name` change the defaults."""
    if "fields" not in query:
        return defaults
    names = [f.strip() for f in word("fields", query["fields"]).split(",") if f.strip()]
    plain = {f for f in names if f[0] not in "+-"}
    base = plain if plain or not names else set(defaults)
    chosen = (base | {f[1:] for f in names if f[0] == "+"}) - {f[1:] for f in names if f[0] == "-"}
    unknown = sorted((chosen | {f.lstrip("+-") for f in names}) - resource.columns.keys())
    if unknown:
        raise InvalidData(f"fields: there is no field {', '.join(unknown)}.")
    chosen.update(("id",), always)
    return tuple(name for name in resource.columns if name in chosen)


def selection(
    resource: Resource, query: Query, *, fields: tuple[str, ...] | None = None, expand: Tree = (), listed: bool = False
) -> Selection:
    """What `fields` and `expand` of one request choose, out of the resource's own defaults. Raises InvalidData."""
    names = tuple(resource.columns) if fields is None else fields
    always = ("created_at",) if listed and "created_at" in resource.columns else ()
    return Selection(selected(resource, query, names, always), expanded(resource, query, expand))


def one_query(
    resource: Resource, query: Query, *, fields: tuple[str, ...] | None = None, expand: Tree = ()
) -> Selection:
    """The selection of an operation that knows `fields` and `expand` and nothing else. Raises InvalidData."""
    check_known(query, ("fields", "expand"))
    return selection(resource, query, fields=fields, expand=expand)


# Statements


def row_sql(resource: Resource, fields: tuple[str, ...], relations: Tree, t: str, names: Iterator[str]) -> str:
    """SQL of one row of alias `t` as a list of select items."""
    items = [f'{resource.columns[name].format(t=t)} as "{name}"' for name in fields]
    for name, below in merge(relations, resource.always):
        items += [f'{sql} as "{key}"' for key, sql in relation_sql(resource.relations[name], name, below, t, names)]
    return ", ".join(items) or "null as nothing"


def relation_sql(relation: Relation, name: str, below: Tree, p: str, names: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(key, SQL of a JSON value) for a relation of the row with alias `p`."""
    if isinstance(relation, Value):
        yield name, f"({relation.sql.format(p=p)})"
    elif isinstance(relation, Nested):
        for key in (name, *relation.also):
            yield key, f"({p}.related -> '{key}')"
    elif relation.on == "false":  # declared for what it would be, but nothing is ever there
        yield name, "'[]'::json" if isinstance(relation, Many) else "null::json"
    else:
        t = next(names)
        source = f"from {relation.to.table} {t} where {relation.on.format(t=t, p=p)}"
        # A row that is shown as it is needs no subquery of its own, which halves what the executor has to set up.
        plain = not (relation.to.document or relation.to.shape or relation.to.omit)
        row = row_sql(relation.to, tuple(relation.to.columns), below, t, names) if plain else ""
        row = row or f"{object_sql(relation.to, below, t, names)} as o"
        json = "row_to_json(x)" if plain else "x.o"
        if isinstance(relation, One):
            yield name, f"(select {json} from (select {row} {source}) x)"
            return
        order = relation.order.format(t=t, p=p)
        yield name, f"(select coalesce(json_agg({json}), '[]'::json) from (select {row} {source} order by {order}) x)"
        for key, other in relation.also.items():
            yield from relation_sql(other, key, (), p, names)


def object_sql(
    resource: Resource, relations: Tree, t: str, names: Iterator[str], fields: tuple[str, ...] | None = None
) -> str:
    """SQL of one row of alias `t` as a JSON value, with all its columns or those of `fields`."""
    if not resource.document:
        row = row_sql(resource, tuple(resource.columns) if fields is None else fields, relations, t, names)
        if resource.shape:
            return "(" + resource.shape.format(t=t, row=f"(select to_jsonb(r) from (select {row}) r)") + ")"
        return f"(select {omitting(resource, relations, t)} from (select {row}) r)"
    pairs = [
        f"'{key}', {sql}"
        for name, below in merge(relations, resource.always)
        for key, sql in relation_sql(resource.relations[name], name, below, t, names)
    ]
    return f"{t}.body || jsonb_build_object({', '.join(pairs)})" if pairs else f"{t}.body"


def omitting(resource: Resource, relations: Tree, t: str) -> str:
    """SQL of the row `r` as JSON, without the keys that are to be left out."""
    shown = set(resource.columns)
    for name, _ in merge(relations, resource.always):
        relation = resource.relations[name]
        shown.update((name, *relation.also) if isinstance(relation, Many) else (name,))
    json = "row_to_json(r)"
    for name, condition in resource.omit.items():
        if name in shown:
            json = f"case when {condition.format(t=t)} then (to_jsonb({json}) - '{name}')::json else {json} end"
    return json


def aliases() -> Iterator[str]:
    """Makes t1, t2, ... for the tables of one statement."""
    return (f"t{n}" for n in itertools.count(1))


@lru_cache(maxsize=2000)
def one_sql(resource: Resource, chosen: Selection, where: str) -> str:
    """The statement of one row; its value is the JSON text, or no row."""
    row = object_sql(resource, chosen.tree, "t0", aliases(), chosen.fields)
    return f"select {row}::text from {resource.table} t0 where {where.format(t='t0')}"


@lru_cache(maxsize=2000)
def page_sql(
    resource: Resource, chosen: Selection, where: str, order: str, limit: str, offset: str, max_rows: int | None = None
) -> str:
    """The statement of a page: (JSON text of the rows, number of all matches).

    Generic plans take a limit that is a parameter for a tenth of the table; `max_rows` is the most that it can be.
    """
    row = object_sql(resource, chosen.tree, "t0", aliases(), chosen.fields)
    where, order = where.format(t="t0"), order.format(t="t0")
    rows = f"select * from {resource.table} t0 where {where} order by {order}"
    if max_rows is not None:
        rows = f"select * from ({rows} limit {max_rows}) t0 order by {order}"
    return (
        f"select (select coalesce(json_agg(r.o), '[]'::json)::text from (select {row} as o from "
        f"({rows} limit {limit} offset {offset}) t0 "
        f"order by {order}) r), (select count(*) from {resource.table} t0 where {where})"
    )


async def one_json(db: Db, resource: Resource, chosen: Selection, where: str, *args: object) -> str | None:
    """JSON text of the row that `where` finds ("{t}.id = $1"), or None. One statement."""
    text: str | None = await db.fetchval(one_sql(resource, chosen, where), *args)
    return text


@dataclass(frozen=True)
class Page:
    """A list request, checked: which rows, which part of them, in which order, with what."""

    resource: Resource
    chosen: Selection
    where: str
    order: str
    args: tuple[object, ...]
    limit: int
    offset: int


def page_query(
    resource: Resource,
    query: Query,
    filters: Mapping[str, Filter],
    *,
    limit: int,
    fields: tuple[str, ...] | None = None,
    expand: Tree = (),
    where: str = "true",
    args: tuple[object, ...] = (),
    order: str = "{t}.created_at desc, {t}.id desc",
    knows: Iterable[str] = ("limit", "offset", "order", "expand", "fields"),
) -> Page:
    """Check a list's query string before any connection is taken. Raises InvalidData.

    `where` and its `args` ($1...) always hold; `knows` are the general parameters that the list accepts.
    """
    check_known(query, (*knows, *filters))
    values = Values(list(args))
    condition = " and ".join([where, *conditions(query, filters, values)])
    return Page(
        resource,
        selection(resource, query, fields=fields, expand=expand, listed=True),
        condition,
        order_by(resource, query, order),
        tuple(values.args),
        integer(query, "limit", limit),
        integer(query, "offset", 0),
    )


def order_by(resource: Resource, query: Query, default: str) -> str:
    """`order=name` or `order=-name`, the id breaking ties. Raises InvalidData for an unknown column."""
    if "order" not in query:
        return default
    requested = word("order", query["order"])
    name = requested.removeprefix("-")
    if resource.columns.get(name) not in ("{t}." + name, STAMP % name):
        raise InvalidData(f"order: cannot sort by {name}.")
    direction = "desc" if requested.startswith("-") else "asc"
    return f"{{t}}.{name} {direction}, {{t}}.id {direction}"


def page_text(page: Page) -> str:
    """The statement of a page; its arguments are `page.args`, the limit and the offset."""
    limit, offset = f"${len(page.args) + 1}", f"${len(page.args) + 2}"
    # Rounded up to a power of two, so that there are few texts.
    max_rows = (
        1 << max(page.limit + page.offset - 1, 0).bit_length() if page.limit + page.offset <= LARGE_PAGE else None
    )
    return page_sql(page.resource, page.chosen, page.where, page.order, limit, offset, max_rows)


async def page_json(db: Db, key: str, page: Page) -> str:
    """`{"<key>": [...], "count": n, "offset": n, "limit": n}` as JSON text. One statement."""
    rows, count = await db.fetchrow(page_text(page), *page.args, page.limit, page.offset)
    return f'{{"{key}":{rows},"count":{count},"offset":{page.offset},"limit":{page.limit}}}'
