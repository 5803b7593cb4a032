"""JSON text for statements, whose jsonb parameters are texts."""

import orjson


def json_text(value: object) -> str:
    return orjson.dumps(value).decode()


def json_or_null(value: object) -> str | None:
    """JSON text for a nullable column: None stays null, and does not become the JSON value `null`."""
    return None if value is None else orjson.dumps(value).decode()
