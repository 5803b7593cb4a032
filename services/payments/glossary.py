"""What columns and relations hold, for the documentation: by `table.column`, or by `column` where it means the same
throughout the service. Ids, times and metadata are explained by the chassis (schemas.py). Paths are what tags are
about."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "/admin/gift-cards": "Cards with a balance, which customers pay with.",
    "/admin/payment-collections": "What an order edit costs more, and its payment.",
    "/admin/payments": "What was authorized for an order, and what became of it.",
    "/webhooks": "Where payment providers report what happened at theirs.",
    # payments
    "currency_code": "ISO 4217, in lower case.",
    "payments.amount": "What was authorized, in minor units.",
    "payments.amount_refunded": "What of it was given back, in minor units.",
    "payments.swap_id": "The swap whose difference it pays, if any.",
    "payments.data": "What the payment provider keeps with it.",
    "payments.captured_at": "When it was captured, UTC; null before.",
    "payments.canceled_at": "When it was canceled, UTC; null while it stands.",
    "refunds.amount": "What was given back, in minor units.",
    "reason": "Why.",
    # gift cards
    "code": "What customers enter.",
    "value": "What it was sold with, in minor units of its region's currency.",
    "balance": "What is left on it, in minor units of its region's currency.",
    "is_disabled": "Whether it cannot be used for the time being.",
    "ends_at": "When it stops to hold, UTC; null: never.",
    "tax_rate": "The tax on what it pays for, in percent; null: none.",
    # payment collections
    "payment_collections.type": "`order_edit`.",
    "payment_collections.status": "`not_paid`, then `authorized`, or `canceled`.",
    "payment_collections.amount": "What is to be paid, in minor units.",
    "payment_collections.authorized_amount": "What of it was authorized, in minor units; null before.",
    "payment_collections.created_by": "Id of the user who made it.",
    "payment_collections.payment_sessions": "Always empty.",
    "payment_collections.payments": "Always empty.",
    # webhooks
    "received": "True.",
}
