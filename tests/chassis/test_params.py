"""Query strings: every form that a client may send, and what is refused."""

from datetime import UTC, datetime

import pytest

from services.chassis.errors import InvalidData
from services.chassis.params import (
    Values,
    boolean,
    choices,
    conditions,
    dates,
    flag,
    integer,
    numbers,
    parse_query,
    search,
    text,
    texts,
)


def test_forms() -> None:
    pairs = [("a[]", "1"), ("a[]", "2"), ("b[0]", "x"), ("b[1]", "y"), ("c[gt]", "3"), ("c[lt]", "9"), ("d", " e ")]
    assert parse_query(pairs) == {"a": ["1", "2"], "b": ["x", "y"], "c": {"gt": "3", "lt": "9"}, "d": " e "}


@pytest.mark.parametrize(
    "pairs",
    [
        [("q", "a"), ("q", "b")],
        [("q", "a"), ("q[]", "b")],
        [("q[gt]", "a"), ("q[]", "b")],
        [("q[gt]", "a"), ("q[gt]", "b")],
        [("a[b][c]", "x")],
        [("[]", "x")],
        [("a[", "x")],
        [("a", "nul\0")],
    ],
)
def test_mixtures_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidData):
        parse_query(pairs)


def test_filters_build_sql_and_arguments_in_order() -> None:
    filters = {
        "email": text("{t}.email"),
        "id": texts("{t}.id"),
        "status": choices("{t}.status", ("open", "done")),
        "created_at": dates("{t}.created_at"),
        "weight": numbers("{t}.weight"),
        "active": flag("{t}.active"),
        "q": search("lower({t}.name) like {q}"),
    }
    query = parse_query(
        [("q", "50%_Off"), ("active", "true"), ("weight", "2.5"), ("created_at[lt]", "2026-11-22"),
         ("created_at[gte]", "2026-11-01T10:00:00Z"), ("status[]", "open"), ("id", "x"), ("email", "e")]
    )  # fmt: skip
    values = Values()
    assert conditions(query, filters, values) == [
        "{t}.email = $1",
        "{t}.id = any($2::text[])",
        "{t}.status = any($3::text[])",
        "{t}.created_at >= $4::timestamptz and {t}.created_at < $5::timestamptz",
        "{t}.weight = $6::double precision",
        "{t}.active = $7::boolean",
        "(lower({t}.name) like $8)",
    ]
    assert values.args == [
        "e",
        ["x"],
        ["open"],
        datetime(2026, 11, 1, 10, tzinfo=UTC),
        datetime(2026, 11, 22, tzinfo=UTC),
        2.5,
        True,
        "%50\\%\\_off%",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("email", ["a"]),
        ("id", {"gt": "a"}),
        ("status", "open"),
        ("status", ["gone"]),
        ("created_at", "2026-11-22"),
        ("created_at", {"near": "2026-11-22"}),
        ("created_at", {"gt": "soon"}),
        ("created_at", {"gt": "2026-13-01"}),
        ("weight", "heavy"),
        ("weight", {"gt": "nan"}),
        ("active", "yes"),
        ("q", ["a"]),
    ],
)
def test_filters_refuse(name: str, value: object) -> None:
    filters = {
        "email": text("e"),
        "id": texts("i"),
        "status": choices("s", ("open", "done")),
        "created_at": dates("c"),
        "weight": numbers("w"),
        "active": flag("a"),
        "q": search("n like {q}"),
    }
    with pytest.raises(InvalidData, match=name):
        conditions({name: value}, filters, Values())


def test_whole_numbers_and_booleans() -> None:
    assert integer({}, "limit", 50) == 50
    assert integer({"limit": "0"}, "limit", 50) == 0
    assert boolean({"x": "false"}, "x", True) is False
    for bad in ("-1", "1.5", "ten", "", "9" * 19):
        with pytest.raises(InvalidData):
            integer({"limit": bad}, "limit", 50)
