"""/admin/orders: find, read, edit, complete and archive. Its parts have files of their own (fulfillments.py, ...)."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

import asyncpg
import orjson
from aiohttp import web
from pydantic import AfterValidator

from services.chassis.db import Db, reading, transaction
from services.chassis.embed import page_json
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound
from services.chassis.http import Body, json_bytes, parse
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.chassis.params import Bind, Filter, choices, dates, number, query_of, search, text, texts, word
from services.orders import status
from services.orders.customers import check_email
from services.orders.draft_parts import AddressBody
from services.orders.reads import check_order_query, order_json, orders_page, written_order_json

NAMED = search(
    "lower({t}.email) like {q} or exists (select from addresses a where a.id = {t}.shipping_address_id "
    "and lower(a.first_name) like {q}) or exists (select from customers c where c.id = {t}.customer_id "
    "and (lower(c.first_name) like {q} or lower(c.last_name) like {q} or lower(c.phone) like {q}))"
)


def display_id(name: str, value: Any, bind: Bind) -> str:
    """The number that people see. Raises InvalidData when it is none."""
    if not re.fullmatch(r"\d{1,18}", word(name, value)):
        raise InvalidData(f"{name}: must be a whole number.")
    return f"{{t}}.display_id = {bind(int(value))}::bigint"


def named(name: str, value: Any, bind: Bind) -> str:
    """Free text: recipient, email, customer, or exactly the number. Finds only orders that are sent somewhere."""
    exactly = f"{{t}}.display_id::text = {bind(word(name, value))}"
    return f"({{t}}.shipping_address_id is not null and ({exactly} or {NAMED(name, value, bind)}))"


FILTERS: dict[str, Filter] = {
    "q": named,
    "id": text("{t}.id"),
    "display_id": display_id,
    "cart_id": text("{t}.cart_id"),
    "customer_id": text("{t}.customer_id"),
    "email": text("{t}.email"),
    "region_id": texts("{t}.region_id"),
    "currency_code": text("{t}.currency_code"),
    "tax_rate": lambda name, value, bind: f"{{t}}.tax_rate = {bind(number(name, value))}::float8",
    "status": choices("{t}.status", status.ORDER_STATUSES),
    "fulfillment_status": choices("{t}.fulfillment_status", status.FULFILLMENT_STATUSES),
    "payment_status": choices("{t}.payment_status", status.PAYMENT_STATUSES),
    "sales_channel_id": texts("{t}.sales_channel_id", array_only=True),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
    "canceled_at": dates("{t}.canceled_at"),
}


class PaymentMethod(Body):
    provider_id: str | None = None
    data: dict[str, Any] | None = None


class ShippingMethod(Body):
    provider_id: str | None = None
    profile_id: str | None = None
    price: int | None = None
    data: dict[str, Any] | None = None
    items: list[dict[str, Any]] | None = None


class OrderUpdate(Body):
    """`payment_method` and `shipping_method` are understood and change nothing."""

    email: Annotated[str, AfterValidator(check_email)] = ""
    customer_id: str = ""
    billing_address: AddressBody | None = None
    shipping_address: AddressBody | None = None
    no_notification: bool | None = None
    items: list[dict[str, Any]] | None = None
    region: str | None = None
    discounts: list[dict[str, Any]] | None = None
    payment_method: PaymentMethod | None = None
    shipping_method: ShippingMethod | None = None


# Access

LOCK = "select * from orders where id = $1 for no key update"
BUSY = """
select kind from sagas
where status in ('running', 'undoing') and state ->> 'order_id' = $1 and kind = any($2::text[]) and id <> $3
limit 1
"""
# A statement of its own after the lock: one that had to wait for the lock would still see what was before.
LINES = """
select li.id, li.variant_id, li.quantity, li.fulfilled_quantity, li.shipped_quantity,
    p.related ->> 'profile_id' as profile_id
from line_items li left join copies p on p.kind = 'product' and p.id = li.product_id
where li.order_id = $1 order by li.created_at, li.position
"""


async def access_order(db: Db, order_id: str, unless: Iterable[str] = ("cancel_order",), saga_id: str = "") -> Any:
    """The order's row, locked until the transaction ends.

    Raises NotFound, and Conflict while a saga of a kind in `unless`, other than `saga_id`, is at work on it.
    """
    order = await db.fetchrow(LOCK, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    busy = await db.fetchval(BUSY, order_id, list(unless), saga_id)
    if busy:
        raise Conflict(
            f"Another request ({busy.replace('_', ' ')}) is at work on this order; try again when it is done."
        )
    return order


async def order_lines(db: Db, order_id: str) -> list[asyncpg.Record]:
    """The counters of the order's lines, and the shipping profile of each one's product."""
    return await db.fetch(LINES, order_id)


# Actions

MERGE_ADDRESS = """
update addresses a set
    (company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone) = (
        select company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone
        from jsonb_populate_record(a, $2::text::jsonb)
    ),
    metadata = case when $3::text is null then metadata else merged_metadata(metadata, $3::text::jsonb) end,
    updated_at = now()
