"""price-list-import: the prices of a price list out of a CSV file, in place of all that it had.

A line names a variant by id or by SKU, and has prices in columns like those of products (columns.py).
"""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from services.catalog.batch.csv_files import Row, open_table
from services.catalog.batch.import_lines import STAGED, Ids, Prices, price_columns, prices_of
from services.catalog.batch.product_import import finished, forget_file, places
from services.catalog.batch.rows import FORGET, MAX_ERRORS, BadFile, Job, complete, connected, pre_processed
from services.catalog.price_lists.reads import access_list
from services.chassis.errors import InvalidData
from services.chassis.jsons import json_text

ID, SKU = "Product Variant ID", "SKU"

# What is wrong with the form of the file, and what with its values, each line by line. $1 the job.
NAMED = """(
    select v.id from product_variants v where v.id = l.variant_id and v.deleted_at is null
    union all
    select v.id from product_variants v where l.variant_id is null and v.sku = l.sku and v.deleted_at is null
)"""
UNKNOWN = f"""
select line, format('there is no variant %s', coalesce(variant_id, 'with the SKU ' || sku)) as message
from batch_import_lines l where job_id = $1 and not exists {NAMED}
"""  # noqa: S608 - a constant
WRONG = """
select line, unnest(problems) as message from batch_import_lines where job_id = $1
union
select l.line, format('Price %s: there is no such currency', upper(g.price ->> 'currency_code'))
from batch_import_lines l, jsonb_array_elements(l.prices) g(price)
where l.job_id = $1 and not exists (select from currencies x where x.code = g.price ->> 'currency_code')
"""
FIRST = """
select format('Line %s: %s', line, message) as message, count(*) over () as number
from ({part}) e order by line, e.message limit {limit}
"""
REPLACE = f"""
with gone as (delete from prices where price_list_id = $2)
insert into prices (id, price_list_id, variant_id, currency_code, region_id, amount)
select g.id, $2, v.id, g.currency_code, g.region_id, g.amount
from batch_import_lines l cross join lateral {NAMED} v
    cross join jsonb_to_recordset(l.prices) g(id text, currency_code text, region_id text, amount bigint)
where l.job_id = $1 order by g.id
"""  # noqa: S608 - a constant


async def check(db: asyncpg.Connection, part: str, job_id: str) -> BadFile | None:
    """What a part finds wrong, in the order of the lines."""
    rows = await db.fetch(FIRST.format(part=part, limit=MAX_ERRORS), job_id)
    return BadFile([row["message"] for row in rows], rows[0]["number"]) if rows else None


async def records(job_id: str, prices: Prices, rows: AsyncIterator[list[Row]]) -> AsyncIterator[tuple[Any, ...]]:
    """Rows of `batch_import_lines`. Raises BadFile for a line that names no variant."""
    ids = Ids()
    async for some in rows:
        for line, cells in some:
            variant_id, sku = cells.get(ID) or None, cells.get(SKU) or None
            if variant_id is None and sku is None:
                raise BadFile([f"Line {line}: a {ID} or a {SKU} is needed."])
            problems: list[str] = []
            amounts = json_text(prices_of(prices, cells, ids, problems))
            yield (job_id, line, None, None, variant_id, sku, "{}", "{}", "{}", "[]", amounts, None, None, problems)


async def prepare(job: Job) -> bool:
    """Read the file into `batch_import_lines`. A dry run also learns what is wrong with the values of its lines."""
    async with open_table(job.context.get("fileKey")) as table, connected(job.app) as db:
        prices = price_columns(table.columns)
        if unknown := [name for name in table.columns if name not in (ID, SKU, *prices)]:
            raise InvalidData(f"The file has columns that price lists do not have: {', '.join(unknown)}.")
        async with db.transaction():
            await db.execute(FORGET, job.id)
            lines = records(job.id, await places(db, prices), table.rows())
            await db.copy_records_to_table("batch_import_lines", records=lines, columns=STAGED)
            if errors := await check(db, UNKNOWN, job.id):
                raise errors
            count = await db.fetchval("select count(*) from batch_import_lines where job_id = $1", job.id)
            descriptor = {"key": "price-list-import-count", "name": "Price list to import"}
            result: dict[str, Any] = {
                "count": count,
                "advancement_count": 0,
                "operations": {"PRICE_LIST_PRICE_CREATE": count},
                "stat_descriptors": [descriptor | {"message": f"{count} variants will be priced"}],
            }
            if job.dry_run and (errors := await check(db, WRONG, job.id)):
                result["errors"] = errors.messages
            return await pre_processed(db, job, result)


async def process(job: Job) -> None:
    """Check the lines against the catalog as it is now, and replace the prices."""
    async with connected(job.app) as db, db.transaction():
        await access_list(db, job.context["price_list_id"])
        if errors := await check(db, UNKNOWN, job.id) or await check(db, WRONG, job.id):
            raise errors
        await db.execute(REPLACE, job.id, job.context["price_list_id"])
        await complete(db, job, finished(job.result))
    await forget_file(job)
