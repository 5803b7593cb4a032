"""What carts and orders cost: asking the catalog, and storing the totals."""
