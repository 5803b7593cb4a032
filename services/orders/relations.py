"""Relations that go in circles: what a row leads to where it stands inside something else, the ways back included.

There it has its own columns and what was asked for, no totals. resources.py declares the rows; they get their relations
here, since each needs the others (see chassis/embed.py). Whoever shows one imports this module.
"""

from dataclasses import replace

from services.chassis.embed import Many, Nested, One, Resource, Value, cols
from services.orders.resources import (
    ADDRESS,
    ADJUSTMENT,
    BARE_CART,
    BY_POSITION,
    CLAIM,
    CURRENCY,
    CUSTOMER,
    DRAFT_COLUMNS,
    FULFILLMENT,
    FULFILLMENT_ITEM,
    GROUP,
    ORDER_EDIT,
    PAYMENT,
    PAYMENT_SESSION,
    PLAIN_CLAIM,
    PLAIN_EDIT,
    PLAIN_ORDER,
    PLAIN_RETURN,
    PLAIN_SWAP,
    REFUND,
    REGION,
    RETURN,
    SALES_CHANNEL,
    SHOWN_PROVIDER,
    SWAP,
    TRACKING_LINK,
    discounts,
    document,
    line,
    method,
)

ALIVE = "{t}.deleted_at is null"
# Only an order by itself shows a region that was deleted.
LIVE_REGION = replace(REGION, on=REGION.on + " and {t}.body ->> 'deleted_at' is null")
MEMBER = (
    "exists (select from customer_group_customers m "
    "where m.customer_group_id = {group}.id and m.customer_id = {customer}.id)"
)
MEMBERSHIP = MEMBER.format(group="{t}", customer="{p}")

BILLING_ADDRESS = One(ADDRESS, "{t}.id = {p}.billing_address_id")
SHIPPING_ADDRESS = One(ADDRESS, "{t}.id = {p}.shipping_address_id")
CART = One(BARE_CART, "{t}.id = {p}.cart_id")
CLAIM_ORDER = One(PLAIN_CLAIM, "{t}.id = {p}.claim_order_id")
ORDER = One(PLAIN_ORDER, "{t}.id = {p}.order_id")
OWNER = One(CUSTOMER, "{t}.id = {p}.customer_id")
SELECTED_SESSION = One(PAYMENT_SESSION, "{t}.cart_id = {p}.id and {t}.is_selected")

WHOLE_DRAFT = Resource(
    "draft_orders", cols(f"{DRAFT_COLUMNS} completed_at@ idempotency_key"), {"cart": CART, "order": ORDER}
)
# Cards can be sold but not redeemed under /admin: no order or cart has any.
NONE = "(select where false)"
GIFT_CARD = Resource(
    NONE,
    dict.fromkeys(("id", "code", "region_id"), "null::text")
    | dict.fromkeys(("value", "balance"), "null::bigint")
    | dict.fromkeys(("ends_at", "created_at", "updated_at", "deleted_at"), "null::text")
    | {"is_disabled": "null::boolean", "tax_rate": "null::double precision", "metadata": "null::jsonb"},
    {"order": replace(ORDER, on="false"), "region": replace(REGION, on="false")},
    called="gift_cards",
)
GIFT_CARDS = Many(GIFT_CARD, "false")
TRANSACTIONS = Many(
    Resource(
        NONE,
        dict.fromkeys(("id", "gift_card_id", "order_id", "created_at"), "null::text")
        | {"amount": "null::bigint", "is_taxable": "null::boolean", "tax_rate": "null::double precision"},
        {"gift_card": One(GIFT_CARD, "false"), "order": replace(ORDER, on="false")},
        called="gift_card_transactions",
    ),
    "false",
)


def lines(column: str) -> Many:
    """The lines whose `column` names the parent."""
    return Many(line(), f"{{t}}.{column} = {{p}}.id", "{t}.created_at, {t}.position")


def methods(column: str) -> Many:
    """The shipping methods whose `column` names the parent."""
    return Many(method(), f"{{t}}.{column} = {{p}}.id", BY_POSITION)


