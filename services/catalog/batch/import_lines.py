"""Lines of a product file as rows of `batch_import_lines`: what each cell means, checked as far as it can be alone.

A column that the file does not have says nothing, and what it is about stays as it is. An empty cell of a column that
it has empties what can be empty (reference: an export with a cell cleared, imported again).
"""

import asyncio
import csv
import io
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from ulid import ULID

from services.catalog.batch import columns as columns
from services.catalog.batch.columns import PriceColumn, minor, numbered, price_column
from services.catalog.batch.csv_files import Row
from services.catalog.batch.rows import BadFile
from services.catalog.products.bodies import ProductUpdate, VariantUpdate
from services.chassis.errors import InvalidData
from services.chassis.jsons import json_text

STAGED = (
    "job_id",
    "line",
    "handle",
    "product_id",
    "variant_id",
    "sku",
    "product",
    "variant",
    "sets",
    "options",
    "prices",
    "new_product_id",
    "new_variant_id",
    "problems",
)
WHOLE_NUMBERS = {*columns.SIZES, "inventory_quantity"}
FLAGS = {"discountable", "allow_backorder", "manage_inventory"}
NEVER_EMPTY = {"title", "handle", "status", "inventory_quantity", *FLAGS}
TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no"}
WHOLE = re.compile(r"-?\d{1,10}")
LONGEST_CODE, LONGEST_TITLE = 255, 500

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # of ULIDs, two of which are ten bits
PAIRS = [a + b for a in DIGITS for b in DIGITS]

Place = tuple[str, str | None]  # (currency, region id)
Prices = Mapping[str, Place]  # by column


class Ids:
    """New ULIDs that rise from one to the next: what a file has first is first wherever ids break ties."""

    def __init__(self) -> None:
        self._head, self._last = str(ULID())[:16], secrets.randbits(49)

    def new(self, prefix: str) -> str:
        n = self._last = self._last + 1
        low = PAIRS[n >> 20 & 1023] + PAIRS[n >> 10 & 1023] + PAIRS[n & 1023]
        return f"{prefix}_{self._head}{PAIRS[n >> 40]}{PAIRS[n >> 30 & 1023]}{low}"


def value_of(field: str, cell: str) -> Any:
    """A cell as the value of a column of products or variants. Raises ValueError."""
    if field in WHOLE_NUMBERS:
        if not WHOLE.fullmatch(cell.strip()):
            raise ValueError("must be a whole number")
        return int(cell)
    if field in FLAGS:
        word = cell.strip().lower()
        if word not in TRUE | FALSE:
            raise ValueError("must be TRUE or FALSE")
        return word in TRUE
    return cell


def price_columns(names: Iterable[str]) -> dict[str, PriceColumn]:
    """The columns of a file that have prices. Raises InvalidData for two of the same."""
    by_name = {name: column for name in names if (column := price_column(name))}
    if len(set(by_name.values())) < len(by_name):
        raise InvalidData("The file has two columns for the same price.")
    return by_name


def list_of(cell: str) -> list[str]:
    """`a,"b,c"` in one cell as its values, each once."""
    try:
        values = next(csv.reader(io.StringIO(cell, newline=""), strict=True), [])
    except csv.Error:
        values = cell.split(",")
    return list(dict.fromkeys(value for value in values if value.strip()))


