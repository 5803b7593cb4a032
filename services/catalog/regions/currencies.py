"""Currencies: the fixed list of those that a store can choose from, and whether prices in one include taxes."""

from dataclasses import replace

from services.catalog.answers import chosen, one
from services.catalog.regions.documents import REGION_KINDS
from services.catalog.resources import CURRENCY
from services.chassis.db import Db
from services.chassis.documents import each_doc
from services.chassis.embed import Page
from services.chassis.errors import NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.operations import listing, post
from services.chassis.outbox import emit_all
from services.chassis.params import Query, described, flag, search, text
from services.chassis.queries import Parameters, page

FILTERS = {
    "code": text("{t}.code"),
    "includes_tax": described(flag("{t}.includes_tax"), "Whether prices in them include taxes."),
    "q": described(
        search("lower({t}.code) like {q} or lower({t}.name) like {q}"), "A part of the code or the name, in any case."
    ),
}
ALL_CURRENCIES = page(CURRENCY, FILTERS, limit=20, order="{t}.code", knows=("limit", "offset", "order"))
REGIONS_OF = "select id from regions where currency_code = $1 order by id for no key update"


class CurrencyUpdate(Body):
    includes_tax: bool = ABSENT
    """Whether prices in this currency include taxes, unless their price list or region says so itself."""


async def update_currency(db: Db, code: str, body: CurrencyUpdate) -> str:
    """Change what the body names; returns the code as stored. Raises NotFound."""
    known: str | None = await db.fetchval("select code from currencies where code = $1 for no key update", code.lower())
    if known is None:
        raise NotFound(f"There is no currency {code}.")
    if "includes_tax" in body.model_fields_set:
        await db.execute("update currencies set includes_tax = $2 where code = $1", known, body.includes_tax)
        regions = [row["id"] for row in await db.fetch(REGIONS_OF, known)]
        await emit_all(db, "region.updated", await each_doc(db, "region", regions, REGION_KINDS))
    return known


def read_currencies(query: Query) -> Page:
    """A page of currencies. Lists break ties by id; a currency's is its code. Raises InvalidData."""
    currencies = ALL_CURRENCIES.read(query)
    return replace(currencies, order=currencies.order.replace("{t}.id", "{t}.code"))


async def post_currency(db: Db, code: str, body: CurrencyUpdate) -> str:
    known = await update_currency(db, code, body)
    return await one(db, "currency", CURRENCY, chosen(CURRENCY), known, "{t}.code = $1")


OPERATIONS = [
    listing(
        "/admin/currencies",
        "currencies",
        Parameters(read_currencies, ALL_CURRENCIES.schemas, ALL_CURRENCIES.rows),
        "List currencies",
        description="All that there are, whether the store has them or not, by code.",
    ),
    post(
        "/admin/currencies/{code}",
        post_currency,
        "Update a currency",
        description="Says whether prices in it include taxes. The code is taken in any case.",
        body=CurrencyUpdate,
        example={"includes_tax": True},
        answer={"currency": CURRENCY},
        errors=(NotFound,),
    ),
]