ADDRESS.relations["customer"] = OWNER
ADJUSTMENT.relations.update(
    discount=document("discount", "{p}.discount_id", parent_discount=Nested(), regions=Nested(), rule=Nested()),
    item=One(line(), "{t}.id = {p}.item_id"),
)
CUSTOMER.relations.update(
    groups=Many(GROUP, MEMBERSHIP), orders=Many(PLAIN_ORDER, "{t}.customer_id = {p}.id", "{t}.created_at, {t}.id")
)
GROUP.relations["customers"] = Many(CUSTOMER, ALIVE + " and " + MEMBER.format(group="{p}", customer="{t}"))
FULFILLMENT.relations.update(
    claim_order=CLAIM_ORDER,
    order=ORDER,
    # Fulfillments are made by providers that are installed.
    provider=Value("json_build_object('id', {p}.provider_id, 'is_installed', true)", SHOWN_PROVIDER),
    swap=One(PLAIN_SWAP, "{t}.id = {p}.swap_id"),
)
FULFILLMENT_ITEM.relations.update(
    fulfillment=One(FULFILLMENT, "{t}.id = {p}.fulfillment_id"), item=One(line(), "{t}.id = {p}.item_id")
)
TRACKING_LINK.relations["fulfillment"] = One(FULFILLMENT, "{t}.id = {p}.fulfillment_id")
PAYMENT_SESSION.relations["cart"] = CART
BARE_CART.relations.update(
    billing_address=BILLING_ADDRESS,
    customer=OWNER,
    discounts=discounts("cart_discounts", "cart_id", rules=False),
    gift_cards=GIFT_CARDS,
    items=lines("cart_id"),
    payment=One(PAYMENT, "{t}.id = {p}.payment_id"),
    payment_session=SELECTED_SESSION,
    payment_sessions=Many(PAYMENT_SESSION, "{t}.cart_id = {p}.id", also={"payment_session": SELECTED_SESSION}),
    region=LIVE_REGION,
    sales_channel=SALES_CHANNEL,
    shipping_address=SHIPPING_ADDRESS,
    shipping_methods=methods("cart_id"),
)
PLAIN_ORDER.relations.update(
    billing_address=BILLING_ADDRESS,
    cart=CART,
    claims=Many(PLAIN_CLAIM, "{t}.order_id = {p}.id and {t}.deleted_at is null"),
    currency=CURRENCY,
    customer=OWNER,
    discounts=discounts("order_discounts", "order_id", rules=False),
    draft_order=One(WHOLE_DRAFT, "{t}.id = {p}.draft_order_id"),
    edits=Many(PLAIN_EDIT, "{t}.order_id = {p}.id"),
    fulfillments=Many(FULFILLMENT, "{t}.order_id = {p}.id"),
    gift_card_transactions=TRANSACTIONS,
    gift_cards=GIFT_CARDS,
    items=lines("order_id"),
    payments=Many(PAYMENT, "{t}.order_id = {p}.id"),
    refunds=Many(REFUND, "{t}.order_id = {p}.id"),
    region=LIVE_REGION,
    returns=Many(PLAIN_RETURN, "{t}.order_id = {p}.id"),
    sales_channel=SALES_CHANNEL,
    shipping_address=SHIPPING_ADDRESS,
    shipping_methods=methods("order_id"),
    swaps=Many(PLAIN_SWAP, "{t}.order_id = {p}.id and {t}.deleted_at is null"),
)
PLAIN_RETURN.relations.update(RETURN.relations)
PLAIN_EDIT.relations.update(ORDER_EDIT.relations)
PLAIN_SWAP.relations.update(
    SWAP.relations, additional_items=lines("swap_id"), return_order=One(PLAIN_RETURN, "{t}.swap_id = {p}.id")
)
PLAIN_CLAIM.relations.update(
    CLAIM.relations,
    additional_items=lines("claim_order_id"),
    return_order=One(PLAIN_RETURN, "{t}.claim_order_id = {p}.id"),
)
