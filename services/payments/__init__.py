"""Payments: what a customer owes and has paid for an order, and what was given back.

Owns payments and refunds, and speaks to the payment providers (providers.py). Keeps copies of orders, to expand them.
Answers the commands authorize, capture, cancel and refund. Emits payment.created, payment.payment_captured,
payment.payment_refunded and payment.canceled, each with the whole row, so that a copy of it elsewhere heals.
Calls orders (documents) for a read only.
"""
