"""How an answer of the catalog is worked into a cart. Pure: the catalog's side of it is tested there."""

from typing import Any

import pytest

from services.orders.drafts.drafts import DraftUpdate, ItemBody, MethodBody, new_line, new_method, updated_basket
from services.orders.drafts.items import DraftItemUpdate, with_changed_item, with_item
from services.orders.drafts.parts import Draft
from services.orders.pricing.quotes import Basket, Quote, answered, priced, question

RATE = {"rate": 20, "name": "default", "code": "default"}


def basket(**more: Any) -> Basket:
    lines = [
        new_line(ItemBody(variant_id="variant_1", quantity=2)),
        new_line(ItemBody(variant_id="variant_2", quantity=1, unit_price=333)),
        new_line(ItemBody(title="Wrap", quantity=1, unit_price=100)),
    ]
    methods = [new_method(MethodBody(option_id="so_1", price=250, data={"door": "left"}))]
    return Basket(**{"region_id": "reg_1", "lines": lines, "methods": methods, "codes": ["TEN"]} | more)


def reply(basket: Basket, *, automatic: bool = True, price: int | None = None, cut: float = 0) -> dict[str, Any]:
    """What the catalog could say."""
    items = [
        {
            "id": line["id"],
            "variant_id": line["variant_id"],
            "title": "Shirt",
            "description": line["variant_id"],
            "thumbnail": None,
            "unit_price": 1000 if line["unit_price"] is None else line["unit_price"],
            "includes_tax": False,
            "is_giftcard": False,
            "has_shipping": True,
            "allow_discounts": True,
            "product_id": "prod_1",
            "tax_rates": [RATE] if line["variant_id"] else [],
            "adjustments": [{"discount_id": "disc_1", "amount": cut, "description": "discount"}]
            if cut and line["variant_id"]
            else [],
        }
        for line in basket.lines
    ]
    methods = [
        {
            "id": method["id"],
            "option_id": method["shipping_option_id"],
            "price": (500 if method["asked_price"] is None else method["asked_price"]) if price is None else price,
            "includes_tax": False,
            "profile_id": "sp_1",
            "provider_id": "manual",
            "data": {"id": "manual-fulfillment"},
            "tax_rates": [RATE],
        }
        for method in basket.methods
    ]
    product = {"id": "prod_1", "sequence": 1, "body": {}, "related": {"profile_id": "sp_1"}}
    return {
        "currency_code": "eur",
        "automatic_taxes": automatic,
        "sales_channel_id": "sc_1",
        "items": items,
        "shipping_methods": methods,
        "discounts": [{"id": "disc_1", "code": "TEN"}],
        "copies": {"product": [product]},
    }


def draft_of(quote: Quote, **more: Any) -> Draft:
    """The draft that holds what was quoted."""
    facts: dict[str, Any] = dict.fromkeys(Draft.__dataclass_fields__)
    facts |= {"id": "dorder_1", "status": "open", "cart_id": "cart_1", "version": 1, "region_id": "reg_1"}
    facts |= {"discounts": [{"id": "disc_1", "code": "TEN", "region_ids": ["reg_1"]}], "group_ids": []}
    return Draft(**facts | {"lines": quote.lines, "methods": quote.methods} | more)


def test_what_is_asked() -> None:
    body = question(basket(customer_id="cus_1", group_ids=["cgrp_1"]))
    assert [(i["variant_id"], i["quantity"], i["unit_price"]) for i in body["items"]] == [
        ("variant_1", 2, None),
        ("variant_2", 1, 333),
        (None, 1, 100),
    ]
    assert body["shipping_methods"][0] == body["shipping_methods"][0] | {"option_id": "so_1", "price": 250}
    assert (body["discount_codes"], body["customer_group_ids"]) == (["TEN"], ["cgrp_1"])


def test_what_comes_back() -> None:
    cart = basket()
    got = answered(cart, reply(cart, cut=100 / 3))
    shirt, other, wrap = got.lines
    assert (shirt["title"], shirt["unit_price"], shirt["should_merge"], shirt["has_shipping"]) == (
        "Shirt",
        1000,
        True,
        True,
    )
    assert (other["unit_price"], other["should_merge"]) == (333, False)
    assert (wrap["title"], wrap["unit_price"], wrap["allow_discounts"], wrap["tax_total"]) == ("Wrap", 100, False, 0)
    assert (shirt["discount_total"], shirt["raw_discount_total"], shirt["tax_total"]) == (33, 100 / 3, 393)
    assert (got.totals.subtotal, got.totals.discount_total, got.totals.shipping_total) == (2433, 67, 250)
    assert got.totals.total == 2433 - 67 + 250 + got.totals.tax_total
    assert got.methods[0]["data"] == {"door": "left"}


