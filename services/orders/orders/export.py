"""Orders as rows of a file that the catalog's batch jobs write: it asks for a page after the other, by key."""

from typing import Any

import orjson
from pydantic import Field

from services.chassis.commands import CommandBody, checked
from services.chassis.db import Db
from services.chassis.embed import One, Resource, Selection, aliases, cols, object_sql, tree
from services.chassis.errors import InvalidData
from services.chassis.params import TEXT, Bind, Filter, Values, check_known, conditions, search, word
from services.orders.orders import lists as order_lists

# What can be sorted by, none of it null, and the types that the keys of a page are compared as.
SORTED = {
    "id": "text",
    "display_id": "int",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "email": "text",
    "status": "text",
    "fulfillment_status": "text",
    "payment_status": "text",
    "customer_id": "text",
    "region_id": "text",
    "currency_code": "text",
    "subtotal": "bigint",
    "shipping_total": "bigint",
    "discount_total": "bigint",
    "tax_total": "bigint",
    "refunded_total": "bigint",
    "total": "bigint",
}
NAMED = search(
    "lower({t}.email) like {q} or exists (select from addresses a where a.id = {t}.shipping_address_id "
    "and lower(a.first_name) like {q}) or exists (select from customers c where c.id = {t}.customer_id "
    "and (lower(c.first_name) like {q} or lower(c.last_name) like {q} or lower(c.phone) like {q}))"
)


def named(name: str, value: Any, bind: Bind) -> str:
    """Free text, as in the list of orders; a page by key looks at each order anyway."""
    exactly = f"{{t}}.display_id::text = {bind(word(name, value))}"
    return f"({{t}}.shipping_address_id is not null and ({exactly} or {NAMED(name, value, bind)}))"


FILTERS: dict[str, Filter] = order_lists.FILTERS | {"q": Filter(named, TEXT)}
EXPORTED = Resource(
    "orders",
    cols(
        "id display_id status created_at@ fulfillment_status payment_status subtotal shipping_total discount_total"
        " gift_card_total refunded_total tax_total total currency_code region_id"
    ),
    {
        "customer": One(Resource("customers", cols("id email first_name last_name")), "{t}.id = {p}.customer_id"),
        "shipping_address": One(
            Resource("addresses", cols("address_1 address_2 country_code city postal_code")),
            "{t}.id = {p}.shipping_address_id",
        ),
        "sales_channel": One(
            Resource("copies", cols(name="{t}.body ->> 'name'", description="{t}.body ->> 'description'")),
            "{t}.kind = 'sales_channel' and {t}.id = {p}.sales_channel_id",
        ),
    },
)
WHOLE = Selection(tuple(EXPORTED.columns), tree(EXPORTED.relations))
ROW = object_sql(EXPORTED, WHOLE.tree, "t0", aliases(), WHOLE.fields)


class SelectionBody(CommandBody):
    """Orders that match the filters of their list, in this order."""

    filters: dict[str, Any]
    order: str
    descending: bool


class PageBody(SelectionBody):
    """Those that follow the order with the keys `after`; of the first page, `skip` orders are left out."""

    after: tuple[str, str] | None = None
    skip: int = Field(ge=0)
    limit: int = Field(gt=0, le=1000)


def selected_where(body: SelectionBody, values: Values) -> str:
    """The condition of the filters, over orders that are called t0. Raises InvalidData."""
    check_known(body.filters, FILTERS)
    if body.order not in SORTED:
        raise InvalidData(f"order: orders cannot be exported by {body.order}.")
    return " and ".join(["true", *conditions(body.filters, FILTERS, values)]).format(t="t0")


async def count_orders(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """{filters, order, descending} -> {"count"}: how many `export_orders` will find."""
    values = Values()
    where = selected_where(checked(SelectionBody, body), values)
    return {"count": await db.fetchval(f"select count(*) from orders t0 where {where}", *values.args)}  # noqa: S608


async def export_orders(db: Db, body: dict[str, Any]) -> dict[str, Any]:
    """A page -> {"orders", "after"}; `after` is what asks for the next one. Raises InvalidData."""
    page, values = checked(PageBody, body | {"after": body.get("after") and tuple(body["after"])}), Values()
    where = selected_where(page, values)
    way, sign = ("desc", "<") if page.descending else ("asc", ">")
    if page.after is not None:
        key, id_ = (values.bind(part) for part in page.after)
        where += f" and (t0.{page.order}, t0.id) {sign} ({key}::text::{SORTED[page.order]}, {id_})"
    by = f"t0.{page.order} {way}, t0.id {way}"
    inner = f"select * from orders t0 where {where} order by {by} limit {values.bind(page.limit)}"  # noqa: S608
    rows = await db.fetch(
        f"select {ROW}::text as row, t0.{page.order}::text as key, t0.id "  # noqa: S608 - as above
        f"from ({inner} offset {values.bind(page.skip)}) t0 order by {by}",
        *values.args,
    )
    after = [rows[-1]["key"], rows[-1]["id"]] if rows else None
    return {"orders": [orjson.loads(row["row"]) for row in rows], "after": after}


COMMANDS = {"count_orders": count_orders, "export_orders": export_orders}
