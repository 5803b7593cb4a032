"""Shipping options and profiles, and the providers that carry what is shipped."""

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
