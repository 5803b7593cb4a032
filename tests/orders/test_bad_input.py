"""What cannot be done is refused as the reference refuses it, and nothing has changed then: not in any service."""

import secrets
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest

from tests.support.client import Client
from tests.support.factories.shops import ADDRESS, Shop, free_countries, place, set_up
from tests.support.invariants import quiet
from tests.support.stack import SERVICES, Stack
from tests.support.waiting import until

# What is not the business of a shop: what a service has heard, was asked and has begun.
BOOKS = (
    "inbox", "outbox", "idempotency_keys", "schema_migrations", "schema_migration_steps", "sagas", "command_replies",
    "order_counts", "emitted_providers", "emitted_fulfillment_providers",
)  # fmt: skip
TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind = 'r' and c.relname <> all ($1::text[]) order by 1
"""


async def rows(stack: Stack, service: str) -> dict[str, str]:
    """A digest of all rows of each table; the numbers of the last events are among them."""
    pool = stack.pool(service)
    parts = [
        f"select '{row['relname']}', coalesce(md5(string_agg(t::text, '|' order by t::text)), '') "
        f"from {row['relname']} t"
        for row in await pool.fetch(TABLES, list(BOOKS))
    ]
    return dict(await pool.fetch(" union all ".join(parts)))


async def everything(stack: Stack) -> dict[str, dict[str, str]]:
    """All that the four services know."""
    return {name: await rows(stack, name) for name in SERVICES}


async def settle(stack: Stack) -> None:
    """Wait until every event has left and has been heard: nothing changes any more by itself."""
    async with await aio_pika.connect(stack.rabbitmq_url) as connection:
        broker = await connection.channel()

        async def steady() -> bool:
            before = await everything(stack)
            return await quiet(stack, broker) and before == await everything(stack)

        await until(steady, every=0.1)


@dataclass
class World:
    """A shop with stock, an order of 4 pieces of which one was shipped and one fulfilled, and one that stands open."""

    shop: Shop
    location: str
    order: dict[str, Any]
    open: dict[str, Any]
    shipped: str
    foreign: dict[str, str]

    def fill(self, value: Any) -> Any:
        """The placeholders of a case, such as "{item}"."""
        names = {
            "order": self.order["id"],
            "open": self.open["id"],
            "item": self.order["items"][0]["id"],
            "open_item": self.open["items"][0]["id"],
            "location": self.location,
            "shipped": self.shipped,
            "region": self.shop.region,
            "variant": self.shop.small,
            "option": self.shop.shipping_option,
            **self.foreign,
        }
        if isinstance(value, str):
            for name, id_ in names.items():
                value = value.replace("{" + name + "}", id_)
            return value
        if isinstance(value, dict):
            return {name: self.fill(each) for name, each in value.items()}
        return [self.fill(each) for each in value] if isinstance(value, list) else value


async def make(api: Client) -> World:
    """Through the API alone, so that it can be made on the reference server, too."""
    uid = secrets.token_hex(4)
    shop = await set_up(api, manage_inventory=True)
    location = (await api.ok("POST", "/admin/stock-locations", {"name": f"W {uid}"}))["stock_location"]["id"]
    await api.ok("POST", f"/admin/sales-channels/{shop.channel}/stock-locations", {"location_id": location})
    counted = (await api.ok("GET", f"/admin/variants/{shop.small}/inventory"))["variant"]["inventory"][0]["id"]
    body = {"location_id": location, "stocked_quantity": 3}
    await api.ok("POST", f"/admin/inventory-items/{counted}/location-levels", body)
    order = await place(api, shop, items=[{"variant_id": shop.small, "quantity": 4}])
    item, path = order["items"][0]["id"], f"/admin/orders/{order['id']}"
    fulfilling = {"items": [{"item_id": item, "quantity": 1}]}
    first = (await api.ok("POST", f"{path}/fulfillment", fulfilling))["order"]["fulfillments"][0]["id"]
    await api.ok("POST", f"{path}/shipment", {"fulfillment_id": first})
    await api.ok("POST", f"{path}/fulfillment", fulfilling)
    await api.ok("POST", f"{path}/refund", {"amount": 500, "reason": "other"})
    other = await place(api, shop, items=[{"variant_id": shop.small, "quantity": 4}])
    return World(shop, location, order, other, first, await abroad(api, uid))


async def abroad(api: Client, uid: str) -> dict[str, str]:
    """A region of another currency, with its shipping option and discount; and what is sold for its currency only."""
    region = {
        "name": f"US {uid}",
        "currency_code": "usd",
        "tax_rate": 0,
        "countries": ["us"],
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
    }
    region_id = (await api.ok("POST", "/admin/regions", region))["region"]["id"]
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    option = {
        "name": f"US {uid}",
        "region_id": region_id,
        "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": 900,
        "data": {"id": "manual-fulfillment"},
    }
    option_id = (await api.ok("POST", "/admin/shipping-options", option))["shipping_option"]["id"]
    rule = {"type": "fixed", "value": 100, "allocation": "total"}
    body = {"code": f"US{uid}".upper(), "rule": rule, "regions": [region_id], "is_dynamic": False}
    code = (await api.ok("POST", "/admin/discounts", body))["discount"]["code"]
    product = {
        "title": f"Flag {uid}",
        "handle": f"flag-{uid}",
        "status": "published",
        "options": [{"title": "Size"}],
        "variants": [
            {"title": "One", "manage_inventory": False, "prices": [{"currency_code": "usd", "amount": 1000}],
             "options": [{"value": "One"}]},
        ],
    }  # fmt: skip
    variant = (await api.ok("POST", "/admin/products", product))["product"]["variants"][0]["id"]
    return {"us_option": option_id, "us_code": code, "us_variant": variant, "us_region": region_id}


def draft(**more: Any) -> dict[str, Any]:
    return {
        "email": "buyer@example.com",
        "region_id": "{region}",
        "items": [{"variant_id": "{variant}", "quantity": 1}],
        "shipping_methods": [{"option_id": "{option}"}],
        "billing_address": ADDRESS,
        "shipping_address": ADDRESS,
    } | more


def lines(item: str, quantity: int, **more: Any) -> dict[str, Any]:
    return {"items": [{"item_id": item, "quantity": quantity}]} | more


ORDER, OPEN = "/admin/orders/{order}", "/admin/orders/{open}"
FULFILLED, RETURN = f"{ORDER}/fulfillment", f"{ORDER}/return"
NOT_ALLOWED, INVALID, NOT_FOUND = (400, "not_allowed"), (400, "invalid_data"), (404, "not_found")
# As the reference answers, but where it does what nobody can want: it ships twice, fulfills items that are not there
# and returns or refunds less than nothing (200), or falls over (500: fulfilling or selling less than nothing).
CASES: list[tuple[str, str, Any, tuple[int, str]]] = [
    ("more than was bought", FULFILLED, lines("{item}", 5), NOT_ALLOWED),
    ("more than is left", FULFILLED, lines("{item}", 3), NOT_ALLOWED),
    ("more than is left, from a location", FULFILLED, lines("{item}", 3, location_id="{location}"), NOT_ALLOWED),
    ("more than is in stock", f"{OPEN}/fulfillment", lines("{open_item}", 4, location_id="{location}"), NOT_ALLOWED),
    ("more than can be refunded", f"{ORDER}/refund", {"amount": 4001, "reason": "other"}, NOT_ALLOWED),
    ("more than was paid", f"{OPEN}/refund", {"amount": 4501, "reason": "other"}, NOT_ALLOWED),
    ("cancel an order that was shipped", f"{ORDER}/cancel", None, NOT_ALLOWED),
    ("cancel a fulfillment that was shipped", f"{ORDER}/fulfillments/{{shipped}}/cancel", None, NOT_ALLOWED),
    ("ship twice", f"{ORDER}/shipment", {"fulfillment_id": "{shipped}"}, NOT_ALLOWED),
    ("fulfill an unknown item", FULFILLED, lines("item_missing", 1), NOT_FOUND),
    ("fulfill another order's item", FULFILLED, lines("{open_item}", 1), NOT_FOUND),
    ("return an unknown item", RETURN, lines("item_missing", 1), NOT_FOUND),
    ("return more than was bought", RETURN, lines("{item}", 5), NOT_ALLOWED),
    ("sell an unknown variant", "/admin/draft-orders", draft(items=[{"variant_id": "x", "quantity": 1}]), INVALID),
    ("fulfill minus one", FULFILLED, lines("{item}", -1), INVALID),
    ("return minus one", RETURN, lines("{item}", -1), INVALID),
    ("sell minus one", "/admin/draft-orders", draft(items=[{"variant_id": "{variant}", "quantity": -1}]), INVALID),
    ("refund minus one", f"{ORDER}/refund", {"amount": -1, "reason": "other"}, INVALID),
    ("reserve minus one", f"{OPEN}/line-items/{{open_item}}/reserve", {"location_id": "{location}", "quantity": -1},
     INVALID),
    ("a price in another currency", "/admin/draft-orders", draft(items=[{"variant_id": "{us_variant}", "quantity": 1}]),
     INVALID),
    ("shipping in another currency", "/admin/draft-orders", draft(shipping_methods=[{"option_id": "{us_option}"}]),
     INVALID),
    ("shipping of an order in another currency", f"{OPEN}/shipping-methods", {"option_id": "{us_option}", "price": 1},
     INVALID),
    ("a discount in another currency", "/admin/draft-orders", draft(discounts=[{"code": "{us_code}"}]), INVALID),
    ("a return label in another currency", RETURN,
     lines("{item}", 1, return_shipping={"option_id": "{us_option}", "price": 1}), INVALID),
    ("an address abroad", OPEN, {"shipping_address": ADDRESS | {"country_code": "us"}}, INVALID),
    ("another currency for an order", OPEN, {"currency_code": "usd"}, INVALID),
    ("another region for an order", OPEN, {"region": "{us_region}"}, INVALID),
]  # fmt: skip


@pytest.fixture(scope="module")
async def world(api: Client, stack: Stack) -> World:
    await free_countries(api)
    made = await make(api)
    await settle(stack)
    return made


@pytest.mark.parametrize(("path", "body", "refusal"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_refused_without_a_trace(
    api: Client, stack: Stack, world: World, path: str, body: Any, refusal: tuple[int, str]
) -> None:
    before = await everything(stack)
    status, answer = await api.post(world.fill(path), world.fill(body))
    assert (status, answer["type"]) == refusal, answer
    assert await everything(stack) == before


async def test_the_trace_would_be_seen(api: Client, stack: Stack, world: World) -> None:
    """What is watched changes in every service when something is done."""
    before = await everything(stack)  # the last test: it leaves the world changed
    body = lines(world.open["items"][0]["id"], 1, location_id=world.location)
    await api.ok("POST", f"/admin/orders/{world.open['id']}/fulfillment", body)
    await api.ok("POST", f"/admin/orders/{world.open['id']}/refund", {"amount": 1, "reason": "other"})
    await api.ok("POST", f"/admin/products/{world.shop.product}", {"title": "Another"})
    after = await everything(stack)
    assert [name for name in SERVICES if after[name] == before[name]] == []
