"""`q` of products and variants finds what `ilike '%q%'` finds, by index from three characters on."""

from typing import Any

import pytest

from services.chassis.search import trigrams
from tests.support.client import Client
from tests.support.factories.products import ids, listed_ids, make, one, shirt, variant
from tests.support.stack import Stack

ODD = "50%_\\ Öko 'Käse' \N{SMILING FACE WITH SUNGLASSES}."


async def products(catalog: Client, uid: str) -> list[dict[str, Any]]:
    """Texts that differ in title, description, the titles and SKUs of variants, and the collection."""
    collection = (await catalog.ok("POST", "/admin/collections", {"title": f"Été {ODD} {uid}"}))["collection"]
    return [
        await make(catalog, shirt(uid, description=f"{ODD}{uid} ends")),
        await make(catalog, shirt(f"{uid}-2", title=f"Spade {uid}", collection_id=collection["id"])),
        await make(catalog, shirt(f"{uid}-3", title=f"{ODD}{uid}", variants=[variant(f"Ünique {uid}", "S", sku=uid)])),
    ]


def texts(product: dict[str, Any]) -> list[str]:
    """Where `q` of the list of products looks."""
    own = [product["title"], product["description"], product["collection"] and product["collection"]["title"]]
    return [text for text in own + [v[key] for v in product["variants"] for key in ("title", "sku")] if text]


async def test_every_part_of_every_text_is_found(catalog: Client, uid: str) -> None:
    shirts = await products(catalog, uid)
    words = {
        text[start : start + length] for p in shirts for text in texts(p) for start in (0, 3, 7) for length in (40, 9)
    }
    words |= {f"{ODD}{uid}".upper(), f"é {ODD} {uid}".upper(), f"{uid} e", f"Shirt {uid}50", f"zz {uid}", f"%{uid}"}
    query = {f"id[{n}]": product["id"] for n, product in enumerate(shirts)}
    for word in sorted(words):
        expected = [p["id"] for p in shirts if any(word.lower() in text.lower() for text in texts(p))]
        assert sorted(await ids(catalog, q=word, **query)) == sorted(expected), word


@pytest.mark.parametrize("word", ["%", "_", "\\", "ö", "50", "'k", "zz"])
async def test_one_and_two_characters_are_compared_with_every_row(catalog: Client, uid: str, word: str) -> None:
    shirts = await products(catalog, uid)
    query = {f"id[{n}]": product["id"] for n, product in enumerate(shirts)}
    expected = [p["id"] for p in shirts if any(word in text.lower() for text in texts(p))]
    assert sorted(await ids(catalog, q=word, **query)) == sorted(expected)


async def test_variants_by_their_own_and_their_products_texts(catalog: Client, uid: str) -> None:
    first, second, third = await products(catalog, uid)
    every = [v["id"] for p in (third, second, first) for v in reversed(p["variants"])]

    async def having(q: str) -> list[str]:
        return sorted(
            await listed_ids(catalog, "variants", "/admin/variants", {"q": q, "fields": "id", "limit": "100"})
        )

    assert await having(uid) == sorted(every)
    assert await having(f"SPADE {uid}") == sorted(v["id"] for v in second["variants"])
    assert await having(f"s-{uid}-2") == [second["variants"][0]["id"]]
    assert await having(f"ÜNIQUE {uid}") == [third["variants"][0]["id"]]
    assert await having(f"{uid} ends") == []  # a description is not looked at here
    assert await having(f"zz {uid}") == []


async def test_what_is_deleted_or_renamed_is_not_found_any_more(catalog: Client, uid: str) -> None:
    first, second, _ = await products(catalog, uid)
    assert sorted(await ids(catalog, q=f"L-{uid}")) == sorted(p["id"] for p in (first, second))
    await catalog.ok("DELETE", f"/admin/products/{second['id']}/variants/{second['variants'][1]['id']}")
    assert await ids(catalog, q=f"L-{uid}") == [first["id"]]
    await catalog.ok("DELETE", f"/admin/products/{first['id']}")
    assert await ids(catalog, q=f"L-{uid}") == []
    await catalog.ok("POST", f"/admin/products/{second['id']}", {"title": f"Fork {uid}"})
    assert await ids(catalog, q=f"spade {uid}") == []
    assert await ids(catalog, q=f"fork {uid}") == [second["id"]]
    await catalog.ok("DELETE", f"/admin/collections/{second['collection_id']}")
    assert await ids(catalog, q=f"Été {ODD} {uid}") == []
    assert (await one(catalog, second["id"]))["title"] == f"Fork {uid}"


@pytest.mark.parametrize(
    "text", ["", "ab", "abc", "Hello World", "aaaaaa", "ÄÖÜäöü", "50%_\\ 'x' {\"}", "日本語のシャツ"]
)
async def test_the_database_and_the_question_cut_alike(stack: Stack, text: str) -> None:
    assert sorted(await stack.pool("catalog").fetchval("select trigrams($1)", text)) == trigrams(text.lower())
