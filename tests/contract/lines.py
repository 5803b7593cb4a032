"""Which properties of the served document say nothing of themselves, although their name does not say it all."""

import re
from collections.abc import Iterator
from typing import Any

from services.chassis.schemas import camel, singular

Document = dict[str, Any]
# What these hold is in their name, whatever they are of.
PLAIN = re.compile(
    r"ids?|\w+_ids?|object|email|phone|url|note|quantity|title|subtitle|description|name|\w+_name|label|metadata"
    r"|company|address_[12]|city|province|postal_code|country_code|count|offset|limit|deleted|message|tracking_numbers?"
)


def silent(document: Document) -> list[str]:
    """Each as `component.property` or `GET /path: property`, sorted."""
    nouns = {name.rpartition(".")[2].removeprefix("Plain") for name in document["components"]["schemas"]}
    places = dict(document["components"]["schemas"])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    places[f"{method.upper()} {path}:"] = content["schema"]
    found = {
        f"{place}.{key}"
        for place, schema in places.items()
        for key, of in properties(schema)
        if not (of.get("description") or PLAIN.fullmatch(key) or is_noun(key, of, nouns) or is_answer(place, of))
    }
    return sorted(found)


def properties(schema: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """All below a schema, without following references."""
    for key, of in schema.get("properties", {}).items():
        yield key, of
        yield from properties(of)
    for each in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(each, dict):
            yield from properties(each)
    for each in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from properties(each)


def is_noun(key: str, schema: Any, nouns: set[str]) -> bool:
    """Whether the key is the name of the row, or rows, that it leads to."""
    return camel(singular(key)) in nouns and not is_scalar(schema)


def is_answer(place: str, schema: Any) -> bool:
    """Whether it is what an operation is there for: the row or the rows in its answer, or always the same."""
    return place.endswith(":") and ("$ref" in schema.get("items", schema) or "const" in schema)


def is_scalar(schema: Any) -> bool:
    """Whether it can be a text, a number or a truth."""
    types = schema.get("type", ())
    held = {types} if isinstance(types, str) else set(types)
    return bool(held & {"string", "integer", "number", "boolean"}) or any(map(is_scalar, schema.get("anyOf", ())))
