"""order-export: a CSV file with a line for each order, made of rows that the orders service is asked for.

They come in pages, each of the rows after the last one of the page before, so that neither service holds them all. An
order that changes between two pages is in the file as it was when its page was made.
"""

from datetime import datetime
from email.utils import format_datetime
from typing import Any

from services.catalog import remote
from services.catalog.batch.csv_files import cell, new_sheet
from services.catalog.batch.exports import finish, query_from, rows_of, sorted_by, stat
from services.catalog.batch.rows import Job, advance, pre_processed
from services.chassis.errors import InvalidData
from services.chassis.keys import POOL

PAGE = 500
LISTS = frozenset({"status", "fulfillment_status", "payment_status", "sales_channel_id"})
# (column, where its value is: a field of the order, or of what it refers to)
COLUMNS = (
    ("Order_ID", "id"),
    ("Display_ID", "display_id"),
    ("Order status", "status"),
    ("Date", "created_at"),
    ("Customer First name", "customer.first_name"),
    ("Customer Last name", "customer.last_name"),
    ("Customer Email", "customer.email"),
    ("Customer ID", "customer.id"),
    ("Shipping Address 1", "shipping_address.address_1"),
    ("Shipping Address 2", "shipping_address.address_2"),
    ("Shipping Country Code", "shipping_address.country_code"),
    ("Shipping City", "shipping_address.city"),
    ("Shipping Postal Code", "shipping_address.postal_code"),
    ("Shipping Region ID", "region_id"),
    ("Fulfillment Status", "fulfillment_status"),
    ("Payment Status", "payment_status"),
    ("Subtotal", "subtotal"),
    ("Shipping Total", "shipping_total"),
    ("Discount Total", "discount_total"),
    ("Gift Card Total", "gift_card_total"),
    ("Refunded Total", "refunded_total"),
    ("Tax Total", "tax_total"),
    ("Total", "total"),
    ("Currency Code", "currency_code"),
    ("Sales channel name", "sales_channel.name"),
    ("Sales channel description", "sales_channel.description"),
)


def requested_orders(job: Job) -> dict[str, Any]:
    """Which orders the job is about, as a command to orders names them. Raises InvalidData."""
    rows_of(job.context)
    name, direction = sorted_by(job.context)
    filters = query_from(job.context.get("filterable_fields") or {}, LISTS)
    return {"filters": filters, "order": name, "descending": direction == "desc"}


def chosen(job: Job) -> list[tuple[str, list[str]]]:
    """The columns that the job asks for, with the path to the value."""
    config = job.context["list_config"]
    shown = {*config["select"], *config["relations"]}
    return [(column, path.split(".")) for column, path in COLUMNS if path.split(".")[0] in shown]


async def number(job: Job) -> int:
    """How many orders there are to export."""
    skip, most = rows_of(job.context)
    count = max(await remote.count_orders(job.app, requested_orders(job)) - skip, 0)
    return count if most is None else min(count, most)


def value(order: dict[str, Any], path: list[str]) -> str:
    """The cell with what the path leads to."""
    inner: Any = order
    for part in path:
        inner = inner.get(part) if inner else None
    if path == ["created_at"]:
        return format_datetime(datetime.fromisoformat(order["created_at"]), usegmt=True)
    return cell(inner)


async def prepare(job: Job) -> bool:
    """Count the orders. Raises InvalidData for columns and filters that there are not."""
    config = job.context["list_config"]
    known = {path.split(".")[0] for _, path in COLUMNS}
    if unknown := sorted({*config["select"], *config["relations"]} - known):
        raise InvalidData(f"An export of orders has no {', '.join(unknown)}.")
    count = await number(job)
    async with job.app[POOL].acquire() as db, db.transaction():
        return await pre_processed(db, job, {"stat_descriptors": [stat("order", count)]})


async def process(job: Job) -> None:
    """Write the file, and complete the job with it."""
    columns, count = chosen(job), await number(job)
    skip, _ = rows_of(job.context)
    page, done = requested_orders(job) | {"skip": skip, "after": None}, 0
    async with new_sheet() as sheet:
        await sheet.write([[name for name, _ in columns]])
        while done < count:
            reply = await remote.export_orders(job.app, page | {"limit": min(PAGE, count - done)})
            if not reply["orders"]:
                break
            await sheet.write([[value(order, path) for _, path in columns] for order in reply["orders"]])
            done += len(reply["orders"])
            page |= {"skip": 0, "after": reply["after"]}
            await advance(job, done, count)
        await finish(job, sheet, "order-export.csv", done)
