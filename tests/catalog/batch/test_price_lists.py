"""price-list-import: the prices of a list out of a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.batch_jobs import done, kept_in, names, reached, upload
from tests.support.client import Client
from tests.support.factories.products import make, shirt
from tests.support.factories.regions import make_region


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


@pytest.fixture
async def product(catalog: Client, uid: str) -> dict[str, Any]:
    return await make(catalog, shirt(uid))


@pytest.fixture
async def price_list(catalog: Client, product: dict[str, Any], uid: str) -> str:
    """The id of a list with one price."""
    price = {"variant_id": product["variants"][0]["id"], "currency_code": "usd", "amount": 1}
    body = {"name": f"Sale {uid}", "description": "May", "type": "sale", "prices": [price]}
    id_: str = (await catalog.ok("POST", "/admin/price-lists", body))["price_list"]["id"]
    return id_


async def prices(catalog: Client, list_id: str) -> list[tuple[str, str, int, str | None]]:
    """(variant, currency, amount, region) of each."""
    list_prices = (await catalog.ok("GET", f"/admin/price-lists/{list_id}"))["price_list"]["prices"]
    return [(p["variant_id"], p["currency_code"], p["amount"], p["region_id"]) for p in list_prices]


async def run(catalog: Client, list_id: str, file: str, *, dry_run: bool = False) -> dict[str, Any]:
    context = {"price_list_id": list_id, "fileKey": await upload(catalog, file)}
    return await done(catalog, "price-list-import", context, dry_run=dry_run)


async def test_prices_are_replaced(
    catalog: Client, folder: Path, product: dict[str, Any], price_list: str, uid: str
) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    small, large = (v["id"] for v in product["variants"])
    file = (
        f"Product Variant ID;SKU;Price EUR;Price EU {uid} [EUR];Price JPY\r\n"
        f"{small};;8.99;8.49;1200\r\n"
        f";L-{uid};13.5;;\r\n"
    )
    waiting = await run(catalog, price_list, file, dry_run=True)
    assert waiting["result"] == {
        "count": 2,
        "advancement_count": 0,
        "operations": {"PRICE_LIST_PRICE_CREATE": 2},
        "stat_descriptors": [
            {
                "key": "price-list-import-count",
                "name": "Price list to import",
                "message": "2 variants will be priced",
            }
        ],
    }
    assert await prices(catalog, price_list) == [(small, "usd", 1, None)]
    await catalog.ok("POST", f"/admin/batch-jobs/{waiting['id']}/confirm")
    job = await reached(catalog, waiting["id"], "completed", "failed")
    assert (job["status"], job["result"]) == ("completed", waiting["result"] | {"advancement_count": 2})
    assert await prices(catalog, price_list) == [
        (small, "eur", 899, None),
        (small, "eur", 849, place["id"]),
        (small, "jpy", 1200, None),
        (large, "eur", 1350, None),
    ]
    assert names(folder) == []


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("SKU,Colour\nS-{uid},1\n", "The file has columns that price lists do not have: Colour."),
        ("Price EUR\n5\n", "Line 2: a Product Variant ID or a SKU is needed."),
        ("SKU,Price EUR\nS-{uid},1\n,5\n", "Line 3: a Product Variant ID or a SKU is needed."),
        ("SKU,Price EUR\nS-{uid},1\nX-{uid},5\n", "Line 3: there is no variant with the SKU X-{uid}"),
        ("Product Variant ID,Price EUR\nvariant_x,5\n", "Line 2: there is no variant variant_x"),
        ("SKU,Price Nope [EUR]\nS-{uid},5\n", "Price Nope [EUR]: there is no region Nope."),
    ],
)
async def test_unreadable_files(
    catalog: Client, product: dict[str, Any], price_list: str, uid: str, file: str, error: str
) -> None:
    before = await prices(catalog, price_list)
    job = await run(catalog, price_list, file.replace("{uid}", uid))
    assert (job["status"], job["pre_processed_at"]) == ("failed", None)
    assert job["result"] == {"errors": [error.replace("{uid}", uid)]}
    assert await prices(catalog, price_list) == before


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("SKU,Price ZZZ\nS-{uid},5\n", "Line 2: Price ZZZ: there is no such currency"),
        ("SKU,Price EUR\nS-{uid},1\nL-{uid},x\n", "Line 3: Price EUR: must be an amount such as 10.50"),
    ],
)
async def test_refused_files(
    catalog: Client, product: dict[str, Any], price_list: str, uid: str, file: str, error: str
) -> None:
    before = await prices(catalog, price_list)
    job = await run(catalog, price_list, file.replace("{uid}", uid))
    assert (job["status"], job["pre_processed_at"] is None, job["result"]["errors"]) == ("failed", False, [error])
    assert await prices(catalog, price_list) == before


async def test_a_list_that_is_gone_by_then(catalog: Client, product: dict[str, Any], price_list: str, uid: str) -> None:
    waiting = await run(catalog, price_list, f"SKU,Price EUR\nS-{uid},1\n", dry_run=True)
    await catalog.ok("DELETE", f"/admin/price-lists/{price_list}")
    await catalog.ok("POST", f"/admin/batch-jobs/{waiting['id']}/confirm")
    job = await reached(catalog, waiting["id"], "completed", "failed")
    assert (job["status"], job["result"]["errors"]) == ("failed", [f"There is no price list {price_list}."])
