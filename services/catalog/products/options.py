"""Options of a product: what its variants differ in. Every answer is the product."""

import orjson

from services.catalog.products.bodies import OptionBody
from services.catalog.products.products import access_product, emit_changes
from services.catalog.products.reads import WRITTEN, product_json
from services.catalog.products.references import refusals
from services.chassis.db import Db
from services.chassis.errors import Duplicate, InvalidData, NotFound
from services.chassis.ids import new_id
from services.chassis.operations import delete, post

INSERT_OPTION = "insert into product_options (id, product_id, title) values ($1, $2, $3)"
# Variants that are there already have something, until somebody says what. $3: as many ids as there are variants.
FILL = """
insert into product_option_values (id, option_id, variant_id, value)
select x.id, $1, v.id, 'Default Value'
from (
    select id, row_number() over (order by variant_rank, id) as n
    from product_variants where product_id = $2 and deleted_at is null
) v join unnest($3::text[]) with ordinality x(id, n) using (n)
"""
COUNT = "select count(*) from product_variants where product_id = $1 and deleted_at is null"
TITLES = "select id, title from product_options where product_id = $1 and deleted_at is null"
RENAME = "update product_options set title = $3, updated_at = now() where id = $2 and product_id = $1"
# How many different values the product's variants have for the option, and how many variants have one.
VALUES = """
select count(distinct o.value) as different, count(distinct v.id) as having
from product_variants v join product_option_values o on o.variant_id = v.id and o.option_id = $2
    and o.deleted_at is null
where v.product_id = $1 and v.deleted_at is null
"""
REMOVE_OPTION = """
with values_gone as (
    update product_option_values set deleted_at = now() where option_id = $1 and deleted_at is null
)
update product_options set deleted_at = now() where id = $1
"""


async def titles(db: Db, product_id: str) -> dict[str, str]:
    """Titles of the product's options, by id."""
    return {row["id"]: row["title"] for row in await db.fetch(TITLES, product_id)}


async def create_option(db: Db, product_id: str, title: str) -> None:
    """Add an option; each variant that is there gets a value for it."""
    await access_product(db, product_id)
    option_id = new_id("opt")
    with refusals():
        await db.execute(INSERT_OPTION, option_id, product_id, title)
    ids = sorted(new_id("optval") for _ in range(await db.fetchval(COUNT, product_id)))
    await db.execute(FILL, option_id, product_id, ids)
    await emit_changes(db, "product.updated", product_id)


async def rename_option(db: Db, product_id: str, option_id: str, title: str) -> None:
    """Raises NotFound for an unknown option and (as clients know it) for a title that another option has."""
    await access_product(db, product_id)
    held = await titles(db, product_id)
    if option_id not in held:
        raise NotFound(f"The product has no option {option_id}.")
    if any(other != option_id and name.lower() == title.lower() for other, name in held.items()):
        raise NotFound(f"The product has another option with the title {title}.")
    await db.execute(RENAME, product_id, option_id, title)
    await emit_changes(db, "product.updated", product_id)


async def remove_option(db: Db, product_id: str, option_id: str) -> None:
    """Take an option away that variants do not differ in. An unknown one is no error."""
    await access_product(db, product_id)
    if option_id not in await titles(db, product_id):
        return
    row = await db.fetchrow(VALUES, product_id, option_id)
    if row["different"] > 1 or 0 < row["having"] < await db.fetchval(COUNT, product_id):
        raise InvalidData("Variants differ in this option; delete variants first, until they have one value in common.")
    await db.execute(REMOVE_OPTION, option_id)
    await emit_changes(db, "product.updated", product_id)


# Handlers


async def post_options(db: Db, product_id: str, body: OptionBody) -> str:
    await create_option(db, product_id, body.title)
    return f'{{"product":{await product_json(db, product_id)}}}'


async def post_option(db: Db, product_id: str, option_id: str, body: OptionBody) -> str:
    await rename_option(db, product_id, option_id, body.title)
    return f'{{"product":{await product_json(db, product_id)}}}'


async def delete_option(db: Db, product_id: str, option_id: str) -> bytes:
    await remove_option(db, product_id, option_id)
    product = orjson.Fragment(await product_json(db, product_id, priced=False))
    return orjson.dumps({"option_id": option_id, "object": "option", "deleted": True, "product": product})


OPERATIONS = [
    post(
        "/admin/products/{id}/options",
        post_options,
        "Add an option to a product",
        description="Variants that are there already get the value `Default Value` for it.",
        body=OptionBody,
        example={"title": "Size"},
        answer={"product": WRITTEN},
        errors=(NotFound, Duplicate),
    ),
    post(
        "/admin/products/{id}/options/{option_id}",
        post_option,
        "Rename an option of a product",
        description="Refused with 404 for a title that another option of the product has.",
        body=OptionBody,
        example={"title": "Length"},
        answer={"product": WRITTEN},
        errors=(NotFound, Duplicate),
    ),
    delete(
        "/admin/products/{id}/options/{option_id}",
        delete_option,
        "Delete an option of a product",
        description="Refused while variants differ in it. An option that is not there is no error.",
        answer={"option_id": str, "object": "option", "deleted": True, "product": WRITTEN},
        errors=(NotFound, InvalidData),
    ),
]
