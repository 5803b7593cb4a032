"""/admin/draft-orders: an offer that becomes an order when it is paid (placements.py). Its lines: items.py.

Every change asks the catalog what the cart costs before it opens a transaction, and stores the answer only on the cart
that it asked about: when another request changed the cart meanwhile, it asks again.
"""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, Field

from services.chassis.db import Db, reading, transaction
from services.chassis.errors import Conflict, NotAllowed, NotFound, Unavailable
from services.chassis.http import ABSENT, Body, json_bytes
from services.chassis.ids import new_id
from services.chassis.jsons import json_or_null
from services.chassis.operations import deletion, get, listing, post
from services.chassis.outbox import emit
from services.chassis.params import TEXT, Bind, Filter, choices, dates, described, search
from services.chassis.queries import page
from services.orders.customers.addresses import (
    AddressBody,
    add_address,
    changed_address,
    check_country,
    merge_address,
    new_address,
)
from services.orders.customers.customers import Email
from services.orders.drafts.parts import (
    Draft,
    access_draft,
    check_open,
    customer_for,
    group_ids,
    load_draft,
)
from services.orders.drafts.pricing import change_draft, emit_updated, refresh
from services.orders.pricing import quotes
from services.orders.pricing.quotes import Basket, Quote, Row
from services.orders.reads import DRAFT_ANSWER, LISTED_DRAFT, LISTED_DRAFT_EXPAND, draft_json
from services.orders.totals import MAX_AMOUNT, MAX_QUANTITY

Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
Price = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]


class ItemBody(Body):
    """A line of a variant, or a custom line without one."""

    variant_id: Annotated[str | None, AfterValidator(lambda id_: id_ or None)] = None
    unit_price: Price | None = None
    """In minor units, less than 0 counting as 0. By default what the variant costs, and nothing for a custom line."""
    title: str | None = None
    """Of a custom line, `Custom item` by default; a line of a variant is called what its product is called."""
    quantity: Quantity
    metadata: dict[str, Any] | None = None


class DiscountBody(Body):
    code: str
    """What customers enter, in any case."""


class MethodBody(Body):
    option_id: str
    """A shipping option of the draft's region."""
    data: dict[str, Any] | None = None
    """What the option's fulfillment provider is given, and checks."""
    price: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    """In minor units; what the option costs, by default."""


class DraftBody(Body):
    status: Literal["open", "completed"] | None = None
    """Understood, and changes nothing: paying is what completes a draft."""
    email: Email
    region_id: Annotated[str, Field(min_length=1)]
    """The region whose prices, taxes, currency and countries hold."""
    customer_id: str | None = None
    """By default the guest with the email, who is made when there is none."""
    billing_address: AddressBody | str | None = None
    """A new address, or the id of one."""
    shipping_address: AddressBody | str | None = None
    """A new address, or the id of one. By default the region's country, where it has but one."""
    items: list[ItemBody] | None = None
    discounts: list[DiscountBody] | None = None
    shipping_methods: list[MethodBody]
    no_notification_order: bool | None = None
    """Whether the customer is not to be notified of the order that it becomes."""
    metadata: dict[str, Any] | None = Field(default_factory=dict)
    """Kept with the cart, and with the order later."""


class DraftUpdate(Body):
    """What is not sent stays; the email cannot be null."""

    region_id: str | None = None
    """Named, it prices the lines of variants anew. Another one drops the shipping methods, and discounts that it does
    not have."""
    country_code: str | None = None
    """Where it is shipped to in another region: lower case, two letters. By default the region's only country."""
    email: Email = ABSENT
    customer_id: str | None = None
    """Named, it prices the lines of variants anew."""
    billing_address: AddressBody | str | None = None
    """Changes to the address, or the id of another one."""
    shipping_address: AddressBody | str | None = None
    """Changes to the address, or the id of another one."""
    discounts: list[DiscountBody] | None = None
    """In place of those that there are; an empty list takes them all off."""
    no_notification_order: bool | None = None
    """Whether the customer is not to be notified of the order that it becomes."""


def text_condition(name: str, value: Any, bind: Bind) -> str:
    """The condition that the text is a part of the email, or exactly the number."""
    email = search("exists (select from carts c where c.id = {t}.cart_id and lower(c.email) like {q})")
    return f"({email(name, value, bind)} or {{t}}.display_id::text = {bind(value)})"


FILTERS: dict[str, Filter] = {
    "q": described(Filter(text_condition, TEXT), "A part of the email, or the whole number of the draft."),
    "status": choices("{t}.status", ("open", "completed")),
    "created_at": dates("{t}.created_at"),
    "updated_at": dates("{t}.updated_at"),
}

# Actions

