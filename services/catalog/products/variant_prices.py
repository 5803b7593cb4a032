"""The prices of variants themselves; those of price lists are elsewhere."""

from collections.abc import Mapping, Sequence

from services.catalog.products.bodies import PriceBody
from services.chassis.db import Db
from services.chassis.ids import new_id
from services.chassis.jsons import json_text

# $1 variants, $2 their prices from now on. A price that was there for the same region or currency is changed in place.
# A region that does not exist has no currency, which is then what the foreign key refuses.
REPLACE = """
with given as (
    select g.id, g.variant_id, g.currency_code, g.region_id, g.amount, g.min_quantity, g.max_quantity,
        row_number() over (partition by g.variant_id, g.currency_code, g.region_id order by g.id) as n
    from (
        select g.id, g.variant_id, coalesce(r.currency_code, lower(g.currency_code), '') as currency_code, g.region_id,
            g.amount, case when g.region_id is null then g.min_quantity end as min_quantity,
            case when g.region_id is null then g.max_quantity end as max_quantity
        from jsonb_to_recordset($2::text::jsonb) as g(
            id text, variant_id text, currency_code text, region_id text, amount bigint, min_quantity int,
            max_quantity int
        ) left join regions r on r.id = g.region_id and r.deleted_at is null
    ) g
), held as (
    select id, variant_id, currency_code, region_id,
        row_number() over (partition by variant_id, currency_code, region_id order by created_at, id) as n
    from prices where variant_id = any($1::text[]) and price_list_id is null and deleted_at is null
), kept as (
    select h.id as held_id, g.* from given g join held h
        on h.variant_id = g.variant_id and h.currency_code = g.currency_code
        and h.region_id is not distinct from g.region_id and h.n = g.n
), changed as (
    update prices p set amount = k.amount, min_quantity = k.min_quantity, max_quantity = k.max_quantity,
        updated_at = now()
    from kept k where p.id = k.held_id
), gone as (
    delete from prices where id in (select id from held) and id not in (select held_id from kept)
)
insert into prices (id, variant_id, currency_code, region_id, amount, min_quantity, max_quantity)
select id, variant_id, currency_code, region_id, amount, min_quantity, max_quantity
from given g where not exists (select from kept k where k.id = g.id)
"""


async def set_prices(db: Db, prices: Mapping[str, Sequence[PriceBody]]) -> None:
    """Replace the prices of each variant, by its id."""
    if not prices:
        return
    ids = sorted(new_id("ma") for variant in prices.values() for _ in variant)
    rows = [
        price.model_dump(exclude={"id"}) | {"variant_id": variant_id}
        for variant_id, variant in prices.items()
        for price in variant
    ]
    priced = [row | {"id": id_} for row, id_ in zip(rows, ids, strict=True)]
    await db.execute(REPLACE, list(prices), json_text(priced))
