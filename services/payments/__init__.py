"""Payments: what a customer owes and has paid for an order, and what was given back.

Owns payments, refunds, payment collections and gift cards, and speaks to the payment providers (providers.py). Keeps
copies of orders and regions, to expand them. Answers the commands authorize, capture, cancel, refund,
create_collection, drop_collection and sell_gift_cards. Emits payment.created, payment.payment_captured,
payment.payment_refunded and payment.canceled, each with the whole row, so that a copy of it elsewhere heals;
payment-collection.*, with its document; and gift_card.created, gift_card.updated and gift_card.deleted, without the
code, which is money. Listens to order.placed and region.* (listeners.py). Calls orders and catalog (documents) for
reads, and the catalog for the region of a card that is made or moved.
"""