ADD_CART = """
insert into carts (id, type, email, customer_id, region_id, currency_code, sales_channel_id, billing_address_id,
    shipping_address_id, metadata)
values ($1, 'draft_order', $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)
"""
ADD_DRAFT = """
insert into draft_orders (id, cart_id, status, no_notification_order) values ($1, $2, 'open', $3) returning display_id
"""
CHANGE_CART = """
update carts set email = $2, customer_id = $3, region_id = $4, billing_address_id = $5, shipping_address_id = $6,
    updated_at = now()
where id = $1
"""
CHANGE_DRAFT = """
update draft_orders set no_notification_order = coalesce($2, no_notification_order), updated_at = now() where id = $1
"""
# Addresses stay: others may show them.
DELETE_DRAFT = """
with draft as (delete from draft_orders where id = $1 returning cart_id),
    lines as (delete from line_items where cart_id in (select cart_id from draft)),
    methods as (delete from shipping_methods where cart_id in (select cart_id from draft))
delete from carts where id in (select cart_id from draft)
"""


def new_line(item: ItemBody) -> Row:
    """A line as it is before the catalog was asked; what a variant is called comes from there."""
    line: Row = {
        "id": new_id("item"),
        "variant_id": item.variant_id,
        "product_id": None,
        "quantity": item.quantity,
        "unit_price": None if item.unit_price is None else max(item.unit_price, 0),
        "includes_tax": None,
        "should_merge": item.variant_id is None or item.unit_price is None,
        "has_shipping": None,
        "metadata": item.metadata or {},
    }
    if item.variant_id is not None:
        return line
    return line | {
        "title": item.title or "Custom item",
        "description": None,
        "thumbnail": None,
        "unit_price": line["unit_price"] or 0,
        "is_giftcard": False,
        "allow_discounts": False,
        "has_shipping": True,
    }


def new_method(method: MethodBody) -> Row:
    """A shipping method as it is before the catalog was asked."""
    return {
        "id": new_id("sm"),
        "shipping_option_id": method.option_id,
        "asked_price": method.price,
        "data": method.data or {},
    }


async def create_draft(db: Db, body: DraftBody, quote: Quote) -> str:
    """A new draft order that costs what was quoted. Returns its id. Raises NotFound, NotAllowed or InvalidData."""
    countries = quote.countries()
    billing = await new_address(db, body.billing_address, countries, "billing_address")
    shipping = await new_address(db, body.shipping_address, countries, "shipping_address")
    if shipping is None and len(countries) == 1:
        shipping = await add_address(db, {"country_code": countries[0]})
    customer_id, email = await customer_for(db, body.customer_id, body.email)
    cart_id, draft_id = new_id("cart"), new_id("dorder")
    channel = quote.sales_channel_id
    await db.execute(
        ADD_CART, cart_id, email, customer_id, body.region_id, quote.currency_code, channel, billing, shipping,
        json_or_null(body.metadata),
    )  # fmt: skip
    await quotes.store_quote(db, cart_id, quote)
    display_id = await db.fetchval(ADD_DRAFT, draft_id, cart_id, body.no_notification_order)
    await emit(db, "draft_order.created", draft_id, {"id": draft_id, "cart_id": cart_id, "display_id": display_id})
    return draft_id


def is_moved(draft: Draft, body: DraftUpdate) -> bool:
    """Whether the update brings the draft into another region."""
    return body.region_id is not None and body.region_id != draft.region_id


def updated_basket(draft: Draft, body: DraftUpdate, customer_id: str | None, groups: list[str]) -> Basket:
    """What the cart will hold after the update. Lines of variants are priced afresh for a region or customer that is
    named; another region drops the shipping methods, and the discounts that it does not have."""
    moved = is_moved(draft, body)
    afresh = body.region_id is not None or body.customer_id is not None
    unpriced = {"unit_price": None, "includes_tax": None, "has_shipping": False}
    lines = [line | unpriced if afresh and line["variant_id"] else line for line in draft.lines]
    held = draft.discount_ids
    if moved:
        held = [d["id"] for d in draft.discounts if body.region_id in d["region_ids"]]
    return Basket(
        region_id=body.region_id or draft.region_id,
        lines=lines,
        methods=[] if moved else draft.methods,
        codes=[discount.code for discount in body.discounts or []],
        customer_id=customer_id,
        group_ids=groups,
        codes_kept=body.discounts is None,
        discount_ids=held if body.discounts is None else [],
    )


async def update_draft(db: Db, draft: Draft, body: DraftUpdate, quote: Quote) -> None:
    """Change the cart of a draft to what was sent and quoted. Raises NotFound or InvalidData."""
    countries = quote.countries()
    customer_id, email = draft.customer_id, draft.email
    if body.customer_id or (body.email is not None and body.email != draft.email):
        customer_id, email = await customer_for(db, body.customer_id, body.email or "")
    shipping = draft.shipping_address_id
    if is_moved(draft, body):
        shipping = await move_address(db, draft, body.country_code, countries)
    shipping = await changed_address(db, shipping, body.shipping_address, countries, "shipping_address")
    billing = await changed_address(db, draft.billing_address_id, body.billing_address, countries, "billing_address")
    await db.execute(
        CHANGE_CART, draft.cart_id, email, customer_id, body.region_id or draft.region_id, billing, shipping
    )
    await quotes.store_quote(db, draft.cart_id, quote)


