"""order-export: rows of the orders service in a file of the catalog's."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from services.catalog.batch import order_export as batch_order_export
from services.chassis.commands import call
from services.chassis.errors import ApiError, InvalidData
from services.chassis.keys import BUS
from tests.support.batch_jobs import content, done, kept_in, rows
from tests.support.client import Client
from tests.support.factories.shops import ADDRESS, Shop, place, set_up
from tests.support.stack import Stack


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with kept_in(tmp_path / "files", monkeypatch) as path:
        yield path


@pytest.fixture
async def shop(api: Client) -> Shop:
    return await set_up(api)


async def handled(api: Client, folder: Path, **context: Any) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The job, and the lines of its file."""
    job = await done(api, "order-export", context)
    assert job["status"] == "completed", job
    return job, rows(content(folder, job["result"]["file_key"]))


async def test_the_file(api: Client, folder: Path, shop: Shop, uid: str) -> None:
    address = {**ADDRESS, "address_1": "=1+1", "address_2": 'b; "c"'}
    order = await place(api, shop, email=f"buyer-{uid}@example.com", shipping_address=address)
    job, _ = await handled(api, folder, filterable_fields={"email": f"buyer-{uid}@example.com"})
    text = content(folder, job["result"]["file_key"])
    header, line, end = text.split("\r\n")
    assert header == (
        "Order_ID;Display_ID;Order status;Date;Customer First name;Customer Last name;Customer Email;Customer ID;"
        "Shipping Address 1;Shipping Address 2;Shipping Country Code;Shipping City;Shipping Postal Code;"
        "Shipping Region ID;Fulfillment Status;Payment Status;Subtotal;Shipping Total;Discount Total;Gift Card Total;"
        "Refunded Total;Tax Total;Total;Currency Code;Sales channel name;Sales channel description"
    )
    ((cells,), channel) = (
        rows(text),
        (await api.ok("GET", f"/admin/sales-channels/{shop.channel}"))["sales_channel"],
    )
    date = parsedate_to_datetime(cells["Date"])
    assert cells["Date"].endswith(" GMT")
    assert date.isoformat().replace("+00:00", "") == order["created_at"][:19]
    assert line == (
        f"{order['id']};{order['display_id']};pending;{cells['Date']};;;buyer-{uid}@example.com;{order['customer_id']};"
        f'\'=1+1;"b; ""c""";de;Berlin;10115;{shop.region};not_fulfilled;captured;2000;500;0;0;0;0;2500;eur;'
        f"{channel['name']};{channel['description']}"
    )
    assert end == ""
    assert job["result"] == {
        "file_key": job["result"]["file_key"],
        "file_size": len(text.encode()),
        "count": 1,
        "advancement_count": 1,
        "progress": 1,
        "stat_descriptors": [
            {"key": "order-export-count", "name": "Number of orders to export", "message": "1 orders will be exported"}
        ],
    }


async def test_which_orders(api: Client, folder: Path, shop: Shop, uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages by key: no order is left out or there twice, whatever the order."""
    monkeypatch.setattr(batch_order_export, "PAGE", 2)
    emails = [f"{n}-{uid}@example.com" for n in range(5)]
    order_ids = [(await place(api, shop, email=email))["id"] for email in emails]
    here = {"region_id": shop.region}

    async def ids(**context: Any) -> list[int]:
        filters = here | context.pop("filterable_fields", {})
        job, lines = await handled(api, folder, filterable_fields=filters, fields="id", **context)
        assert job["result"].get("count", 0) == len(lines)
        return [order_ids.index(line["Order_ID"]) for line in lines]

    assert await ids() == [4, 3, 2, 1, 0]
    assert await ids(order="created_at") == [0, 1, 2, 3, 4]
    assert await ids(order="-email") == [4, 3, 2, 1, 0]
    assert await ids(order="total") == sorted(range(5), key=lambda n: order_ids[n])  # all the same: by id
    assert await ids(order="display_id", offset=1) == [1, 2, 3, 4]
    assert await ids(offset=1, batch_size=3, limit=1) == [3, 2, 1]
    assert await ids(filterable_fields={"email": emails[2]}) == [2]
    assert await ids(filterable_fields={"q": f"3-{uid}", "status": "pending"}) == [3]
    assert await ids(filterable_fields={"status": ["canceled"]}) == []
    assert await ids(filterable_fields={"created_at": {"lt": "2020-01-01"}}) == []


async def test_which_columns(api: Client, folder: Path, shop: Shop) -> None:
    order = await place(api, shop)
    here = {"region_id": shop.region}
    _, (line,) = await handled(api, folder, filterable_fields=here, fields="status,total", expand="customer")
    assert line == {
        "Order_ID": order["id"],
        "Order status": "pending",
        "Date": line["Date"],
        "Customer First name": "",
        "Customer Last name": "",
        "Customer Email": order["email"],
        "Customer ID": order["customer_id"],
        "Total": "2500",
    }
    _, (line,) = await handled(api, folder, filterable_fields=here, fields="id", expand="")
    assert line.keys() == {"Order_ID", "Date"}


@pytest.mark.parametrize(
    "context",
    [
        {"filterable_fields": {"colour": "red"}},
        {"filterable_fields": {"status": ["sold"]}},
        {"order": "canceled_at"},
        {"order": "1; drop table orders"},
        {"fields": "nope"},
        {"expand": "nope"},
        {"offset": "x"},
    ],
)
async def test_what_there_is_not(api: Client, context: dict[str, Any]) -> None:
    job = await done(api, "order-export", context)
    assert (job["status"], job["pre_processed_at"]) == ("failed", None)
    assert len(job["result"]["errors"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filters": {}, "order": "id", "descending": False, "skip": -1, "limit": 1},
        {"filters": {}, "order": "id", "descending": False, "skip": 0, "limit": 0},
        {"filters": {}, "order": "id", "descending": False, "skip": 0, "limit": 1001},
        {"filters": {}, "order": "id; x", "descending": False, "skip": 0, "limit": 1},
        {"filters": {"x": "y"}, "order": "id", "descending": False, "skip": 0, "limit": 1},
    ],
)
async def test_bad_commands(stack: Stack, body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refusal:
        await call(stack.apps["catalog"][BUS], "orders", "export_orders", body)
    assert (refusal.value.status, refusal.value.type) == (InvalidData.status, InvalidData.type)
