"""Which products, tags, types and collections the condition of a discount names; its rows are the discounts' own."""

from typing import Any

from services.chassis.params import TEXT, Bind, Filter, described, word

NAMED = "{t}.id in (select resource_id from discount_condition_resources where condition_id = {p}.id)"


def _named(name: str, value: Any, bind: Bind) -> str:
    """Filter of lists: rows that the condition of a discount names, `discount_condition_id=`."""
    return NAMED.replace("{p}.id", bind(word(name, value)))


named_in_condition = described(Filter(_named, TEXT), "Id of a condition of a discount: only what it names.")
