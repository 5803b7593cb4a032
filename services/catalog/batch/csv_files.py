"""CSV files of batch jobs: read and written a block at a time, whatever their size.

A file lies on this machine's disk while it is worked on: what comes from the store is there before a transaction
begins, and what goes into it when the last one is over. Reading and writing happen in a thread.

A spreadsheet takes a text that begins with = + - or @ for a formula, and runs it. Such texts, which customers can bring
in, leave with an apostrophe in front, and one that comes back so loses it again: all texts survive the round trip.
"""

import asyncio
import csv
import io
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from services.catalog.files.storage import is_key, no_file, storage
from services.chassis.errors import InvalidData

T = TypeVar("T")

SEPARATOR = ";"
BLOCK = 256 * 1024
ROWS_AT_ONCE = 500
LONGEST_CELL = 1_000_000
FORMULA = re.compile(r"'*[=+\-@\t\r]")
GUARDED = re.compile(r"'+[=+\-@\t\r]")
QUOTED = re.compile(r'"[^"]*"')

Row = tuple[int, dict[str, str]]  # the line of the file at which it begins, and its cells by column


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    return "'" + text if FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` made the cell of."""
    return cell[1:] if GUARDED.match(cell) else cell


def flag(value: bool) -> str:
    return "true" if value else "false"


def cell(value: object) -> str:
    """Any JSON value that has no parts as a cell."""
    match value:
        case None:
            return ""
        case bool():
            return flag(value)
        case str():
            return guarded(value)
    return str(value)


class Sheet:
    """A CSV file being written to a temporary one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text, delimiter=SEPARATOR, lineterminator="\r\n")

    async def write(self, rows: Iterable[Sequence[str]]) -> None:
        await asyncio.to_thread(self._rows.writerows, rows)

    async def store(self, key: str) -> int:
        """Put the whole file into the store; returns its size in bytes."""
        self._text.flush()
        self._file.seek(0)
        return await storage().store(key, blocks_of(self._file))


@asynccontextmanager
async def new_sheet() -> AsyncIterator[Sheet]:
    """A file to write rows to; it is gone when the block ends."""
    with tempfile.TemporaryFile() as file:
        yield Sheet(file)


async def blocks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """The content from where the file stands."""
    while block := await asyncio.to_thread(file.read, BLOCK):
        yield block


class Table:
    """An open CSV file with named columns. The separator is `,` if its first line has more of them than of `;`."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self.columns: list[str] = []
        self._rows: Iterator[Row] = iter(())

    def begin(self) -> None:
        """Read the line of the columns. Raises InvalidData."""
        first = QUOTED.sub("", self._text.readline())
        self._text.seek(0)
        separator = "," if first.count(",") > first.count(SEPARATOR) else SEPARATOR
        reader = csv.reader(self._text, delimiter=separator, strict=True)
        csv.field_size_limit(LONGEST_CELL)
        self.columns = [name.strip() for name in next(reader, [])]
        if any("\0" in name for name in self.columns):
            raise InvalidData("The file is not text.")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise InvalidData(f"The file has more than one column {', '.join(twice)}.")
        self._rows = self._read(reader)

    def _read(self, reader: Any) -> Iterator[Row]:
        begins = reader.line_num + 1
        for cells in reader:
            if any(cells[len(self.columns) :]):
                raise InvalidData(f"Line {begins} has more cells than there are columns.")
            if any(cells):
                if any("\0" in cell for cell in cells):
                    raise InvalidData(f"Line {begins} has a NUL character.")
                yield begins, dict(zip(self.columns, map(unguarded, cells), strict=False))
            begins = reader.line_num + 1

    def take(self) -> list[Row]:
        """The next rows; none at the end."""
        return list(islice(self._rows, ROWS_AT_ONCE))

    async def rows(self) -> AsyncIterator[list[Row]]:
        """All rows, some at a time. Raises InvalidData."""
        while some := await readable(self.take):
            yield some


async def readable(read: Callable[[], T]) -> T:
    """What is read, in a thread. Raises InvalidData for what is no CSV."""
    try:
        return await asyncio.to_thread(read)
    except UnicodeDecodeError:
        raise InvalidData("The file is not text in UTF-8.") from None
    except csv.Error as error:
        raise InvalidData(f"The file is not CSV: {error}.") from None


@asynccontextmanager
async def open_table(key: object) -> AsyncIterator[Table]:
    """The uploaded file with this key. Raises NotFound or InvalidData."""
    if not isinstance(key, str) or not key:
        raise InvalidData("context.fileKey: must be the key of an uploaded file.")
    if not is_key(key):
        raise no_file(key)
    with tempfile.TemporaryFile() as file:
        async with storage().open(key) as stored:
            async for chunk in stored.chunks:
                await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        table = Table(file)
        await readable(table.begin)
        yield table
