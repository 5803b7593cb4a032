"""Identifiers: a prefix that tells the kind, and a ULID, so that they sort by the time they were made."""

from ulid import ULID


def new_id(prefix: str) -> str:
    """For example `new_id("ful")` -> `ful_01J...`: 26 characters after the underscore."""
    return f"{prefix}_{ULID()}"
