"""How the catalog's settings look in answers: columns and relations, declared once.

Nothing here refers to products: `products/products.py` builds on this file, not the other way round.
"""

import json

from services.chassis.embed import Many, One, Resource, Value, cols

CURRENCY = Resource("currencies", cols("code symbol symbol_native name includes_tax"))
PROVIDER = Resource("payment_providers", cols("id is_installed"))
FULFILLMENT_PROVIDER = Resource("fulfillment_providers", cols("id is_installed"))
TAX_PROVIDER = Resource("tax_providers", cols("id is_installed"))
COUNTRY = Resource("countries", cols("id iso_2 iso_3 num_code name display_name region_id"))

SALES_CHANNEL = Resource(
    "sales_channels", cols("id created_at@ updated_at@ deleted_at@ name description is_disabled metadata")
)
LOCATION = Resource("copies", document=True)
LOCATED_CHANNEL = Resource(
    SALES_CHANNEL.table,
    SALES_CHANNEL.columns,
    {
        "locations": Many(
            LOCATION,
            "{t}.kind = 'sales_channel_location' and {t}.body ->> 'sales_channel_id' = {p}.id"
            " and {t}.body ->> 'deleted_at' is null",
            order="{t}.id",
        )
    },
)

REGION = Resource(
    "regions",
    cols(
        "id created_at@ updated_at@ deleted_at@ name currency_code tax_rate tax_code gift_cards_taxable"
        " automatic_taxes includes_tax tax_provider_id metadata"
    ),
    {
        "countries": Many(COUNTRY, "{t}.region_id = {p}.id", order="{t}.id"),
        "currency": One(CURRENCY, "{t}.code = {p}.currency_code"),
        "payment_providers": Many(
            PROVIDER,
            "{t}.id in (select provider_id from region_payment_providers where region_id = {p}.id)",
            order="{t}.id",
        ),
        "fulfillment_providers": Many(
            FULFILLMENT_PROVIDER,
            "{t}.id in (select provider_id from region_fulfillment_providers where region_id = {p}.id)",
            order="{t}.id",
        ),
    },
)

TAX_RATE = Resource("tax_rates", cols("id created_at@ updated_at@ rate code name region_id metadata"))

# A region as it is shown inside of something else, where all its relations can be asked for.
INNER_REGION = Resource(
    REGION.table,
    REGION.columns,
    {
        **REGION.relations,
        "countries": Many(
            Resource(COUNTRY.table, COUNTRY.columns, {"region": One(REGION, "{t}.id = {p}.region_id")}),
            "{t}.region_id = {p}.id",
            order="{t}.id",
        ),
        "tax_provider": One(TAX_PROVIDER, "{t}.id = {p}.tax_provider_id"),
        "tax_rates": Many(TAX_RATE, "{t}.region_id = {p}.id"),
    },
)

SHIPPING_PROFILE = Resource("shipping_profiles", cols("id created_at@ updated_at@ deleted_at@ name type metadata"))
SHIPPING_OPTION = Resource(
    "shipping_options",
    cols(
        "id created_at@ updated_at@ deleted_at@ name region_id profile_id provider_id price_type amount is_return"
        " admin_only includes_tax data metadata"
    ),
)
SHIPPING_REQUIREMENT = Resource(
    "shipping_option_requirements",
    cols("id shipping_option_id type amount deleted_at@"),
    {"shipping_option": One(SHIPPING_OPTION, "{t}.id = {p}.shipping_option_id")},
)
SHIPPING_OPTION.relations.update(
    {
        "region": One(INNER_REGION, "{t}.id = {p}.region_id and {t}.deleted_at is null"),
        "profile": One(SHIPPING_PROFILE, "{t}.id = {p}.profile_id and {t}.deleted_at is null"),
        "provider": One(FULFILLMENT_PROVIDER, "{t}.id = {p}.provider_id"),
        "requirements": Many(
            SHIPPING_REQUIREMENT,
            "{t}.shipping_option_id = {p}.id and {t}.deleted_at is null",
            order="{t}.type desc, {t}.id",
        ),
    }
)


def constant(value: object, shows: object) -> Value:
    """A relation that is the same in every answer."""
    return Value(f"'{json.dumps(value)}'::json".replace("{", "{{").replace("}", "}}"), shows)


# What an admin front end asks the store to know which of its pages make sense.
FEATURE_FLAGS = {
    "analytics": True,
    "medusa_v2": False,
    "order_editing": True,
    "product_categories": True,
    "publishable_api_keys": True,
    "sales_channels": True,
    "tax_inclusive_pricing": True,
    "workflows": False,
}
MODULES = {"inventoryService": "inventory", "stockLocationService": "inventory"}

STORE = Resource(
    "stores",
    cols(
        "id created_at@ updated_at@ name default_currency_code swap_link_template payment_link_template"
        " invite_link_template default_location_id default_sales_channel_id metadata"
    ),
    {
        "currencies": Many(
            CURRENCY,
            "{t}.code in (select currency_code from store_currencies where store_id = {p}.id)",
            order="{t}.code",
        ),
        "default_currency": One(CURRENCY, "{t}.code = {p}.default_currency_code"),
        "default_sales_channel": One(SALES_CHANNEL, "{t}.id = {p}.default_sales_channel_id"),
        "payment_providers": Many(PROVIDER, "{t}.is_installed", order="{t}.id"),
        "fulfillment_providers": Many(FULFILLMENT_PROVIDER, "{t}.is_installed", order="{t}.id"),
        "feature_flags": constant(
            [{"key": key, "value": value} for key, value in FEATURE_FLAGS.items()], [{"key": str, "value": bool}]
        ),
        "modules": constant(
            [{"module": key, "resolution": value} for key, value in MODULES.items()],
            [{"module": str, "resolution": str}],
        ),
    },
)
