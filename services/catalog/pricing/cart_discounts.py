"""Which discounts a cart gets for the codes it comes with, and what they take off its lines."""

from collections.abc import Sequence
from typing import Any

from services.catalog.discounts.rows import normalised
from services.catalog.pricing.allocation import DiscountedLine, allocate
from services.chassis.errors import InvalidData, NotAllowed, NotFound

# A part of the statement of price_cart: $1 region, $2 variants, $4 codes, $5 the customer's groups, $7 ids. {code:
# discount}; each of its conditions with those products of the cart that it names. A dynamic code has the regions of its
# discount, and goes with it.
DISCOUNTS = """
select coalesce(json_object_agg(d.code, json_build_object(
    'id', d.id, 'code', d.code, 'created', extract(epoch from d.created_at),
    'type', r.type, 'value', r.value, 'allocation', r.allocation,
    'used_up', coalesce(d.usage_count >= d.usage_limit, false), 'begun', d.starts_at <= now(),
    'over', coalesce(d.ends_at < now(), false), 'disabled', d.is_disabled,
    'in_region', exists (
        select from discount_regions x where x.discount_id = coalesce(d.parent_discount_id, d.id) and x.region_id = $1
    ),
    'conditions', (
        select coalesce(json_agg(json_build_object(
            'type', c.type, 'operator', c.operator,
            'customer', exists (
                select from discount_condition_resources x
                where x.condition_id = c.id and x.resource_id = any($5::text[])
            ),
            'products', array(
                select p.id from products p
                where p.id in (select product_id from product_variants where id = any($2::text[])) and exists (
                    select from discount_condition_resources x where x.condition_id = c.id and (
                        x.resource_id in (p.id, p.type_id, p.collection_id)
                        or x.resource_id in (select tag_id from product_tag_links where product_id = p.id)
                    )
                )
            )
        )), '[]')
        from discount_conditions c where c.discount_rule_id = r.id
    )
)), '{}')
from discounts d
join discount_rules r on r.id = d.rule_id
left join discounts parent on parent.id = d.parent_discount_id
where (d.code = any($4::text[]) or d.id = any($7::text[])) and d.deleted_at is null and parent.deleted_at is null
"""
# Ids of the same, for their documents.
IDS = "array(select id from discounts where (code = any($4::text[]) or id = any($7::text[])) and deleted_at is null)"


def normalised_codes(codes: Sequence[str]) -> list[str]:
    """The codes as they are stored, each once."""
    return sorted({normalised(code) for code in codes})


def chosen_discounts(codes: Sequence[str], by_code: dict[str, Any], *, kept: bool) -> list[dict[str, Any]]:
    """The discounts that the cart gets: of the ordinary ones the first that was created, so that it does not depend on
    chance, and likewise one that frees of shipping.

    With `kept` the cart has them already, and they stay, whatever has become of them, unless they were deleted.
    Otherwise raises NotFound, NotAllowed or InvalidData for a code that it cannot have.
    """
    missing = [code for code in codes if code not in by_code]
    if missing and not kept:
        raise NotFound(f"There is no discount {', '.join(missing)}.")
    discounts = sorted((by_code[code] for code in codes if code in by_code), key=lambda d: (d["created"], d["code"]))
    if not kept:
        check_usable(discounts)
    firsts: dict[bool, str] = {}
    for discount in discounts:
        firsts.setdefault(discount["type"] == "free_shipping", discount["id"])
    return [discount for discount in discounts if discount["id"] in firsts.values()]


def check_usable(discounts: Sequence[dict[str, Any]]) -> None:
    """Raises NotAllowed or InvalidData for the first that the cart cannot have."""
    for discount in discounts:
        check_discount(discount)


def check_discount(discount: dict[str, Any]) -> None:
    """Raises NotAllowed or InvalidData."""
    refusals = {
        "was used as often as it can be": discount["used_up"],
        "does not hold yet": not discount["begun"],
        "has expired": discount["over"],
        "is disabled": discount["disabled"],
    }
    for reason, holds in refusals.items():
        if holds:
            raise NotAllowed(f"The discount {discount['code']} {reason}.")
    if not discount["in_region"]:
        raise InvalidData(f"The discount {discount['code']} is not for this region.")
    for condition in discount["conditions"]:
        if condition["type"] == "customer_groups" and condition["customer"] != (condition["operator"] == "in"):
            raise NotAllowed(f"The discount {discount['code']} is not for this customer.")


def products_of(discount: dict[str, Any], product_ids: set[str]) -> set[str]:
    """Those of the products that all conditions let through."""
    left = set(product_ids)
    for condition in discount["conditions"]:
        if condition["type"] == "customer_groups":
            continue
        named = set(condition["products"])
        left = left & named if condition["operator"] == "in" else left - named
    return left


def adjustments(
    discounts: Sequence[dict[str, Any]], lines: Sequence[DiscountedLine]
) -> dict[str, list[dict[str, Any]]]:
    """What the discounts take off the lines that can be discounted: {line id: adjustments}."""
    products = {line.product_id for line in lines}
    by_line: dict[str, list[dict[str, Any]]] = {}
    for discount in discounts:
        allowed = products_of(discount, products)
        amounts = allocate(discount["type"], discount["value"], discount["allocation"], lines, allowed)
        for line_id, amount in amounts.items():
            adjustment = {"discount_id": discount["id"], "amount": amount, "description": "discount"}
            by_line.setdefault(line_id, []).append(adjustment)
    return by_line
