"""What columns and relations hold, for the documentation: by `table.column`, or by `column` where it means the same
throughout the service. Ids, times and metadata are explained by the chassis (schemas.py)."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    # channels
    "publishable_api_keys.title": "What people call the key.",
    "publishable_api_keys.created_by": "Id of the user who made it.",
    "publishable_api_keys.revoked_by": "Id of the user who revoked it, null while it is good.",
    "publishable_api_keys.revoked_at": "When it was revoked, UTC; null while it is good.",
    "sales_channels.is_disabled": "Whether nothing is sold there for the time being.",
    "sales_channels.locations": "Its links to stock locations, which the inventory owns: stock is taken from these.",
    "stores.default_currency_code": "The currency that prices are in unless something says otherwise.",
    "stores.default_sales_channel_id": "The channel of products and orders that name none.",
    "stores.default_location_id": "Not used; kept for front ends that look for it.",
    "stores.swap_link_template": "For front ends: where customers confirm a swap, with a place for its id.",
    "stores.payment_link_template": "For front ends: where customers pay a draft, with a place for its cart's id.",
    "stores.invite_link_template": "For front ends: where people who were invited sign up, with a place for the token.",
    "stores.currencies": "Those that regions and prices can be in.",
    "stores.payment_providers": "Those that are installed.",
    "stores.fulfillment_providers": "Those that are installed.",
    "stores.feature_flags": "Which pages of a front end make sense: a list of `{key, value}`.",
    "stores.modules": "What stands in for the modules that a front end may ask for: a list of `{module, resolution}`.",
    "is_installed": "Whether the store has it.",
}
