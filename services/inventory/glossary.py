"""What columns and relations hold, for the documentation: by `table.column`, or by `column` where it means the same
throughout the service. Ids, times and metadata are explained by the chassis (schemas.py). Paths are what tags are
about."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "/admin/inventory-items": "What is counted: an item stands behind a variant, and has a level at each location.",
    "/admin/reservations": "Units of an item at a location that are set aside, mostly for lines of orders.",
    "/admin/stock-locations": "Where stock is: warehouses and shops.",
    # items
    "sku": "The merchant's number for it, which no other item has.",
    "thumbnail": "Address of a small picture.",
    "hs_code": "Code of the Harmonized System, for customs.",
    "mid_code": "Manufacturer's identification, for customs.",
    "origin_country": "Where it was made, for customs.",
    "material": "What it is made of.",
    "weight": "A whole number, in the shop's unit.",
    "length": "A whole number, in the shop's unit.",
    "height": "A whole number, in the shop's unit.",
    "width": "A whole number, in the shop's unit.",
    "requires_shipping": "Whether it is shipped, as goods are.",
    "location_levels": "Its levels, one for each location that stocks it.",
    "inventory_items.stocked_quantity": "How many there are at all its locations.",
    "inventory_items.reserved_quantity": "How many of those are set aside.",
    "inventory_items.variants": "The variants that it counts, with their products.",
    # levels
    "stocked_quantity": "How many there are, those that are set aside included.",
    "reserved_quantity": "How many of those are set aside.",
    "incoming_quantity": "How many are expected.",
    "available_quantity": "How many are there and not set aside.",
    # reservations
    "external_id": "What another system calls it.",
    "created_by": "Id of the user who made it; null for one that an order made.",
    "reservations.line_item": "The line of an order, a swap or a claim; not there before it is known here.",
    # the ledger
    "stocked": "By how much `stocked_quantity` changed.",
    "reserved": "By how much `reserved_quantity` changed.",
    "incoming": "By how much `incoming_quantity` changed.",
    "cause": "What changed it.",
    "reference": "Id of the order, fulfillment, return or reservation that changed it; null for what was set by hand.",
    "actor": "Id of the user who did it; null for what the shop did by itself.",
    # variants
    "variants.inventory": "The item behind it, as a list: empty for a variant that is not counted.",
    "sales_channel_availability": "How many can be sold through each sales channel: `channel_id`, `channel_name` and "
    "`available_quantity`.",
}
