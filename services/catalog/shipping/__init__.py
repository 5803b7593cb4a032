"""Shipping options and profiles, and the fulfillment providers that ship."""

from services.catalog.shipping import documents, options, profiles, providers

OPERATIONS = [
    *profiles.OPERATIONS,
    *options.OPERATIONS,
]
LISTENERS = {
    **providers.LISTENERS,
}
COMMANDS = {
    **providers.COMMANDS,
}
KINDS = {
    **documents.SHIPPING_KINDS,
}
