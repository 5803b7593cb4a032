"""/store/carts: what a customer does with the cart of a swap before completing it (completions.py).

Whoever holds the id of a cart may do it. Nothing else of /store is answered, and no other carts.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from services.chassis.db import Db
from services.chassis.errors import Conflict, InvalidData, NotAllowed, NotFound, Unavailable
from services.chassis.http import Body
from services.chassis.ids import new_id
from services.chassis.jsons import json_text
from services.chassis.operations import post
from services.chassis.queries import NOTHING
from services.orders.pricing.quotes import Row, store_copies
from services.orders.pricing.rounds import StaleError, change_priced
from services.orders.swaps.carts import (
    Repriced,
    SwapCart,
    access_cart,
    check_open,
    load_cart,
    reprice,
    set_methods,
    store_cart,
)
from services.orders.swaps.reads import STORE_CART_ANSWER, store_cart_json


class CartShippingMethodBody(Body):
    option_id: Annotated[str, Field(min_length=1)]
    """One of those that were offered with the swap; where none were, one that is for customers."""
    data: dict[str, Any] | None = None
    """What the option's fulfillment provider is given, and checks."""


class SessionBody(Body):
    """For regions with several payment providers, or one that needs something of the customer's browser."""

    provider_id: str | None = None
    """A payment provider of the region; the one chosen before, or the first, by default."""
    data: dict[str, Any] | None = None
    """What the customer's browser has for the provider."""


# Shipping


def chosen_method(cart: SwapCart, body: CartShippingMethodBody) -> Row:
    """The method as it is before the catalog was asked. Raises InvalidData for an option that staff did not offer."""
    if cart.offered and body.option_id not in cart.offered:
        raise InvalidData(f"Shipping option {body.option_id} is not one of those that are offered with this swap.")
    return {
        "id": new_id("sm"),
        "shipping_option_id": body.option_id,
        "asked_price": cart.offered.get(body.option_id),
        "data": body.data or {},
    }


def check_method(cart: SwapCart, option_id: str, options: Sequence[Row]) -> None:
    """Raises InvalidData for options that customers cannot choose by themselves."""
    option = next((doc["body"] for doc in options if doc["id"] == option_id), None) or {}
    if option_id not in cart.offered and (option.get("is_return") or option.get("admin_only")):
        raise InvalidData(f"Shipping option {option_id} is not for customers.")


async def with_method(app: web.Application, cart: SwapCart, body: CartShippingMethodBody) -> Repriced:
    """The cart with the method in place of the one of the same shipping profile. Raises InvalidData, and what the
    catalog refuses with."""
    chosen = chosen_method(cart, body)
    quoted = await reprice(app, cart, [*cart.methods, chosen])
    check_method(cart, body.option_id, quoted.copies.get("shipping_option", []))
    profile = quoted.methods[-1]["profile_id"]
    left = [method for method in cart.methods if method["profile_id"] != profile]
    return await reprice(app, cart, [*left, chosen]) if len(left) < len(cart.methods) else quoted


async def check_unchanged(db: Db, cart: SwapCart) -> None:
    """Lock the cart. Raises StaleError when it is no longer as it was read, and what `access_cart` raises."""
    locked = await access_cart(db, cart.id, "change_swap_cart")
    check_open(locked)
    if locked.version != cart.version:
        raise StaleError


async def post_shipping_method(
    request: web.Request, cart_id: str, _query: None, body: CartShippingMethodBody
) -> web.Response:
    """The method takes the place of the one of the same shipping profile."""

    async def planned(db: Db) -> SwapCart:
        cart = await load_cart(db, cart_id)
        check_open(cart)
        return cart

    async def quoted(cart: SwapCart) -> Repriced:
        return await with_method(request.app, cart, body)

    async def store(db: Db, cart: SwapCart, priced: Repriced) -> str:
        await check_unchanged(db, cart)
        await store_copies(db, priced.copies)
        await set_methods(db, cart_id, priced.methods)
        await store_cart(db, cart_id, priced.lines, priced.total)
        return await store_cart_json(db, cart_id)

    busy = "This cart is being changed by others; try again."
    return await change_priced(request, plan=planned, quote=quoted, store=store, busy=busy)


# Payment

PROVIDERS = """
select coalesce(c.related -> 'payment_providers', '[]')::text from copies c where c.kind = 'region' and c.id = $1
"""
# $1 cart, $2 amount, $3 ids, $4 providers, $5 the one that is chosen, $6 its data
ADD_SESSIONS = """
insert into payment_sessions (id, cart_id, provider_id, amount, data, is_selected, is_initiated)
select x.id, $1, x.provider_id, $2, case when x.provider_id = $5 then $6::text::jsonb else '{}' end,
    nullif(x.provider_id = $5, false), x.provider_id = $5
from unnest($3::text[], $4::text[]) as x(id, provider_id)
"""
DELETE_SESSIONS = "delete from payment_sessions where cart_id = $1"


async def offer_payment(db: Db, cart: SwapCart, body: SessionBody) -> None:
    """Start a session with each provider of the region, one of them chosen; none when there is nothing to pay.

    Raises InvalidData for a provider that the region does not have.
    """
    providers = orjson.loads(await db.fetchval(PROVIDERS, cart.region_id) or "[]")
    provider_ids = sorted(provider["id"] for provider in providers)
    if body.provider_id is not None and body.provider_id not in provider_ids:
        raise InvalidData(f"provider_id: the region has only {', '.join(provider_ids)}.")
    await db.execute(DELETE_SESSIONS, cart.id)
    if cart.total <= 0 or not provider_ids:
        return
    kept = cart.provider_id if cart.provider_id in provider_ids else provider_ids[0]
    data = {"status": "pending"} if body.data is None else body.data
    ids = [new_id("ps") for _ in provider_ids]
    await db.execute(ADD_SESSIONS, cart.id, cart.total, ids, provider_ids, body.provider_id or kept, json_text(data))


async def post_payment_sessions(db: Db, cart_id: str, _query: None, body: SessionBody) -> str:
    cart = await access_cart(db, cart_id, "change_swap_cart")
    check_open(cart)
    await offer_payment(db, cart, body)
    return await store_cart_json(db, cart_id)


OPERATIONS = [
    post(
        "/store/carts/{id}/shipping-methods",
        post_shipping_method,
        "Choose how a swap is shipped",
        description="The shipping method takes the place of the one of the same shipping profile, and the totals "
        "follow. Whoever has the id of the cart may do it. Refused once the cart is completed or the swap canceled.",
        query=NOTHING,
        public=True,
        body=CartShippingMethodBody,
        example={"option_id": "so_01HBZ4R8V3A5"},
        answer=STORE_CART_ANSWER,
        errors=(NotFound, NotAllowed, Conflict, Unavailable),
        asks_others=True,
    ),
    post(
        "/store/carts/{id}/payment-sessions",
        post_payment_sessions,
        "Start payment sessions of a swap",
        description="One with each payment provider of the region, in place of those there were, of which one is "
        "chosen. None when there is nothing to pay. Whoever has the id of the cart may do it.",
        query=NOTHING,
        public=True,
        body=SessionBody,
        example={"provider_id": "system"},
        answer=STORE_CART_ANSWER,
        errors=(NotFound, NotAllowed, Conflict),
    ),
]
