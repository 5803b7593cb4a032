"""Types that request bodies of the catalog share."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from services.chassis.http import Body

MAX_QUANTITY = 2**31 - 1  # what an integer of the database holds
MAX_AMOUNT = 2**53 - 1  # the largest amount that every reader of JSON keeps exact

Metadata = dict[str, Any] | None
Percentage = Annotated[float, Field(ge=0, le=100)]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


def sent(body: Body, *also: str, without: Iterable[str] = ()) -> str:
    """What the body says, as JSON: as sent, without `without`, and without `metadata` and `also` where they are null,
    because null says nothing about them."""
    silent = {name for name in ("metadata", *also) if getattr(body, name) is None}
    return body.model_dump_json(exclude_unset=True, exclude={*silent, *without})
