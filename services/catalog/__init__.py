"""Catalog and pricing: products, what they cost where, and everything that a price depends on."""
