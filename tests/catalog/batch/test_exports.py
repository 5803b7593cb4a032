"""product-export: exactly what is in the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.batch_jobs import content, done, exported, kept_in, rows
from tests.support.client import Client
from tests.support.factories.products import full, make, shirt, variant
from tests.support.factories.regions import another_region, make_region


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


async def test_the_file(catalog: Client, folder: Path, uid: str) -> None:
    place = await make_region(catalog, name=f"EU {uid}")
    product = await full(catalog, uid, place["id"])
    first, second = (v["id"] for v in product["variants"])
    (channel,) = product["sales_channels"]
    about = (
        f'{product["id"]};full-{uid};Full {uid};\'=HYPERLINK(1);"Line ""one""; two\nthree";published;'
        f'https://x.example/t.png;1;2;3;4;HS;pt;MID;Wool;Col {uid};col-{uid};Ty {uid};"b{uid},""a,{uid}""";false;;'
        "Default Shipping Profile;default"
    )
    rest = f'https://x.example/1.png;https://x.example/2.png;{channel["id"]};Ch {uid};"a; b";cat-{uid};Cat {uid};'
    assert (await exported(catalog, folder, product["id"])).split("\r\n") == [
        "Product Id;Product Handle;Product Title;Product Subtitle;Product Description;Product Status;Product Thumbnail;"
        "Product Weight;Product Length;Product Width;Product Height;Product HS Code;Product Origin Country;"
        "Product MID Code;Product Material;Product Collection Title;Product Collection Handle;Product Type;"
        "Product Tags;Product Discountable;Product External Id;Product Profile Name;Product Profile Type;Variant Id;"
        "Variant Title;Variant SKU;Variant Barcode;Variant Inventory Quantity;Variant Allow Backorder;"
        "Variant Manage Inventory;Variant Weight;Variant Length;Variant Width;Variant Height;Variant HS Code;"
        "Variant Origin Country;Variant MID Code;Variant Material;"
        f"Price EUR;Price JPY;Price USD;Price EU {uid} [EUR];"
        "Option 1 Name;Option 1 Value;Option 2 Name;Option 2 Value;Image 1 Url;Image 2 Url;"
        "Sales Channel 1 Id;Sales Channel 1 Name;Sales Channel 1 Description;"
        "Product Category 1 Handle;Product Category 1 Name;Product Category 1 Description",
        f"{about};{first};'-S;s-{uid};bar-{uid};-7;true;false;5;6;7;8;VH;es;VM;Clay;10.5;1500;10;9.99;"
        f"Size;S;Color;Blue;{rest}",
        f"{about};{second};L;;;0;false;false;;;;;;;;;0.07;;;;Size;L;Color;Red;{rest}",
        "",
    ]


async def test_the_result(catalog: Client, folder: Path, uid: str) -> None:
    product = await make(catalog, shirt(uid))
    job = await done(catalog, "product-export", {"filterable_fields": {"title": product["title"]}})
    key = job["result"]["file_key"]
    assert job["result"] == {
        "file_key": key,
        "file_size": len(content(folder, key).encode()),
        "count": 1,
        "advancement_count": 1,
        "progress": 1,
        "stat_descriptors": [
            {
                "key": "product-export-count",
                "name": "Number of products to export",
                "message": "1 products will be exported",
            }
        ],
    }
    assert job["context"]["shape"] == {
        "prices": [{"currency_code": "eur", "region": None}],
        "dynamicOptionColumnCount": 1,
        "dynamicImageColumnCount": 0,
        "dynamicSalesChannelsColumnCount": 1,
        "dynamicProductCategoriesColumnCount": 0,
    }
    url = (await catalog.ok("POST", "/admin/uploads/download-url", {"file_key": key}))["download_url"]
    path = url.removeprefix("http://localhost:9000")
    async with catalog.session.get(catalog.base + path, headers=catalog.headers()) as answer:
        assert (answer.status, await answer.text()) == (200, content(folder, key))


async def test_nothing_to_export(catalog: Client, folder: Path, uid: str) -> None:
    job = await done(catalog, "product-export", {"filterable_fields": {"title": uid}})
    assert job["result"].keys() == {"file_key", "file_size", "stat_descriptors"}
    assert rows(content(folder, job["result"]["file_key"])) == []


async def test_which_products(catalog: Client, folder: Path, uid: str) -> None:
    shirts = [
        await make(catalog, shirt(f"{uid}{n}", title=f"Shirt {uid} {n}", status="draft" if n == 2 else "published"))
        for n in range(3)
    ]
    ids = [product["id"] for product in shirts]

    async def handles(**context: Any) -> list[str]:
        fields = {"id": ids} | context.pop("filterable_fields", {})
        job = await done(catalog, "product-export", {"filterable_fields": fields, **context})
        assert job["status"] == "completed", job
        lines = rows(content(folder, job["result"]["file_key"]))
        assert job["result"].get("count", 0) == len(lines) // 2
        return [line["Product Handle"].removeprefix(f"shirt-{uid}") for line in lines[::2]]

    assert await handles() == ["2", "1", "0"]
    assert await handles(order="title") == ["0", "1", "2"]
    assert await handles(order="-title", offset=1) == ["1", "0"]
    assert await handles(batch_size=2) == ["2", "1"]
    assert await handles(limit=1) == ["2", "1", "0"]  # the size of a page, no more
    assert await handles(filterable_fields={"id": ids[0]}) == ["0"]
    assert await handles(filterable_fields={"status": ["draft"]}) == ["2"]
    assert await handles(filterable_fields={"status": "draft", "is_giftcard": False}) == ["2"]
    assert await handles(filterable_fields={"q": f"{uid} 1", "created_at": {"gt": "2020-01-01"}}) == ["1"]


async def test_which_columns(catalog: Client, folder: Path, uid: str) -> None:
    product = await make(catalog, shirt(uid, description="Long", images=["https://x.example/1.png"]))
    context = {"filterable_fields": {"id": product["id"]}, "fields": "title", "expand": "variants,options"}
    job = await done(catalog, "product-export", context)
    line, _ = rows(content(folder, job["result"]["file_key"]))
    assert {name: cell for name, cell in line.items() if cell} == {
        "Product Id": product["id"],
        "Product Title": product["title"],
        "Variant Id": product["variants"][0]["id"],
        "Variant Title": "Small",
        "Variant SKU": f"S-{uid}",
        "Variant Inventory Quantity": "0",
        "Variant Allow Backorder": "false",
        "Variant Manage Inventory": "false",
        "Option 1 Name": "Size",
    }
    assert not any(name.startswith(("Image", "Price", "Sales Channel")) for name in line)


async def test_regions_of_one_name_are_told_apart(catalog: Client, folder: Path, uid: str) -> None:
    one = await make_region(catalog, name=f"EU {uid}")
    other = await another_region(catalog, name=f"EU {uid}", countries=["fr"])
    prices = [{"region_id": one["id"], "amount": 100}, {"region_id": other["id"], "amount": 200}]
    product = await make(catalog, shirt(uid, variants=[{**variant("S", "S"), "prices": prices}]))
    (line,) = rows(await exported(catalog, folder, product["id"]))
    assert {name: cell for name, cell in line.items() if name.startswith("Price")} == {
        f"Price {one['id']} [EUR]": "1",
        f"Price {other['id']} [EUR]": "2",
    }
