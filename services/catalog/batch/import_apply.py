"""Applying the lines of an import: a fixed number of statements, whatever the number of lines.

`prepare_tables` works out which products and variants the lines are about, in temporary tables that are gone with the
transaction; `import_checks.py` looks at them; `apply` writes. The products that are there already are locked from
the start, in the order of their ids.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from services.catalog.batch import columns as columns
from services.catalog.products.documents import PRODUCT_KINDS
from services.chassis.documents import kind_sql
from services.chassis.outbox import emit_selected

TABLES = """
create temp table import_products (
    handle text, line int, id text, is_new boolean, several boolean, held text, product jsonb, sets jsonb,
    collection_id text
) on commit drop;
create temp table import_variants (
    line int, handle text, product_id text, of_new boolean, known boolean, id text, is_new boolean, rank int,
    variant jsonb, options jsonb, prices jsonb
) on commit drop;
create temp table import_options (
    line int, product_id text, variant_id text, option_id text, new_option boolean, title text, value_id text,
    value text
) on commit drop;
"""
LOCK_PRODUCTS = """
select count(*) from (
    select id from products
    where id in (select product_id from batch_import_lines where job_id = $1) and deleted_at is null
    order by id for no key update
) p
"""
# Lines with one handle are one product, of which the first line says what it is.
PRODUCTS = """
insert into import_products
select l.handle, l.line, coalesce(l.given, l.new_product_id), l.given is null, l.several, x.id, l.product, l.sets, c.id
from (
    select handle, line, new_product_id, product, sets, row_number() over (partition by handle order by line) as n,
        min(product_id) over (partition by handle) as given,
        coalesce(min(product_id) over (partition by handle) <> max(product_id) over (partition by handle), false)
            as several
    from batch_import_lines where job_id = $1
) l
left join products x on x.id = l.given and x.deleted_at is null
left join product_collections c on c.handle = l.sets ->> 'collection' and c.deleted_at is null
where l.n = 1
order by l.line
"""
# New variants come after those that there are.
VARIANTS = """
insert into import_variants
select l.line, l.handle, p.id, p.is_new, p.is_new or p.held is not null, coalesce(l.variant_id, l.new_variant_id),
    l.variant_id is null,
    case when l.variant_id is null then (
        select count(*) from product_variants v where v.product_id = p.id and v.deleted_at is null
    ) + row_number() over (partition by p.id, l.variant_id is null order by l.line) - 1 end,
    l.variant, l.options, l.prices
from batch_import_lines l join import_products p using (handle)
where l.job_id = $1
order by l.line
"""
OPTIONS = """
insert into import_options
select v.line, v.product_id, v.id,
    case when v.of_new
        then first_value(o.option ->> 'id') over (partition by v.product_id, o.option ->> 'title' order by v.line)
        else x.id
    end,
    v.of_new and row_number() over (partition by v.product_id, o.option ->> 'title' order by v.line) = 1,
    o.option ->> 'title', o.option ->> 'value_id', o.option ->> 'value'
from import_variants v
cross join lateral jsonb_array_elements(v.options) with ordinality o(option, n)
left join product_options x
    on x.product_id = v.product_id and x.title = o.option ->> 'title' and x.deleted_at is null and not v.of_new
order by v.line, o.n
"""
# So that the next statements are planned for as many rows as there are.
MEASURE_PRODUCTS = """
create index on import_products (handle);
create index on import_products (id);
analyze import_products;
"""
MEASURE_VARIANTS = """
create index on import_variants (product_id);
create index on import_variants (id);
analyze import_variants;
"""
MEASURE_OPTIONS = """
create index on import_options (line);
create index on import_options (product_id);
analyze import_options;
"""

# Values and addresses are made in one order everywhere, so that two transactions wait for each other, not in a circle.
MAKE = {
    "product_types": "select p.sets -> 'type' from import_products p where p.sets ? 'type'",
    "product_tags": "select jsonb_array_elements(p.sets -> 'tags') from import_products p",
    "images": "select jsonb_array_elements(p.sets -> 'images') from import_products p",
}
MAKE_VALUES = """
insert into {table} (id, {column})
select distinct on (2) x ->> 'id', x ->> 'value' from ({values}) m(x) order by 2, 1
on conflict ({column}) do nothing
"""
PRODUCT_FIELDS = [
    field for field in (columns.PRODUCT | columns.PRODUCT_REST).values() if field not in ("id", "thumbnail")
]
P, VARIANT_FIELDS = ", ".join(PRODUCT_FIELDS), [field for field in columns.VARIANT.values() if field != "id"]
V = ", ".join(VARIANT_FIELDS)
TYPE_ID = "(select t.id from product_types t where t.value = p.sets -> 'type' ->> 'value')"
ADD_PRODUCTS = f"""
insert into products (id, {P}, thumbnail, type_id, collection_id, profile_id)
select p.id, {", ".join(f"n.{field}" for field in PRODUCT_FIELDS)},
    coalesce(n.thumbnail, p.sets -> 'images' -> 0 ->> 'value'), {TYPE_ID}, p.collection_id, (
        select s.id from shipping_profiles s where s.type = 'default' and s.deleted_at is null
        order by s.created_at limit 1
    )
