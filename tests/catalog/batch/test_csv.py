"""Cells, amounts and columns of batch jobs' files."""

import asyncio
import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.batch.columns import PriceColumn, decimals, major, minor, price_column
from services.catalog.batch.csv_files import ROWS_AT_ONCE, Table, cell, guarded, new_sheet, unguarded
from services.catalog.batch.import_lines import Ids, list_of
from services.catalog.batch.product_export import tags_cell
from services.chassis.errors import InvalidData

DANGEROUS = "=+-@\t\r"


def read(data: bytes) -> list[dict[str, str]]:
    table = Table(io.BytesIO(data))
    table.begin()
    return [cells for _, cells in table.take()]


@given(st.text())
def test_every_text_survives(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(tuple(DANGEROUS))


@pytest.mark.parametrize("text", [*(f"{c}x" for c in DANGEROUS), "=", "'=x", "''@"])
def test_formulas_are_texts(text: str) -> None:
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["", "x", "'x", "x=1", " =1", "1", "'"])
def test_other_texts_stay(text: str) -> None:
    assert guarded(text) == text


def test_numbers_are_no_formulas() -> None:
    assert [cell(value) for value in (-5, 0, True, False, None, "-5")] == ["-5", "0", "true", "false", "", "'-5"]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1)))
def test_what_is_written_can_be_read(rows: list[list[str]]) -> None:
    width = max((len(row) for row in rows), default=1)
    names = [f"c{n}" for n in range(width)]

    async def written() -> list[dict[str, str]]:
        async with new_sheet() as sheet:
            await sheet.write([names, *([guarded(text) for text in row] for row in rows)])
            sheet._file.seek(0)
            return read(sheet._file.read())

    rows_read = asyncio.run(written())
    assert rows_read == [dict(zip(names, row, strict=False)) for row in rows if any(row)]


def test_the_only_column_may_have_commas() -> None:
    assert read(b"a\n,\nx,y\n") == [{"a": ","}, {"a": "x,y"}]


def test_the_line_is_where_a_row_begins() -> None:
    table = Table(io.BytesIO(b'a,b\r\n1,"x\r\ny"\r\n\r\n2,"z"\n3,\n'))
    table.begin()
    assert table.take() == [(2, {"a": "1", "b": "x\r\ny"}), (5, {"a": "2", "b": "z"}), (6, {"a": "3", "b": ""})]


def test_rows_come_in_portions() -> None:
    table = Table(io.BytesIO(b"a\n" + b"x\n" * (ROWS_AT_ONCE + 1)))
    table.begin()
    assert [len(table.take()) for _ in range(3)] == [ROWS_AT_ONCE, 1, 0]


@pytest.mark.parametrize(
    ("first", "names"),
    [
        ("a;b,c;d", ["a", "b,c", "d"]),
        ("a,b;c,d", ["a", "b;c", "d"]),
        ('"a;b;c;d",e,f', ["a;b;c;d", "e", "f"]),
        ("a", ["a"]),
        ("a,b;c", ["a,b", "c"]),
    ],
)
def test_the_separator(first: str, names: list[str]) -> None:
    table = Table(io.BytesIO(first.encode()))
    table.begin()
    assert table.columns == names


def test_a_huge_cell_is_refused() -> None:
    with pytest.raises(csv.Error):
        read(b"a\n" + b"x" * 1_000_001)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1050, "eur", "10.5"),
        (1000, "eur", "10"),
        (0, "eur", "0"),
        (7, "usd", "0.07"),
        (1500, "jpy", "1500"),
        (1500, "kwd", "1.5"),
        (2**53 - 1, "eur", "90071992547409.91"),
    ],
)
def test_amounts(amount: int, currency: str, text: str) -> None:
    assert major(amount, currency) == text
    assert minor(text, currency) == amount


@given(st.integers(0, 2**53 - 1), st.sampled_from(["eur", "jpy", "kwd"]))
def test_every_amount_survives(amount: int, currency: str) -> None:
    text = major(amount, currency)
    assert minor(text, currency) == amount
    assert Decimal(text).scaleb(decimals(currency)) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("10.555", 1056), ("10.554", 1055), ("0.005", 1), ("12.", None), ("1e3", None), ("", None)]
)
def test_amounts_with_many_decimals(text: str, amount: int | None) -> None:
    if amount is None:
        with pytest.raises(ValueError, match="must be an amount"):
            minor(text, "eur")
    else:
        assert minor(text, "eur") == amount


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Price EUR", PriceColumn("eur")),
        ("Price eur", PriceColumn("eur")),
        ("Price EU [EUR]", PriceColumn("eur", "EU")),
        ("Price A [B] [USD]", PriceColumn("usd", "A [B]")),
        ("Price EURO", None),
        ("Price ", None),
        ("price EUR", None),
    ],
)
def test_price_columns(name: str, column: PriceColumn | None) -> None:
    assert price_column(name) == column


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip), unique=True))
def test_lists_in_a_cell(values: list[str]) -> None:
    assert list_of(unguarded(tags_cell(values))) == values


@pytest.mark.parametrize(
    ("text", "values"), [("", []), ("a,b", ["a", "b"]), ("a, b,,a", ["a", " b"]), ('5" nails,x', ['5" nails', "x"])]
)
def test_lists_as_people_write_them(text: str, values: list[str]) -> None:
    assert list_of(text) == values


def test_ids_rise() -> None:
    ids = Ids()
    new_ids = [ids.new("x") for _ in range(1000)]
    assert new_ids == sorted(set(new_ids))
    assert len(new_ids[0]) == len("x_") + 26


def test_a_column_twice() -> None:
    with pytest.raises(InvalidData, match="more than one column a"):
        read(b"a,a\n")
