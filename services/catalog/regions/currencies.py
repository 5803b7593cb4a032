"""Currencies: the fixed list of those that a store can choose from, and whether prices in one include taxes."""

from aiohttp import web

from services.catalog.answers import chosen, get_page, one
from services.catalog.regions.documents import REGION_KINDS
from services.catalog.resources import CURRENCY
from services.chassis.db import Db, transaction
from services.chassis.documents import each_doc
from services.chassis.embed import Resource, page_query
from services.chassis.errors import NotFound
from services.chassis.http import ABSENT, Body, json_bytes, parse
from services.chassis.outbox import emit_all
from services.chassis.params import flag, query_of, search, text

# Lists break ties by id; a currency's is its code.
LISTED = Resource("(select *, code as id from currencies)", CURRENCY.columns)
FILTERS = {
    "code": text("{t}.code"),
    "includes_tax": flag("{t}.includes_tax"),
    "q": search("lower({t}.code) like {q} or lower({t}.name) like {q}"),
}
REGIONS_OF = "select id from regions where currency_code = $1 order by id for no key update"


class CurrencyUpdate(Body):
    includes_tax: bool = ABSENT


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


async def get_currencies(request: web.Request) -> web.Response:
    page = page_query(
        LISTED, query_of(request), FILTERS, limit=20, order="{t}.code", knows=("limit", "offset", "order")
    )
    return await get_page(request, "currencies", page)


async def post_currency(request: web.Request) -> web.Response:
    body = await parse(request, CurrencyUpdate)
    async with transaction(request) as db:
        code = await update_currency(db, request.match_info["code"], body)
        return json_bytes(request, await one(db, "currency", CURRENCY, chosen(CURRENCY), code, "{t}.code = $1"))


OPERATIONS = [
    web.get("/admin/currencies", get_currencies),
    web.post("/admin/currencies/{code}", post_currency),
]
