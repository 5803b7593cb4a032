"""/admin/orders: find, read, edit, complete and archive. Its parts have files of their own (captures.py, ...)."""

from typing import Annotated, Any

from pydantic import AfterValidator

from services.chassis.db import Db
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound
from services.chassis.http import ABSENT, Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import get, post
from services.chassis.outbox import emit
from services.chassis.saga_rows import running
from services.chassis.schemas import page_of
from services.orders import status
from services.orders.concurrency import WAITS_FOR, conflict
from services.orders.customers.addresses import AddressBody
from services.orders.customers.customers import check_email
from services.orders.orders.lists import ORDERS, OrdersPage, orders_json
from services.orders.reads import ORDER_ANSWER, ORDER_ROWS, SHOWN, WRITTEN, OrderView, order_json


class PaymentMethod(Body):
    provider_id: str | None = None
    data: dict[str, Any] | None = None
    """What the provider would be given."""


class ShippingMethod(Body):
    provider_id: str | None = None
    profile_id: str | None = None
    price: int | None = None
    """In minor units."""
    data: dict[str, Any] | None = None
    """What the provider would be given."""
    items: list[dict[str, Any]] | None = None


class OrderUpdate(Body):
    """What is not sent stays."""

    email: Annotated[str, AfterValidator(check_email)] = ABSENT
    """The order's; the customer keeps theirs."""
    customer_id: str = ABSENT
    billing_address: AddressBody | None = None
    """Merged into the address that there is; its country has to be one of the order's region."""
    shipping_address: AddressBody | None = None
    """Merged into the address that there is; its country has to be one of the order's region."""
    no_notification: bool | None = None
    """Whether the customer is not to be notified. Once true, it stays so."""
    items: list[dict[str, Any]] | None = None
    """Refused: lines are changed by an order edit."""
    region: str | None = None
    """Refused: it stays as it is."""
    discounts: list[dict[str, Any]] | None = None
    """Refused, unless empty: they stay as they are."""
    payment_method: PaymentMethod | None = None
    """Understood, and changes nothing."""
    shipping_method: ShippingMethod | None = None
    """Understood, and changes nothing."""


# Access

LOCK_ORDER = "select * from orders where id = $1 for no key update"


