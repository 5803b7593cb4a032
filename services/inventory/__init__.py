"""Inventory: what is in stock where, what of it is spoken for, and how both change.

Owns inventory items, their levels, reservations, stock locations, the links of items to variants and of locations to
sales channels, and a ledger of every change of a level. Keeps copies of the catalog's variants, products and sales
channels, and of the orders' lines that reservations are for.

Answers the commands of commands.py. Emits inventory-item.*, inventory-level.*, reservation-item.*, stock-location.* and
inventory.availability; listens to the catalog (listeners.py). Calls catalog (documents, availability,
sales_channel_locations) and orders (line_items), never inside a transaction.

Who changes stock locks, in this order: the line that a reservation is for, the location, the inventory items by their
ids (ledger.py). An item's lock covers its levels and reservations, so nothing here can deadlock.
"""
