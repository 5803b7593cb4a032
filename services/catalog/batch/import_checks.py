"""What is wrong with the lines of an import, seen against the catalog as it is: all of it, in one statement.

The tables are those of `import_apply.prepare_tables`. Whatever changes between this and the writing, the
database's own constraints refuse.
"""

from services.catalog.batch.rows import MAX_ERRORS, BadFile
from services.chassis.db import Db

# Each part finds (line, message). $1 is the job.
PARTS = (
    "select line, unnest(problems) from batch_import_lines where job_id = $1",
    # Which products and variants
    """
    select line, format('Product Id: the lines of %s name several products', handle)
    from import_products where several
    """,
    """
    select p.line, format('Product Id: %s is that of line %s, with another handle', p.id, o.line)
    from import_products p join import_products o on o.id = p.id and o.line < p.line
    """,
    """
    select line, format('Product Id: there is no product %s', id)
    from import_products where not is_new and held is null
    """,
    """
    select v.line, format('Variant Id: the product has no variant %s', v.id)
    from import_variants v join import_products p on p.handle = v.handle
    where not v.is_new and (p.is_new or p.held is not null) and not exists (
        select from product_variants x where x.id = v.id and x.product_id = v.product_id and x.deleted_at is null
    )
    """,
    """
    select v.line, format('Variant Id: %s is also that of line %s', v.id, v.before)
    from (
        select line, id, lag(line) over (partition by id order by line) as before from import_variants where not is_new
    ) v where v.before is not null
    """,
    "select line, 'Product Title: is missing' from import_products where is_new and not product ? 'title'",
    "select line, 'Variant Title: is missing' from import_variants where is_new and not variant ? 'title'",
    # What they refer to
    """
    select line, format('Product Collection Handle: there is no collection %s', sets ->> 'collection')
    from import_products where sets ? 'collection' and collection_id is null
    """,
    """
    select p.line, format('Product Category Handle: there is no category %s', c.handle)
    from import_products p, jsonb_array_elements_text(p.sets -> 'categories') c(handle)
    where not exists (select from product_categories x where x.handle = c.handle)
    """,
    """
    select v.line, format('Price %s: there is no such currency', upper(g.price ->> 'currency_code'))
    from import_variants v, jsonb_array_elements(v.prices) g(price)
    where not exists (select from currencies x where x.code = g.price ->> 'currency_code')
    """,
    # What only one can have
    """
    select p.line, format('Product Handle: %s is taken by another product', p.handle)
    from import_products p join products x on x.handle = p.handle and x.deleted_at is null and x.id <> p.id
    """,
    *(
        f"""
        select v.line, format('Variant {name}: %s is also that of line %s', v.value, v.before)
        from (
            select line, variant ->> '{column}' as value,
                lag(line) over (partition by variant ->> '{column}' order by line) as before
            from import_variants where variant ->> '{column}' is not null
        ) v where v.before is not null
        union all
        select v.line, format('Variant {name}: %s is taken by another variant', x.{column})
        from import_variants v
        join product_variants x on x.{column} = v.variant ->> '{column}' and x.deleted_at is null and x.id <> v.id
        """  # noqa: S608 - constants
        for column, name in (("sku", "SKU"), ("barcode", "Barcode"))
    ),
    # Options: those of a new product are all that its lines name
    """
    select i.line, format('Option Name: the product has no option %s', i.title)
    from import_options i join import_products p on p.id = i.product_id and (p.is_new or p.held is not null)
    where i.option_id is null
    """,
    """
    select v.line, format('Option Value: the variant needs one for each of %s options', o.number)
    from import_variants v
    cross join lateral (
        select case when v.of_new then (
            select count(distinct i.option_id) from import_options i where i.product_id = v.product_id
        ) else (
            select count(*) from product_options x where x.product_id = v.product_id and x.deleted_at is null
        ) end as number
    ) o
    where v.is_new and v.known and o.number <> (
        select count(*) from import_options i where i.line = v.line and i.option_id is not null and i.value is not null
    ) and not exists (select from import_options i where i.line = v.line and i.option_id is null)
    """,
    # A new variant must differ from the others of the product.
    """
    select c.line, 'Option Value: another variant of the product has the same values'
    from (
        select v.line, count(*) over (partition by v.product_id, v.combination) as same, v.combination, v.product_id
        from (
            select v.line, v.product_id, (
                select string_agg(i.option_id || '=' || i.value, ',' order by i.option_id)
                from import_options i where i.line = v.line
            ) as combination
            from import_variants v where v.is_new
        ) v where v.combination is not null
    ) c
    where c.same > 1 or c.combination in (
        select (
            select string_agg(o.option_id || '=' || o.value, ',' order by o.option_id)
            from product_option_values o where o.variant_id = x.id and o.deleted_at is null
        )
        from product_variants x where x.product_id = c.product_id and x.deleted_at is null
    )
    """,
)
CHECK = f"""
select format('Line %s: %s', line, message) as message, count(*) over () as number
from (select distinct line, message from ({" union all ".join(PARTS)}) e(line, message)) e
order by line, e.message limit {MAX_ERRORS}
"""  # noqa: S608 - constants


async def check(db: Db, job_id: str) -> BadFile | None:
    """What is wrong, in the order of the lines; None when nothing is."""
    rows = await db.fetch(CHECK, job_id)
    return BadFile([row["message"] for row in rows], rows[0]["number"]) if rows else None
