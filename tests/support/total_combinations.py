"""Taxes, tax-inclusive prices, discounts, gift cards and shipping, combined: what a draft and its order cost.

`combinations.json` holds what the reference server answered for each combination. To record it anew:

    python -m tests.support.total_combinations --base http://127.0.0.1:9100 > tests/orders/pricing/combinations.json
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
from typing import Any

import aiohttp

from tests.support.client import Client
from tests.support.factories.shops import ADDRESS, free_countries
from tests.support.waiting import until

Row = dict[str, Any]
TOTALS = (
    "subtotal", "discount_total", "shipping_total", "tax_total", "item_tax_total", "shipping_tax_total",
    "gift_card_total", "gift_card_tax_total", "total",
)  # fmt: skip
PAID = ("paid_total", "refunded_total", "refundable_amount")
LINE = (
    "quantity", "unit_price", "includes_tax", "subtotal", "discount_total", "tax_total", "total", "original_total",
    "original_tax_total",
)  # fmt: skip
METHOD = ("price", "includes_tax", "subtotal", "tax_total", "total", "original_total", "original_tax_total")
PERCENT, TOTAL, ITEM, FREE = "percentage", "fixed total", "fixed item", "free_shipping"
RULES: dict[str, Row] = {
    PERCENT: {"type": "percentage", "value": 15, "allocation": "item"},
    TOTAL: {"type": "fixed", "value": 1000, "allocation": "total"},
    ITEM: {"type": "fixed", "value": 175, "allocation": "item"},
    FREE: {"type": "free_shipping", "value": 0, "allocation": "total"},
}


def drawn(number: int) -> list[Row]:
    """The combinations, which are the same every time."""
    dice = random.Random(20)
    return [
        {
            "rate": dice.choice([0, 7.5, 19, 25]),
            "product_rate": dice.choice([None, None, 5.5]),
            "includes_tax": dice.random() < 0.5,
            "cards_taxable": dice.random() < 0.5,
            "shipping": dice.choice([0, 499, 1250]),
            "shipping_includes_tax": dice.random() < 0.5,
            "shipping_price": dice.choice([None, None, 333]),
            "discounts": dice.choice([[], [PERCENT], [TOTAL], [ITEM], [FREE], [PERCENT, FREE], [TOTAL, FREE]]),
            "mugs": dice.choice([1, 3, 7]),
            "posters": dice.choice([0, 2]),
            "poster_price": dice.choice([None, 1999]),
            "cards": dice.choice([0, 0, 2]),
            "wraps": dice.choice([0, 1]),
        }
        for _ in range(number)
    ]


async def product(api: Client, title: str, amount: int, **more: Any) -> tuple[str, str]:
    """Makes a product, and returns its id and that of its variant."""
    uid = secrets.token_hex(4)
    body = {
        "title": title,
        "handle": f"{title.lower()}-{uid}",
        "status": "published",
        "options": [{"title": "Size"}],
        "variants": [
            {
                "title": "One",
                "manage_inventory": False,
                "prices": [{"currency_code": "eur", "amount": amount}],
                "options": [{"value": "One"}],
            }
        ],
    } | more
    product = (await api.ok("POST", "/admin/products", body))["product"]
    return product["id"], product["variants"][0]["id"]


async def shop(api: Client, combo: Row) -> Row:
    """What is there before the draft: a region, a shipping option, products, discounts."""
    uid = secrets.token_hex(4)
    await free_countries(api)
    await api.ok("POST", "/admin/store", {"currencies": ["usd", "eur"]})
    region = (
        await api.ok(
            "POST",
            "/admin/regions",
            {
                "name": f"R {uid}",
                "currency_code": "eur",
                "tax_rate": combo["rate"],
                "countries": ["de"],
                "payment_providers": ["manual"],
                "fulfillment_providers": ["manual"],
                "includes_tax": combo["includes_tax"],
            },
        )
    )["region"]["id"]
    await api.ok("POST", f"/admin/regions/{region}", {"gift_cards_taxable": combo["cards_taxable"]})
    profiles = (await api.ok("GET", "/admin/shipping-profiles"))["shipping_profiles"]
    option = {
        "name": f"S {uid}",
        "region_id": region,
        "profile_id": next(p["id"] for p in profiles if p["type"] == "default"),
        "provider_id": "manual",
        "price_type": "flat_rate",
        "amount": combo["shipping"],
        "includes_tax": combo["shipping_includes_tax"],
        "data": {"id": "manual-fulfillment"},
    }
    option_id = (await api.ok("POST", "/admin/shipping-options", option))["shipping_option"]["id"]
    mug_id, mug = await product(api, "Mug", 999)
    _, poster = await product(api, "Poster", 2475)
    _, card = await product(api, "Card", 2500, is_giftcard=True, discountable=False)
    if combo["product_rate"] is not None:
        rate = {"name": "Special", "code": "special", "region_id": region, "rate": combo["product_rate"]}
        await api.ok("POST", "/admin/tax-rates", rate | {"products": [mug_id]})
    codes = []
    for name in combo["discounts"]:
        codes.append(f"{name.replace(' ', '').replace('_', '')}{uid}".upper())
        body = {"code": codes[-1], "rule": RULES[name], "regions": [region], "is_dynamic": False}
        await api.ok("POST", "/admin/discounts", body)
    return {"region": region, "option": option_id, "mug": mug, "poster": poster, "card": card, "codes": codes}


async def play(api: Client, combo: Row) -> Row:
    """What the draft costs, what its order does, and which gift cards are made of it."""
    shop_ids = await shop(api, combo)
    items = [
        {"variant_id": shop_ids["mug"], "quantity": combo["mugs"]},
        {"variant_id": shop_ids["poster"], "quantity": combo["posters"], "unit_price": combo["poster_price"]},
        {"variant_id": shop_ids["card"], "quantity": combo["cards"]},
        {"title": "Wrap", "unit_price": 777, "quantity": combo["wraps"]},
    ]
    if combo["poster_price"] is None:
        del items[1]["unit_price"]
    method = {"option_id": shop_ids["option"]} | (
        {} if combo["shipping_price"] is None else {"price": combo["shipping_price"]}
    )
    draft = {
        "email": f"combo-{secrets.token_hex(4)}@example.com",
        "region_id": shop_ids["region"],
        "items": [item for item in items if item["quantity"]],
        "shipping_methods": [method],
        "discounts": [{"code": code} for code in shop_ids["codes"]],
        "billing_address": ADDRESS,
        "shipping_address": ADDRESS,
    }
    draft_id = (await api.ok("POST", "/admin/draft-orders", draft))["draft_order"]["id"]
    cart = (await api.ok("GET", f"/admin/draft-orders/{draft_id}"))["draft_order"]["cart"]
    order_id = (await api.ok("POST", f"/admin/draft-orders/{draft_id}/pay"))["order"]["id"]
    order = (await api.ok("GET", f"/admin/orders/{order_id}"))["order"]
    return {
        "draft": figures(cart, TOTALS, LINE),
        "order": figures(order, (*TOTALS, *PAID), (*LINE, "refundable")),
        "cards": await cards(api, order, combo["cards"]),
    }


def figures(priced: Row, totals: tuple[str, ...], line: tuple[str, ...]) -> Row:
    """The amounts of a cart or an order, its lines by title."""
    return {
        **{name: priced[name] for name in totals},
        "items": {item["title"]: {name: item[name] for name in line} for item in priced["items"]},
        "adjustments": {
            item["title"]: [round(each["amount"], 6) for each in item["adjustments"]] for item in priced["items"]
        },
        "rates": {
            item["title"]: sorted(rate["rate"] for rate in item.get("tax_lines") or ()) for item in priced["items"]
        },
        "shipping_methods": [{name: each[name] for name in METHOD} for each in priced["shipping_methods"]],
    }


async def cards(api: Client, order: Row, number: int) -> list[Row]:
    """The gift cards that the order sold, once they are there."""
    if number == 0:
        return []

    async def sold_cards() -> list[Row]:
        page = await api.ok("GET", "/admin/gift-cards", query={"q": str(order["display_id"]), "limit": "100"})
        mine = [card for card in page["gift_cards"] if (card["order"] or {}).get("id") == order["id"]]
        return mine if len(mine) == number else []

    sold = await until(sold_cards)
    return [{name: card[name] for name in ("value", "balance", "tax_rate")} for card in sold]


async def record(base: str, number: int) -> None:
    """Print what the server answers, as JSON."""
    async with aiohttp.ClientSession() as session:
        visitor = Client(session, base, dict)
        login = {"email": "admin@example.com", "password": "supersecret"}
        token = (await visitor.ok("POST", "/admin/auth/token", login))["access_token"]
        api = Client(session, base, lambda: {"Authorization": f"Bearer {token}"})
        recorded = []
        for combo in drawn(number):
            recorded.append({"combo": combo, "costs": await play(api, combo)})
            print(f"{len(recorded)} of {number}", file=sys.stderr)
    print("[\n" + ",\n".join(json.dumps(each, sort_keys=True) for each in recorded) + "\n]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--number", type=int, default=12)
    options = parser.parse_args()
    asyncio.run(record(options.base, options.number))


if __name__ == "__main__":
    main()
