"""product-import: files that are refused, line by line, and change nothing."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.batch_jobs import (
    boot,
    content,
    done,
    imported,
    kept_in,
    refused,
    table,
    unreadable,
    unused_key,
    upload,
)
from tests.support.client import Client
from tests.support.factories.products import make, shirt
from tests.support.factories.regions import another_region, make_region
from tests.support.stack import Stack

TABLES = [
    "products",
    "product_variants",
    "product_options",
    "product_option_values",
    "prices",
    "product_types",
    "product_tags",
    "images",
    "product_tag_links",
    "product_images",
    "product_sales_channels",
    "product_category_links",
    "outbox",
    "batch_import_lines",
]
STATE = " union all ".join(
    f"select '{t}', count(*), coalesce(sum(hashtext(x::text)::bigint), 0) from {t} x" for t in TABLES if t != "outbox"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


@pytest.fixture
async def product(catalog: Client, uid: str) -> dict[str, Any]:
    return await make(catalog, shirt(uid))


@pytest.fixture(autouse=True)
async def unchanged(catalog: Client, stack: Stack, product: dict[str, Any]) -> AsyncIterator[None]:
    """No refusal changes anything."""
    before = [tuple(row) for row in await stack.pool("catalog").fetch(STATE)]
    yield
    assert [tuple(row) for row in await stack.pool("catalog").fetch(STATE)] == before


def line_of(product: dict[str, Any], n: int | None, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """A line about a product, and about one of its variants."""
    line = {"Product Id": product["id"], "Product Handle": product["handle"]}
    if n is not None:
        line["Variant Id"] = product["variants"][n]["id"]
    return line | (more or {})


# The form of the file


async def test_a_column_that_there_is_not(catalog: Client, uid: str) -> None:
    assert await unreadable(catalog, table(boot(uid, **{"Shoe Size": "42", "": "x"}))) == [
        "The file has columns that products do not have: Shoe Size, (without a name)."
    ]


async def test_a_column_that_is_missing(catalog: Client) -> None:
    file = "Product Title,Variant Title\nBoot,42\n"
    assert await unreadable(catalog, file) == ["The file has no column Product Handle."]


async def test_a_column_twice(catalog: Client) -> None:
    file = "Product Handle,Product Title,Product Title\nx,y,z\n"
    assert await unreadable(catalog, file) == ["The file has more than one column Product Title."]
    file = "Product Handle,Price EUR,Price eur\nx,1,2\n"
    assert await unreadable(catalog, file) == ["The file has two columns for the same price."]


async def test_a_line_without_a_handle(catalog: Client, uid: str) -> None:
    file = table(boot(uid), boot(uid, "43", **{"Product Description": "two\nlines"}), {"Product Title": "Boot"})
    assert await unreadable(catalog, file) == ["Line 5: Product Handle is missing."]


async def test_a_line_with_too_many_cells(catalog: Client, uid: str) -> None:
    file = f"Product Handle,Product Title\nboot-{uid},Boot\nboot-{uid},Boot,more\n"
    assert await unreadable(catalog, file) == ["Line 3 has more cells than there are columns."]


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"Product Handle,Product Title\nx,\xff\xfe\n", "The file is not text in UTF-8."),
        (b'Product Handle,Product Title\nx,"never closed\n', "The file is not CSV: unexpected end of data."),
        (b'Product Handle,Product Title\nx,"a"b\n', "The file is not CSV: ',' expected after '\"'."),
        (b"Product Handle,Product Title\nx,a\0b\n", "Line 2 has a NUL character."),
        (b"PK\x03\x04\x14\0\x06\0", "The file is not text."),
    ],
)
async def test_what_is_no_csv(catalog: Client, file: bytes, error: str) -> None:
    (message,) = await unreadable(catalog, file)
    assert message.startswith(error)


async def test_regions(catalog: Client, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    await another_region(catalog, name=f"EU {uid}", countries=["fr"])

    async def error(column: str) -> str:
        (message,) = await unreadable(catalog, table(boot(uid, **{column: "1"})))
        return message

    assert await error("Price Atlantis [EUR]") == "Price Atlantis [EUR]: there is no region Atlantis."
    assert await error(f"Price EU {uid} [EUR]") == f"Price EU {uid} [EUR]: there are several regions EU {uid}."
    assert await error(f"Price {place['id']} [USD]") == f"Price {place['id']} [USD]: the region has the currency EUR."


@pytest.mark.parametrize("key", [None, 5, "", "x", "../../etc/passwd"])
async def test_a_key_that_is_none(catalog: Client, key: Any) -> None:
    job = await done(catalog, "product-import", {} if key is None else {"fileKey": key})
    assert (job["status"], job["pre_processed_at"], len(job["result"]["errors"])) == ("failed", None, 1)


async def test_a_file_that_is_not_there(catalog: Client) -> None:
    key = unused_key()
    job = await done(catalog, "product-import", {"fileKey": key})
    assert (job["status"], job["result"]) == ("failed", {"errors": [f"There is no file {key}."]})


# What it asks for


async def test_cells_that_make_no_sense(catalog: Client, uid: str) -> None:
    bad = {
        "Product Status": "sold",
        "Product Weight": "-1",
        "Product Discountable": "maybe",
        "Product External Id": "x" * 256,
        "Variant Inventory Quantity": "many",
        "Variant Width": "1.5",
        "Variant Height": "9999999999",
        "Price EUR": "10,50",
        "Price USD": "-1",
        "Price JPY": "9" * 16,
        "Option 2 Value": "x",
        "Image 1 Url": "x" * 2001,
    }
    errors = await refused(catalog, table(boot(uid), boot(uid, "43", **bad)))
    assert [error.removeprefix("Line 3: ") for error in errors] == [
        "Image Url: an address has at most 2000 bytes",
        "Option 2 Name: is missing",
        "Price EUR: must be an amount such as 10.50",
        "Price JPY: is too large",
        "Price USD: must be an amount such as 10.50",
        "Product Discountable: must be TRUE or FALSE",
        "Product External Id: is longer than 255",
        "Product Status: Input should be 'draft', 'proposed', 'published' or 'rejected'",
        "Product Weight: Input should be greater than or equal to 0",
        "Variant Height: Input should be less than or equal to 2147483647",
        "Variant Inventory Quantity: must be a whole number",
        "Variant Width: must be a whole number",
    ]


async def test_titles_are_needed(catalog: Client, uid: str) -> None:
    file = table(boot(uid, **{"Product Title": "", "Variant Title": ""}))
    assert await refused(catalog, file) == [
        "Line 2: Product Title: is missing",
        "Line 2: Variant Title: is missing",
    ]


async def test_products_and_variants_that_are_not_there(catalog: Client, product: dict[str, Any], uid: str) -> None:
    other = f"variant_{uid}"
    file = table(
        boot(uid, **{"Product Id": f"prod_{uid}"}),
        line_of(product, None, {"Variant Id": other}),
        boot(f"new{uid}", **{"Variant Id": product["variants"][0]["id"]}),
    )
    assert await refused(catalog, file) == [
        f"Line 2: Product Id: there is no product prod_{uid}",
        f"Line 3: Variant Id: the product has no variant {other}",
        f"Line 4: Variant Id: the product has no variant {product['variants'][0]['id']}",
    ]


async def test_lines_that_contradict_each_other(catalog: Client, product: dict[str, Any], uid: str) -> None:
    file = table(
        line_of(product, 0),
        line_of(product, 0),
        line_of(product, 1) | {"Product Handle": f"other-{uid}"},
    )
    assert await refused(catalog, file) == [
        f"Line 3: Variant Id: {product['variants'][0]['id']} is also that of line 2",
        f"Line 4: Product Id: {product['id']} is that of line 2, with another handle",
    ]


async def test_what_is_referred_to(catalog: Client, uid: str) -> None:
    missing = {
        "Product Collection Handle": f"col-{uid}",
        "Product Category 1 Handle": f"cat-{uid}",
        "Price ZZZ": "10",
    }
    assert await refused(catalog, table(boot(uid, **missing))) == [
        "Line 2: Price ZZZ: there is no such currency",
        f"Line 2: Product Category Handle: there is no category cat-{uid}",
        f"Line 2: Product Collection Handle: there is no collection col-{uid}",
    ]


async def test_what_is_taken(catalog: Client, product: dict[str, Any], uid: str) -> None:
    file = table(
        boot(uid),
        boot(f"b{uid}", **{"Variant SKU": f"boot-42-{uid}", "Variant Barcode": "1"}),
        boot(f"c{uid}", **{"Variant SKU": f"S-{uid}", "Variant Barcode": "1"}),
        boot(f"d{uid}", **{"Product Handle": product["handle"]}),
    )
    assert await refused(catalog, file) == [
        f"Line 3: Variant SKU: boot-42-{uid} is also that of line 2",
        "Line 4: Variant Barcode: 1 is also that of line 3",
        f"Line 4: Variant SKU: S-{uid} is taken by another variant",
        f"Line 5: Product Handle: {product['handle']} is taken by another product",
    ]


async def test_options(catalog: Client, product: dict[str, Any], uid: str) -> None:
    new = line_of(product, None, {"Variant Title": "New", "Option 1 Name": "Size"})
    file = table(
        line_of(product, 0, {"Option 1 Name": "Shoe", "Option 1 Value": "x"}),
        new | {"Option 1 Value": ""},
        new | {"Option 1 Value": "L"},
        new | {"Option 1 Value": "M"},
        new | {"Option 1 Value": "M"},
        boot(uid),
        boot(uid, "43", **{"Option 2 Name": "Color", "Option 2 Value": "Red"}),
        boot(f"same{uid}", **{"Variant SKU": ""}),
        boot(f"same{uid}", **{"Variant SKU": ""}),
        boot(f"twice{uid}", **{"Option 2 Name": "Size", "Option 2 Value": "1"}),
    )
    same, needs = "Option Value: another variant of the product has the same values", "Option Value: the variant needs"
    assert await refused(catalog, file) == [
        "Line 2: Option Name: the product has no option Shoe",
        f"Line 3: {needs} one for each of 1 options",
        f"Line 4: {same}",
        f"Line 5: {same}",
        f"Line 6: {same}",
        f"Line 7: {needs} one for each of 2 options",
        f"Line 9: {same}",
        f"Line 10: {same}",
        "Line 11: Option 2 Name: is there twice",
    ]


async def test_one_bad_line_of_many(catalog: Client, uid: str) -> None:
    lines = [boot(f"{uid}-{n}", **{"Price EUR": "x" if n == 700 else "1"}) for n in range(1200)]
    assert await refused(catalog, table(*lines)) == ["Line 702: Price EUR: must be an amount such as 10.50"]


async def test_many_bad_lines(catalog: Client, uid: str) -> None:
    errors = await refused(catalog, table(*(boot(f"{uid}-{n}", **{"Price EUR": "x"}) for n in range(60))))
    assert [errors[0], len(errors), errors[-1]] == [
        "Line 2: Price EUR: must be an amount such as 10.50",
        51,
        "There are 10 more errors.",
    ]


async def test_a_failed_import_keeps_its_file(catalog: Client, folder: Path, uid: str) -> None:
    file = table(boot(uid, **{"Price EUR": "x"}))
    key = await upload(catalog, file)
    job = await done(catalog, "product-import", {"fileKey": key})
    assert (job["status"], content(folder, key)) == ("failed", file)


async def test_what_a_constraint_refuses(
    catalog: Client, monkeypatch: pytest.MonkeyPatch, product: dict[str, Any], uid: str
) -> None:
    """Another request may take a sku after the file was checked: then all is rolled back, too."""

    async def nothing_wrong(*_: Any) -> None:
        return None

    monkeypatch.setattr("services.catalog.batch.product_import.check", nothing_wrong)
    job = await imported(catalog, table(boot(f"first{uid}"), boot(uid, **{"Variant SKU": f"S-{uid}"})))
    assert job["status"] == "failed"
    (message,) = job["result"]["errors"]
    assert message.startswith("The sku is taken by another one")