from import_products p, jsonb_populate_record(
    null::products,
    '{{"status": "draft", "discountable": true}}' || jsonb_strip_nulls(p.product)
        || jsonb_build_object('handle', p.handle)
) n
where p.is_new order by p.line
"""  # noqa: S608 - constants
CHANGE_PRODUCTS = f"""
update products x set
    ({P}, thumbnail) = (
        select {P}, thumbnail from jsonb_populate_record(x, p.product || jsonb_build_object('handle', p.handle))
    ),
    type_id = case when p.sets ? 'type' then {TYPE_ID} else x.type_id end,
    collection_id = coalesce(p.collection_id, x.collection_id),
    updated_at = now()
from import_products p where p.id = x.id and not p.is_new
"""  # noqa: S608 - constants
ADD_VARIANTS = f"""
insert into product_variants (id, product_id, variant_rank, {V})
select v.id, v.product_id, v.rank, {", ".join(f"n.{field}" for field in VARIANT_FIELDS)}
from import_variants v, jsonb_populate_record(
    null::product_variants,
    '{{"inventory_quantity": 0, "allow_backorder": false, "manage_inventory": true}}' || jsonb_strip_nulls(v.variant)
) n
where v.is_new order by v.line
"""  # noqa: S608 - constants
CHANGE_VARIANTS = f"""
update product_variants x set
    ({V}) = (select {V} from jsonb_populate_record(x, v.variant)), updated_at = now()
from import_variants v where v.id = x.id and not v.is_new
"""  # noqa: S608 - constants
ADD_OPTIONS = """
insert into product_options (id, product_id, title)
select option_id, product_id, title from import_options where new_option order by option_id
"""
SET_VALUES = """
insert into product_option_values as held (id, variant_id, option_id, value)
select value_id, variant_id, option_id, value from import_options where value is not null order by value_id
on conflict (variant_id, option_id) where deleted_at is null do update
    set value = excluded.value, updated_at = now() where held.value <> excluded.value
"""
# The prices of a variant are from now on those of the file. It can say nothing of prices for quantities, nor of those
# in regions that are gone: they stay.
SET_PRICES = """
with given as (
    select v.id as variant_id, g.id, g.currency_code, g.region_id, g.amount
    from import_variants v, jsonb_to_recordset(v.prices) g(id text, currency_code text, region_id text, amount bigint)
), held as (
    select p.id, p.variant_id, p.currency_code, p.region_id,
        row_number() over (partition by p.variant_id, p.currency_code, p.region_id order by p.created_at, p.id) as n
    from prices p
    where p.variant_id in (select v.id from import_variants v where v.prices is not null and not v.is_new)
        and p.price_list_id is null and p.deleted_at is null and p.min_quantity is null and p.max_quantity is null
        and (
            p.region_id is null
            or exists (select from regions r where r.id = p.region_id and r.deleted_at is null)
        )
), kept as (
    select h.id as held_id, g.id, g.amount from given g join held h
        on h.variant_id = g.variant_id and h.currency_code = g.currency_code
        and h.region_id is not distinct from g.region_id and h.n = 1
), changed as (
    update prices p set amount = k.amount, updated_at = now() from kept k
    where p.id = k.held_id and p.amount <> k.amount
), gone as (
    delete from prices where id in (select id from held except select held_id from kept)
)
insert into prices (id, variant_id, currency_code, region_id, amount)
select g.id, g.variant_id, g.currency_code, g.region_id, g.amount
from given g left join kept k on k.id = g.id where k.id is null order by g.id
"""
# Each set of a product is replaced where the file has columns for it; what stays is left alone.
LINKED = {
    "tags": """
        select p.id as product_id, t.id as linked_id, min(x.n)::int as position
        from import_products p, jsonb_array_elements(p.sets -> 'tags') with ordinality x(tag, n)
            join product_tags t on t.value = x.tag ->> 'value'
        group by 1, 2
    """,
    "images": """
        select p.id as product_id, i.id as linked_id, min(x.n)::int as position
        from import_products p, jsonb_array_elements(p.sets -> 'images') with ordinality x(image, n)
            join images i on i.url = x.image ->> 'value'
        group by 1, 2
    """,
    "categories": """
        select distinct p.id as product_id, c.id as linked_id
        from import_products p, jsonb_array_elements_text(p.sets -> 'categories') x(handle)
            join product_categories c on c.handle = x.handle
    """,
    # By id, else by name, also where an id should be; the oldest one of a name, and none that is not there.
    "channels": """
        select distinct p.id as product_id, s.id as linked_id
        from import_products p, jsonb_array_elements(p.sets -> 'channels') x(channel)
            cross join lateral (
                select s.id from sales_channels s
                where s.deleted_at is null and (
                    s.id = x.channel ->> 'id' or s.name in (x.channel ->> 'name', x.channel ->> 'id')
                )
                order by (s.id = x.channel ->> 'id') desc, (s.name = x.channel ->> 'name') desc, s.created_at, s.id
                limit 1
            ) s
    """,
}
TABLES_OF = {
    "tags": ("product_tag_links", "tag_id", True),
    "images": ("product_images", "image_id", True),
    "categories": ("product_category_links", "category_id", False),
    "channels": ("product_sales_channels", "sales_channel_id", False),
}
# For the events: what other services keep copies of, made where the rows are.
OF_PRODUCT = kind_sql(PRODUCT_KINDS["product"], "array[p.id]")
TOUCHED = "array(select v.id from import_variants v where v.product_id = p.id and (v.is_new or not $1))"
OF_VARIANTS = kind_sql(PRODUCT_KINDS["variant"], TOUCHED)
COPIES = f"json_build_object('product', {OF_PRODUCT}, 'variant', {OF_VARIANTS})"
# $1 whether it is about new variants only. The inventory makes no items for what was imported:
# docs/behaviour/catalog.md, "Batch jobs".
ABOUT = f"""
select p.id as aggregate,
    (json_build_object('id', {{id}}, 'variants', '[]'::json, 'copies', {COPIES}){{more}})::json as data
