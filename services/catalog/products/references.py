"""What a body refers to, and what the database says about it: one place for the refusals that products share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncpg

from services.chassis.errors import ApiError, Duplicate, InvalidData, NotFound


class UnknownReferences(InvalidData):
    """400 for ids in a list that do not exist: `{errors, message}`, as Medusa's clients know it, without a type."""

    def __init__(self, what: str, ids: list[str]) -> None:
        super().__init__("The body refers to what does not exist; see errors.")
        self.errors = [f"{what} {', '.join(ids)} do not exist"]

    def body(self) -> dict[str, Any]:
        """The JSON object that the client gets."""
        return {"errors": self.errors, "message": self.message}


# For the documentation: what it looks like.
UNKNOWN_REFERENCES = {"errors": [str], "message": str}


def duplicate(what: str) -> Callable[[str], ApiError]:
    """The refusal for a value that another row has."""
    return lambda detail: Duplicate(f"{what} is taken by another one ({detail}).")


def unknown(what: str) -> Callable[[str], ApiError]:
    """The refusal for an id that nothing has."""
    return lambda detail: NotFound(f"{what} does not exist ({detail}).")


CONSTRAINTS: Mapping[str, Callable[[str], ApiError]] = {
    "products_handle": duplicate("The handle of a product"),
    "product_collections_handle": duplicate("The handle of a collection"),
    "product_categories_handle": duplicate("The handle of a category"),
    "product_options_title": duplicate("The title of an option"),
    "product_variants_sku": duplicate("The sku"),
    "product_variants_barcode": duplicate("The barcode"),
    "product_variants_ean": duplicate("The ean"),
    "product_variants_upc": duplicate("The upc"),
    "prices_currency": unknown("The currency of a price"),
    "prices_region": unknown("The region of a price"),
}


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what a constraint refuses into the answer for it. The transaction is over then."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        refusal = CONSTRAINTS.get(error.constraint_name or "")
        if refusal is None:
            raise
        raise refusal(error.detail or error.constraint_name or "") from None


@contextmanager
def invalid_variants() -> Iterator[None]:
    """Creating a variant fails as invalid data, whatever the reason: docs/behaviour/catalog.md, "Creating variants"."""
    try:
        with refusals():
            yield
    except (Duplicate, NotFound) as error:
        raise InvalidData(error.message) from None
