"""product-import: products and variants out of a CSV file, all of them or none.

The file is read once, into `batch_import_lines`, and what is wrong with its form fails the job at once. What it asks
for is checked and applied later, in one transaction, by a fixed number of statements (import_apply.py).
"""

import contextlib
from typing import Any

import asyncpg

from services.catalog.batch import columns as columns
from services.catalog.batch.columns import PriceColumn
from services.catalog.batch.csv_files import open_table
from services.catalog.batch.import_apply import apply, prepare_tables
from services.catalog.batch.import_checks import check
from services.catalog.batch.import_lines import STAGED, Place, Reader, price_columns
from services.catalog.batch.rows import FORGET, Job, advance, complete, connected, pre_processed
from services.catalog.files.storage import storage
from services.chassis.db import Db
from services.chassis.errors import ApiError, InvalidData

MANY = 1000
# So that what comes next is planned for as many rows as there are now, and not only when autovacuum has come by.
MEASURE = "analyze products, product_variants, product_options, product_option_values, prices, product_images, images"
REGIONS = """
select id, name, currency_code from regions
where deleted_at is null and (name = any($1::text[]) or id = any($1::text[]))
"""
COUNT = """
select count(distinct handle) - count(distinct handle) filter (where product_id is not null) as product_create,
    count(distinct handle) filter (where product_id is not null) as product_update,
    count(*) filter (where variant_id is null) as variant_create,
    count(*) filter (where variant_id is not null) as variant_update
from batch_import_lines where job_id = $1
"""


def check_columns(names: list[str]) -> None:
    """Raises InvalidData for a column that a product file does not have, or must have."""
    if unknown := [name or "(without a name)" for name in names if not columns.is_known(name)]:
        raise InvalidData(f"The file has columns that products do not have: {', '.join(unknown)}.")
    if names and "Product Handle" not in names:
        raise InvalidData("The file has no column Product Handle.")


async def places(db: Db, prices: dict[str, PriceColumn]) -> dict[str, Place]:
    """Where the prices of each column hold. Raises InvalidData for a region that is not there, or not the only one."""
    named = [column.region for column in prices.values() if column.region is not None]
    regions = await db.fetch(REGIONS, named) if named else []
    by_column: dict[str, Place] = {}
    for name, column in prices.items():
        if column.region is None:
            by_column[name] = (column.currency, None)
            continue
        matching = [r for r in regions if r["name"] == column.region] or [
            r for r in regions if r["id"] == column.region
        ]
        if len(matching) != 1:
            raise InvalidData(f"{name}: there {'are several regions' if matching else 'is no region'} {column.region}.")
        if matching[0]["currency_code"] != column.currency:
            raise InvalidData(f"{name}: the region has the currency {matching[0]['currency_code'].upper()}.")
        by_column[name] = (column.currency, matching[0]["id"])
    return by_column


def stat(operations: dict[str, int]) -> dict[str, str]:
    """What will be done, for people."""
    message = (
        f"{operations['PRODUCT_CREATE']} products will be created and {operations['PRODUCT_UPDATE']} updated, "
        f"{operations['VARIANT_CREATE']} variants created and {operations['VARIANT_UPDATE']} updated"
    )
    return {"key": "product-import-count", "name": "Products and variants to import", "message": message}


async def prepare(job: Job) -> bool:
    """Read the file into `batch_import_lines`. A dry run also says what is wrong with it, as things are now."""
    async with open_table(job.context.get("fileKey")) as table, connected(job.app) as db:
        check_columns(table.columns)
        prices = price_columns(table.columns)
        async with db.transaction():
            await db.execute(FORGET, job.id)
            records = Reader(job.id, table.columns, await places(db, prices)).records(table.rows())
            await db.copy_records_to_table("batch_import_lines", records=records, columns=STAGED)
            return await pre_processed(db, job, await result_of(db, job))


async def result_of(db: asyncpg.Connection, job: Job) -> dict[str, Any]:
    """What the job says when the lines are there."""
    counted = await db.fetchrow(COUNT, job.id)
    operations = {name.upper(): number for name, number in counted.items()}
    result: dict[str, Any] = {
        "count": sum(operations.values()),
        "advancement_count": 0,
        "operations": operations,
        "stat_descriptors": [stat(operations)],
    }
    if job.dry_run:
        await prepare_tables(db, job.id)
        errors = await check(db, job.id)
        if errors is not None:
            result["errors"] = errors.messages
    return result


async def process(job: Job) -> None:
    """Check the lines against the catalog as it is now, and apply them."""
    count = job.result["count"]
    async with connected(job.app) as db, db.transaction():
        await prepare_tables(db, job.id)
        errors = await check(db, job.id)
        if errors is not None:
            raise errors

        async def so_far(share: float) -> None:
            await advance(job, int(count * share), count)

        await apply(db, so_far)
        await complete(db, job, finished(job.result))
    await forget_file(job)
    if count >= MANY:
        async with connected(job.app) as db:
            await db.execute(MEASURE)


def finished(result: dict[str, Any]) -> dict[str, Any]:
    """The result when all is applied."""
    return {name: value for name, value in result.items() if name != "errors"} | {"advancement_count": result["count"]}


async def forget_file(job: Job) -> None:
    """What was imported is not needed any more."""
    with contextlib.suppress(ApiError, OSError):
        await storage().delete(job.context["fileKey"])