from import_products p where {{which}}
"""  # noqa: S608 - constants
FIRST_NEW = "(select min(v.id) from import_variants v where v.product_id = p.id and v.is_new)"


def set_links(name: str) -> str:
    """The statement that replaces one set of all products."""
    table, column, ordered = TABLES_OF[name]
    more = ", position" if ordered else ""
    then = "update set position = excluded.position" if ordered else "nothing"
    return f"""
        with target as materialized ({LINKED[name]}), gone as (
            delete from {table} l using import_products p
            where l.product_id = p.id and p.sets ? '{name}' and not p.is_new and not exists (
                select from target w where w.product_id = l.product_id and w.linked_id = l.{column}
            )
        )
        insert into {table} (product_id, {column}{more})
        select product_id, linked_id{more} from target order by product_id, linked_id
        on conflict (product_id, {column}) do {then}
    """  # noqa: S608 - constants


async def prepare_tables(db: asyncpg.Connection, job_id: str) -> None:
    """Which products and variants the lines of the job are about, in the caller's transaction."""
    await db.execute(TABLES)
    await db.fetchval(LOCK_PRODUCTS, job_id)
    await db.execute(PRODUCTS, job_id)
    await db.execute(MEASURE_PRODUCTS)
    await db.execute(VARIANTS, job_id)
    await db.execute(MEASURE_VARIANTS)
    await db.execute(OPTIONS)
    await db.execute(MEASURE_OPTIONS)


async def apply(db: asyncpg.Connection, so_far: Callable[[float], Awaitable[None]]) -> None:
    """Write all that the tables say, and the events about it; `so_far` learns which share is done."""
    for_types, for_tags, for_images = (
        MAKE_VALUES.format(table=table, column="url" if table == "images" else "value", values=values)
        for table, values in MAKE.items()
    )
    await db.execute(for_types)
    await db.execute(for_tags)
    await db.execute(for_images)
    await db.execute(CHANGE_PRODUCTS)
    await db.execute(ADD_PRODUCTS)
    await so_far(0.1)
    await db.execute(CHANGE_VARIANTS)
    await db.execute(ADD_VARIANTS)
    await so_far(0.25)
    await db.execute(ADD_OPTIONS)
    await db.execute(SET_VALUES)
    await db.execute(SET_PRICES)
    await so_far(0.4)
    await db.execute(set_links("tags"))
    await db.execute(set_links("images"))
    await db.execute(set_links("categories"))
    await db.execute(set_links("channels"))
    await so_far(0.5)
    await emit_each(db, "product.created", "p.is_new", only_new=False)
    await emit_each(db, "product.updated", "not p.is_new", only_new=False)
    new_variants = f"not p.is_new and {FIRST_NEW} is not null"
    await emit_each(db, "product-variant.created", new_variants, only_new=True)
    await so_far(0.9)


async def emit_each(db: asyncpg.Connection, name: str, which: str, *, only_new: bool) -> None:
    """Emit the event of this name for each product that `which` selects."""
    subject: dict[str, Any] = {"id": "p.id", "more": "", "which": which}
    if only_new:  # of variants, all new ones of a product in one
        subject["id"] = FIRST_NEW
        subject["more"] = "::jsonb || jsonb_build_object('product_id', p.id)"
    await emit_selected(db, name, ABOUT.format(**subject), only_new)
