"""The store, its sales channels, and the keys by which front ends say which they sell for."""

from services.catalog.channels import publishable_keys, sales_channels, store

OPERATIONS = [
    *publishable_keys.OPERATIONS,
    *store.OPERATIONS,
    *sales_channels.OPERATIONS,
]
LISTENERS = {
    **sales_channels.LISTENERS,
}
COMMANDS = {
    **sales_channels.COMMANDS,
}
KINDS = {
    **sales_channels.CHANNEL_KINDS,
}
