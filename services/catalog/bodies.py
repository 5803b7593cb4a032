"""Types that request bodies of the catalog share."""

from typing import Annotated, Any

from pydantic import Field

# The default of a property that may be left out but not be null.
ABSENT: Any = None

Metadata = dict[str, Any] | None
Percentage = Annotated[float, Field(ge=0, le=100)]
Amount = Annotated[int, Field(ge=0, le=2**53 - 1)]
