"""What a draft order is made of besides its lines: customer, addresses, country codes, and the draft as it stands."""

from dataclasses import dataclass
from typing import Any

import orjson

from services.chassis.db import Db
from services.chassis.errors import Conflict, NotAllowed, NotFound
from services.chassis.ids import new_id
from services.chassis.outbox import emit
from services.chassis.saga_rows import running_for
from services.orders.concurrency import WAITS_FOR
from services.orders.pricing.quotes import Row
from services.orders.pricing.rounds import StaleError

LOAD_DRAFT = """
select json_build_object(
    'id', d.id, 'status', d.status, 'order_id', d.order_id, 'cart_id', d.cart_id, 'version', c.version,
    'no_notification_order', d.no_notification_order, 'metadata', c.metadata, 'region_id', c.region_id,
    'currency_code', c.currency_code, 'sales_channel_id', c.sales_channel_id, 'customer_id', c.customer_id,
    'email', c.email, 'billing_address_id', c.billing_address_id, 'shipping_address_id', c.shipping_address_id,
    'group_ids', array(select customer_group_id from customer_group_customers where customer_id = c.customer_id),
    'discounts', (
        select coalesce(json_agg(json_build_object('id', x.discount_id, 'code', x.code,
            'region_ids', array(select jsonb_path_query(k.related, '$.regions[*].id'))) order by x.position), '[]')
        from cart_discounts x left join copies k on k.kind = 'discount' and k.id = x.discount_id
        where x.cart_id = c.id),
    'lines', (
        select coalesce(json_agg(json_build_object(
            'id', l.id, 'variant_id', l.variant_id, 'product_id', l.product_id, 'title', l.title,
            'description', l.description, 'thumbnail', l.thumbnail, 'unit_price', l.unit_price,
            'quantity', l.quantity, 'is_giftcard', l.is_giftcard, 'should_merge', l.should_merge,
            'allow_discounts', l.allow_discounts, 'has_shipping', l.has_shipping, 'includes_tax', l.includes_tax,
            'metadata', l.metadata,
            'tax_lines', (
                select coalesce(json_agg(json_build_object('rate', x.rate, 'name', x.name, 'code', x.code)
                    order by x.position), '[]') from line_item_tax_lines x where x.item_id = l.id),
            'discounts', (
                select coalesce(json_agg(json_build_object('discount_id', x.discount_id, 'amount', x.amount)
                    order by x.position), '[]') from line_item_adjustments x where x.item_id = l.id)
            ) order by l.created_at, l.position), '[]')
        from line_items l where l.cart_id = c.id),
    'methods', (
        select coalesce(json_agg(json_build_object(
            'id', m.id, 'shipping_option_id', m.shipping_option_id, 'profile_id', m.profile_id,
            'provider_id', m.provider_id, 'price', m.price, 'asked_price', m.asked_price, 'data', m.data,
            'includes_tax', m.includes_tax,
            'tax_lines', (
                select coalesce(json_agg(json_build_object('rate', x.rate, 'name', x.name, 'code', x.code)
                    order by x.position), '[]')
                from shipping_method_tax_lines x where x.shipping_method_id = m.id)) order by m.position), '[]')
        from shipping_methods m where m.cart_id = c.id)
)::text
from draft_orders d join carts c on c.id = d.cart_id where d.id = $1
"""
LOCK_DRAFT = """
select d.status, c.version from draft_orders d join carts c on c.id = d.cart_id where d.id = $1 for no key update
"""
KNOWN_CUSTOMER = """
select c.id, array(select customer_group_id from customer_group_customers where customer_id = c.id) as group_ids
from customers c
where c.deleted_at is null
    and case when $1::text is not null then c.id = $1 else lower(c.email) = $2 and not has_account end
"""
LOCK_CUSTOMER = "select id, lower(email) as email from customers where id = $1 and deleted_at is null for key share"
LOCK_GUEST = "select id from customers where lower(email) = $1 and not has_account and deleted_at is null for key share"
ADD_GUEST = """
insert into customers (id, email, has_account) values ($1, $2, false) on conflict do nothing returning id
"""


@dataclass(frozen=True)
class Draft:
    """A draft order with its cart, as it stood when it was read."""

    id: str
    status: str
    order_id: str | None
    cart_id: str
    version: int
    no_notification_order: bool | None
    metadata: Row | None
    region_id: str
    currency_code: str
    sales_channel_id: str | None
    customer_id: str | None
    email: str | None
    billing_address_id: str | None
    shipping_address_id: str | None
    group_ids: list[str]
    discounts: list[Row]
    lines: list[Row]
    methods: list[Row]

    @property
    def discount_ids(self) -> list[str]:
        return [discount["id"] for discount in self.discounts]


async def load_draft(db: Db, draft_id: str) -> Draft:
    """The draft as it stands. Raises NotFound."""
    text = await db.fetchval(LOAD_DRAFT, draft_id)
    if text is None:
        raise NotFound(f"There is no draft order {draft_id}.")
    return Draft(**orjson.loads(text))


def check_open(status: str) -> None:
    """Raises NotAllowed when the draft has become an order."""
    if status != "open":
        raise NotAllowed("This draft order is completed; change the order instead.")


async def access_draft(db: Db, draft_id: str, operation: str) -> Any:
    """(status, version) of the draft, locked until the transaction ends. Raises NotFound, and Conflict while it is
    being paid."""
    row = await db.fetchrow(LOCK_DRAFT, draft_id)
    if row is None:
        raise NotFound(f"There is no draft order {draft_id}.")
    # A statement of its own after the lock: one that had to wait for the lock would still see what was before.
    if await running_for(db, WAITS_FOR[operation], draft_id):
        raise Conflict("This draft order is being paid at this moment.")
    return row


async def check_unchanged(db: Db, draft: Draft) -> None:
    """Lock the draft. Raises StaleError when it is no longer as it was read, and what `access_draft` raises."""
    row = await access_draft(db, draft.id, "change_draft")
    check_open(row["status"])
    if row["version"] != draft.version:
        raise StaleError


async def group_ids(db: Db, customer_id: str | None, email: str | None) -> tuple[str | None, list[str]]:
    """(id, groups) of the customer whom a draft with these would get; (None, []) for a guest yet to be made.

    Raises NotFound for an unknown `customer_id`.
    """
    row = await db.fetchrow(KNOWN_CUSTOMER, customer_id, email)
    if row is None and customer_id is not None:
        raise NotFound(f"There is no customer {customer_id}.")
    return (row["id"], row["group_ids"]) if row else (None, [])


async def customer_for(db: Db, customer_id: str | None, email: str) -> tuple[str, str]:
    """(id, email) of that customer, or else of the guest with the email, who is made when missing. Raises NotFound."""
    if customer_id is not None:
        row = await db.fetchrow(LOCK_CUSTOMER, customer_id)
        if row is None:
            raise NotFound(f"There is no customer {customer_id}.")
        return row["id"], row["email"]
    guest_id = await db.fetchval(ADD_GUEST, new_id("cus"), email)
    if guest_id:
        await emit(db, "customer.created", guest_id, {"id": guest_id, "email": email, "has_account": False})
        return guest_id, email
    # A statement of its own: the insert may have waited for a row that it could not see.
    return str(await db.fetchval(LOCK_GUEST, email)), email


def merged_metadata(old: Row | None, sent: Row) -> Row:
    """The old metadata with each key that was sent; a key sent as "" goes away."""
    return {key: value for key, value in ((old or {}) | sent).items() if key not in sent or value != ""}