def test_taxes_are_shown_where_they_are_automatic() -> None:
    cart = basket()
    got = answered(cart, reply(cart, automatic=False))
    assert (got.totals.tax_total, {line["has_tax_lines"] for line in got.lines}) == (0, {True})
    assert answered(cart, reply(cart, automatic=False), placing=True).totals.tax_total == 517
    custom = basket(lines=[new_line(ItemBody(title="Wrap", quantity=1))])
    assert [line["has_tax_lines"] for line in answered(custom, reply(custom)).lines] == [False]


def test_a_price_once_quoted_stays() -> None:
    cart = basket(methods=[new_method(MethodBody(option_id="so_1"))])
    got = answered(cart, reply(cart))
    assert [(m["price"], m["asked_price"]) for m in got.methods] == [(500, 500)]
    again = question(basket(lines=got.lines, methods=got.methods))
    assert [i["unit_price"] for i in again["items"]] == [1000, 333, 100]
    assert again["shipping_methods"][0]["price"] == 500


def test_free_shipping_forgets_the_price() -> None:
    cart = basket()
    free = answered(cart, reply(cart, price=0))
    assert [(m["price"], m["asked_price"], m["total"]) for m in free.methods] == [(0, None, 0)]
    later = basket(lines=free.lines, methods=free.methods)
    assert [m["price"] for m in answered(later, reply(later)).methods] == [500]


def test_a_price_of_nothing_is_a_price() -> None:
    cart = basket(methods=[new_method(MethodBody(option_id="so_1", price=0))])
    assert [(m["price"], m["asked_price"]) for m in answered(cart, reply(cart)).methods] == [(0, 0)]


def test_news_are_told_from_what_is_known() -> None:
    cart = basket()
    got = answered(cart, reply(cart))
    assert priced(answered(cart, reply(cart)).lines) == priced(got.lines)
    assert priced(answered(cart, reply(cart, cut=1)).lines) != priced(got.lines)
    assert priced(answered(cart, reply(cart, price=1)).methods) != priced(got.methods)


@pytest.mark.parametrize(
    ("body", "discounts", "prices", "methods"),
    [
        (DraftUpdate(email="a@example.com"), ["disc_1"], [1000, 333, 100], 1),
        (DraftUpdate(customer_id="cus_1"), ["disc_1"], [None, None, 100], 1),
        # Prices are asked for again, but the region that it is in already keeps the shipping methods.
        (DraftUpdate(region_id="reg_1"), ["disc_1"], [None, None, 100], 1),
        (DraftUpdate(region_id="reg_2"), [], [None, None, 100], 0),
        (DraftUpdate(discounts=[]), [], [1000, 333, 100], 1),
    ],
)
def test_updates(body: DraftUpdate, discounts: list[str], prices: list[int | None], methods: int) -> None:
    cart = basket()
    got = updated_basket(draft_of(answered(cart, reply(cart))), body, None, [])
    assert (got.discount_ids, [line["unit_price"] for line in got.lines]) == (discounts, prices)
    assert (got.codes, len(got.methods)) == ([], methods)


def test_merging() -> None:
    cart = basket()
    draft = draft_of(answered(cart, reply(cart)))
    quantities = {
        "same": with_item(draft, ItemBody(variant_id="variant_1", quantity=3)),
        "own price": with_item(draft, ItemBody(variant_id="variant_1", quantity=3, unit_price=1)),
        "beside an own price": with_item(draft, ItemBody(variant_id="variant_2", quantity=3)),
        "metadata": with_item(draft, ItemBody(variant_id="variant_1", quantity=3, metadata={"a": 1})),
        "custom": with_item(draft, ItemBody(title="Wrap", unit_price=100, quantity=3)),
    }
    assert {name: [line["quantity"] for line in got.lines] for name, got in quantities.items()} == {
        "same": [5, 1, 1],
        "own price": [2, 1, 1, 3],
        "beside an own price": [2, 1, 1, 3],
        "metadata": [2, 1, 1, 3],
        "custom": [2, 1, 1, 3],
    }
    assert {name: len(got.methods) for name, got in quantities.items() if got.methods} == {"custom": 1}


def test_taking_out() -> None:
    cart = basket()
    draft = draft_of(answered(cart, reply(cart)))
    got = with_changed_item(draft, draft.lines[0]["id"], DraftItemUpdate(quantity=0))
    assert [(line["variant_id"], line["has_shipping"]) for line in got.lines] == [("variant_2", False), (None, False)]
    assert got.methods == []
