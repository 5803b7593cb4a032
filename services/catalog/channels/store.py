"""The store: its name, its currencies, what it is preset to, and which providers it has."""

from aiohttp import web

from services.catalog.answers import chosen, one
from services.catalog.bodies import Metadata, sent
from services.catalog.resources import PROVIDER, STORE, TAX_PROVIDER
from services.chassis.db import Db, reading, transaction
from services.chassis.embed import Tree, tree
from services.chassis.errors import Duplicate, InvalidData
from services.chassis.http import ABSENT, Body, json_bytes, parse

EVERYTHING = tree(STORE.relations)
CURRENCIES = tree(("currencies",))
WITH_DEFAULT = tree(("currencies", "default_currency"))


class StoreUpdate(Body):
    name: str = ABSENT
    swap_link_template: str | None = None
    payment_link_template: str | None = None
    invite_link_template: str | None = None
    default_currency_code: str | None = None
    currencies: list[str] | None = None
    metadata: Metadata = None


LOCK = "select id, default_currency_code from stores for update"
# $2: the body as JSON; what it does not name stays.
UPDATE = """
update stores t set
    (name, swap_link_template, payment_link_template, invite_link_template, default_currency_code) = (
        select n.name, n.swap_link_template, n.payment_link_template, n.invite_link_template, n.default_currency_code
        from jsonb_populate_record(t, $2::text::jsonb - 'metadata') n
    ),
    metadata = updated_metadata(t.metadata, $2::text::jsonb),
    updated_at = now()
where id = $1
"""
HELD = "select currency_code from store_currencies where store_id = $1"
UNKNOWN = "select unnest($1::text[]) as code except select code from currencies"
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
TOUCH = "update stores set updated_at = now() where id = $1"


async def update_store(db: Db, body: StoreUpdate) -> bool:
    """Change what the body names; returns whether the default currency is another one now."""
    store_id, former = await db.fetchrow(LOCK)
    # An empty code says nothing.
    body.default_currency_code = body.default_currency_code.lower() if body.default_currency_code else None
    default = body.default_currency_code or former
    if body.currencies is not None:
        body.currencies = [code.lower() for code in body.currencies]
        unknown = sorted(row["code"] for row in await db.fetch(UNKNOWN, body.currencies))
        if unknown:
            raise InvalidData(f"currencies: there is no currency {', '.join(unknown)}.")
        held = set(body.currencies)
    else:
        held = {row["currency_code"] for row in await db.fetch(HELD, store_id)}
    if default not in held:
        raise InvalidData(f"The default currency {default} must be one of the store's currencies.")
    if body.currencies is not None:
        await db.execute(SET_CURRENCIES, store_id, body.currencies)
    await db.execute(UPDATE, store_id, sent(body, "default_currency_code", without=("currencies",)))
    return bool(default != former)


async def add_currency(db: Db, code: str) -> None:
    """One more currency for the store. Raises InvalidData, or Duplicate when the store has it."""
    store_id, _ = await db.fetchrow(LOCK)
    if not await db.fetchval(ADD_CURRENCY, store_id, code.lower()):
        if await db.fetchval("select true from currencies where code = $1", code.lower()):
            raise Duplicate(f"The store has {code.lower()} already.")
        raise InvalidData(f"There is no currency {code}.")
    await db.execute(TOUCH, store_id)


async def remove_currency(db: Db, code: str) -> None:
    """The store no longer has the currency. Raises InvalidData for the default one."""
    store_id, default = await db.fetchrow(LOCK)
    if code.lower() == default:
        raise InvalidData(f"{default} is the default currency; make another one the default first.")
    gone = "delete from store_currencies where store_id = $1 and currency_code = $2 returning true"
    if await db.fetchval(gone, store_id, code.lower()):
        await db.execute(TOUCH, store_id)


async def store_json(db: Db, expand: Tree) -> str:
    """`{"store": ...}` with these relations."""
    return await one(db, "store", STORE, chosen(STORE, expand), "", "$1 = ''")


async def get_store(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await store_json(db, EVERYTHING))


async def post_store(request: web.Request) -> web.Response:
    body = await parse(request, StoreUpdate)
    async with transaction(request) as db:
        replaced = await update_store(db, body)
        return json_bytes(request, await store_json(db, WITH_DEFAULT if replaced else CURRENCIES))


async def post_currency(request: web.Request) -> web.Response:
    async with transaction(request) as db:
        await add_currency(db, request.match_info["code"])
        return json_bytes(request, await store_json(db, CURRENCIES))


async def delete_currency(request: web.Request) -> web.Response:
    async with transaction(request) as db:
        await remove_currency(db, request.match_info["code"])
        return json_bytes(request, await store_json(db, CURRENCIES))


async def get_payment_providers(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval(PAYMENT_PROVIDERS))


async def get_tax_providers(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await db.fetchval(TAX_PROVIDERS))


# For the documentation (services/chassis/openapi.py): what the statements above make.
ANSWERS = {
    "get_payment_providers": {"payment_providers": [PROVIDER]},
    "get_tax_providers": {"tax_providers": [TAX_PROVIDER]},
}

OPERATIONS = [
    web.get("/admin/store", get_store),
    web.post("/admin/store", post_store),
    web.post("/admin/store/currencies/{code}", post_currency),
    web.delete("/admin/store/currencies/{code}", delete_currency),
    web.get("/admin/store/payment-providers", get_payment_providers),
    web.get("/admin/store/tax-providers", get_tax_providers),
]
