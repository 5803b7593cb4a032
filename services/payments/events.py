"""The events that the payments service emits, each with what has happened; a test holds the list against the code."""

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "payment.created": "A payment was authorized.",
    "payment.updated": "What the provider keeps of a payment has changed.",
    "payment.payment_captured": "A payment was captured.",
    "payment.payment_refunded": "Money of a payment was given back, the whole of it or a part.",
    "payment.canceled": "A payment was canceled.",
    "payment-collection.created": "A payment collection was made, for an order edit that costs more.",
    "payment-collection.updated": "A payment collection was changed.",
    "payment-collection.payment_authorized": "Somebody has said that a payment collection is authorized.",
    "payment-collection.deleted": "A payment collection was deleted.",
    "gift_card.created": "A gift card was made by hand, or for an order that sold it.",
    "gift_card.updated": "A gift card was changed.",
    "gift_card.deleted": "A gift card was deleted.",
    "gift_card.issue_continued": "An order has sold more gift cards than are made at once: the next ones are due.",
    "payment_providers.changed": "There are other payment providers than before.",
}
