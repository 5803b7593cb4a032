"""The events that the inventory emits, each with what has happened; a test holds the list against the code."""

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "inventory-item.created": "An item was made, for a variant.",
    "inventory-item.updated": "An item was changed.",
    "inventory-item.deleted": "An item was deleted, with its levels and reservations.",
    "inventory-level.created": "An item is stocked at one more location.",
    "inventory-level.updated": "The stock of an item at a location has changed.",
    "inventory-level.deleted": "An item is not stocked at a location any more.",
    "inventory.availability": "More or less of some variants is available than before.",
    "reservation-item.created": "Stock was reserved.",
    "reservation-item.updated": "A reservation was changed, or follows another line.",
    "reservation-item.deleted": "A reservation was deleted or released.",
    "stock-location.created": "A stock location was made.",
    "stock-location.updated": "A stock location was changed, or the sales channels that it serves.",
    "stock-location.deleted": "A stock location was deleted, with what was stocked there.",
}
