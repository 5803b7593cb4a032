"""Writing variants with their option values, any number at once: a handful of statements whatever the number.

The caller has locked the product, so that two requests cannot add the same combination or rank.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from services.catalog.products.bodies import NewVariant, VariantOptionBody, VariantUpdate
from services.catalog.products.references import invalid_variants, refusals
from services.catalog.products.variant_prices import set_prices
from services.chassis.db import Db
from services.chassis.errors import InvalidData, NotFound
from services.chassis.ids import new_id
from services.chassis.jsons import json_text

COLUMNS = (
    "title, sku, barcode, ean, upc, variant_rank, inventory_quantity, allow_backorder, manage_inventory, hs_code,"
    " origin_country, mid_code, material, weight, length, height, width"
)
# The inventory makes an item for each managed variant, without stock; until it says more, that is what is known.
INSERT_VARIANTS = f"""
with added as (
    insert into product_variants (id, product_id, {COLUMNS}, metadata)
    select id, $1, {COLUMNS}, metadata from jsonb_populate_recordset(null::product_variants, $2::text::jsonb)
    returning id, manage_inventory
)
insert into variant_availability (variant_id, available, has_item)
select id, 0, true from added where manage_inventory
on conflict do nothing
"""  # noqa: S608 - constants
UPDATE_VARIANTS = f"""
update product_variants v set
    ({COLUMNS}) = (select {COLUMNS} from jsonb_populate_record(v, d.doc - 'metadata') n),
    metadata = updated_metadata(v.metadata, d.doc),
    updated_at = now()
from jsonb_array_elements($2::text::jsonb) d(doc)
where v.id = d.doc ->> 'id' and v.product_id = $1 and v.deleted_at is null
returning v.id
"""  # noqa: S608 - constants
SET_VALUES = """
insert into product_option_values (id, variant_id, option_id, value)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
on conflict (variant_id, option_id) where deleted_at is null do update set value = excluded.value, updated_at = now()
"""
REMOVE_VARIANTS = """
with gone as (
    update product_variants set deleted_at = now()
    where product_id = $1 and id = any($2::text[]) and deleted_at is null returning id
), values_gone as (
    update product_option_values set deleted_at = now() where variant_id in (select id from gone) and deleted_at is null
)
select id from gone
"""
COMBINATIONS = """
select v.title, json_object_agg(o.option_id, o.value)::text as combination
from product_variants v join product_option_values o on o.variant_id = v.id and o.deleted_at is null
where v.product_id = $1 and v.deleted_at is null group by v.id, v.title
"""
OPTIONS = "select id, title from product_options where product_id = $1 and deleted_at is null order by created_at, id"


@dataclass(frozen=True)
class Addition:
    """A variant to be added: what it is, its place among the others, and its value for each option by id."""

    body: NewVariant
    rank: int
    values: Sequence[tuple[str, str]]


async def option_ids(db: Db, product_id: str) -> list[str]:
    """The options of the product, in their order."""
    return [row["id"] for row in await db.fetch(OPTIONS, product_id)]


def check_values(options: Sequence[str], values: Sequence[tuple[str, str]], title: str) -> None:
    """Raises InvalidData unless there is one value for each option of the product."""
    if sorted(option for option, _ in values) != sorted(options):
        raise InvalidData(f"The variant {title} needs one value for each of the product's {len(options)} options.")


async def check_combinations(db: Db, product_id: str, added: Iterable[Addition]) -> None:
    """Raises InvalidData when a variant of the product has the same values already."""
    titles = {
        tuple(sorted(orjson.loads(row["combination"]).items())): row["title"]
        for row in await db.fetch(COMBINATIONS, product_id)
    }
    for addition in added:
        if title := titles.get(tuple(sorted(addition.values))):
            raise InvalidData(f"The variant {title} has the same option values as {addition.body.title}.")


async def add_variants(db: Db, product_id: str, additions: Sequence[Addition]) -> list[str]:
    """Insert the variants with values and prices. Returns their ids. Raises InvalidData for whatever is wrong."""
    if not additions:
        return []
    ids = sorted(new_id("variant") for _ in additions)
    rows = [
        addition.body.model_dump(exclude={"prices", "options"}) | {"id": id_, "variant_rank": addition.rank}
        for id_, addition in zip(ids, additions, strict=True)
    ]
    with invalid_variants():
        await db.execute(INSERT_VARIANTS, product_id, json_text(rows))
        await set_values(db, {id_: addition.values for id_, addition in zip(ids, additions, strict=True)})
        await set_prices(db, {i: a.body.prices for i, a in zip(ids, additions, strict=True) if a.body.prices})
    return ids


async def change_variants(
    db: Db, product_id: str, changes: Mapping[str, VariantUpdate], ranks: Mapping[str, int] | None = None
) -> None:
    """Change variants by id; what a body does not name stays. Raises NotFound when one is not of this product."""
    if not changes:
        return
    rows = [
        {
            **body.model_dump(exclude={"id", "prices", "options", "metadata"}, exclude_unset=True),
            **({} if body.metadata is None else {"metadata": body.metadata}),
            **({"variant_rank": ranks[id_]} if ranks else {}),
            "id": id_,
        }
        for id_, body in changes.items()
    ]
    with refusals():
        updated = await db.fetch(UPDATE_VARIANTS, product_id, json_text(rows))
        if missing := sorted(changes.keys() - {row["id"] for row in updated}):
            raise NotFound(f"The product has no variant {', '.join(missing)}.")
        values = {id_: pairs(body.options) for id_, body in changes.items() if body.options}
        await check_options(db, product_id, values)
        await set_values(db, values)
        await set_prices(db, {i: body.prices for i, body in changes.items() if body.prices is not None})


def pairs(options: Sequence[VariantOptionBody]) -> list[tuple[str, str]]:
    return [(option.option_id, option.value) for option in options]


async def check_options(db: Db, product_id: str, values: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Raises NotFound for an option that the product does not have."""
    named = {option for of_variant in values.values() for option, _ in of_variant}
    if named and (unknown := sorted(named - set(await option_ids(db, product_id)))):
        raise NotFound(f"The product has no option {', '.join(unknown)}.")


async def set_values(db: Db, values: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """The variants' values for options, by variant id; those for other options stay."""
    rows = {(variant, option): value for variant, of_variant in values.items() for option, value in of_variant}
    if rows:
        ids = sorted(new_id("optval") for _ in rows)
        await db.execute(SET_VALUES, ids, [v for v, _ in rows], [o for _, o in rows], list(rows.values()))


async def remove_variants(db: Db, product_id: str, ids: Sequence[str]) -> list[str]:
    """The variants are gone for the API. Returns those that were there."""
    return [row["id"] for row in await db.fetch(REMOVE_VARIANTS, product_id, ids)] if ids else []
