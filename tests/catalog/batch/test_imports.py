"""product-import: what becomes of the lines of a file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.catalog.batch import runner as batch_runner
from tests.support.batch_jobs import boot, create, done, exported, get, imported, kept_in, names, reached, table, upload
from tests.support.client import Client
from tests.support.factories.products import full, make, one, shirt, variant
from tests.support.factories.regions import make_region
from tests.support.stack import Stack, listening
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


async def product_of(catalog: Client, handle: str) -> dict[str, Any]:
    (product,) = (await catalog.ok("GET", "/admin/products", query={"handle": handle}))["products"]
    return dict(product)


def prices(of: dict[str, Any]) -> list[tuple[str, int, str | None, int | None]]:
    return sorted((p["currency_code"], p["amount"], p["region_id"] or "", p["min_quantity"] or 0) for p in of["prices"])


def unstamped(value: Any) -> Any:
    """Without when things were changed."""
    if isinstance(value, dict):
        return {name: unstamped(part) for name, part in value.items() if name != "updated_at"}
    return [unstamped(part) for part in value] if isinstance(value, list) else value


async def test_a_new_product(catalog: Client, stack: Stack, folder: Path, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    collection = await catalog.ok("POST", "/admin/collections", {"title": f"Col {uid}", "handle": f"col-{uid}"})
    await catalog.ok("POST", "/admin/product-categories", {"name": f"Cat {uid}", "handle": f"cat-{uid}"})
    channels = [await catalog.ok("POST", "/admin/sales-channels", {"name": f"Ch {n} {uid}"}) for n in range(2)]
    file = table(
        boot(
            uid,
            **{
                "Product Subtitle": "Sub",
                "Product Description": "Long; with, all\nof it",
                "Product Status": "published",
                "Product Thumbnail": "https://x.example/t.png",
                "Product Weight": "350",
                "Product HS Code": "HS1",
                "Product Collection Title": "ignored",
                "Product Collection Handle": f"col-{uid}",
                "Product Type": f"Ty {uid}",
                "Product Tags": f'b{uid},"a,{uid}"',
                "Product Discountable": "FALSE",
                "Product External Id": f"ext-{uid}",
                "Variant Barcode": f"bar-{uid}",
                "Variant Inventory Quantity": "10",
                "Variant Allow Backorder": "TRUE",
                "Variant Manage Inventory": "true",
                "Variant Width": "3",
                "Price EUR": "10.50",
                "Price JPY": "1200",
                f"Price EU {uid} [EUR]": "9.999",
                "Image 1 Url": "https://x.example/1.png",
                "Image 2 Url": "https://x.example/2.png",
                "Sales Channel 1 Id": channels[0]["sales_channel"]["id"],
                "Sales Channel 2 Name": f"Ch 1 {uid}",
                "Sales Channel 3 Name": f"nobody's {uid}",
                "Product Category 1 Handle": f"cat-{uid}",
                "Product Category 1 Name": "ignored",
            },
        ),
        boot(uid, "43", **{"Product Title": "ignored", "Price EUR": "", "Price JPY": "1"}),
    )
    job = await imported(catalog, file)
    assert job["status"] == "completed", job
    assert job["result"] == {
        "count": 3,
        "advancement_count": 3,
        "operations": {"PRODUCT_CREATE": 1, "PRODUCT_UPDATE": 0, "VARIANT_CREATE": 2, "VARIANT_UPDATE": 0},
        "stat_descriptors": [
            {
                "key": "product-import-count",
                "name": "Products and variants to import",
                "message": "1 products will be created and 0 updated, 2 variants created and 0 updated",
            }
        ],
    }
    product = await one(catalog, (await product_of(catalog, f"boot-{uid}"))["id"])
    assert {
        name: product[name]
        for name in [
            "title",
            "subtitle",
            "description",
            "status",
            "thumbnail",
            "weight",
            "length",
            "hs_code",
            "material",
            "discountable",
            "external_id",
            "is_giftcard",
            "collection_id",
            "metadata",
        ]
    } == {
        "title": f"Boot {uid}",
        "subtitle": "Sub",
        "description": "Long; with, all\nof it",
        "status": "published",
        "thumbnail": "https://x.example/t.png",
        "weight": 350,
        "length": None,
        "hs_code": "HS1",
        "material": None,
        "discountable": False,
        "external_id": f"ext-{uid}",
        "is_giftcard": False,
        "collection_id": collection["collection"]["id"],
        "metadata": None,
    }
    assert product["profile"]["type"] == "default"
    assert product["type"]["value"] == f"Ty {uid}"
    assert [tag["value"] for tag in product["tags"]] == [f"b{uid}", f"a,{uid}"]
    assert [image["url"] for image in product["images"]] == ["https://x.example/1.png", "https://x.example/2.png"]
    assert {channel["name"] for channel in product["sales_channels"]} == {f"Ch 0 {uid}", f"Ch 1 {uid}"}
    assert [category["handle"] for category in product["categories"]] == [f"cat-{uid}"]
    assert [(o["title"], [v["value"] for v in o["values"]]) for o in product["options"]] == [("Size", ["42", "43"])]
    first, second = product["variants"]
    assert {
        name: first[name]
        for name in [
            "title",
            "sku",
            "barcode",
            "variant_rank",
            "allow_backorder",
            "manage_inventory",
            "width",
            "weight",
            "purchasable",
        ]
    } == {
        "title": "Boot 42",
        "sku": f"boot-42-{uid}",
        "barcode": f"bar-{uid}",
        "variant_rank": 0,
        "allow_backorder": True,
        "manage_inventory": True,
        "width": 3,
        "weight": None,
        "purchasable": True,
    }
    assert (second["title"], second["sku"], second["variant_rank"]) == ("Boot 43", f"boot-43-{uid}", 1)
    assert (second["allow_backorder"], second["manage_inventory"]) == (False, True)
    assert prices(first) == [("eur", 1000, place["id"], 0), ("eur", 1050, "", 0), ("jpy", 1200, "", 0)]
    assert prices(second) == [("jpy", 1, "", 0)]
    stored = "select inventory_quantity from product_variants where id = $1"
    assert await stack.pool("catalog").fetchval(stored, first["id"]) == 10
    # What was read is not kept: neither the lines, nor the file.
    assert not await stack.pool("catalog").fetchval(
        "select count(*) from batch_import_lines where job_id = $1", job["id"]
    )
    assert names(folder) == []


async def test_variants_from_imports_have_no_inventory_item(catalog: Client, stack: Stack, uid: str) -> None:
    await imported(catalog, table(boot(uid, **{"Variant Manage Inventory": "TRUE"})))
    (variant,) = (await product_of(catalog, f"boot-{uid}"))["variants"]
    assert "inventory_quantity" not in variant
    known = "select count(*) from variant_availability where variant_id = $1"
    assert await stack.pool("catalog").fetchval(known, variant["id"]) == 0


async def test_little_is_needed(catalog: Client, uid: str) -> None:
    file = f"Product Handle,Product Title,Variant Title\nbare-{uid},Bare,One\n"
    assert (await imported(catalog, file))["status"] == "completed"
    product = await product_of(catalog, f"bare-{uid}")
    assert (product["status"], product["discountable"], product["sales_channels"]) == ("draft", True, [])
    assert [(v["title"], v["sku"], v["prices"]) for v in product["variants"]] == [("One", None, [])]


@pytest.mark.parametrize(
    "file",
    [
        'Product Handle;Product Title;Variant Title\r\n{h};"A; b""c""";One\r\n',
        'Product Handle,Product Title,Variant Title\n{h},"A; b""c""",One',
        '\ufeffProduct Handle,Product Title,Variant Title\r\n\r\n{h},"A; b""c""",One,,\r\n,,\r\n',
        '"Product Handle","Product Title","Variant Title"\n"{h}","A; b""c""","One"\n',
        'Product Title,Variant Title , Product Handle\n"A; b""c""",One,{h}\n',
    ],
)
async def test_files_of_all_kinds(catalog: Client, uid: str, file: str) -> None:
    job = await imported(catalog, file.replace("{h}", f"kind-{uid}"))
    assert job["status"] == "completed", job
    assert (await product_of(catalog, f"kind-{uid}"))["title"] == 'A; b"c"'