async def access_order(db: Db, order_id: str, operation: str, saga_id: str = "") -> Any:
    """The order's row, locked until the transaction ends.

    Raises NotFound, and Conflict while a saga that the operation waits for (concurrency.py), other than `saga_id`, is
    under way for the order.
    """
    order = await db.fetchrow(LOCK_ORDER, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    await check_free(db, order_id, operation, saga_id)
    return order


async def check_free(db: Db, order_id: str, operation: str, saga_id: str = "") -> None:
    """Raises Conflict as `access_order` does; the order is locked."""
    kinds = WAITS_FOR[operation]
    if kinds and (kind := await running(db, kinds, "order_id", order_id, saga_id)):
        raise conflict(kind)


# Actions

# $3: the metadata as sent, which is merged ($4) or takes the place of the old; null when nothing was said about it.
MERGE_ADDRESS = """
update addresses a set
    (company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone) = (
        select company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone
        from jsonb_populate_record(a, $2::text::jsonb)
    ),
    metadata = case when $3::text is null then metadata when $3::text = 'null' then null
        when $4::boolean then merged_metadata(metadata, $3::text::jsonb) else $3::text::jsonb end,
    updated_at = now()
where id = $1
"""
ADD_ADDRESS = """
insert into addresses (
    id, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone, metadata
)
select $1, company, first_name, last_name, address_1, address_2, city, country_code, province, postal_code, phone,
    case when $3::text = 'null' then null
        when $3::text is not null and $4::boolean then merged_metadata(null, $3::text::jsonb) else $3::text::jsonb end
from jsonb_populate_record(null::addresses, $2::text::jsonb)
"""
IN_REGION = """
select exists (
    select from copies c, jsonb_array_elements(c.related -> 'countries') country
    where c.kind = 'region' and c.id = $1 and country ->> 'iso_2' = $2
)
"""
UPDATE_ORDER = """
update orders set
    email = coalesce($2, email),
    customer_id = coalesce($3, customer_id),
    no_notification = case when $4::boolean then true else no_notification end,
    billing_address_id = $5,
    shipping_address_id = $6,
    updated_at = now()
where id = $1
"""
KNOWN_CUSTOMER = "select id from customers where id = $1 and deleted_at is null for key share"


async def update_order(db: Db, order_id: str, body: OrderUpdate) -> None:
    """Change what was sent. Raises NotFound, NotAllowed or InvalidData."""
    order = await access_order(db, order_id, "update_order")
    status.check_alive(order["status"], "updated")
    if body.items is not None:
        raise NotAllowed("The lines of an order that was placed are changed by an order edit.")
    if body.region is not None or body.discounts:
        raise InvalidData("The region and the discounts of an order that was placed stay as they are.")
    if body.customer_id is not None and await db.fetchval(KNOWN_CUSTOMER, body.customer_id) is None:
        raise NotFound(f"There is no customer {body.customer_id}.")
    region, billing, shipping = order["region_id"], order["billing_address_id"], order["shipping_address_id"]
    # As in Medusa: metadata is merged into that of the billing address only.
    billing = await save_address(db, region, billing, body.billing_address, merges=True)
    shipping = await save_address(db, region, shipping, body.shipping_address, merges=False)
    await db.execute(UPDATE_ORDER, order_id, body.email, body.customer_id, body.no_notification, billing, shipping)
    await emit_updated(db, order_id, order["no_notification"] if body.no_notification is None else body.no_notification)


async def save_address(
    db: Db, region_id: str, address_id: str | None, sent: AddressBody | None, *, merges: bool
) -> str | None:
    """Change the address, or add one where there is none, and return its id. The columns that were sent change;
    metadata is replaced, or merged where it `merges`. Raises InvalidData for a country outside the region."""
    if sent is None:
        return address_id
    columns = sent.model_dump(mode="json", exclude={"metadata"}, exclude_unset=True)
    columns["country_code"] = (sent.country_code or "").lower()
    if not await db.fetchval(IN_REGION, region_id, columns["country_code"]):
        raise InvalidData("country_code: must be a country of the order's region.")
    metadata = json_text(sent.metadata) if "metadata" in sent.model_fields_set else None
    statement = MERGE_ADDRESS if address_id else ADD_ADDRESS
    saved_id = address_id or new_id("addr")
    await db.execute(statement, saved_id, json_text(columns), metadata, merges)
    return saved_id


async def emit_updated(db: Db, order_id: str, no_notification: bool | None) -> None:
    await emit(db, "order.updated", order_id, {"id": order_id, "no_notification": no_notification})


async def complete_order(db: Db, order_id: str) -> None:
    """Complete the order, whether or not it was fulfilled and captured; again, nothing changes. Raises NotFound or
    NotAllowed."""
    order = await access_order(db, order_id, "complete_order")
    status.check_alive(order["status"], "completed")
    if order["status"] != "completed":
        await db.execute("update orders set status = 'completed', updated_at = now() where id = $1", order_id)
        data = {"id": order_id, "no_notification": order["no_notification"]}
        await emit(db, "order.completed", order_id, data)


async def archive_order(db: Db, order_id: str) -> None:
    """Archive the order. Raises NotFound, or NotAllowed unless it is completed."""
    order = await access_order(db, order_id, "archive_order")
    status.check_archivable(order["status"])
    await db.execute("update orders set status = 'archived', updated_at = now() where id = $1", order_id)
    await emit_updated(db, order_id, order["no_notification"])


# Handlers


async def get_orders(db: Db, page: OrdersPage) -> str:
    return await orders_json(db, page)


async def get_order(db: Db, order_id: str, view: OrderView) -> str:
    return await order_json(db, order_id, view)


async def post_order(db: Db, order_id: str, view: OrderView, body: OrderUpdate) -> str:
    await update_order(db, order_id, body)
    return await order_json(db, order_id, view)


async def post_complete(db: Db, order_id: str, view: OrderView) -> str:
    await complete_order(db, order_id)
    return await order_json(db, order_id, view)


async def post_archive(db: Db, order_id: str, view: OrderView) -> str:
    await archive_order(db, order_id)
    return await order_json(db, order_id, view)


OPERATIONS = [
    get(
        "/admin/orders",
        get_orders,
        "List orders",
        description="The newest come first. `q` looks into numbers, emails, and names of recipients.",
        query=ORDERS,
        answer=page_of("orders", ORDER_ROWS),
    ),
    get("/admin/orders/{id}", get_order, "Get an order", query=SHOWN, answer=ORDER_ANSWER, errors=(NotFound,)),
    post(
        "/admin/orders/{id}",
        post_order,
        "Update an order",
        description="Changes addresses, email, customer and whether customers are notified. Lines are changed by an "
        "order edit; the region and the discounts of an order that was placed stay as they are.",
        query=WRITTEN,
        body=OrderUpdate,
        example={"email": "ada@example.com", "shipping_address": {"city": "Berlin", "country_code": "de"}},
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
    post(
        "/admin/orders/{id}/complete",
        post_complete,
        "Complete an order",
        description="Asks for neither fulfillment nor capture, and may be repeated.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
    post(
        "/admin/orders/{id}/archive",
        post_archive,
        "Archive an order",
        description="Refused unless the order is completed.",
        query=WRITTEN,
        answer=ORDER_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
]
