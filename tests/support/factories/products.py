"""Products that the tests start from, and what they look at besides answers."""

from typing import Any

from tests.support.client import Client


def shirt(uid: str, **more: Any) -> dict[str, Any]:
    """The body of a product with two variants, S and L, of one option."""
    return {
        "title": f"Shirt {uid}",
        "handle": f"shirt-{uid}",
        "options": [{"title": "Size"}],
        "variants": [variant("Small", "S", sku=f"S-{uid}"), variant("Large", "L", sku=f"L-{uid}", price=1500)],
        **more,
    }


def variant(title: str, *values: str, price: int = 1000, **more: Any) -> dict[str, Any]:
    """One of the variants of a new product."""
    return {
        "title": title,
        "manage_inventory": False,
        "prices": [{"currency_code": "eur", "amount": price}],
        "options": [{"value": value} for value in values],
        **more,
    }


async def make(catalog: Client, body: dict[str, Any]) -> dict[str, Any]:
    product: dict[str, Any] = (await catalog.ok("POST", "/admin/products", body))["product"]
    return product


async def one(catalog: Client, product_id: str) -> dict[str, Any]:
    product: dict[str, Any] = (await catalog.ok("GET", f"/admin/products/{product_id}"))["product"]
    return product


async def ids(catalog: Client, **query: Any) -> list[str]:
    """Ids of the products that a list finds, in its order."""
    return await listed_ids(catalog, "products", "/admin/products", query | {"fields": "id", "expand": ""})


async def listed_ids(catalog: Client, key: str, path: str, query: dict[str, Any]) -> list[str]:
    """Ids of the rows of a list, whose count has to agree."""
    answer = await catalog.ok("GET", path, query=query)
    assert answer["count"] == len(answer[key])
    return [row["id"] for row in answer[key]]


async def full(catalog: Client, uid: str, region_id: str) -> dict[str, Any]:
    """A product with everything that a file can say."""
    collection = await catalog.ok("POST", "/admin/collections", {"title": f"Col {uid}", "handle": f"col-{uid}"})
    category = await catalog.ok("POST", "/admin/product-categories", {"name": f"Cat {uid}", "handle": f"cat-{uid}"})
    channel = await catalog.ok("POST", "/admin/sales-channels", {"name": f"Ch {uid}", "description": "a; b"})
    return await make(
        catalog,
        {
            "title": f"Full {uid}",
            "handle": f"full-{uid}",
            "subtitle": "=HYPERLINK(1)",
            "description": 'Line "one"; two\nthree',
            "status": "published",
            "thumbnail": "https://x.example/t.png",
            "weight": 1,
            "length": 2,
            "width": 3,
            "height": 4,
            "hs_code": "HS",
            "origin_country": "pt",
            "mid_code": "MID",
            "material": "Wool",
            "discountable": False,
            "collection_id": collection["collection"]["id"],
            "type": {"value": f"Ty {uid}"},
            "tags": [{"value": f"b{uid}"}, {"value": f"a,{uid}"}],
            "images": ["https://x.example/1.png", "https://x.example/2.png"],
            "sales_channels": [{"id": channel["sales_channel"]["id"]}],
            "categories": [{"id": category["product_category"]["id"]}],
            "options": [{"title": "Size"}, {"title": "Color"}],
            "variants": [
                {
                    "title": "-S",
                    "sku": f"s-{uid}",
                    "barcode": f"bar-{uid}",
                    "inventory_quantity": -7,
                    "allow_backorder": True,
                    "manage_inventory": False,
                    "weight": 5,
                    "length": 6,
                    "width": 7,
                    "height": 8,
                    "hs_code": "VH",
                    "origin_country": "es",
                    "mid_code": "VM",
                    "material": "Clay",
                    "options": [{"value": "S"}, {"value": "Blue"}],
                    "prices": [
                        {"currency_code": "eur", "amount": 1050},
                        {"currency_code": "usd", "amount": 1000},
                        {"currency_code": "jpy", "amount": 1500},
                        {"region_id": region_id, "amount": 999},
                        {"currency_code": "eur", "amount": 1, "min_quantity": 10},
                    ],
                },
                variant("L", "L", "Red", price=7),
            ],
        },
    )