@pytest.mark.parametrize("file", ["", "Product Handle,Product Title\n", "\n\n"])
async def test_a_file_without_lines(catalog: Client, file: str) -> None:
    job = await imported(catalog, file)
    assert (job["status"], job["result"]["count"]) == ("completed", 0)


async def test_a_dry_run_changes_nothing(catalog: Client, folder: Path, uid: str) -> None:
    key = await upload(catalog, table(boot(uid)))
    job = await done(catalog, "product-import", {"fileKey": key}, dry_run=True)
    assert (job["status"], job["result"]["count"], job["result"]["advancement_count"]) == ("pre_processed", 2, 0)
    assert (await catalog.ok("GET", "/admin/products", query={"handle": f"boot-{uid}"}))["count"] == 0
    # What was read is what will be applied, whatever becomes of the file.
    (folder / key).unlink()
    await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
    job = await reached(catalog, job["id"], "completed", "failed")
    assert (job["status"], job["result"]["advancement_count"]) == ("completed", 2)
    assert (await product_of(catalog, f"boot-{uid}"))["title"] == f"Boot {uid}"


async def test_a_dry_run_says_what_is_wrong_now(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    job = await imported(catalog, table(boot(uid, **{"Variant SKU": f"S-{uid}"})), dry_run=True)
    error = f"Line 2: Variant SKU: S-{uid} is taken by another variant"
    assert (job["status"], job["result"]["errors"]) == ("pre_processed", [error])
    await catalog.ok("DELETE", f"/admin/products/{product['id']}")
    await catalog.ok("POST", f"/admin/batch-jobs/{job['id']}/confirm")
    job = await reached(catalog, job["id"], "completed", "failed")
    assert (job["status"], "errors" in job["result"]) == ("completed", False)


async def test_canceled_before_it_is_confirmed(catalog: Client, stack: Stack, uid: str) -> None:
    job_id = await create(catalog, "product-import", {"fileKey": await upload(catalog, table(boot(uid)))}, dry_run=True)
    await reached(catalog, job_id, "pre_processed")
    await catalog.ok("POST", f"/admin/batch-jobs/{job_id}/cancel")
    lines = "select count(*) from batch_import_lines where job_id = $1"
    assert await stack.pool("catalog").fetchval(lines, job_id) == 0
    assert (await catalog.ok("GET", "/admin/products", query={"handle": f"boot-{uid}"}))["count"] == 0


async def test_a_dry_run_is_confirmed_in_time_or_not_at_all(
    catalog: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch, uid: str
) -> None:
    monkeypatch.setattr(batch_runner, "EXPIRE_SECONDS", 0)  # whenever the worker looks for something to do
    product = await make(catalog, shirt(uid))
    taken = {"Variant SKU": f"S-{uid}"}
    fresh, late = [await imported(catalog, table(boot(uid, size, **taken)), dry_run=True) for size in ("41", "42")]
    age = "update batch_jobs set pre_processed_at = now() - make_interval(hours => $2) where id = $1"
    await stack.pool("catalog").execute(age, fresh["id"], 7 * 24 - 1)
    async with listening(stack, "batch.failed") as events:
        await stack.pool("catalog").execute(age, late["id"], 7 * 24 + 1)
        await done(catalog, "order-export", {"filterable_fields": {"email": f"{uid}@example.com"}})
        job = await reached(catalog, late["id"], "failed")
        await until(lambda: asyncio.sleep(0, [e["data"] for e in events if e["data"] == {"id": late["id"]}]))
    errors = [*late["result"]["errors"], "The dry run was not confirmed within 7 days."]
    assert job["result"] == late["result"] | {"errors": errors}
    status, answer = await catalog.post(f"/admin/batch-jobs/{late['id']}/confirm")
    assert (status, answer["type"]) == (400, "not_allowed")
    lines = "select count(*) from batch_import_lines where job_id = $1"
    assert await stack.pool("catalog").fetchval(lines, late["id"]) == 0
    # The other one can still be.
    assert (await get(catalog, fresh["id"]))["status"] == "pre_processed"
    assert await stack.pool("catalog").fetchval(lines, fresh["id"]) == 1
    await catalog.ok("DELETE", f"/admin/products/{product['id']}")
    await catalog.ok("POST", f"/admin/batch-jobs/{fresh['id']}/confirm")
    assert (await reached(catalog, fresh["id"], "completed", "failed"))["status"] == "completed"


# Updates


async def test_columns_that_are_not_there_change_nothing(catalog: Client, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    product = await full(catalog, uid, place["id"])
    before = await one(catalog, product["id"])
    line = {
        "Product Id": product["id"],
        "Product Handle": product["handle"],
        "Product Title": "Renamed",
        "Variant Id": product["variants"][1]["id"],
        "Variant Title": "Other",
    }
    assert (await imported(catalog, table(line)))["status"] == "completed"
    after = await one(catalog, product["id"])
    before["title"], before["variants"][1]["title"] = "Renamed", "Other"
    assert unstamped(after) == unstamped(before)


async def test_empty_cells_empty_what_can_be_empty(catalog: Client, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    product = await full(catalog, uid, place["id"])
    before = await one(catalog, product["id"])
    cleared = [
        "Product Title",
        "Product Subtitle",
        "Product Weight",
        "Product Status",
        "Product Discountable",
        "Product Tags",
        "Product Type",
        "Product Collection Handle",
        "Variant Title",
        "Variant SKU",
        "Variant Weight",
        "Variant Inventory Quantity",
        "Variant Manage Inventory",
        "Price EUR",
        "Image 1 Url",
        "Sales Channel 1 Id",
        "Product Category 1 Handle",
        "Option 1 Name",
        "Option 1 Value",
    ]
    line = {
        "Product Id": product["id"],
        "Product Handle": product["handle"],
        "Variant Id": product["variants"][0]["id"],
        **dict.fromkeys(cleared, ""),
    }
    assert (await imported(catalog, table(line)))["status"] == "completed"
    after = await one(catalog, product["id"])
    # Prices for quantities, of which a file says nothing, stay.
    tiered = [p for p in before["variants"][0]["prices"] if p["min_quantity"]]
    before |= {"subtitle": None, "weight": None, "images": [], "sales_channels": [], "categories": []}
    before["variants"][0] |= {"sku": None, "weight": None, "prices": tiered}
    assert unstamped(after) == unstamped(before)


async def test_prices_are_those_of_the_file(catalog: Client, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    product = await full(catalog, uid, place["id"])
    line = {
        "Product Id": product["id"],
        "Product Handle": product["handle"],
        "Variant Id": product["variants"][0]["id"],
        "Price EUR": "11",
        "Price DKK": "0.1",
        f"Price EU {uid} [EUR]": "",
    }
    kept = {p["id"]: p["currency_code"] for p in product["variants"][0]["prices"]}
    assert (await imported(catalog, table(line)))["status"] == "completed"
    after, other = (await one(catalog, product["id"]))["variants"]
    assert prices(after) == [("dkk", 10, "", 0), ("eur", 1, "", 10), ("eur", 1100, "", 0)]
    assert {p["currency_code"] for p in after["prices"] if p["id"] in kept} == {"eur"}
    assert prices(other) == [("eur", 7, "", 0)]


async def test_a_new_variant_of_a_product(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    line = {
        "Product Id": product["id"],
        "Product Handle": product["handle"],
        "Variant Title": "Medium",
        "Variant SKU": f"M-{uid}",
        "Price EUR": "12",
        "Option 1 Name": "Size",
        "Option 1 Value": "M",
    }
    job = await imported(catalog, table(line, line | {"Variant Title": "X", "Variant SKU": "", "Option 1 Value": "X"}))
    assert job["status"] == "completed", job
    assert job["result"]["operations"] == {
        "PRODUCT_CREATE": 0,
        "PRODUCT_UPDATE": 1,
        "VARIANT_CREATE": 2,
        "VARIANT_UPDATE": 0,
    }
    after = await one(catalog, product["id"])
    assert [(v["title"], v["sku"], v["variant_rank"], v["options"][0]["value"]) for v in after["variants"]] == [
        ("Small", f"S-{uid}", 0, "S"),
        ("Large", f"L-{uid}", 1, "L"),
        ("Medium", f"M-{uid}", 2, "M"),
        ("X", None, 3, "X"),
    ]


async def test_options_go_by_their_names(catalog: Client, uid: str) -> None:
    options = [{"title": "Size"}, {"title": "Color"}]
    product = await make(catalog, shirt(uid, options=options, variants=[variant("One", "S", "Red")]))
    line = {
        "Product Id": product["id"],
        "Product Handle": product["handle"],
        "Variant Id": product["variants"][0]["id"],
        "Option 1 Name": "Color",
        "Option 1 Value": "Blue",
    }
    assert (await imported(catalog, table(line)))["status"] == "completed"
    after = await one(catalog, product["id"])
    assert {o["title"]: [v["value"] for v in o["values"]] for o in after["options"]} == {
        "Size": ["S"],
        "Color": ["Blue"],
    }


async def test_the_handle_can_be_changed(catalog: Client, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    line = {"Product Id": product["id"], "Product Handle": f"new-{uid}", "Variant Id": product["variants"][0]["id"]}
    assert (await imported(catalog, table(line)))["status"] == "completed"
    assert (await one(catalog, product["id"]))["handle"] == f"new-{uid}"


# There and back


async def test_what_was_exported_is_imported_without_a_change(catalog: Client, folder: Path, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    one_, bare = await full(catalog, uid, place["id"]), await make(catalog, shirt(uid, images=[], tags=[]))
    odd = await make(
        catalog,
        shirt(
            f"odd{uid}",
            title="'=1+1",
            subtitle="'quoted",
            description=' lead, trail \r\n"x"; ',
            material="\t@x",
            tags=[{"value": f' "{uid}", b'}, {"value": f"=c{uid}"}],
            variants=[variant("+1", "-S", price=0), variant("Same", "-S", price=5)],
        ),
    )
    ids = [one_["id"], bare["id"], odd["id"]]
    before = [await one(catalog, id_) for id_ in ids]
    file = await exported(catalog, folder, *ids)
    job = await imported(catalog, file)
    assert job["status"] == "completed", job
    assert job["result"]["operations"] == {
        "PRODUCT_CREATE": 0,
        "PRODUCT_UPDATE": 3,
        "VARIANT_CREATE": 0,
        "VARIANT_UPDATE": 6,
    }
    assert [unstamped(await one(catalog, id_)) for id_ in ids] == [unstamped(product) for product in before]
    assert await exported(catalog, folder, *ids) == file


async def test_a_file_of_another_shop(catalog: Client, folder: Path, uid: str) -> None:
    """Without ids, what was exported is made anew."""
    product = await make(catalog, shirt(uid))
    file = await exported(catalog, folder, product["id"])
    await catalog.ok("DELETE", f"/admin/products/{product['id']}")
    again = file
    for id_ in (product["id"], *(v["id"] for v in product["variants"])):
        again = again.replace(id_, "")
    assert (await imported(catalog, again))["status"] == "completed"
    copy = await product_of(catalog, product["handle"])
    assert copy["id"] != product["id"]
    assert [(v["title"], v["sku"], prices(v)) for v in copy["variants"]] == [
        (v["title"], v["sku"], prices(v)) for v in product["variants"]
    ]


# What others hear


async def test_events(catalog: Client, stack: Stack, uid: str) -> None:
    """One for each product, with its documents; other services show what was imported."""
    product = await make(catalog, shirt(uid))
    line = {"Product Id": product["id"], "Product Handle": product["handle"], "Product Title": "Renamed"}
    changed = line | {"Variant Id": product["variants"][0]["id"]}
    new = line | {"Variant Title": "M", "Option 1 Name": "Size", "Option 1 Value": "M"}
    pool = stack.pool("catalog")
    async with pool.acquire() as db:
        await db.execute(
            "create function note_event() returns trigger language plpgsql as "
            "$$ begin insert into noted values (new.name, new.aggregate, new.sequence, new.data); return new; end $$;"
            "create table noted (name text, aggregate text, sequence bigint, data json);"
            "create trigger note before insert on outbox for each row execute function note_event()"
        )
        try:
            job = await imported(catalog, table(changed, new, boot(uid)))
            assert job["status"] == "completed", job
            boot_product = await product_of(catalog, f"boot-{uid}")
            noted = await db.fetch("select * from noted where aggregate = any($1)", [product["id"], boot_product["id"]])
        finally:
            await db.execute("drop trigger note on outbox; drop function note_event; drop table noted")
    after = await one(catalog, product["id"])
    added = after["variants"][2]["id"]
    assert [(row["name"], row["aggregate"], row["sequence"]) for row in noted] == [
        ("product.created", boot_product["id"], 1),
        ("product.updated", product["id"], 2),
        ("product-variant.created", product["id"], 3),
    ]
    data = [orjson.loads(row["data"]) for row in noted]
    assert [(d["id"], d.get("product_id"), d["variants"]) for d in data] == [
        (boot_product["id"], None, []),
        (product["id"], None, []),
        (added, product["id"], []),
    ]
    assert [[doc["id"] for doc in d["copies"]["product"]] for d in data] == [
        [boot_product["id"]],
        [product["id"]],
        [product["id"]],
    ]
    assert [sorted(doc["id"] for doc in d["copies"]["variant"]) for d in data] == [
        [boot_product["variants"][0]["id"]],
        sorted([product["variants"][0]["id"], added]),
        [added],
    ]
    assert data[1]["copies"]["product"][0]["body"]["title"] == "Renamed"
    assert await get(catalog, job["id"]) == job
