"""Orders and fulfillment.

Owns: orders, draft orders and their carts, lines, addresses, shipping methods, fulfillments, returns, swaps, claims,
    order edits, customers, customer groups, notes, notifications. It numbers orders and draft orders.
Copies: regions, countries, sales channels, shipping options and profiles, products, variants and discounts of the
    catalog; payments, refunds and payment collections of payments (tables `copies`, `payments`, `refunds`).
Emits: events.py.
Listens: listeners.py.
Asks others, synchronously (remote.py): the catalog what a cart costs, for every change of a draft and for its payment;
    inventory to reserve and to fulfill; payments to authorize, capture, cancel, refund and collect. None of it in a
    transaction.
    Reads ask nobody.
"""
