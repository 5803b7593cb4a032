"""The rows of the inventory that other services keep copies of (services/chassis/documents.py)."""

from collections.abc import Mapping

from services.chassis.documents import Kind
from services.chassis.embed import Resource, cols

# A link's documents come with the events of its location.
LINK_DOC = Resource(
    "channel_locations",
    cols("id sales_channel_id location_id created_at@ updated_at@", deleted_at="null::text"),
)

KINDS: Mapping[str, Kind] = {"sales_channel_location": Kind(LINK_DOC, aggregate="{t}.location_id")}
