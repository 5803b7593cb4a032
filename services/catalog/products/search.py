"""`q` of the lists of products and variants: a part of a title, of a description, of a SKU or of a collection's title.

Each text has its own index over trigrams (chassis/search.py), so the ids are found text by text and put together: a
condition with "or" between tables would read all of them. They are put together as an array, because how many a word
finds is not known to a plan that is made once: it then looks ids up, however many, instead of joining lists.
"""

from typing import Any

from services.chassis.params import Bind, word
from services.chassis.search import contains

PRODUCTS = """{{t}}.id = any(array(
    select s.id from products s where {products}
    union all
    select s.product_id from product_variants s where s.deleted_at is null and {variants}
    union all
    select s.id from products s join product_collections c on c.id = s.collection_id
    where c.deleted_at is null and {collections}
))"""
VARIANTS = """{{t}}.id = any(array(
    select s.id from product_variants s where s.deleted_at is null and {variants}
    union all
    select s.id from product_variants s join products p on p.id = s.product_id where s.deleted_at is null and {products}
))"""


def products_with(name: str, value: Any, bind: Bind) -> str:
    """Products whose title or description, or a variant's title or SKU, or whose collection's title says it."""
    phrase = word(name, value)
    return PRODUCTS.format(
        products=contains(bind, phrase, "s.title s.description", "s.title || ' ' || coalesce(s.description, '')"),
        variants=contains(bind, phrase, "s.title s.sku", "s.title || ' ' || coalesce(s.sku, '')"),
        collections=contains(bind, phrase, "c.title"),
    )


def variants_with(name: str, value: Any, bind: Bind) -> str:
    """Variants whose title or SKU, or whose product's title says it."""
    phrase = word(name, value)
    return VARIANTS.format(
        variants=contains(bind, phrase, "s.title s.sku", "s.title || ' ' || coalesce(s.sku, '')"),
        products=contains(bind, phrase, "p.title", "p.title || ' ' || coalesce(p.description, '')"),
    )
