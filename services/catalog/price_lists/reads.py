"""How price lists look in answers, and the lock that changes of one take."""

from services.catalog.answers import one
from services.catalog.discounts.customer_groups import CUSTOMER_GROUP, KIND
from services.catalog.products.reads import PLAIN_LIST, PRICE, PRICE_COLUMNS, VARIANT_COLUMNS, VARIANT_ON
from services.chassis.db import Db
from services.chassis.embed import Many, One, Resource, Selection, Value, tree
from services.chassis.errors import NotFound
from services.chassis.schemas import Rows

COLUMNS = PLAIN_LIST.columns
VARIANT = Resource("product_variants", VARIANT_COLUMNS)
LIST_PRICE = Resource(
    "prices",
    PRICE_COLUMNS,
    {
        "variants": Many(
            VARIANT,
            VARIANT_ON,
            also={"variant": One(VARIANT, VARIANT_ON), "variant_id": Value("to_json({p}.variant_id)", str)},
        )
    },
)
GROUP_ON = f"""{{t}}.kind = '{KIND}' and {{t}}.body is not null and {{t}}.id in (
    select g.customer_group_id from price_list_customer_groups g where g.price_list_id = {{p}}.id
)"""  # noqa: S608 - a constant
# The prices of variants that are gone are not shown.
PRICES_ON = """{t}.price_list_id = {p}.id and {t}.deleted_at is null
    and exists (select from product_variants v where v.id = {t}.variant_id and v.deleted_at is null)"""
PRICE_LIST = Resource(
    "price_lists",
    COLUMNS,
    {
        "prices": Many(LIST_PRICE, PRICES_ON),
        "customer_groups": Many(
            CUSTOMER_GROUP,
            GROUP_ON,
            order="{t}.body ->> 'created_at', {t}.id",
        ),
    },
)
# Where several lists are shown, their relations are named in `expand`, and prices show only those.
LISTED = Resource(
    PRICE_LIST.table,
    COLUMNS,
    {
        **PRICE_LIST.relations,
        "prices": Many(
            Resource("prices", PRICE_COLUMNS, {**PRICE.relations, "variants": Many(VARIANT, VARIANT_ON)}), PRICES_ON
        ),
    },
)
EXPAND = tree(("prices.variants", "customer_groups"))
WHOLE = Selection(tuple(COLUMNS), EXPAND)
# The answer to a change of a price list.
WRITTEN = {"price_list": Rows((PRICE_LIST,), EXPAND)}
BY_ID = "{t}.id = $1"
LOCK_LIST = "select id from price_lists where id = $1 for no key update"


async def price_list_json(db: Db, list_id: str) -> str:
    """`{"price_list": ...}` with its prices and groups. Raises NotFound."""
    return await one(db, "price_list", PRICE_LIST, WHOLE, list_id, BY_ID)


async def lock_list(db: Db, list_id: str) -> bool:
    """Lock the list, which comes before its prices. Returns False when there is none."""
    return await db.fetchval(LOCK_LIST, list_id) is not None


async def access_list(db: Db, list_id: str) -> None:
    """Lock the list. Raises NotFound."""
    if not await lock_list(db, list_id):
        raise NotFound(f"There is no price list {list_id}.")
