"""Regions with their countries, currencies and taxes."""

from services.catalog.regions import currencies, documents, links, regions, tax_rate_links, tax_rates

OPERATIONS = [
    *currencies.OPERATIONS,
    *regions.OPERATIONS,
    *links.OPERATIONS,
    *tax_rates.OPERATIONS,
    *tax_rate_links.OPERATIONS,
]
KINDS = {
    **documents.REGION_KINDS,
}