where id = $1
"""
ADD_ADDRESS = """
insert into addresses (
    id, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone, metadata
)
select $1, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone,
    $3::text::jsonb
from jsonb_populate_record(null::addresses, $2::text::jsonb)
"""
IN_REGION = """
select exists (
    select from copies c, jsonb_array_elements(c.related -> 'countries') country
    where c.kind = 'region' and c.id = $1 and country ->> 'iso_2' = $2
)
"""
UPDATE = """
update orders set
    email = coalesce($2, email),
    customer_id = coalesce($3, customer_id),
    no_notification = case when $4::boolean is null then no_notification
        else $4 or coalesce(no_notification, false) end,
    billing_address_id = $5,
    shipping_address_id = $6,
    updated_at = now()
where id = $1
"""
KNOWN_CUSTOMER = "select id from customers where id = $1 and deleted_at is null for key share"


async def update_order(db: Db, order_id: str, body: OrderUpdate) -> None:
    """Change what was sent. Raises NotFound, NotAllowed or InvalidData."""
    order = await access_order(db, order_id)
    status.check_alive(order["status"], "updated")
    if body.items is not None:
        raise NotAllowed("The lines of an order that was placed are changed by an order edit.")
    if body.region is not None or body.discounts:
        raise InvalidData("The region and the discounts of an order that was placed stay as they are.")
    if body.customer_id and await db.fetchval(KNOWN_CUSTOMER, body.customer_id) is None:
        raise NotFound(f"There is no customer {body.customer_id}.")
    billing = await save_address(db, order["region_id"], order["billing_address_id"], body.billing_address)
    shipping = await save_address(db, order["region_id"], order["shipping_address_id"], body.shipping_address)
    await db.execute(
        UPDATE, order_id, body.email or None, body.customer_id or None, body.no_notification, billing, shipping
    )
    await emit_updated(db, order_id, order["no_notification"] if body.no_notification is None else body.no_notification)


async def save_address(db: Db, region_id: str, address_id: str | None, sent: AddressBody | None) -> str | None:
    """Merge into the address there is, or make one; its id. Raises InvalidData for a country outside the region."""
    if sent is None:
        return address_id
    columns = sent.model_dump(mode="json", exclude={"metadata"}, exclude_unset=True)
    columns["country_code"] = (sent.country_code or "").lower()
    if not await db.fetchval(IN_REGION, region_id, columns["country_code"]):
        raise InvalidData("country_code: must be a country of the order's region.")
    metadata = None if sent.metadata is None else orjson.dumps(sent.metadata).decode()
    made = address_id or new_id("addr")
    await db.execute(MERGE_ADDRESS if address_id else ADD_ADDRESS, made, orjson.dumps(columns).decode(), metadata)
    return made


async def emit_updated(db: Db, order_id: str, no_notification: bool | None) -> None:
    await emit(db, "order.updated", order_id, {"id": order_id, "no_notification": no_notification})


async def complete_order(db: Db, order_id: str) -> None:
    """Asks for neither fulfillment nor capture, and may be repeated. Raises NotFound or NotAllowed."""
    order = await access_order(db, order_id)
    status.check_alive(order["status"], "completed")
    if order["status"] != "completed":
        await db.execute("update orders set status = 'completed', updated_at = now() where id = $1", order_id)
        data = {"id": order_id, "no_notification": order["no_notification"]}
        await emit(db, "order.completed", order_id, data)


async def archive_order(db: Db, order_id: str) -> None:
    """Raises NotFound, or NotAllowed unless it is completed."""
    order = await access_order(db, order_id)
    status.check_archivable(order["status"])
    await db.execute("update orders set status = 'archived', updated_at = now() where id = $1", order_id)
    await emit_updated(db, order_id, order["no_notification"])


# Handlers


async def get_orders(request: web.Request) -> web.Response:
    page = orders_page(query_of(request), FILTERS)
    async with reading(request) as db:
        return json_bytes(request, await page_json(db, "orders", page))


async def get_order(request: web.Request) -> web.Response:
    async with reading(request) as db:
        return json_bytes(request, await order_json(db, request.match_info["id"], query_of(request)))


async def post_order(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    body = await parse(request, OrderUpdate)
    async with transaction(request) as db:
        await update_order(db, order_id, body)
        return json_bytes(request, await written_order_json(db, order_id, query))


async def post_complete(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    async with transaction(request) as db:
        await complete_order(db, order_id)
        return json_bytes(request, await written_order_json(db, order_id, query))


async def post_archive(request: web.Request) -> web.Response:
    order_id, query = request.match_info["id"], query_of(request)
    check_order_query(query)
    async with transaction(request) as db:
        await archive_order(db, order_id)
        return json_bytes(request, await written_order_json(db, order_id, query))


ROUTES = [
    web.get("/admin/orders", get_orders),
    web.get("/admin/orders/{id}", get_order),
    web.post("/admin/orders/{id}", post_order),
    web.post("/admin/orders/{id}/complete", post_complete),
    web.post("/admin/orders/{id}/archive", post_archive),
]