async def move_address(db: Db, draft: Draft, country_code: str | None, countries: list[str]) -> str | None:
    """The shipping address in a new region: its only country, or the one named; none when the old one is not there."""
    current = draft.shipping_address_id
    if country_code is not None:
        check_country(country_code, countries, NotAllowed, "country_code")
    if len(countries) == 1 or country_code is not None:
        code = country_code or countries[0]
        return await merge_address(db, current, {"country_code": code}, "shipping_address")
    if current is not None and not await db.fetchval(IN_COUNTRIES, current, countries):
        return await merge_address(db, current, {"country_code": None}, "shipping_address")
    return current


IN_COUNTRIES = "select country_code = any($2::text[]) from addresses where id = $1"


async def delete_draft(db: Db, draft_id: str) -> None:
    """Throw a draft away, if there is one. Raises NotAllowed for one that has become an order, and Conflict."""
    try:
        check_open((await access_draft(db, draft_id, "delete_draft"))["status"])
    except NotFound:
        return
    await db.execute(DELETE_DRAFT, draft_id)
    await emit(db, "draft_order.deleted", draft_id, {"id": draft_id})


# Handlers


async def get_draft_order(request: web.Request, draft_id: str) -> web.Response:
    async with reading(request) as db:
        draft = await load_draft(db, draft_id)
    await refresh(request, draft)
    async with reading(request) as db:
        return json_bytes(request, await draft_json(db, draft_id, order=True))


async def post_draft_orders(request: web.Request, body: DraftBody) -> web.Response:
    async with reading(request) as db:
        customer_id, groups = await group_ids(db, body.customer_id, body.email)
    basket = Basket(
        region_id=body.region_id,
        lines=[new_line(item) for item in body.items or []],
        methods=[new_method(method) for method in body.shipping_methods],
        codes=[discount.code for discount in body.discounts or []],
        customer_id=customer_id,
        group_ids=groups,
        codes_kept=False,
    )
    quote = await quotes.ask(request.app, basket)
    async with transaction(request) as db:
        draft_id = await create_draft(db, body, quote)
        return json_bytes(request, await draft_json(db, draft_id, order=True))


async def post_draft_order(request: web.Request, draft_id: str, body: DraftUpdate) -> web.Response:
    async def plan(db: Db, draft: Draft) -> Basket:
        customer_id, groups = draft.customer_id, draft.group_ids
        if body.customer_id or body.email is not None:
            customer_id, groups = await group_ids(db, body.customer_id, body.email)
        return updated_basket(draft, body, customer_id, groups)

    async def change(db: Db, draft: Draft, quote: Quote) -> str:
        await update_draft(db, draft, body, quote)
        # The answer shows the draft's own row as it was before, as Medusa's clients know it.
        answer = await draft_json(db, draft.id, whole=True)
        await db.execute(CHANGE_DRAFT, draft.id, body.no_notification_order)
        await emit_updated(db, draft)
        return answer

    return await change_draft(request, draft_id, plan, change)


OPERATIONS = [
    listing(
        "/admin/draft-orders",
        "draft_orders",
        page(LISTED_DRAFT, FILTERS, limit=50, expand=LISTED_DRAFT_EXPAND),
        "List draft orders",
        description="The newest come first. Each comes with its cart, which has no totals here.",
    ),
    post(
        "/admin/draft-orders",
        post_draft_orders,
        "Create a draft order",
        description="An offer that becomes an order when it is paid. Lines of variants cost what they cost in the "
        "region now, unless a price is named. Amounts are in minor units.",
        body=DraftBody,
        example={
            "email": "ada@example.com",
            "region_id": "reg_01HBZ4R8V3A5",
            "items": [
                {"variant_id": "variant_01HBZ4R8V3A5", "quantity": 2},
                {"title": "Gift wrap", "unit_price": 300, "quantity": 1},
            ],
            "shipping_methods": [{"option_id": "so_01HBZ4R8V3A5"}],
        },
        answer=DRAFT_ANSWER,
        errors=(NotFound, NotAllowed, Unavailable),
        asks_others=True,
    ),
    get(
        "/admin/draft-orders/{id}",
        get_draft_order,
        "Get a draft order",
        description="With its cart and, once it is paid, its order. Taxes and discounts of an open draft are those of "
        "the moment, as far as they can be had within a second.",
        answer=DRAFT_ANSWER,
        errors=(NotFound,),
        asks_others=True,
    ),
    post(
        "/admin/draft-orders/{id}",
        post_draft_order,
        "Update a draft order",
        description="What is not sent stays. The answer shows the draft's own row as it was before, its cart as it is "
        "now. Refused with 400 once the draft is paid, with 409 while it is being paid.",
        body=DraftUpdate,
        example={"shipping_address": {"city": "Berlin", "country_code": "de"}, "discounts": [{"code": "WELCOME"}]},
        answer=DRAFT_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
    deletion(
        "/admin/draft-orders/{id}",
        delete_draft,
        "draft-order",
        "Delete a draft order",
        description="With its cart. Refused with 400 once it is paid. One that is not there is no error.",
        errors=(NotAllowed, Conflict),
    ),
]
