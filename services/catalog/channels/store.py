"""The store: its name, its currencies, what it is preset to, and which providers it has."""

from services.catalog.answers import chosen, one
from services.catalog.bodies import Metadata, sent
from services.catalog.resources import PROVIDER, STORE, TAX_PROVIDER
from services.chassis.db import Db
from services.chassis.embed import Tree, tree
from services.chassis.errors import Duplicate, InvalidData
from services.chassis.http import ABSENT, Body
from services.chassis.operations import delete, get, post
from services.chassis.schemas import Rows

EVERYTHING = tree(STORE.relations)
WITH_CURRENCIES = tree(("currencies",))
WITH_DEFAULT = tree(("currencies", "default_currency"))


class StoreUpdate(Body):
    name: str = ABSENT
    swap_link_template: str | None = None
    """For front ends: where customers confirm a swap, with a place for its id."""
    payment_link_template: str | None = None
    """For front ends: where customers pay a draft order, with a place for its cart's id."""
    invite_link_template: str | None = None
    """For front ends: where people who were invited sign up, with a place for the token."""
    default_currency_code: str | None = None
    """Has to be one of the store's currencies. An empty code or null leaves it."""
    currencies: list[str] | None = None
    """Codes of all currencies that the store has from now on, in any case."""
    metadata: Metadata = None


LOCK_STORE = "select id, default_currency_code from stores for update"
# $2: the body as JSON; what it does not name stays.
UPDATE_STORE = """
update stores t set
    (name, swap_link_template, payment_link_template, invite_link_template, default_currency_code) = (
        select n.name, n.swap_link_template, n.payment_link_template, n.invite_link_template, n.default_currency_code
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
CURRENCIES_OF = "select currency_code from store_currencies where store_id = $1"
UNKNOWN_CURRENCIES = "select unnest($1::text[]) as code except select code from currencies"
SET_CURRENCIES = """
with gone as (
    delete from store_currencies where store_id = $1 and not currency_code = any($2::text[])
)
insert into store_currencies (store_id, currency_code) select distinct $1, unnest($2::text[]) on conflict do nothing
"""
ADD_CURRENCY = """
insert into store_currencies (store_id, currency_code) select $1, code from currencies where code = $2
on conflict do nothing returning true
"""
PAYMENT_PROVIDERS = """
select json_build_object('payment_providers', coalesce(json_agg(p order by id), '[]'))::text
from payment_providers p where is_installed
"""
TAX_PROVIDERS = """
select json_build_object('tax_providers', coalesce(json_agg(p order by id), '[]'))::text
from tax_providers p where is_installed
"""
TOUCH_STORE = "update stores set updated_at = now() where id = $1"


async def update_store(db: Db, body: StoreUpdate) -> bool:
    """Change what the body names; returns whether the default currency is another one now."""
    store_id, former = await db.fetchrow(LOCK_STORE)
    # An empty code says nothing.
    body.default_currency_code = body.default_currency_code.lower() if body.default_currency_code else None
    default = body.default_currency_code or former
    if body.currencies is not None:
        body.currencies = [code.lower() for code in body.currencies]
        unknown = sorted(row["code"] for row in await db.fetch(UNKNOWN_CURRENCIES, body.currencies))
        if unknown:
            raise InvalidData(f"currencies: there is no currency {', '.join(unknown)}.")
        codes = set(body.currencies)
    else:
        codes = {row["currency_code"] for row in await db.fetch(CURRENCIES_OF, store_id)}
    if default not in codes:
        raise InvalidData(f"The default currency {default} must be one of the store's currencies.")
    if body.currencies is not None:
        await db.execute(SET_CURRENCIES, store_id, body.currencies)
    await db.execute(UPDATE_STORE, store_id, sent(body, "default_currency_code", without=("currencies",)))
    return bool(default != former)


async def add_currency(db: Db, code: str) -> None:
    """Give the store one more currency. Raises InvalidData, or Duplicate when the store has it."""
    store_id, _ = await db.fetchrow(LOCK_STORE)
    if not await db.fetchval(ADD_CURRENCY, store_id, code.lower()):
        if await db.fetchval("select true from currencies where code = $1", code.lower()):
            raise Duplicate(f"The store has {code.lower()} already.")
        raise InvalidData(f"There is no currency {code}.")
    await db.execute(TOUCH_STORE, store_id)


async def remove_currency(db: Db, code: str) -> None:
    """Take the currency from the store, if it has it. Raises InvalidData for the default one."""
    store_id, default = await db.fetchrow(LOCK_STORE)
    if code.lower() == default:
        raise InvalidData(f"{default} is the default currency; make another one the default first.")
    statement = "delete from store_currencies where store_id = $1 and currency_code = $2 returning true"
    if await db.fetchval(statement, store_id, code.lower()):
        await db.execute(TOUCH_STORE, store_id)


async def store_json(db: Db, expand: Tree) -> str:
    """`{"store": ...}` with these relations."""
    return await one(db, "store", STORE, chosen(STORE, expand), "", "$1 = ''")


# Handlers


async def get_store(db: Db) -> str:
    return await store_json(db, EVERYTHING)


async def post_store(db: Db, body: StoreUpdate) -> str:
    replaced = await update_store(db, body)
    return await store_json(db, WITH_DEFAULT if replaced else WITH_CURRENCIES)


async def post_currency(db: Db, code: str) -> str:
    await add_currency(db, code)
    return await store_json(db, WITH_CURRENCIES)


async def delete_currency(db: Db, code: str) -> str:
    await remove_currency(db, code)
    return await store_json(db, WITH_CURRENCIES)


async def get_payment_providers(db: Db) -> str:
    providers: str = await db.fetchval(PAYMENT_PROVIDERS)
    return providers


async def get_tax_providers(db: Db) -> str:
    providers: str = await db.fetchval(TAX_PROVIDERS)
    return providers


WRITTEN = {"store": Rows((STORE,), WITH_DEFAULT)}
OPERATIONS = [
    get(
        "/admin/store",
        get_store,
        "Get the store",
        description="With its currencies, its providers, and the features that a front end may ask about.",
        answer={"store": Rows((STORE,), EVERYTHING)},
    ),
    post(
        "/admin/store",
        post_store,
        "Update the store",
        description="What is not sent stays. The default currency has to be one of the store's. The answer shows the "
        "default currency only when it has changed.",
        body=StoreUpdate,
        example={"name": "Mercer Store", "currencies": ["usd", "eur"], "default_currency_code": "eur"},
        answer=WRITTEN,
    ),
    post(
        "/admin/store/currencies/{code}",
        post_currency,
        "Add a currency to the store",
        description="Refused with 400 for a code that does not exist, with 422 for a currency that the store has.",
        answer=WRITTEN,
        errors=(InvalidData, Duplicate),
    ),
    delete(
        "/admin/store/currencies/{code}",
        delete_currency,
        "Remove a currency from the store",
        description="Refused for the default currency. One that the store does not have is no error.",
        answer=WRITTEN,
        errors=(InvalidData,),
    ),
    get(
        "/admin/store/payment-providers",
        get_payment_providers,
        "List the payment providers of the store",
        description="Those that are installed.",
        answer={"payment_providers": [PROVIDER]},
    ),
    get(
        "/admin/store/tax-providers",
        get_tax_providers,
        "List the tax providers of the store",
        description="Those that are installed, beside the built-in taxes by stored rates.",
        answer={"tax_providers": [TAX_PROVIDER]},
    ),
]
