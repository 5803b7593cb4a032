"""Everything that reaches the catalog, and by which name."""

from pathlib import Path

from services.catalog import (
    batch_jobs,
    categories,
    collections,
    currencies,
    customer_groups,
    discount_conditions,
    discount_news,
    discount_uses,
    discounts,
    dynamic_codes,
    options,
    price_list_prices,
    price_list_products,
    price_lists,
    product_lists,
    products,
    providers,
    publishable_keys,
    region_links,
    regions,
    sales_channels,
    shipping_options,
    shipping_profiles,
    stock,
    store,
    tags,
    tax_rate_links,
    tax_rates,
    types,
    uploads,
    variant_lists,
    variants,
)
from services.catalog.batch_runner import run_jobs
from services.catalog.carts import price_cart
from services.catalog.discount_rows import DISCOUNT_KINDS
from services.catalog.documents import KINDS
from services.catalog.product_documents import PRODUCT_KINDS
from services.catalog.seed import seed
from services.chassis.documents import documents_of
from services.chassis.service import Service

SERVICE = Service(
    name="catalog",
    folder=Path(__file__).parent,
    routes=[
        *tags.ROUTES,  # before the products, whose ids could be anything
        *types.ROUTES,
        *product_lists.ROUTES,
        *products.ROUTES,
        *options.ROUTES,
        *variants.ROUTES,
        *variant_lists.ROUTES,
        *collections.ROUTES,
        *categories.ROUTES,
        *publishable_keys.ROUTES,
        *store.ROUTES,
        *currencies.ROUTES,
        *regions.ROUTES,
        *region_links.ROUTES,
        *shipping_profiles.ROUTES,
        *shipping_options.ROUTES,
        *sales_channels.ROUTES,
        *tax_rates.ROUTES,
        *tax_rate_links.ROUTES,
        *discounts.ROUTES,
        *discount_conditions.ROUTES,
        *dynamic_codes.ROUTES,
        *price_lists.ROUTES,
        *price_list_prices.ROUTES,
        *price_list_products.ROUTES,
        *uploads.ROUTES,
        *batch_jobs.ROUTES,
    ],
    listeners={
        **stock.LISTENERS,
        **sales_channels.LISTENERS,
        **customer_groups.LISTENERS,
        **discount_news.LISTENERS,
        **providers.LISTENERS,
        **batch_jobs.LISTENERS,
    },
    commands={
        **stock.COMMANDS,
        **sales_channels.COMMANDS,
        **discount_uses.COMMANDS,
        **providers.COMMANDS,
        "documents": documents_of({**KINDS, **PRODUCT_KINDS, **DISCOUNT_KINDS}),
        "price_cart": price_cart,
    },
    workers={"batch jobs": run_jobs},
    seed=seed,
)