class Reader:
    """Reads the lines of one file; `prices` says where the prices of its columns hold."""

    def __init__(self, job_id: str, names: list[str], prices: Prices) -> None:
        self._job_id, self._prices, self._ids = job_id, prices, Ids()
        has = frozenset(names)
        self._product = {n: f for n, f in (columns.PRODUCT | columns.PRODUCT_REST).items() if n in has and f != "id"}
        self._variant = {n: f for n, f in columns.VARIANT.items() if n in has and f != "id"}
        parts = numbered(names)
        titles, values = parts["option_name"], parts["option_value"]
        self._options = [(n, titles.get(n, ""), values.get(n, "")) for n in sorted({*titles, *values})]
        self._images, self._categories = list(parts["image"].values()), list(parts["category"].values())
        ids, names_ = parts["channel_id"], parts["channel_name"]
        self._channels = [(ids.get(n, ""), names_.get(n, "")) for n in sorted({*ids, *names_})]
        # What a complaint of a body about one of its properties is about, here.
        self._of_product = {f: n for n, f in self._product.items()} | {
            "type": columns.TYPE,
            "tags": columns.TAGS,
            "images": "Image Url",
        }
        self._of_variant = {f: n for n, f in self._variant.items()}

    async def records(self, rows: AsyncIterator[list[Row]]) -> AsyncIterator[tuple[Any, ...]]:
        """Rows of `batch_import_lines`. Raises BadFile for a line without a handle."""
        async for some in rows:
            for record in await asyncio.to_thread(self._all, some):
                yield record

    def _all(self, rows: list[Row]) -> list[tuple[Any, ...]]:
        return [self.record(line, cells) for line, cells in rows]

    def record(self, line: int, cells: dict[str, str]) -> tuple[Any, ...]:
        """One row, with all that is wrong with the line alone."""
        if not cells.get("Product Handle"):
            raise BadFile([f"Line {line}: Product Handle is missing."])
        problems: list[str] = []
        product = self._values(self._product, cells, problems)
        sets = self._sets(cells)
        check(ProductUpdate, bodied(product, sets), self._of_product, problems)
        variant = self._values(self._variant, cells, problems)
        check(VariantUpdate, variant, self._of_variant, problems)
        if len(product.get("external_id") or "") > LONGEST_CODE:
            problems.append(f"Product External Id: is longer than {LONGEST_CODE}")
        return (
            self._job_id,
            line,
            cells["Product Handle"],
            cells.get("Product Id") or None,
            cells.get("Variant Id") or None,
            variant.get("sku"),
            json_text(product),
            json_text(variant),
            json_text(sets),
            json_text(self._option_values(cells, problems)),
            json_text(prices_of(self._prices, cells, self._ids, problems)) if self._prices else None,
            self._ids.new("prod"),
            self._ids.new("variant"),
            problems,
        )

    def _values(self, of: Mapping[str, str], cells: dict[str, str], problems: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in of.items():
            if cell := cells.get(name):
                try:
                    values[field] = value_of(field, cell)
                except ValueError as error:
                    problems.append(f"{name}: {error}")
            elif field not in NEVER_EMPTY:
                values[field] = None
        return values

    def _sets(self, cells: dict[str, str]) -> dict[str, Any]:
        sets: dict[str, Any] = {}
        if type_ := cells.get(columns.TYPE):
            sets["type"] = {"id": self._ids.new("ptyp"), "value": type_}
        if handle := cells.get("Product Collection Handle"):
            sets["collection"] = handle
        if tags := list_of(cells.get(columns.TAGS, "")):
            sets["tags"] = [{"id": self._ids.new("ptag"), "value": tag} for tag in tags]
        if self._images:
            urls = dict.fromkeys(url for name in self._images if (url := cells.get(name)))
            sets["images"] = [{"id": self._ids.new("img"), "value": url} for url in urls]
        if self._categories:
            sets["categories"] = list(dict.fromkeys(c for name in self._categories if (c := cells.get(name))))
        if self._channels:
            pairs = [(cells.get(id_, ""), cells.get(name, "")) for id_, name in self._channels]
            sets["channels"] = [{"id": id_, "name": name} for id_, name in pairs if id_ or name]
        return sets

    def _option_values(self, cells: dict[str, str], problems: list[str]) -> list[dict[str, Any]]:
        by_title: dict[str, dict[str, Any]] = {}
        for number, name, value in self._options:
            title, chosen = cells.get(name, ""), cells.get(value) or None
            if not title:
                if chosen is not None:
                    problems.append(f"Option {number} Name: is missing")
            elif title in by_title:
                problems.append(f"Option {number} Name: is there twice")
            elif len(title) > LONGEST_TITLE or len(chosen or "") > LONGEST_CODE:
                problems.append(f"Option {number}: is too long")
            else:
                ids = {"id": self._ids.new("opt"), "value_id": self._ids.new("optval")}
                by_title[title] = ids | {"title": title, "value": chosen}
        return list(by_title.values())


def prices_of(prices: Prices, cells: dict[str, str], ids: Ids, problems: list[str]) -> list[dict[str, Any]]:
    """The prices of a line, for what its cells say."""
    amounts: list[dict[str, Any]] = []
    for name, (currency, region) in prices.items():
        if cell := cells.get(name, "").strip():
            try:
                amount = minor(cell, currency)
            except ValueError as error:
                problems.append(f"{name}: {error}")
            else:
                amounts.append({"id": ids.new("ma"), "currency_code": currency, "region_id": region, "amount": amount})
    return amounts


def bodied(product: dict[str, Any], sets: dict[str, Any]) -> dict[str, Any]:
    """The same as the body of a request would say it."""
    body = {name: value for name, value in product.items() if name != "external_id"}
    if type_ := sets.get("type"):
        body["type"] = {"value": type_["value"]}
    return body | {
        "tags": [{"value": tag["value"]} for tag in sets.get("tags", [])],
        "images": [image["value"] for image in sets.get("images", [])],
    }


def check(
    model: type[ProductUpdate | VariantUpdate], body: dict[str, Any], names: Mapping[str, str], problems: list[str]
) -> None:
    """Add to `problems` what would be refused if a request said this."""
    try:
        model.model_validate(body)
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_context=False, include_input=False):
            field = str(wrong["loc"][0])
            problems.append(f"{names.get(field, field)}: {wrong['msg'].removeprefix('Value error, ')}")
